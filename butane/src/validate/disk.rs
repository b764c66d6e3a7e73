//! Disks, partitions, arrays, file systems.

use std::collections::HashSet;

use super::{Check, optional_path, path_fault, required_path};
use crate::tree::Tree;
use crate::version::since::{FCOS_1_3, FCOS_1_6};
use crate::version::{Base, Spec};

/// Below this many MiB the operating system has no room to update itself.
const ROOT_MEBIBYTES: i64 = 8192;

/// Labels of Fedora CoreOS' own partitions, with their numbers.
const RESERVED: [(&str, i64); 5] =
    [("BIOS-BOOT", 1), ("PowerPC-PReP-boot", 1), ("EFI-SYSTEM", 2), ("boot", 3), ("root", 4)];

pub(crate) fn disk(disk: &Tree, check: &mut Check) {
    if disk.lacks("device") {
        check.error(&disk.place_of("device"), "`device` is missing");
        return;
    }
    required_path(disk, "device", check);
    let partitions = disk.items("partitions");
    let mut numbers = HashSet::new();
    let mut labels = HashSet::new();
    for partition in partitions {
        let number = number(partition);
        if number != 0 && !numbers.insert(number) {
            check.error(&partition.origin, format!("another partition has number {number}"));
        }
        if let Some(label) = partition.text("label")
            && !labels.insert(label)
        {
            check.error(&partition.origin, format!("another partition has the label `{label}`"));
        }
    }
    if let Some(partition) = overlapping(partitions) {
        check.error(&partition.origin, "it overlaps with another partition");
    }
    let has_gone = partitions.iter().any(|p| p.flag("shouldExist") == Some(false));
    if has_gone && partitions.iter().any(|partition| number(partition) == 0) {
        let message = "with `should_exist: false` on one partition, all of the disk need a number";
        check.error(&disk.place_of("partitions"), message);
    }
}

fn number(partition: &Tree) -> i64 {
    partition.integer("number").unwrap_or(0)
}

/// First and last MiB, when they are said. A start of 0 is chosen by the machine; a size of 0 takes what is left, and
/// counts as its start.
fn extent(partition: &Tree) -> Option<(i64, i64)> {
    let (start, size) = (partition.integer("startMiB")?, partition.integer("sizeMiB")?);
    let end = if size == 0 { start } else { start.saturating_add(size).saturating_sub(1) };
    (start != 0).then_some((start, end))
}

/// Which partitions may overlap with another one; in their order. Comparing each with each takes minutes when there are a
/// hundred thousand.
fn neighbours(partitions: &[Tree]) -> Vec<usize> {
    let mut extents: Vec<(i64, i64, usize)> = partitions
        .iter()
        .enumerate()
        .filter_map(|(index, partition)| {
            let (start, end) = extent(partition)?;
            Some((start.min(end), start.max(end), index))
        })
        .collect();
    extents.sort_unstable();
    let mut found = Vec::new();
    let mut reached = i64::MIN;
    for (position, &(start, end, index)) in extents.iter().enumerate() {
        let next = extents.get(position + 1).map(|(start, _, _)| *start);
        if reached >= start || next.is_some_and(|next| next <= end) {
            found.push(index);
        }
        reached = reached.max(end);
    }
    found.sort_unstable();
    found
}

/// A partition that another one runs into.
fn overlapping(partitions: &[Tree]) -> Option<&Tree> {
    for index in neighbours(partitions) {
        let Some((start, end)) = extent(&partitions[index]) else { continue };
        for (other_index, other) in partitions.iter().enumerate() {
            let Some((other_start, other_end)) = extent(other).filter(|_| other_index != index)
            else {
                continue;
            };
            let has_start = (other_start..=other_end).contains(&start);
            let has_end = (other_start..=other_end).contains(&end);
            if has_start || has_end || (start < other_start && end > other_end) {
                return Some(other);
            }
        }
    }
    None
}

