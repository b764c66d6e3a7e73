//! Where a node stands, in one word: worked out from what is observed, never stored. Pure.

use std::fmt;

use serde::Serialize;

use crate::apply::Failure;
use crate::desired::{Acceptance, Decision};
use crate::generation::PodSetId;
use crate::generation::choose::Choice;
use crate::generation::decide::Course;
use crate::plan::Plan;
use crate::probe::{Answer, Evidence};
use crate::strangers::Stranger;

/// Where a node stands. The first that applies, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// There is nothing to obey. Whatever runs on the node is left alone.
    NoNode {
        /// Why not.
        problem: String,
    },
    /// `node.json` is not obeyed; the node keeps what was accepted before.
    Refused {
        /// The generation that is kept.
        generation: u64,
        /// Why `node.json` is not obeyed.
        problem: String,
    },
    /// What was accepted cannot be found out, so that nobody can say whether this is it. The agent itself changes nothing
    /// then; a user who may not read everything sees this.
    Unverified {
        /// The generation that `node.json` has, or that is kept.
        generation: u64,
    },
    /// A new set of pods cannot be put in place yet; the node keeps the last good one.
    Waiting {
        /// The generation that is kept.
        generation: u64,
        /// The set that waits.
        candidate: PodSetId,
        /// What it waits for, one line each.
        reasons: Vec<String>,
    },
    /// A new set of pods failed its trial; the node keeps the last good one.
    Returned {
        /// The generation that is kept.
        generation: u64,
        /// The set that failed.
        rejected: PodSetId,
        /// Why it failed, one line each.
        reasons: Vec<String>,
    },
    /// Something that is wanted could not be done, a stranger harms it, or it does not do its work.
    Degraded {
        /// The generation that is wanted.
        generation: u64,
        /// What is wrong, one line each.
        problems: Vec<String>,
    },
    /// A new set of pods is in place and has to prove itself.
    Trying {
        /// The generation that is tried.
        generation: u64,
        /// What is missing until it is good, one line each.
        reasons: Vec<String>,
    },
    /// There are steps left to do.
    Converging {
        /// The generation that is wanted.
        generation: u64,
        /// How many steps are left.
        steps: usize,
    },
    /// Everything that is wanted is in place for the kubelet.
    Serving {
        /// The generation that is in place.
        generation: u64,
    },
}

impl Phase {
    /// Works out the phase. `failures` are those of the last round.
    pub(crate) fn of(
        decision: &Decision,
        choice: Option<&Choice>,
        evidence: &Evidence,
        plan: &Plan,
        failures: &[Failure],
    ) -> Phase {
        let problem = decision.problem.as_ref().map(ToString::to_string);
        let desired = match (&decision.desired, &problem) {
            (None, problem) => {
                return Phase::NoNode { problem: problem.clone().unwrap_or_default() };
            }
            (Some(desired), Some(problem)) => {
                let generation = desired.node.generation;
                return Phase::Refused { generation, problem: problem.clone() };
            }
            (Some(desired), None) => desired,
        };
        let generation = desired.node.generation;
        if desired.acceptance == Acceptance::Unverified {
            return Phase::Unverified { generation };
        }
        let harmful = |stranger: &&Stranger| stranger.danger.is_harmful();
        let mut problems: Vec<String> = failures.iter().map(Failure::line).collect();
        let strangers = plan.strangers.iter().filter(harmful);
        problems.extend(strangers.map(|stranger| format!("{}: {stranger}", stranger.path)));
        let beside = evidence.reports.problems();
        let Some(choice) = choice else {
            problems.extend(beside);
            return Phase::of_steps(generation, problems, plan.steps.len());
        };
        let in_force = match &choice.target {
            Some((id, _)) => id.generation,
            None => choice.candidate.generation,
        };
        // A certificate that Vault does not renew does not hide what became of a trial.
        let is_settled = problems.is_empty() && plan.steps.is_empty();
        problems.extend(beside);
        match &choice.course {
            Course::Wait { reasons } if is_settled => Phase::Waiting {
                generation: in_force,
                candidate: choice.candidate.clone(),
                reasons: reasons.clone(),
            },
            Course::Rejected { reasons } if is_settled => Phase::Returned {
                generation: in_force,
                rejected: choice.candidate.clone(),
                reasons: reasons.clone(),
            },
            Course::Watch { reasons, .. } if is_settled => {
                Phase::Trying { generation, reasons: reasons.clone() }
            }
            Course::Stay { reasons } => {
                problems.extend(reasons.iter().cloned());
                Phase::Degraded { generation, problems }
            }
            Course::Hold => {
                problems.extend(unwell(&choice.candidate, evidence));
                Phase::of_steps(in_force, problems, plan.steps.len())
            }
            Course::Wait { .. }
            | Course::Rejected { .. }
            | Course::Return { .. }
            | Course::Watch { .. }
            | Course::Begin
            | Course::Commit => Phase::of_steps(in_force, problems, plan.steps.len()),
        }
    }

