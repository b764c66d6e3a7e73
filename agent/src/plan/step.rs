//! The steps there are, and what each says of itself.

use std::fmt;

use basalt_model::names::PodName;
use serde::Serialize;

use crate::desired::Turn;
use crate::generation::PodSet;
use crate::host::ledger::Ledger;
use crate::host::runs::LocalPod;
use crate::probe::lingering::Trouble;

/// One change of the host. Each is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Move a ledger that cannot be read out of the way.
    SetLedgerAside { path: String },
    /// Make a directory, or give one back its attributes.
    EnsureDirectory { path: String, role: DirectoryRole, reason: Why },
    /// Keep a copy of the `node.json` that is accepted from here on.
    KeepNode {
        path: String,
        generation: u64,
        sha256: String,
        #[serde(skip)]
        text: String,
    },
    /// Write down what is accepted and which files are, or are about to be, the agent's own.
    WriteLedger {
        path: String,
        when: LedgerMoment,
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        turn: Option<Turn>,
        #[serde(skip)]
        ledger: Ledger,
    },
    /// Keep a copy of a pod set, so that it can return.
    KeepGeneration {
        path: String,
        #[serde(skip)]
        set: PodSet,
    },
    /// Keep an image on the node, whatever the kubelet clears away.
    PinImage {
        /// As pods name it.
        path: String,
    },
    /// Let the kubelet clear an image away when nobody uses it.
    UnpinImage { path: String },
    /// Start the kubelet anew, since a pod does not end or does not begin. Running pods stay.
    RestartKubelet {
        /// The kubelet's unit.
        path: String,
        pod: String,
        sandbox: String,
        trouble: Trouble,
    },
    /// Remove the copy of a pod set that is not kept any more.
    ForgetGeneration { path: String },
    /// Remove a temporary file that an interrupted agent left behind.
    RemoveLeftover { path: String },
    /// Move a stranger out of the static pod directory.
    Quarantine { path: String, to: String },
    /// Remove the manifest of a static pod; the kubelet stops it.
    RemoveManifest { path: String, pod: String, reason: Departure },
    /// Wait until nothing is left of a static pod that the next one would meet.
    ConfirmStopped {
        path: String,
        pod: String,
        /// Why its manifest was removed, when that was done in this round.
        #[serde(skip_serializing_if = "Option::is_none")]
        departure: Option<Departure>,
        run: LocalPod,
    },
    /// Remove a config file that is to be gone.
    RemoveConfigFile { path: String },
    /// Remove a folder of config files that has become empty.
    RemoveConfigDirectory { path: String },
    /// Write a config file of a static pod.
    WriteConfigFile {
        path: String,
        pod: PodName,
        mode: u32,
        #[serde(skip)]
        contents: String,
        reason: Why,
    },
    /// Write config files of a pod that runs, and have it take them without a restart.
    Reload {
        /// The folder of its config files.
        path: String,
        pod: PodName,
        files: Vec<ReloadedFile>,
        run: LocalPod,
        /// The folders that config files name, besides their own.
        #[serde(skip)]
        named: Vec<String>,
    },
    /// Write the manifest of a static pod; the kubelet starts it.
    WriteManifest {
        path: String,
        pod: PodName,
        /// The UID of the run it starts.
        uid: String,
        #[serde(skip)]
        contents: String,
        reason: Why,
    },
}

/// What a directory is for, which decides its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DirectoryRole {
    State,
    Quarantine,
    Manifests,
    Config,
}

/// When in a round the ledger is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LedgerMoment {
    /// Before anything else: names what is there and what is about to be.
    Ahead,
    /// After all removals: names what is to be, alone.
    Settled,
}

/// A config file that a running pod is to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReloadedFile {
    pub(crate) path: String,
    pub(crate) mode: u32,
    #[serde(skip)]
    pub(crate) contents: String,
    pub(crate) reason: Why,
}

