//! Prints a tree of JSON values as YAML text that YAML 1.1 and 1.2 readers agree on.
//!
//! The kubelet reads YAML 1.1, in which `no`, `0640` and `1_000` are not strings; editors and linters read 1.2. So a
//! string stays plain only when it cannot be anything else in either; everything else is quoted.

use libyaml_safer::{Emitter, Encoding, Event, MappingStyle, ScalarStyle, SequenceStyle};
use serde_json::Value;

/// The words that YAML 1.1 or 1.2 read as something other than a string, in lower case
/// (<https://yaml.org/type/>: null, bool, merge and value keys begin with other characters).
const RESERVED_WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Prints `value` as one YAML document with a final newline. Keys keep their order; the same value gives the same
/// bytes.
pub fn print(value: &Value) -> String {
    let mut text = Vec::new();
    let mut emitter = Emitter::new();
    emitter.set_output_string(&mut text);
    emitter.set_unicode(true);
    // No line is broken: a folded line reads the same to a machine and worse to a person with a search.
    emitter.set_width(-1);
    let mut emit = |event| emitter.emit(event).expect("memory takes every event of a whole tree");
    emit(Event::stream_start(Encoding::Utf8));
    emit(Event::document_start(None, &[], true));
    emit_value(value, &mut emit);
    emit(Event::document_end(true));
    emit(Event::stream_end());
    drop(emitter);
    String::from_utf8(text).expect("the emitter was told to write UTF-8")
}

fn emit_value(value: &Value, emit: &mut impl FnMut(Event)) {
    match value {
        Value::Null => emit(scalar("null", ScalarStyle::Plain)),
        Value::Bool(truth) => emit(scalar(&truth.to_string(), ScalarStyle::Plain)),
        Value::Number(number) => emit(scalar(&number.to_string(), ScalarStyle::Plain)),
        Value::String(text) => emit(scalar(text, style_of(text))),
        Value::Array(items) => {
            let style = if items.is_empty() { SequenceStyle::Flow } else { SequenceStyle::Block };
            emit(Event::sequence_start(None, None, true, style));
            for item in items {
                emit_value(item, emit);
            }
            emit(Event::sequence_end());
        }
        Value::Object(entries) => {
            let style = if entries.is_empty() { MappingStyle::Flow } else { MappingStyle::Block };
            emit(Event::mapping_start(None, None, true, style));
            for (key, item) in entries {
                emit(scalar(key, style_of(key)));
                emit_value(item, emit);
            }
            emit(Event::mapping_end());
        }
    }
}

/// The emitter falls back to double quotes by itself where a style cannot carry the text.
fn scalar(text: &str, style: ScalarStyle) -> Event {
    let is_plain = style == ScalarStyle::Plain;
    Event::scalar(None, None, text, is_plain, !is_plain, style)
}

fn style_of(text: &str) -> ScalarStyle {
    if is_string_when_plain(text) {
        ScalarStyle::Plain
    } else if text.trim_end_matches('\n').contains('\n') {
        ScalarStyle::Literal
    } else {
        ScalarStyle::SingleQuoted
    }
}

/// Numbers, dates, `~`, `<<`, `.inf` and every indicator begin with something other than a letter or `/`; what is
/// left are the reserved words and `: ` or ` #` inside.
fn is_string_when_plain(text: &str) -> bool {
    let first_fits = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let all_fit = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@:+ ".contains(c));
    first_fits
        && all_fit
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !RESERVED_WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use libyaml_safer::{EventData, Parser};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Reads one document back, taking only what [`print`] may write: a plain scalar that is neither `null`, a
    /// boolean, a number nor certainly a string fails the test.
    #[track_caller]
    fn read(text: &str) -> Value {
        let mut bytes = text.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut bytes);
        let mut events = VecDeque::new();
        loop {
            let event = parser.parse().expect("printed text parses");
            match event.data {
                EventData::StreamEnd => break,
                EventData::StreamStart { .. }
                | EventData::DocumentStart { .. }
                | EventData::DocumentEnd { .. } => {}
                data => events.push_back(data),
            }
        }
        let value = read_value(&mut events);
        assert!(events.is_empty(), "one document only");
        value
    }

    fn read_value(events: &mut VecDeque<EventData>) -> Value {
        match events.pop_front().expect("a node follows") {
            EventData::Scalar {
                value, plain_implicit: true, style: ScalarStyle::Plain, ..
            } => match serde_json::from_str(&value) {
                Ok(other) => other,
                Err(_) => {
                    assert!(is_string_when_plain(&value), "`{value}` may not be plain");
                    Value::String(value)
                }
            },
            EventData::Scalar { value, .. } => Value::String(value),
            EventData::SequenceStart { .. } => {
                let mut items = Vec::new();
                while !matches!(events.front(), Some(EventData::SequenceEnd)) {
                    items.push(read_value(events));
                }
                events.pop_front();
                Value::Array(items)
            }
            EventData::MappingStart { .. } => {
                let mut entries = serde_json::Map::new();
                while !matches!(events.front(), Some(EventData::MappingEnd)) {
                    let Value::String(key) = read_value(events) else { panic!("keys are strings") };
                    let value = read_value(events);
                    assert!(entries.insert(key, value).is_none(), "no key twice");
                }
                events.pop_front();
                Value::Object(entries)
            }
            other => panic!("{other:?} is nothing that was printed"),
        }
    }

    #[track_caller]
    fn check(value: Value, expected: &str) {
        assert_eq!(print(&value), expected);
        assert_eq!(read(expected), value);
    }

    #[test]
    fn strings_that_a_reader_would_take_for_something_else_are_quoted() {
        for text in ["no", "Yes", "y", "N", "ON", "null", "~", "", "0640", "1_000", "0x1f", ".inf"]
        {
            check(json!({ "a": text }), &format!("a: '{text}'\n"));
        }
        for text in ["2001-01-01", "1:30", "<<", "-", "- a", "a: b", "a #b", "*a", "{a}", "a:"] {
            check(json!({ "a": text }), &format!("a: '{text}'\n"));
        }
        for text in
            ["nope", "/etc/a.conf", "r.example/a:1@sha256:0f", "a b", "system-node-critical"]
        {
            check(json!({ "a": text }), &format!("a: {text}\n"));
        }
        check(json!({ "on": "it's" }), "'on': 'it''s'\n");
    }

    #[test]
    fn shapes() {
        check(
            json!({ "a": { "b": [1, true, null, {}, []] } }),
            "a:\n  b:\n  - 1\n  - true\n  - null\n  - {}\n  - []\n",
        );
        check(json!({ "a": "one\ntwo\n" }), "a: |\n  one\n  two\n");
        check(json!({ "a": "bell \u{7}" }), "a: \"bell \\a\"\n");
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".*", "[a-z0-9 :#'\"\\n\\t-]{0,12}", "[0-9_.:xoe+-]{0,6}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z0-9 .:/-]{0,8}", inner, 0..5)
                    .prop_map(|entries| entries.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(value in value()) {
            prop_assert_eq!(read(&print(&value)), value);
        }
    }
}
