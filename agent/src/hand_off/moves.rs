//! The moves of a hand-off, and what each says of itself. Each is safe to repeat.

use std::fmt;

use serde::Serialize;

use super::record::{Record, Return, Stage, Switch};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum Move {
    /// Write down what is about to be done, or what was proven.
    Record {
        path: String,
        #[serde(skip)]
        record: Record,
    },
    /// Write down which run of the kubelet knows nothing of the files as they are now, and what comes of it.
    NoteKubelet {
        path: String,
        #[serde(skip)]
        then: Then,
    },
    /// Write a file of the joined form.
    WriteFile {
        path: String,
        mode: u32,
        #[serde(skip)]
        contents: String,
    },
    /// Remove a file of the joined form.
    RemoveFile { path: String },
    /// Start the kubelet anew. Running pods stay.
    RestartKubelet { path: String },
    /// Let the cluster place no more pods here, and ask those that it placed to end.
    Drain { path: String },
    /// Let the cluster place pods here again.
    Uncordon { path: String },
}

/// What is noted together with the run of the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The node has to prove itself.
    Prove(Switch),
    /// The node is standalone as soon as another kubelet runs.
    StandAlone(Return),
}

impl Then {
    /// The stage that it is, for this run of the kubelet.
    pub(crate) fn stage(&self, kubelet: String) -> Stage {
        match self {
            Then::Prove(switch) => Stage::Proving { switch: switch.clone(), kubelet },
            Then::StandAlone(why) => Stage::Returning { why: why.clone(), kubelet: Some(kubelet) },
        }
    }
}

impl Move {
    /// The path or unit that the move changes.
    pub(crate) fn path(&self) -> &str {
        match self {
            Move::Record { path, .. }
            | Move::NoteKubelet { path, .. }
            | Move::WriteFile { path, .. }
            | Move::RemoveFile { path }
            | Move::RestartKubelet { path }
            | Move::Drain { path }
            | Move::Uncordon { path } => path,
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Move::Record { record, .. } => match &record.stage {
                Stage::Standalone => f.write_str("record that the kubelet stands by itself"),
                Stage::Switching(_) => f.write_str("record the switch and the containers that run"),
                Stage::Proving { .. } => f.write_str("record that the node has to prove itself"),
                Stage::Joined { .. } => f.write_str("record that the node has joined"),
                Stage::Draining { .. } => f.write_str("record that the node is emptied"),
                Stage::Returning { .. } => f.write_str("record the way back"),
            },
            Move::NoteKubelet { .. } => f.write_str("record which kubelet is to be replaced"),
            Move::WriteFile { path, .. } => write!(f, "write {path}"),
            Move::RemoveFile { path } => write!(f, "remove {path}"),
            Move::RestartKubelet { .. } => f.write_str("restart the kubelet; running pods stay"),
            Move::Drain { path } => write!(f, "ask the cluster's pods on {path} to end"),
            Move::Uncordon { path } => write!(f, "let the cluster place pods on {path} again"),
        }
    }
}
