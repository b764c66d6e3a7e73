//! [`Node`]: everything one machine is to be, resolved. Its JSON form is `node.json`, the contract the agent obeys.
//!
//! A `Node` holds no secrets: certificates, keys and tokens are named by path. It is made from a cluster by
//! [`crate::cluster`], written into the Ignition config, and read on the host by [`Node::from_json`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

mod bundle;
mod haproxy;
mod kubernetes;
mod report;
mod vault;

pub use bundle::{
    BUNDLE_APPLIER_CERTIFICATE, BUNDLE_APPLIERS_GROUP, BUNDLE_KUBECONFIG_PATH, Bundle, BundleOwner,
};
pub use haproxy::{
    Ask, Balance, CheckAnchor, CheckTls, Frontend, HAPROXY_FILES, Haproxy, HaproxyFile,
    HealthCheck, ProxyMode, ProxyProtocol, Server, ServerTls,
};
pub use kubernetes::{
    HandOff, KUBELET_CLIENT_CERTIFICATE, KUBELET_PORT, KUBELET_SERVING_CERTIFICATE,
    KubeletIdentity, Kubernetes, Taint, TaintEffect,
};
pub use report::{MountReport, NodeReport, REPORT_MOUNT, report_path};
pub use vault::{
    ActivationWindow, Certificate, CertificateLayout, IDENTITY_CERTIFICATE_PATH, IDENTITY_KEY_PATH,
    KeyKind, KeyUsage, NodeIdentity, Reload, SecretFile, Vault, VaultAgent, VaultAuth,
    VaultTemplate, WRAPPED_SECRET_ID_PATH,
};

use crate::decode::closest;
use crate::names::{
    AbsolutePath, Cidr, ClusterName, DnsName, Endpoint, FileMode, FileName, Host, ImageReference,
    InterfaceName, ItemName, MacAddress, NodeName, PodName, RelativePath, RoleName, Sha256,
};

/// The `schema` value this build writes and reads.
pub const NODE_SCHEMA: u32 = 1;

/// The folder below which the static pod directory is: the only one besides its own that the agent's unit lets it
/// write to.
pub const KUBERNETES_DIRECTORY: &str = "/etc/kubernetes/";

/// Where the agent reads its node from.
pub const NODE_JSON_PATH: &str = "/etc/basalt/node.json";

/// The bill of the operating system image on a node: what is baked in, in the image's own words.
pub const IMAGE_BILL_PATH: &str = "/usr/lib/basalt/image.json";

/// Where preloaded image archives are on a node, as `DIGEST.tar`.
pub const PRELOAD_DIRECTORY: &str = "/usr/share/basalt/images";

/// The pause image that the build makes. No registry has it: the name leads nowhere, so that nothing waits for an
/// answer where it is missing. Other bytes want another tag.
pub const PAUSE_IMAGE: &str = "localhost/basalt/pause:1";

/// One machine, resolved from the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Form of this document; always [`NODE_SCHEMA`].
    pub schema: u32,
    /// The cluster the node belongs to.
    pub cluster: ClusterName,
    /// Counts up with each change of the cluster; the agent refuses an older one.
    pub generation: u64,
    /// Hostname and Kubernetes node name.
    pub name: NodeName,
    /// The role that chose what runs here.
    pub role: RoleName,
    /// The disk that the operating system is installed on, when the machine is installed over PXE.
    pub install_disk: Option<AbsolutePath>,
    /// Interfaces, name servers.
    pub network: Network,
    /// NTP servers, in order of preference; empty leaves the operating system's own.
    pub time_servers: Vec<Host>,
    /// Kernel arguments that must be on the command line.
    pub kernel_arguments: Vec<String>,
    /// OpenSSH public keys of the `core` user.
    pub ssh_authorized_keys: Vec<String>,
    /// PEM certificates that the operating system trusts besides its own.
    pub trust_anchors: BTreeMap<ItemName, String>,
    /// Where the Kubernetes API is.
    pub api: Api,
    /// The haproxy static pod, when this node runs it.
    pub haproxy: Option<Haproxy>,
    /// The keepalived static pod, when this node runs it.
    pub keepalived: Option<Keepalived>,
    /// The core Vault, when the cluster has one.
    pub vault: Option<Vault>,
    /// The vault-agent static pod, when this node runs it.
    pub vault_agent: Option<VaultAgent>,
    /// Static pods of people's own, sorted as they were written.
    #[serde(default)]
    pub pods: Vec<OwnPod>,
    /// The bundle that the cluster is to run, when this node applies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// Settings of the kubelet.
    pub kubelet: Kubelet,
    /// The Kubernetes cluster that this node joins, when it joins one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// Settings of containerd.
    pub containerd: Containerd,
    /// The operating system image this node is to run.
    pub image: NodeImage,
}

