//! Nodes that join, for tests.

use std::collections::BTreeMap;

use basalt_model::cluster::Cluster;
use basalt_model::node::{
    Certificate, CertificateLayout, HandOff, KeyKind, KeyUsage, KubeletIdentity, Kubernetes, Node,
    Taint, TaintEffect,
};

/// A node of the lab that joins by certificates from Vault.
pub(crate) fn joining() -> Node {
    let text = include_str!("../../../tests/clusters/lab/cluster.yaml");
    let (cluster, _) = Cluster::parse("cluster.yaml", text.as_bytes()).unwrap();
    let mut node = cluster.node("n1").unwrap().clone();
    let label = |(key, value): (&str, &str)| (key.parse().unwrap(), value.parse().unwrap());
    node.kubernetes = Some(Kubernetes {
        servers: node.api.servers.clone(),
        server_name: node.api.host.clone(),
        local_port: 7445,
        ca: "cluster".parse().unwrap(),
        client_ca: "clients".parse().unwrap(),
        cluster_domain: "cluster.local".parse().unwrap(),
        cluster_dns: vec!["10.96.0.10".parse().unwrap()],
        labels: BTreeMap::from(
            [("lab.example/rack", "r1"), ("topology.kubernetes.io/zone", "")].map(label),
        ),
        taints: vec![Taint {
            key: "lab.example/only".parse().unwrap(),
            value: Some("yes".parse().unwrap()),
            effect: TaintEffect::NoSchedule,
        }],
        identity: KubeletIdentity::Vault,
        hand_off: HandOff::Automatic,
        deadline_seconds: 120,
        drain_seconds: 300,
    });
    let certificates = [
        certificate("kubelet-client", KeyUsage::Client),
        certificate("kubelet-serving", KeyUsage::Server),
    ];
    node.vault.as_mut().unwrap().certificates.extend(certificates);
    node
}

fn certificate(name: &str, usage: KeyUsage) -> Certificate {
    Certificate {
        name: name.parse().unwrap(),
        pki_mount: None,
        pki_role: None,
        common_name: "system:node:n1".to_owned(),
        subject_alternative_names: Vec::new(),
        key: KeyKind::EcdsaP256,
        usages: vec![usage],
        ttl_hours: 168,
        survive_outage_hours: 84,
        activation: None,
        directory: format!("/var/lib/basalt/certificates/{name}").parse().unwrap(),
        layouts: vec![CertificateLayout::Combined],
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: "0600".parse().unwrap(),
        reload: Vec::new(),
        prove: Vec::new(),
    }
}

/// A node of the lab that joins by a bootstrap token.
pub(crate) fn bootstrapping() -> Node {
    let mut node = joining();
    let token_file = "/var/lib/basalt/enrolment/bootstrap-token".parse().unwrap();
    node.kubernetes.as_mut().unwrap().identity = KubeletIdentity::Bootstrap { token_file };
    node
}
