//! `cargo xtask pods lint`: reads manifests, prints findings.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use basalt_butane::Source;
use basalt_model::report::{Finding, Report, Severity};
use basalt_static_pods::lint::{self, LintFinding};
use serde::Serialize;

use super::{host, sarif};
use crate::FAILED;
use crate::butane::diagnostics::{self, Form, Style};
use crate::visible::visible;

/// The most that is read of one file, in bytes: the kubelet reads less.
const MAX_BYTES: u64 = 64 << 20;

/// Check the manifests of one node's static pods as the kubelet would.
///
/// The files given are the manifest folder of one node, together; a folder stands for the files in it. Refused is what
/// a standalone kubelet (1.36) would reject, what would end or hang it, what it would silently drop or change, and
/// what it would take and never be able to start on any host. What only this host may lack is a warning.
///
/// Exit status: 0 when nothing is wrong, also with warnings; 1 when something is, or a file cannot be read; 2 for wrong
/// usage.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Manifests, or the folder they are in.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Which rules to apply.
    #[arg(long, value_name = "RULES", default_value = "kubelet")]
    rules: Rules,

    /// How to print findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Whether text has colors.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,

    /// With `--rules basalt`, look for what manifests mount in this root folder.
    ///
    /// It is that of a node, or of the image it boots. What is missing there, of another type than the manifest says,
    /// or labelled by SELinux so that containers may not read it, is refused.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,

    /// With `--rules basalt`, an image that the node has; all others are refused.
    #[arg(long = "image", value_name = "REFERENCE")]
    images: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rules {
    /// What the kubelet takes and can start.
    Kubelet,
    /// And what Basalt wants of a node's own pods besides.
    Basalt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people, with the lines around each place.
    Text,
    /// For people and editors: `FILE:LINE:COLUMN: …`, with effect and remedy below.
    Short,
    /// One document: an object with `findings`.
    Json,
    /// Static Analysis Results Interchange Format 2.1.0.
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    /// On terminals, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    fn is_wanted(self) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal(),
        }
    }
}

/// A finding, as it is printed for programs.
#[derive(Debug, Serialize)]
struct Row<'f> {
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
    /// What the kubelet would do.
    effect: &'static str,
    remedy: &'f str,
}

