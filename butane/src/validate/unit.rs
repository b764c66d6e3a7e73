//! Units and drop-ins.

use super::{Check, install, unit_file};
use crate::tree::Tree;

const SUFFIXES: [&str; 12] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "snapshot",
    "slice",
    "scope",
];

pub(crate) fn unit(unit: &Tree, check: &mut Check) {
    let name = unit.text("name");
    if name == Some("") {
        check.error(&unit.place_of("name"), "`name` is missing");
    } else if let Some(name) = name
        && !suffix(name).is_some_and(|suffix| SUFFIXES.contains(&suffix))
    {
        check
            .error(&unit.place_of("name"), format!("`{name}` does not end like a unit"))
            .hint("`.service`, for example");
    }
    if let Some(Err(fault)) = unit.text("contents").map(unit_file::check) {
        check.error(&unit.place_of("contents"), fault);
    }
    install::unit(unit, check);
}

/// Butane: contents come from one place.
pub(crate) fn one_source(unit: &Tree, check: &mut Check) {
    if unit.get("contents").is_some()
        && let Some(local) = unit.get("contents_local")
    {
        check.error(&local.origin, "only one of `contents` and `contents_local` can be set");
    }
}

pub(crate) fn dropin(dropin: &Tree, check: &mut Check) {
    if let Some(Err(fault)) = dropin.text("contents").map(unit_file::check) {
        check.error(&dropin.place_of("contents"), fault);
    }
    if let Some(name) = dropin.text("name")
        && suffix(name) != Some("conf")
    {
        check.error(&dropin.place_of("name"), "a drop-in ends in `.conf`");
    }
}

/// What is behind the last full stop of a file name.
fn suffix(name: &str) -> Option<&str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.rsplit_once('.').map(|(_, suffix)| suffix)
}
