//! What `cluster.yaml` may say, field by field.
//!
//! These types hold what one file says, each value valid by itself and with its place. Whether the values fit
//! together is found by [`crate::cluster`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use crate::decode::{Between, Decode, Decoder, Located, word};
use crate::names::{
    AbsolutePath, Cidr, ClusterName, DnsName, Endpoint, FileMode, FileName, Host, ImageReference,
    InterfaceName, ItemName, MacAddress, NodeName, PodName, Registry, RelativePath, RoleName,
    Sha256,
};
use crate::node::{Balance, BondMode, ProxyMode, ProxyProtocol};
use crate::record;
use crate::yaml::Yaml;

mod bundle;
mod kubernetes;
mod vault;

pub use bundle::BundleInput;
pub use kubernetes::{
    BootstrapInput, KubeletIdentityInput, KubeletPkiInput, KubernetesInput, TaintInput,
};
pub use vault::{
    ActivationWindowInput, AppRoleInput, CertAuthInput, CertificateInput, JwtAuthInput,
    NodeIdentityInput, PkiInput, ReloadInput, SecretFileInput, TokenAuthInput, VaultAgentInput,
    VaultAuthInput, VaultInput, VaultTemplateInput,
};

record! {
    /// A Basalt cluster: the machines, what runs on them, and the image they run.
    pub struct ClusterInput {
        /// Name of the cluster.
        name: ClusterName,
        /// Counts up with each change. A node refuses a lower one, and the same one with other content.
        generation: Between<1, { u32::MAX }>,
        /// OpenSSH public keys of the `core` user on every node.
        ssh_authorized_keys: Vec<Located<String>>,
        /// Name servers, in order of preference, where a node has none of its own.
        dns_servers: Vec<Located<IpAddr>>,
        /// Domains searched for short names.
        search_domains: Vec<DnsName>,
        /// NTP servers, in order of preference.
        time_servers: Vec<Host>,
        /// Kernel arguments of every node.
        kernel_arguments: Vec<Located<String>>,
        /// Certificates (PEM text) that every node trusts besides the operating system's own, by name.
        trust_anchors: BTreeMap<ItemName, Located<String>>,
        /// Butane files for every node, relative to this file.
        butane: Vec<Located<RelativePath>>,
        /// The roles a node may have; each is used by at least one node.
        roles: BTreeMap<RoleName, Located<RoleInput>>,
        /// The machines.
        nodes: Vec<Located<NodeInput>>,
        /// Where the Kubernetes API is.
        api: ApiInput,
        /// The load balancer in front of the API and of other services.
        haproxy: Option<HaproxyInput>,
        /// Moves virtual addresses between nodes.
        keepalived: Option<KeepalivedInput>,
        /// The core Vault that signs certificates and holds secrets.
        vault: Option<VaultInput>,
        /// Renders secrets from Vault into files for other pods.
        vault_agent: Option<Located<VaultAgentInput>>,
        /// Static pods of your own, besides those that Basalt makes.
        pods: Vec<Located<PodInput>>,
        /// The operator bundle: what the cluster runs besides static pods.
        bundle: Option<Located<BundleInput>>,
        /// Settings of the kubelet on every node.
        kubelet: Option<KubeletInput>,
        /// The Kubernetes cluster that nodes join once they stand by themselves.
        kubernetes: Option<KubernetesInput>,
        /// Settings of containerd on every node.
        containerd: Option<ContainerdInput>,
        /// The operating system image.
        image: ImageInput,
    }

    /// What the nodes of one role have in common.
    pub struct RoleInput {
        /// Butane files for these nodes, relative to this file.
        butane: Vec<Located<RelativePath>>,
        /// Kernel arguments of these nodes.
        kernel_arguments: Vec<Located<String>>,
    }

