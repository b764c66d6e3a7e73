//! Ignition config → Butane text.
//!
//! Read [`reverse()`] first. The text is read and its target chosen (`input`), decoded by the same tables as Butane
//! itself and held against the same rules; then fields get Butane's names (`raise`), what sugar stands for becomes
//! sugar again (`fold`), data URLs become text (`contents`), and the result is printed (`text`).
//!
//! What a compiler made compiles to the very same again. That is not hoped for: each piece of sugar and each text is
//! compiled on trial, and kept as it was when something else comes out. What another program made is told from its
//! layout; there a text may be encoded differently afterwards, since a person wants to read it.

mod contents;
mod fold;
mod input;
mod raise;
mod subtract;
mod text;

use basalt_model::report::Report;
use input::{Input, Source};

use crate::compile::{Output, Warnings, judge, settle};
use crate::schema::config::CONFIG;
use crate::tree::Findings;
use crate::validate;

/// What to write Butane for.
#[derive(Clone, Copy, Debug)]
pub struct ReverseOptions<'a> {
    /// The variant; without it `openshift` for a MachineConfig and `fcos` for everything else.
    pub variant: Option<&'a str>,
    /// What a warning means.
    pub warnings: Warnings,
}

/// Writes the Butane config that `bytes` could have been made from: an Ignition config in JSON, of any specification
/// from 3.0.0 on, or a MachineConfig in YAML or JSON. `file` is only used to name the text in findings.
///
/// The version is the newest one of the variant that gives the same specification. The text is there when the report
/// has no errors: the config has passed all of Ignition's rules, and the variant takes everything in it. Names that
/// Ignition does not know are warned of and left out, as Ignition ignores them.
///
/// A config that a compiler made comes out so that it compiles to the same again. Of others, the contents of files may
/// be encoded differently afterwards, so that they can be read here.
pub fn reverse(file: &str, bytes: &[u8], options: &ReverseOptions) -> (Option<String>, Report) {
    let mut findings = Findings::new(file);
    let text = write(file, bytes, options, &mut findings);
    let report = settle(findings, options.warnings);
    (text.filter(|_| !report.has_errors()), report)
}

fn write(
    file: &str,
    bytes: &[u8],
    options: &ReverseOptions,
    findings: &mut Findings,
) -> Option<String> {
    let source = input::read(file, bytes, options.variant, findings)?;
    let input = accepted(&source, findings)?;
    let mut written = fold::fold(&input);
    let section = written.get("ignition").cloned();
    contents::inline(&mut written, &input);
    // Butane looks into configs that are inline, and refuses what Ignition would find only at boot.
    let mut judged = Findings::new(file);
    validate::referenced::configs(&written, &input.config, input.target, None, &mut judged);
    if let Some(section) = section.filter(|_| judged.0.has_errors()) {
        written.set("ignition", section);
    }
    Some(text::print(&written, input.target))
}

/// The config for the newest version that takes it: of versions that give the same specification, newer ones may
/// refuse more. `None` means that none takes it, and that what speaks against the newest was reported.
fn accepted(source: &Source, findings: &mut Findings) -> Option<Input> {
    let mut refused = None;
    for target in &source.targets {
        let mut judged = Findings::new(&source.origin.file);
        let input = source.decode(target, &mut judged);
        let mut written = raise::raise(&input.config, &CONFIG, target);
        input.header.iter().for_each(|(name, value)| written.set(name, value.clone()));
        validate::butane(&written, &CONFIG, target, &mut judged);
        validate::referenced::configs(&written, &input.config, target, None, &mut judged);
        judge(&input.config, target, Output::Variant, &mut judged);
        if !judged.0.has_errors() {
            findings.0.absorb(judged.0);
            return Some(input);
        }
        refused.get_or_insert(judged);
    }
    findings.0.absorb(refused.into_iter().next()?.0);
    None
}