/// The document of `--output json`.
#[derive(Debug, Serialize)]
struct Document<'f> {
    schema: u32,
    errors: usize,
    warnings: usize,
    findings: Vec<Row<'f>>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut findings = Vec::new();
    let mut texts = Vec::new();
    for path in expanded(&arguments.files)? {
        let name = path.display().to_string();
        match read(&path)? {
            Entry::Text(bytes) => texts.push((name, bytes)),
            Entry::Pipe => findings.push(lint::pipe(&name)),
            // The kubelet passes over folders, and so do we.
            Entry::Folder => {}
        }
    }
    let files: Vec<_> =
        texts.iter().map(|(name, bytes)| lint::File { name: name.as_str(), bytes }).collect();
    let mut policy = lint::Policy::of_own_pods();
    policy.host = host::look(arguments.root.as_deref(), &arguments.images, &lint::asked(&files));
    let rules = match arguments.rules {
        Rules::Kubelet => lint::Rules::Kubelet,
        Rules::Basalt => lint::Rules::Basalt(&policy),
    };
    findings.extend(lint::lint(&files, rules));
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Text => framed(&findings, &files, arguments.color.is_wanted(), &mut out)?,
        Output::Short => short(&findings, &mut out)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &document(&findings))?;
            writeln!(out)?;
        }
        Output::Sarif => {
            serde_json::to_writer_pretty(&mut out, &sarif::document(&findings))?;
            writeln!(out)?;
        }
    }
    let is_refused = findings.iter().any(|finding| finding.severity() == Severity::Error);
    Ok(if is_refused { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The files, with those in folders in the kubelet's order.
fn expanded(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let shown = path.display().to_string();
        let read = || format!("cannot read the folder `{}`", visible(&shown));
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).with_context(read)? {
            inside.push(entry.with_context(read)?.path());
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

enum Entry {
    Text(Vec<u8>),
    Pipe,
    Folder,
}

fn read(path: &Path) -> Result<Entry> {
    let shown = path.display().to_string();
    let shown = visible(&shown);
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at `{shown}`"))?;
    if metadata.is_dir() {
        return Ok(Entry::Folder);
    }
    // A pipe of a shell, as in `<(generate)`, is not in a folder of manifests.
    if metadata.file_type().is_fifo() && !path.starts_with("/dev") && !path.starts_with("/proc") {
        return Ok(Entry::Pipe);
    }
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read `{shown}`"))?;
    Ok(Entry::Text(bytes))
}

fn framed(
    findings: &[LintFinding],
    files: &[lint::File<'_>],
    is_colored: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let as_report = |finding: &LintFinding| {
        let LintFinding { rule, file, place, path, message, effect, remedy } = finding;
        Finding {
            severity: finding.severity(),
            file: file.clone(),
            place: *place,
            path: path.clone(),
            message: format!("{message} [{rule}]; {}", effect.sentence()),
            hint: Some(remedy.clone()),
        }
    };
    let mut report = Report::new("");
    report.absorb_once(findings.iter().map(as_report));
    let sources: Vec<Source<'_>> =
        files.iter().map(|file| Source { file: file.name, bytes: file.bytes }).collect();
    diagnostics::print(&report, &sources, Style { form: Form::Framed, is_colored }, out)
}

fn short(findings: &[LintFinding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        for line in finding.to_string().lines() {
            writeln!(out, "{}", visible(line))?;
        }
    }
    Ok(())
}

fn document(findings: &[LintFinding]) -> Document<'_> {
    let count = |severity| findings.iter().filter(|finding| finding.severity() == severity).count();
    Document {
        schema: 1,
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        findings: findings.iter().map(row).collect(),
    }
}

fn row(finding: &LintFinding) -> Row<'_> {
    let LintFinding { rule, file, place, path, message, effect, remedy } = finding;
    Row {
        severity: word(effect.severity()),
        rule,
        file,
        line: place.line,
        column: place.column,
        path,
        message,
        effect: effect.sentence(),
        remedy,
    }
}

/// The word for how much a finding weighs.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const MANIFEST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostNetwrk: true\n  containers:\n  - {name: a, image: a}\n";

    fn findings() -> Vec<LintFinding> {
        let file = lint::File { name: "a.yaml", bytes: MANIFEST.as_bytes() };
        lint::lint(&[file], lint::Rules::Kubelet)
    }

    #[test]
    fn for_people() {
        let file = lint::File { name: "a.yaml", bytes: MANIFEST.as_bytes() };
        let mut out = Vec::new();
        framed(&findings(), &[file], false, &mut out).unwrap();
        expect![[r#"
            error[spec.hostNetwrk]:
              --> a.yaml:5:3
               |
             3 | metadata: {name: a}
             4 | spec:
             5 |   hostNetwrk: true
               |   ^^^^^^^^^^^ there is no field `hostNetwrk` here [unknown-field]; the kubelet drops or changes this in silence
             6 |   containers:
             7 |   - {name: a, image: a}
               |
               = hint: did you mean `hostNetwork`?
        "#]].assert_eq(&String::from_utf8(out).unwrap());
        let mut out = Vec::new();
        short(&findings(), &mut out).unwrap();
        expect![[r#"
            a.yaml:5:3: spec.hostNetwrk: there is no field `hostNetwrk` here [unknown-field]
              effect: the kubelet drops or changes this in silence
              remedy: did you mean `hostNetwork`?
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn for_programs() {
        let findings = findings();
        let document = serde_json::to_value(document(&findings)).unwrap();
        assert_eq!(document["errors"], 1);
        assert_eq!(document["findings"][0]["line"], 5);
        let sarif = serde_json::to_value(sarif::document(&findings)).unwrap();
        assert_eq!(sarif["version"], "2.1.0");
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "unknown-field");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert_eq!((&region["startLine"], &region["startColumn"]), (&5.into(), &3.into()));
    }
}
