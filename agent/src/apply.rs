//! Carries out steps: the only code that changes the host, with no decisions left except what a failure rules out.

mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use basalt_static_pods::CONFIG_DIRECTORY;
use rustix::io::Errno;
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::host::Host;
use crate::host::files::{
    self, Attributes, POD_CONFIG_LABEL, ensure_directory, ensure_own_directory,
};
use crate::host::generations;
use crate::host::ledger::LEDGER_PATH;
use crate::host::runs::LocalPod;
use crate::host::{service, systemd};
use crate::images;
use crate::plan::{
    Departure, DirectoryRole, LedgerMoment, MANIFEST_MODE, STATE_MODE, Step, directory_mode,
};
use crate::reload::{self, NewFile, ReloadError};
use succession::{End, STOP_LIMIT, Written};

/// What became of the steps of one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many were carried out.
    pub(crate) done: usize,
    /// Those that failed, and those that were not tried for that reason.
    pub(crate) failures: Vec<Failure>,
    /// Whether the round was cut short by a request to stop.
    pub(crate) stopped: bool,
    /// The pods that were waited for in vain.
    pub(crate) overdue: Vec<Overdue>,
}

/// The run of a pod that was to end and has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) run: LocalPod,
    /// Since when it was waited for.
    pub(crate) since: Instant,
    /// What is left of it.
    pub(crate) left: String,
}

/// One step that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Host path that the step was about.
    pub(crate) path: String,
    /// What failed, on what, and why.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// The failure in one line.
    pub(crate) fn line(&self) -> String {
        self.message.clone()
    }
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("cannot {step}")]
    Change { step: String, source: io::Error },
    #[error("pod {pod} has not stopped after {} s: {}", STOP_LIMIT.as_secs(), overdue.left)]
    StillThere { pod: String, overdue: Overdue },
    #[error(transparent)]
    Reload(#[from] ReloadError),
}

impl ApplyError {
    fn hint(&self) -> Option<&'static str> {
        let source = match self {
            ApplyError::Change { source, .. } => source,
            ApplyError::Reload(error) => return error.hint(),
            ApplyError::StillThere { .. } => {
                return Some(
                    "the agent goes on waiting, and restarts the kubelet once when the pod is long overdue: running pods \
                     stay; look at `journalctl -u kubelet`",
                );
            }
        };
        match Errno::from_io_error(source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Some(
                "free space; the agent tries again by itself and keeps what is there until then",
            ),
            Some(Errno::ROFS) => Some(
                "the file system is read-only for the agent: look at the mount, and at \
                 `ReadWritePaths=` of basalt-agent.service",
            ),
            Some(Errno::ACCESS | Errno::PERM) => Some(
                "the agent has to run as root; look for an immutable flag and for SELinux denials",
            ),
            Some(Errno::ISDIR | Errno::NOTEMPTY | Errno::NOTDIR | Errno::EXIST) => {
                Some("something else is in its place: move it away")
            }
            _ => None,
        }
    }
}

