//! Text → tree. libyaml's event parser underneath; the tree is built without recursion.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle as EventStyle};

use super::{Scalar, ScalarStyle, Value, Yaml};
use crate::report::{Place, Report};

/// The largest text that is read, in bytes. Far above any config that a person writes; a mistaken file name
/// (an image, a log) is refused before it fills the memory.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The deepest nesting. Values are dropped and walked by recursion, so this bounds the stack.
pub const MAX_DEPTH: usize = 200;

/// The largest text there is with all aliases written out, in bytes: a few characters can stand for a megabyte.
const MAX_WRITTEN_OUT: usize = 2 * MAX_BYTES;

/// The most values in one text, and in one document counted as if every alias were written out: a handful of nested
/// aliases can stand for billions of values. A value takes about a hundred bytes of memory.
pub const MAX_VALUES: usize = 1_000_000;

/// The hint of findings about texts that go beyond these bounds, which are ours and not YAML's.
pub const BEYOND_BOUNDS: &str =
    "this bound is set here, and no text that a person writes comes near it";

/// The result of reading a text: its first document, and where a second one starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Absent when the text holds nothing but comments.
    pub first: Option<Yaml>,
    /// Start of the second document. Whether one is allowed is the caller's choice.
    pub second: Option<Place>,
}

/// Reads the first document of `bytes`. `None` means that errors were reported.
///
/// Reported with their place: bytes that are not UTF-8, control characters, syntax errors, keys that occur twice,
/// unknown anchors, and texts past [`MAX_BYTES`], [`MAX_DEPTH`] or [`MAX_VALUES`].
pub fn parse(bytes: &[u8], report: &mut Report) -> Option<Stream> {
    if !is_small_enough(bytes, report) {
        return None;
    }
    let text = decode(bytes, report)?;
    let mut builder = Builder::new(report);
    builder.read(text, Documents::First)?;
    Some(Stream { first: builder.roots.pop(), second: builder.second })
}

/// Reads the first document of `bytes`, and leaves keys that occur twice to the caller, as [`parse_all`] does.
pub fn parse_first(bytes: &[u8], report: &mut Report) -> Option<Stream> {
    if !is_small_enough(bytes, report) {
        return None;
    }
    let text = decode(bytes, report)?;
    let mut builder = Builder::new(report);
    builder.refuses_repeats = false;
    builder.read(text, Documents::First)?;
    Some(Stream { first: builder.roots.pop(), second: builder.second })
}

/// Reads every document of `bytes`, in order; one that holds nothing is null. `None` means that errors were reported.
///
/// Reported is what [`parse`] reports, except for keys that occur twice: the caller knows which mappings are read, and
/// asks for their [`repeated_keys`]. Anchors are known in their own document only.
pub fn parse_all(bytes: &[u8], report: &mut Report) -> Option<Vec<Yaml>> {
    if !is_small_enough(bytes, report) {
        return None;
    }
    let text = decode(bytes, report)?;
    let mut builder = Builder::new(report);
    builder.refuses_repeats = false;
    builder.read(text, Documents::All)?;
    Some(builder.roots)
}

/// The keys of a mapping that are there already, each with what is wrong with it.
///
/// YAML 1.2 section 3.2.1.1: the keys of a mapping are unique.
pub fn repeated_keys(entries: &[(Yaml, Yaml)]) -> Vec<(&Yaml, String)> {
    let mut lines = HashMap::with_capacity(entries.len());
    let mut repeated = Vec::new();
    for (key, _) in entries {
        let Value::Scalar(scalar) = &key.value else { continue };
        match lines.entry(scalar.text.as_str()) {
            Entry::Vacant(entry) => drop(entry.insert(key.place.line)),
            Entry::Occupied(entry) => repeated
                .push((key, format!("`{}` is already set in line {}", scalar.text, entry.get()))),
        }
    }
    repeated
}

fn is_small_enough(bytes: &[u8], report: &mut Report) -> bool {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", bytes.len());
        report.error(Place::START, "", message).hint(BEYOND_BOUNDS);
    }
    bytes.len() <= MAX_BYTES
}

