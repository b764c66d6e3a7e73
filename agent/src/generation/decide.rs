//! What to do next with a pod set: takes the record, what is known about images and health, and the time; gives the set
//! that the node is to have and the record to write. Pure.
//!
//! The rules, in the order in which they are asked:
//! - The committed set is held.
//! - A set that failed its trial is not tried again: the committed one is held. Another `node.json`, or another agent
//!   that makes something else of it, is another set.
//! - A set on trial is watched. It is committed once every probe has been good for the settle time, without a break. When
//!   a probe is bad after the deadline, the committed set returns; so it does when the trial has not ended after so many
//!   boots. While the runtime does not answer, nothing is changed.
//! - A new set begins its trial when its images are known to be present and pinned, and the host has what the pods mount
//!   of it. Until then the committed set is held.
//! - Where nothing was ever committed there is nothing to return to and nothing to protect: the newest set is put in
//!   place at once and kept, whatever the probes say, and committed when they are good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::PodSetId;
use super::record::{Generations, Moment, Rejected, Trial};
use crate::probe::{Evidence, ImageSeen};
use crate::settings::Proof;

/// What the decision is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// The set that `node.json` asks for.
    pub(crate) candidate: &'a PodSetId,
    /// The images of its pods.
    pub(crate) images: &'a BTreeSet<String>,
    pub(crate) record: &'a Generations,
    /// The sets that are kept on disk, whole.
    pub(crate) kept: &'a BTreeSet<PodSetId>,
    pub(crate) evidence: &'a Evidence,
    /// What the host lacks for its pods, one line each.
    pub(crate) lacking: &'a [String],
    pub(crate) now: &'a Moment,
    /// For the record of a rejection alone.
    pub(crate) unix_seconds: u64,
    pub(crate) rules: &'a Rules,
}

/// How a set is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How long a trial may take in one boot.
    pub(crate) deadline: Duration,
    /// How long every probe has to be good without a break.
    pub(crate) settle: Duration,
    /// In how many boots a set is tried at most.
    pub(crate) boots: u32,
    pub(crate) proof: Proof,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) course: Course,
    /// The set that the node is to have; `None` when that is the committed one and it is lost: then whatever is there
    /// is left alone.
    pub(crate) target: Option<PodSetId>,
    /// What the record is to be, before anything is done.
    pub(crate) record: Generations,
}

/// Where the candidate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It is the committed set.
    Hold,
    /// It cannot begin yet.
    Wait { reasons: Vec<String> },
    /// Its trial begins now.
    Begin,
    /// It is on trial.
    Watch { seconds_left: u64, reasons: Vec<String> },
    /// It is committed now.
    Commit,
    /// It failed; the committed set returns now.
    Return { to: PodSetId, reasons: Vec<String> },
    /// It failed before; the committed set is held.
    Rejected { reasons: Vec<String> },
    /// It failed, and there is nothing to return to.
    Stay { reasons: Vec<String> },
}

/// Decides what to do next.
pub(crate) fn decide(situation: &Situation<'_>) -> Verdict {
    let Situation { candidate, record, .. } = *situation;
    let mut next = record.clone();
    if record.committed.as_ref() == Some(candidate) {
        next.trial = None;
        next.keep(candidate);
        return verdict(Course::Hold, candidate, next);
    }
    if situation.rules.proof == Proof::None {
        return commit(situation, next);
    }
    if let (Some(committed), Some(rejected)) = (&record.committed, &record.rejected)
        && rejected.id == *candidate
    {
        next.trial = None;
        let course = Course::Rejected { reasons: rejected.reasons.clone() };
        return Verdict { course, target: way_back(situation, committed), record: next };
    }
    match &record.trial {
        Some(trial) if trial.id == *candidate => watch(situation, trial, next),
        Some(_) | None => begin(situation, next),
    }
}

fn verdict(course: Course, target: &PodSetId, record: Generations) -> Verdict {
    Verdict { course, target: Some(target.clone()), record }
}

