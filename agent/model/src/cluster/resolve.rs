//! Input → nodes. Runs on input that has passed every check, so a lookup that finds nothing has nothing to add.

use std::net::IpAddr;

use super::texts::Texts;
use super::{BaseImage, Cluster, ImagePlan};
use crate::decode::Located;
use crate::input::{
    ApiInput, BundleInput, ClusterInput, ContainerdInput, FrontendInput, HaproxyFileInput,
    HaproxyInput, HealthCheckInput, InterfaceInput, KeepalivedInput, KubeletInput, KubernetesInput,
    NodeInput, PodFileInput, PodInput, ServerInput, VrrpInstanceInput,
};
use crate::names::{Cidr, Endpoint, InterfaceName, ItemName, Registry, RelativePath, RoleName};
use crate::node::{
    Api, Ask, Balance, Bundle, CheckAnchor, CheckTls, Containerd, Frontend, Haproxy, HaproxyFile,
    HealthCheck, Interface, InterfaceKind, Keepalived, Kubelet, NODE_SCHEMA, Network, Node,
    NodeImage, OwnPod, OwnPodFile, PRELOAD_DIRECTORY, Preload, ProxyMode, Server, ServerTls,
    VrrpInstance,
};

mod kubernetes;
mod vault;

pub(super) use kubernetes::{LOCAL_FRONTEND, servers as api_servers_to_join};
pub(super) use vault::{directory_of, survive_outage_hours};

/// The frontend that is made for the Kubernetes API.
pub(super) const API_FRONTEND: &str = "kubernetes-api";

/// What an API server answers when it can serve: <https://kubernetes.io/docs/reference/using-api/health-checks/>.
const API_READY_PATH: &str = "/readyz";

pub(super) fn cluster(input: &ClusterInput, texts: &Texts) -> Cluster {
    let butane_of = |node: &Located<NodeInput>| {
        let role =
            input.roles.get(&node.role.value).map(|role| role.butane.clone()).unwrap_or_default();
        let files = [input.butane.clone(), role, node.butane.clone()].concat();
        (node.name.value.clone(), files)
    };
    Cluster {
        name: input.name.clone(),
        generation: input.generation.0.into(),
        nodes: input.nodes.iter().map(|node| self::node(input, texts, node)).collect(),
        butane: input.nodes.iter().map(butane_of).collect(),
        image: image(input).expect("the check found a base image"),
        texts: texts.0.clone(),
    }
}

/// The image, when what it is built on is known.
pub(super) fn image(input: &ClusterInput) -> Option<ImagePlan> {
    let base = &input.image.base;
    Some(ImagePlan {
        name: input.image.name.clone(),
        version: input.image.version.value.clone(),
        base: Located {
            value: BaseImage::parse(base)?,
            place: base.place,
            path: base.path.clone(),
        },
        files: input.image.files.clone(),
        preload: input.image.preload.clone(),
    })
}

/// Every Butane file: the cluster's, those of roles and of nodes, used or not.
pub(super) fn butane(input: &ClusterInput) -> Vec<Located<RelativePath>> {
    let roles = input.roles.values().flat_map(|role| &role.butane);
    let nodes = input.nodes.iter().flat_map(|node| &node.butane);
    input.butane.iter().chain(roles).chain(nodes).cloned().collect()
}

