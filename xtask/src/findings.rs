//! Findings of linters, in the forms of their `--output`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use basalt_butane::Source;
use basalt_model::report::{Finding, Place, Report, Severity};
use serde::Serialize;
use serde_json::{Value, json};

use crate::butane::diagnostics::{self, Form, Style};
use crate::visible::visible;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people, with the lines around each place.
    Text,
    /// For people and editors: `FILE:LINE:COLUMN: …`, with effect and remedy below.
    Short,
    /// One document: an object with `findings`.
    Json,
    /// Static Analysis Results Interchange Format 2.1.0.
    Sarif,
}

/// Whether text has colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On terminals, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    pub(crate) fn is_wanted(self) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal(),
        }
    }
}

/// One finding of a linter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) severity: Severity,
    /// `unknown-field`.
    pub(crate) rule: &'static str,
    /// The file as the person named it.
    pub(crate) file: String,
    pub(crate) place: Place,
    /// The field; empty for the whole file.
    pub(crate) path: String,
    pub(crate) message: String,
    /// What comes of it, where the rule does not say that already.
    pub(crate) effect: Option<&'static str>,
    /// What to do, where that can be said.
    pub(crate) remedy: Option<String>,
}

impl Row {
    /// Message and effect in one sentence.
    fn sentence(&self) -> String {
        match self.effect {
            Some(effect) => format!("{}; {effect}", self.message),
            None => self.message.clone(),
        }
    }
}

/// A finding, as it is printed for programs.
#[derive(Debug, Serialize)]
struct JsonRow<'f> {
    /// `error` or `warning`.
    severity: &'static str,
    rule: &'static str,
    file: &'f str,
    /// Counts from 1.
    line: u32,
    /// Counts from 1, in characters.
    column: u32,
    /// The field; empty for the whole file.
    path: &'f str,
    message: &'f str,
    /// What comes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'f str>,
}

/// The document of `--output json`.
#[derive(Debug, Serialize)]
struct Document<'f> {
    schema: u32,
    errors: usize,
    warnings: usize,
    findings: Vec<JsonRow<'f>>,
}

/// Prints findings. `sources` are the texts that lines are shown of; `tool` is what SARIF calls the linter.
///
/// # Errors
/// Those of `out`.
pub(crate) fn print(
    findings: &[Row],
    sources: &[Source<'_>],
    tool: &str,
    output: Output,
    is_colored: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match output {
        Output::Text => framed(findings, sources, is_colored, out),
        Output::Short => short(findings, out),
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &document(findings))?;
            writeln!(out)
        }
        Output::Sarif => {
            serde_json::to_writer_pretty(&mut *out, &sarif(findings, tool))?;
            writeln!(out)
        }
    }
}

/// How rules of values are called that nobody is to see.
const SECRET: &str = "secret-value";