/// A node's own network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// In the order written; at least one has an Ethernet address.
    pub interfaces: Vec<Interface>,
    /// Name servers, in order of preference.
    pub dns_servers: Vec<IpAddr>,
    /// Domains searched for short names.
    pub search_domains: Vec<DnsName>,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The name the kernel shows.
    pub name: InterfaceName,
    /// What it is made of.
    pub kind: InterfaceKind,
    /// Own addresses with the prefix length of their network; empty for a bond's port.
    pub addresses: Vec<Cidr>,
    /// Default gateways through this interface: at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Largest frame payload in bytes; the driver's own when absent.
    pub mtu: Option<u32>,
}

/// What an interface is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InterfaceKind {
    /// A network card.
    Ethernet {
        /// Its permanent address.
        mac: MacAddress,
    },
    /// Several network cards as one.
    Bond {
        /// Bonding mode, as the kernel names it.
        mode: BondMode,
        /// The interfaces joined, in order.
        ports: Vec<InterfaceName>,
        /// Milliseconds between link checks.
        miimon_milliseconds: u32,
    },
    /// One IEEE 802.1Q network on top of another interface.
    Vlan {
        /// 1 to 4094.
        id: u16,
        /// The interface that carries it.
        parent: InterfaceName,
    },
}

/// Linux bonding modes (kernel documentation, `bonding.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BondMode {
    /// One port works, the others wait.
    #[serde(rename = "active-backup")]
    ActiveBackup,
    /// LACP; the switch takes part.
    #[serde(rename = "802.3ad")]
    Ieee8023ad,
    /// Spread by a hash of the addresses; the switch is set up for it by hand.
    #[serde(rename = "balance-xor")]
    BalanceXor,
}

/// The Kubernetes API as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The name clients use.
    pub host: DnsName,
    /// The port clients use.
    pub port: u16,
    /// At most one of each family; moved between nodes by keepalived.
    pub virtual_addresses: Vec<IpAddr>,
    /// The API servers themselves.
    pub servers: Vec<Endpoint>,
}

/// The keepalived static pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalived {
    /// Container image, by digest.
    pub image: ImageReference,
    /// At least one; names and VRIDs are unique.
    pub instances: Vec<VrrpInstance>,
}

/// One VRRP instance (RFC 9568) in which this node takes part. One address family each, as the protocol wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VrrpInstance {
    /// Unique on this node.
    pub name: ItemName,
    /// Virtual router identifier, 1 to 255; unique in the network segment.
    pub virtual_router_id: u8,
    /// Before checks add to it, 1 to 253; the highest holds the addresses.
    pub priority: u8,
    /// The interface that carries the addresses.
    pub interface: InterfaceName,
    /// Seconds between advertisements, 1 to 40.
    pub advert_interval_seconds: u8,
    /// Further interfaces of this node whose link counts; not [`VrrpInstance::interface`].
    pub track_interfaces: Vec<InterfaceName>,
    /// This node's own address, from which advertisements are sent.
    pub source: IpAddr,
    /// The other nodes of the instance; at least one, all of the family of `source`.
    pub peers: Vec<IpAddr>,
    /// The addresses that move, with the prefix length of the network they live in.
    pub virtual_addresses: Vec<Cidr>,
}

/// A static pod that somebody wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPod {
    /// The pod's name, also in its manifest.
    pub name: PodName,
    /// Where the manifest was, relative to the cluster's file; findings name it.
    pub source: RelativePath,
    /// The manifest, as it was written.
    pub manifest: String,
    /// The files it may mount; names are unique.
    pub files: Vec<OwnPodFile>,
    /// The capabilities that its containers may add, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Whether its containers may be privileged.
    pub is_privileged: bool,
}