/// Carries out one step; safe to repeat.
///
/// # Errors
/// What was there is intact.
async fn apply(
    step: &Step,
    host: &Host,
    doubts: &mut Doubts,
    should_stop: &mut impl AsyncFnMut() -> bool,
) -> Result<Done, ApplyError> {
    match step {
        Step::ConfirmStopped { pod, run, .. } => {
            let pod = pod.clone();
            return match succession::see_end(step.path(), run, host, should_stop).await {
                End::Certain => Ok(Done::Yes),
                End::Probable => {
                    doubts.insert(pod, run.clone());
                    Ok(Done::Yes)
                }
                End::Missed { since, left } => {
                    let overdue = Overdue { run: run.clone(), since, left };
                    Err(ApplyError::StillThere { pod, overdue })
                }
                End::Interrupted => Ok(Done::Stopped),
            };
        }
        Step::RestartKubelet { path, .. } => {
            return match systemd::restart(host, path).await {
                Ok(()) => Ok(Done::Yes),
                Err(source) => Err(ApplyError::Change { step: step.to_string(), source }),
            };
        }
        Step::Reload { pod, files, run, named, .. } => {
            // It takes less than the watchdog's time, and more than half of it at worst.
            service::notify(&[NotifyState::Watchdog]);
            let new: Vec<NewFile<'_>> = (files.iter())
                .map(|file| NewFile {
                    path: &file.path,
                    contents: &file.contents,
                    attributes: for_pods(host, file.mode),
                })
                .collect();
            reload::reload(host, pod.as_str(), run, &new, named).await?;
            return Ok(Done::Yes);
        }
        _ => {}
    }
    let failed = |source| ApplyError::Change { step: step.to_string(), source };
    act(step, host).map_err(failed)?;
    if let Step::WriteManifest { path, pod, uid, contents, .. } = step
        && let Some(last) = doubts.remove(pod.as_str())
        // A manifest that takes no UID of ours has one that the kubelet alone knows.
        && contents.contains(uid.as_str())
    {
        let written = Written { path, uid, contents, attributes: for_root(host, MANIFEST_MODE) };
        succession::see_begin(&written, &last, host, should_stop).await.map_err(failed)?;
    }
    Ok(Done::Yes)
}

/// The pods whose last run may not have ended for the kubelet.
type Doubts = BTreeMap<String, LocalPod>;

/// Whether a step was carried out.
enum Done {
    Yes,
    /// The service is to stop, and the step can wait.
    Stopped,
}

/// What a file or folder has that containers read.
fn for_pods(host: &Host, mode: u32) -> Attributes {
    Attributes { mode, owner: host.owner, label: host.labels.then_some(POD_CONFIG_LABEL) }
}

/// What a file or folder has that is the agent's own, or the kubelet's.
fn for_root(host: &Host, mode: u32) -> Attributes {
    Attributes { mode, owner: host.owner, label: None }
}

fn act(step: &Step, host: &Host) -> io::Result<()> {
    let with_mode = |mode: u32| for_root(host, mode);
    let for_pods = |mode: u32| for_pods(host, mode);
    let path = host.path(step.path());
    match step {
        Step::SetLedgerAside { .. } => {
            let broken = host.path(LEDGER_PATH);
            match rustix::fs::rename(broken.as_std_path(), path.as_std_path()) {
                // Done already, before an interruption.
                Err(Errno::NOENT) => Ok(()),
                renamed => Ok(renamed?),
            }
        }
        Step::EnsureDirectory { role, .. } => {
            let mode = directory_mode(*role);
            match role {
                DirectoryRole::State | DirectoryRole::Quarantine => {
                    ensure_own_directory(&path, with_mode(mode))
                }
                DirectoryRole::Manifests => {
                    ensure_directory(&host.real(step.path()), with_mode(mode))
                }
                DirectoryRole::Config => ensure_own_directory(&path, for_pods(mode)),
            }
        }
        Step::KeepNode { text, .. } => {
            files::replace(&path, text.as_bytes(), with_mode(STATE_MODE))
        }
        Step::WriteLedger { ledger, .. } => {
            files::replace(&path, ledger.to_json().as_bytes(), with_mode(STATE_MODE))
        }
        Step::KeepGeneration { set, .. } => generations::keep(host, set),
        Step::ForgetGeneration { path } => generations::forget(host, path),
        Step::PinImage { path } => images::pin(host, path),
        Step::UnpinImage { path } => images::unpin(host, path),
        Step::RemoveLeftover { .. }
        | Step::RemoveManifest { .. }
        | Step::RemoveConfigFile { .. } => files::remove(&path),
        Step::RemoveConfigDirectory { .. } => files::remove_directory(&path),
        // These take time, so they are not done here.
        Step::ConfirmStopped { .. } | Step::Reload { .. } | Step::RestartKubelet { .. } => Ok(()),
        Step::Quarantine { to, .. } => files::move_into(&path, &host.real(to)).map(drop),
        Step::WriteConfigFile { mode, contents, .. } => {
            files::replace(&path, contents.as_bytes(), for_pods(*mode))
        }
        Step::WriteManifest { contents, .. } => {
            files::replace(&path, contents.as_bytes(), with_mode(MANIFEST_MODE))
        }
    }
}