    /// One machine.
    pub struct NodeInput {
        /// Hostname and Kubernetes node name.
        name: Located<NodeName>,
        /// One of `roles`.
        role: Located<RoleName>,
        /// The disk below `/dev` to install on when the machine boots over PXE, best by a stable name below `/dev/disk/by-id`.
        install_disk: Option<Located<AbsolutePath>>,
        /// Network interfaces, bonds and VLANs.
        interfaces: Vec<Located<InterfaceInput>>,
        /// Name servers of this node instead of the cluster's.
        dns_servers: Vec<Located<IpAddr>>,
        /// OpenSSH public keys of the `core` user besides the cluster's.
        ssh_authorized_keys: Vec<Located<String>>,
        /// Kernel arguments besides those of the cluster and the role.
        kernel_arguments: Vec<Located<String>>,
        /// Butane files besides those of the cluster and the role, relative to this file.
        butane: Vec<Located<RelativePath>>,
    }

    /// One network interface: a network card (`mac`), a `bond` or a `vlan`, exactly one of the three.
    pub struct InterfaceInput {
        /// The name the kernel shows.
        name: Located<InterfaceName>,
        /// The network card's permanent Ethernet address.
        mac: Option<Located<MacAddress>>,
        /// Several network cards as one.
        bond: Option<BondInput>,
        /// An IEEE 802.1Q network on top of another interface.
        vlan: Option<VlanInput>,
        /// Own addresses with the prefix length of their network.
        addresses: Vec<Located<Cidr>>,
        /// Default gateways through this interface, at most one of each address family.
        gateways: Vec<Located<IpAddr>>,
        /// Largest frame payload in bytes.
        mtu: Option<Between<1280, 65535>>,
    }

    /// Several network cards as one.
    pub struct BondInput {
        /// `active-backup`, `802.3ad` or `balance-xor`.
        mode: BondMode,
        /// Interfaces of the same node, without addresses of their own.
        ports: Vec<Located<InterfaceName>>,
        /// Milliseconds between link checks.
        miimon_milliseconds: Between<1, 10000> = Between(100),
    }

    /// An IEEE 802.1Q network.
    pub struct VlanInput {
        /// VLAN identifier.
        id: Between<1, 4094>,
        /// The interface of the same node that carries it.
        parent: Located<InterfaceName>,
    }

    /// The Kubernetes API as clients reach it.
    pub struct ApiInput {
        /// The name clients use.
        host: DnsName,
        /// The port clients use.
        port: Between<1, 65535> = Between(6443),
        /// The addresses clients use, at most one of each family.
        virtual_addresses: Vec<Located<IpAddr>>,
        /// The API servers themselves, `address:port`.
        servers: Vec<Located<Endpoint>>,
    }

    /// The haproxy static pod. A frontend `kubernetes-api` from the API's virtual addresses to its servers is made
    /// unless one of that name is listed.
    pub struct HaproxyInput {
        /// Container image, by digest.
        image: ImageReference,
        /// The roles whose nodes run it.
        roles: Vec<Located<RoleName>>,
        /// Loopback port of health answers, statistics and metrics.
        monitor_port: Located<Between<1, 65535>> = Located::default_of(Between(9444)),
        /// Port on a node's own addresses where haproxy tells the other nodes of its VRRP instances which virtual
        /// addresses it reaches. Firewalls between them have to let it through.
        witness_port: Located<Between<1, 65535>> = Located::default_of(Between(9446)),
        /// Connections at once. Each takes two file descriptors, and the kernel gives a process 1,048,576.
        max_connections: Between<1, 500000> = Between(20000),
        /// Seconds to wait for a connection to a server.
        connect_timeout_seconds: Between<1, 3600> = Between(10),
        /// Seconds that a request waits for a server that has room for it.
        queue_timeout_seconds: Between<1, 3600> = Between(10),
        /// Seconds that a client has to send the head of a request.
        request_timeout_seconds: Between<1, 3600> = Between(10),
        /// Seconds of silence after which a connection is closed.
        idle_timeout_seconds: Between<1, 86400> = Between(60),
        /// Seconds of silence after which an upgraded or tunnelled connection is closed.
        tunnel_timeout_seconds: Between<1, 86400> = Between(3600),
        /// Seconds that requests have to end by themselves when the pod stops; its ports are closed for so long before
        /// another one can open them. A virtual address has moved away by then.
        drain_seconds: Between<0, 60> = Between(2),
        /// Seconds that connections have to end by themselves after a reload; new ones are served by the new config.
        reload_drain_seconds: Between<1, 86400> = Between(600),
        /// Maps and lists that `rules` read, as `/etc/basalt/pods/haproxy/files/NAME`.
        files: Vec<Located<HaproxyFileInput>>,
        /// Listening places besides the Kubernetes API.
        frontends: Vec<Located<FrontendInput>>,
    }

