//! File modes: what is possible, what is sensible, and what was meant to be octal.

use super::Check;
use crate::tree::Tree;
use crate::version::Spec;

/// Butane's rule: a mode that makes no sense, and would if its digits were octal.
pub(crate) fn decimal(tree: &Tree, is_directory: bool, check: &mut Check) {
    let Some(mode) = tree.integer("mode") else { return };
    let is_sensible = |mode| u32::try_from(mode).is_ok_and(|mode| is_sensible(mode, is_directory));
    if let Some(meant) = as_octal(mode)
        && !is_sensible(mode)
        && is_sensible(i64::from(meant))
    {
        check
            .warning(
                &tree.place_of("mode"),
                format!("mode {mode} is 0{mode:o} in octal, which is unusual"),
            )
            .hint(format!("write `0{mode}` if you mean octal"));
    }
}

/// Ignition's rule.
pub(crate) fn range(tree: &Tree, check: &mut Check) {
    let Some(mode) = tree.integer("mode") else { return };
    let origin = tree.place_of("mode");
    if !(0..=0o7777).contains(&mode) {
        check.error(&origin, format!("{mode} is not between 0 and 07777"));
    }
    if check.spec() < Spec::V3_6 && mode & 0o7000 != 0 {
        check.warning(
            &origin,
            "setuid, setgid and sticky bits have no effect before Ignition spec 3.6.0",
        );
    }
}

/// The decimal digits of `mode`, read as octal.
fn as_octal(mode: i64) -> Option<u32> {
    (0..=7777).contains(&mode).then(|| u32::from_str_radix(&mode.to_string(), 8).ok())?
}

/// Whether somebody would set such a mode. Bits above the lowest twelve do not count.
fn is_sensible(mode: u32, is_directory: bool) -> bool {
    if mode == 0 {
        return true;
    }
    // From others over group to user: each may do what the one before may.
    let (mut read, mut write, mut execute) = (false, false, false);
    for bits in [mode & 7, mode >> 3 & 7, mode >> 6 & 7] {
        let (r, w, x) = (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0);
        let has_less = (!r && read) || (!w && write) || (!x && execute);
        let gains_execute = x && read && !execute;
        if has_less || gains_execute || ((w || x) && !r) {
            return false;
        }
        (read, write, execute) = (read || r, write || w, execute || x);
    }
    let special = mode & 0o7000;
    let is_special_sensible = if is_directory {
        execute && special & 0o4000 == 0 && (special & 0o3000 == 0 || write)
    } else {
        let is_set_id = special & 0o6000 != 0;
        special & 0o1000 == 0 && (!is_set_id || (execute && mode & 2 == 0))
    };
    read && is_special_sensible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensible_modes() {
        for mode in [0, 0o644, 0o755, 0o600, 0o400, 0o444, 0o4755, 0o2755, 0o660, 0o640] {
            assert!(is_sensible(mode, false), "{mode:o}");
        }
        for mode in [0o1204, 0o1363, 0o1130, 0o111, 0o222, 0o466, 0o745, 0o1755, 0o6644, 0o4777] {
            assert!(!is_sensible(mode, false), "{mode:o}");
        }
        for mode in [0o755, 0o1777, 0o2775, 0o700, 0o555] {
            assert!(is_sensible(mode, true), "{mode:o}");
        }
        for mode in [0o644, 0o4755, 0o1555, 0o2555] {
            assert!(!is_sensible(mode, true), "{mode:o}");
        }
    }

    #[test]
    fn digits() {
        assert_eq!(as_octal(644), Some(0o644));
        assert_eq!(as_octal(7777), Some(0o7777));
        for mode in [-1, 7778, 680, 10_000] {
            assert_eq!(as_octal(mode), None, "{mode}");
        }
    }
}
