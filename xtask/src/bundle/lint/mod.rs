//! `cargo xtask bundle lint`: what would go wrong with a bundle in a cluster, before it gets there.
//!
//! [`check`] is pure. It reads the files ([`super::objects`]), looks at each object by itself ([`object`], [`fields`],
//! [`secrets`], [`images`]), then at all of them together ([`together`], [`schema`]), then at what is said about them ([`listed`]).

mod fields;
mod images;
mod listed;
mod object;
mod schema;
mod secrets;
#[cfg(test)]
mod tests;
mod together;

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;

use anyhow::Result;
use basalt_butane::Source;
use basalt_model::report::{Place, Report, Severity};
use camino::Utf8PathBuf;

use super::input::{About, Input};
use super::objects::{self, Object};
use super::settings::{self, FILE, Settings};
use crate::findings::{self, Color, Output, Row};
use crate::{FAILED, output};

/// What SARIF calls this linter.
const TOOL: &str = "basalt-bundle-lint";

/// Check what a bundle would do to a cluster.
///
/// Looks at the YAML itself; whether each object's API version and kind are known to Kubernetes 1.33 to 1.36, or defined
/// by an earlier wave of the bundle; that each field is one that its kind has, in Kubernetes 1.36 or by the schema of that
/// definition, and holds what it takes;
/// names, namespaces and their order; that no object comes twice or carries what a server sets; that images are named by
/// digest; and that no secret values are in it.
///
/// Exit status: 0 when nothing is wrong, also with warnings; 1 when something is, or a file cannot be read; 2 for wrong
/// usage.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle: its folder, or an OCI layout or archive made of one.
    #[arg(value_name = "BUNDLE")]
    bundle: Utf8PathBuf,

    /// How to print findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Whether text has colors.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,
}

/// What the rules are looking at, and what they found.
struct Lint<'i> {
    input: &'i Input,
    objects: Vec<Object>,
    /// The oldest Kubernetes that the bundle is for, as a minor version.
    least_minor: u32,
    rows: Vec<Row>,
}

/// A bundle that was looked at.
pub(super) struct Checked {
    /// By file and place.
    pub(super) rows: Vec<Row>,
    pub(super) objects: Vec<Object>,
    /// Of `bundle.yaml`, when it could be read.
    pub(super) settings: Option<Settings>,
    /// The images that objects name.
    pub(super) images: BTreeSet<String>,
}

impl Checked {
    pub(super) fn is_refused(&self) -> bool {
        self.rows.iter().any(|row| row.severity == Severity::Error)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let input = Input::read(&arguments.bundle)?;
    let checked = check(&input);
    let is_colored = arguments.color.is_wanted();
    output::write(|mut out| print(&input, &checked, arguments.output, is_colored, &mut out))?;
    Ok(if checked.is_refused() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Prints what was found.
pub(super) fn print(
    input: &Input,
    checked: &Checked,
    output: Output,
    is_colored: bool,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let mut names: Vec<(String, &[u8])> =
        input.files.iter().map(|file| (input.name(&file.path), file.text.as_bytes())).collect();
    if let About::Folder(text) = &input.about {
        names.insert(0, (input.name(FILE), text));
    }
    let sources: Vec<Source<'_>> =
        names.iter().map(|(file, bytes)| Source { file, bytes }).collect();
    findings::print(&checked.rows, &sources, TOOL, output, is_colored, out)
}

/// Looks at a bundle.
pub(super) fn check(input: &Input) -> Checked {
    let (first, _) = super::kinds::SUPPORTED;
    let mut lint = Lint { input, objects: Vec::new(), least_minor: first, rows: Vec::new() };
    let settings = match &input.about {
        About::Folder(text) => {
            let mut report = Report::new(input.name(FILE));
            let settings = settings::parse(text, &mut report);
            lint.absorb(report, "settings");
            settings
        }
        About::Artefact(_) => None,
    };
    let least = match (&settings, &input.about) {
        (Some(settings), _) => Some(&settings.least_kubernetes.value),
        (None, About::Artefact(index)) => Some(&index.least_kubernetes),
        (None, About::Folder(_)) => None,
    };
    lint.least_minor = least.and_then(|least| settings::minor(least)).unwrap_or(first);
    for (path, wrong) in &input.strangers {
        let row = lint.row(Severity::Error, "no-content", path, Place::START, "", *wrong);
        lint.rows.push(Row { remedy: Some("move it out of the bundle's folder".into()), ..row });
    }
    for file in &input.files {
        let mut report = Report::new(input.name(&file.path));
        let objects = objects::read(file, &mut report);
        if objects.is_empty() && !report.has_errors() {
            report.warning(Place::START, "", "no object is in this file");
        }
        lint.absorb(report, "yaml");
        lint.objects.extend(objects);
    }
    let objects = std::mem::take(&mut lint.objects);
    let mut all_images = BTreeSet::new();
    for object in &objects {
        object::check(object, &mut lint);
        fields::check(object, &mut lint);
        secrets::check(object, &mut lint);
        images::check(object, &mut lint, &mut all_images);
    }
    together::check(&objects, &mut lint);
    listed::check(&objects, settings.as_ref(), &all_images, &mut lint);
    let order = |file: &str| input.files.iter().position(|f| input.name(&f.path) == file);
    let mut rows = lint.rows;
    rows.sort_by_cached_key(|row| (order(&row.file), row.file.clone(), row.place));
    rows.dedup();
    Checked { rows, objects, settings, images: all_images }
}

impl Lint<'_> {
    fn row(
        &self,
        severity: Severity,
        rule: &'static str,
        file: &str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Row {
        Row {
            severity,
            rule,
            file: self.input.name(file),
            place,
            path: path.into(),
            message: message.into(),
            effect: None,
            remedy: None,
        }
    }

    fn absorb(&mut self, report: Report, rule: &'static str) {
        self.rows.extend(report.into_findings().into_iter().map(|finding| Row {
            severity: finding.severity,
            rule,
            file: finding.file,
            place: finding.place,
            path: finding.path,
            message: finding.message,
            effect: None,
            remedy: finding.hint,
        }));
    }

    /// Adds an error about a field of an object, with what to do.
    fn error(
        &mut self,
        object: &Object,
        rule: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let row = self.row(Severity::Error, rule, &object.file, place, path, message);
        self.rows.push(Row { remedy: Some(remedy.into()), ..row });
    }

    /// Adds a warning about a field of an object, with what to do.
    fn warning(
        &mut self,
        object: &Object,
        rule: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let row = self.row(Severity::Warning, rule, &object.file, place, path, message);
        self.rows.push(Row { remedy: Some(remedy.into()), ..row });
    }
}
