//! Probes: what is known about the health of a pod set, at three levels.
//!
//! - *Process*: the runtime says that the containers run, with the images that the manifests name, and keep running.
//! - *Function*: each pod does its work: its own readiness probe, asked by the agent; a TLS handshake with each frontend
//!   of haproxy that ends TLS; the files that vault-agent renders.
//! - *Outcome*: the virtual addresses answer.
//!
//! Reading order: this file (answers, and how long they have been good), [`wanted`] (what a manifest wants), [`process`]
//! and [`questions`] (what follows from that), all pure, and [`lingering`] (what is stuck); then [`ask`] and [`outside`], which ask one, and [`look`], which asks all.

pub(crate) mod ask;
pub(crate) mod lingering;
pub(crate) mod look;
mod outside;
pub(crate) mod process;
pub(crate) mod questions;
pub(crate) mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apply::Failure;
use crate::reconcile::background::Reports;

use crate::generation::PodSetId;
use crate::plan::Step;
use crate::wire::links::Interfaces;
pub(crate) use lingering::Lingering;

/// What a probe looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    Process,
    Function,
    Outcome,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Good,
    Bad,
    /// It could not be asked. Proves nothing, so it does not count as good.
    Unknown,
}

/// One probe and its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) level: Level,
    /// The pod, or the virtual address, that it is about.
    pub(crate) subject: String,
    /// What is asked of it, in a word or an address.
    pub(crate) name: String,
    pub(crate) answer: Answer,
    /// What was seen.
    pub(crate) evidence: String,
    /// When it was asked last, in seconds since the Unix epoch.
    pub(crate) asked_unix_seconds: u64,
}

/// An image as the runtime knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum ImageSeen {
    Present {
        /// The digest of its config, by which running containers are compared.
        id: String,
        /// References with the digest of the manifest.
        digests: BTreeSet<String>,
        /// Whether the kubelet's garbage collection passes it over.
        pinned: bool,
    },
    Missing,
    Unknown {
        reason: String,
    },
}

/// Everything known about health and images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Evidence {
    /// By reference.
    pub(crate) images: BTreeMap<String, ImageSeen>,
    /// The pods that do not end, or do not begin.
    pub(crate) lingering: Vec<Lingering>,
    /// The last answers, and the set they are about.
    pub(crate) health: Option<Health>,
    /// Where the node's addresses are.
    pub(crate) interfaces: Interfaces,
    /// What the parts beside the loop say.
    pub(crate) reports: Reports,
}

/// The answers about one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) of: PodSetId,
    /// Sorted.
    pub(crate) probes: Vec<Probe>,
    /// For how long all of them have been good without a break, in milliseconds.
    pub(crate) good_milliseconds: Option<u64>,
}

impl Evidence {
    /// What is known once `steps` were carried out, those in `failures` excepted: which images are pinned. Nobody has to
    /// look again for that.
    pub(crate) fn after(&self, steps: &[Step], failures: &[Failure]) -> Evidence {
        let mut evidence = self.clone();
        for step in steps {
            let is_to_be_pinned = match step {
                Step::PinImage { .. } => true,
                Step::UnpinImage { .. } => false,
                _ => continue,
            };
            if let Some(ImageSeen::Present { pinned, .. }) = evidence.images.get_mut(step.path())
                && !failures.iter().any(|failure| failure.path == step.path())
            {
                *pinned = is_to_be_pinned;
            }
        }
        evidence
    }

    /// Whether probes of `id` are known to be bad: some are, and the runtime answers.
    pub(crate) fn finds_bad(&self, id: &PodSetId) -> bool {
        let Some(health) = self.health.as_ref().filter(|health| health.of == *id) else {
            return false;
        };
        let is_unanswered =
            |probe: &Probe| probe.level == Level::Process && probe.answer == Answer::Unknown;
        health.probes.iter().any(|probe| probe.answer == Answer::Bad)
            && !health.probes.iter().any(is_unanswered)
    }

    /// For how long every probe of `id` has been good.
    pub(crate) fn good_for(&self, id: &PodSetId) -> Option<Duration> {
        let health = self.health.as_ref().filter(|health| health.of == *id)?;
        health.good_milliseconds.map(Duration::from_millis)
    }

    /// What the probes of `id` miss, one line each.
    pub(crate) fn shortcomings(&self, id: &PodSetId) -> Vec<String> {
        match self.health.as_ref().filter(|health| health.of == *id) {
            None => vec!["no probe was asked yet".to_owned()],
            Some(health) => {
                let failing = health.probes.iter().filter(|probe| probe.answer != Answer::Good);
                failing.map(Probe::to_string).collect()
            }
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Process => "process",
            Level::Function => "function",
            Level::Outcome => "outcome",
        })
    }
}

impl fmt::Display for Probe {
    /// `function probe of haproxy (readiness): http://127.0.0.1:9444/readyz answers 503`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} probe of {} ({}): {}", self.level, self.subject, self.name, self.evidence)
    }
}

/// Since when everything has been good. Time comes in from outside, so that it can be tested.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streak {
    /// What the streak is about: the set, and the containers that run; another container is another streak.
    of: Option<(PodSetId, BTreeSet<String>)>,
    since: Option<Duration>,
}

impl Streak {
    /// Takes the answers of one look and gives the length of the streak. `now` is any clock that does not go back.
    pub(crate) fn note(
        &mut self,
        id: &PodSetId,
        containers: BTreeSet<String>,
        all_good: bool,
        now: Duration,
    ) -> Option<Duration> {
        let of = Some((id.clone(), containers));
        if self.of != of || !all_good {
            *self = Streak { of, since: None };
        }
        if !all_good {
            return None;
        }
        Some(now.saturating_sub(*self.since.get_or_insert(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_ends_with_a_bad_answer_or_another_container() {
        let id = |generation| PodSetId { generation, digest: "0".repeat(64) };
        let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut streak = Streak::default();
        let mut check = |generation, containers: &[&str], good, now, expected: Option<u64>| {
            let length =
                streak.note(&id(generation), ids(containers), good, Duration::from_secs(now));
            assert_eq!(length.map(|length| length.as_secs()), expected, "at {now}");
        };
        check(1, &["a"], false, 0, None);
        check(1, &["a"], true, 1, Some(0));
        check(1, &["a"], true, 5, Some(4));
        check(1, &["a"], false, 6, None);
        check(1, &["a"], true, 7, Some(0));
        check(1, &["a"], true, 9, Some(2));
        // Restarted in between, and good again at the next look.
        check(1, &["b"], true, 10, Some(0));
        check(1, &["b"], true, 12, Some(2));
        check(2, &["b"], true, 13, Some(0));
    }
}
