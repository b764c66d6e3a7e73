//! When a run of a pod has ended so far that the kubelet starts the next one at once. Pure.
//!
//! The kubelet lets a pod start when the worker of the last one of its name has *finished*: containers dead, volumes
//! unmounted, control group removed, in this order (`SyncTerminatedPod`, Kubernetes 1.36). It finishes less than a
//! millisecond after it removed the control group, and far earlier than a new manifest gets to it. But its housekeeping,
//! every 2 s, removes first the folder and then the control group of a dead pod too, while the worker may still be
//! waiting for its next look at the runtime, once a second. So:
//!
//! - control group gone, folder still there: the worker did it and has finished;
//! - both gone: the worker has finished when the kubelet has looked once more since the last process died. Its pause is
//!   known; how long it looks depends on the machine, and follows from how long our own looks at the runtime take. Where
//!   that was not enough, the begin of the next run shows it ([`super::starting`]).

use std::time::Duration;

/// The kubelet's pause between two looks at the runtime (`genericPlegRelistPeriod`).
const RUNTIME_PAUSE: Duration = Duration::from_secs(1);
/// What one look of the kubelet's, and the one that is under way, take at least.
pub(super) const SHORTEST_LOOK: Duration = Duration::from_millis(300);
/// And what is waited for at most; when they take longer still, the next run is not in danger, only 10 s late.
const LONGEST_LOOK: Duration = Duration::from_secs(3);
/// How many of our looks those two are: we list sandboxes and containers, the kubelet asks about each that changed too.
pub(super) const LOOKS: u32 = 8;

/// What is left of one run of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunSeen {
    pub(crate) uid: String,
    /// What still runs, such as "container haproxy".
    pub(crate) alive: Option<String>,
    /// Whether something is mounted below its folder, or unmounted only half.
    pub(crate) has_volumes: bool,
    /// Whether it has a control group.
    pub(crate) has_control_group: bool,
    /// Whether the kubelet keeps a folder for it.
    pub(crate) has_folder: bool,
}

/// One look at all runs of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// These are known of.
    Runs(Vec<RunSeen>),
    /// It cannot be found out; the reason.
    Unknown(String),
}

/// Whether a pod has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing of it is left that the next run would meet.
    Stopped,
    /// Nothing of it is left, and the kubelet should have noticed.
    Gone,
    /// This is still there.
    NotYet(String),
}

/// Follows the end of a pod over several looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping {
    /// UIDs whose control group was seen.
    had_control_group: Vec<String>,
    /// Since when no process of it runs, on the caller's clock.
    quiet_since: Option<Duration>,
    /// What the slowest look took.
    slowest: Duration,
}

impl Stopping {
    /// Judges one more look, which took `took` and ended at `now`; the clock may start anywhere and only goes forward.
    pub(crate) fn judge(&mut self, look: &Look, took: Duration, now: Duration) -> Verdict {
        self.slowest = self.slowest.max(took);
        let runs = match look {
            Look::Runs(runs) => runs,
            Look::Unknown(reason) => {
                self.quiet_since = None;
                return Verdict::NotYet(reason.clone());
            }
        };
        for run in runs.iter().filter(|run| run.has_control_group) {
            if !self.had_control_group.contains(&run.uid) {
                self.had_control_group.push(run.uid.clone());
            }
        }
        if runs.iter().any(|run| run.alive.is_some()) {
            self.quiet_since = None;
        } else {
            self.quiet_since.get_or_insert(now);
        }
        if let Some(left) = runs.iter().find_map(left_of) {
            return Verdict::NotYet(left);
        }
        let by_worker = |run: &RunSeen| run.has_folder && self.had_control_group.contains(&run.uid);
        if runs.iter().all(by_worker) {
            return Verdict::Stopped;
        }
        match self.quiet_since {
            Some(since) if now.saturating_sub(since) >= self.patience() => Verdict::Gone,
            Some(_) | None => {
                Verdict::NotYet("the kubelet may not have noticed its end".to_owned())
            }
        }
    }

    /// After how long the kubelet has looked at the runtime once more.
    fn patience(&self) -> Duration {
        RUNTIME_PAUSE + (LOOKS * self.slowest).clamp(SHORTEST_LOOK, LONGEST_LOOK)
    }
}

/// What is left for certain of any run.
pub(crate) fn left(look: &Look) -> Option<String> {
    match look {
        Look::Runs(runs) => runs.iter().find_map(left_of),
        Look::Unknown(_) => None,
    }
}

