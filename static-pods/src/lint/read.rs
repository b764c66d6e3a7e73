//! Text → tree, the way the kubelet reads a file: as JSON when it begins with `{`, else the first document of a YAML
//! stream by the rules of Go's yaml.v2.

use std::collections::HashMap;

use basalt_model::report::{Place, Report};
use basalt_model::yaml::{
    BEYOND_BOUNDS, Scalar, ScalarStyle, Value as Yaml, Yaml as YamlNode, parse_all, parse_first,
    scalar,
};

use super::json;
use super::tree::{At, Entry, Node, Value};
use super::{Effect, Sink};

/// Of this many bytes or more, the kubelet reads nothing.
const MAX_BYTES: usize = 10 << 20;

/// The tag that a `<<` has by itself.
const MERGE: &str = "tag:yaml.org,2002:merge";

/// The manifest of a file; `None` when a finding says why there is none.
pub(super) fn read(bytes: &[u8], sink: &mut Sink<'_>) -> Option<Node> {
    if bytes.len() >= MAX_BYTES {
        let message = format!("the file has {} bytes; it must stay below {MAX_BYTES}", bytes.len());
        sink.whole(Effect::Refused, "file-too-large", message, "make it smaller");
        return None;
    }
    if let Some(decoded) = from_utf16(bytes) {
        let Some(text) = decoded else {
            let message = "begins as UTF-16, and is not UTF-16 throughout";
            let remedy = "save the file as UTF-8";
            sink.at(Effect::Refused, "yaml-syntax", Place::START, "", message, remedy);
            return None;
        };
        return as_yaml(text.as_bytes(), sink);
    }
    let lossy = String::from_utf8_lossy(bytes);
    if lossy.trim_start().starts_with('{') {
        return as_json(bytes, sink);
    }
    as_yaml(bytes, sink)
}

/// The text of a file that begins with the mark of UTF-16, which yaml.v2 reads and the kubelet never takes for JSON.
/// `Some(None)`: it is not UTF-16 to its end.
fn from_utf16(bytes: &[u8]) -> Option<Option<String>> {
    let (unit, rest): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, rest @ ..] => (u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => (u16::from_be_bytes, rest),
        _ => return None,
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    Some(String::from_utf16(&units).ok().filter(|_| odd.is_empty()))
}

/// The version of YAML that a directive before the document asks for, when yaml.v2 does not know it.
fn strange_version(text: &str) -> Option<Place> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let before = (1..)
        .zip(text.lines())
        .take_while(|(_, line)| line.is_empty() || line.starts_with([' ', '#', '%']));
    for (line, text) in before {
        let mut words = text.split_ascii_whitespace();
        if words.next() == Some("%YAML") && words.next().is_some_and(|version| version != "1.1") {
            return Some(Place { line, column: 1 });
        }
    }
    None
}

/// All documents of a file of objects; `None` when a finding says why there are none.
pub(super) fn read_all(bytes: &[u8], sink: &mut Sink<'_>) -> Option<Vec<Node>> {
    let lossy = String::from_utf8_lossy(bytes);
    if lossy.trim_start().starts_with('{') {
        return as_json(bytes, sink).map(|node| vec![node]);
    }
    let mut report = Report::new("");
    let Some(documents) = parse_all(bytes, &mut report) else {
        for finding in report.sorted() {
            sink.at(Effect::Refused, "yaml-syntax", finding.place, "", &finding.message, "");
        }
        return None;
    };
    let lines = lossy.lines().collect();
    let aliasing = Aliasing { read: 1, ..Aliasing::default() };
    let mut resolver = Resolver { sink, lines, in_braces: false, has_errors: false, aliasing };
    let nodes = documents.iter().map(|document| resolver.node(document, "")).collect();
    (!resolver.has_errors).then_some(nodes)
}

fn as_json(bytes: &[u8], sink: &mut Sink<'_>) -> Option<Node> {
    match json::parse(bytes) {
        Ok(node) => {
            repeats_in_json(&At::root(&node), sink);
            Some(node)
        }
        Err(wrong) if wrong.is_bound => {
            beyond_bounds(wrong.place, &wrong.message, sink);
            None
        }
        Err(wrong) => {
            let message = format!("not JSON: {}", wrong.message);
            let remedy = match String::from_utf8_lossy(bytes).trim_start().as_bytes() {
                [b'{', b'{' | b'%', ..] => {
                    "it looks like a template: what it makes belongs here, not the template itself"
                }
                _ => {
                    "a file that begins with `{` is read as JSON only: write JSON, or start with a comment line to have \
                     it read as YAML"
                }
            };
            sink.at(Effect::Refused, "json-syntax", wrong.place, "", message, remedy);
            None
        }
    }
}