/// One config file of an [`OwnPod`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPodFile {
    /// Its name in the pod's folder of config files.
    pub name: FileName,
    /// The text, without secrets.
    pub contents: String,
    /// Mode of the file.
    pub mode: FileMode,
}

/// Settings of the standalone kubelet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubelet {
    /// The address the node is known by; the kubelet looks names up without it.
    pub node_ip: IpAddr,
    /// The folder the kubelet reads manifests from; the agent owns it.
    pub static_pod_directory: AbsolutePath,
    /// Most pods at once.
    pub max_pods: u32,
    /// Millicores kept for the operating system.
    pub system_reserved_cpu_millicores: u32,
    /// Mebibytes kept for the operating system.
    pub system_reserved_memory_mebibytes: u32,
    /// Millicores kept for the kubelet and containerd.
    pub kube_reserved_cpu_millicores: u32,
    /// Mebibytes kept for the kubelet and containerd.
    pub kube_reserved_memory_mebibytes: u32,
    /// Mebibytes a container's log file may have before it is rotated.
    pub container_log_max_mebibytes: u32,
    /// Log files kept of a container; at least two.
    pub container_log_files: u32,
    /// Hours after which an image that no pod has used is removed.
    pub image_maximum_age_hours: u32,
    /// Seconds that a shutdown waits for pods other than the node's own.
    pub shutdown_grace_seconds: u32,
}

/// Settings of containerd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Containerd {
    /// The pause image; present on the node, never pulled.
    pub sandbox_image: String,
    /// Registry mirrors: registry, with its port where it has one, to base addresses, in order.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

/// The operating system image a node is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeImage {
    /// Where nodes pull it from, `registry/name:tag`; absent when images are not pulled.
    pub reference: Option<String>,
    /// Container images baked in as archives, besides the pause image of the build.
    pub preload: Vec<Preload>,
}

/// A container image archive that is part of the operating system image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preload {
    /// The name pods use.
    pub reference: ImageReference,
    /// The archive on the node.
    pub path: AbsolutePath,
    /// Digest of the archive.
    pub sha256: Sha256,
}

/// A `node.json` that cannot be used, with the place.
#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}:{column}: {message}")]
pub struct NodeJsonError {
    /// The file as it was named.
    pub path: String,
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1; in bytes, as JSON parsers count.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl Node {
    /// Reads `node.json`; `path` is only used to name the file in an error.
    ///
    /// # Errors
    /// [`NodeJsonError`] names the first place that is not JSON, not known, missing or not valid.
    /// The static pod directory has to be below [`KUBERNETES_DIRECTORY`].
    pub fn from_json(path: &str, text: &str) -> Result<Node, NodeJsonError> {
        let node: Node = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line().max(1), error.column().max(1));
            let whole = error.to_string();
            let tail = format!(" at line {} column {}", error.line(), error.column());
            let message = with_suggestion(whole.strip_suffix(&tail).unwrap_or(&whole));
            NodeJsonError { path: path.to_owned(), line, column, message }
        })?;
        let fault = |field: &str, message: String| {
            let line = 1 + text.lines().position(|line| line.contains(field)).unwrap_or(0);
            Err(NodeJsonError { path: path.to_owned(), line, column: 1, message })
        };
        if node.schema != NODE_SCHEMA {
            let message = format!("`schema` is {}, this agent reads {NODE_SCHEMA}", node.schema);
            return fault("\"schema\"", message);
        }
        let directory = &node.kubelet.static_pod_directory;
        if !directory.as_str().starts_with(KUBERNETES_DIRECTORY) {
            let message = format!(
                "`static_pod_directory` is `{directory}`, not below `{KUBERNETES_DIRECTORY}`"
            );
            return fault("\"static_pod_directory\"", message);
        }
        Ok(node)
    }

    /// `node.json`: two spaces of indentation, one final newline, the same bytes for the same node.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a Node has string keys only");
        text.push('\n');
        text
    }
}

/// Names the one field that was likely meant, where serde lists every field there is.
fn with_suggestion(message: &str) -> String {
    let Some((problem, known)) = message.split_once(", expected one of ") else {
        return message.to_owned();
    };
    let found = problem.split('`').nth(1).unwrap_or_default();
    match closest(found, known.split(", ").map(|name| name.trim_matches('`'))) {
        Some(name) => format!("{problem}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}
