//! The part of the service that hands the kubelet over: look, decide, move, report, beside the loop that keeps the pods.

use std::convert::Infallible;
use std::time::Duration;

use basalt_model::node::Node;
use tokio::time::{Instant, sleep};

use super::act::act;
use super::decide::{self, Decision, Seen, Wish, decide};
use super::look::Eyes;
use super::record::{self, Ordered, Record, Stage};
use super::report::{self, Report};
use crate::host::Host;
use crate::host::service;
use crate::reconcile::{self, Survey};

/// Pause between two looks while something is under way.
const WHILE_MOVING: Duration = Duration::from_millis(500);
/// Pause between two looks while gates are closed.
const WHILE_WAITING: Duration = Duration::from_secs(5);
/// Pause between two looks while all is as it should be.
const WHILE_WELL: Duration = Duration::from_secs(10);
/// How soon an order is noticed.
const ORDER_PAUSE: Duration = Duration::from_millis(500);

/// One look and what follows from it.
pub(crate) struct Round {
    pub(crate) record: Record,
    pub(crate) order: Option<Ordered>,
    pub(crate) wish: Wish,
    pub(crate) seen: Seen,
    pub(crate) decision: Decision,
}

impl Round {
    fn report(&self, failures: Vec<String>) -> Report {
        Report::of(&self.record, &self.wish, &self.seen, &self.decision, failures, self.order)
    }
}

/// Looks and decides, and changes nothing. Absent where no node is obeyed, or the node has nothing to do with a cluster.
///
/// # Errors
/// When the record cannot be read.
pub(crate) async fn survey(
    host: &Host,
    survey: &Survey,
    eyes: &mut Eyes,
) -> Result<Option<Round>, String> {
    let Some(node) = survey.target().map(|desired| &desired.node) else { return Ok(None) };
    let record = record::load(host)?;
    if record.is_none() && node.kubernetes.is_none() {
        return Ok(None);
    }
    let record = record.unwrap_or_else(|| Record::new(Stage::Standalone, None));
    let order = record::order(host);
    let wish = decide::wish(node.kubernetes.as_ref(), order, &record.stage);
    let seen = eyes.look(host, survey, node, &record, &wish).await;
    let decision = decide(node, &record, &wish, &seen);
    Ok(Some(Round { record, order, wish, seen, decision }))
}

/// Runs for as long as the service does.
pub(crate) async fn run(host: &Host) -> Infallible {
    let mut eyes = Eyes::default();
    let mut told = Told::default();
    loop {
        let pause = round(host, &mut eyes, &mut told).await;
        let (before, start) = (record::order(host), Instant::now());
        while start.elapsed() < pause && record::order(host) == before {
            sleep(ORDER_PAUSE.min(pause)).await;
        }
    }
}

/// One round; gives the pause until the next.
async fn round(host: &Host, eyes: &mut Eyes, told: &mut Told) -> Duration {
    let evidence = service::own_report(host).map(|report| report.evidence).unwrap_or_default();
    let seen = reconcile::survey(host, &evidence);
    let round = match survey(host, &seen, eyes).await {
        Ok(Some(round)) => round,
        Ok(None) => return WHILE_WELL,
        Err(error) => {
            let failures = vec![error];
            told.tell(host, &Report { stage: "unknown".into(), failures, ..Report::default() });
            return WHILE_WELL;
        }
    };
    let Some(node) = seen.target().map(|desired| &desired.node) else { return WHILE_WELL };
    // Said before it is done: the agent may not live to say it afterwards.
    told.tell(host, &round.report(Vec::new()));
    let failures = moves(host, node, &round).await;
    if !failures.is_empty() {
        told.tell(host, &round.report(failures));
        return WHILE_WAITING;
    }
    pause(&round)
}

/// Carries the moves out, in order; what follows one that failed is not tried.
async fn moves(host: &Host, node: &Node, round: &Round) -> Vec<String> {
    for it in &round.decision.moves {
        match act(host, node, it, &round.record).await {
            Ok(()) => tracing::info!(path = it.path(), "{it}"),
            Err(error) => {
                let source = std::error::Error::source(&error);
                let cause = source.map(|cause| format!(": {cause}")).unwrap_or_default();
                return vec![format!("{error}{cause}")];
            }
        }
    }
    Vec::new()
}

fn pause(round: &Round) -> Duration {
    let is_moving = !round.decision.moves.is_empty();
    match &round.record.stage {
        Stage::Switching(_)
        | Stage::Proving { .. }
        | Stage::Draining { .. }
        | Stage::Returning { .. } => WHILE_MOVING,
        Stage::Standalone | Stage::Joined { .. } if is_moving => WHILE_MOVING,
        Stage::Standalone if matches!(round.wish, Wish::Join { .. }) => WHILE_WAITING,
        Stage::Joined { .. } if !round.decision.waits_for.is_empty() => WHILE_WAITING,
        Stage::Standalone | Stage::Joined { .. } => WHILE_WELL,
    }
}

/// What has been said already, so that each thing is said once.
#[derive(Default)]
struct Told {
    report: Option<Report>,
}

impl Told {
    fn tell(&mut self, host: &Host, report: &Report) {
        if let Err(error) = report::publish(host, report) {
            tracing::debug!(%error, "cannot leave a report about the hand-off");
        }
        let before = self.report.replace(report.clone());
        let before = before.unwrap_or_default();
        if before.stage != report.stage {
            tracing::info!(stage = %report.stage, "hand-off");
        }
        let said = |text: &String| {
            [&before.failures, &before.remarks, &before.waits_for]
                .iter()
                .any(|it| it.contains(text))
        };
        for new in report.failures.iter().chain(&report.remarks).filter(|text| !said(text)) {
            tracing::warn!("hand-off: {new}");
        }
        for note in report.notes.iter().filter(|text| !before.notes.contains(text)) {
            tracing::warn!("hand-off: {note}");
        }
        // What is waited for changes with every second of a pause.
        let is_countdown = |text: &&String| text.starts_with("the next try");
        let waits = report.waits_for.iter().filter(|text| !said(text));
        for new in waits.filter(|text| !is_countdown(text)) {
            tracing::info!("hand-off waits: {new}");
        }
        if before.failed != report.failed
            && let Some(failed) = &report.failed
        {
            for reason in &failed.reasons {
                tracing::warn!(times = failed.times, "hand-off undone: {reason}");
            }
        }
    }
}