/// Carries out all steps in order, those that an earlier failure rules out excepted. `should_stop` is asked between
/// steps, so that each one is finished.
pub(crate) async fn apply_all(
    steps: &[Step],
    host: &Host,
    mut should_stop: impl AsyncFnMut() -> bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut ruled_out = RuledOut::default();
    let mut doubts = Doubts::new();
    for step in steps {
        if should_stop().await {
            outcome.stopped = true;
            break;
        }
        let path = step.path().to_owned();
        if let Some(reason) = ruled_out.reason(step) {
            ruled_out.note_failure(step);
            let message = format!("did not {step}, because {reason}");
            outcome.failures.push(Failure { path, message, hint: None });
            continue;
        }
        match apply(step, host, &mut doubts, &mut should_stop).await {
            Ok(Done::Yes) => {
                outcome.done += 1;
                tracing::info!(path = step.path(), "{step}");
            }
            Ok(Done::Stopped) => {
                outcome.stopped = true;
                break;
            }
            Err(error) => {
                ruled_out.note_failure(step);
                let hint = error.hint().map(str::to_owned);
                let message = match &error {
                    ApplyError::Change { source, .. } => format!("{error}: {source}"),
                    ApplyError::StillThere { .. } | ApplyError::Reload(_) => error.to_string(),
                };
                outcome.failures.push(Failure { path, message, hint });
                if let ApplyError::StillThere { overdue, .. } = error {
                    outcome.overdue.push(overdue);
                }
            }
        }
    }
    outcome
}

/// What the failures of a round rule out in the rest of it. Pure.
#[derive(Debug, Default)]
struct RuledOut {
    /// The record is not written: nothing may be done that it would have to name.
    record: bool,
    /// An image that nobody needs may still be pinned.
    pins: bool,
    /// A pod that is to be gone may still run: nothing is added beside it, and nothing it mounts is taken away.
    removal: bool,
    /// Nothing can be put into these directories.
    directories: BTreeSet<String>,
    /// Pods whose config files are not all in place, or whose manifest is not.
    pods: BTreeSet<String>,
    /// Pods whose last run may not have ended: a second one beside it would fight with it.
    running: BTreeSet<String>,
}