/// What of this run keeps the next from starting.
fn left_of(run: &RunSeen) -> Option<String> {
    match run {
        RunSeen { alive: Some(what), .. } => Some(format!("{what} still runs")),
        RunSeen { has_volumes: true, uid, .. } => {
            Some(format!("its volumes are still mounted below pods/{uid}"))
        }
        RunSeen { has_control_group: true, uid, .. } => {
            Some(format!("its control group pod{uid} is still there"))
        }
        RunSeen { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters for what is there: `a`live, `v`olumes, `c`ontrol group, `f`older.
    fn run(there: &str) -> RunSeen {
        let is = |letter: char| there.contains(letter);
        RunSeen {
            uid: "u".into(),
            alive: is('a').then(|| "container x".to_owned()),
            has_volumes: is('v'),
            has_control_group: is('c'),
            has_folder: is('f'),
        }
    }

    /// Each look is 100 ms after the one before. The last one, and no other, gives `verdict`; or all give `NotYet`.
    #[track_caller]
    fn check(looks: &[&str], verdict: Option<Verdict>) {
        let mut stopping = Stopping::default();
        let mut verdicts = Vec::new();
        for (index, look) in looks.iter().enumerate() {
            let look = match *look {
                "?" => Look::Unknown("no answer".into()),
                "none" => Look::Runs(vec![]),
                there => Look::Runs(there.split('+').map(run).collect()),
            };
            let now = Duration::from_millis(100) * u32::try_from(index).unwrap();
            let verdict = stopping.judge(&look, Duration::ZERO, now);
            verdicts.push((!matches!(verdict, Verdict::NotYet(_))).then_some(verdict));
        }
        let mut expected = vec![None; looks.len()];
        *expected.last_mut().unwrap() = verdict;
        assert_eq!(verdicts, expected, "{looks:?}");
    }

    #[test]
    fn ends() {
        // Nothing was there.
        check(&["none"], Some(Verdict::Stopped));
        // The worker removes the control group, the folder stays.
        check(&["avcf", "vcf", "cf", "f"], Some(Verdict::Stopped));
        check(&["avcf", "avcf"], None);
        check(&["acf", "af"], None);
        check(&["vf"], None);
        // Housekeeping was faster: everything goes, and nobody knows about the worker for a while.
        let mut looks = vec!["avcf", "cf"];
        looks.extend(["-"; 12]);
        check(&looks, None);
        looks.push("-");
        check(&looks, Some(Verdict::Gone));
        // A folder without a control group that anybody saw proves nothing at once.
        let mut looks = vec!["f"; 13];
        check(&looks, None);
        looks.push("f");
        check(&looks, Some(Verdict::Gone));
        // What cannot be found out has not stopped, and starts the wait anew.
        let mut looks = vec!["-"; 10];
        looks.push("?");
        looks.extend(["-"; 13]);
        check(&looks, None);
        looks.push("-");
        check(&looks, Some(Verdict::Gone));
        check(&["?", "?", "?"], None);
        // Of two runs both have to end.
        check(&["avcf+acf", "f+acf"], None);
        check(&["avcf+acf", "cf+f", "f+f"], Some(Verdict::Stopped));
    }

    #[test]
    fn a_busy_machine_is_given_more_time() {
        let enough = |took: u64| {
            let took = Duration::from_millis(took);
            let mut stopping = Stopping::default();
            let mut judge = |there, took, now| {
                stopping.judge(&Look::Runs(vec![run(there)]), took, Duration::from_millis(now))
            };
            // Only the first look is slow: the machine is busy while the pod stops.
            judge("acf", took, 0);
            (1..100)
                .map(|tenth| tenth * 100)
                .find(|&now| judge("-", Duration::from_millis(5), now) == Verdict::Gone)
        };
        assert_eq!(enough(5), Some(100 + 1300));
        assert_eq!(enough(100), Some(100 + 1800));
        assert_eq!(enough(2000), Some(100 + 4000));
    }

    #[test]
    fn says_what_is_left() {
        let mut stopping = Stopping::default();
        let mut say = |there: &str| {
            let look = Look::Runs(vec![run(there)]);
            match stopping.judge(&look, Duration::ZERO, Duration::ZERO) {
                Verdict::NotYet(what) => what,
                Verdict::Stopped | Verdict::Gone => "stopped".to_owned(),
            }
        };
        assert_eq!(say("avcf"), "container x still runs");
        assert_eq!(say("vcf"), "its volumes are still mounted below pods/u");
        assert_eq!(say("cf"), "its control group podu is still there");
        assert_eq!(say("-"), "the kubelet may not have noticed its end");
        assert_eq!(say("f"), "stopped");
    }
}
