//! Files, folders, links, and how they get in each other's way.

use std::collections::{HashMap, HashSet};

use super::{Check, mode, required_path};
use crate::tree::Tree;
use crate::version::Spec;

/// Butane: the mode of a file.
pub(crate) fn file_mode(file: &Tree, check: &mut Check) {
    mode::decimal(file, false, check);
}

/// Butane: the mode of a folder.
pub(crate) fn directory_mode(directory: &Tree, check: &mut Check) {
    mode::decimal(directory, true, check);
}

pub(crate) fn file(file: &Tree, check: &mut Check) {
    required_path(file, "path", check);
    mode::range(file, check);
    let has_source = file.get("contents").is_some_and(|contents| contents.get("source").is_some());
    if file.flag("overwrite") == Some(true) && !has_source {
        check
            .error(&file.place_of("overwrite"), "what overwrites needs contents")
            .hint("`inline: \"\"` makes an empty file");
    }
}

pub(crate) fn directory(directory: &Tree, check: &mut Check) {
    required_path(directory, "path", check);
    mode::range(directory, check);
}

pub(crate) fn link(link: &Tree, check: &mut Check) {
    required_path(link, "path", check);
    if check.spec() >= Spec::V3_3 && link.lacks("target") {
        check.error(&link.place_of("target"), "`target` is missing");
    }
}

pub(crate) fn owner(owner: &Tree, check: &mut Check) {
    if owner.get("id").is_some() && owner.some_text("name").is_some() {
        check.error(&owner.origin, "an owner has an `id` or a `name`, not both");
    }
}

/// What one part of the storage does to another.
pub(crate) fn storage(storage: &Tree, check: &mut Check) {
    below_links(storage, check);
    let mut directories: HashMap<&str, usize> = HashMap::new();
    for directory in storage.items("directories") {
        *directories.entry(directory.text("path").unwrap_or_default()).or_default() += 1;
    }
    for link in storage.items("links").iter().filter(|link| link.flag("hard") == Some(true)) {
        hard_link(link, &directories, check);
    }
    // Of equal devices, which is an error, the last one counts.
    let disks: HashMap<&str, &Tree> = storage
        .items("disks")
        .iter()
        .filter_map(|disk| Some((disk.text("device")?, disk)))
        .collect();
    for filesystem in storage.items("filesystems") {
        let device = filesystem.text("device").unwrap_or_default();
        let Some(disk) = disks.get(device) else { continue };
        let origin = filesystem.place_of("device");
        if !disk.items("partitions").is_empty() {
            check.warning(
                &origin,
                format!("the file system overwrites the partitions of `{device}`"),
            );
        } else if disk.flag("wipeTable") == Some(true)
            && filesystem.flag("wipeFilesystem") != Some(true)
        {
            check.warning(&origin, format!("`wipe_table` of `{device}` wipes the file system too"));
        }
    }
}

/// Ignition makes what is below a path before it knows that the path is a link.
fn below_links(storage: &Tree, check: &mut Check) {
    let links: HashSet<&str> =
        storage.items("links").iter().filter_map(|link| link.text("path")).collect();
    if links.is_empty() {
        return;
    }
    // Looking up a parent takes time by its length, and a path that is no path may have millions of them.
    let lengths: HashSet<usize> = links.iter().map(|link| link.len()).collect();
    for list in ["directories", "files", "links"] {
        for node in storage.items(list) {
            let path = node.text("path").unwrap_or_default();
            let ends = path.match_indices('/').map(|(index, _)| index);
            let mut parents =
                ends.filter(|index| lengths.contains(index)).map(|index| &path[..index]);
            if let Some(link) = parents.rfind(|parent| links.contains(parent)) {
                check.error(&node.origin, format!("it is below `{link}`, which is a link"));
            }
        }
    }
}

/// `directories` says how often each path is one.
fn hard_link(link: &Tree, directories: &HashMap<&str, usize>, check: &mut Check) {
    let Some(target) = link.text("target") else { return };
    if target.is_empty() && check.spec() >= Spec::V3_3 {
        return;
    }
    let target = if target.starts_with('/') {
        simplest(target)
    } else {
        simplest(&format!("{}/{target}", link.text("path").unwrap_or_default()))
    };
    for _ in 0..directories.get(target.as_str()).copied().unwrap_or(0) {
        check.error(&link.origin, "a hard link cannot lead to a folder");
    }
    for owner in ["user", "group"] {
        let Some(owner) = link.get(owner) else { continue };
        for (name, _) in owner.entries() {
            check.warning(&owner.place_of(name), "a hard link has the owner of what it leads to");
        }
    }
}

/// An absolute path without `//`, `.` and `..`.
fn simplest(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The whole config: no file where a unit is written.
pub(crate) fn units_and_files(config: &Tree, check: &mut Check) {
    const UNITS: &str = "/etc/systemd/system/";
    let mut paths = HashSet::new();
    for unit in config.get("systemd").map_or(&[][..], |systemd| systemd.items("units")) {
        let name = unit.text("name").unwrap_or_default();
        if unit.some_text("contents").is_some() {
            paths.insert(format!("{UNITS}{name}"));
        }
        for dropin in unit.items("dropins").iter().filter(|d| d.some_text("contents").is_some()) {
            let dropin = dropin.text("name").unwrap_or_default();
            paths.insert(format!("{UNITS}{name}.d/{dropin}"));
        }
    }
    let Some(storage) = config.get("storage") else { return };
    for list in ["directories", "files", "links"] {
        for node in storage.items(list) {
            if node.text("path").is_some_and(|path| paths.contains(path)) {
                check.error(&node.place_of("path"), "a unit in `systemd.units` is written here");
            }
        }
    }
}
