//! From a line of a unit to the line of the text it was written in.

use std::collections::HashMap;

use basalt_model::report::{Place, Report};
use basalt_model::yaml::{self, ScalarStyle, Value, Yaml};
use camino::Utf8Path;

use super::folder::Contents;
use crate::compose::Source;
use crate::local;
use crate::tree::Origin;

/// The texts that lines are looked up in; each is read when the first line of it is asked for.
pub(super) struct Lines<'a> {
    sources: &'a [Source<'a>],
    files_dir: Option<&'a Utf8Path>,
    read: HashMap<&'a str, Option<Text<'a>>>,
}

/// Where a line is written.
#[derive(Debug)]
pub(super) struct Found {
    pub origin: Origin,
    /// Whether the text there is the line itself. What has been put into it may be a secret.
    pub is_as_written: bool,
}

struct Text<'a> {
    lines: Vec<&'a str>,
    documents: Vec<Yaml>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(sources: &'a [Source<'a>], files_dir: Option<&'a Utf8Path>) -> Lines<'a> {
        Lines { sources, files_dir, read: HashMap::new() }
    }

    /// Where line `line` of `contents` is written: in a block of literal text (`|`) or in a local file it has a line of
    /// its own. Of contents in another form, or made by the compiler, it is the place of the whole.
    pub(super) fn find(&mut self, contents: &Contents, line: u32) -> Found {
        let whole = || Found { origin: contents.origin.clone(), is_as_written: false };
        let files_dir = self.files_dir;
        let Some(text) = self.text(&contents.origin.file) else { return whole() };
        let place = contents.origin.place;
        let Some(written) = text.documents.iter().find_map(|root| value_at(root, place)) else {
            return whole();
        };
        let Some(scalar) = written.as_scalar() else { return whole() };
        let expected = contents.text.lines().nth(line.saturating_sub(1) as usize);
        if let Some(files_dir) = files_dir.filter(|_| contents.origin.path.ends_with("_local")) {
            let file = local::name(files_dir, &scalar.text);
            let place = Place { line, column: expected.map_or(1, column) };
            let origin = Origin { file: file.as_str().into(), ..contents.origin.clone() };
            return Found { origin: origin.at(place), is_as_written: true };
        }
        let is_as_written = scalar.text == contents.text;
        // A variable in the text is another text; its lines are the same ones unless it brings some with it.
        if scalar.style != ScalarStyle::Literal
            || scalar.text.lines().count() != contents.text.lines().count()
        {
            return Found { is_as_written, ..whole() };
        }
        let number = written.resolved().place.line + line;
        let found = text.lines.get(number as usize - 1).copied();
        let is_same = |found: &str, expected: &str| {
            found.trim() == expected.trim() || (!is_as_written && found.contains("${{"))
        };
        match (found, expected) {
            (Some(found), Some(expected)) if is_same(found, expected) => Found {
                origin: contents.origin.clone().at(Place { line: number, column: column(found) }),
                is_as_written: found.trim() == expected.trim(),
            },
            _ => Found { is_as_written, ..whole() },
        }
    }

    fn text(&mut self, file: &str) -> Option<&Text<'a>> {
        let source = *self.sources.iter().find(|source| source.file == file)?;
        let read = self.read.entry(source.file).or_insert_with(|| {
            let documents = yaml::parse_all(source.bytes, &mut Report::new(""))?;
            let lines = std::str::from_utf8(source.bytes).ok()?.lines().collect();
            Some(Text { lines, documents })
        });
        read.as_ref()
    }
}

/// The column of the first character that is not white space.
fn column(line: &str) -> u32 {
    let indentation = line.chars().take_while(|character| character.is_whitespace()).count();
    u32::try_from(indentation + 1).unwrap_or(u32::MAX)
}

/// The scalar, or the alias of one, that stands at `place` as a value.
fn value_at(root: &Yaml, place: Place) -> Option<&Yaml> {
    let mut stack = vec![root];
    while let Some(yaml) = stack.pop() {
        match &yaml.value {
            Value::Map(entries) => stack.extend(entries.iter().map(|(_, value)| value)),
            Value::List(items) => stack.extend(items),
            Value::Scalar(_) | Value::Alias(_) if yaml.place == place => return Some(yaml),
            Value::Scalar(_) | Value::Alias(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ä
systemd:
  units:
    -
    - name: a.service
      contents: |
        [Service]

          Key=value
    - contents: >
        [Service]
        Key=value
    - contents: !!str |2-
          Key=value
    - contents: \"Key=value\"
    - contents_local: sub/a.service
    - contents: &a |
        Key=value
    - contents: *a
    - contents: |
        [Service]
        Environment=A=${{ secret }}
---
systemd:
  units:
    - contents: |
        Key=other
";

    /// `place` is that of the contents; of contents from a local file, that of its name.
    #[track_caller]
    fn check(place: (u32, u32), contents: &str, line: u32, expected: &str) {
        let sources = [Source { file: "a.bu", bytes: TEXT.as_bytes() }];
        let mut lines = Lines::of(&sources, Some(Utf8Path::new("files")));
        let is_local = TEXT.lines().nth(place.0 as usize - 1).unwrap().contains("contents_local");
        let path = if is_local { "$.contents_local" } else { "$.contents" };
        let place = Place { line: place.0, column: place.1 };
        let origin = Origin { file: "a.bu".into(), place, path: path.into() };
        let found = lines.find(&Contents { text: contents.to_owned(), origin }, line);
        assert_eq!(format!("{}:{}", found.origin.file, found.origin.place), expected);
    }

    #[test]
    fn lines_of_units() {
        let literal = "[Service]\n\n  Key=value\n";
        check((6, 17), literal, 1, "a.bu:7:9");
        check((6, 17), literal, 3, "a.bu:9:11");
        // Behind the end, of other contents, and in forms where lines are not lines: the whole.
        check((6, 17), literal, 4, "a.bu:6:17");
        check((6, 17), "[Mount]\n", 1, "a.bu:6:17");
        check((10, 17), "[Service] Key=value\n", 1, "a.bu:10:17");
        check((13, 17), "  Key=value", 1, "a.bu:14:11");
        check((15, 17), "Key=value", 1, "a.bu:15:17");
        check((16, 23), "[Service]\n Key=value\n", 2, "files/sub/a.service:2:2");
        check((17, 17), "Key=value\n", 1, "a.bu:18:9");
        check((19, 17), "Key=value\n", 1, "a.bu:18:9");
        // A variable was put in.
        check((20, 17), "[Service]\nEnvironment=A=x\n", 2, "a.bu:22:9");
        check((20, 17), "[Service]\nEnvironment=A=x\ny\n", 2, "a.bu:20:17");
        // Another document.
        check((26, 17), "Key=other\n", 1, "a.bu:27:9");
    }

    #[test]
    fn texts_that_are_not_there() {
        let mut lines = Lines::of(&[], None);
        let origin = Origin::root("a.bu", Place::START).below("x");
        let found = lines.find(&Contents { text: "a\n".to_owned(), origin }, 1);
        assert_eq!(found.origin.place, Place::START);
        assert!(!found.is_as_written);
    }
}