    fn of_steps(generation: u64, problems: Vec<String>, steps: usize) -> Phase {
        match (problems.is_empty(), steps) {
            (false, _) => Phase::Degraded { generation, problems },
            (true, 0) => Phase::Serving { generation },
            (true, steps) => Phase::Converging { generation, steps },
        }
    }

    /// Whether everything that `node.json` wants is in place.
    pub(crate) fn is_serving(&self) -> bool {
        match self {
            Phase::Serving { .. } => true,
            Phase::NoNode { .. }
            | Phase::Refused { .. }
            | Phase::Unverified { .. }
            | Phase::Waiting { .. }
            | Phase::Returned { .. }
            | Phase::Degraded { .. }
            | Phase::Trying { .. }
            | Phase::Converging { .. } => false,
        }
    }
}

impl Phase {
    /// The phase in one word, as in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Phase::NoNode { .. } => "no-node",
            Phase::Refused { .. } => "refused",
            Phase::Unverified { .. } => "unverified",
            Phase::Waiting { .. } => "waiting",
            Phase::Returned { .. } => "returned",
            Phase::Degraded { .. } => "degraded",
            Phase::Trying { .. } => "trying",
            Phase::Converging { .. } => "converging",
            Phase::Serving { .. } => "serving",
        }
    }

    /// The phase without its details, which have a line of their own in the log.
    pub(crate) fn headline(&self) -> String {
        match self {
            Phase::NoNode { .. } => "no node".to_owned(),
            Phase::Refused { generation, .. } => format!("keeping generation {generation}"),
            Phase::Unverified { generation } => {
                format!("cannot tell how generation {generation} stands")
            }
            Phase::Waiting { generation, candidate, .. } => {
                format!("keeping generation {generation} while generation {candidate} waits")
            }
            Phase::Returned { generation, rejected, .. } => {
                format!("keeping generation {generation}, since generation {rejected} failed")
            }
            Phase::Degraded { generation, .. } => format!("generation {generation} is degraded"),
            Phase::Trying { generation, .. } => format!("trying generation {generation}"),
            Phase::Converging { generation, .. } => {
                format!("converging to generation {generation}")
            }
            Phase::Serving { generation } => format!("serving generation {generation}"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::NoNode { problem } | Phase::Refused { problem, .. } => {
                write!(f, "{}: {problem}", self.headline())
            }
            Phase::Trying { reasons, .. } if reasons.is_empty() => {
                write!(f, "{}: everything is good so far", self.headline())
            }
            Phase::Degraded { problems: lines, .. }
            | Phase::Waiting { reasons: lines, .. }
            | Phase::Returned { reasons: lines, .. }
            | Phase::Trying { reasons: lines, .. } => {
                write!(f, "{}: {}", self.headline(), lines.join("; "))
            }
            Phase::Converging { steps: 1, .. } => write!(f, "{}, 1 step left", self.headline()),
            Phase::Converging { steps, .. } => {
                write!(f, "{}, {steps} steps left", self.headline())
            }
            Phase::Unverified { .. } | Phase::Serving { .. } => f.write_str(&self.headline()),
        }
    }
}

