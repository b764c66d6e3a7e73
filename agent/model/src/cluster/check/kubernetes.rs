//! The cluster that nodes join: a way to it, an identity that it knows, and nothing that it would refuse later, when
//! nobody looks.

use super::vault::{mount, role_name};
use super::{Item, unique};
use crate::cluster::resolve::{LOCAL_FRONTEND, api_servers_to_join};
use crate::decode::{Located, closest};
use crate::input::{ClusterInput, KubeletPkiInput, KubernetesInput};
use crate::names::{Cidr, ItemName, LabelKey};
use crate::node::{
    BUNDLE_APPLIER_CERTIFICATE, KUBELET_CLIENT_CERTIFICATE, KUBELET_SERVING_CERTIFICATE,
};
use crate::report::{Place, Report};

/// Labels below Kubernetes' own domains that a kubelet may set; every other the NodeRestriction admission plugin of the
/// API server refuses, and the kubelet does not start with it.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>
const OPEN_LABELS: [&str; 3] = [
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Below these a kubelet may set any label.
const OPEN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Labels that the kubelet finds out by itself.
const OWN_LABELS: [&str; 3] = ["kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os"];
/// Kubernetes' own domains, with everything below.
const KUBERNETES_DOMAINS: [&str; 2] = ["kubernetes.io", "k8s.io"];

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    let Some(kubernetes) = &input.kubernetes else { return };
    unique("API server", kubernetes.servers.iter().map(Item::of), report);
    let is_known = report.is_whole("kubernetes.servers") && report.is_whole("api.servers");
    if api_servers_to_join(input, kubernetes).is_empty() && is_known {
        let path = "kubernetes.servers";
        report
            .error(report.place_of(path), path, "there is no API server to join")
            .hint("list them here or under `api.servers`");
    }
    ways(input, kubernetes, report);
    for anchor in std::iter::once(&kubernetes.ca).chain(&kubernetes.client_ca) {
        self::anchor(input, anchor, report);
    }
    identity(input, kubernetes, report);
    networks(input, kubernetes, report);
    for (key, value) in &kubernetes.labels {
        label(key, value.place, &value.path, report);
    }
    let taints = kubernetes.taints.iter().map(|taint| Item {
        key: format!("{}:{:?}", *taint.key, taint.effect),
        place: taint.place,
        path: &taint.path,
    });
    unique("taint", taints, report);
}

/// Nodes that join have a haproxy, which has a frontend for them.
fn ways(input: &ClusterInput, kubernetes: &KubernetesInput, report: &mut Report) {
    let is_known = report.is_whole("haproxy");
    let runs_haproxy = |role: &_| {
        let mut roles = input.haproxy.iter().flat_map(|haproxy| &haproxy.roles);
        roles.any(|item| item.value == *role)
    };
    for role in kubernetes.roles.iter().filter(|role| !runs_haproxy(&role.value) && is_known) {
        let message = format!(
            "nodes of the role `{}` do not run haproxy, which leads them to the API servers",
            role.value
        );
        report.error(role.place, &role.path, message).hint("add the role to `haproxy.roles`");
    }
    let frontends = input.haproxy.iter().flat_map(|haproxy| &haproxy.frontends);
    for frontend in frontends.filter(|frontend| frontend.name.as_str() == LOCAL_FRONTEND) {
        let message = format!("`{LOCAL_FRONTEND}` is the frontend for the node's own programs");
        report.error(frontend.name.place, &frontend.name.path, message).hint("choose another name");
    }
}

fn anchor(input: &ClusterInput, anchor: &Located<ItemName>, report: &mut Report) {
    let is_known = input.trust_anchors.contains_key(&anchor.value);
    if is_known || !report.is_whole("trust_anchors") || !report.is_whole(&anchor.path) {
        return;
    }
    let message = format!("there is no trust anchor `{}`", anchor.value);
    let finding = report.error(anchor.place, &anchor.path, message);
    match closest(anchor.as_str(), input.trust_anchors.keys().map(ItemName::as_str)) {
        Some(name) => finding.hint(format!("did you mean `{name}`?")),
        None => finding.hint("add it under `trust_anchors`"),
    }
}

fn identity(input: &ClusterInput, kubernetes: &KubernetesInput, report: &mut Report) {
    let identity = &kubernetes.identity;
    match (&identity.vault, &identity.bootstrap) {
        (Some(_), Some(_)) => {
            report.error(identity.place, &identity.path, ONE_IDENTITY);
        }
        (None, None) if report.is_whole(&identity.path) => {
            report.error(identity.place, &identity.path, ONE_IDENTITY);
        }
        (Some(pki), None) => self::pki(input, pki, identity.place, &identity.path, report),
        (None, _) => {}
    }
}

const ONE_IDENTITY: &str = "exactly one of `vault` and `bootstrap` is wanted";

