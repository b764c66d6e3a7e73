//! The size report, for people and for programs.

use std::io::{self, Write};

use basalt_butane::size::{Contents, Form, Item, SizeReport};

use crate::output::Format;
use crate::visible::visible;

/// The items that people are shown; all of them are in the JSON.
const SHOWN: usize = 20;

/// Prints a report.
///
/// # Errors
/// Those of `out`.
pub(super) fn print(report: &SizeReport, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text(report, out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, report)?;
            writeln!(out)
        }
    }
}

fn text(report: &SizeReport, out: &mut dyn Write) -> io::Result<()> {
    let mut rows =
        vec![Row::new("BYTES", "SHARE", "CONTENTS", "AS", "RATIO", "PART OF THE CONFIG")];
    let (shown, hidden) = report.items.split_at(report.items.len().min(SHOWN));
    rows.extend(shown.iter().map(|item| row(item, report.ignition)));
    let sum = |items: &[Item]| items.iter().map(|item| item.bytes).sum::<usize>();
    if !hidden.is_empty() {
        let what = format!("{} smaller parts", hidden.len());
        rows.push(Row::sum(sum(hidden), report.ignition, &what));
    }
    rows.push(Row::sum(report.rest, report.ignition, "everything else"));
    rows.push(Row::sum(report.ignition, report.ignition, "Ignition config in one line"));
    rows.push(Row::sum(report.output, report.ignition, "output, with its final newline"));
    rows.iter().try_for_each(|row| row.print(out))?;
    let width = report.limits.iter().map(|limit| limit.name.len()).max().unwrap_or(0);
    writeln!(out, "\n{:>9}  {:>6}  LIMIT", "BYTES", "USED")?;
    for limit in &report.limits {
        let used = share(report.output, limit.bytes);
        let room = match limit.bytes.checked_sub(report.output) {
            Some(_) => "fits".to_owned(),
            None => format!("too large by {} bytes", report.output - limit.bytes),
        };
        writeln!(out, "{:>9}  {used:>6}  {:<width$}  {room}", limit.bytes, limit.name)?;
    }
    Ok(())
}

struct Row {
    bytes: String,
    share: String,
    contents: String,
    forms: String,
    ratio: String,
    what: String,
}

impl Row {
    fn new(bytes: &str, share: &str, contents: &str, forms: &str, ratio: &str, what: &str) -> Row {
        let [bytes, share, contents, forms, ratio, what] =
            [bytes, share, contents, forms, ratio, what].map(str::to_owned);
        Row { bytes, share, contents, forms, ratio, what }
    }

    fn sum(bytes: usize, whole: usize, what: &str) -> Row {
        Row::new(&bytes.to_string(), &share(bytes, whole), "", "", "", what)
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let Row { bytes, share, contents, forms, ratio, what } = self;
        writeln!(out, "{bytes:>9}  {share:>6}  {contents:>9}  {forms:<14}  {ratio:>5}  {what}")
    }
}

fn row(item: &Item, whole: usize) -> Row {
    let Item { kind, name, file, line, column, .. } = item;
    let what = format!("{kind} {}  {}:{line}:{column}", visible(name), visible(file));
    let (contents, forms, ratio) = match &item.contents {
        Some(contents) => (
            contents.bytes.to_string(),
            contents.forms.iter().map(|form| word(*form)).collect::<Vec<_>>().join("+"),
            ratio(contents),
        ),
        None => Default::default(),
    };
    let (bytes, share) = (item.bytes.to_string(), share(item.bytes, whole));
    Row { bytes, share, contents, forms, ratio, what }
}

fn word(form: Form) -> &'static str {
    match form {
        Form::Text => "text",
        Form::Escaped => "escaped",
        Form::Base64 => "base64",
        Form::Gzip => "gzip",
    }
}

/// What a byte of the contents takes in the config.
fn ratio(contents: &Contents) -> String {
    match contents.bytes {
        0 => String::new(),
        bytes => format!("{:.2}", contents.encoded as f64 / bytes as f64),
    }
}

