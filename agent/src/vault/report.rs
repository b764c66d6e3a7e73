//! What status and metrics say about Vault. Nothing in it is secret.

use serde::{Deserialize, Serialize};

/// How the node stands with Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VaultReport {
    /// The servers in the order of `node.json`.
    pub(crate) servers: Vec<ServerReport>,
    /// The server that answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Seconds that the token is still good for; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_seconds: Option<u64>,
    /// The lasting identity, for a node that logs in with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<IdentityReport>,
    /// Why the last question that failed did so; absent when the last one went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Seconds until Vault is asked again, after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_call_seconds: Option<u64>,
    /// HTTP requests sent since the start.
    pub(crate) calls: u64,
    /// Those without an answer that counts.
    pub(crate) failures: u64,
    /// Logins that went well.
    pub(crate) logins: u64,
    /// How long the last good answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_milliseconds: Option<u64>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    /// `https://host:port`.
    pub(crate) address: String,
    /// `unknown`, `active`, `performance_standby`, `standby`, `unreachable`, `untrusted`, `refuses_certificate`, `sealed`,
    /// `uninitialised`, `limited`, `redirects`, `failing` or `garbled`.
    pub(crate) state: String,
    /// The state in words, when it is a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// The lasting identity of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityReport {
    /// `missing`, `good`, `refused` or `unreadable`.
    pub(crate) state: String,
    /// End of its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_after_unix_seconds: Option<u64>,
    /// From when on it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) renew_at_unix_seconds: Option<u64>,
    /// What keeps the key: `systemd-creds` or `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed_by: Option<String>,
    /// What a person ought to know.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) warnings: Vec<String>,
}
