//! What has to be remembered about generations, since it cannot be observed again. Part of the ledger. Pure.
//!
//! It is written before anything follows from it: a trial before its first file, a return before the first file of the
//! old set. So whoever starts after a power cut reads here which one set the node is to have, and brings it to that
//! before the kubelet starts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::PodSetId;

/// So many sets are kept on disk.
pub(crate) const MOST_KEPT: usize = 3;
/// So many reasons of a rejection are remembered; a node with more has one cause for all of them.
const MOST_REASONS: usize = 8;

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Generations {
    /// The last set that was proven.
    pub(crate) committed: Option<PodSetId>,
    /// The set that is on the node and not proven yet.
    pub(crate) trial: Option<Trial>,
    /// The set that failed last; it is not tried again.
    pub(crate) rejected: Option<Rejected>,
    /// The sets that are kept, the one that was last begun or committed at the end.
    pub(crate) kept: Vec<PodSetId>,
    /// The run of a pod that would not end, or not begin, and for which the kubelet was restarted; never again for the same one.
    pub(crate) kubelet_restarted_for: Option<String>,
    /// The images that are pinned for the sets, or about to be.
    pub(crate) pinned: BTreeSet<String>,
}

/// A trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    pub(crate) id: PodSetId,
    /// When it began, in this boot or the last one that saw it.
    pub(crate) begun: Moment,
    /// In how many boots it was tried.
    pub(crate) boots: u32,
}

/// A set that failed its trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rejected {
    pub(crate) id: PodSetId,
    /// Which probe failed, of which pod, and what was seen last; one line each.
    pub(crate) reasons: Vec<String>,
    /// By the clock of the node, in seconds since the Unix epoch; for people.
    pub(crate) unix_seconds: u64,
}

/// A moment that no setting of the clock moves: which boot, and seconds since its begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moment {
    /// Tells boots apart; empty when it is not known.
    pub(crate) boot: String,
    /// Time in suspend included.
    pub(crate) seconds: u64,
}

impl Generations {
    /// Notes that `id` is to be kept, as the most recent one.
    pub(crate) fn keep(&mut self, id: &PodSetId) {
        self.kept.retain(|kept| kept != id);
        self.kept.push(id.clone());
        while self.kept.len() > MOST_KEPT {
            let is_needed = |id: &PodSetId| {
                self.committed.as_ref() == Some(id)
                    || self.trial.as_ref().is_some_and(|trial| trial.id == *id)
            };
            let Some(oldest) = self.kept.iter().position(|id| !is_needed(id)) else { break };
            self.kept.remove(oldest);
        }
    }
}

impl Rejected {
    pub(crate) fn new(id: PodSetId, mut reasons: Vec<String>, unix_seconds: u64) -> Rejected {
        reasons.truncate(MOST_REASONS);
        Rejected { id, reasons, unix_seconds }
    }
}

impl Moment {
    /// Whether `other` is of another boot. One that is not known is taken for the same.
    pub(crate) fn is_other_boot(&self, other: &Moment) -> bool {
        !self.boot.is_empty() && !other.boot.is_empty() && self.boot != other.boot
    }

    /// Seconds since `earlier`, of the same boot.
    pub(crate) fn since(&self, earlier: &Moment) -> u64 {
        self.seconds.saturating_sub(earlier.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(generation: u64) -> PodSetId {
        PodSetId { generation, digest: "0".repeat(64) }
    }

    #[test]
    fn three_are_kept_and_never_less_than_the_way_back() {
        let mut record = Generations { committed: Some(id(1)), ..Generations::default() };
        for generation in 1..=6 {
            record.keep(&id(generation));
            assert!(record.kept.contains(&id(1)) && record.kept.contains(&id(generation)));
            assert!(record.kept.len() <= MOST_KEPT);
        }
        assert_eq!(record.kept, [id(1), id(5), id(6)]);
        record.committed = Some(id(6));
        record.keep(&id(7));
        assert_eq!(record.kept, [id(5), id(6), id(7)]);
        record.keep(&id(5));
        assert_eq!(record.kept, [id(6), id(7), id(5)]);
    }
}
