//! Prints a tree of values as YAML text that YAML 1.1 and 1.2 readers agree on.
//!
//! The kubelet reads YAML 1.1, in which `no`, `0640` and `1_000` are not strings; editors and linters read 1.2. So a
//! string stays plain only when it cannot be anything else in either; everything else is quoted. Text of several lines
//! is a block (`|`) wherever a block can hold it: libyaml's emitter, whose layout this is, gives up at the first tab
//! or space before a line's end, and then a unit file or script becomes one long line in quotes.

use std::fmt::Write;

use serde_json::Value;

/// The words that YAML 1.1 or 1.2 read as something other than a string, in lower case
/// (<https://yaml.org/type/>: null, bool, merge and value keys begin with other characters).
const RESERVED_WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// The longest key that stands on the line of its value. Readers look for `:` within 1024 characters.
const MAX_SIMPLE_KEY: usize = 128;

/// How far a level is indented.
const STEP: usize = 2;

/// A value in the form it is printed in.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A number, a boolean or null, as it is to be read: `420`, `0644`, `true`.
    Plain(String),
    /// Text, in the simplest style that leaves no doubt.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in this order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Permission bits as people write them: four octal digits with a leading zero, which YAML 1.1 reads as octal.
    pub fn octal(bits: u32) -> Node {
        Node::Plain(if bits < 0o1000 { format!("{bits:04o}") } else { format!("0{bits:o}") })
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Node {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Node::Plain(value.to_string()),
            Value::String(text) => Node::Text(text.clone()),
            Value::Array(items) => Node::List(items.iter().map(Node::from).collect()),
            Value::Object(entries) => Node::Map(
                entries.iter().map(|(key, value)| (key.clone(), Node::from(value))).collect(),
            ),
        }
    }
}

/// Prints `value` as one YAML document with a final newline. Keys keep their order; the same value gives the same
/// bytes.
pub fn print(value: &Value) -> String {
    print_node(&Node::from(value))
}

/// Prints `node` as [`print()`] does.
pub fn print_node(node: &Node) -> String {
    let mut printer = Printer { text: String::new() };
    match node {
        Node::Map(entries) if !entries.is_empty() => printer.map(entries, 0),
        Node::List(items) if !items.is_empty() => printer.list(items, 0),
        // Readers differ in where the text of a document that is nothing but a block begins.
        Node::Text(text) if text.contains('\n') => {
            printer.double_quoted(text);
            printer.text.push('\n');
        }
        node => printer.behind(node, 0),
    }
    printer.text
}

struct Printer {
    text: String,
}