    /// One map or list that haproxy reads.
    pub struct HaproxyFileInput {
        /// Unique; its name in the folder.
        name: Located<FileName>,
        /// The file to take, relative to this file.
        source: Located<RelativePath>,
    }

    /// One listening place and the servers behind it.
    pub struct FrontendInput {
        /// Unique; also the name of the backend.
        name: Located<ItemName>,
        /// Where it listens, `address:port`; `0.0.0.0` and `[::]` are every address of the family.
        binds: Vec<Located<Endpoint>>,
        /// `tcp` carries bytes, `http` requests.
        mode: ProxyMode = ProxyMode::Tcp,
        /// Name of a certificate of `vault.certificates`; haproxy ends TLS with it.
        certificate: Option<Located<ItemName>>,
        /// Whether connections begin with a PROXY protocol header, as another load balancer in front sends it. Those
        /// without one are refused.
        accept_proxy: bool = false,
        /// Connections at once; `haproxy.max_connections` when absent.
        max_connections: Option<Between<1, 500000>>,
        /// New connections in one second; further ones wait.
        max_connections_per_second: Option<Between<1, 1000000>>,
        /// Lines of haproxy's own configuration language, in order: `acl`, `tcp-request`, `http-request`,
        /// `http-response`, `http-after-response` and `use_backend`.
        rules: Vec<Located<String>>,
        /// `least_connections` (where `mode` is `tcp`), `round_robin` (where it is `http`) or `source`.
        balance: Option<Balance>,
        /// Speaks TLS to the servers, and verifies who they are.
        server_tls: Option<ServerTlsInput>,
        /// How a server's health is found; a TCP connection when absent.
        check: Option<Located<HealthCheckInput>>,
        /// At least one.
        servers: Vec<Located<ServerInput>>,
    }

    /// How haproxy knows the servers it speaks TLS to.
    pub struct ServerTlsInput {
        /// Name of the trust anchor that signs their certificates.
        ca: Located<ItemName>,
        /// The name their certificates have to hold; also the one asked for (SNI).
        host: DnsName,
    }

    /// `GET path` has to answer, or a connection to succeed where there is no `path`.
    pub struct HealthCheckInput {
        /// Absolute path of the request.
        path: Option<Located<String>>,
        /// The `Host` of the request; `localhost` when absent.
        host: Option<Host>,
        /// Statuses that are fine: `200`, `200-299`, `200,401`.
        status: Located<String> = Located::default_of("200".to_owned()),
        /// Whether the servers expect TLS. Without `ca` their certificate is not verified: the answer decides health only.
        tls: bool = false,
        /// Name of the trust anchor that signs the servers' certificates.
        ca: Option<Located<ItemName>>,
        /// The name their certificates have to hold.
        server_name: Option<Located<DnsName>>,
        /// Seconds between checks of a server that works; one in doubt is asked four times as often.
        interval_seconds: Between<1, 3600> = Between(2),
        /// Seconds that a check may take.
        timeout_seconds: Between<1, 3600> = Between(2),
        /// Good answers in a row after which a server is used.
        rise: Between<1, 100> = Between(2),
        /// Bad answers in a row after which it is not.
        fall: Between<1, 100> = Between(3),
    }

