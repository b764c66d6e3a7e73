//! What the service says about its certificates, for `status`, `certs` and whoever asked for a rotation.

use serde::{Deserialize, Serialize};

use super::leaf::Leaf;
use super::time::{UnixSeconds, moment};
use crate::trust::Progress;
use crate::vault::VaultReport;

/// What the service says about its certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    /// One for each certificate of the node, sorted by name.
    pub(crate) certificates: Vec<Row>,
    /// One for each secret file of the node, sorted by name.
    pub(crate) secrets: Vec<SecretRow>,
    /// How the node stands with Vault; absent without one. Seconds that are left are not in it.
    pub(crate) vault: Option<VaultReport>,
}

/// How one secret file stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretRow {
    /// Its name on the node.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: String,
    /// Whether it was as in Vault at the last look.
    pub(crate) is_there: bool,
    /// When it was last written by this process.
    pub(crate) written_unix_seconds: Option<UnixSeconds>,
    /// When Vault last confirmed it.
    pub(crate) confirmed_unix_seconds: Option<UnixSeconds>,
    /// How often the look has failed in a row.
    pub(crate) failures: u32,
    /// Who could not be told of it.
    pub(crate) untold: Vec<String>,
    /// Why the last look failed.
    pub(crate) error: Option<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl SecretRow {
    pub(crate) fn new(name: &str, path: &str) -> SecretRow {
        SecretRow {
            name: name.to_owned(),
            path: path.to_owned(),
            is_there: false,
            written_unix_seconds: None,
            confirmed_unix_seconds: None,
            failures: 0,
            untold: Vec::new(),
            error: None,
            hint: None,
        }
    }
}

/// How one certificate stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name on the node.
    pub(crate) name: String,
    /// The folder with its files.
    pub(crate) directory: String,
    /// How it stands.
    pub(crate) standing: Standing,
    /// What its folder holds; absent when that is nothing.
    pub(crate) leaf: Option<Leaf>,
    /// When it is to be renewed; absent for a placeholder.
    pub(crate) renew_at: Option<UnixSeconds>,
    /// When it has to be renewed at the latest, so that it outlives the outage of Vault that it is to outlive.
    pub(crate) renew_by: Option<UnixSeconds>,
    /// The one that is signed and waits to be taken into use.
    pub(crate) next: Option<Next>,
    /// Whether the clock is known to be right, so that times can be judged.
    pub(crate) clock_is_sure: bool,
    /// What happened last.
    pub(crate) last: Option<Last>,
    /// Tries to have it signed since the service started.
    pub(crate) attempts: u64,
    /// How many tries of any kind failed since then.
    pub(crate) failures: u64,
    /// What is worth knowing about it and is no fault.
    pub(crate) remark: Option<String>,
    /// How far the node is with each issuer of its PKI.
    pub(crate) trust: Progress,
    /// The rotation that somebody asked for last.
    pub(crate) rotation: Option<Rotation>,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// There is none, not even a placeholder.
    Missing,
    /// A self-signed one stands in for it.
    Placeholder,
    /// It is in its folder, and its consumers have not shown it yet.
    Unproved,
    /// It is in use.
    InUse,
}

/// A certificate that is signed and not in use yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Next {
    /// Its serial number.
    pub(crate) serial: String,
    /// When it runs out.
    pub(crate) not_after: UnixSeconds,
    /// When it is taken into use.
    pub(crate) activate_at: UnixSeconds,
}

/// What happened last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// When, by the clock as it was.
    pub(crate) unix_seconds: UnixSeconds,
    /// Whether it went well.
    pub(crate) good: bool,
    /// What it was, or why it failed.
    pub(crate) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// How often it has failed in a row.
    pub(crate) failures: u32,
}

/// A rotation that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    /// The request, by its name.
    pub(crate) id: String,
    /// How far it is.
    pub(crate) outcome: Outcome,
}

/// How far a rotation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "text", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// At it.
    Pending,
    /// It is done; what was done.
    Done(String),
    /// It failed; why.
    Failed(String),
}

impl Report {
    /// The certificate of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.certificates.iter().find(|row| row.name == name)
    }

    /// What keeps the node from being as wanted, one line each. Times are absolute, so that the lines stay the same.
    pub(crate) fn problems(&self) -> Vec<String> {
        let secrets = self.secrets.iter().filter_map(|row| row.error.clone());
        self.certificates.iter().filter_map(Row::problem).chain(secrets).collect()
    }
}

impl Row {
    /// What is wrong with it, in one line.
    pub(crate) fn problem(&self) -> Option<String> {
        let failed = self.last.as_ref().filter(|last| !last.good);
        let until = self.leaf.as_ref().filter(|_| self.standing == Standing::InUse);
        let name = &self.name;
        match (self.standing, failed, until) {
            (Standing::Missing, None, _) => Some(format!("certificate {name} is not there yet")),
            (Standing::Placeholder, None, _) => {
                Some(format!("certificate {name} is a placeholder until Vault signs one"))
            }
            (Standing::Missing | Standing::Placeholder, Some(failed), _) => {
                Some(format!("certificate {name} is not signed: {}", failed.text))
            }
            (_, Some(failed), Some(leaf)) => {
                let until = moment(leaf.not_after);
                Some(format!("certificate {name} lasts until {until}: {}", failed.text))
            }
            (_, Some(failed), None) => Some(format!("certificate {name}: {}", failed.text)),
            (Standing::Unproved | Standing::InUse, None, _) => None,
        }
    }
}
