//! What `status` says about generations. Pure.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::PodSetId;
use super::choose::Choice;
use super::decide::Course;
use super::record::Generations;
use crate::probe::{Evidence, Lingering, Probe};

/// The sets of pods of a node: which one is proven, which one is tried, and what the probes say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct GenerationsReport {
    /// The last set that was proven; absent while none was.
    pub(crate) committed: Option<PodSetId>,
    /// The set that is on trial.
    pub(crate) trial: Option<TrialReport>,
    /// The set that cannot begin its trial yet.
    pub(crate) waiting: Option<Unfit>,
    /// The set that failed its trial last; it is not tried again.
    pub(crate) rejected: Option<Unfit>,
    /// The sets that are kept on disk, the most recent one at the end.
    pub(crate) kept: Vec<PodSetId>,
    /// The set that the probes are about.
    pub(crate) probed: Option<PodSetId>,
    /// The last answers, each with the time it was asked.
    pub(crate) probes: Vec<Probe>,
    /// Runs of pods that have to end and have not, or to begin.
    pub(crate) lingering: Vec<Stuck>,
}

/// A run that does not end or does not begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stuck {
    #[serde(flatten)]
    pub(crate) run: Lingering,
    /// What is done about it.
    pub(crate) remedy: Remedy,
}

/// What is done about a run that is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Remedy {
    /// It still has time.
    Waiting,
    /// It is late; the kubelet is restarted when that goes on.
    KubeletRestartAhead,
    /// The kubelet was restarted for it, which is not done twice.
    KubeletRestarted,
}

impl Stuck {
    fn of(run: &Lingering, record: &Generations) -> Stuck {
        let is_restarted = record.kubelet_restarted_for.as_ref() == Some(&run.sandbox);
        let remedy = match (is_restarted, run.is_late()) {
            (true, _) => Remedy::KubeletRestarted,
            (false, true) => Remedy::KubeletRestartAhead,
            (false, false) => Remedy::Waiting,
        };
        Stuck { run: run.clone(), remedy }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remedy::Waiting => "it is waited for",
            Remedy::KubeletRestartAhead => "the kubelet is restarted when that goes on",
            Remedy::KubeletRestarted => "the kubelet was restarted for it",
        })
    }
}

/// A trial that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TrialReport {
    pub(crate) set: PodSetId,
    /// Until a probe that is bad ends the trial, in seconds.
    pub(crate) seconds_left: u64,
    /// In how many boots it was tried, this one included.
    pub(crate) boots: u32,
    /// What is missing until it is good, one line each.
    pub(crate) reasons: Vec<String>,
}

/// A set that is not on the node, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unfit {
    pub(crate) set: PodSetId,
    /// One line each.
    pub(crate) reasons: Vec<String>,
    /// Since when, in seconds since the Unix epoch; absent when it may change at any time.
    pub(crate) unix_seconds: Option<u64>,
}

impl GenerationsReport {
    /// Puts the report together from the record, the choice that follows from it, and what was seen last.
    pub(crate) fn of(
        record: Option<&Generations>,
        choice: Option<&Choice>,
        evidence: &Evidence,
    ) -> GenerationsReport {
        let Some(record) = record else { return GenerationsReport::default() };
        let course = choice.map(|choice| (&choice.candidate, &choice.course));
        let trial = record.trial.as_ref().map(|trial| {
            let (seconds_left, reasons) = match course {
                Some((_, Course::Watch { seconds_left, reasons })) => {
                    (*seconds_left, reasons.clone())
                }
                Some((_, Course::Stay { reasons })) => (0, reasons.clone()),
                _ => (0, Vec::new()),
            };
            TrialReport { set: trial.id.clone(), seconds_left, boots: trial.boots, reasons }
        });
        let waiting = match course {
            Some((candidate, Course::Wait { reasons })) => {
                Some(Unfit { set: candidate.clone(), reasons: reasons.clone(), unix_seconds: None })
            }
            _ => None,
        };
        let rejected = record.rejected.as_ref().map(|rejected| Unfit {
            set: rejected.id.clone(),
            reasons: rejected.reasons.clone(),
            unix_seconds: Some(rejected.unix_seconds),
        });
        GenerationsReport {
            committed: record.committed.clone(),
            trial,
            waiting,
            rejected,
            kept: record.kept.clone(),
            probed: evidence.health.as_ref().map(|health| health.of.clone()),
            probes: evidence.health.as_ref().map(|it| it.probes.clone()).unwrap_or_default(),
            lingering: evidence.lingering.iter().map(|run| Stuck::of(run, record)).collect(),
        }
    }