fn node(input: &ClusterInput, texts: &Texts, node: &NodeInput) -> Node {
    let role = &node.role.value;
    let runs = |roles: &[Located<RoleName>]| roles.iter().any(|item| item.value == *role);
    let role_arguments =
        input.roles.get(role).map(|role| role.kernel_arguments.as_slice()).unwrap_or_default();
    let network = network(input, node);
    let haproxy = input.haproxy.as_ref().filter(|haproxy| runs(&haproxy.roles));
    let keepalived =
        input.keepalived.as_ref().map(|keepalived| keepalived_of(input, keepalived, node));
    Node {
        schema: NODE_SCHEMA,
        cluster: input.name.clone(),
        generation: input.generation.0.into(),
        name: node.name.value.clone(),
        role: role.clone(),
        install_disk: node.install_disk.as_ref().map(|disk| disk.value.clone()),
        time_servers: input.time_servers.clone(),
        kernel_arguments: values(&[
            &input.kernel_arguments,
            role_arguments,
            &node.kernel_arguments,
        ]),
        ssh_authorized_keys: values(&[&input.ssh_authorized_keys, &node.ssh_authorized_keys]),
        trust_anchors: input
            .trust_anchors
            .iter()
            .map(|(name, pem)| (name.clone(), pem.value.clone()))
            .collect(),
        api: api(&input.api),
        haproxy: haproxy.map(|haproxy| haproxy_of(input, haproxy, role, texts)),
        keepalived: keepalived.filter(|keepalived| !keepalived.instances.is_empty()),
        vault: input.vault.as_ref().map(|vault| vault::vault(input, vault, node, &network)),
        vault_agent: input
            .vault_agent
            .as_ref()
            .filter(|agent| runs(&agent.roles))
            .map(|agent| vault::vault_agent(agent)),
        pods: input
            .pods
            .iter()
            .filter(|pod| runs(&pod.roles))
            .map(|pod| own_pod(pod, texts))
            .collect(),
        bundle: input
            .bundle
            .as_ref()
            .filter(|bundle| runs(&bundle.roles))
            .map(|bundle| self::bundle(bundle)),
        kubelet: kubelet(input.kubelet.as_ref(), &network),
        kubernetes: joining(input, role)
            .map(|kubernetes| self::kubernetes::kubernetes(input, kubernetes)),
        containerd: containerd(input.containerd.as_ref()),
        image: NodeImage {
            reference: input.image.reference.as_ref().map(|reference| reference.value.clone()),
            preload: input.image.preload.iter().map(|item| preload(item)).collect(),
        },
        network,
    }
}

fn bundle(input: &BundleInput) -> Bundle {
    Bundle {
        reference: input.reference.value.clone(),
        public_key: input.public_key.value.clone(),
        kubeconfig: input.kubeconfig.clone(),
        prune_percent: u8::try_from(input.prune_percent.0).expect("a percentage is at most 100"),
        is_paused: input.paused,
        owner: input.owner,
    }
}

fn values(lists: &[&[Located<String>]]) -> Vec<String> {
    lists.iter().flat_map(|list| list.iter().map(|item| item.value.clone())).collect()
}

fn network(input: &ClusterInput, node: &NodeInput) -> Network {
    let own = &node.dns_servers;
    Network {
        interfaces: node
            .interfaces
            .iter()
            .filter_map(|interface| self::interface(interface))
            .collect(),
        dns_servers: if own.is_empty() { &input.dns_servers } else { own }
            .iter()
            .map(|server| server.value)
            .collect(),
        search_domains: input.search_domains.clone(),
    }
}

fn interface(input: &InterfaceInput) -> Option<Interface> {
    let kind = match (&input.mac, &input.bond, &input.vlan) {
        (Some(mac), None, None) => InterfaceKind::Ethernet { mac: mac.value.clone() },
        (None, Some(bond), None) => InterfaceKind::Bond {
            mode: bond.mode,
            ports: bond.ports.iter().map(|port| port.value.clone()).collect(),
            miimon_milliseconds: bond.miimon_milliseconds.0,
        },
        (None, None, Some(vlan)) => InterfaceKind::Vlan {
            id: u16::try_from(vlan.id.0).ok()?,
            parent: vlan.parent.value.clone(),
        },
        _ => return None,
    };
    Some(Interface {
        name: input.name.value.clone(),
        kind,
        addresses: input.addresses.iter().map(|address| address.value).collect(),
        gateways: input.gateways.iter().map(|gateway| gateway.value).collect(),
        mtu: input.mtu.map(|mtu| mtu.0),
    })
}

fn api(input: &ApiInput) -> Api {
    Api {
        host: input.host.clone(),
        port: port(input.port.0),
        virtual_addresses: input.virtual_addresses.iter().map(|address| address.value).collect(),
        servers: input.servers.iter().map(|server| server.value).collect(),
    }
}

