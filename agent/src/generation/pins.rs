//! Which images are pinned for the pod sets, so that neither a set on trial nor a return ever needs a pull. Pure.
//!
//! The kubelet clears images away when the disk runs full, and those of a set that is only kept are in use by nobody.
//! Every image of a set that is kept, or about to be tried, is therefore pinned, and unpinned when the last set that
//! names it is forgotten. Which ones the agent looks after is on record before the first label is changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::probe::ImageSeen;

/// What is to be done about pins, and what the record says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins {
    /// To be pinned: they are present, and are not.
    pub(crate) pin: BTreeSet<String>,
    /// To be unpinned: no set needs them any more.
    pub(crate) unpin: BTreeSet<String>,
    /// Those the agent looks after while this is done.
    pub(crate) ahead: BTreeSet<String>,
    /// Those it looks after once it is done.
    pub(crate) settled: BTreeSet<String>,
}

/// Decides about the images that `needed` names, when those in `recorded` were looked after until now.
pub(crate) fn pins(
    needed: &BTreeSet<String>,
    recorded: &BTreeSet<String>,
    seen: &BTreeMap<String, ImageSeen>,
) -> Pins {
    let is_unpinned = |image: &&String| {
        matches!(seen.get(*image), Some(ImageSeen::Present { pinned: false, .. }))
    };
    let id = |image: &String| match seen.get(image) {
        Some(ImageSeen::Present { id, .. }) => Some(id),
        Some(ImageSeen::Missing | ImageSeen::Unknown { .. }) | None => None,
    };
    // One image may have several names, and is pinned as long as one of them is.
    let is_shared =
        |image: &String| id(image).is_some() && needed.iter().any(|it| id(it) == id(image));
    let mut settled = needed.clone();
    let mut unpin = BTreeSet::new();
    for image in recorded.difference(needed) {
        match seen.get(image) {
            Some(ImageSeen::Missing | ImageSeen::Present { pinned: false, .. }) => {}
            Some(ImageSeen::Present { pinned: true, .. }) if !is_shared(image) => {
                unpin.insert(image.clone());
            }
            Some(ImageSeen::Present { .. } | ImageSeen::Unknown { .. }) | None => {
                settled.insert(image.clone());
            }
        }
    }
    Pins {
        pin: needed.iter().filter(is_unpinned).cloned().collect(),
        unpin,
        ahead: recorded.union(needed).cloned().collect(),
        settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images by letter: `P`resent and pinned, `p`resent, `-` missing, `?` unknown, ` ` not asked for; each is an image
    /// of its own but for `a` and `b`, which are names of one.
    #[track_caller]
    fn check(needed: &str, recorded: &str, seen: [char; 3], pin: &str, unpin: &str, settled: &str) {
        let set = |text: &str| text.chars().map(String::from).collect::<BTreeSet<_>>();
        let present = |id: &str, pinned| ImageSeen::Present {
            id: id.to_owned(),
            digests: BTreeSet::new(),
            pinned,
        };
        let seen = [("a", "1"), ("b", "1"), ("c", "2")].into_iter().zip(seen);
        let seen = seen.filter_map(|((name, id), state)| {
            let state = match state {
                'P' => present(id, true),
                'p' => present(id, false),
                '-' => ImageSeen::Missing,
                '?' => ImageSeen::Unknown { reason: "no answer".into() },
                _ => return None,
            };
            Some((name.to_owned(), state))
        });
        let ahead = set(needed).union(&set(recorded)).cloned().collect();
        let expected = Pins { pin: set(pin), unpin: set(unpin), ahead, settled: set(settled) };
        assert_eq!(pins(&set(needed), &set(recorded), &seen.collect()), expected);
    }

    #[test]
    fn what_is_needed_is_pinned() {
        check("ac", "", ['p', ' ', 'P'], "a", "", "ac");
        check("ac", "ac", ['p', ' ', 'P'], "a", "", "ac");
        check("ac", "ac", ['-', ' ', '?'], "", "", "ac");
        check("ac", "ac", [' ', ' ', ' '], "", "", "ac");
    }

    #[test]
    fn what_nobody_needs_is_unpinned() {
        check("a", "ac", ['P', ' ', 'P'], "", "c", "a");
        check("a", "ac", ['P', ' ', 'p'], "", "", "a");
        check("a", "ac", ['P', ' ', '-'], "", "", "a");
        // Not known: later.
        check("a", "ac", ['P', ' ', '?'], "", "", "ac");
        check("a", "ac", ['P', ' ', ' '], "", "", "ac");
        // Under another name it is needed.
        check("a", "ab", ['P', 'P', ' '], "", "", "ab");
        // Not ours.
        check("a", "a", ['P', ' ', 'P'], "", "", "a");
    }
}
