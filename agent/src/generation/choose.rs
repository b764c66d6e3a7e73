//! Applies the decision: takes what `node.json` asks for and gives what the node is to be. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use basalt_model::node::Node;

use super::decide::{Course, Rules, Situation, Verdict, decide};
use super::pins::pins;
use super::record::{Generations, Moment};
use super::{PodSet, PodSetId};
use crate::desired::{Acceptance, Desired, Turn};
use crate::host::ACCEPTED_NODE_PATH;
use crate::host::generations::SetsSeen;
use crate::probe::wanted::PodWanted;
use crate::probe::{Evidence, Lingering};

/// What the choice is made from, besides what is desired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// What was on record.
    pub(crate) record: &'a Generations,
    /// The sets on disk.
    pub(crate) sets: &'a SetsSeen,
    pub(crate) evidence: &'a Evidence,
    /// What the host lacks for the pods of `desired`, one line each.
    pub(crate) lacking: &'a [String],
    pub(crate) now: &'a Moment,
    pub(crate) unix_seconds: u64,
    pub(crate) rules: &'a Rules,
    /// How long a pod may take to end, or to begin, beyond what it is granted.
    pub(crate) stuck_patience: Duration,
}

/// What the node is to be, and why.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// The set that `node.json` asks for.
    pub(crate) candidate: PodSetId,
    pub(crate) course: Course,
    /// The images of that set.
    pub(crate) images: BTreeSet<String>,
    /// The images that are pinned, or are to be: those of every set that is kept.
    pub(crate) pinned: BTreeSet<String>,
    /// The set that the node is to have; `None` when it is lost and whatever is there is left alone.
    pub(crate) target: Option<(PodSetId, Desired)>,
}

impl Choice {
    /// What somebody should know about, in one line.
    pub(crate) fn warning(&self) -> Option<String> {
        let candidate = &self.candidate;
        let line = |what: &str, reasons: &[String]| {
            Some(format!("generation {candidate} {what}: {}", reasons.join("; ")))
        };
        match &self.course {
            Course::Wait { reasons } => line("waits", reasons),
            Course::Return { reasons, .. } | Course::Rejected { reasons } => {
                line("failed its trial and is not tried again until node.json changes", reasons)
            }
            Course::Stay { reasons } => {
                line("failed its trial, and there is no good generation to return to", reasons)
            }
            Course::Hold | Course::Begin | Course::Watch { .. } | Course::Commit => None,
        }
    }
}

/// Chooses the set that the node is to have. `None` while the record cannot be read: then nobody can choose.
pub(crate) fn choose(desired: &Desired, known: &Known<'_>) -> Option<Choice> {
    if desired.acceptance == Acceptance::Unverified {
        return None;
    }
    let candidate = desired.set();
    let kept: BTreeSet<PodSetId> = known.sets.whole().map(|set| set.id.clone()).collect();
    let images = images(&candidate);
    let verdict = decide(&Situation {
        candidate: &candidate.id,
        images: &images,
        record: known.record,
        kept: &kept,
        evidence: known.evidence,
        lacking: known.lacking,
        now: known.now,
        unix_seconds: known.unix_seconds,
        rules: known.rules,
    });
    let stays = |set: &&PodSet| verdict.record.kept.contains(&set.id);
    let mut needed: BTreeSet<String> =
        known.sets.whole().filter(stays).flat_map(self::images).collect();
    needed.extend(images.iter().cloned());
    let pins = pins(&needed, &known.record.pinned, &known.evidence.images);
    let pinned = pins.ahead.clone();
    let target = verdict.target.as_ref().and_then(|id| {
        let mut target = match *id == candidate.id {
            true => desired.clone(),
            false => stored(desired, known.sets.whole().find(|set| set.id == *id)?)?,
        };
        target.record.turn = turn(&candidate.id, &verdict);
        target.record.generations = verdict.record.clone();
        target.record.generations.pinned.clone_from(&pins.settled);
        target.record.pins = pins;
        if let Some(stuck) = stuck(known) {
            target.record.generations.kubelet_restarted_for = Some(stuck.sandbox.clone());
            target.record.stuck = Some(stuck.clone());
        }
        let is_to_be_kept = !kept.contains(id);
        target.record.keep = is_to_be_kept.then(|| candidate.clone());
        Some((id.clone(), target))
    });
    Some(Choice { candidate: candidate.id, course: verdict.course, images, pinned, target })
}

/// A set from the disk, in the place of the one that is asked for.
fn stored(desired: &Desired, set: &PodSet) -> Option<Desired> {
    let node = Node::from_json(ACCEPTED_NODE_PATH, &set.node).ok()?;
    let mut target = Desired::new(node, set.node.clone(), set.pods.clone(), desired.acceptance);
    target.record = desired.record.clone();
    Some(target)
}

fn turn(candidate: &PodSetId, verdict: &Verdict) -> Option<Turn> {
    match &verdict.course {
        Course::Begin => Some(Turn::Begin { set: candidate.clone() }),
        Course::Commit => Some(Turn::Commit { set: candidate.clone() }),
        Course::Return { to, reasons } => {
            Some(Turn::Return { from: candidate.clone(), to: to.clone(), reasons: reasons.clone() })
        }
        Course::Hold
        | Course::Wait { .. }
        | Course::Watch { .. }
        | Course::Rejected { .. }
        | Course::Stay { .. } => None,
    }
}

/// The pod that is stuck, the first of several. The kubelet is started anew once for each run of a pod and no more: what
/// did not help will not help.
fn stuck<'a>(known: &Known<'a>) -> Option<&'a Lingering> {
    let mut stuck = known.evidence.lingering.iter().filter(|it| it.is_stuck(known.stuck_patience));
    let restarted_for = known.record.kubelet_restarted_for.as_ref();
    stuck.next().filter(|first| Some(&first.sandbox) != restarted_for)
}

fn images(set: &PodSet) -> BTreeSet<String> {
    let pods = set.pods.iter().filter_map(|pod| PodWanted::read(&pod.manifest));
    pods.flat_map(|pod| pod.images().cloned().collect::<Vec<_>>()).collect()
}