fn share(part: usize, whole: usize) -> String {
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_butane::size::Limit;
    use expect_test::{Expect, expect};

    fn item(kind: &'static str, name: &str, bytes: usize, contents: Option<Contents>) -> Item {
        let (file, path) = ("a.bu".to_owned(), "$.storage.files.0".to_owned());
        Item { kind, name: name.to_owned(), file, path, line: 5, column: 7, bytes, contents }
    }

    fn contents(bytes: u64, encoded: usize, forms: &[Form]) -> Option<Contents> {
        Some(Contents { bytes, encoded, forms: forms.to_vec() })
    }

    fn report(items: Vec<Item>) -> SizeReport {
        let ignition = items.iter().map(|item| item.bytes).sum::<usize>() + 100;
        let limit = |name, bytes| Limit { name, bytes, reference: "https://example.com" };
        let limits = vec![limit("a small cloud", 1024), limit("a cloud", 65536)];
        SizeReport { output: ignition + 1, ignition, items, rest: 100, limits }
    }

    #[track_caller]
    fn check(items: Vec<Item>, format: Format, expected: &Expect) {
        let mut out = Vec::new();
        print(&report(items), format, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        // Columns are to be seen from the start of the line.
        let lines = text.lines().map(|line| format!("|{line}\n"));
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn for_people() {
        let mut items = vec![
            item("file", "/zipped", 4000, contents(30000, 3900, &[Form::Gzip])),
            item("file", "/both", 500, contents(300, 400, &[Form::Escaped, Form::Base64])),
            item("unit", "a\n.service", 300, contents(250, 260, &[Form::Text])),
            item("merged config", "0", 200, None),
            item("file", "/empty", 100, contents(0, 6, &[Form::Escaped])),
        ];
        items.extend((0..18).map(|number| item("directory", &format!("/{number}"), 10, None)));
        check(
            items,
            Format::Text,
            &expect![[r#"
                |    BYTES   SHARE   CONTENTS  AS              RATIO  PART OF THE CONFIG
                |     4000   74.3%      30000  gzip             0.13  file /zipped  a.bu:5:7
                |      500    9.3%        300  escaped+base64   1.33  file /both  a.bu:5:7
                |      300    5.6%        250  text             1.04  unit a\n.service  a.bu:5:7
                |      200    3.7%                                    merged config 0  a.bu:5:7
                |      100    1.9%          0  escaped                file /empty  a.bu:5:7
                |       10    0.2%                                    directory /0  a.bu:5:7
                |       10    0.2%                                    directory /1  a.bu:5:7
                |       10    0.2%                                    directory /2  a.bu:5:7
                |       10    0.2%                                    directory /3  a.bu:5:7
                |       10    0.2%                                    directory /4  a.bu:5:7
                |       10    0.2%                                    directory /5  a.bu:5:7
                |       10    0.2%                                    directory /6  a.bu:5:7
                |       10    0.2%                                    directory /7  a.bu:5:7
                |       10    0.2%                                    directory /8  a.bu:5:7
                |       10    0.2%                                    directory /9  a.bu:5:7
                |       10    0.2%                                    directory /10  a.bu:5:7
                |       10    0.2%                                    directory /11  a.bu:5:7
                |       10    0.2%                                    directory /12  a.bu:5:7
                |       10    0.2%                                    directory /13  a.bu:5:7
                |       10    0.2%                                    directory /14  a.bu:5:7
                |       30    0.6%                                    3 smaller parts
                |      100    1.9%                                    everything else
                |     5380  100.0%                                    Ignition config in one line
                |     5381  100.0%                                    output, with its final newline
                |
                |    BYTES    USED  LIMIT
                |     1024  525.5%  a small cloud  too large by 4357 bytes
                |    65536    8.2%  a cloud        fits
            "#]],
        );
    }

    #[test]
    fn for_programs() {
        let items = vec![
            item("file", "/zipped", 4000, contents(30000, 3900, &[Form::Gzip])),
            item("link", "/a", 40, None),
        ];
        check(
            items,
            Format::Json,
            &expect![[r#"
                |{
                |  "output": 4141,
                |  "ignition": 4140,
                |  "items": [
                |    {
                |      "kind": "file",
                |      "name": "/zipped",
                |      "file": "a.bu",
                |      "path": "$.storage.files.0",
                |      "line": 5,
                |      "column": 7,
                |      "bytes": 4000,
                |      "contents": {
                |        "bytes": 30000,
                |        "encoded": 3900,
                |        "forms": [
                |          "gzip"
                |        ]
                |      }
                |    },
                |    {
                |      "kind": "link",
                |      "name": "/a",
                |      "file": "a.bu",
                |      "path": "$.storage.files.0",
                |      "line": 5,
                |      "column": 7,
                |      "bytes": 40,
                |      "contents": null
                |    }
                |  ],
                |  "rest": 100,
                |  "limits": [
                |    {
                |      "name": "a small cloud",
                |      "bytes": 1024,
                |      "reference": "https://example.com"
                |    },
                |    {
                |      "name": "a cloud",
                |      "bytes": 65536,
                |      "reference": "https://example.com"
                |    }
                |  ]
                |}
            "#]],
        );
    }
}