/// The text, checked for what libyaml's reader would refuse without saying where.
fn decode<'a>(bytes: &'a [u8], report: &mut Report) -> Option<&'a str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            report
                .error(end_of(&valid), "", "not UTF-8 from here on")
                .hint("save the file as UTF-8");
            return None;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_refused = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    if let Some((offset, character)) = text.char_indices().find(|(_, c)| is_refused(*c)) {
        let message = format!("control character U+{:04X} is not allowed", character as u32);
        report.error(end_of(&text[..offset]), "", message);
        return None;
    }
    Some(text)
}

/// The place just behind `text`.
fn end_of(text: &str) -> Place {
    let last_line = text.rsplit('\n').next().unwrap_or(text);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: count(text.matches('\n').count() + 1),
        column: count(last_line.chars().count() + 1),
    }
}

fn place(mark: Mark) -> Place {
    let count = |n: u64| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Place { line: count(mark.line), column: count(mark.column) }
}

/// How large a value is with all aliases written out.
#[derive(Clone, Copy)]
struct Size {
    values: usize,
    /// Bytes of text.
    bytes: usize,
    /// How many lists and mappings are in each other.
    depth: usize,
}

impl Size {
    fn of_scalar(text: &str) -> Size {
        Size { values: 1, bytes: text.len(), depth: 0 }
    }
}

/// A value that other values may be named by.
struct Anchor {
    value: Rc<Yaml>,
    size: Size,
}

/// How much of a text is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Documents {
    /// The first document; only the place of the second is looked for.
    First,
    All,
}

/// A list or mapping that is still open.
struct Open {
    place: Place,
    tag: Option<String>,
    anchor: Option<String>,
    items: Vec<Yaml>,
    is_map: bool,
    size: Size,
}

struct Builder<'r> {
    report: &'r mut Report,
    open: Vec<Open>,
    anchors: HashMap<String, Anchor>,
    /// How many are in memory.
    values: usize,
    /// One of each document.
    roots: Vec<Yaml>,
    /// Start of the second document, when it was not read.
    second: Option<Place>,
    refuses_repeats: bool,
    has_errors: bool,
    /// Length of a text whose last line was ended here, in bytes.
    unended: Option<u64>,
    last_line_is_blank: bool,
}

impl<'r> Builder<'r> {
    fn new(report: &'r mut Report) -> Self {
        Builder {
            report,
            open: Vec::new(),
            anchors: HashMap::new(),
            values: 0,
            roots: Vec::new(),
            second: None,
            refuses_repeats: true,
            has_errors: false,
            unended: None,
            last_line_is_blank: false,
        }
    }

    /// Fills [`roots`](Self::roots); `None` means that errors were reported.
    fn read(&mut self, text: &str, wanted: Documents) -> Option<()> {
        // libyaml-safer 0.3 panics on a block scalar whose last line has no end. Its value is set right in `take`.
        let ended;
        let mut input = if text.ends_with(['\n', '\r']) {
            text.as_bytes()
        } else {
            self.unended = Some(text.len() as u64);
            self.last_line_is_blank =
                text.rsplit(['\n', '\r']).next().is_some_and(|line| line.trim().is_empty());
            ended = format!("{text}\n");
            ended.as_bytes()
        };
        let mut parser = Parser::new();
        parser.set_input_string(&mut input);
        let mut documents = 0;
        let mut reached = Place::START;
        loop {
            // libyaml-safer 0.3 panics on some texts that no person writes (a tag before a comma, `[!a,`). The parser is
            // not used again, so that what it left half-done is not seen.
            let event = match catch_unwind(AssertUnwindSafe(|| parser.parse())) {
                Ok(Ok(event)) => event,
                Err(_) => {
                    self.error(reached, "not YAML that can be read: the parser failed behind this");
                    return None;
                }
                Ok(Err(error)) => {
                    let mark = error.problem_mark().or(error.context_mark());
                    let message = match error.context() {
                        Some(context) => format!("{} {context}", error.problem()),
                        None => error.problem().to_owned(),
                    };
                    self.error(mark.map_or(Place::START, place), &format!("not YAML: {message}"));
                    return None;
                }
            };
            let start = place(event.start_mark);
            reached = place(event.end_mark);
            match &event.data {
                EventData::DocumentStart { .. } => {
                    documents += 1;
                    if documents == 2 && wanted == Documents::First {
                        self.second = Some(start);
                        break;
                    }
                    self.anchors.clear();
                }
                EventData::StreamEnd => break,
                _ => {}
            }
            self.take(start, event)?;
        }
        (!self.has_errors).then_some(())
    }

