//! Several compiled documents → one.

use crate::compile::Lowered;
use crate::merge::{Change, merge};
use crate::schema::config::CONFIG;
use crate::sugar::fips;
use crate::tree::{Findings, Tree, Value};
use crate::validate;
use crate::version::{Spec, TARGETS, Target};

use super::beside;

/// The bits of a mode above the permissions: setuid, setgid, sticky.
const SPECIAL_BITS: i64 = 0o7000;

/// Merges the parts in their order, and says what was changed. `None`: there are no parts. What cannot be merged is
/// reported and left away.
pub(crate) fn join(parts: Vec<Lowered>, findings: &mut Findings) -> Option<(Lowered, Vec<Change>)> {
    let target = newest(&parts)?;
    let is_one = parts.len() == 1;
    let mut parts = parts.into_iter();
    let mut joined = parts.next()?;
    let mut changes = Vec::new();
    if is_one {
        return Some((joined, changes));
    }
    validate::repeats(&joined.config, &CONFIG, joined.target, findings);
    raise(&mut joined, target, findings);
    for mut part in parts {
        if !fits(&joined, &part, findings) {
            continue;
        }
        validate::repeats(&part.config, &CONFIG, part.target, findings);
        raise(&mut part, target, findings);
        let first = changes.len();
        joined.config = merge(joined.config, part.config, &CONFIG, target, &mut changes);
        joined.beside = beside::merge(joined.beside, part.beside, "", &mut changes);
        joined.one_piece.extend(part.one_piece);
        joined.variant = part.variant;
        drop(changes.extract_if(first.., |change| change.path == "ignition.version"));
    }
    // A part that says `fips` means the volumes of all.
    fips::add_cipher(&joined.beside, &mut joined.config, target);
    Some((joined, changes))
}

/// The target that all parts are written for: the newest of the first part's variant.
fn newest(parts: &[Lowered]) -> Option<&'static Target> {
    let variant = parts.first()?.target.variant;
    let is_used = |target: &&Target| {
        target.variant == variant && parts.iter().any(|part| std::ptr::eq(part.target, *target))
    };
    TARGETS.iter().rfind(is_used)
}

/// Whether a part can be merged into what there is; if not, it is reported.
fn fits(joined: &Lowered, part: &Lowered, findings: &mut Findings) -> bool {
    let place = |origin: &crate::tree::Origin| format!("{}:{}", origin.file, origin.place);
    let (ours, theirs) = (joined.target.variant, part.target.variant);
    if ours != theirs {
        findings
            .error(
                &part.variant,
                format!(
                    "`{theirs}` cannot be merged with the `{ours}` of {}",
                    place(&joined.variant)
                ),
            )
            .hint("files that are merged have one variant; their versions may differ");
        return false;
    }
    for (section, origin) in &part.one_piece {
        let Some((_, first)) = joined.one_piece.iter().find(|(name, _)| name == section) else {
            continue;
        };
        findings
            .error(origin, format!("`{section}` is in {} already", place(first)))
            .hint("write all of it in one place: what it stands for is made of the whole");
    }
    true
}

/// Brings a part to a newer specification, as Ignition does before it merges.
fn raise(part: &mut Lowered, target: &'static Target, findings: &mut Findings) {
    if part.target.spec < Spec::V3_6 && target.spec >= Spec::V3_6 {
        let version = part.target.version;
        for list in ["directories", "files"] {
            let storage = part.config.get_mut("storage");
            let items = storage.and_then(|storage| storage.get_mut(list));
            let Some(Value::List(items)) = items.map(|items| &mut items.value) else { continue };
            items.iter_mut().for_each(|item| mask_mode(item, version, findings));
        }
    }
    let version = part.config.get_mut("ignition").and_then(|section| section.get_mut("version"));
    if let Some(version) = version {
        version.value = Value::Text(target.spec.as_str().to_owned());
    }
    part.target = target;
}

/// Before 3.6.0 Ignition did not set the special bits; a newer config would suddenly do.
fn mask_mode(item: &mut Tree, version: &str, findings: &mut Findings) {
    if let Some(mode) = item.get_mut("mode")
        && let Value::Integer(number) = &mut mode.value
        && *number & SPECIAL_BITS != 0
    {
        findings
            .warning(
                &mode.origin,
                format!("setuid, setgid and sticky bits are left out: version {version} does not set them"),
            )
            .hint("write the newer version in this file");
        *number &= !SPECIAL_BITS;
    }
}