    /// The report for people, one line for each set. `now` is in seconds since the Unix epoch.
    pub(crate) fn lines(&self, now: u64) -> String {
        let mut text = String::new();
        if let Some(committed) = &self.committed {
            let _ = writeln!(text, "committed  {committed}");
        }
        if let Some(trial) = &self.trial {
            let TrialReport { set, seconds_left, boots, .. } = trial;
            let boot = if *boots > 1 { format!(", boot {boots}") } else { String::new() };
            let _ = writeln!(text, "trial      {set}, {seconds_left} s left{boot}");
        }
        for Stuck { run, remedy } in &self.lingering {
            let _ = writeln!(text, "stuck      {run}; {remedy}");
        }
        for (title, unfit) in [("waiting ", &self.waiting), ("rejected", &self.rejected)] {
            let Some(unfit) = unfit else { continue };
            let ago = unfit.unix_seconds.map(|then| format!(" {} s ago", now.saturating_sub(then)));
            let _ = writeln!(text, "{title}   {}{}", unfit.set, ago.unwrap_or_default());
            for reason in &unfit.reasons {
                let _ = writeln!(text, "           {reason}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::generation::record::{Moment, Rejected, Trial};
    use crate::probe::lingering::Trouble;

    #[test]
    fn lines_for_people() {
        let id = |generation| PodSetId { generation, digest: "0123456789abcdef0".to_owned() };
        let mut record = Generations { committed: Some(id(4)), ..Generations::default() };
        let lines = |record: &Generations, course: Course| {
            let choice = Choice {
                candidate: id(6),
                course,
                images: Default::default(),
                pinned: Default::default(),
                target: None,
            };
            GenerationsReport::of(Some(record), Some(&choice), &Evidence::default()).lines(1000)
        };
        assert_eq!(lines(&record, Course::Hold), "committed  4-0123456789abcdef\n");
        record.rejected = Some(Rejected::new(id(5), vec!["why".to_owned()], 940));
        let reasons = vec!["one".to_owned(), "two".to_owned()];
        expect![[r#"
            committed  4-0123456789abcdef
            waiting    6-0123456789abcdef
                       one
                       two
            rejected   5-0123456789abcdef 60 s ago
                       why
        "#]]
        .assert_eq(&lines(&record, Course::Wait { reasons: reasons.clone() }));
        record.trial = Some(Trial { id: id(6), begun: Moment::default(), boots: 2 });
        expect![[r#"
            committed  4-0123456789abcdef
            trial      6-0123456789abcdef, 34 s left, boot 2
            rejected   5-0123456789abcdef 60 s ago
                       why
        "#]]
        .assert_eq(&lines(&record, Course::Watch { seconds_left: 34, reasons }));
    }

    #[test]
    fn what_is_done_about_a_stuck_pod() {
        let mut run = Lingering {
            pod: "ns/web-n1".into(),
            sandbox: "s".into(),
            trouble: Trouble::DoesNotEnd,
            seconds: 14,
            grace_seconds: 15,
        };
        let mut record = Generations::default();
        let check = |run: &Lingering, record: &Generations, expected: &str| {
            let evidence = Evidence { lingering: vec![run.clone()], ..Evidence::default() };
            let report = GenerationsReport::of(Some(record), None, &evidence);
            assert_eq!(report.lines(1000), format!("stuck      {run}; {expected}\n"));
        };
        check(&run, &record, "it is waited for");
        run.seconds = 15;
        check(&run, &record, "the kubelet is restarted when that goes on");
        record.kubelet_restarted_for = Some("s".into());
        check(&run, &record, "the kubelet was restarted for it");
        // It was for another one.
        run.sandbox = "t".into();
        check(&run, &record, "the kubelet is restarted when that goes on");
    }
}