/// What the probes of the committed set found wrong. A set that was not looked at is not unwell.
fn unwell(id: &PodSetId, evidence: &Evidence) -> Vec<String> {
    let lingering = evidence.lingering.iter().filter(|it| it.is_late()).map(ToString::to_string);
    let health = evidence.health.as_ref().filter(|health| health.of == *id);
    let bad = health.into_iter().flat_map(|health| &health.probes);
    let bad = bad.filter(|probe| probe.answer == Answer::Bad).map(ToString::to_string);
    bad.chain(lingering).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Problem;
    use crate::plan::Step;
    use crate::probe::{Health, Level, Probe};
    use crate::strangers::Danger;
    use crate::testing::desired;

    #[track_caller]
    fn check(
        obeyed: Option<u64>,
        problem: Option<Problem>,
        steps: usize,
        dangers: &[Danger],
        failures: usize,
        expected: &str,
    ) {
        let desired = obeyed.map(|generation| desired(generation, vec![], Acceptance::Recorded));
        let decision = Decision { desired, problem, accepted: None };
        let stranger = |danger: &Danger| Stranger {
            path: "/m/x".into(),
            in_manifest_directory: true,
            kind: "a file",
            pod: None,
            danger: danger.clone(),
        };
        let plan = Plan {
            steps: vec![Step::RemoveLeftover { path: "/x".into() }; steps],
            strangers: dangers.iter().map(stranger).collect(),
        };
        let failure = Failure {
            path: "/p".into(),
            message: "cannot write `/p`: no space".into(),
            hint: None,
        };
        let phase =
            Phase::of(&decision, None, &Evidence::default(), &plan, &vec![failure; failures]);
        assert_eq!(phase.to_string(), expected);
        assert_eq!(phase.is_serving(), expected.starts_with("serving"));
    }

    #[test]
    fn phases() {
        let missing = || Some(Problem::Missing);
        let gone = "`/etc/basalt/node.json` is missing";
        check(None, missing(), 0, &[], 0, &format!("no node: {gone}"));
        check(Some(4), missing(), 0, &[], 0, &format!("keeping generation 4: {gone}"));
        check(
            Some(4),
            missing(),
            2,
            &[Danger::StopsKubelet],
            1,
            &format!("keeping generation 4: {gone}"),
        );
        check(Some(4), None, 0, &[], 0, "serving generation 4");
        check(Some(4), None, 0, &[Danger::None, Danger::Runs], 0, "serving generation 4");
        let unverified = Decision {
            desired: Some(desired(4, vec![], Acceptance::Unverified)),
            problem: None,
            accepted: None,
        };
        let phase = Phase::of(&unverified, None, &Evidence::default(), &Plan::default(), &[]);
        assert_eq!(phase.to_string(), "cannot tell how generation 4 stands");
        check(Some(4), None, 1, &[], 0, "converging to generation 4, 1 step left");
        check(Some(4), None, 2, &[], 0, "converging to generation 4, 2 steps left");
        check(Some(4), None, 2, &[], 1, "generation 4 is degraded: cannot write `/p`: no space");
        check(
            Some(4),
            None,
            0,
            &[Danger::StopsKubelet],
            0,
            "generation 4 is degraded: /m/x: a file that the agent did not write; the kubelet reads no manifest \
             while it is there",
        );
    }

    #[track_caller]
    fn check_course(course: Course, steps: usize, probe: Option<Answer>, expected: &str) {
        let set = |generation| PodSetId { generation, digest: "0123456789abcdef".into() };
        let desired_of = |generation| desired(generation, vec![], Acceptance::Recorded);
        let decision = Decision { desired: Some(desired_of(5)), problem: None, accepted: None };
        let in_force = match course {
            Course::Wait { .. } | Course::Rejected { .. } | Course::Return { .. } => 4,
            _ => 5,
        };
        let choice = Choice {
            candidate: set(5),
            course,
            images: Default::default(),
            pinned: Default::default(),
            target: Some((set(in_force), desired_of(in_force))),
        };
        let probe = probe.map(|answer| Probe {
            level: Level::Outcome,
            subject: "192.0.2.10".into(),
            name: "port 80".into(),
            answer,
            evidence: "silence".into(),
            asked_unix_seconds: 0,
        });
        let health =
            Health { of: set(5), probes: probe.into_iter().collect(), good_milliseconds: None };
        let evidence = Evidence { health: Some(health), ..Evidence::default() };
        let steps = vec![Step::RemoveLeftover { path: "/x".into() }; steps];
        let plan = Plan { steps, ..Plan::default() };
        let phase = Phase::of(&decision, Some(&choice), &evidence, &plan, &[]);
        assert_eq!(phase.to_string(), expected);
        assert_eq!(phase.is_serving(), expected.starts_with("serving"));
    }

    #[test]
    fn phases_of_sets() {
        let reasons = || vec!["one".to_owned(), "two".to_owned()];
        let watch = |reasons| Course::Watch { seconds_left: 9, reasons };
        check_course(Course::Hold, 0, None, "serving generation 5");
        check_course(Course::Hold, 0, Some(Answer::Good), "serving generation 5");
        check_course(Course::Hold, 0, Some(Answer::Unknown), "serving generation 5");
        let bad = "generation 5 is degraded: outcome probe of 192.0.2.10 (port 80): silence";
        check_course(Course::Hold, 0, Some(Answer::Bad), bad);
        check_course(Course::Begin, 1, None, "converging to generation 5, 1 step left");
        check_course(watch(vec![]), 1, None, "converging to generation 5, 1 step left");
        check_course(watch(reasons()), 0, None, "trying generation 5: one; two");
        check_course(watch(vec![]), 0, None, "trying generation 5: everything is good so far");
        let stay = Course::Stay { reasons: reasons() };
        check_course(stay, 0, None, "generation 5 is degraded: one; two");
        let wait = || Course::Wait { reasons: reasons() };
        let waits = "keeping generation 4 while generation 5-0123456789abcdef waits: one; two";
        check_course(wait(), 0, None, waits);
        check_course(wait(), 1, None, "converging to generation 4, 1 step left");
        let failed = "keeping generation 4, since generation 5-0123456789abcdef failed: one; two";
        check_course(Course::Rejected { reasons: reasons() }, 0, None, failed);
        let to = PodSetId { generation: 4, digest: "0".into() };
        let back = Course::Return { to, reasons: reasons() };
        check_course(back, 2, None, "converging to generation 4, 2 steps left");
    }
}