fn port(number: u32) -> u16 {
    u16::try_from(number).expect("ports are read as numbers up to 65535")
}

/// The templates of secret files.
pub(super) fn templates(input: &ClusterInput) -> Vec<Located<String>> {
    let secrets = input.vault.iter().flat_map(|vault| &vault.secrets);
    secrets.map(|secret| secret.template.clone()).collect()
}

/// People's own pods whose manifests could be read.
pub(super) fn own_pods(input: &ClusterInput, texts: &Texts) -> Vec<OwnPod> {
    let is_read = |pod: &&Located<PodInput>| texts.has(&pod.manifest);
    input.pods.iter().filter(is_read).map(|pod| own_pod(pod, texts)).collect()
}

fn own_pod(input: &PodInput, texts: &Texts) -> OwnPod {
    let file = |file: &Located<PodFileInput>| OwnPodFile {
        name: file.name.value.clone(),
        contents: texts.of(&file.source),
        mode: file.mode.clone(),
    };
    OwnPod {
        name: input.name.value.clone(),
        source: input.manifest.value.clone(),
        manifest: texts.of(&input.manifest),
        files: input.files.iter().map(file).collect(),
        capabilities: input.capabilities.iter().map(|name| name.value.clone()).collect(),
        is_privileged: input.privileged,
    }
}

/// The cluster that nodes of this role join.
pub(super) fn joining<'c>(input: &'c ClusterInput, role: &RoleName) -> Option<&'c KubernetesInput> {
    input
        .kubernetes
        .as_ref()
        .filter(|kubernetes| kubernetes.roles.iter().any(|item| item.value == *role))
}

fn haproxy_of(
    cluster: &ClusterInput,
    input: &HaproxyInput,
    role: &RoleName,
    texts: &Texts,
) -> Haproxy {
    let file = |file: &Located<HaproxyFileInput>| HaproxyFile {
        name: file.name.value.clone(),
        contents: texts.of(&file.source),
    };
    Haproxy {
        image: input.image.clone(),
        frontends: frontends(cluster, input, role),
        files: input.files.iter().map(file).collect(),
        monitor_port: port(input.monitor_port.value.0),
        witness_port: port(input.witness_port.value.0),
        max_connections: input.max_connections.0,
        connect_timeout_seconds: input.connect_timeout_seconds.0,
        queue_timeout_seconds: input.queue_timeout_seconds.0,
        request_timeout_seconds: input.request_timeout_seconds.0,
        idle_timeout_seconds: input.idle_timeout_seconds.0,
        tunnel_timeout_seconds: input.tunnel_timeout_seconds.0,
        drain_seconds: input.drain_seconds.0,
        reload_drain_seconds: input.reload_drain_seconds.0,
    }
}

/// The frontends as haproxy gets them: the one for the Kubernetes API first, unless one of that name is listed.
/// Then the one by which nodes that join reach it.
pub(super) fn frontends(
    cluster: &ClusterInput,
    input: &HaproxyInput,
    role: &RoleName,
) -> Vec<Frontend> {
    let api = &cluster.api;
    let is_listed = input.frontends.iter().any(|frontend| frontend.name.as_str() == API_FRONTEND);
    let generated = (!is_listed && !api.virtual_addresses.is_empty()).then(|| api_frontend(api));
    let local = joining(cluster, role).map(|joined| kubernetes::frontend(cluster, joined));
    let written = input.frontends.iter().map(|item| frontend(item));
    generated.into_iter().chain(local).chain(written).collect()
}

fn api_frontend(api: &ApiInput) -> Frontend {
    let name = |text: String| text.parse::<ItemName>().expect("a label");
    let bind = |address: &Located<IpAddr>| Endpoint((address.value, port(api.port.0)).into());
    let server = |(index, server): (usize, &Located<Endpoint>)| {
        Server::new(name(format!("api-{}", index + 1)), server.value)
    };
    Frontend {
        name: name(API_FRONTEND.to_owned()),
        binds: api.virtual_addresses.iter().map(bind).collect(),
        mode: ProxyMode::Tcp,
        certificate: None,
        accept_proxy: false,
        max_connections: None,
        max_connections_per_second: None,
        rules: Vec::new(),
        balance: balance(ProxyMode::Tcp),
        server_tls: None,
        check: HealthCheck { tls: CheckTls::Unverified, ..HealthCheck::http(API_READY_PATH) },
        servers: api.servers.iter().enumerate().map(server).collect(),
    }
}