pub(crate) fn partition(partition: &Tree, check: &mut Check) {
    let says_more = || {
        ["label", "startMiB", "sizeMiB"].iter().any(|name| partition.get(name).is_some())
            || ["typeGuid", "guid"].iter().any(|name| partition.some_text(name).is_some())
    };
    if partition.flag("shouldExist") == Some(false) && says_more() {
        check.error(
            &partition.origin,
            "a partition that is not to exist has a number and nothing else",
        );
    }
    let is_unread = partition.get("number").is_some() && partition.integer("number").is_none();
    if number(partition) == 0 && !is_unread && partition.get("label").is_none() {
        check.error(&partition.origin, "a partition needs a `number` or a `label`");
    }
    if let Some(label) = partition.text("label") {
        let origin = partition.place_of("label");
        if label.len() > 36 {
            check.error(&origin, "the label of a partition has at most 36 characters");
        } else if label.contains(':') {
            check.error(&origin, "the label of a partition has no colon");
        }
    }
    for name in ["guid", "typeGuid"] {
        if let Some(guid) = partition.some_text(name)
            && !is_guid(guid)
        {
            check
                .error(&partition.place_of(name), format!("`{guid}` is not a GUID"))
                .hint("it has the form `01234567-89AB-CDEF-EDCB-A98765432101`");
        }
    }
}

fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

pub(crate) fn raid(raid: &Tree, check: &mut Check) {
    let origin = raid.place_of("level");
    if raid.lacks("level") {
        // Before spec 3.3.0 the empty text is a level nobody knows, which comes to the same.
        check.error(&origin, "`level` is missing");
    }
    match raid.some_text("level") {
        Some("linear" | "raid0" | "0" | "stripe") => {
            if raid.integer("spares").unwrap_or(0) != 0 {
                check.error(&origin, "an array of this level has no spares");
            }
        }
        None
        | Some(
            "raid1" | "1" | "mirror" | "raid4" | "4" | "raid5" | "5" | "raid6" | "6" | "raid10"
            | "10",
        ) => {}
        Some(level) => {
            check.error(&origin, format!("`{level}` is not a level of RAID"));
        }
    }
    for device in raid.items("devices") {
        if let Some(fault) = device.as_text().and_then(path_fault) {
            check.error(&device.origin, fault);
        }
    }
    if raid.lacks("devices") {
        check.error(&raid.place_of("devices"), "an array needs devices");
    }
}

/// Butane: what a mount unit cannot do without.
pub(crate) fn mount_unit(filesystem: &Tree, check: &mut Check) {
    if filesystem.flag("with_mount_unit") != Some(true) {
        return;
    }
    let has_format = !filesystem.lacks("format");
    if !has_format {
        check.error(&filesystem.place_of("format"), "a mount unit needs the `format`");
    }
    // Swap has units of its own from fcos 1.4.0 on; from then on, too, one missing field is enough to be told of.
    let needs_path = match check.target().base >= Base::V0_4 {
        true => has_format && filesystem.text("format") != Some("swap"),
        false => true,
    };
    if needs_path && filesystem.lacks("path") {
        check.error(&filesystem.place_of("path"), "a mount unit needs the `path`");
    }
}

pub(crate) fn filesystem(filesystem: &Tree, check: &mut Check) {
    optional_path(filesystem, "path", check);
    required_path(filesystem, "device", check);
    let has_text = |name: &str| filesystem.some_text(name).is_some();
    let format = filesystem.place_of("format");
    let limit = match filesystem.some_text("format") {
        None if filesystem.lacks("format") => {
            let says_more = has_text("path")
                || has_text("label")
                || has_text("uuid")
                || filesystem.flag("wipeFilesystem") == Some(true)
                || !filesystem.items("mountOptions").is_empty()
                || !filesystem.items("options").is_empty();
            if says_more {
                check.error(&format, "`format` is missing");
            }
            if has_text("label") {
                check.error(&filesystem.place_of("label"), "a label needs a `format`");
            }
            None
        }
        None => None,
        Some("none") if check.spec() >= Spec::V3_3 => None,
        Some("ext4") => Some(16),
        Some("btrfs") => Some(256),
        Some("xfs") => Some(12),
        Some("swap") => Some(15),
        Some("vfat") => Some(11),
        Some(unknown) => {
            let hint = match check.spec() >= Spec::V3_3 {
                true => "there are `ext4`, `btrfs`, `xfs`, `vfat`, `swap` and `none`",
                false => "there are `ext4`, `btrfs`, `xfs`, `vfat` and `swap`",
            };
            let message = format!("`{unknown}` is not a format that Ignition makes");
            check.error(&format, message).hint(hint);
            None
        }
    };
    let label = filesystem.text("label").unwrap_or_default();
    if let Some(limit) = limit.filter(|limit| label.len() > *limit) {
        check.error(
            &filesystem.place_of("label"),
            format!("the label has at most {limit} bytes here"),
        );
    }
}

