//! The ledger: what the agent cannot observe again. Which generation it accepted, which files are its own, and which set
//! of pods was proven.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::look;
use crate::generation::record::Generations;

/// Where the ledger is.
pub(crate) const LEDGER_PATH: &str = "/var/lib/basalt/ledger.json";
/// Where an unreadable ledger is kept for people to look at.
pub(crate) const BROKEN_LEDGER_PATH: &str = "/var/lib/basalt/ledger.json.broken";
/// The `schema` value this build writes and reads.
const LEDGER_SCHEMA: u32 = 2;
/// Written before there were generations; read as one that has committed none.
const FORMER_SCHEMA: u32 = 1;

/// The document at [`LEDGER_PATH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    /// Form of this document; always [`LEDGER_SCHEMA`].
    schema: u32,
    /// What was accepted last.
    pub(crate) accepted: Accepted,
    /// Manifests written, or about to be: a name is here before its file is.
    pub(crate) manifests: BTreeSet<String>,
    /// Config files written, or about to be.
    pub(crate) config_files: BTreeSet<String>,
    /// Which set of pods the node is to have, and how that was found.
    #[serde(default)]
    pub(crate) generations: Box<Generations>,
    /// By pod: the number of the run that the next manifest of it starts. It goes into the run's UID, and the kubelet
    /// starts no UID twice in a row.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) runs: BTreeMap<String, u64>,
    /// Running pods that are about to take new config files. One that is still here in the next round was interrupted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) reloads: BTreeSet<String>,
}

/// One accepted `node.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    /// Its generation.
    pub(crate) generation: u64,
    /// SHA-256 of its bytes.
    pub(crate) sha256: String,
}

/// The ledger as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LedgerSeen {
    /// There is none: the agent has not accepted anything yet.
    Missing,
    /// It was read.
    Known(Ledger),
    /// It is there, but is no ledger of this schema; the place and the reason.
    Broken(String),
    /// It cannot be read; the reason.
    Unreadable(String),
}

impl Ledger {
    pub(crate) fn new(accepted: Accepted) -> Ledger {
        Ledger {
            schema: LEDGER_SCHEMA,
            accepted,
            manifests: BTreeSet::new(),
            config_files: BTreeSet::new(),
            generations: Box::default(),
            runs: BTreeMap::new(),
            reloads: BTreeSet::new(),
        }
    }

    /// The document: the same bytes for the same ledger.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a ledger has string keys only");
        text.push('\n');
        text
    }

    /// Whether the file at this host path is the agent's own.
    pub(crate) fn names(&self, path: &str) -> bool {
        self.manifests.contains(path) || self.config_files.contains(path)
    }
}

impl LedgerSeen {
    /// The ledger, when it was read.
    pub(crate) fn known(&self) -> Option<&Ledger> {
        match self {
            LedgerSeen::Known(ledger) => Some(ledger),
            LedgerSeen::Missing | LedgerSeen::Broken(_) | LedgerSeen::Unreadable(_) => None,
        }
    }
}

/// Reads a ledger's text.
pub(crate) fn parse(text: &str) -> LedgerSeen {
    match serde_json::from_str::<Ledger>(text) {
        Ok(ledger) if [LEDGER_SCHEMA, FORMER_SCHEMA].contains(&ledger.schema) => {
            LedgerSeen::Known(Ledger { schema: LEDGER_SCHEMA, ..ledger })
        }
        Ok(ledger) => LedgerSeen::Broken(format!(
            "{LEDGER_PATH}: `schema` is {}, this agent reads {LEDGER_SCHEMA}",
            ledger.schema
        )),
        Err(error) => LedgerSeen::Broken(format!("{LEDGER_PATH}: {error}")),
    }
}

/// Reads the ledger at `path`.
pub(crate) fn load(path: &Utf8Path) -> LedgerSeen {
    match look::read(path) {
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text),
            Err(error) => LedgerSeen::Broken(format!("{LEDGER_PATH}: {error}")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => LedgerSeen::Missing,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            LedgerSeen::Broken(format!("{LEDGER_PATH}: {error}"))
        }
        Err(error) => LedgerSeen::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut ledger = Ledger::new(Accepted { generation: 7, sha256: "ab".into() });
        ledger.manifests.insert("/etc/kubernetes/manifests/a.yaml".into());
        ledger.config_files.insert("/etc/basalt/pods/a/a.cfg".into());
        ledger.runs.insert("a".into(), 3);
        ledger.reloads.insert("a".into());
        assert_eq!(parse(&ledger.to_json()), LedgerSeen::Known(ledger));
    }

    #[test]
    fn a_ledger_from_before_generations() {
        let text = r#"{"schema": 1, "accepted": {"generation": 7, "sha256": "ab"}, "manifests": [], "config_files": []}"#;
        let accepted = Accepted { generation: 7, sha256: "ab".into() };
        assert_eq!(parse(text), LedgerSeen::Known(Ledger::new(accepted)));
    }

    #[test]
    fn anything_else_is_broken() {
        let ledger = Ledger::new(Accepted { generation: 7, sha256: "ab".into() }).to_json();
        let newer = ledger.replace("\"schema\": 2", "\"schema\": 3");
        let unknown = ledger.replace("\"schema\"", "\"new\": 1, \"schema\"");
        for text in ["", "{}", &ledger[..ledger.len() / 2], "\0\0\0\0", &newer, &unknown] {
            assert!(matches!(parse(text), LedgerSeen::Broken(_)), "{text}");
        }
    }
}
