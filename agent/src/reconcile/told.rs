//! What a round says: to the log, to systemd, to `basalt-agent status` and to monitoring.

use std::collections::BTreeSet;

use sd_notify::NotifyState;

use super::{Round, numbers};
use crate::host::Host;
use crate::host::service::{self, ServiceReport, unix_seconds};
use crate::metrics;
use crate::phase::Phase;
use crate::probe::Lingering;
use crate::probe::lingering::Trouble;

/// What has been said already, so that each thing is said once.
pub(super) struct Told {
    report: ServiceReport,
    phase: Option<Phase>,
    warnings: BTreeSet<String>,
}

impl Told {
    pub(super) fn new() -> Told {
        let report = ServiceReport {
            pid: std::process::id(),
            started_unix_seconds: unix_seconds(),
            ..ServiceReport::default()
        };
        Told { report, phase: None, warnings: BTreeSet::new() }
    }

    pub(super) fn tell(&mut self, host: &Host, round: &Round) {
        let survey = &round.survey;
        let phase = survey.phase(&round.failures);
        let warnings = warnings(round);
        for gone in self.warnings.difference(&warnings) {
            tracing::info!(warning = %gone, "no longer the case");
        }
        for new in warnings.difference(&self.warnings) {
            tracing::warn!("{new}");
        }
        self.warnings = warnings;

        let is_first = self.phase.is_none();
        if self.phase.as_ref() != Some(&phase) {
            if self.phase.as_ref().map(Phase::headline) != Some(phase.headline()) {
                tracing::info!("{}", phase.headline());
            }
            service::notify(&[NotifyState::Status(&phase.to_string())]);
        }
        let now = unix_seconds();
        self.report.rounds += 1;
        self.report.last_round_unix_seconds = now;
        if round.outcome.done > 0 {
            self.report.last_change_unix_seconds = Some(now);
        }
        self.report.phase = phase.to_string();
        self.report.failures.clone_from(&round.failures);
        self.report.evidence.clone_from(&survey.evidence);
        self.report.waiting = None;
        if let Err(error) = service::publish(host, &self.report) {
            tracing::debug!(%error, "cannot leave a report for `basalt-agent status`");
        }
        let node = survey.target().map(|desired| &desired.node);
        let facts = numbers::facts(host, node, phase.name(), &self.report);
        if let Err(error) = metrics::publish(host, &facts) {
            tracing::debug!(%error, "cannot leave metrics for Prometheus");
        }
        self.phase = Some(phase);
        if is_first {
            service::notify(&[NotifyState::Ready]);
        }
    }
}

/// Without its age, so that it is said once.
fn stuck(it: &Lingering) -> String {
    let Lingering { pod, sandbox, .. } = it;
    match it.trouble {
        Trouble::DoesNotEnd => format!("pod {pod} (sandbox {sandbox}) does not end"),
        Trouble::DoesNotBegin => {
            format!("the kubelet does not begin with pod {pod} (UID {sandbox})")
        }
    }
}

/// Everything of a round that a person should know about, one line each.
fn warnings(round: &Round) -> BTreeSet<String> {
    let survey = &round.survey;
    let with_hint = |text: String, hint: Option<String>| match hint {
        Some(hint) => format!("{text} (hint: {hint})"),
        None => text,
    };
    let mut warnings = BTreeSet::new();
    warnings
        .extend(survey.settings.faults.iter().map(|fault| format!("settings left out: {fault}")));
    if let Some(problem) = &survey.decision.problem {
        warnings.insert(with_hint(problem.to_string(), Some(problem.hint())));
    }
    // What was not looked at yet is about to be.
    if let Some(choice) = survey.choice.as_ref().filter(|_| survey.is_looked_at()) {
        warnings.extend(choice.warning());
    }
    warnings.extend(survey.evidence.lingering.iter().filter(|it| it.is_late()).map(stuck));
    warnings.extend(survey.plan.strangers.iter().map(|s| format!("stranger at {}: {s}", s.path)));
    warnings.extend(round.failures.iter().map(|f| with_hint(f.message.clone(), f.hint.clone())));
    warnings.extend(
        survey.observed.hidden.iter().map(|(path, e)| format!("cannot look at {path}: {e}")),
    );
    warnings
}
