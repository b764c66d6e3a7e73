//! The boot device.

use super::Check;
use crate::tree::Tree;

const LAYOUTS: [&str; 3] = ["aarch64", "ppc64le", "x86_64"];

/// Butane: the layout is known, and a mirror has two disks.
pub(crate) fn boot_device(section: &Tree, check: &mut Check) {
    if let Some(layout) = section.text("layout")
        && !LAYOUTS.contains(&layout)
    {
        check
            .error(&section.place_of("layout"), format!("there is no layout `{layout}`"))
            .hint(format!("there are {}", basalt_model::decode::list(&LAYOUTS)));
    }
    let Some(mirror) = section.get("mirror") else { return };
    let devices = mirror.items("devices").len();
    if devices == 1 {
        check.error(&mirror.place_of("devices"), "a mirror has at least two disks");
    }
    if devices > 0 && section.get("layout").is_none() {
        check
            .warning(&mirror.origin, "a mirror should name its layout; `x86_64` is taken")
            .hint("set `boot_device.layout`");
    }
}
