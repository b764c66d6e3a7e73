//! What the running service says: to systemd, and to `basalt-agent status` through a file.

use std::io;
use std::time::{Duration, SystemTime};

use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};

use super::files::{Attributes, replace};
use super::{Host, lock, look, reserve};
use crate::apply::Failure;
use crate::probe::Evidence;

/// Where the running service leaves its report.
const REPORT_PATH: &str = "/run/basalt/status.json";

/// The document at [`REPORT_PATH`]: what only the running service knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceReport {
    /// Process of the service.
    pub(crate) pid: u32,
    /// When it started, in seconds since the Unix epoch.
    pub(crate) started_unix_seconds: u64,
    /// Rounds since then.
    pub(crate) rounds: u64,
    /// When the last round ended, in seconds since the Unix epoch.
    pub(crate) last_round_unix_seconds: u64,
    /// When a round last changed something, in seconds since the Unix epoch.
    pub(crate) last_change_unix_seconds: Option<u64>,
    /// The phase after the last round, in words.
    pub(crate) phase: String,
    /// What failed in the last round.
    pub(crate) failures: Vec<Failure>,
    /// What it knows about health and images.
    pub(crate) evidence: Evidence,
    /// The pod whose end the round that is under way waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waiting: Option<Waiting>,
}

/// A pod that has to end before its next run may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Host path of its manifest.
    pub(crate) path: String,
    /// What is left of it.
    pub(crate) left: String,
    /// Since when it has been waited for, in seconds since the Unix epoch.
    pub(crate) since_unix_seconds: u64,
}

/// Whether the service runs, as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceSeen {
    /// No process holds the agent's lock.
    Stopped,
    /// A process holds it; the report is missing until its first round has ended.
    Running { pid: i32, report: Option<Box<ServiceReport>> },
    /// Cannot be found out; the reason.
    Unknown(String),
}

/// Seconds since the Unix epoch; 0 when the clock stands before it.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Ends a round: leaves the report for others to read, and looks after the [`reserve`].
pub(crate) fn publish(host: &Host, report: &ServiceReport) -> io::Result<()> {
    match reserve::look_after(host) {
        Ok(None) => {}
        Ok(Some(reserve::Change::Made)) => tracing::info!("set space aside for a full disk"),
        Ok(Some(reserve::Change::GivenUp)) => {
            tracing::error!("the disk of /var/lib/basalt is full; gave up the space set aside");
        }
        Err(error) => tracing::debug!(%error, "cannot look after the space for a full disk"),
    }
    write(host, report)
}

/// Says in the middle of a round what it waits for, or that it goes on.
pub(crate) fn tell_waiting(host: &Host, waiting: Option<Waiting>) {
    let Some(mut report) = own_report(host) else { return };
    report.waiting = waiting;
    if let Err(error) = write(host, &report) {
        tracing::debug!(%error, "cannot leave a report for `basalt-agent status`");
    }
}

fn write(host: &Host, report: &ServiceReport) -> io::Result<()> {
    let text = serde_json::to_string(report).expect("a report has string keys only");
    let attributes = Attributes { mode: 0o644, owner: host.owner, label: None };
    replace(&host.path(REPORT_PATH), text.as_bytes(), attributes)
}

/// What this process reported last: [`observe`] asks who holds the lock, and a process never meets its own.
pub(crate) fn own_report(host: &Host) -> Option<ServiceReport> {
    let bytes = look::read(&host.path(REPORT_PATH)).ok()?;
    let report: ServiceReport = serde_json::from_slice(&bytes).ok()?;
    (report.pid == std::process::id()).then_some(report)
}

/// Finds out whether the service runs, and what it reported last.
pub(crate) fn observe(host: &Host) -> ServiceSeen {
    let report = look::read(&host.path(REPORT_PATH))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<ServiceReport>(&bytes).ok());
    match lock::holder(host) {
        Ok(None) => ServiceSeen::Stopped,
        Ok(Some(pid)) => {
            // The report of an earlier process says nothing about this one.
            let is_current =
                |report: &ServiceReport| pid == 0 || i64::from(report.pid) == i64::from(pid);
            ServiceSeen::Running { pid, report: report.filter(is_current).map(Box::new) }
        }
        // The lock is for its owner to look at; others go by the report.
        Err(error) => match report {
            Some(report) if is_alive(report.pid) => ServiceSeen::Running {
                pid: report.pid.cast_signed(),
                report: Some(Box::new(report)),
            },
            _ => ServiceSeen::Unknown(error.to_string()),
        },
    }
}

/// Whether a process of this number runs the agent.
fn is_alive(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name.trim_end() == env!("CARGO_BIN_NAME"))
}

/// Tells the service manager; without one this does nothing.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