/// The committed set, as long as it is there to return to.
fn way_back(situation: &Situation<'_>, committed: &PodSetId) -> Option<PodSetId> {
    situation.kept.contains(committed).then(|| committed.clone())
}

fn commit(situation: &Situation<'_>, mut next: Generations) -> Verdict {
    next.committed = Some(situation.candidate.clone());
    next.trial = None;
    next.rejected = None;
    next.keep(situation.candidate);
    verdict(Course::Commit, situation.candidate, next)
}

fn begin(situation: &Situation<'_>, mut next: Generations) -> Verdict {
    let Situation { candidate, record, now, .. } = *situation;
    if let Some(committed) = &record.committed {
        let mut reasons = missing_images(situation.images, &situation.evidence.images);
        reasons.extend_from_slice(situation.lacking);
        if !reasons.is_empty() {
            // Whatever was on trial is neither proven nor wanted any more.
            next.trial = None;
            let target = way_back(situation, committed);
            return Verdict { course: Course::Wait { reasons }, target, record: next };
        }
    }
    next.trial = Some(Trial { id: candidate.clone(), begun: now.clone(), boots: 1 });
    next.keep(candidate);
    verdict(Course::Begin, candidate, next)
}

fn watch(situation: &Situation<'_>, trial: &Trial, mut next: Generations) -> Verdict {
    let Situation { candidate, record, evidence, now, rules, .. } = *situation;
    if evidence.good_for(candidate).is_some_and(|good| good >= rules.settle) {
        return commit(situation, next);
    }
    let mut trial = trial.clone();
    if trial.begun.is_other_boot(now) {
        trial.boots = trial.boots.saturating_add(1);
        trial.begun = now.clone();
    }
    let seconds_left = rules.deadline.as_secs().saturating_sub(now.since(&trial.begun));
    let mut reasons = evidence.shortcomings(candidate);
    reasons.extend_from_slice(situation.lacking);
    let has_too_many_boots = trial.boots > rules.boots;
    if has_too_many_boots {
        reasons.insert(0, format!("not proven in {} boots", rules.boots));
    }
    // An agent that was away for most of the time has to look first; a set that is good now may finish, within the settle
    // time; and without the runtime there is no knowing, and no way to see a pod end that is replaced.
    let is_found_bad = evidence.finds_bad(candidate);
    let is_over = has_too_many_boots || (seconds_left == 0 && is_found_bad);
    next.trial = Some(trial);
    // While nothing was ever committed, nothing better is known.
    let back = record.committed.as_ref().and_then(|committed| way_back(situation, committed));
    match (is_over, back) {
        (false, _) => verdict(Course::Watch { seconds_left, reasons }, candidate, next),
        (true, Some(to)) => {
            next.trial = None;
            next.rejected =
                Some(Rejected::new(candidate.clone(), reasons.clone(), situation.unix_seconds));
            verdict(Course::Return { to: to.clone(), reasons }, &to, next)
        }
        (true, None) => verdict(Course::Stay { reasons }, candidate, next),
    }
}

/// Why the images are not known to be present, and to stay so, one line each.
fn missing_images(wanted: &BTreeSet<String>, seen: &BTreeMap<String, ImageSeen>) -> Vec<String> {
    let reason = |image: &String| match seen.get(image) {
        Some(ImageSeen::Present { pinned: true, .. }) => None,
        Some(ImageSeen::Present { pinned: false, .. }) => {
            Some(format!("image {image} is not pinned yet"))
        }
        Some(ImageSeen::Missing) => Some(format!("image {image} is not on this node")),
        Some(ImageSeen::Unknown { reason }) => {
            Some(format!("cannot find out whether image {image} is on this node: {reason}"))
        }
        None => Some(format!("image {image} was not asked for yet")),
    };
    wanted.iter().filter_map(reason).collect()
}

#[cfg(test)]
mod tests;