/// Butane: what Fedora CoreOS cannot do with disks, from fcos 1.6.0.
pub(crate) fn fedora_coreos(config: &Tree, check: &mut Check) {
    const BOOT_DISK: &str = "/dev/disk/by-id/coreos-boot-disk";
    if !check.target().has(FCOS_1_6) {
        return;
    }
    let Some(storage) = config.get("storage") else { return };
    let mirror = config.get("boot_device").and_then(|boot_device| boot_device.get("mirror"));
    let mirrored = mirror.map_or(&[][..], |mirror| mirror.items("devices"));
    for disk in storage.items("disks") {
        let device = disk.text("device").unwrap_or_default();
        let is_mirrored = mirrored.iter().any(|mirrored| mirrored.as_text() == Some(device));
        if device == BOOT_DISK || disk.flag("wipe_table") == Some(true) || is_mirrored {
            continue;
        }
        for partition in disk.items("partitions") {
            let has_number = partition.get("number").is_some_and(|n| n.as_integer() != Some(0));
            if !has_number && partition.get("label").is_some() {
                check
                    .warning(&partition.place_of("number"), "a partition is not found by its label")
                    .hint(format!(
                        "set the `number`, or `wipe_table`; `{BOOT_DISK}` needs neither"
                    ));
            }
        }
    }
    for filesystem in storage.items("filesystems") {
        let path = filesystem.text("path");
        if let Some(path) = path
            && filesystem.flag("with_mount_unit") == Some(true)
            && !["/etc", "/var"].iter().any(|top| {
                path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        {
            check
                .error(&filesystem.place_of("path"), format!("nothing can be mounted at `{path}`"))
                .hint("choose a path below `/etc` or `/var`, or leave `with_mount_unit` away");
        }
    }
}

/// Fedora CoreOS: its own partitions, in a finished config.
pub(crate) fn system_partitions(config: &Tree, check: &mut Check) {
    // Before fcos 1.3.0 nothing was said of the root partition.
    let has_root_rules = check.target().has(FCOS_1_3);
    let disks = config.get("storage").map_or(&[][..], |storage| storage.items("disks"));
    for disk in disks {
        let partitions = disk.items("partitions");
        for (index, partition) in partitions.iter().enumerate() {
            let Some(label) = partition.text("label") else { continue };
            if label == "root" && has_root_rules {
                root_partition(partition, index, partitions, check);
            }
            let reserved = RESERVED.iter().find(|(name, _)| *name == label);
            if let Some((_, number)) = reserved.filter(|(_, n)| *n != self::number(partition))
                && disk.flag("wipeTable") != Some(true)
            {
                let message = format!(
                    "the partition `{label}` of the operating system is number {number}: this makes another one"
                );
                check.warning(&partition.place_of("label"), message);
            }
        }
    }
}

fn root_partition(root: &Tree, index: usize, partitions: &[Tree], check: &mut Check) {
    let size = root.integer("sizeMiB").unwrap_or(0);
    if size == 0 {
        let is_placed_by_machine = |(other, partition): (usize, &Tree)| {
            other != index && partition.integer("startMiB").unwrap_or(0) == 0
        };
        if partitions.iter().enumerate().any(is_placed_by_machine) {
            let message = "the root partition cannot grow: one that the machine places follows it";
            check.warning(&root.place_of("label"), message).hint("give the other a `start_mib`");
        }
    } else if size < ROOT_MEBIBYTES {
        let message = format!("the root partition should have at least {ROOT_MEBIBYTES} MiB");
        check.warning(&root.place_of("sizeMiB"), message);
    }
}
