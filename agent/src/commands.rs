//! The commands: each finds something out or starts the loop, prints, and gives the exit status.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use basalt_model::node::Node;
use tokio::time::{Instant, sleep};

use crate::activate::{self, CertificateSet, Restarter};
use crate::cli::{CertsOutput, PlanOutput, StatusOutput};
use crate::desired::{Acceptance, Problem};
use crate::hand_off::record::{self, Order, Ordered};
use crate::hand_off::{self, report};
use crate::host::ledger::LedgerSeen;
use crate::host::service::{self, ServiceSeen, unix_seconds};
use crate::host::watch::Watcher;
use crate::host::{Host, RUN_DIRECTORY};
use crate::reconcile::{self, Survey, survey_as_reported};
use crate::show::{self, Readers};
use crate::status::{self, Item, Status};
use crate::{certificates, images, preflight, settings, telemetry};

/// Exit status: the work failed, or `check` found something.
pub(crate) const FAILED: u8 = 1;
/// Exit status: `plan` found steps.
const DIFFERENT: u8 = 3;

/// How long `status --watch` and `check --boot` wait at most before they look again: units change without a file to watch.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A command that failed, and what to do about it.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) error: anyhow::Error,
    pub(crate) hint: Option<String>,
}

impl<E: Into<anyhow::Error>> From<E> for CommandError {
    fn from(error: E) -> CommandError {
        CommandError { error: error.into(), hint: None }
    }
}

fn failed(message: String, hint: String) -> CommandError {
    CommandError { error: anyhow::Error::msg(message), hint: Some(hint) }
}

type Outcome = Result<ExitCode, CommandError>;

/// `basalt-agent run`
pub(crate) async fn run(host: &Host) -> Outcome {
    telemetry::start(settings::load(host).settings.log_level);
    match reconcile::run(host).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            Err(CommandError { hint, ..error.into() })
        }
    }
}

