//! One config of several files, and of several documents in a file. Read [`compile_all`], then [`documents`](mod@documents)
//! for how a text falls apart and [`join`](mod@join) for how the parts come together.

mod beside;
mod documents;
mod escapes;
mod join;
mod overrides;
mod pitfalls;

use basalt_model::report::Report;

use crate::compile::{Compiled, Lowered, Options, finish, judge, lower_document};
use crate::tree::Findings;
use crate::variables::{Values, Variables};
use crate::version;
pub(crate) use documents::documents;
pub(crate) use join::join;
pub use overrides::{Override, OverrideKind, Statement};
use pitfalls::Starts;

/// A Butane file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// As the person names it; it is only used to name the text.
    pub file: &'a str,
    /// The text.
    pub bytes: &'a [u8],
}

/// What became of several files.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The config; there when the report has no errors.
    pub config: Option<Compiled>,
    /// The findings about all files.
    pub report: Report,
    /// What was replaced, in the order in which it happened. Also there when there are errors, as far as it is known.
    pub overrides: Vec<Override>,
}

/// Compiles files and merges them in their order by Ignition's rules, as Ignition would merge the configs on the
/// machine, with [variables](crate::variables) put in.
///
/// * A file, or a document, that comes later wins, value by value; every value that it replaces is an [`Override`].
/// * All have the same variant. Their versions may differ: the result is written for the newest, and each file has the
///   fields and rules of its own. So a library of files need not move all at once.
/// * A later document of a file may leave out `variant` and `version`: it then has those of the document before it,
///   and its `metadata` (openshift). Documents without any content are nothing.
/// * `boot_device` and `grub` are said in one document: what they stand for is made of all of it.
/// * The rules for a finished config are applied to the result, so a file may complete another one's; only the items of
///   a list have to differ in each document already.
/// * Merges that Ignition's rules allow and that hardly anyone means are warned of, such as a hash that stays when the
///   contents are replaced.
///
/// Findings are at the place of the value that caused them, in whichever file it stands. `local` paths of all files
/// are below [`Options::files_dir`]. Without any source there is no config, and an error.
pub fn compile_all(sources: &[Source], values: &Values, options: &Options) -> Composed {
    let name = sources.first().map_or("", |source| source.file);
    let (mut reading, mut findings) = (Findings::new(name), options.warnings.findings(name));
    if sources.is_empty() {
        version::nothing("", &mut reading);
    }
    let mut variables = Variables::new(values, &mut reading);
    let files: Vec<_> =
        sources.iter().map(|source| documents(*source, &mut variables, &mut reading)).collect();
    if files.iter().all(Option::is_some) {
        variables.report_unknown(&mut reading);
    }
    let marks = variables.marks();
    let mut is_complete = !files.is_empty();
    let (mut parts, mut starts) = (Vec::new(), Vec::new());
    for (source, documents) in sources.iter().zip(files) {
        let documents = documents.unwrap_or_default();
        is_complete &= !documents.is_empty();
        for root in &documents {
            let part = lower_document(source.file, root, marks, options, &mut findings);
            is_complete &= part.is_some();
            starts.push((source.file, root.place));
            parts.extend(part);
        }
    }
    let is_one = parts.len() < 2;
    let joined = join(parts, &mut findings);
    let mut overrides = overrides::of_variables(&variables);
    let mut lowered = None;
    if let Some((joined, changes)) = joined
        && is_complete
    {
        overrides.extend(overrides::of_changes(&changes, marks));
        judge(&joined.config, joined.target, options.output, &mut findings);
        if !is_one {
            pitfalls::report(&joined, &changes, &Starts(starts), &mut findings);
        }
        pitfalls::report_open_secrets(&joined.config, marks, &mut reading);
        lowered = Some(joined);
    }
    let mut findings = marks.explain(findings);
    findings.0.absorb(reading.0);
    let (config, report) = finish(lowered, findings, options);
    Composed { config, report, overrides }
}

/// Reads and compiles all documents of one file, without values for its variables.
pub(crate) fn lower_file(
    source: Source,
    options: &Options,
    findings: &mut Findings,
) -> Vec<Lowered> {
    let mut variables = Variables::new(&Values::NONE, findings);
    let Some(documents) = documents(source, &mut variables, findings) else { return Vec::new() };
    let marks = variables.marks();
    let mut own = options.warnings.findings(source.file);
    let parts = documents
        .iter()
        .filter_map(|root| lower_document(source.file, root, marks, options, &mut own))
        .collect();
    findings.0.absorb(marks.explain(own).0);
    parts
}

/// For tests: the first document of a text.
#[cfg(test)]
pub(crate) fn lower_first(
    file: &str,
    text: &str,
    options: &Options,
    findings: &mut Findings,
) -> Option<Lowered> {
    let root = basalt_model::yaml::parse(text.as_bytes(), &mut findings.0)?.first?;
    lower_document(file, &root, &crate::variables::Marks::default(), options, findings)
}
