//! Tree → text: one form for every YAML that Basalt writes.

use libyaml_safer::{Emitter, Encoding, Event, MappingStyle, ScalarStyle, SequenceStyle};
use serde_json::Value;

/// Long lines stay whole: a folded line is harder to compare than a long one.
const NO_FOLDING: i32 = -1;

/// Prints `value` as one YAML document in block style, keys in the order they have, with a final newline.
///
/// Text that a YAML 1.1 or 1.2 parser would take for something else (`no`, `1.10`, `0755`, the empty text) is
/// quoted, text of several lines becomes a literal block. The same value gives the same bytes.
pub fn print(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut emitter = Emitter::new();
    emitter.set_output_string(&mut bytes);
    emitter.set_width(NO_FOLDING);
    emitter.set_unicode(true);
    let mut events =
        vec![Event::stream_start(Encoding::Utf8), Event::document_start(None, &[], true)];
    push(value, &mut events);
    events.extend([Event::document_end(true), Event::stream_end()]);
    for event in events {
        emitter
            .emit(event)
            .expect("the events of a tree are balanced, and memory takes every byte");
    }
    emitter.flush().expect("memory takes every byte");
    drop(emitter);
    String::from_utf8(bytes).expect("the emitter was told to write UTF-8")
}

fn push(value: &Value, events: &mut Vec<Event>) {
    match value {
        Value::Null => events.push(scalar("null", ScalarStyle::Plain)),
        Value::Bool(flag) => {
            events.push(scalar(if *flag { "true" } else { "false" }, ScalarStyle::Plain))
        }
        Value::Number(number) => events.push(scalar(&number.to_string(), ScalarStyle::Plain)),
        Value::String(text) => events.push(scalar(text, style_of(text))),
        Value::Array(items) => {
            let style = if items.is_empty() { SequenceStyle::Flow } else { SequenceStyle::Block };
            events.push(Event::sequence_start(None, None, true, style));
            items.iter().for_each(|item| push(item, events));
            events.push(Event::sequence_end());
        }
        Value::Object(entries) => {
            let style = if entries.is_empty() { MappingStyle::Flow } else { MappingStyle::Block };
            events.push(Event::mapping_start(None, None, true, style));
            for (key, value) in entries {
                events.push(scalar(key, style_of(key)));
                push(value, events);
            }
            events.push(Event::mapping_end());
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Event {
    Event::scalar(None, None, text, true, true, style)
}

fn style_of(text: &str) -> ScalarStyle {
    // A literal block cannot hold trailing spaces visibly, nor every character; the emitter falls back to double
    // quotes by itself where a style is not possible.
    if text.contains('\n') {
        ScalarStyle::Literal
    } else if is_plain(text) {
        ScalarStyle::Plain
    } else {
        ScalarStyle::DoubleQuoted
    }
}

/// Whether every YAML parser reads the bare text as this text: it starts with a letter or `/`, is none of the words
/// that resolve to something else, and holds only characters without meaning in YAML.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan"];
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || " /._-+=,@%()".contains(c);
    starts_well
        && !text.ends_with(' ')
        && text.chars().all(|c| is_harmless(c) || c == ':')
        && !text.contains(": ")
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::yaml;
    use serde_json::json;

    /// The tree as JSON, with every scalar as the text it is read as, to compare with what was printed.
    fn read(node: &yaml::Yaml) -> Value {
        match &node.value {
            yaml::Value::Scalar(scalar) => {
                if yaml::scalar::is_null(scalar) {
                    Value::Null
                } else if let Some(flag) = yaml::scalar::as_bool(scalar) {
                    Value::Bool(flag)
                } else if let Some(number) = yaml::scalar::as_integer(scalar) {
                    json!(i64::try_from(number).unwrap())
                } else {
                    Value::String(scalar.text.clone())
                }
            }
            yaml::Value::List(items) => Value::Array(items.iter().map(read).collect()),
            yaml::Value::Map(entries) => {
                let key = |key: &yaml::Yaml| key.as_scalar().unwrap().text.clone();
                Value::Object(entries.iter().map(|(k, v)| (key(k), read(v))).collect())
            }
            yaml::Value::Alias(_) => panic!("the printer writes no aliases"),
        }
    }

    #[track_caller]
    fn check(value: Value, expected: Option<&str>) {
        let text = print(&value);
        if let Some(expected) = expected {
            assert_eq!(text, expected);
        }
        let mut report = Report::new("f");
        let stream =
            yaml::parse(text.as_bytes(), &mut report).unwrap_or_else(|| panic!("{report}\n{text}"));
        assert_eq!(read(&stream.first.unwrap()), value, "{text}");
    }

    #[test]
    fn prints_what_it_means() {
        check(
            json!({"a": [1, {"b": "c", "d": []}], "e": {}}),
            Some("a:\n- 1\n- b: c\n  d: []\ne: {}\n"),
        );
        check(json!({"t": "a\nb\n", "u": "x: y"}), Some("t: |\n  a\n  b\nu: \"x: y\"\n"));
        for text in [
            "no",
            "1",
            "0755",
            "1e3",
            "",
            " ",
            "~",
            "null",
            "=",
            "<<",
            "a #b",
            "- a",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "2001:db8::1",
            "::1",
            "1:30",
            "12:30:45",
            "a\n",
            "\n",
            "a\n\n",
            " a\nb",
            "a \nb",
            "\ta",
            "a\tb",
            "é",
            "a\u{85}b",
            "\u{feff}",
            "2026-11-21",
            ".5",
            "+1",
            "a: b",
            "a:",
            "{",
            "key with spaces",
            "trailing ",
        ] {
            check(json!([text]), None);
            check(json!({text: text}), None);
        }
    }
}
