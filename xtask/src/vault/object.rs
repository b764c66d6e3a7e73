//! What there can be in Vault, as far as clusters need it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// One thing that Vault is to have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    /// An engine or an auth method at its path.
    Mount(Mount),
    /// A root certificate in a PKI mount that has no issuer.
    Root(Root),
    /// Settings below a mount.
    Entry(Entry),
    /// A policy.
    Policy(Policy),
}

/// Where a mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MountKind {
    Secrets,
    Auth,
}

/// A secrets engine or an auth method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) kind: MountKind,
    pub(super) path: String,
    /// `pki`, `kv`, `approle`, `cert`.
    pub(super) engine: &'static str,
    /// For `kv`: the version of the engine.
    pub(super) version: Option<&'static str>,
    /// Leases of this many seconds have to be possible.
    pub(super) min_max_lease_ttl: Option<u64>,
}

/// A root certificate whose key never leaves Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) mount: String,
    pub(super) common_name: String,
}

/// What is written to a path and read back from it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) path: String,
    /// The mount it is below, to know whether it can be there.
    pub(super) mount: (MountKind, String),
    /// Every field that matters.
    pub(super) fields: Map<String, Json>,
    /// Fields that not every server knows: one that does not leaves them out when it is read.
    pub(super) optional: &'static [&'static str],
    /// What has to be made before this can be.
    pub(super) waits_for: Vec<String>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) text: String,
    /// What has to be made before this can be.
    pub(super) waits_for: Vec<String>,
}

/// What Vault has before anything is decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts {
    pub(super) secrets: BTreeMap<String, MountSeen>,
    pub(super) auth: BTreeMap<String, MountSeen>,
    /// The issuers of each PKI mount that is asked about, oldest first.
    pub(super) issuers: BTreeMap<String, Vec<Issuer>>,
}

/// A mount that is there.
#[derive(Clone, Debug)]
pub(super) struct MountSeen {
    pub(super) engine: String,
    pub(super) accessor: String,
    pub(super) version: Option<String>,
    pub(super) max_lease_ttl: u64,
}

/// An issuer of a PKI mount.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) is_default: bool,
    pub(super) pem: String,
    /// SHA-256 of the certificate (DER) in hex digits.
    pub(super) fingerprint: String,
    /// Seconds since the Unix epoch.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) is_self_signed: bool,
}

impl Mounts {
    pub(super) fn of(&self, kind: MountKind) -> &BTreeMap<String, MountSeen> {
        match kind {
            MountKind::Secrets => &self.secrets,
            MountKind::Auth => &self.auth,
        }
    }

    /// The accessor of an auth method; `None` before it is there.
    pub(super) fn accessor(&self, auth: &str) -> Option<&str> {
        self.auth.get(auth).map(|mount| mount.accessor.as_str())
    }
}

impl Mount {
    /// How its path begins in the API.
    pub(super) fn prefix(&self) -> &'static str {
        prefix(self.kind)
    }
}

/// `auth/` for auth methods.
pub(super) fn prefix(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Secrets => "",
        MountKind::Auth => "auth/",
    }
}
