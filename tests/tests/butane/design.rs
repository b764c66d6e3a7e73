//! Where we differ from the reference on purpose: each difference has its row here, and its reason.

use basalt_model::report::{Finding, Severity};

use crate::reference::{Answer, Entry};

/// What the configs are called. Findings in other files are about configs that are merged in, which the reference does
/// not look into.
pub(crate) const FILE: &str = "config.bu";

/// Findings that the reference does not have, by a part of their message.
const OURS: &[(&str, &str)] = &[
    ("leads out of the files directory", "a config could read any file of the build machine"),
    ("the contents have another hash", "the machine would find it, and not boot"),
    ("Ignition compares hashes as text", "the machine would find it, and not boot"),
    ("so that Ignition cannot verify them", "the machine would find it, and not boot"),
    ("in this config, line ", "configs in data URLs are looked into"),
    ("this is no Ignition config", "configs in data URLs are looked into"),
    ("is no Ignition config: it is not text", "configs in local files are looked into"),
    ("is a Butane config, and Ignition reads its own", "configs in local files are looked into"),
    ("a template without `DefaultInstance` is enabled", "nothing would start it"),
    ("a container needs `Image=`", "Podman would make no unit of it"),
    ("what Kubernetes would run needs `Yaml=`", "Podman would make no unit of it"),
    ("an image needs `Image=`", "Podman would make no unit of it"),
    ("a build needs `ImageTag=`", "Podman would make no unit of it"),
    ("the tree is a symbolic link", "what is copied is not what is meant"),
    ("did not find expected <document start>", "what follows a document is read too"),
    ("not `-.inf`", "nobody means the least number there is"),
];

/// Findings of the reference that we do not have, by a part of their message.
const LEFT_OUT: &[(&str, &str)] = &[
    ("unused key <<", "merge keys are understood, and so they are used (butane#507)"),
    ("context tree does not match content tree", "aliases and null are followed: places are right"),
];

/// Texts that the reference cannot read, by a part of its error.
const READ: &[(&str, &str)] = &[
    ("found unknown escape character", "`\\/` is good JSON and YAML 1.2"),
    ("did not find expected ',' or '}'", "`?` in a flow mapping is not a key's begin in YAML 1.2"),
];

/// Whether the finding is one that only we have.
pub(crate) fn is_ours(finding: &Finding, text: &str, theirs: &Answer) -> bool {
    OURS.iter().any(|(part, _)| finding.message.contains(part))
        || finding.file != FILE
        || is_of_other_instance(finding)
        || is_behind_alias(finding, theirs)
        || is_misplaced(&finding.path, theirs)
        || theirs.entries.iter().any(is_in_spec)
        || has_null_items(text)
        || (makes_items(text)
            && (finding.path.starts_with("$.boot_device.") || is_in_list(&finding.path))
            && theirs.entries.iter().any(is_of_item))
}

/// The reference looks for `[Install]` in the templates of services only.
fn is_of_other_instance(finding: &Finding) -> bool {
    finding.message.ends_with("so that enabling an instance does nothing")
        && !finding.message.contains("@.service`")
}

/// The reference does not look for unknown keys behind an alias: there, its "context tree does not match".
fn is_behind_alias(finding: &Finding, theirs: &Answer) -> bool {
    finding.severity == Severity::Warning
        && theirs.entries.iter().any(|entry| {
            entry.message.contains("context tree does not match")
                && finding.path.starts_with(&format!("{}.", entry.path))
        })
}

/// The reference does not find the place of what a merge key brings in; ours is there.
fn is_misplaced(path: &str, theirs: &Answer) -> bool {
    theirs.entries.iter().any(|entry| {
        entry.message == "unused key <<"
            && entry.path.strip_suffix("<<").is_some_and(|parent| path.starts_with(parent))
    })
}

/// The reference leaves null out of lists, and then takes an item's index for its index in the source.
fn has_null_items(text: &str) -> bool {
    let items = text.lines().filter_map(|line| line.trim().strip_prefix('-'));
    let is_null = |item: &str| matches!(item, "" | "~" | "null") || item.starts_with('#');
    items.map(str::trim).any(is_null)
}

/// What is missing has the path in the MachineConfig in the reference, and no place (butane#213).
fn is_in_spec(entry: &Entry) -> bool {
    entry.path.starts_with("$.spec.config.")
}

/// What is missing in an item has no place of its own in the reference, which then takes the item's path in the
/// output for one in the source: not the same when a short form has made items before it.
fn is_of_item(entry: &Entry) -> bool {
    is_in_list(&entry.path)
}

/// Whether a config has a short form that makes items of lists.
fn makes_items(text: &str) -> bool {
    ["boot_device:", "grub:", "with_mount_unit:"].iter().any(|sugar| text.contains(sugar))
}

fn is_in_list(path: &str) -> bool {
    const MADE: [&str; 6] = [
        "storage.disks",
        "storage.files",
        "storage.filesystems",
        "storage.luks",
        "storage.raid",
        "systemd.units",
    ];
    MADE.iter().any(|list| path.starts_with(&format!("$.{list}.")))
}

/// Whether the finding is one that only we have, and makes us refuse the config.
pub(crate) fn is_our_error(finding: &Finding, text: &str, theirs: &Answer) -> bool {
    finding.severity == Severity::Error && is_ours(finding, text, theirs)
}

/// Whether we do without this finding.
pub(crate) fn is_left_out(entry: &Entry, text: &str, theirs: &Answer) -> bool {
    LEFT_OUT.iter().any(|(part, _)| entry.message.contains(part))
        || is_misplaced(&entry.path, theirs)
        || is_in_spec(entry)
        || has_null_items(text)
        || (is_of_item(entry) && makes_items(text))
}

/// Whether a value of a wrong type may be reported in another line: the reference points at what an alias names, we
/// at the alias.
pub(crate) fn is_behind_an_alias(text: &str) -> bool {
    text.contains("*a")
}

/// Whether we read what the reference does not.
pub(crate) fn is_read(error: &str) -> bool {
    READ.iter().any(|(part, _)| error.contains(part))
}