    /// Takes one event; `None` stops the reading.
    fn take(&mut self, place: Place, event: Event) -> Option<()> {
        match event.data {
            EventData::Scalar { anchor, tag, mut value, style, .. } => {
                let is_block = matches!(style, EventStyle::Literal | EventStyle::Folded);
                let is_last = |length| event.end_mark.index > length;
                if is_block && self.unended.is_some_and(is_last) {
                    take_back_line_end(&mut value, self.last_line_is_blank);
                }
                let scalar = Scalar { text: value, style: scalar_style(style) };
                let size = Size::of_scalar(&scalar.text);
                self.add(Yaml { place, tag, value: Value::Scalar(scalar) }, anchor, size)
            }
            EventData::SequenceStart { anchor, tag, .. } => self.start(place, tag, anchor, false),
            EventData::MappingStart { anchor, tag, .. } => self.start(place, tag, anchor, true),
            EventData::SequenceEnd | EventData::MappingEnd => {
                let open = self.open.pop().expect("libyaml balances its events");
                let (anchor, size) = (open.anchor.clone(), open.size);
                let yaml = self.close(open);
                self.add(yaml, anchor, size)
            }
            EventData::Alias { anchor } => match self.anchors.get(&anchor) {
                Some(target) => {
                    let (value, size) = (Value::Alias(Rc::clone(&target.value)), target.size);
                    if self.open.len() + size.depth > MAX_DEPTH {
                        return self
                            .beyond(place, &format!("nested deeper than {MAX_DEPTH} levels"));
                    }
                    self.add(Yaml { place, tag: None, value }, None, size)
                }
                None => {
                    self.error(
                        place,
                        &format!("`*{anchor}` names an anchor that is not set above"),
                    );
                    None
                }
            },
            EventData::StreamStart { .. }
            | EventData::StreamEnd
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => Some(()),
        }
    }

