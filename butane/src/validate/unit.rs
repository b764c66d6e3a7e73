//! Units and drop-ins.

use std::collections::HashMap;

use super::{Check, unit_file};
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
    let Some(contents) = unit.text("contents") else { return };
    match unit_file::check(contents) {
        Err(fault) => drop(check.error(&unit.place_of("contents"), fault)),
        Ok(file) => {
            if unit.flag("enabled") == Some(true) && !contents.is_empty() && !file.has_install {
                let message =
                    "the unit is enabled, and without options in `[Install]` that does nothing";
                check.warning(&unit.place_of("contents"), message);
            }
        }
    }
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

/// All units: an instance is enabled by its template.
pub(crate) fn instances(systemd: &Tree, check: &mut Check) {
    let units = systemd.items("units");
    let by_name: HashMap<&str, &Tree> =
        units.iter().filter_map(|unit| Some((unit.text("name")?, unit))).collect();
    for unit in units.iter().filter(|unit| unit.flag("enabled") == Some(true)) {
        let name = unit.text("name").unwrap_or_default();
        let Some((stem, _)) = name
            .strip_suffix(".service")
            .and_then(|name| name.split_once('@'))
            .filter(|(stem, instance)| !stem.is_empty() && !instance.is_empty())
        else {
            continue;
        };
        let template = format!("{stem}@.service");
        let contents = by_name.get(template.as_str()).and_then(|unit| unit.some_text("contents"));
        if let Some(Ok(file)) = contents.map(unit_file::check)
            && !file.has_install
        {
            let message = format!(
                "`{template}` has no options in `[Install]`, so that enabling an instance does nothing"
            );
            check.warning(&unit.place_of("contents"), message);
        }
    }
}