impl RuledOut {
    /// Why `step` must not be tried, if it must not.
    fn reason(&self, step: &Step) -> Option<&'static str> {
        let is_record = matches!(step, Step::WriteLedger { .. });
        if self.record && !matches!(step, Step::RemoveLeftover { .. } | Step::Quarantine { .. }) {
            return Some("it could not be recorded");
        }
        let inside = |path: &str| self.directories.iter().any(|folder| is_below(path, folder));
        if !is_record && inside(step.path()) {
            return Some("its directory is not there");
        }
        let pod_of_file = pod_of_config_path(step.path());
        match step {
            Step::WriteConfigFile { .. } | Step::WriteManifest { .. } | Step::Reload { .. }
                if self.removal =>
            {
                Some("a pod that is to be gone could not be removed")
            }
            Step::WriteManifest { pod, .. } if self.pods.contains(pod.as_str()) => {
                Some("its config files are not all in place")
            }
            Step::WriteManifest { pod, .. } if self.running.contains(pod.as_str()) => {
                Some("its last run has not stopped")
            }
            Step::ConfirmStopped { pod, .. } if self.running.contains(pod) => {
                Some("its manifest is still there")
            }
            // Nothing will be written for it.
            Step::ConfirmStopped { pod, .. } if self.pods.contains(pod) => {
                Some("its config files are not all in place")
            }
            Step::RemoveManifest { reason: Departure::Replaced, .. } if self.removal => {
                Some("a pod that is to be gone could not be removed")
            }
            Step::RemoveManifest { pod, reason: Departure::Replaced, .. }
                if self.pods.contains(pod) =>
            {
                Some("its config files are not all in place")
            }
            Step::Reload { pod, .. } if self.pods.contains(pod.as_str()) => {
                Some("its config folder is not in place")
            }
            Step::RemoveConfigFile { .. } | Step::RemoveConfigDirectory { .. } if self.removal => {
                Some("a pod that is to be gone could not be removed")
            }
            Step::RemoveConfigFile { .. } | Step::RemoveConfigDirectory { .. }
                if pod_of_file
                    .is_some_and(|pod| self.pods.contains(pod) || self.running.contains(pod)) =>
            {
                Some("the pod that mounts it is not up to date")
            }
            // Names of things that may still be there have to stay on record.
            Step::WriteLedger { when: LedgerMoment::Settled, .. }
                if self.removal
                    || self.pins
                    || !self.pods.is_empty()
                    || !self.running.is_empty() =>
            {
                Some("not everything is in place")
            }
            Step::SetLedgerAside { .. }
            | Step::EnsureDirectory { .. }
            | Step::KeepNode { .. }
            | Step::WriteLedger { .. }
            | Step::KeepGeneration { .. }
            | Step::ForgetGeneration { .. }
            | Step::PinImage { .. }
            | Step::UnpinImage { .. }
            | Step::RestartKubelet { .. }
            | Step::RemoveLeftover { .. }
            | Step::Quarantine { .. }
            | Step::RemoveManifest { .. }
            | Step::ConfirmStopped { .. }
            | Step::Reload { .. }
            | Step::RemoveConfigFile { .. }
            | Step::RemoveConfigDirectory { .. }
            | Step::WriteConfigFile { .. }
            | Step::WriteManifest { .. } => None,
        }
    }

    fn note_failure(&mut self, step: &Step) {
        match step {
            Step::SetLedgerAside { .. } | Step::KeepNode { .. } | Step::KeepGeneration { .. } => {
                self.record = true;
            }
            Step::WriteLedger { when: LedgerMoment::Ahead, .. } => self.record = true,
            Step::EnsureDirectory { role: DirectoryRole::State, .. } => self.record = true,
            Step::EnsureDirectory { path, .. } => {
                self.directories.insert(path.clone());
                self.pods.extend(pod_of_config_path(path).map(str::to_owned));
            }
            Step::RemoveManifest { pod, reason, .. } => {
                self.running.insert(pod.clone());
                self.removal |= *reason == Departure::Gone;
            }
            Step::ConfirmStopped { pod, departure, .. } => {
                self.running.insert(pod.clone());
                self.removal |= *departure == Some(Departure::Gone);
            }
            Step::WriteConfigFile { pod, .. }
            | Step::Reload { pod, .. }
            | Step::WriteManifest { pod, .. } => {
                self.pods.insert(pod.to_string());
            }
            Step::RemoveConfigFile { path } => {
                // Its name has to stay on record.
                self.pods.extend(pod_of_config_path(path).map(str::to_owned));
            }
            Step::RemoveConfigDirectory { .. }
            | Step::WriteLedger { when: LedgerMoment::Settled, .. }
            | Step::ForgetGeneration { .. }
            | Step::PinImage { .. }
            | Step::RestartKubelet { .. }
            | Step::RemoveLeftover { .. }
            | Step::Quarantine { .. } => {}
            Step::UnpinImage { .. } => self.pins = true,
        }
    }
}

/// The pod whose folder a config path lies in, or is.
fn pod_of_config_path(path: &str) -> Option<&str> {
    let below = path.strip_prefix(CONFIG_DIRECTORY)?.strip_prefix('/')?;
    below.split('/').next()
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