/// Shows no line of a file with a secret in it, or with an object that holds secrets: the value may be among the lines
/// around any finding, and what is printed is often kept by whoever runs the linter.
fn framed(
    findings: &[Row],
    sources: &[Source<'_>],
    is_colored: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let has_secret =
        |file: &str| findings.iter().any(|row| row.rule.ends_with(SECRET) && row.file == file);
    let shown = |source: &Source<'_>| !has_secret(source.file) && !names_secret(source.bytes);
    let sources: Vec<Source<'_>> = sources
        .iter()
        .map(|source| Source { bytes: if shown(source) { source.bytes } else { b"" }, ..*source })
        .collect();
    let as_report = |finding: &Row| Finding {
        severity: finding.severity,
        file: finding.file.clone(),
        place: finding.place,
        path: finding.path.clone(),
        message: match finding.effect {
            Some(effect) => format!("{} [{}]; {effect}", finding.message, finding.rule),
            None => format!("{} [{}]", finding.message, finding.rule),
        },
        hint: finding.remedy.clone(),
    };
    let mut report = Report::new("");
    report.absorb_once(findings.iter().map(as_report));
    diagnostics::print(&report, &sources, Style { form: Form::Framed, is_colored }, out)
}

/// Whether a text has a `kind: Secret`, also when it cannot be read: then nobody looked for values.
fn names_secret(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices("kind").any(|(at, kind)| {
        let is_between = |c: char| c.is_ascii_whitespace() || "\"':".contains(c);
        let value = text[at + kind.len()..].trim_start_matches(is_between);
        let rest = value.strip_prefix("Secret");
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

fn short(findings: &[Row], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        let Row { severity, rule, file, place, path, message, effect, remedy } = finding;
        let mut line = format!("{file}:{place}: ");
        if *severity == Severity::Warning {
            line.push_str("warning: ");
        }
        if !path.is_empty() {
            line.push_str(&format!("{path}: "));
        }
        line.push_str(&format!("{message} [{rule}]"));
        writeln!(out, "{}", visible(&line))?;
        if let Some(effect) = effect {
            writeln!(out, "  effect: {}", visible(effect))?;
        }
        if let Some(remedy) = remedy {
            writeln!(out, "  remedy: {}", visible(remedy))?;
        }
    }
    Ok(())
}

fn document(findings: &[Row]) -> Document<'_> {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    Document {
        schema: 1,
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        findings: findings.iter().map(json_row).collect(),
    }
}

fn json_row(finding: &Row) -> JsonRow<'_> {
    JsonRow {
        severity: word(finding.severity),
        rule: finding.rule,
        file: &finding.file,
        line: finding.place.line,
        column: finding.place.column,
        path: &finding.path,
        message: &finding.message,
        effect: finding.effect,
        remedy: finding.remedy.as_deref(),
    }
}

/// The word for how much a finding weighs.
fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Findings in the form that code hosts and editors show.
///
/// Format: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>
fn sarif(findings: &[Row], tool: &str) -> Value {
    let rules: BTreeMap<&str, usize> = findings.iter().map(|finding| (finding.rule, 0)).collect();
    let rules: Vec<&str> = rules.into_keys().collect();
    let descriptors: Vec<Value> = rules.iter().map(|rule| json!({ "id": rule })).collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": tool,
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Row, rules: &[&str]) -> Value {
    let text = match &finding.remedy {
        Some(remedy) => format!("{}; {remedy}", finding.sentence()),
        None => finding.sentence(),
    };
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.file) },
            "region": { "startLine": finding.place.line, "startColumn": finding.place.column },
        },
    });
    if !finding.path.is_empty() {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": finding.path }]);
    }
    json!({
        "ruleId": finding.rule,
        "ruleIndex": rules.iter().position(|known| *known == finding.rule),
        "level": word(finding.severity),
        "message": { "text": text },
        "locations": [location],
    })
}

/// A path as a reference to a resource (RFC 3986).
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encode = |byte: u8| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn secrets_are_not_shown() {
        let row = |file: &str, rule, line| Row {
            severity: Severity::Error,
            rule,
            file: file.to_owned(),
            place: Place { line, column: 1 },
            path: "data".to_owned(),
            message: "it is wrong".to_owned(),
            effect: None,
            remedy: None,
        };
        let rows = [row("a", "kind", 1), row("b", "kind", 2), row("b", SECRET, 3)];
        let sources = [
            Source { file: "a", bytes: b"kind: A\n" },
            Source { file: "b", bytes: b"kind: B\ndata:\n  password: hunter2\n" },
        ];
        let mut out = Vec::new();
        print(&rows, &sources, "lint", Output::Text, false, &mut out).unwrap();
        expect![[r#"
            error[data]:
              --> a:1:1
               |
             1 | kind: A
               | ^^^^^ it is wrong [kind]
             2 | 
               |

            error at data, b line 2 col 1: it is wrong [kind]

            error at data, b line 3 col 1: it is wrong [secret-value]
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn objects_that_hold_secrets() {
        for text in [
            "kind: Secret\n",
            "{\"kind\": \"Secret\"}",
            "a: {kind: 'Secret', x: }",
            "kind:  Secret",
        ] {
            assert!(names_secret(text.as_bytes()), "{text}");
        }
        for text in
            ["kind: SecretStore\n", "kind: Service\nname: Secret\n", "kinds: Secrets\n", "kind"]
        {
            assert!(!names_secret(text.as_bytes()), "{text}");
        }
    }
}