    fn start(
        &mut self,
        place: Place,
        tag: Option<String>,
        anchor: Option<String>,
        is_map: bool,
    ) -> Option<()> {
        if self.open.len() == MAX_DEPTH {
            return self.beyond(place, &format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(Open {
            place,
            tag,
            anchor,
            items: Vec::new(),
            is_map,
            size: Size { values: 1, bytes: 0, depth: 1 },
        });
        Some(())
    }

    fn add(&mut self, yaml: Yaml, anchor: Option<String>, size: Size) -> Option<()> {
        // What has an anchor is kept twice, with all that is in it.
        let copies = if anchor.is_some() { size.values } else { 0 };
        self.values = self.values.saturating_add(copies).saturating_add(1);
        if self.values > MAX_VALUES {
            return self.beyond(yaml.place, &format!("more than {MAX_VALUES} values"));
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Anchor { value: Rc::new(yaml.clone()), size });
        }
        match self.open.last_mut() {
            Some(parent) => {
                parent.size.values = parent.size.values.saturating_add(size.values);
                parent.size.bytes = parent.size.bytes.saturating_add(size.bytes);
                parent.size.depth = parent.size.depth.max(size.depth + 1);
                if parent.size.bytes > MAX_WRITTEN_OUT {
                    return self.beyond(
                        yaml.place,
                        &format!("more than {MAX_WRITTEN_OUT} bytes with all aliases written out"),
                    );
                }
                if parent.size.values > MAX_VALUES {
                    return self.beyond(
                        yaml.place,
                        &format!("more than {MAX_VALUES} values with all aliases written out"),
                    );
                }
                parent.items.push(yaml);
            }
            None => self.roots.push(yaml),
        }
        Some(())
    }

    fn close(&mut self, open: Open) -> Yaml {
        let value = if open.is_map {
            let mut entries = Vec::with_capacity(open.items.len() / 2);
            let mut items = open.items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
            if self.refuses_repeats {
                for (key, message) in repeated_keys(&entries) {
                    self.error(key.place, &message);
                }
            }
            Value::Map(entries)
        } else {
            Value::List(open.items)
        };
        Yaml { place: open.place, tag: open.tag, value }
    }

    fn error(&mut self, place: Place, message: &str) {
        self.has_errors = true;
        self.report.error(place, "", message);
    }

    /// The end of a text that is too much.
    fn beyond(&mut self, place: Place, message: &str) -> Option<()> {
        self.has_errors = true;
        self.report.error(place, "", message).hint(BEYOND_BOUNDS);
        None
    }
}

/// Undoes the end that was put behind the last line, in the block scalar that ends with it. When that line is blank,
/// the end counts only where all of them are kept (`|+`), and then the value is nothing else or has another before it.
fn take_back_line_end(value: &mut String, last_line_is_blank: bool) {
    let counts = !last_line_is_blank || value == "\n" || value.ends_with("\n\n");
    if counts && value.ends_with('\n') {
        value.pop();
    }
}

fn scalar_style(style: EventStyle) -> ScalarStyle {
    match style {
        EventStyle::SingleQuoted => ScalarStyle::SingleQuoted,
        EventStyle::DoubleQuoted => ScalarStyle::DoubleQuoted,
        EventStyle::Literal => ScalarStyle::Literal,
        EventStyle::Folded => ScalarStyle::Folded,
        // `Any` stands only in events to be emitted.
        EventStyle::Plain | EventStyle::Any | _ => ScalarStyle::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, expected: &str) {
        let mut report = Report::new("f");
        let stream = parse(text.as_ref(), &mut report);
        assert_eq!(report.to_string(), expected);
        assert_eq!(stream.is_some(), expected.is_empty());
    }

    #[test]
    fn errors_have_places() {
        check(
            "a: 1\nb: [1, 2\n",
            "f:3:1: not YAML: did not find expected ',' or ']' while parsing a flow sequence",
        );
        check(b"a: 1\nb: \xff", "f:2:4: not UTF-8 from here on\n  hint: save the file as UTF-8");
        check("a: \u{1}", "f:1:4: control character U+0001 is not allowed");
        check(
            "a: 1\nb: 2\na: 3\nb: 4",
            "f:3:1: `a` is already set in line 1\nf:4:1: `b` is already set in line 2",
        );
        check("a: *b", "f:1:4: `*b` names an anchor that is not set above");
        check(
            "a:\n\t- b",
            "f:2:1: not YAML: found character that cannot start any token while scanning for the next token",
        );
    }

    #[test]
    fn a_failing_parser_is_a_finding() {
        check("a: [!b,c]", "f:1:5: not YAML that can be read: the parser failed behind this");
    }

    #[test]
    fn bounds() {
        check(
            "[".repeat(MAX_DEPTH + 1),
            &format!(
                "f:1:{}: nested deeper than {MAX_DEPTH} levels\n  hint: {BEYOND_BOUNDS}",
                MAX_DEPTH + 1
            ),
        );
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
        }
        let mut report = Report::new("f");
        assert!(parse(bomb.as_bytes(), &mut report).is_none());
        assert!(report.to_string().contains("values with all aliases written out"), "{report}");
        let long = "x".repeat(1024 * 1024);
        let text = format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(65));
        let mut report = Report::new("f");
        assert!(parse(text.as_bytes(), &mut report).is_none());
        assert!(report.to_string().contains("bytes with all aliases written out"), "{report}");
        // None of these lists is too long by itself.
        let half = "a,".repeat(MAX_VALUES / 2 + 1);
        let mut report = Report::new("f");
        assert!(parse(format!("[{half}[{half}").as_bytes(), &mut report).is_none());
        assert!(report.to_string().contains("more than 1000000 values"), "{report}");
        // Each anchor has a copy of all that is in it.
        let anchors: String = (0..MAX_DEPTH).map(|level| format!("&a{level} [")).collect();
        let mut report = Report::new("f");
        let text = format!("{anchors}{}{}", "a,".repeat(10_000), "]".repeat(MAX_DEPTH));
        assert!(parse(text.as_bytes(), &mut report).is_none());
        assert!(report.to_string().contains("more than 1000000 values"), "{report}");
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let deep = nested(MAX_DEPTH / 2);
        let text = format!("a: &a {deep}\nb: {}\n", deep.replace("[]", "[*a]"));
        let column = 4 + MAX_DEPTH / 2;
        check(
            text,
            &format!(
                "f:2:{column}: nested deeper than {MAX_DEPTH} levels\n  hint: {BEYOND_BOUNDS}"
            ),
        );
    }

    #[test]
    fn places_of_values() {
        let mut report = Report::new("f");
        let text = "# c\nä: {k: v}\nl:\n  - x\ns: |\n  t\nt: !!str u\n";
        let root = parse(text.as_bytes(), &mut report).unwrap().first.unwrap();
        let Value::Map(entries) = &root.value else { panic!("not a mapping") };
        let places: Vec<String> =
            entries.iter().map(|(k, v)| format!("{} {}", k.place, v.place)).collect();
        assert_eq!(places, ["2:1 2:4", "3:1 4:3", "5:1 5:4", "7:1 7:4"]);
    }

    #[test]
    fn last_lines_without_an_end() {
        for (text, expected) in [
            ("|\n  x", "x"),
            ("|\n  x\n", "x\n"),
            ("|-\n  x", "x"),
            ("|+\n  x", "x"),
            ("|\n  x\n  ", "x\n"),
            ("|+\n  x\n  ", "x\n"),
            ("|+\n  x\n\n", "x\n\n"),
            ("|+\n  ", ""),
            ("|", ""),
            (">\n  x\n  y", "x y"),
            ("|\n  x\n  # c", "x\n# c"),
            ("|\n  x\n# c", "x\n"),
            ("x", "x"),
            ("'x'", "x"),
        ] {
            let mut report = Report::new("f");
            let stream = parse(text.as_bytes(), &mut report).unwrap();
            assert_eq!(stream.first.unwrap().as_scalar().unwrap().text, expected, "{text:?}");
        }
    }

    #[test]
    fn second_document_and_nothing() {
        let mut report = Report::new("f");
        assert_eq!(
            parse(b"a: 1\n---\nb: 2\n", &mut report).unwrap().second,
            Some(Place { line: 2, column: 1 })
        );
        assert_eq!(parse(b"# nothing\n", &mut report).unwrap().first, None);
        assert_eq!(parse(b"a: 1\n---\n{[", &mut report).unwrap().second.unwrap().line, 2);
        assert_eq!(parse("\u{feff}a: 1\r\n".as_bytes(), &mut report).unwrap().second, None);
    }

    #[test]
    fn all_documents() {
        for (text, expected) in [
            ("a: 1\n---\nb: 2\n...\n---\n- c", vec![(1, false), (3, false), (6, false)]),
            ("# nothing\n", vec![]),
            ("a: 1\n---\n", vec![(1, false), (3, true)]),
            ("a: 1\n---\n# nothing\n", vec![(1, false), (4, true)]),
            ("a: 1\n...\n", vec![(1, false)]),
            ("---\n--- # b\nb: 1", vec![(2, true), (3, false)]),
        ] {
            let mut report = Report::new("f");
            let roots = parse_all(text.as_bytes(), &mut report).unwrap();
            let found: Vec<(u32, bool)> =
                roots.iter().map(|root| (root.place.line, root.is_null())).collect();
            assert_eq!(found, expected, "{text:?}");
        }
        let mut report = Report::new("f");
        assert_eq!(parse_all(b"a: 1\na: 2\n", &mut report).unwrap().len(), 1);
        assert_eq!(parse_all(b"a: &b 1\n---\nc: *b\n", &mut report), None);
        assert_eq!(report.to_string(), "f:3:4: `*b` names an anchor that is not set above");
    }
}