/// Connections to the API and the like live for hours: they are spread by how many there are, not by how many came.
fn balance(mode: ProxyMode) -> Balance {
    match mode {
        ProxyMode::Tcp => Balance::LeastConnections,
        ProxyMode::Http => Balance::RoundRobin,
    }
}

fn frontend(input: &FrontendInput) -> Frontend {
    Frontend {
        name: input.name.value.clone(),
        binds: input.binds.iter().map(|bind| bind.value).collect(),
        mode: input.mode,
        certificate: input.certificate.as_ref().map(|name| name.value.clone()),
        accept_proxy: input.accept_proxy,
        max_connections: input.max_connections.map(|number| number.0),
        max_connections_per_second: input.max_connections_per_second.map(|number| number.0),
        rules: values(&[&input.rules]),
        balance: input.balance.unwrap_or(balance(input.mode)),
        server_tls: input
            .server_tls
            .as_ref()
            .map(|tls| ServerTls { ca: tls.ca.value.clone(), host: tls.host.clone() }),
        check: input.check.as_ref().map_or_else(HealthCheck::connect, |check| health_check(check)),
        servers: input.servers.iter().map(|item| server(item)).collect(),
    }
}

fn health_check(input: &HealthCheckInput) -> HealthCheck {
    let http = |path: &Located<String>| Ask::Http {
        path: path.value.clone(),
        host: input.host.clone(),
        status: input.status.value.clone(),
    };
    let anchor = |ca: &Located<ItemName>| {
        let host = input.server_name.as_ref().map(|name| name.value.clone());
        CheckTls::Verified(CheckAnchor { ca: ca.value.clone(), host })
    };
    HealthCheck {
        ask: input.path.as_ref().map_or(Ask::Connect, http),
        tls: match (input.tls, &input.ca) {
            (false, _) => CheckTls::Off,
            (true, None) => CheckTls::Unverified,
            (true, Some(ca)) => anchor(ca),
        },
        interval_seconds: input.interval_seconds.0,
        timeout_seconds: input.timeout_seconds.0,
        rise: input.rise.0,
        fall: input.fall.0,
    }
}

fn server(input: &ServerInput) -> Server {
    Server {
        name: input.name.value.clone(),
        address: input.address,
        weight: input.weight.map(|weight| weight.0),
        max_connections: input.max_connections.map(|number| number.0),
        backup: input.backup,
        send_proxy: input.send_proxy,
    }
}

fn keepalived_of(cluster: &ClusterInput, input: &KeepalivedInput, node: &NodeInput) -> Keepalived {
    let instances = input
        .instances
        .iter()
        .filter_map(|instance| vrrp_instance(cluster, instance, node))
        .collect();
    Keepalived { image: input.image.clone(), instances }
}

/// The nodes that take part in an instance, in the order of the cluster.
pub(super) fn participants<'c>(
    cluster: &'c ClusterInput,
    instance: &VrrpInstanceInput,
) -> impl Iterator<Item = &'c Located<NodeInput>> {
    cluster.nodes.iter().filter(|node| {
        let is_named = instance.peers.iter().any(|peer| peer.value == node.name.value);
        instance.priorities.contains_key(&node.role.value)
            && (instance.peers.is_empty() || is_named)
    })
}

/// The interface of `node` in whose network `address` lies, and the node's own address there.
pub(super) fn interface_towards(
    node: &NodeInput,
    address: IpAddr,
) -> Option<(&InterfaceName, Cidr)> {
    node.interfaces.iter().find_map(|interface| {
        let own = interface.addresses.iter().find(|own| own.contains(address))?;
        Some((&interface.name.value, own.value))
    })
}

