//! The Kubernetes cluster that a node joins once it stands by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Certificate, Node};
use crate::names::{AbsolutePath, DnsName, Endpoint, ItemName, LabelKey, LabelValue};

/// Name of the certificate by which the kubelet is known to the API server, where Vault signs it.
pub const KUBELET_CLIENT_CERTIFICATE: &str = "kubelet-client";

/// Name of the certificate that the kubelet's own server shows, where Vault signs it.
pub const KUBELET_SERVING_CERTIFICATE: &str = "kubelet-serving";

/// The port of the kubelet's server.
pub const KUBELET_PORT: u16 = 10250;

/// The cluster a node joins, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The API servers, each reached directly; at least one.
    pub servers: Vec<Endpoint>,
    /// The name that the certificates of the API servers hold.
    pub server_name: DnsName,
    /// Loopback port at which haproxy leads to an API server that is ready.
    pub local_port: u16,
    /// Name of the trust anchor that signs the certificates of the API servers.
    pub ca: ItemName,
    /// Name of the trust anchor that signs those who may ask the kubelet.
    pub client_ca: ItemName,
    /// Domain of the services of the cluster.
    pub cluster_domain: DnsName,
    /// Name servers of the cluster, for pods.
    pub cluster_dns: Vec<IpAddr>,
    /// Labels that the kubelet gives its node object.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Taints that the node object gets when it is made; the kubelet may change none later.
    pub taints: Vec<Taint>,
    /// How the kubelet proves who it is.
    pub identity: KubeletIdentity,
    /// When the node joins.
    pub hand_off: HandOff,
    /// Seconds that the node has to prove itself after the switch; otherwise it is undone.
    pub deadline_seconds: u32,
    /// Seconds that pods of the cluster have to end by themselves when the node leaves.
    pub drain_seconds: u32,
}

/// What keeps pods off a node that do not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: LabelKey,
    /// Its value, when it has one.
    pub value: Option<LabelValue>,
    /// What it does.
    pub effect: TaintEffect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaintEffect {
    /// None is placed.
    NoSchedule,
    /// None is placed where another node has room.
    PreferNoSchedule,
    /// None is placed, and those that run are evicted.
    NoExecute,
}

/// How the kubelet proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KubeletIdentity {
    /// By certificates among those of the node's Vault: [`KUBELET_CLIENT_CERTIFICATE`] and
    /// [`KUBELET_SERVING_CERTIFICATE`].
    Vault,
    /// By a bootstrap token, with which it asks the cluster for a certificate.
    Bootstrap {
        /// The file that holds the token.
        token_file: AbsolutePath,
    },
}

/// When a node joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOff {
    /// As soon as everything that it takes is there.
    Automatic,
    /// When somebody says so on the node.
    Manual,
}

impl Node {
    /// The certificate by which the kubelet is known, and the one that it shows, where Vault signs them.
    pub fn kubelet_certificates(&self) -> Option<(&Certificate, &Certificate)> {
        let vault = self.vault.as_ref()?;
        let named = |name| vault.certificates.iter().find(|item| item.name.as_str() == name);
        Some((named(KUBELET_CLIENT_CERTIFICATE)?, named(KUBELET_SERVING_CERTIFICATE)?))
    }
}
