//! What nodes tell the fleet through Vault: whom they trust and by whom their certificates are signed. A change of the
//! authority waits for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, NodeName};

/// The KV version 2 engine that nodes report to. Each node may write its own report and nothing else there.
pub const REPORT_MOUNT: &str = "basalt";

/// Where a node's report is, below the mount: it is written to `basalt/data/` and this.
pub fn report_path(cluster: &ClusterName, node: &NodeName) -> String {
    format!("{cluster}/nodes/{node}")
}

/// What one node trusts and uses now, written after each change and once a day.
///
/// ```json
/// {"mounts": {"pki/lab": {"trusts": ["3f0a…"], "leaves": ["3f0a…"]}}, "at": 1795280478}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// By PKI mount, that of the node's identity among them.
    pub mounts: BTreeMap<String, MountReport>,
    /// When it was written, in seconds since the Unix epoch, by the node's clock.
    pub at: u64,
}

/// The authorities of one PKI mount, by the SHA-256 of their certificate (DER) in 64 lower-case hex digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountReport {
    /// Those that every `ca.pem` of this mount on the node holds.
    pub trusts: Vec<String>,
    /// Those that signed the certificates in use.
    pub leaves: Vec<String>,
}