fn vrrp_instance(
    cluster: &ClusterInput,
    input: &VrrpInstanceInput,
    node: &NodeInput,
) -> Option<VrrpInstance> {
    let first = input.virtual_addresses.first()?.value;
    let own_address =
        |node: &NodeInput| interface_towards(node, first).map(|(_, own)| own.address());
    let mut others =
        participants(cluster, input).filter(|other| other.name.value != node.name.value).peekable();
    others.peek()?;
    participants(cluster, input).find(|other| other.name.value == node.name.value)?;
    let (interface, own) = interface_towards(node, first)?;
    let with_prefix = |address: &Located<IpAddr>| {
        let (_, own) = interface_towards(node, address.value)?;
        ipnet::IpNet::new(address.value, own.0.prefix_len()).ok().map(Cidr)
    };
    let byte = |number: u32| u8::try_from(number).expect("read as a number up to 255");
    Some(VrrpInstance {
        name: input.name.value.clone(),
        virtual_router_id: byte(input.virtual_router_id.value.0),
        priority: byte(input.priorities.get(&node.role.value)?.value.0),
        interface: interface.clone(),
        advert_interval_seconds: byte(input.advert_interval_seconds.0),
        track_interfaces: input
            .track_interfaces
            .iter()
            .map(|name| &name.value)
            .filter(|name| *name != interface)
            .filter(|name| node.interfaces.iter().any(|own| own.name.value == **name))
            .cloned()
            .collect(),
        source: own.address(),
        peers: others.filter_map(|other| own_address(other)).collect(),
        virtual_addresses: input.virtual_addresses.iter().filter_map(with_prefix).collect(),
    })
}

fn kubelet(input: Option<&KubeletInput>, network: &Network) -> Kubelet {
    // The address that has a way out is the one that others reach the node by.
    let with_gateway = network.interfaces.iter().filter(|interface| !interface.gateways.is_empty());
    let addresses =
        with_gateway.chain(&network.interfaces).flat_map(|interface| &interface.addresses);
    let node_ip =
        addresses.map(Cidr::address).next().expect("the check found an address on every node");
    let defaults = defaults::<KubeletInput>();
    let input = input.unwrap_or(&defaults);
    Kubelet {
        node_ip,
        static_pod_directory: input.static_pod_directory.value.clone(),
        max_pods: input.max_pods.0,
        system_reserved_cpu_millicores: input.system_reserved_cpu_millicores.0,
        system_reserved_memory_mebibytes: input.system_reserved_memory_mebibytes.0,
        kube_reserved_cpu_millicores: input.kube_reserved_cpu_millicores.0,
        kube_reserved_memory_mebibytes: input.kube_reserved_memory_mebibytes.0,
        container_log_max_mebibytes: input.container_log_max_mebibytes.0,
        container_log_files: input.container_log_files.0,
        image_maximum_age_hours: input.image_maximum_age_hours.0,
        shutdown_grace_seconds: input.shutdown_grace_seconds.0,
    }
}

fn containerd(input: Option<&ContainerdInput>) -> Containerd {
    let defaults = defaults::<ContainerdInput>();
    let input = input.unwrap_or(&defaults);
    let mirror = |(registry, bases): (&Registry, &Vec<Located<String>>)| {
        (registry.to_string(), values(&[bases]))
    };
    Containerd {
        sandbox_image: input.sandbox_image.value.clone(),
        mirrors: input.mirrors.iter().map(mirror).collect(),
    }
}

/// What an empty section says: every field at its default.
fn defaults<T: crate::decode::Decode>() -> T {
    let mut report = crate::report::Report::new("defaults");
    crate::decode::document(b"{}", &mut report).expect("every field of the section has a default")
}

fn preload(input: &crate::input::PreloadInput) -> Preload {
    Preload {
        reference: input.reference.value.clone(),
        path: format!("{PRELOAD_DIRECTORY}/{}.tar", input.sha256)
            .parse()
            .expect("hex digits make a path"),
        sha256: input.sha256.clone(),
    }
}