/// `basalt-agent plan`
pub(crate) async fn plan(host: &Host, output: PlanOutput) -> Outcome {
    let survey = survey_as_reported(host);
    let Some(desired) = &survey.decision.desired else {
        let problem = survey.decision.problem.as_ref();
        let text = |of: fn(&Problem) -> String| problem.map(of).unwrap_or_default();
        return Err(failed(text(ToString::to_string), text(Problem::hint)));
    };
    let as_root = || "ask again as root".to_owned();
    if let Some((path, reason)) = survey.observed.hidden.iter().next() {
        return Err(failed(format!("cannot plan without a look at `{path}`: {reason}"), as_root()));
    }
    if desired.acceptance == Acceptance::Unverified {
        let message = "cannot plan without knowing what was accepted: the ledger cannot be read";
        return Err(failed(message.to_owned(), as_root()));
    }
    if let Some(problem) = &survey.decision.problem {
        show::warning(&problem.to_string(), &problem.hint());
    }
    let foreseen = hand_off::foresee(host, &survey).await.map_err(|error| {
        failed(
            error,
            "look at the file; the agent changes nothing about the cluster until then".into(),
        )
    })?;
    let text = match output {
        PlanOutput::Text => show::plan_text(&survey, &foreseen),
        PlanOutput::Json => show::plan_json(&survey, &foreseen),
    };
    show::print(&text)?;
    let is_done = survey.plan.steps.is_empty() && foreseen.moves.is_empty();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// `basalt-agent join` and `basalt-agent leave`
pub(crate) async fn hand_off(host: &Host, order: Order, timeout: NonZeroU32) -> Outcome {
    if !matches!(service::observe(host), ServiceSeen::Running { .. }) {
        let hint = "`systemctl start basalt-agent`: the service does it".to_owned();
        return Err(failed("the service is not running".to_owned(), hint));
    }
    let survey = survey_as_reported(host);
    let node = wanted(&survey)?;
    if node.kubernetes.is_none() {
        let hint = "add the section `kubernetes` to cluster.yaml".to_owned();
        return Err(failed("node.json names no cluster to join".to_owned(), hint));
    }
    let ordered = Ordered { order, unix_seconds: unix_seconds() };
    record::give_order(host, ordered).map_err(|error| {
        failed(format!("cannot leave the order for the service: {error}"), "ask as root".to_owned())
    })?;
    let deadline = Instant::now() + Duration::from_secs(timeout.get().into());
    let mut said = String::new();
    loop {
        let report = report::last(host).unwrap_or_default();
        if report.line() != said {
            said = report.line();
            show::progress(&said);
        }
        // The report may be older than the order.
        let is_about_it = report.order == Some(ordered);
        match order {
            Order::Join if is_about_it && report.stage == "joined" => {
                return Ok(ExitCode::SUCCESS);
            }
            Order::Leave if is_about_it && report.stage == "standalone" => {
                show::print(&format!(
                    "The kubelet stands by itself. To forget the node, type: kubectl delete node {}\n",
                    node.name
                ))?;
                return Ok(ExitCode::SUCCESS);
            }
            Order::Join | Order::Leave => {}
        }
        if Instant::now() >= deadline {
            let message = format!("not done within {timeout} s: {said}");
            let hint = "the service goes on with it; look at `basalt-agent status`".to_owned();
            return Err(failed(message, hint));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// `basalt-agent preflight`
pub(crate) async fn preflight(host: &Host, output: PlanOutput) -> Outcome {
    let survey = survey_as_reported(host);
    let Some(desired) = &survey.decision.desired else {
        let problem = survey.decision.problem.as_ref();
        let text = |of: fn(&Problem) -> String| problem.map(of).unwrap_or_default();
        return Err(failed(text(ToString::to_string), text(Problem::hint)));
    };
    let findings = preflight::look(&desired.node).await.map_err(|error| CommandError {
        error: error.into(),
        hint: Some("ask as root, when the node's addresses are there".to_owned()),
    })?;
    let text = match output {
        PlanOutput::Text => preflight::text(&findings),
        PlanOutput::Json => show::json(&findings),
    };
    show::print(&text)?;
    Ok(if findings.conflicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// `basalt-agent status`
pub(crate) async fn status(host: &Host, output: StatusOutput) -> Outcome {
    let status = status::status(host).await;
    let text = match output {
        StatusOutput::Table => show::status_table(&status, unix_seconds()),
        StatusOutput::Json => show::status_json(&status),
    };
    show::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// `basalt-agent status --watch`
pub(crate) async fn watch(host: &Host, output: StatusOutput) -> Outcome {
    let mut watcher = Watcher::new()?;
    let mut last: Option<Status> = None;
    let redraw = output == StatusOutput::Table && io::stdout().is_terminal();
    loop {
        watcher.forget();
        let mut directories = survey_as_reported(host).directories(host);
        directories.insert(host.real(RUN_DIRECTORY));
        // What cannot be watched is looked at by the timer.
        let _ = watcher.watch(&directories);
        let status = status::status(host).await;
        let text = match (output, &last) {
            (StatusOutput::Table, _) if redraw => show::redrawn(&status),
            (StatusOutput::Table, last) => show::changed_lines(last.as_ref(), &status),
            (StatusOutput::Json, Some(last)) if is_same(last, &status) => String::new(),
            (StatusOutput::Json, _) => show::status_json_line(&status),
        };
        if !text.is_empty() && show::print(&text)? == Readers::None {
            return Ok(ExitCode::SUCCESS);
        }
        last = Some(status);
        tokio::select! {
            _ = watcher.changed() => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether nothing but the times differs at which somebody looked.
fn is_same(before: &Status, after: &Status) -> bool {
    let timeless = |status: &Status| {
        let mut status = status.clone();
        if let Some(report) = &mut status.service.report {
            report.rounds = 0;
            report.last_round_unix_seconds = 0;
            if let Some(health) = &mut report.evidence.health {
                health.good_milliseconds = None;
                health.probes.iter_mut().for_each(|probe| probe.asked_unix_seconds = 0);
            }
        }
        let generations = &mut status.generations;
        generations.probes.iter_mut().for_each(|probe| probe.asked_unix_seconds = 0);
        if let Some(trial) = &mut generations.trial {
            trial.seconds_left = 0;
        }
        status
    };
    timeless(before) == timeless(after)
}

/// `basalt-agent check`
pub(crate) async fn check(host: &Host, quiet: bool, limit: Option<Duration>) -> Outcome {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut status = status::status(host).await;
    while let Some(deadline) = deadline
        && !status.fine
        && Instant::now() < deadline
    {
        sleep(LOOK_AGAIN.min(deadline - Instant::now()).min(Duration::from_millis(500))).await;
        status = status::status(host).await;
    }
    if !quiet {
        let failing: BTreeSet<&Item> = status.items.iter().filter(|item| item.fails()).collect();
        show::print(&show::check_lines(failing))?;
    }
    Ok(if status.fine { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// What the node is to be.
///
/// # Errors
/// When nobody knows: with the reason.
fn wanted(survey: &Survey) -> Result<&Node, CommandError> {
    survey.target().map(|desired| &desired.node).ok_or_else(|| match &survey.decision.problem {
        Some(problem) => failed(problem.to_string(), problem.hint()),
        None => failed(
            "no generation is in use yet".to_owned(),
            "`basalt-agent status` says why".to_owned(),
        ),
    })
}

/// The node that was accepted and is obeyed.
///
/// # Errors
/// When there is none, or this user may not know.
pub(crate) fn accepted(survey: &Survey) -> Result<&Node, CommandError> {
    survey.obeyed().ok_or_else(|| match (&survey.ledger, &survey.decision.problem) {
        (LedgerSeen::Unreadable(reason), _) => failed(
            format!("cannot find out which node.json was accepted: {reason}"),
            "ask as root".to_owned(),
        ),
        (_, Some(problem)) => failed(problem.to_string(), problem.hint()),
        (_, None) => failed(
            "no node.json was accepted yet".to_owned(),
            "`basalt-agent status` says why".to_owned(),
        ),
    })
}

/// `basalt-agent activate`
pub(crate) async fn activate(host: &Host, name: &str, output: PlanOutput) -> Outcome {
    let survey = survey_as_reported(host);
    let node = wanted(&survey)?;
    let mut certificates = node.vault.iter().flat_map(|vault| &vault.certificates);
    let Some(certificate) = certificates.find(|it| it.name.as_str() == name) else {
        let message = format!("this node has no certificate `{name}`");
        return Err(failed(message, "`vault.certificates` in node.json names them".to_owned()));
    };
    let new = CertificateSet::read(host, certificate)?;
    let restarter = match service::observe(host) {
        ServiceSeen::Running { .. } => Restarter::Loop,
        ServiceSeen::Stopped | ServiceSeen::Unknown(_) => Restarter::Nobody,
    };
    match activate::activate(host, node, certificate, None, &new, restarter).await {
        Ok(done) => {
            let text = match output {
                PlanOutput::Text => done.text(),
                PlanOutput::Json => show::json(&done),
            };
            show::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let hint = Some(error.hint().to_owned());
            Err(CommandError { hint, ..error.into() })
        }
    }
}

/// `basalt-agent certs`
pub(crate) fn certs(host: &Host, output: CertsOutput) -> Outcome {
    let survey = survey_as_reported(host);
    certificates::certs(host, wanted(&survey), output)
}

/// `basalt-agent rotate`
pub(crate) async fn rotate(host: &Host, name: Option<&str>, now: bool, limit: Duration) -> Outcome {
    let survey = survey_as_reported(host);
    certificates::rotate(host, wanted(&survey), name, now, limit).await
}

/// `basalt-agent images import`
pub(crate) fn import_images(host: &Host, output: PlanOutput) -> Outcome {
    telemetry::start(settings::load(host).settings.log_level);
    let report = images::import(host).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        CommandError { hint, ..error.into() }
    })?;
    let text = match output {
        PlanOutput::Text => show::images_text(&report),
        PlanOutput::Json => show::images_json(&report),
    };
    show::print(&text)?;
    Ok(if report.has_failures() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use basalt_model::node::NODE_JSON_PATH;

    use super::*;
    use crate::host::ledger::LEDGER_PATH;
    use crate::testing::{node_json, scratch_host};

    /// None are asked for: that is said of a node that is known.
    #[test]
    fn certificates_of_a_node_that_nobody_knows() {
        let (_keep, host) = scratch_host();
        for text in [None, Some("{")] {
            let path = host.path("/etc/basalt/node.json");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let CommandError { error, hint } = certs(&host, CertsOutput::Json).err().unwrap();
            assert!(error.to_string().contains("node.json"), "{error}");
            assert!(hint.is_some_and(|hint| !hint.is_empty()), "{error}");
        }
    }

    /// Nothing is accepted then, as far as this user sees; that is no reason to say so.
    #[test]
    fn who_may_not_read_the_ledger_is_told_so() {
        let (_keep, host) = scratch_host();
        let path = host.path(NODE_JSON_PATH);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, node_json(1, "lab")).unwrap();
        let path = host.path(LEDGER_PATH);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Root may read everything but this.
        std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let survey = survey_as_reported(&host);
        let CommandError { error, hint } = accepted(&survey).err().unwrap();
        let message = "cannot find out which node.json was accepted: larger than 10 MiB";
        assert_eq!((error.to_string().as_str(), hint.as_deref()), (message, Some("ask as root")));
    }
}