    /// One server behind a frontend.
    pub struct ServerInput {
        /// Unique in its frontend.
        name: Located<ItemName>,
        /// `address:port`.
        address: Endpoint,
        /// Its share of the connections: 100 when absent, 0 for none.
        weight: Option<Between<0, 256>>,
        /// Connections at once; further ones wait.
        max_connections: Option<Between<1, 500000>>,
        /// Whether it is used only when all others are down.
        backup: bool = false,
        /// Tells it the client's address by the PROXY protocol, `v1` or `v2`.
        send_proxy: Option<ProxyProtocol>,
    }

    /// The keepalived static pod.
    pub struct KeepalivedInput {
        /// Container image, by digest. It holds `curl`, which the check of haproxy runs.
        image: ImageReference,
        /// At least one.
        instances: Vec<Located<VrrpInstanceInput>>,
    }

    /// One VRRP instance. The interface, the own address and the peers of each node follow from the network in which
    /// the virtual addresses lie.
    pub struct VrrpInstanceInput {
        /// Unique.
        name: Located<ItemName>,
        /// VRID, unique in the network segment.
        virtual_router_id: Located<Between<1, 255>>,
        /// The addresses that move, all of one family: IPv4 and IPv6 are two instances.
        virtual_addresses: Vec<Located<IpAddr>>,
        /// Priority of the nodes of each role that takes part, at most 127 where they run haproxy; the highest holds the
        /// addresses.
        priorities: BTreeMap<RoleName, Located<Between<1, 253>>>,
        /// The nodes that take part, when not all of those roles do.
        peers: Vec<Located<NodeName>>,
        /// Seconds between advertisements.
        advert_interval_seconds: Between<1, 40> = Between(1),
        /// Further interfaces that a node needs to be of use, like an uplink. One that loses a link stands back behind
        /// nodes that have theirs. The interface that carries the addresses always counts.
        track_interfaces: Vec<Located<InterfaceName>>,
    }

    /// A static pod of your own. It obeys the rules of `cargo xtask pods lint --rules basalt`.
    pub struct PodInput {
        /// Unique; also the pod's name in its manifest.
        name: Located<PodName>,
        /// The manifest, relative to this file; nodes get it as it is.
        manifest: Located<RelativePath>,
        /// The roles whose nodes run it.
        roles: Vec<Located<RoleName>>,
        /// Config files that nodes get as `/etc/basalt/pods/POD/NAME`, for the manifest to mount. They hold no secrets.
        files: Vec<Located<PodFileInput>>,
        /// Capabilities that its containers may add, without `CAP_`; none when absent.
        capabilities: Vec<Located<String>>,
        /// Whether its containers may be privileged.
        privileged: bool = false,
    }

    /// One config file of a static pod.
    pub struct PodFileInput {
        /// Unique in the pod; its name in the folder.
        name: Located<FileName>,
        /// The file to take, relative to this file.
        source: Located<RelativePath>,
        /// Its mode; root owns it.
        mode: FileMode = "0644".parse().expect("a file mode"),
    }

    /// Settings of the standalone kubelet.
    pub struct KubeletInput {
        /// The folder it reads manifests from, below `/etc/kubernetes`; the agent owns it.
        static_pod_directory: Located<AbsolutePath> =
            Located::default_of("/etc/kubernetes/manifests".parse().expect("an absolute path")),
        /// Most pods at once.
        max_pods: Between<1, 1000> = Between(110),
        /// Millicores kept for the operating system.
        system_reserved_cpu_millicores: Between<0, 1000000> = Between(250),
        /// Mebibytes kept for the operating system.
        system_reserved_memory_mebibytes: Between<0, 1000000> = Between(512),
        /// Millicores kept for the kubelet and containerd.
        kube_reserved_cpu_millicores: Between<0, 1000000> = Between(100),
        /// Mebibytes kept for the kubelet and containerd.
        kube_reserved_memory_mebibytes: Between<0, 1000000> = Between(256),
        /// Mebibytes a container's log file may have before it is rotated.
        container_log_max_mebibytes: Between<1, 100000> = Between(10),
        /// Log files kept of a container, the current one among them.
        container_log_files: Between<2, 100> = Between(3),
        /// Hours after which an image that no pod has used is removed. Preloaded images stay.
        image_maximum_age_hours: Between<1, 87600> = Between(168),
        /// Seconds that a shutdown waits for pods other than the node's own, before these are stopped: keepalived, then
        /// haproxy and the rest.
        shutdown_grace_seconds: Between<1, 3600> = Between(30),
    }

