//! What the hand-off says of itself: to `basalt-agent status` through a file, and to the journal.

use std::io;

use serde::{Deserialize, Serialize};

use super::decide::{Decision, Seen, Wish};
use super::gates::Gate;
use super::record::{Failed, Ordered, Record, Stage};
use crate::host::files::{Attributes, replace};
use crate::host::{Host, look};

/// Where the running service leaves its report.
const REPORT_PATH: &str = "/run/basalt/hand-off.json";

/// The document at [`REPORT_PATH`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Where the node stands, in a word: `standalone`, `switching`, `proving`, `joined`, `draining`, `returning`.
    pub(crate) stage: String,
    /// Whether the node is where it is to be.
    pub(crate) is_there: bool,
    /// What is waited for, one line each.
    pub(crate) waits_for: Vec<String>,
    /// What a person should know of, one line each.
    pub(crate) remarks: Vec<String>,
    /// What is no fault of the node's: its pods serve all the same.
    pub(crate) notes: Vec<String>,
    /// What could not be done.
    pub(crate) failures: Vec<String>,
    /// The gates, when they were looked at.
    pub(crate) gates: Vec<Gate>,
    /// The switches that failed in a row.
    pub(crate) failed: Option<Failed>,
    /// The order that all this is about, when there was one.
    pub(crate) order: Option<Ordered>,
}

impl Report {
    /// What there is to say.
    pub(crate) fn of(
        record: &Record,
        wish: &Wish,
        seen: &Seen,
        decision: &Decision,
        failures: Vec<String>,
        order: Option<Ordered>,
    ) -> Report {
        let is_there = match (&record.stage, wish) {
            (Stage::Joined { .. }, Wish::Join { .. }) => {
                decision.waits_for.is_empty() && decision.remarks.is_empty()
            }
            (Stage::Standalone, Wish::StandAlone(_)) => true,
            _ => false,
        };
        Report {
            stage: word(&record.stage).to_owned(),
            is_there: is_there && failures.is_empty(),
            waits_for: decision.waits_for.clone(),
            remarks: decision.remarks.clone(),
            notes: seen.silence.iter().cloned().collect(),
            failures,
            gates: seen.gates.clone(),
            failed: record.failed.clone(),
            order,
        }
    }

    /// The report in one line.
    pub(crate) fn line(&self) -> String {
        let details: Vec<&String> = (self.failures.iter())
            .chain(&self.remarks)
            .chain(&self.waits_for)
            .chain(&self.notes)
            .collect();
        match details.is_empty() {
            true => self.stage.clone(),
            false => {
                let details: Vec<&str> = details.into_iter().map(String::as_str).collect();
                format!("{}: {}", self.stage, details.join("; "))
            }
        }
    }
}

/// The stage in a word.
pub(crate) fn word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Standalone => "standalone",
        Stage::Switching(_) => "switching",
        Stage::Proving { .. } => "proving",
        Stage::Joined { .. } => "joined",
        Stage::Draining { .. } => "draining",
        Stage::Returning { .. } => "returning",
    }
}

/// Leaves the report for others to read.
pub(crate) fn publish(host: &Host, report: &Report) -> io::Result<()> {
    let text = serde_json::to_string(report).expect("a report has string keys only");
    let attributes = Attributes { mode: 0o644, owner: host.owner, label: None };
    replace(&host.path(REPORT_PATH), text.as_bytes(), attributes)
}

/// What the service said last.
pub(crate) fn last(host: &Host) -> Option<Report> {
    let bytes = look::read(&host.path(REPORT_PATH)).ok()?;
    serde_json::from_slice(&bytes).ok()
}
