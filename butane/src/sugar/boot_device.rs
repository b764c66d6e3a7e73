//! `boot_device`: the disk of Fedora CoreOS, mirrored or encrypted.
//!
//! The partitions are those of the image that coreos-assembler makes (`create_disk.sh`): the first ones have to stay
//! where the boot loader looks for them. Their sizes are part of what this version promises.

use super::section;
use crate::lower::{Context, lower};
use crate::schema::config::BOOT_DEVICE_LUKS;
use crate::tree::{Origin, Tree};

/// Partition types.
const RESERVED: &str = "8DA63339-0007-60C0-C436-083AC8230908";
const BIOS: &str = "21686148-6449-6E6F-744E-656564454649";
const PREP: &str = "9E1A2D38-C612-4316-AA26-8B49521E5A8B";
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

/// What the first two partitions of a layout are: label, size in MiB, type.
type Boot = [(&'static str, i64, &'static str); 2];

const ROOT_BY_LABEL: &str = "/dev/disk/by-partlabel/root";
const ROOT_ARRAY: &str = "/dev/md/md-root";
const ROOT_MAPPED: &str = "/dev/mapper/root";

/// The storage that a boot device stands for. A layout or a threshold alone stands for nothing.
pub(super) fn expand(written: &Tree, context: &mut Context) -> Option<Tree> {
    let boot_device = written.get("boot_device")?;
    let luks = boot_device.get("luks").filter(|luks| {
        luks.flag("tpm2") == Some(true) || !luks.items("tang").is_empty() || uses_card(luks)
    });
    let mirror = boot_device.get("mirror").filter(|mirror| !mirror.items("devices").is_empty());
    if luks.is_none() && mirror.is_none() {
        return None;
    }
    let name = boot_device.text("layout").unwrap_or("x86_64");
    let layout = layout(name)?;
    let (mut filesystems, mut lists) = (Vec::new(), Vec::new());
    if let Some(mirror) = mirror {
        let devices = mirror.get("devices").map_or(&mirror.origin, |devices| &devices.origin);
        let mut disks = Vec::new();
        for (index, device) in mirror.items("devices").iter().enumerate() {
            disks.push(disk(device, index + 1, &layout));
            if layout[1].0 == "esp" {
                let label = format!("esp-{}", index + 1);
                let path = format!("/dev/disk/by-partlabel/{label}");
                filesystems.push(filesystem(&device.origin, &path, "vfat", &label));
            }
        }
        let count = disks.len();
        lists.push(("disks", Tree::list_at(devices, disks)));
        lists.push(("raid", arrays(&mirror.origin, count)));
        filesystems.push(filesystem(&mirror.origin, "/dev/md/md-boot", "ext4", "boot"));
    }
    if let Some(luks) = luks {
        let disk = luks.text("device").unwrap_or_default();
        // The installer's partition of the root file system.
        let device = match name {
            "s390x-eckd" => format!("{disk}2"),
            "s390x-zfcp" => format!("{disk}4"),
            _ if mirror.is_some() => ROOT_ARRAY.to_owned(),
            _ => ROOT_BY_LABEL.to_owned(),
        };
        lists.push(("luks", volume(luks, &device, context)));
    }
    let device = if luks.is_some() { ROOT_MAPPED } else { ROOT_ARRAY };
    filesystems.push(filesystem(&boot_device.origin, device, "xfs", "root"));
    lists.push(("filesystems", Tree::list_at(&boot_device.origin, filesystems)));
    Some(section(&boot_device.origin, "storage", lists))
}

/// `None` is an unknown layout, which has been reported.
fn layout(name: &str) -> Option<Boot> {
    match name {
        "x86_64" => Some([("bios", 1, BIOS), ("esp", 127, ESP)]),
        "aarch64" => Some([("reserved", 1, RESERVED), ("esp", 127, ESP)]),
        "ppc64le" => Some([("prep", 4, PREP), ("reserved", 1, RESERVED)]),
        // It has no mirror, and so no partitions are made.
        "s390x-eckd" | "s390x-virt" | "s390x-zfcp" => {
            Some([("reserved", 1, RESERVED), ("reserved", 1, RESERVED)])
        }
        _ => None,
    }
}

fn disk(device: &Tree, number: usize, layout: &Boot) -> Tree {
    let origin = &device.origin;
    let partition = |label: &str, size: Option<i64>, kind: Option<&str>| {
        let mut entries = vec![("label", Tree::text_at(origin, format!("{label}-{number}")))];
        entries.extend(size.map(|size| ("sizeMiB", Tree::integer_at(origin, size))));
        entries.extend(kind.map(|kind| ("typeGuid", Tree::text_at(origin, kind))));
        Tree::map_at(origin, entries)
    };
    let mut partitions: Vec<Tree> = layout
        .iter()
        .map(|(label, size, kind)| partition(label, Some(*size), Some(kind)))
        .collect();
    partitions.extend([partition("boot", Some(384), None), partition("root", None, None)]);
    Tree::map_at(
        origin,
        vec![
            ("device", device.clone()),
            ("partitions", Tree::list_at(origin, partitions)),
            ("wipeTable", Tree::flag_at(origin, true)),
        ],
    )
}

fn arrays(origin: &Origin, count: usize) -> Tree {
    let array = |name: &str, options: Option<&str>| {
        let devices = (1..=count)
            .map(|number| Tree::text_at(origin, format!("/dev/disk/by-partlabel/{name}-{number}")));
        let mut entries = vec![
            ("devices", Tree::list_at(origin, devices.collect())),
            ("level", Tree::text_at(origin, "raid1")),
            ("name", Tree::text_at(origin, format!("md-{name}"))),
        ];
        entries.extend(
            options.map(|option| {
                ("options", Tree::list_at(origin, vec![Tree::text_at(origin, option)]))
            }),
        );
        Tree::map_at(origin, entries)
    };
    // The superblock at the end: GRUB on BIOS then reads the partition without knowing of arrays.
    Tree::list_at(origin, vec![array("boot", Some("--metadata=1.0")), array("root", None)])
}

fn filesystem(origin: &Origin, device: &str, format: &str, label: &str) -> Tree {
    Tree::map_at(
        origin,
        vec![
            ("device", Tree::text_at(origin, device)),
            ("format", Tree::text_at(origin, format)),
            ("label", Tree::text_at(origin, label)),
            ("wipeFilesystem", Tree::flag_at(origin, true)),
        ],
    )
}

/// Whether the crypto card of IBM Z unlocks the disk.
fn uses_card(luks: &Tree) -> bool {
    luks.get("cex").is_some_and(|cex| cex.flag("enabled") == Some(true))
}

/// The encrypted root: the section says how it is unlocked, in the words of `clevis` or `cex`.
fn volume(luks: &Tree, device: &str, context: &mut Context) -> Tree {
    let origin = &luks.origin;
    let mut entries = match luks.get("cex").filter(|_| uses_card(luks)) {
        Some(cex) => vec![("cex", cex.clone())],
        None => vec![("clevis", lower(luks, &BOOT_DEVICE_LUKS, context))],
    };
    entries.push(("device", Tree::text_at(origin, device)));
    entries.extend(luks.get("discard").map(|discard| ("discard", discard.clone())));
    entries.extend([
        ("label", Tree::text_at(origin, "luks-root")),
        ("name", Tree::text_at(origin, "root")),
        ("wipeVolume", Tree::flag_at(origin, true)),
    ]);
    Tree::list_at(origin, vec![Tree::map_at(origin, entries)])
}