/// Why the manifest of a static pod is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Departure {
    /// The pod is to be gone.
    Gone,
    /// Another manifest takes its place.
    Replaced,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Departure::Gone => "its pod is to be gone",
            Departure::Replaced => "its pod is replaced",
        })
    }
}

/// Why something is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Why {
    /// It is not there yet.
    New,
    /// It was there, by the ledger, and is gone.
    Missing,
    /// The generation that is being accepted says something else.
    Update,
    /// It no longer says what was written.
    Changed,
    /// Somebody else's file has the name of one of ours; it becomes ours.
    Adopt,
    /// It is as it should be, and its pod has to read something else anew that has changed.
    Restart,

    /// Something that is no file, or no directory, is in its place.
    Kind { seen: String },
    /// Its permission bits are wrong.
    Mode { seen: String, wanted: String },
    /// Its owner or group is wrong.
    Owner { seen: String, wanted: String },
    /// Its SELinux label is wrong.
    Label { seen: String, wanted: String },
    /// It cannot be read.
    Unreadable { error: String },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::New => f.write_str("new"),
            Why::Missing => f.write_str("it is missing"),
            Why::Update => f.write_str("the new generation changes it"),
            Why::Changed => f.write_str("its contents differ"),
            Why::Adopt => f.write_str("a foreign file has its name"),
            Why::Restart => f.write_str("its pod is to read a changed file"),
            Why::Kind { seen } => write!(f, "{seen} is in its place"),
            Why::Mode { seen, wanted } => write!(f, "its mode is {seen} instead of {wanted}"),
            Why::Owner { seen, wanted } => write!(f, "its owner is {seen} instead of {wanted}"),
            Why::Label { seen, wanted } => {
                write!(f, "its SELinux label is `{seen}` instead of `{wanted}`")
            }
            Why::Unreadable { error } => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl Why {
    /// Whether somebody changed what the agent had written, rather than the wanted state having moved on.
    pub(crate) fn is_drift(&self) -> bool {
        match self {
            Why::New | Why::Update | Why::Restart => false,
            Why::Missing
            | Why::Changed
            | Why::Adopt
            | Why::Kind { .. }
            | Why::Mode { .. }
            | Why::Owner { .. }
            | Why::Label { .. }
            | Why::Unreadable { .. } => true,
        }
    }
}

impl Step {
    /// The path, or the image, that the step changes.
    pub(crate) fn path(&self) -> &str {
        match self {
            Step::SetLedgerAside { path }
            | Step::EnsureDirectory { path, .. }
            | Step::KeepNode { path, .. }
            | Step::WriteLedger { path, .. }
            | Step::KeepGeneration { path, .. }
            | Step::ForgetGeneration { path }
            | Step::PinImage { path }
            | Step::UnpinImage { path }
            | Step::RestartKubelet { path, .. }
            | Step::RemoveLeftover { path }
            | Step::Quarantine { path, .. }
            | Step::RemoveManifest { path, .. }
            | Step::ConfirmStopped { path, .. }
            | Step::Reload { path, .. }
            | Step::RemoveConfigFile { path }
            | Step::RemoveConfigDirectory { path }
            | Step::WriteConfigFile { path, .. }
            | Step::WriteManifest { path, .. } => path,
        }
    }

    /// Whether it changes nothing but what the kubelet may do with an image.
    pub(crate) fn is_about_an_image(&self) -> bool {
        matches!(self, Step::PinImage { .. } | Step::UnpinImage { .. })
    }

