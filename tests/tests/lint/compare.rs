//! The linter's verdict beside the kubelet's.

use std::collections::BTreeSet;
use std::fmt;

use basalt_model::report::Severity;
use basalt_static_pods::lint::{Effect, File, LintFinding, Rules, lint};

use crate::kubelet::Verdict;

/// How the two differ about a file. Two files differ alike when this is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// The kubelet refuses it, and the linter does not say so.
    Missed(String),
    /// The linter says that the kubelet refuses it, which it does not: rule and field.
    FalseAlarm(String),
    /// The kubelet drops something, of which the linter says nothing.
    DropMissed(String),
    /// The linter says that the kubelet drops something, which it does not.
    DropFalseAlarm(String),
    /// The kubelet does not admit the pod, and the linter does not say so.
    AdmissionMissed(String),
    /// The linter says that the kubelet does not admit the pod, which it does.
    AdmissionFalseAlarm(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missed(why) => write!(f, "refused by the kubelet alone: {why}"),
            Difference::FalseAlarm(rule) => write!(f, "refused by the linter alone: {rule}"),
            Difference::DropMissed(what) => write!(f, "dropped by the kubelet alone: {what}"),
            Difference::DropFalseAlarm(rule) => write!(f, "dropped by the linter alone: {rule}"),
            Difference::AdmissionMissed(why) => {
                write!(f, "not admitted by the kubelet alone: {why}")
            }
            Difference::AdmissionFalseAlarm(rule) => {
                write!(f, "not admitted by the linter alone: {rule}")
            }
        }
    }
}

/// What the linter and the kubelet say differently of the files of a folder.
pub(crate) fn differences(
    folder: &[(String, Vec<u8>)],
    verdicts: &[Verdict],
) -> BTreeSet<Difference> {
    let files: Vec<File<'_>> = folder.iter().map(|(name, bytes)| File { name, bytes }).collect();
    let findings = lint(&files, Rules::Kubelet);
    let mut found = BTreeSet::new();
    for ((name, _), verdict) in folder.iter().zip(verdicts) {
        let own: Vec<&LintFinding> =
            findings.iter().filter(|finding| finding.file == *name).collect();
        compare(&own, verdict, &mut found);
    }
    found
}

fn compare(own: &[&LintFinding], verdict: &Verdict, found: &mut BTreeSet<Difference>) {
    let with = |effects: &[Effect]| {
        own.iter().find(|finding| effects.contains(&finding.effect)).map(|finding| shape(finding))
    };
    if is_excused(own, verdict) {
        return;
    }
    let panics = verdict.refused.starts_with("panic");
    match (with(&[Effect::Refused]), verdict.refused.is_empty()) {
        (None, false) if panics && with(&[Effect::Ends]).is_some() => return,
        (None, false) => drop(found.insert(Difference::Missed(gist(&verdict.refused)))),
        (Some(rule), true) => drop(found.insert(Difference::FalseAlarm(rule))),
        (Some(_), false) => return,
        (None, true) => {}
    }
    if !verdict.refused.is_empty() {
        return;
    }
    let has_errors = own.iter().any(|finding| finding.severity() == Severity::Error);
    if let Some(dropped) = verdict.dropped.first().filter(|_| !has_errors) {
        found.insert(Difference::DropMissed(gist(dropped)));
    }
    let drop = own.iter().find(|f| matches!(f.rule, "unknown-field" | "duplicate-key"));
    if let Some(finding) = drop.filter(|_| verdict.dropped.is_empty()) {
        found.insert(Difference::DropFalseAlarm(shape(finding)));
    }
    let depends_on_the_node =
        own.iter().any(|f| f.effect == Effect::Host && f.rule == "node-selector");
    match (with(&[Effect::NotAdmitted, Effect::Ends]), verdict.not_admitted.is_empty()) {
        (None, false) if !depends_on_the_node => {
            found.insert(Difference::AdmissionMissed(gist(&verdict.not_admitted)));
        }
        (Some(rule), true) if with(&[Effect::Ends]).is_none() => {
            found.insert(Difference::AdmissionFalseAlarm(rule));
        }
        _ => {}
    }
}

/// Where the two may differ.
fn is_excused(own: &[&LintFinding], verdict: &Verdict) -> bool {
    // What is for Windows is refused here whatever it says; of two equal keys, only the second is looked into.
    let rules = ["windows", "node-os", "duplicate-key"];
    own.iter().any(|finding| rules.contains(&finding.rule))
        // What follows a document's end is called broken rather than further.
        || own.iter().any(|finding| finding.message.contains("expected <document start>"))
        // Our reader of YAML is stricter than Go's about a colon before a comma or a brace.
        || own.iter().any(|finding| finding.message.contains("found unexpected ':'"))
        // The longest name depends on the node's.
        || verdict.refused.contains("metadata.name: Invalid value")
            && verdict.refused.contains("must be no more than 253")
        // Go's strict reader takes two merges for one key.
        || verdict.dropped.iter().any(|dropped| dropped.contains("key \"<<\""))
}

/// Rule and field, without what is different from manifest to manifest.
fn shape(finding: &LintFinding) -> String {
    format!("[{}] {}: {}", finding.rule, gist(&finding.path), gist(&finding.message))
}

/// A message without indices and what is in quotes.
fn gist(message: &str) -> String {
    let mut gist = String::new();
    let mut quote = None;
    for character in message.chars() {
        match quote {
            Some(end) if character == end => {
                gist.push(character);
                quote = None;
            }
            Some(_) => {}
            None => {
                if !character.is_ascii_digit() {
                    gist.push(character);
                }
                quote = match character {
                    '"' | '`' => Some(character),
                    _ => None,
                };
            }
        }
    }
    gist.chars().take(300).collect()
}