/// The kubelet's own bounds are wider: 10,000 levels, and as many values as its memory holds, or fewer where aliases
/// stand for most of them.
fn beyond_bounds(place: Place, message: &str, sink: &mut Sink<'_>) {
    let remedy = "write less: no pod that can run comes near this bound";
    sink.at(Effect::Unread, "beyond-bounds", place, "", message, remedy);
}

fn repeats_in_json(at: &At<'_>, sink: &mut Sink<'_>) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for entry in at.map() {
        if let Some(first) = seen.insert(&entry.key, entry.place) {
            repeated(sink, entry.place, &at.get(&entry.key).path, &entry.key, first);
        }
    }
    let below = at.map().iter().map(|entry| At::root(&entry.value));
    below.chain(at.items()).for_each(|at| repeats_in_json(&at, sink));
}

fn repeated(sink: &mut Sink<'_>, place: Place, path: &str, key: &str, first: Place) {
    let message = format!("`{key}` is already set in line {}", first.line);
    sink.at(Effect::Dropped, "duplicate-key", place, path, message, "keep one of the two");
}

fn as_yaml(bytes: &[u8], sink: &mut Sink<'_>) -> Option<Node> {
    if let Some(place) = strange_version(&String::from_utf8_lossy(bytes)) {
        let message = "the kubelet reads YAML 1.1 and no other version";
        sink.at(Effect::Refused, "yaml-syntax", place, "", message, "remove the line");
        return None;
    }
    let mut report = Report::new("");
    let Some(stream) = parse_first(bytes, &mut report) else {
        for finding in report.sorted() {
            if finding.hint.as_deref() == Some(BEYOND_BOUNDS) {
                beyond_bounds(finding.place, &finding.message, sink);
                continue;
            }
            let remedy = finding.hint.as_deref().unwrap_or("correct the YAML");
            sink.at(Effect::Refused, "yaml-syntax", finding.place, "", &finding.message, remedy);
        }
        return None;
    };
    let Some(first) = stream.first else {
        sink.whole(Effect::Refused, "empty-file", "there is nothing in the file", "write one pod");
        return None;
    };
    if let Some(second) = stream.second {
        for place in further_documents(bytes, second) {
            let message = "a second document: only the first of a file is read";
            let remedy = "give each pod a file of its own";
            sink.at(Effect::Dropped, "further-document", place, "", message, remedy);
        }
    }
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().collect();
    let aliasing = Aliasing { read: 1, ..Aliasing::default() };
    let mut resolver = Resolver { sink, lines, in_braces: false, has_errors: false, aliasing };
    let node = resolver.node(&first, "");
    (!resolver.has_errors).then_some(node)
}

/// Where documents stand that hold something. The kubelet does not even look whether they are YAML.
fn further_documents(bytes: &[u8], second: Place) -> Vec<Place> {
    match parse_all(bytes, &mut Report::new("")) {
        Some(documents) => {
            let further = documents.iter().skip(1).filter(|document| !document.is_null());
            further.map(|document| document.place).collect()
        }
        None => vec![second],
    }
}

struct Resolver<'s, 'f> {
    sink: &'s mut Sink<'f>,
    /// Of the text.
    lines: Vec<&'s str>,
    /// Whether the value stands between braces or brackets.
    in_braces: bool,
    has_errors: bool,
    aliasing: Aliasing,
}

/// How much of a document stands there by aliases, as the kubelet's parser counts it while it reads
/// (`allowedAliasRatio` of go-yaml): keys and values alike, and the document itself.
#[derive(Default)]
struct Aliasing {
    depth: u32,
    read: u32,
    by_aliases: u32,
    is_told: bool,
}

impl Aliasing {
    /// Counts one value; true at the first that is too much.
    fn is_too_much(&mut self) -> bool {
        self.read += 1;
        self.by_aliases += u32::from(self.depth > 0);
        if self.is_told || self.by_aliases <= 100 || self.read <= 1000 {
            return false;
        }
        let most = match f64::from(self.read) {
            few if few <= 400_000.0 => 0.99,
            many if many >= 4_000_000.0 => 0.10,
            some => 0.99 - 0.89 * (some - 400_000.0) / 3_600_000.0,
        };
        self.is_told = f64::from(self.by_aliases) / f64::from(self.read) > most;
        self.is_told
    }
}

const TAG_PREFIX: &str = "tag:yaml.org,2002:";