    /// Settings of containerd.
    pub struct ContainerdInput {
        /// The pause image, as `registry/name:tag`. The default is made and baked in by the build; another one is to be
        /// among `image.preload`.
        sandbox_image: Located<String> = Located::default_of(crate::node::PAUSE_IMAGE.to_owned()),
        /// Registry mirrors: registry (`host` or `host:port`) to base addresses (`https://…`), in order of preference.
        mirrors: BTreeMap<Registry, Vec<Located<String>>>,
    }

    /// The operating system image.
    pub struct ImageInput {
        /// Name of the image.
        name: ItemName,
        /// Version of the image, shown by `rpm-ostree status`.
        version: Located<String>,
        /// What it is built on: `scratch`, `oci:FOLDER` (an OCI layout, relative to this file) or an image reference
        /// with a digest.
        base: Located<String> = Located::default_of("scratch".to_owned()),
        /// Where nodes pull the image from, `registry/name:tag`.
        reference: Option<Located<String>>,
        /// Files baked in, binaries among them.
        files: Vec<Located<ImageFileInput>>,
        /// Container images baked in as archives. Every boot sees to it that the runtime has them, without a network, and
        /// that nothing clears them away.
        preload: Vec<Located<PreloadInput>>,
    }

    /// One file of the image.
    pub struct ImageFileInput {
        /// Where it goes, below `usr` or `etc`.
        path: Located<RelativePath>,
        /// The file to take, relative to this file.
        source: Located<RelativePath>,
        /// Its digest.
        sha256: Sha256,
        /// Its mode.
        mode: FileMode = "0644".parse().expect("a file mode"),
        /// The layer it goes into: files of one component change together. A node fetches only changed layers.
        component: ItemName = "files".parse().expect("a label"),
    }

    /// One container image baked in.
    pub struct PreloadInput {
        /// The name pods use. Its digest is one that the archive lists.
        reference: Located<ImageReference>,
        /// An image archive (`oci-archive`), relative to this file.
        archive: Located<RelativePath>,
        /// Digest of the archive file.
        sha256: Sha256,
    }
}

impl Decode for BondMode {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &BOND_MODES)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": BOND_MODES.map(|(name, _)| name)})
    }
}

const BOND_MODES: [(&str, BondMode); 3] = [
    ("active-backup", BondMode::ActiveBackup),
    ("802.3ad", BondMode::Ieee8023ad),
    ("balance-xor", BondMode::BalanceXor),
];

impl Decode for ProxyMode {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &PROXY_MODES)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": PROXY_MODES.map(|(name, _)| name)})
    }
}

impl Decode for Balance {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &BALANCES)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": BALANCES.map(|(name, _)| name)})
    }
}

const BALANCES: [(&str, Balance); 3] = [
    ("least_connections", Balance::LeastConnections),
    ("round_robin", Balance::RoundRobin),
    ("source", Balance::Source),
];

impl Decode for ProxyProtocol {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &PROXY_PROTOCOLS)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": PROXY_PROTOCOLS.map(|(name, _)| name)})
    }
}

const PROXY_PROTOCOLS: [(&str, ProxyProtocol); 2] =
    [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];

const PROXY_MODES: [(&str, ProxyMode); 2] = [("tcp", ProxyMode::Tcp), ("http", ProxyMode::Http)];

/// The JSON Schema (draft 2020-12) of `cluster.yaml`, as committed in `agent/model/cluster.schema.json`.
pub fn cluster_schema() -> String {
    let mut definitions = Map::new();
    let root = ClusterInput::schema(&mut definitions);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Basalt cluster.yaml",
        "$ref": root["$ref"],
        "$defs": definitions,
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema has string keys only");
    text.push('\n');
    text
}
