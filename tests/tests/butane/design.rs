//! Where we differ from the reference on purpose: each difference has its row here, and its reason.

use basalt_model::report::{Finding, Severity};

use crate::reference::{Answer, Entry};

/// Findings that the reference does not have, by a part of their message.
const OURS: &[(&str, &str)] =
    &[("leads out of the files directory", "a config could read any file of the build machine")];

/// Findings of the reference that we do not have, by a part of their message.
const LEFT_OUT: &[(&str, &str)] = &[
    ("unused key <<", "merge keys are understood, and so they are used (butane#507)"),
    ("context tree does not match content tree", "aliases and null are followed: places are right"),
];

/// Whether the finding is one that only we have.
pub(crate) fn is_ours(finding: &Finding, theirs: &Answer) -> bool {
    OURS.iter().any(|(part, _)| finding.message.contains(part)) || is_behind_alias(finding, theirs)
}

/// The reference does not look for unknown keys behind an alias: there, its "context tree does not match".
fn is_behind_alias(finding: &Finding, theirs: &Answer) -> bool {
    finding.severity == Severity::Warning
        && theirs.entries.iter().any(|entry| {
            entry.message.contains("context tree does not match")
                && finding.path.starts_with(&format!("{}.", entry.path))
        })
}

/// Whether the finding is one that only we have, and makes us refuse the config.
pub(crate) fn is_our_error(finding: &Finding, theirs: &Answer) -> bool {
    finding.severity == Severity::Error && is_ours(finding, theirs)
}

/// Whether we do without this finding.
pub(crate) fn is_left_out(entry: &Entry) -> bool {
    LEFT_OUT.iter().any(|(part, _)| entry.message.contains(part))
}
