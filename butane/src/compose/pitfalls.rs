//! Merges that Ignition's rules allow and that hardly anyone means: something that was made of a value, or belongs to
//! it, stays when the value is replaced.

use basalt_model::report::Place;

use crate::compile::Lowered;
use crate::merge::{Change, ChangeKind};
use crate::tree::{Findings, Origin, Tree, Value};
use crate::variables::Marks;

/// What a mount unit is made of.
const MOUNTED: [&str; 4] = [
    "storage.filesystems.device",
    "storage.filesystems.format",
    "storage.filesystems.mountOptions",
    "storage.filesystems.path",
];

/// The field that asks for a mount unit, which is where the unit says it comes from.
const MOUNT_UNIT: &str = ".with_mount_unit";

/// Where the documents begin that were merged.
pub(super) struct Starts<'a>(pub Vec<(&'a str, Place)>);

impl Starts<'_> {
    fn document_of(&self, origin: &Origin) -> Option<usize> {
        self.0.iter().rposition(|(file, place)| *file == &*origin.file && *place <= origin.place)
    }

    fn are_in_one_document(&self, a: &Origin, b: &Origin) -> bool {
        self.document_of(a) == self.document_of(b)
    }

    /// Whether two values are in the same item: they differ in the last name of their paths.
    fn are_in_one_item(&self, a: &Origin, b: &Origin) -> bool {
        let item = |origin: &Origin| origin.path.rsplit_once('.').map(|(item, _)| item.to_owned());
        item(a) == item(b) && self.are_in_one_document(a, b)
    }
}

/// Warns of what was merged from several parts.
pub(super) fn report(
    joined: &Lowered,
    changes: &[Change],
    starts: &Starts,
    findings: &mut Findings,
) {
    let units = joined.config.get("systemd").map_or(&[][..], |systemd| systemd.items("units"));
    let made: Vec<&Origin> = units
        .iter()
        .filter_map(|unit| unit.get("contents"))
        .map(|contents| &contents.origin)
        .filter(|origin| origin.path.ends_with(MOUNT_UNIT))
        .collect();
    for change in changes.iter().filter(|change| change.kind != ChangeKind::Added) {
        if MOUNTED.contains(&change.path.as_str())
            && let Some(unit) =
                made.iter().find(|unit| starts.are_in_one_item(unit, &change.parent))
        {
            findings
                .warning(
                    &change.child,
                    format!("the mount unit of {} does not follow", place(unit)),
                )
                .hint("set `with_mount_unit` here as well, with all that the unit is made of");
        }
    }
    remote_volumes(&joined.config, &made, starts, findings);
    resources(&joined.config, changes, starts, findings);
}

/// A unit knows of the encrypted volumes of its own document only.
fn remote_volumes(config: &Tree, made: &[&Origin], starts: &Starts, findings: &mut Findings) {
    let Some(storage) = config.get("storage") else { return };
    for volume in storage.items("luks") {
        let is_remote = volume.get("clevis").is_some_and(|clevis| !clevis.items("tang").is_empty());
        let name = volume.text("name").unwrap_or_default();
        let devices = [format!("/dev/mapper/{name}"), format!("/dev/disk/by-id/dm-name-{name}")];
        for filesystem in storage.items("filesystems").iter().filter(|_| is_remote) {
            let device = filesystem.get("device");
            let Some(device) = device.filter(|device| {
                device.as_text().is_some_and(|text| devices.iter().any(|known| known == text))
            }) else {
                continue;
            };
            if let Some(unit) =
                made.iter().find(|unit| starts.are_in_one_item(unit, &device.origin))
                && !starts.are_in_one_document(unit, &volume.origin)
            {
                findings
                    .warning(
                        unit,
                        format!(
                            "the mount unit does not wait for the network, which `{name}` of {} needs",
                            place(&volume.origin)
                        ),
                    )
                    .hint("write the volume and the file system in one document");
            }
        }
    }
}

/// Contents that were replaced, with a hash or compression that was not.
fn resources(tree: &Tree, changes: &[Change], starts: &Starts, findings: &mut Findings) {
    for (_, value) in tree.entries() {
        resources(value, changes, starts, findings);
    }
    tree.list().iter().for_each(|item| resources(item, changes, starts, findings));
    let Some(source) = tree.get("source") else { return };
    let Some(change) = changes
        .iter()
        .find(|change| change.path.ends_with(".source") && is_same(&change.child, &source.origin))
    else {
        return;
    };
    let hash = tree.get("verification").and_then(|section| section.get("hash"));
    let compression = tree.get("compression").filter(|value| value.as_text() != Some(""));
    for (stays, what) in [(hash, "the hash"), (compression, "the compression")] {
        let Some(stays) = stays else { continue };
        if !starts.are_in_one_document(&stays.origin, &change.child) {
            findings
                .warning(
                    &source.origin,
                    format!(
                        "{what} of {} stays, for contents that are replaced here",
                        place(&stays.origin)
                    ),
                )
                .hint("say here what holds for the new contents");
        }
    }
}

/// Warns of files with secrets in them that everyone on the machine can read.
pub(super) fn report_open_secrets(config: &Tree, marks: &Marks, findings: &mut Findings) {
    const READ_BY_OTHERS: i64 = 0o004;
    let files = config.get("storage").map_or(&[][..], |storage| storage.items("files"));
    for file in files {
        let sources = file.get("contents").into_iter().chain(file.items("append"));
        let secret = sources
            .filter_map(|resource| resource.get("source"))
            .find(|source| marks.is_secret(&source.origin));
        let is_open = match file.get("mode").map(|mode| &mode.value) {
            // Without a mode, Ignition makes it 0644.
            None => true,
            Some(Value::Integer(mode)) => mode & READ_BY_OTHERS != 0,
            Some(_) => false,
        };
        if let Some(secret) = secret.filter(|_| is_open) {
            findings
                .warning(&secret.origin, "every user of the machine can read this secret")
                .hint("set `mode: 0600`");
        }
    }
}

fn is_same(a: &Origin, b: &Origin) -> bool {
    a.file == b.file && a.place == b.place
}

fn place(origin: &Origin) -> String {
    format!("{}:{}", origin.file, origin.place)
}
