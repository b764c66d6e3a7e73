//! Whether the kubelet has taken up the next run of a pod, or lets it wait for the last one. Pure.
//!
//! A kubelet that meets a new run before it has finished with the last one says nothing and looks again about 10 s later
//! (`backOffPeriod` of its pod workers, Kubernetes 1.36). One that takes a run up makes its folder and control group at once.
//! So a run that shows nothing after a moment is waiting. What helps is a run with another UID in its place: by now
//! the last one has been finished with, and a run that is no longer wanted holds no other back
//! (`allowStaticPodStart` passes over those that are to end).

use std::time::Duration;

use super::stopping::{LOOKS, Look, SHORTEST_LOOK};

/// A kubelet with nothing else to do takes a manifest up within a tenth of this.
const PATIENCE: Duration = Duration::from_secs(1);
/// And a busy one is given this much more at most: waiting for longer than its own pause saves nothing.
const MOST_PATIENCE: Duration = Duration::from_secs(4);

/// What is known of a run that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The kubelet has taken it up.
    Seen,
    /// It may yet.
    NotYet,
    /// It has not, and will not before its next look.
    Missed,
    /// It cannot be found out.
    Unclear,
}

/// Follows the begin of a run over several looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Starting {
    /// What the slowest look took.
    slowest: Duration,
}

impl Starting {
    /// Judges one more look for the run `uid`, which took `took` and ended `waited` after the manifest was written.
    pub(crate) fn judge(
        &mut self,
        uid: &str,
        look: &Look,
        took: Duration,
        waited: Duration,
    ) -> Begin {
        self.slowest = self.slowest.max(took);
        let is_over = waited >= self.patience();
        let runs = match look {
            Look::Unknown(_) if is_over => return Begin::Unclear,
            Look::Unknown(_) => return Begin::NotYet,
            Look::Runs(runs) => runs,
        };
        let is_begun = runs.iter().filter(|run| run.uid == uid).any(|run| {
            run.alive.is_some() || run.has_folder || run.has_control_group || run.has_volumes
        });
        match (is_begun, is_over) {
            (true, _) => Begin::Seen,
            (false, true) => Begin::Missed,
            (false, false) => Begin::NotYet,
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE + (LOOKS * self.slowest).clamp(SHORTEST_LOOK, MOST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::stopping::RunSeen;

    #[track_caller]
    fn check(look: &Look, waited: u64, expected: Begin) {
        let waited = Duration::from_millis(waited);
        assert_eq!(Starting::default().judge("new", look, Duration::ZERO, waited), expected);
    }

    fn run(uid: &str) -> RunSeen {
        RunSeen {
            uid: uid.into(),
            alive: None,
            has_volumes: false,
            has_control_group: false,
            has_folder: false,
        }
    }

    #[test]
    fn begins() {
        let folder = RunSeen { has_folder: true, ..run("new") };
        check(&Look::Runs(vec![folder.clone()]), 0, Begin::Seen);
        check(&Look::Runs(vec![run("old"), folder]), 5000, Begin::Seen);
        let group = RunSeen { has_control_group: true, ..run("new") };
        check(&Look::Runs(vec![group]), 0, Begin::Seen);
        let alive = RunSeen { alive: Some("its sandbox".into()), ..run("new") };
        check(&Look::Runs(vec![alive]), 0, Begin::Seen);
        // Nothing of it, or of another alone.
        let other = RunSeen { has_folder: true, ..run("old") };
        for nothing in [vec![], vec![run("new")], vec![other]] {
            check(&Look::Runs(nothing.clone()), 1299, Begin::NotYet);
            check(&Look::Runs(nothing), 1300, Begin::Missed);
        }
        check(&Look::Unknown("no answer".into()), 1299, Begin::NotYet);
        check(&Look::Unknown("no answer".into()), 1300, Begin::Unclear);
    }

    #[test]
    fn a_busy_machine_is_given_more_time() {
        let missed_at = |took: u64| {
            let mut starting = Starting::default();
            let mut judge = |took, waited| {
                let [took, waited] = [took, waited].map(Duration::from_millis);
                starting.judge("new", &Look::Runs(vec![]), took, waited)
            };
            judge(took, 0);
            (1..100).map(|tenth| tenth * 100).find(|&waited| judge(5, waited) == Begin::Missed)
        };
        assert_eq!([5, 100, 2000].map(missed_at), [Some(1300), Some(1800), Some(5000)]);
    }
}
