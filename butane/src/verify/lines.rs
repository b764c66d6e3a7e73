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

struct Text<'a> {
    lines: Vec<&'a str>,
    root: Yaml,
}

impl<'a> Lines<'a> {
    pub(super) fn of(sources: &'a [Source<'a>], files_dir: Option<&'a Utf8Path>) -> Lines<'a> {
        Lines { sources, files_dir, read: HashMap::new() }
    }

    /// Where line `line` of `contents` is written: in a block of literal text (`|`) or in a local file it has a line of
    /// its own. Of contents in another form, or made by the compiler, it is the place of the whole.
    pub(super) fn find(&mut self, contents: &Contents, line: u32) -> Origin {
        let whole = contents.origin.clone();
        let files_dir = self.files_dir;
        let Some(text) = self.text(&whole.file) else { return whole };
        let Some(written) = value(&text.root, &whole.path) else { return whole };
        let Some(scalar) = written.as_scalar() else { return whole };
        if let Some(files_dir) = files_dir.filter(|_| whole.path.ends_with("_local")) {
            let file = local::name(files_dir, &scalar.text);
            let line_text = contents.text.lines().nth(line.saturating_sub(1) as usize);
            let place = Place { line, column: line_text.map_or(1, column) };
            return Origin { file: file.as_str().into(), ..whole }.at(place);
        }
        if scalar.style != ScalarStyle::Literal || scalar.text != contents.text {
            return whole;
        }
        let number = written.place.line + line;
        let found = text.lines.get(number as usize - 1).copied();
        let expected = contents.text.lines().nth(line.saturating_sub(1) as usize);
        match (found, expected) {
            (Some(found), Some(expected)) if found.trim() == expected.trim() => {
                whole.at(Place { line: number, column: column(found) })
            }
            _ => whole,
        }
    }

    fn text(&mut self, file: &str) -> Option<&Text<'a>> {
        let source = *self.sources.iter().find(|source| source.file == file)?;
        let read = self.read.entry(source.file).or_insert_with(|| {
            let root = yaml::parse(source.bytes, &mut Report::new(""))?.first?;
            Some(Text { lines: std::str::from_utf8(source.bytes).ok()?.lines().collect(), root })
        });
        read.as_ref()
    }
}

/// The column of the first character that is not white space.
fn column(line: &str) -> u32 {
    let indentation = line.chars().take_while(|character| character.is_whitespace()).count();
    u32::try_from(indentation + 1).unwrap_or(u32::MAX)
}

/// The value at `$.systemd.units.0.contents`.
fn value<'y>(root: &'y Yaml, path: &str) -> Option<&'y Yaml> {
    let mut value = root.resolved();
    for part in path.strip_prefix("$.")?.split('.') {
        value = match &value.value {
            Value::Map(entries) => {
                let is_named = |key: &Yaml| key.as_scalar().is_some_and(|key| key.text == part);
                &entries.iter().find(|(key, _)| is_named(key))?.1
            }
            // Items that are null do not count, as in the paths.
            Value::List(items) => {
                items.iter().filter(|item| !item.is_null()).nth(part.parse().ok()?)?
            }
            Value::Scalar(_) | Value::Alias(_) => return None,
        }
        .resolved();
    }
    Some(value)
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
";

    #[track_caller]
    fn check(path: &str, contents: &str, line: u32, expected: &str) {
        let sources = [Source { file: "a.bu", bytes: TEXT.as_bytes() }];
        let mut lines = Lines::of(&sources, Some(Utf8Path::new("files")));
        let whole = Place { line: 99, column: 9 };
        let origin = Origin { file: "a.bu".into(), place: whole, path: path.into() };
        let found = lines.find(&Contents { text: contents.to_owned(), origin }, line);
        assert_eq!(format!("{}:{}", found.file, found.place), expected);
    }

    #[test]
    fn lines_of_units() {
        let literal = "[Service]\n\n  Key=value\n";
        check("$.systemd.units.0.contents", literal, 1, "a.bu:7:9");
        check("$.systemd.units.0.contents", literal, 3, "a.bu:9:11");
        // Behind the end, of other contents, and in forms where lines are not lines: the whole.
        check("$.systemd.units.0.contents", literal, 4, "a.bu:99:9");
        check("$.systemd.units.0.contents", "[Mount]\n", 1, "a.bu:99:9");
        check("$.systemd.units.1.contents", "[Service] Key=value\n", 1, "a.bu:99:9");
        check("$.systemd.units.2.contents", "  Key=value", 1, "a.bu:14:11");
        check("$.systemd.units.3.contents", "Key=value", 1, "a.bu:99:9");
        check(
            "$.systemd.units.4.contents_local",
            "[Service]\n Key=value\n",
            2,
            "files/sub/a.service:2:2",
        );
        check("$.systemd.units.5.contents", "Key=value\n", 1, "a.bu:18:9");
        check("$.systemd.units.6.contents", "Key=value\n", 1, "a.bu:18:9");
        check("$.storage.filesystems.0.with_mount_unit", "[Mount]\n", 1, "a.bu:99:9");
    }

    #[test]
    fn texts_that_are_not_there() {
        let mut lines = Lines::of(&[], None);
        let origin = Origin::root("a.bu", Place::START).below("x");
        let found = lines.find(&Contents { text: "a\n".to_owned(), origin }, 1);
        assert_eq!(found.place, Place::START);
    }
}
