//! Findings in the reference's two forms: one line each, or with the lines around the place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use basalt_butane::Source;
use basalt_model::report::{Finding, Report, Severity};

use super::excerpt::{CONTEXT, Line, Lines};
use crate::visible::visible;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) form: Form,
    pub(crate) is_colored: bool,
}

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `warning at $.storage.files.0.mode, line 5 col 13: …`.
    Raw,
    /// The lines around the place, with the message at the value.
    Framed,
}

/// Prints all findings by file and place. `sources` are the texts that lines are shown of.
///
/// # Errors
/// Those of `out`.
pub(crate) fn print(
    report: &Report,
    sources: &[Source],
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let findings = in_order(report, sources);
    let mut frames = Frames { sources, style, out };
    if style.form == Form::Raw {
        return findings.iter().try_for_each(|finding| frames.raw(finding));
    }
    let texts: BTreeMap<&str, Cow<str>> = sources
        .iter()
        .filter(|source| findings.iter().any(|finding| finding.file == source.file))
        .map(|source| (source.file, String::from_utf8_lossy(source.bytes)))
        .collect();
    let lines: BTreeMap<&str, Lines> = texts
        .iter()
        .map(|(file, text)| {
            let own = findings.iter().filter(|finding| finding.file == *file);
            (*file, Lines::around(text, own.map(|finding| finding.place.line)))
        })
        .collect();
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            writeln!(frames.out)?;
        }
        frames.framed(finding, lines.get(finding.file.as_str()))?;
    }
    Ok(())
}

/// By file in the order of the command line, then by place. What is about no file of it comes first: the values that
/// variables have.
fn in_order<'r>(report: &'r Report, sources: &[Source]) -> Vec<&'r Finding> {
    let mut findings = report.sorted();
    findings.sort_by_key(|finding| sources.iter().position(|source| source.file == finding.file));
    findings
}

/// The reference's colors.
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[1;36m";
const BLUE: &str = "\x1b[1;34m";
const RESET: &str = "\x1b[0m";

struct Frames<'f, W> {
    sources: &'f [Source<'f>],
    style: Style,
    out: &'f mut W,
}

