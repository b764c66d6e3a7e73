//! The cluster that a node joins, and the certificates it takes.

use super::port;
use super::vault::CERTIFICATE_DIRECTORY;
use crate::decode::Located;
use crate::input::{ClusterInput, KubeletPkiInput, KubernetesInput, TaintInput};
use crate::names::{Endpoint, Host, ItemName, LabelKey, LabelValue, RoleName};
use crate::node::{
    BUNDLE_APPLIER_CERTIFICATE, Certificate, CertificateLayout, CheckAnchor, CheckTls, Frontend,
    HealthCheck, KUBELET_CLIENT_CERTIFICATE, KUBELET_SERVING_CERTIFICATE, KeyKind, KeyUsage,
    KubeletIdentity, Kubernetes, Network, ProxyMode, Server, Taint,
};

/// The frontend for the node's own programs.
pub(in crate::cluster) const LOCAL_FRONTEND: &str = "kubernetes-api-local";

pub(super) fn kubernetes(cluster: &ClusterInput, input: &KubernetesInput) -> Kubernetes {
    let identity = match &input.identity.bootstrap {
        Some(bootstrap) => {
            KubeletIdentity::Bootstrap { token_file: bootstrap.token_file.value.clone() }
        }
        None => KubeletIdentity::Vault,
    };
    let taint = |taint: &Located<TaintInput>| Taint {
        key: taint.key.value.clone(),
        value: taint.value.value.clone(),
        effect: taint.effect,
    };
    let label =
        |(key, value): (&LabelKey, &Located<LabelValue>)| (key.clone(), value.value.clone());
    Kubernetes {
        servers: servers(cluster, input),
        server_name: input.server_name.clone().unwrap_or_else(|| cluster.api.host.clone()),
        local_port: port(input.local_port.value.0),
        ca: input.ca.value.clone(),
        client_ca: input.client_ca.as_ref().unwrap_or(&input.ca).value.clone(),
        cluster_domain: input.cluster_domain.clone(),
        cluster_dns: input.cluster_dns.iter().map(|address| address.value).collect(),
        labels: input.labels.iter().map(label).collect(),
        taints: input.taints.iter().map(taint).collect(),
        identity,
        hand_off: input.hand_off,
        deadline_seconds: input.deadline_seconds.0,
        drain_seconds: input.drain_seconds.0,
    }
}

/// The API servers of the cluster to join.
pub(in crate::cluster) fn servers(
    cluster: &ClusterInput,
    input: &KubernetesInput,
) -> Vec<Endpoint> {
    let own = &input.servers;
    let servers = if own.is_empty() { &cluster.api.servers } else { own };
    servers.iter().map(|server| server.value).collect()
}

/// Whether nodes of a role apply the bundle with a certificate of their own.
pub(super) fn has_applier(cluster: &ClusterInput, role: &RoleName) -> bool {
    cluster.bundle.as_ref().is_some_and(|bundle| {
        bundle.kubeconfig.is_none() && bundle.roles.iter().any(|item| item.value == *role)
    })
}

/// The certificates of the kubelet, which Vault signs like any other, and that of an agent that applies the bundle. One
/// file holds certificate and key, so that one rename changes both.
pub(super) fn certificates(
    cluster: &ClusterInput,
    input: &KubeletPkiInput,
    node: &crate::input::NodeInput,
    network: &Network,
) -> Vec<Certificate> {
    let host = |text: String| text.parse::<Host>().expect("node names and addresses are hosts");
    let addresses = network.interfaces.iter().flat_map(|interface| &interface.addresses);
    let addresses = addresses.map(|address| host(address.address().to_string()));
    let names = std::iter::once(host(node.name.to_string())).chain(addresses).collect();
    let survive_outage_hours =
        input.survive_outage_hours.as_ref().map_or(input.ttl_hours.0 / 2, |hours| hours.value.0);
    let kubelet = format!("system:node:{}", *node.name);
    let certificate =
        |name: &str, role: &Located<String>, common_name: &str, usage, names| Certificate {
            name: name.parse().expect("a label"),
            pki_mount: Some(input.mount.value.clone()),
            pki_role: Some(role.value.clone()),
            common_name: common_name.to_owned(),
            subject_alternative_names: names,
            key: KeyKind::EcdsaP256,
            usages: vec![usage],
            ttl_hours: input.ttl_hours.0,
            survive_outage_hours,
            activation: None,
            directory: format!("{CERTIFICATE_DIRECTORY}/{name}").parse().expect("a path"),
            layouts: vec![CertificateLayout::Combined],
            owner: "root".to_owned(),
            group: "root".to_owned(),
            mode: "0600".parse().expect("a file mode"),
            // The kubelet takes new files by itself; whether it did is looked at where the node joins.
            reload: Vec::new(),
            prove: Vec::new(),
        };
    let (client, serving) = (KeyUsage::Client, KeyUsage::Server);
    let (client_role, serving_role) = (&input.client_role, &input.serving_role);
    let mut certificates = vec![
        certificate(KUBELET_CLIENT_CERTIFICATE, client_role, &kubelet, client, Vec::new()),
        certificate(KUBELET_SERVING_CERTIFICATE, serving_role, &kubelet, serving, names),
    ];
    if has_applier(cluster, &node.role) {
        let agent = format!("basalt:agent:{}", *node.name);
        let (name, role) = (BUNDLE_APPLIER_CERTIFICATE, &input.applier_role);
        certificates.push(certificate(name, role, &agent, client, Vec::new()));
    }
    certificates
}

/// Where programs of the node reach an API server that is ready. Nothing of the node needs the virtual address.
pub(in crate::cluster) fn frontend(cluster: &ClusterInput, input: &KubernetesInput) -> Frontend {
    let name = |text: String| text.parse::<ItemName>().expect("a label");
    let server = |(index, server)| Server::new(name(format!("api-{}", index + 1)), server);
    let host = input.server_name.clone().unwrap_or_else(|| cluster.api.host.clone());
    let anchor = CheckAnchor { ca: input.ca.value.clone(), host: Some(host) };
    Frontend {
        name: name(LOCAL_FRONTEND.to_owned()),
        binds: vec![Endpoint(([127, 0, 0, 1], port(input.local_port.value.0)).into())],
        mode: ProxyMode::Tcp,
        certificate: None,
        accept_proxy: false,
        max_connections: None,
        max_connections_per_second: None,
        rules: Vec::new(),
        balance: super::balance(ProxyMode::Tcp),
        server_tls: None,
        // Whoever answers has to be an API server of this cluster: the kubelet is to be led to no other.
        check: HealthCheck {
            tls: CheckTls::Verified(anchor),
            ..HealthCheck::http(super::API_READY_PATH)
        },
        servers: servers(cluster, input).into_iter().enumerate().map(server).collect(),
    }
}
