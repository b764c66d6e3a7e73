//! The node's place in its cluster, as one row of its status. Works with the API server away.

use super::record::{self, Stage};
use super::report::{self, Report};
use crate::host::Host;
use crate::host::service::{self, ServiceSeen};
use crate::reconcile::Survey;
use crate::status::{Item, Kind, State, Status};

/// Adds the row, where the node has to do with a cluster.
pub(crate) fn add_to(status: &mut Status, host: &Host, survey: &Survey) {
    let joins = survey.target().is_some_and(|desired| desired.node.kubernetes.is_some());
    let record = record::load(host);
    if !joins && matches!(record, Ok(None)) {
        return;
    }
    let runs = matches!(service::observe(host), ServiceSeen::Running { .. });
    let report = report::last(host).filter(|_| runs);
    let stage = match &record {
        Ok(record) => record.as_ref().map_or("standalone", |record| report::word(&record.stage)),
        Err(_) => "unknown",
    };
    let is_joined =
        matches!(&record, Ok(Some(record)) if matches!(record.stage, Stage::Joined { .. }));
    let item = match record {
        Err(error) => item(
            "cluster",
            State::Unknown,
            stage,
            Some(error),
            Some(
                "ask again as root; when the file is broken, the node stays what it is".to_owned(),
            ),
        ),
        Ok(_) => row(report.as_ref(), stage, is_joined),
    };
    status.fine &= !item.fails();
    status.items.push(item);
    status.items.sort();
}

fn row(report: Option<&Report>, stage: &str, is_joined: bool) -> Item {
    let Some(report) = report else {
        let state = if is_joined { State::Ok } else { State::Unknown };
        let reason = "the service has not said anything about it yet".to_owned();
        return item("cluster", state, stage, Some(reason), None);
    };
    let lines: Vec<&str> = (report.failures.iter())
        .chain(&report.remarks)
        .chain(&report.waits_for)
        .chain(&report.notes)
        .chain(report.failed.iter().flat_map(|failed| &failed.reasons))
        .map(String::as_str)
        .collect();
    let reason = (!lines.is_empty()).then(|| lines.join("; "));
    let (state, hint) = match (report.is_there, &report.failed) {
        (true, _) => (State::Ok, None),
        (false, _) if !report.failures.is_empty() => {
            (State::Error, Some("look at `journalctl -u basalt-agent -u kubelet`"))
        }
        (false, Some(_)) => (
            State::Error,
            Some("the agent tries again by itself; `basalt-agent join` tries at once"),
        ),
        (false, None) if is_joined => {
            (State::Drift, Some("the agent puts it right as soon as the gates hold"))
        }
        (false, None) => (
            State::Pending,
            Some("the agent goes on by itself; `basalt-agent plan` shows gates and steps"),
        ),
    };
    item("cluster", state, stage, reason, hint.map(str::to_owned))
}

fn item(
    name: &str,
    state: State,
    seen: &str,
    reason: Option<String>,
    hint: Option<String>,
) -> Item {
    Item {
        kind: Kind::HandOff,
        name: name.to_owned(),
        state,
        wanted: "as node.json and the last order say".to_owned(),
        seen: seen.to_owned(),
        reason,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::record::Moment;
    use crate::hand_off::record::Failed;

    #[track_caller]
    fn check(report: &Report, is_joined: bool, state: State, reason: Option<&str>) {
        let row = row(Some(report), &report.stage, is_joined);
        assert_eq!((row.state, row.reason.as_deref()), (state, reason));
    }

    #[test]
    fn the_row_says_what_is_the_matter() {
        let report = Report { stage: "joined".into(), is_there: true, ..Report::default() };
        check(&report, true, State::Ok, None);
        let drifted = Report { is_there: false, remarks: vec!["x".into()], ..report.clone() };
        check(&drifted, true, State::Drift, Some("x"));
        let waiting = Report {
            stage: "standalone".into(),
            waits_for: vec!["API server: away".into()],
            ..Report::default()
        };
        check(&waiting, false, State::Pending, Some("API server: away"));
        let at = Moment { boot: "b".into(), seconds: 0 };
        let failed = Failed { times: 1, at_unix_seconds: 0, at, reasons: vec!["lost".into()] };
        let undone = Report { failed: Some(failed), ..waiting.clone() };
        check(&undone, false, State::Error, Some("API server: away; lost"));
        let broken = Report { failures: vec!["no".into()], ..report };
        check(&Report { is_there: false, ..broken }, true, State::Error, Some("no"));
        assert_eq!(row(None, "joined", true).state, State::Ok);
    }
}
