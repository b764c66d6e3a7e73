//! `\/` in double quotes: JSON and YAML 1.2 have it, YAML 1.1 and the reference do not, and so a config with it would
//! compile here and nowhere else.

use basalt_model::report::Place;
use basalt_model::yaml::{ScalarStyle, Value, Yaml};

use crate::tree::{Findings, Origin};

/// Reports each such escape in the documents of a text.
pub(super) fn refuse_slashes(
    bytes: &[u8],
    documents: &[Yaml],
    findings: &mut Findings,
    file: &str,
) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Most texts have none, and are not looked at any further.
    if !text.contains("\\/") {
        return;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = lines(text);
    let mut stack: Vec<&Yaml> = documents.iter().collect();
    while let Some(yaml) = stack.pop() {
        match &yaml.value {
            Value::Scalar(scalar) if scalar.style == ScalarStyle::DoubleQuoted => {
                if let Some(place) = slash(&lines, yaml.place) {
                    findings
                        .error(&Origin::root(file, place), "`\\/` is not an escape of YAML 1.1")
                        .hint("write `/`");
                }
            }
            Value::List(items) => stack.extend(items),
            Value::Map(entries) => {
                stack.extend(entries.iter().flat_map(|(key, value)| [key, value]))
            }
            // What an alias stands for is in the text once.
            Value::Scalar(_) | Value::Alias(_) => {}
        }
    }
}

/// The lines of a text, by the line ends of YAML 1.1.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        lines.push(&rest[..end]);
        let is_pair = rest[end..].starts_with("\r\n");
        let length = rest[end..].chars().next().map_or(0, char::len_utf8);
        rest = &rest[end + length + usize::from(is_pair)..];
    }
    lines.push(rest);
    lines
}

/// The first `\/` of the quoted scalar at `start`, where its tag or anchor may stand.
fn slash(lines: &[&str], start: Place) -> Option<Place> {
    let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let (mut is_open, mut is_escaped) = (false, false);
    let mut skipped = index(start.column);
    for (line, number) in lines.iter().skip(index(start.line)).zip(start.line..) {
        for (character, column) in line.chars().zip(1_u32..).skip(skipped) {
            match character {
                '/' if is_escaped => return Some(Place { line: number, column: column - 1 }),
                _ if is_escaped => is_escaped = false,
                '\\' if is_open => is_escaped = true,
                '"' if is_open => return None,
                '"' => is_open = true,
                _ => {}
            }
        }
        // A line end may be escaped too.
        is_escaped = false;
        skipped = 0;
    }
    None
}

#[cfg(test)]
mod tests {
    use basalt_model::yaml::parse_all;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut findings = Findings::new("a.bu");
        let documents = parse_all(text.as_bytes(), &mut findings.0).unwrap();
        refuse_slashes(text.as_bytes(), &documents, &mut findings, "a.bu");
        let found: Vec<String> =
            findings.0.sorted().iter().map(|finding| finding.place.to_string()).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn slashes_are_found_in_double_quotes_alone() {
        check("a: \"b\\/c\"\n", &["1:6"]);
        check("\"\\/\": [1, !!str \"\\/\"]\n", &["1:2", "1:18"]);
        check("a: \"b \\\n  c\\/\"\n", &["2:4"]);
        check("a: &x \"é\\/\"\nb: *x\n", &["1:9"]);
        for text in
            ["a: 'b\\/c'\n", "a: b\\/c\n", "a: \"b\\\\/c\"\n", "a: |\n  \\/\n", "# \\/\na: \"b\"\n"]
        {
            check(text, &[]);
        }
    }
}
