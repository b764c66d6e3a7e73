//! `boot_device`, from the storage that it stands for.

use crate::reverse::raise::raise;
use crate::schema::config::BOOT_DEVICE_LUKS;
use crate::tree::Tree;
use crate::version::{Since, Target};

/// The `boot_device` section, when the storage looks as if there had been one.
pub(super) fn guess(config: &Tree, target: &'static Target) -> Option<Tree> {
    if !target.has(Since::Fcos(3)) {
        return None;
    }
    let storage = config.get("storage")?;
    let volume = storage.items("luks").iter().find(|volume| {
        volume.text("name") == Some("root") && volume.flag("wipeVolume") == Some(true)
    });
    let mirror = mirror(storage);
    let mut layout = mirror.as_ref().map(|(layout, _)| *layout);
    let mut entries = Vec::new();
    if let Some(volume) = volume {
        let (device, machine) = disk(volume);
        layout = machine.or(layout);
        entries.push(("luks", luks(volume, device, target)));
    }
    entries.extend(mirror.map(|(_, mirror)| ("mirror", mirror)));
    if entries.is_empty() {
        return None;
    }
    if let Some(layout) = layout {
        entries.insert(0, ("layout", Tree::text_at(&storage.origin, layout)));
    }
    Some(Tree::map_at(&storage.origin, entries))
}

/// The disk on s390x that a volume's partition is on, and the machine's layout.
fn disk(volume: &Tree) -> (Option<&str>, Option<&'static str>) {
    let device = volume.text("device").unwrap_or_default();
    let has_card = volume.get("cex").is_some();
    if device == "/dev/disk/by-partlabel/root" {
        return (None, has_card.then_some("s390x-virt"));
    }
    match (device.strip_suffix('2'), device.strip_suffix('4')) {
        (Some(disk), _) if disk.starts_with("/dev/dasd") => (Some(disk), Some("s390x-eckd")),
        (_, Some(disk)) if disk.starts_with("/dev/sd") => (Some(disk), Some("s390x-zfcp")),
        _ => (None, None),
    }
}

fn luks(volume: &Tree, device: Option<&str>, target: &'static Target) -> Tree {
    let mut entries = Vec::new();
    if let Some(cex) = volume.get("cex") {
        entries.push(("cex", cex.clone()));
    }
    entries.extend(device.map(|device| ("device", Tree::text_at(&volume.origin, device))));
    if let Some(discard) = volume.get("discard") {
        entries.push(("discard", discard.clone()));
    }
    if let Some(clevis) = volume.get("clevis") {
        let clevis = raise(clevis, &BOOT_DEVICE_LUKS, target);
        entries.extend(clevis.entries().iter().cloned());
    }
    Tree::map_at(&volume.origin, entries)
}

/// The layout and the `mirror` section, from disks whose partitions are numbered 1, 2 and so on.
fn mirror(storage: &Tree) -> Option<(&'static str, Tree)> {
    let disk_with = |label: &str| {
        storage.items("disks").iter().find(|disk| {
            disk.items("partitions").iter().any(|part| part.text("label") == Some(label))
        })
    };
    let disks: Vec<&Tree> = (1..)
        .map_while(|number| {
            disk_with(&format!("root-{number}")).filter(|disk| disk.flag("wipeTable") == Some(true))
        })
        .collect();
    let has_array = |name| storage.items("raid").iter().any(|raid| raid.text("name") == Some(name));
    if disks.len() < 2 || !has_array("md-boot") || !has_array("md-root") {
        return None;
    }
    let layout = if disk_with("bios-1").is_some() {
        "x86_64"
    } else if disk_with("prep-1").is_some() {
        "ppc64le"
    } else {
        "aarch64"
    };
    let devices = disks.iter().filter_map(|disk| disk.get("device").cloned()).collect();
    let devices = Tree::list_at(&storage.origin, devices);
    Some((layout, Tree::map_at(&storage.origin, vec![("devices", devices)])))
}