impl Printer {
    /// The entries of a mapping whose keys stand in column `column`, which the first one has reached already.
    fn map(&mut self, entries: &[(String, Node)], column: usize) {
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.indent(column);
            }
            if key.chars().count() > MAX_SIMPLE_KEY || key.contains('\n') {
                self.text.push_str("? ");
                self.scalar(key);
                self.text.push('\n');
                self.indent(column);
                self.text.push_str(": ");
                self.behind_indicator(value, column);
                continue;
            }
            self.scalar(key);
            self.text.push(':');
            match value {
                Node::Map(entries) if !entries.is_empty() => {
                    self.text.push('\n');
                    self.indent(column + STEP);
                    self.map(entries, column + STEP);
                }
                Node::List(items) if !items.is_empty() => {
                    self.text.push('\n');
                    self.indent(column);
                    self.list(items, column);
                }
                value => {
                    self.text.push(' ');
                    self.behind(value, column);
                }
            }
        }
    }

    fn list(&mut self, items: &[Node], column: usize) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.indent(column);
            }
            self.text.push_str("- ");
            self.behind_indicator(item, column);
        }
    }

    /// A value behind `- ` or `: ` in column `column`.
    fn behind_indicator(&mut self, value: &Node, column: usize) {
        match value {
            Node::Map(entries) if !entries.is_empty() => self.map(entries, column + STEP),
            Node::List(items) if !items.is_empty() => self.list(items, column + STEP),
            value => self.behind(value, column),
        }
    }

    /// A value that ends its line, or is a block below a parent in column `column`.
    fn behind(&mut self, value: &Node, column: usize) {
        match value {
            Node::Plain(text) => self.text.push_str(text),
            Node::Text(text) if is_blockable(text) => return self.block(text, column + STEP),
            Node::Text(text) => self.scalar(text),
            Node::List(_) => self.text.push_str("[]"),
            Node::Map(_) => self.text.push_str("{}"),
        }
        self.text.push('\n');
    }

    fn indent(&mut self, column: usize) {
        self.text.extend(std::iter::repeat_n(' ', column));
    }

    /// A literal block. What its first line begins with could be taken for its indentation, so that is then said.
    fn block(&mut self, text: &str, column: usize) {
        self.text.push('|');
        if text.starts_with([' ', '\t', '\n']) {
            let _ = write!(self.text, "{STEP}");
        }
        let body = text.trim_end_matches('\n');
        match text.len() - body.len() {
            0 => self.text.push('-'),
            1 => {}
            _ => self.text.push('+'),
        }
        self.text.push('\n');
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.indent(column);
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    /// Text on one line.
    fn scalar(&mut self, text: &str) {
        if is_string_when_plain(text) {
            self.text.push_str(text);
        } else if text.chars().all(is_printable) {
            let _ = write!(self.text, "'{}'", text.replace('\'', "''"));
        } else {
            self.double_quoted(text);
        }
    }

    fn double_quoted(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            let code = u32::from(character);
            let _ = match character {
                '"' | '\\' => write!(self.text, "\\{character}"),
                '\0' => write!(self.text, "\\0"),
                '\u{7}' => write!(self.text, "\\a"),
                '\u{8}' => write!(self.text, "\\b"),
                '\t' => write!(self.text, "\\t"),
                '\n' => write!(self.text, "\\n"),
                '\r' => write!(self.text, "\\r"),
                '\u{1b}' => write!(self.text, "\\e"),
                character if is_printable(character) => write!(self.text, "{character}"),
                _ if code <= 0xff => write!(self.text, "\\x{code:02X}"),
                _ if code <= 0xffff => write!(self.text, "\\u{code:04X}"),
                _ => write!(self.text, "\\U{code:08X}"),
            };
        }
        self.text.push('"');
    }
}

/// Whether a character may stand for itself in a line: the printable ones of YAML but for tabs, and but for what some
/// readers take for the end of a line.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a literal block can hold the text, and reads better than quotes.
fn is_blockable(text: &str) -> bool {
    text.contains('\n')
        && text.chars().any(|character| !character.is_whitespace())
        && text
            .chars()
            .all(|character| character == '\n' || character == '\t' || is_printable(character))
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

    use libyaml_safer::{EventData, Parser, ScalarStyle};
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
        check(json!([[1, [2]], { "a": { "b": 1 } }]), "- - 1\n  - - 2\n- a:\n    b: 1\n");
    }

    #[test]
    fn text_of_several_lines_is_a_block() {
        check(json!({ "a": "one\n" }), "a: |\n  one\n");
        check(json!({ "a": "one\ntwo" }), "a: |-\n  one\n  two\n");
        check(json!({ "a": "one\n\n" }), "a: |+\n  one\n\n");
        check(json!({ "a": " one\n\ttwo \n\n three" }), "a: |2-\n   one\n  \ttwo \n\n   three\n");
        check(json!({ "a": "\tone\n" }), "a: |2\n  \tone\n");
        check(json!({ "a": "\none\n" }), "a: |2\n\n  one\n");
        check(json!([{ "a": ["one\n", "two\n"] }]), "- a:\n  - |\n    one\n  - |\n    two\n");
        check(json!({ "a": "one\r\n" }), "a: \"one\\r\\n\"\n");
        check(json!({ "a": "\n" }), "a: \"\\n\"\n");
    }

    #[test]
    fn modes_are_octal() {
        let node = |bits| Node::Map(vec![("mode".to_owned(), Node::octal(bits))]);
        assert_eq!(print_node(&node(0o644)), "mode: 0644\n");
        assert_eq!(print_node(&node(0o1777)), "mode: 01777\n");
        assert_eq!(print_node(&node(0)), "mode: 0000\n");
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            ".*",
            "[a-z0-9 :#'\"\\n\\t-]{0,12}",
            "[a \\n\\t]{0,8}",
            "[0-9_.:xoe+-]{0,6}"
        ];
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