fn pki(input: &ClusterInput, pki: &KubeletPkiInput, place: Place, path: &str, report: &mut Report) {
    mount(&pki.mount, report);
    role_name(&pki.client_role, report);
    role_name(&pki.serving_role, report);
    role_name(&pki.applier_role, report);
    // A role gives its O to whoever may ask it.
    if [&pki.client_role, &pki.serving_role].iter().any(|role| ***role == *pki.applier_role) {
        let message = format!("`{}` signs for kubelets", *pki.applier_role);
        report
            .error(pki.applier_role.place, &pki.applier_role.path, message)
            .hint("name another role: whoever it signs for may write to the cluster");
    }
    super::vault::outage(pki.survive_outage_hours.as_ref(), pki.ttl_hours.0, report);
    let Some(vault) = &input.vault else {
        if report.is_whole("vault") {
            report
                .error(place, path, "there is no Vault that could sign the certificates")
                .hint("add the section `vault`, or use `bootstrap`");
        }
        return;
    };
    let identity = vault.auth.node.as_ref();
    if identity.is_some_and(|identity| identity.pki.mount.value == pki.mount.value) {
        let message = format!("`{}` signs identities (vault.auth.node.pki.mount)", *pki.mount);
        report
            .error(pki.mount.place, &pki.mount.path, message)
            .hint("identities want a mount of their own: whoever has a certificate of it can log in as that node");
    }
    let reserved = [
        (KUBELET_CLIENT_CERTIFICATE, "of the kubelet"),
        (KUBELET_SERVING_CERTIFICATE, "of the kubelet"),
        (BUNDLE_APPLIER_CERTIFICATE, "of agents that apply the bundle"),
    ];
    for item in &vault.certificates {
        if let Some((_, whose)) = reserved.iter().find(|(name, _)| *name == item.name.as_str()) {
            let message = format!("`{}` is a certificate {whose}", *item.name);
            report
                .error(item.name.place, &item.name.path, message)
                .hint("choose another name; nodes that join get it without being told");
        }
        let (mount, role) = (item.pki_mount.as_ref(), item.pki_role.as_ref());
        let (mount, role) = (mount.unwrap_or(&vault.pki.mount), role.unwrap_or(&vault.pki.role));
        let whose = [
            (&pki.client_role, "kubelets: whatever it signs counts among `system:nodes`"),
            (&pki.serving_role, "kubelets: whatever it signs counts among `system:nodes`"),
            (
                &pki.applier_role,
                "agents that apply the bundle: whatever it signs may write to the cluster",
            ),
        ];
        let taken = whose.iter().find(|(own, _)| own.value == role.value);
        if let Some((_, whose)) = taken.filter(|_| mount.value == pki.mount.value) {
            let message =
                format!("the role `{}` of `{}` signs for {whose}", role.value, mount.value);
            report
                .error(item.name.place, &item.name.path, message)
                .hint("let another role sign it (`pki_role`)");
        }
    }
}

/// The cluster's own networks and those of the machines are not the same.
fn networks(input: &ClusterInput, kubernetes: &KubernetesInput, report: &mut Report) {
    let services = &kubernetes.service_networks;
    if !services.is_empty() && report.is_whole("kubernetes.service_networks") {
        for server in &kubernetes.cluster_dns {
            if !services.iter().any(|network| network.contains(server.value)) {
                let message = format!("`{}` is in no network of the services", server.value);
                report.error(server.place, &server.path, message);
            }
        }
    }
    for pods in &kubernetes.pod_networks {
        let overlaps =
            |of: &&Located<Cidr>| of.contains(pods.address()) || pods.contains(of.address());
        if let Some(of_services) = services.iter().find(overlaps) {
            let message = format!("`{}` overlaps with {}", pods.value, of_services.path);
            report
                .error(pods.place, &pods.path, message)
                .hint("pods and services want networks of their own");
        }
    }
    let interfaces = input.nodes.iter().flat_map(|node| &node.interfaces);
    let addresses: Vec<_> = interfaces.flat_map(|interface| &interface.addresses).collect();
    for network in services.iter().chain(&kubernetes.pod_networks) {
        if let Some(own) = addresses.iter().find(|own| network.contains(own.address())) {
            let message = format!("the address of a machine lies in it ({})", own.path);
            report
                .error(network.place, &network.path, message)
                .hint("networks of pods and services are the cluster's alone");
        }
    }
}

fn label(key: &LabelKey, place: Place, path: &str, report: &mut Report) {
    let text = key.as_str();
    let is_below = |domain: &str, above: &str| {
        domain == above || domain.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
    };
    if OWN_LABELS.contains(&text) {
        report
            .error(place, path, format!("the kubelet finds out `{key}` by itself"))
            .hint("leave it out");
        return;
    }
    let Some(domain) = key.domain() else { return };
    let is_of_kubernetes = KUBERNETES_DOMAINS.iter().any(|above| is_below(domain, above));
    let is_open =
        OPEN_LABELS.contains(&text) || OPEN_DOMAINS.iter().any(|above| is_below(domain, above));
    if is_of_kubernetes && !is_open {
        report
            .error(place, path, format!("the API server lets no kubelet set `{key}`"))
            .hint("use a domain of your own, or let somebody with rights to all nodes set it after they joined");
    }
}
