//! The boot device.

use basalt_model::decode::list;

use super::Check;
use crate::tree::Tree;
use crate::version::since::FCOS_1_6;

const LAYOUTS: [&str; 6] =
    ["aarch64", "ppc64le", "x86_64", "s390x-eckd", "s390x-virt", "s390x-zfcp"];

/// How many of the layouts there were before fcos 1.6.0.
const FIRST_LAYOUTS: usize = 3;

/// Butane: the layout is known, a mirror has two disks, and what unlocks the disk fits the machine.
pub(crate) fn boot_device(section: &Tree, check: &mut Check) {
    let has_s390x = check.target().has(FCOS_1_6);
    if let Some(layout) = section.text("layout") {
        known_layout(section, layout, has_s390x, check);
    }
    if has_s390x {
        cex(section, check);
    }
    let Some(mirror) = section.get("mirror") else { return };
    let devices = mirror.items("devices").len();
    if devices == 1 {
        check.error(&mirror.place_of("devices"), "a mirror has at least two disks");
    }
    if devices > 0 && section.get("layout").is_none() {
        let is_required = check.target().fcos.is_some_and(|minor| minor >= 7);
        let finding = match is_required {
            true => check.error(&mirror.origin, "a mirror names its layout"),
            false => {
                check.warning(&mirror.origin, "a mirror should name its layout; `x86_64` is taken")
            }
        };
        finding.hint("set `boot_device.layout`");
    }
}

fn known_layout(section: &Tree, layout: &str, has_s390x: bool, check: &mut Check) {
    let origin = section.place_of("layout");
    let layouts = if has_s390x { &LAYOUTS[..] } else { &LAYOUTS[..FIRST_LAYOUTS] };
    if !layouts.contains(&layout) {
        check
            .error(&origin, format!("there is no layout `{layout}`"))
            .hint(format!("there are {}", list(layouts)));
        // What starts like an s390x is still told that it has no mirror.
        if !has_s390x {
            return;
        }
    }
    let disk = match layout {
        "s390x-eckd" => Some("/dev/dasd"),
        "s390x-zfcp" => Some("/dev/sd"),
        _ => None,
    };
    if let Some(disk) = disk {
        let device = section.get("luks").and_then(|luks| luks.some_text("device"));
        let is_disk = |device: &str| {
            // Anywhere in the text, as the reference looks for it; the end is the end.
            let stem = device.strip_suffix(|c: char| c.is_ascii_lowercase());
            stem.is_some_and(|stem| stem.ends_with(disk))
        };
        match device {
            None => {
                check
                    .error(&origin, "this layout needs the disk that is encrypted")
                    .hint(format!("set `boot_device.luks.device`, to `{disk}a` for example"));
            }
            Some(device) if !is_disk(device) => {
                check.error(
                    &origin,
                    format!("the disk of this layout is `{disk}` and a letter, not `{device}`"),
                );
            }
            Some(_) => {}
        }
    }
    let has_mirror =
        section.get("mirror").is_some_and(|mirror| !mirror.items("devices").is_empty());
    if layout.starts_with("s390x") && has_mirror {
        check.error(&origin, "the disk of an s390x cannot be mirrored");
    }
}

fn cex(section: &Tree, check: &mut Check) {
    let Some(luks) = section.get("luks") else { return };
    let Some(cex) = luks.get("cex").filter(|cex| cex.flag("enabled") == Some(true)) else { return };
    let message = "crypto cards are in s390x machines";
    match section.text("layout") {
        None if section.get("layout").is_none() => {
            check.error(&cex.origin, message).hint("set `boot_device.layout`");
        }
        Some(layout) if !layout.starts_with("s390x") => {
            check.error(&section.place_of("layout"), message);
        }
        _ => {}
    }
    if !luks.items("tang").is_empty() || luks.flag("tpm2") == Some(true) {
        check.error(&luks.origin, "`cex` stands alone, without `tang` and `tpm2`");
    }
}

/// Butane: a disk that is named is unlocked somehow. From fcos 1.7.0.
pub(crate) fn luks(luks: &Tree, check: &mut Check) {
    let is_ruled = check.target().fcos.is_some_and(|minor| minor >= 7);
    if !is_ruled || luks.some_text("device").is_none() {
        return;
    }
    let has_server = luks.items("tang").iter().any(|server| !server.entries().is_empty());
    let has_card = luks.get("cex").is_some_and(|cex| cex.flag("enabled") == Some(true));
    if !has_server && luks.flag("tpm2") != Some(true) && !has_card {
        check
            .error(&luks.origin.below("luks"), "nothing says how the disk is unlocked")
            .hint("set `cex`, `tang` or `tpm2`");
    }
}