    /// Whether pods may not be the same afterwards: a manifest, what a pod reads, or the kubelet changes.
    pub(crate) fn is_about_a_pod(&self) -> bool {
        match self {
            Step::RestartKubelet { .. }
            | Step::Quarantine { .. }
            | Step::RemoveManifest { .. }
            | Step::ConfirmStopped { .. }
            | Step::RemoveConfigFile { .. }
            | Step::RemoveConfigDirectory { .. }
            | Step::WriteConfigFile { .. }
            | Step::Reload { .. }
            | Step::WriteManifest { .. } => true,
            Step::SetLedgerAside { .. }
            | Step::EnsureDirectory { .. }
            | Step::KeepNode { .. }
            | Step::WriteLedger { .. }
            | Step::KeepGeneration { .. }
            | Step::ForgetGeneration { .. }
            | Step::PinImage { .. }
            | Step::UnpinImage { .. }
            | Step::RemoveLeftover { .. } => false,
        }
    }

    /// Why something is written, for the steps that have a choice of reasons.
    pub(crate) fn why(&self) -> Option<&Why> {
        match self {
            Step::EnsureDirectory { reason, .. }
            | Step::WriteConfigFile { reason, .. }
            | Step::WriteManifest { reason, .. } => Some(reason),
            Step::SetLedgerAside { .. }
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
            | Step::RemoveConfigDirectory { .. } => None,
        }
    }

    /// Why the file at `path` is written, if this step writes it.
    pub(crate) fn why_written(&self, path: &str) -> Option<&Why> {
        match self {
            Step::Reload { files, .. } => {
                files.iter().find(|file| file.path == path).map(|file| &file.reason)
            }
            other if other.path() == path => other.why(),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::SetLedgerAside { path } => write!(f, "set the broken ledger aside as {path}"),
            Step::EnsureDirectory { path, reason, .. } => {
                write!(f, "make directory {path}: {reason}")
            }
            Step::KeepNode { generation, .. } => write!(f, "accept generation {generation}"),
            Step::KeepGeneration { path, .. } => write!(f, "keep a copy as {path}"),
            Step::RestartKubelet { pod, trouble: Trouble::DoesNotEnd, .. } => {
                write!(f, "restart the kubelet, since pod {pod} does not end")
            }
            Step::RestartKubelet { pod, trouble: Trouble::DoesNotBegin, .. } => {
                write!(f, "restart the kubelet, since it does not begin with pod {pod}")
            }
            Step::PinImage { path } => write!(f, "pin image {path}"),
            Step::UnpinImage { path } => write!(f, "unpin image {path}"),
            Step::ForgetGeneration { path } => write!(f, "remove the old copy {path}"),
            Step::WriteLedger { turn: Some(turn), .. } => turn.fmt(f),
            Step::WriteLedger { when: LedgerMoment::Ahead, .. } => {
                f.write_str("record what is about to be written")
            }
            Step::WriteLedger { when: LedgerMoment::Settled, .. } => {
                f.write_str("record what is left")
            }
            Step::RemoveLeftover { path } => write!(f, "remove left-over {path}"),
            Step::Quarantine { path, to } => write!(f, "move stranger {path} to {to}"),
            Step::RemoveManifest { path, reason, .. } => {
                write!(f, "remove manifest {path}: {reason}")
            }
            Step::ConfirmStopped { pod, .. } => write!(f, "wait until pod {pod} has stopped"),
            Step::RemoveConfigFile { path } => write!(f, "remove config file {path}"),
            Step::RemoveConfigDirectory { path } => write!(f, "remove empty folder {path}"),
            Step::WriteConfigFile { path, reason, .. } => {
                write!(f, "write config file {path}: {reason}")
            }
            Step::Reload { pod, files, .. } if files.is_empty() => {
                write!(f, "reload pod {pod}: it was interrupted")
            }
            Step::Reload { pod, files, .. } => {
                write!(f, "reload pod {pod}")?;
                for (index, file) in files.iter().enumerate() {
                    let before = if index == 0 { " with" } else { "," };
                    write!(f, "{before} {}: {}", file.path, file.reason)?;
                }
                Ok(())
            }
            Step::WriteManifest { path, reason, .. } => {
                write!(f, "write manifest {path}: {reason}")
            }
        }
    }
}