impl Resolver<'_, '_> {
    fn node(&mut self, yaml: &YamlNode, path: &str) -> Node {
        let place = yaml.place;
        self.count(place, path);
        let value = match &yaml.value {
            Yaml::Alias(target) => {
                // What it stands for has been read where it is written.
                let outside = std::mem::replace(&mut self.in_braces, false);
                self.aliasing.depth += 1;
                let value = self.node(target, path).value;
                self.aliasing.depth -= 1;
                self.in_braces = outside;
                value
            }
            Yaml::Scalar(scalar) => self.scalar(yaml, scalar, path),
            Yaml::List(items) => {
                let outside = self.enter(yaml);
                let item = |(index, item)| self.node(item, &format!("{path}[{index}]"));
                let items = items.iter().enumerate().map(item).collect();
                self.in_braces = outside;
                Value::List(items)
            }
            Yaml::Map(entries) => {
                let outside = self.enter(yaml);
                let entries = self.map(entries, path);
                self.in_braces = outside;
                Value::Map(entries)
            }
        };
        Node { place, value }
    }

    fn count(&mut self, place: Place, path: &str) {
        if self.aliasing.is_too_much() {
            let message = "nearly all of the document stands there by aliases, which the kubelet takes for an attack";
            let remedy = "write more of it out";
            self.sink.at(Effect::Refused, "yaml-syntax", place, path, message, remedy);
            self.has_errors = true;
        }
    }

    /// Notes whether a collection is written with braces or brackets; gives what was noted before.
    fn enter(&mut self, yaml: &YamlNode) -> bool {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        let line = self.lines.get(index(yaml.place.line)).copied().unwrap_or_default();
        let mut rest = line.chars().skip(index(yaml.place.column)).peekable();
        // Anchors and tags stand before it.
        while matches!(rest.peek(), Some('&' | '!')) {
            while rest.next_if(|character| !character.is_whitespace()).is_some() {}
            while rest.next_if(|character| character.is_whitespace()).is_some() {}
        }
        let is_flow = matches!(rest.peek(), Some('{' | '['));
        let is_inside = self.in_braces || is_flow;
        std::mem::replace(&mut self.in_braces, is_inside)
    }

    fn map(&mut self, entries: &[(YamlNode, YamlNode)], path: &str) -> Vec<Entry> {
        let mut found: Vec<Entry> = Vec::with_capacity(entries.len());
        let mut seen: HashMap<String, Place> = HashMap::new();
        for (key, value) in entries {
            self.count(key.place, path);
            if is_merge(key) {
                self.merge(value, path, &mut found);
                continue;
            }
            let Some(name) = self.key(key) else { continue };
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(first) = seen.insert(name.clone(), key.place) {
                repeated(self.sink, key.place, &below, &name, first);
            }
            let value = self.node(value, &below);
            found.push(Entry { key: name, place: key.place, value });
        }
        found
    }

    /// `<<: *name` puts the entries of another mapping, or of several, in this place.
    fn merge(&mut self, value: &YamlNode, path: &str, found: &mut Vec<Entry>) {
        match &value.resolved().value {
            Yaml::Map(entries) => {
                let merged = self.map(entries, path);
                found.extend(merged);
            }
            Yaml::List(items)
                if items.iter().all(|item| matches!(item.resolved().value, Yaml::Map(_))) =>
            {
                // The first of several wins.
                items.iter().rev().for_each(|item| self.merge(item, path, found));
            }
            _ => self.error(
                value.place,
                path,
                "a merge (`<<`) takes a mapping, or a list of mappings",
            ),
        }
    }

    fn error(&mut self, place: Place, path: &str, message: &str) {
        self.error_with(place, path, message, "correct the YAML");
    }

    fn error_with(&mut self, place: Place, path: &str, message: &str, remedy: &str) {
        self.has_errors = true;
        self.sink.at(Effect::Refused, "yaml-syntax", place, path, message, remedy);
    }

    /// What a key is in JSON.
    fn key(&mut self, key: &YamlNode) -> Option<String> {
        let node = self.node(key, "");
        match node.value {
            Value::Text(text) => Some(text),
            Value::Number(number) => Some(number),
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Map(_) => {
                let message =
                    "a key must be a text; `{{ … }}` is a template that was not filled in";
                self.error(key.place, "", message);
                None
            }
            Value::Null | Value::List(_) => {
                self.error(key.place, "", "a key must be a text");
                None
            }
        }
    }