impl<W: Write> Frames<'_, W> {
    /// ```text
    /// error[$.storage.files.0.mode]:
    ///   --> config.bu:5:13
    ///    |
    ///  3 | storage:
    ///  4 |   files:
    ///  5 |     - mode: 999999
    ///    |             ^^^^^^ the mode has more bits than there are
    ///    |
    ///    = hint: write it in octal, as in 0644
    /// ```
    fn framed(&mut self, finding: &Finding, lines: Option<&Lines>) -> io::Result<()> {
        let place = finding.place;
        let line = lines.and_then(|lines| Some((lines, lines.get(place.line)?)));
        let shown = line.and_then(|(lines, line)| Some((lines, line.show(place.column)?)));
        let Some((lines, shown)) = shown else { return self.raw(finding) };
        let severity = self.severity(finding);
        match path(finding) {
            Some(path) => writeln!(self.out, "{severity}[{path}]:")?,
            None => writeln!(self.out, "{severity}:")?,
        }
        let arrow = self.color("-->", BLUE);
        writeln!(self.out, "  {arrow} {}:{place}", visible(&finding.file))?;
        let around = place.line.saturating_sub(CONTEXT)..=place.line.saturating_add(CONTEXT);
        let around: Vec<(u32, &Line)> =
            around.filter_map(|number| Some((number, lines.get(number)?))).collect();
        let gutter = around.last().map_or(1, |(number, _)| number.to_string().len());
        writeln!(self.out, " {:gutter$} |", "")?;
        for (number, line) in around {
            let label = self.color(&format!("{number:gutter$}"), BLUE);
            if number != place.line {
                writeln!(self.out, " {label} | {}", line.start())?;
                continue;
            }
            writeln!(self.out, " {label} | {}", shown.text)?;
            let carets = self.color(&"^".repeat(shown.width), BLUE);
            let message = visible(&finding.message);
            writeln!(
                self.out,
                " {:gutter$} | {:indent$}{carets} {message}",
                "",
                "",
                indent = shown.indent
            )?;
        }
        writeln!(self.out, " {:gutter$} |", "")?;
        if let Some(hint) = &finding.hint {
            let word = self.color("hint", CYAN);
            writeln!(self.out, " {:gutter$} = {word}: {}", "", visible(hint))?;
        }
        Ok(())
    }

    fn raw(&mut self, finding: &Finding) -> io::Result<()> {
        let severity = match self.style.form {
            Form::Raw => word(finding.severity).to_owned(),
            Form::Framed => self.severity(finding),
        };
        let path = path(finding).map(|path| format!("{path}, ")).unwrap_or_default();
        let place = self.place(finding);
        writeln!(self.out, "{severity} at {path}{place}: {}", visible(&finding.message))?;
        match &finding.hint {
            Some(hint) => writeln!(self.out, "  hint: {}", visible(hint)),
            None => Ok(()),
        }
    }

    /// `line 5 col 13`, with the file where it could be another one.
    fn place(&self, finding: &Finding) -> String {
        let file = visible(&finding.file);
        // An argument has no lines.
        if file.starts_with("--var") {
            return file.into_owned();
        }
        let line = format!("line {} col {}", finding.place.line, finding.place.column);
        match self.sources {
            [source] if source.file == finding.file => line,
            _ => format!("{file} {line}"),
        }
    }

    fn severity(&self, finding: &Finding) -> String {
        let color = match finding.severity {
            Severity::Error => RED,
            Severity::Warning => YELLOW,
        };
        self.color(word(finding.severity), color)
    }

    fn color(&self, text: &str, color: &str) -> String {
        if self.style.is_colored { format!("{color}{text}{RESET}") } else { text.to_owned() }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The path of a value; the whole document has none.
fn path(finding: &Finding) -> Option<Cow<'_, str>> {
    let path = finding.path.as_str();
    (!path.is_empty() && path != "$").then(|| visible(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_model::report::Place;
    use expect_test::{Expect, expect};

    const RAW: Style = Style { form: Form::Raw, is_colored: false };
    const FRAMED: Style = Style { form: Form::Framed, is_colored: false };

    struct Case {
        files: Vec<(&'static str, String)>,
        report: Report,
    }

    impl Case {
        fn new(text: &str) -> Case {
            Case { files: vec![("config.bu", text.to_owned())], report: Report::new("config.bu") }
        }

        fn error(mut self, line: u32, column: u32, path: &str, message: &str) -> Case {
            self.report.error(Place { line, column }, path, message);
            self
        }

        #[track_caller]
        fn check(&self, style: Style, expected: &Expect) {
            let sources: Vec<Source> = self
                .files
                .iter()
                .map(|(file, text)| Source { file, bytes: text.as_bytes() })
                .collect();
            let mut out = Vec::new();
            print(&self.report, &sources, style, &mut out).unwrap();
            // The end of each line is to be seen, and colors.
            let text = String::from_utf8(out).unwrap().replace(" \n", "·\n");
            expected.assert_eq(&text.replace('\x1b', "ESC"));
        }
    }

    const CONFIG: &str = "variant: fcos\nversion: 1.4.0\nstorage:\n  files:\n    - path: /a\n      mode: 644\n      user: {id: 1}\n";

    #[test]
    fn frames() {
        let mut case = Case::new(CONFIG)
            .error(6, 13, "$.storage.files.0.mode", "this is a message")
            .error(1, 1, "$", "about all of it");
        case.report
            .warning(Place { line: 5, column: 7 }, "$.storage.files.0", "do you mean this")
            .hint("write something else");
        case.check(
            FRAMED,
            &expect![[r#"
                error:
                  --> config.bu:1:1
                   |
                 1 | variant: fcos
                   | ^^^^^^^^ about all of it
                 2 | version: 1.4.0
                 3 | storage:
                   |

                warning[$.storage.files.0]:
                  --> config.bu:5:7
                   |
                 3 | storage:
                 4 |   files:
                 5 |     - path: /a
                   |       ^^^^^ do you mean this
                 6 |       mode: 644
                 7 |       user: {id: 1}
                   |
                   = hint: write something else

                error[$.storage.files.0.mode]:
                  --> config.bu:6:13
                   |
                 4 |   files:
                 5 |     - path: /a
                 6 |       mode: 644
                   |             ^^^ this is a message
                 7 |       user: {id: 1}
                 8 |·
                   |
            "#]],
        );
        case.check(
            RAW,
            &expect![[r#"
                error at line 1 col 1: about all of it
                warning at $.storage.files.0, line 5 col 7: do you mean this
                  hint: write something else
                error at $.storage.files.0.mode, line 6 col 13: this is a message
            "#]],
        );
    }

    #[test]
    fn the_gutter_is_as_wide_as_the_last_number() {
        Case::new(&"a: b\n".repeat(20)).error(9, 4, "$.a", "here").check(
            FRAMED,
            &expect![[r#"
                error[$.a]:
                  --> config.bu:9:4
                    |
                  7 | a: b
                  8 | a: b
                  9 | a: b
                    |    ^ here
                 10 | a: b
                 11 | a: b
                    |
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_shown_is_one_line() {
        Case::new("").error(1, 1, "$", "empty").error(7, 1, "$.a", "no such line").check(
            FRAMED,
            &expect![[r#"
                error at line 1 col 1: empty

                error at $.a, line 7 col 1: no such line
            "#]],
        );
    }

    #[test]
    fn nothing_of_a_text_controls_the_terminal() {
        Case::new("a: \u{1b}[2J\tx\r\nb: 漢字 \u{202e}y\r\n")
            .error(1, 4, "$.\u{1b}]0;title\u{7}", "not \u{1b}[31m\nthis")
            .error(2, 7, "$.b", "wide")
            .check(
                FRAMED,
                &expect![[r#"
                    error[$.\u{1b}]0;title\u{7}]:
                      --> config.bu:1:4
                       |
                     1 | a: ␛[2J    x
                       |    ^^^^ not \u{1b}[31m\nthis
                     2 | b: 漢字 �y
                     3 |·
                       |

                    error[$.b]:
                      --> config.bu:2:7
                       |
                     1 | a: ␛[2J    x
                     2 | b: 漢字 �y
                       |         ^^ wide
                     3 |·
                       |
                "#]],
            );
    }

    #[test]
    fn colors() {
        let style = Style { is_colored: true, ..FRAMED };
        let case = Case::new("a: b").error(1, 4, "$.a", "here");
        case.check(
            style,
            &expect![[r#"
                ESC[1;31merrorESC[0m[$.a]:
                  ESC[1;34m-->ESC[0m config.bu:1:4
                   |
                 ESC[1;34m1ESC[0m | a: b
                   |    ESC[1;34m^ESC[0m here
                   |
            "#]],
        );
        case.check(
            Style { is_colored: true, ..RAW },
            &expect![[r#"
            error at $.a, line 1 col 4: here
        "#]],
        );
    }

    #[test]
    fn several_files() {
        let mut case = Case::new("a: b\n").error(1, 4, "$.a", "here");
        case.files.insert(0, ("z.bu", "c: d\n".to_owned()));
        let mut other = Report::new("z.bu");
        other.warning(Place::START, "$.c", "there");
        case.report.absorb(other);
        let mut values = Report::new("--var x");
        values.error(Place::START, "", "`x` is a secret").hint("use a file");
        case.report.absorb(values);
        let mut values = Report::new("values.yaml");
        values.error(Place { line: 3, column: 2 }, "y", "no file declares `y`");
        case.report.absorb(values);
        case.check(
            FRAMED,
            &expect![[r#"
                error at --var x: `x` is a secret
                  hint: use a file

                error at y, values.yaml line 3 col 2: no file declares `y`

                warning[$.c]:
                  --> z.bu:1:1
                   |
                 1 | c: d
                   | ^^ there
                 2 |·
                   |

                error[$.a]:
                  --> config.bu:1:4
                   |
                 1 | a: b
                   |    ^ here
                 2 |·
                   |
            "#]],
        );
        case.check(
            RAW,
            &expect![[r#"
                error at --var x: `x` is a secret
                  hint: use a file
                error at y, values.yaml line 3 col 2: no file declares `y`
                warning at $.c, z.bu line 1 col 1: there
                error at $.a, config.bu line 1 col 4: here
            "#]],
        );
    }
}