    fn scalar(&mut self, yaml: &YamlNode, scalar: &Scalar, path: &str) -> Value {
        if self.in_braces && scalar.style == ScalarStyle::Plain && scalar.text.contains('?') {
            let message = "a `?` ends a text without quotes between braces or brackets";
            self.error_with(yaml.place, path, message, "put the text in quotes");
            return Value::Null;
        }
        let tag = yaml.tag.as_deref().map(|tag| tag.strip_prefix(TAG_PREFIX).unwrap_or(tag));
        let resolved = || resolve(&scalar.text);
        let value = match tag {
            None if scalar.style == ScalarStyle::Plain => resolved(),
            Some("int") => integer(&scalar.text.replace('_', "")),
            Some("float") => resolved().filter(|value| matches!(value, Value::Number(_))),
            Some("bool") => resolved().filter(|value| matches!(value, Value::Flag(_))),
            Some("null") => resolved().filter(|value| matches!(value, Value::Null)),
            Some("binary") => decode_base64(&scalar.text).map(Value::Text),
            // Every other tag, and quotes, make a text.
            None | Some(_) => return Value::Text(scalar.text.clone()),
        };
        value.unwrap_or_else(|| {
            let message = match tag {
                Some(tag) => format!(
                    "`{}` cannot be read as `!!{tag}`",
                    super::tree::beginning(&scalar.text)
                ),
                None => format!("`{}` is a number that JSON does not have", scalar.text),
            };
            self.error(yaml.place, path, &message);
            Value::Null
        })
    }
}

fn is_merge(key: &YamlNode) -> bool {
    let is_other = key.tag.as_deref().is_some_and(|tag| tag != MERGE);
    key.as_scalar().is_some_and(|key| key.text == "<<" && key.style == ScalarStyle::Plain)
        && !is_other
}

/// A plain scalar by the rules of yaml.v2; `None` for infinity and what is not a number.
fn resolve(text: &str) -> Option<Value> {
    let plain = Scalar { text: text.to_owned(), style: ScalarStyle::Plain };
    if scalar::is_null(&plain) {
        return Some(Value::Null);
    }
    if let Some(flag) = scalar::as_bool(&plain) {
        return Some(Value::Flag(flag));
    }
    if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
    {
        return None;
    }
    Some(number(text).unwrap_or_else(|| Value::Text(text.to_owned())))
}

fn number(text: &str) -> Option<Value> {
    let first = text.chars().next()?;
    if first == '.' {
        return float(text);
    }
    if !matches!(first, '+' | '-' | '0'..='9') {
        return None;
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| is_yaml_float(&plain).then(|| float(&plain)).flatten())
}

/// As Go's `strconv.ParseInt` with base 0 does: `0x`, `0o`, `0b` and a leading `0` name the base.
fn integer(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = |prefix: &str, radix| lower.strip_prefix(prefix).map(|rest| (rest, radix));
    let (digits, radix) = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0", 8).filter(|(rest, _)| !rest.is_empty()))
        .unwrap_or((lower.as_str(), 10));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    let number = if sign == "-" { -number } else { number };
    let most = if text.starts_with('+') { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=most).contains(&number).then(|| Value::Number(number.to_string()))
}

/// `[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or(("", mantissa));
    let has_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    is_digits(whole) && is_digits(fraction) && !mantissa.is_empty() && has_exponent
}

/// A number as Go writes it into JSON.
fn float(text: &str) -> Option<Value> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let size = number.abs();
    let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        number.to_string()
    };
    Some(Value::Number(text))
}

fn decode_base64(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut bits = 0_u32;
    let mut count = 0;
    let packed: String =
        text.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
    if !packed.len().is_multiple_of(4) {
        return None;
    }
    let body = packed.trim_end_matches('=');
    if packed.len() - body.len() > 2 {
        return None;
    }
    for character in body.bytes() {
        let digit = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match resolve(text) {
            None => "refused".to_owned(),
            Some(Value::Null) => "null".to_owned(),
            Some(Value::Flag(flag)) => flag.to_string(),
            Some(Value::Number(number)) => number,
            Some(Value::Text(text)) => format!("{text:?}"),
            Some(_) => unreachable!("a scalar is neither"),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn plain_scalars() {
        for (text, expected) in [
            ("yes", "true"),
            ("n", "false"),
            ("~", "null"),
            ("0644", "420"),
            ("0o600", "384"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("-0b11", "-3"),
            ("08", "8"),
            ("8080.0", "8080"),
            ("1e3", "1000"),
            ("1.5e+3", "1500"),
            ("1e400", "\"1e400\""),
            (".5", "0.5"),
            (".inf", "refused"),
            ("1:30", "\"1:30\""),
            ("2001-01-01", "\"2001-01-01\""),
            ("512Mi", "\"512Mi\""),
            ("1.2.3", "\"1.2.3\""),
            ("+1", "1"),
            ("-", "\"-\""),
            ("18446744073709551615", "18446744073709551615"),
            ("1e21", "1e+21"),
        ] {
            check(text, expected);
        }
    }
}
