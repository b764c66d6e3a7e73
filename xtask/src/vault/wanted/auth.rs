//! How nodes log in: auth methods and their roles.

use std::collections::BTreeMap;

use basalt_model::cluster::Cluster;
use basalt_model::names::RoleName;
use basalt_model::node::{Node, NodeIdentity, VaultAuth};
use serde_json::{Map, Value as Json};

use super::policies::LONGEST_WAIT_SECONDS;
use super::{NONE, fields, identity};
use crate::vault::connect::vault_of;
use crate::vault::object::{Entry, Mount, MountKind, Mounts};

/// A first login is followed at once by the request for an identity.
const ENROLMENT_SECONDS: u64 = 15 * 60;
/// A node renews its token at work.
const TOKEN_SECONDS: u64 = 3600;
/// After a day it logs in anew: a removed role ends its rights by then.
const TOKEN_MAX_SECONDS: u64 = 24 * 3600;
/// The kind that can be renewed, unless the mount is told otherwise.
const TOKEN_TYPE: &str = "default";

/// The methods of one way to log in.
pub(super) fn methods(auth: &VaultAuth) -> Vec<Mount> {
    let mount = |path: &str, engine| Mount {
        kind: MountKind::Auth,
        path: path.to_owned(),
        engine,
        version: None,
        min_max_lease_ttl: None,
    };
    match auth {
        VaultAuth::Node(identity) => {
            vec![mount(&identity.app_role_mount, "approle"), mount(&identity.cert_mount, "cert")]
        }
        VaultAuth::AppRole { mount: path, .. } => vec![mount(path, "approle")],
        VaultAuth::Cert { mount: path, .. } => vec![mount(path, "cert")],
        // Which of the two it is, and whose tokens it takes, is not in the cluster's file.
        VaultAuth::Jwt { .. } | VaultAuth::Token { .. } => Vec::new(),
    }
}

/// What the cluster's names in Vault begin with.
fn prefix(cluster: &Cluster) -> String {
    let names = cluster.nodes.iter().filter_map(|node| {
        let identity = own_identity(node)?;
        identity.app_role.strip_suffix(&format!("-{}", node.name)).map(str::to_owned)
    });
    names.into_iter().next().unwrap_or_else(|| format!("basalt-{}", cluster.name))
}

fn own_identity(node: &Node) -> Option<&NodeIdentity> {
    match &node.vault.as_ref()?.auth {
        VaultAuth::Node(identity) => Some(identity),
        _ => None,
    }
}

/// Name of the policy of a role of nodes.
pub(super) fn nodes_policy(cluster: &Cluster, role: &RoleName) -> String {
    format!("{}-nodes-{role}", prefix(cluster))
}

/// Name of the policy of first logins.
pub(in crate::vault) fn enrolment_policy(cluster: &Cluster) -> String {
    format!("{}-enrolment", prefix(cluster))
}

/// Name of the policy of whoever makes secrets for them.
pub(super) fn wrap_policy(cluster: &Cluster) -> String {
    format!("{}-wrap", prefix(cluster))
}

/// Where secrets for the first login of a node are made.
pub(super) fn secret_id_path(node: &Node) -> Option<String> {
    own_identity(node).map(wrap_path)
}

/// Where secrets for the first login by this identity are made.
pub(in crate::vault) fn wrap_path(identity: &NodeIdentity) -> String {
    format!("auth/{}/role/{}/secret-id", identity.app_role_mount, identity.app_role)
}

/// The roles of all methods.
pub(super) fn roles(cluster: &Cluster, mounts: &Mounts) -> Vec<Entry> {
    let Some(identity) = identity(cluster) else {
        return shared_app_role(cluster).into_iter().flatten().collect();
    };
    let mut entries: Vec<Entry> = Vec::new();
    for own in cluster.nodes.iter().filter_map(own_identity) {
        let policies = [enrolment_policy(cluster)];
        entries.extend(app_role(&own.app_role_mount, &own.app_role, &own.role_id, &policies));
    }
    let mut by_role: BTreeMap<&RoleName, Vec<&str>> = BTreeMap::new();
    for node in &cluster.nodes {
        by_role.entry(&node.role).or_default().push(node.name.as_str());
    }
    let certificates = by_role.into_iter().filter_map(|(role, mut nodes)| {
        nodes.sort_unstable();
        let of_role = cluster.nodes.iter().find(|node| node.role == *role)?;
        let name = own_identity(of_role)?.cert_role.clone()?;
        Some(certificate_role(identity, &name, &nodes, nodes_policy(cluster, role), mounts))
    });
    entries.extend(certificates);
    entries
}

/// Whoever has a certificate of an identity with one of these names.
fn certificate_role(
    identity: &NodeIdentity,
    name: &str,
    nodes: &[&str],
    policy: String,
    mounts: &Mounts,
) -> Entry {
    let issuers = mounts.issuers.get(&identity.pki_mount).map(Vec::as_slice).unwrap_or_default();
    let waits_for = match issuers {
        [] => vec![format!("an issuer of `{}`", identity.pki_mount)],
        _ => Vec::new(),
    };
    let trusted: Vec<String> =
        issuers.iter().map(|issuer| format!("{}\n", issuer.pem.trim())).collect();
    Entry {
        path: format!("auth/{}/certs/{name}", identity.cert_mount),
        mount: (MountKind::Auth, identity.cert_mount.clone()),
        fields: fields! {
            "allowed_common_names": nodes,
            "allowed_dns_sans": NONE,
            "allowed_email_sans": NONE,
            "allowed_names": NONE,
            "allowed_organizational_units": NONE,
            "allowed_uri_sans": NONE,
            "certificate": trusted.concat(),
            "required_extensions": NONE,
            "token_explicit_max_ttl": 0,
            "token_max_ttl": TOKEN_MAX_SECONDS,
            "token_no_default_policy": true,
            "token_num_uses": 0,
            "token_period": 0,
            "token_policies": [policy],
            "token_ttl": TOKEN_SECONDS,
            "token_type": TOKEN_TYPE,
        },
        optional: &[],
        waits_for,
    }
}

/// An AppRole and its role id, which Vault has at a path of its own.
fn app_role(mount: &str, name: &str, role_id: &str, policies: &[String]) -> [Entry; 2] {
    let entry = |path: String, fields: Map<String, Json>| Entry {
        path,
        mount: (MountKind::Auth, mount.to_owned()),
        fields,
        optional: &[],
        waits_for: Vec::new(),
    };
    let role = fields! {
        "bind_secret_id": true,
        "secret_id_num_uses": 1,
        "secret_id_ttl": LONGEST_WAIT_SECONDS,
        "token_explicit_max_ttl": 0,
        "token_max_ttl": ENROLMENT_SECONDS,
        "token_no_default_policy": true,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": policies,
        "token_ttl": ENROLMENT_SECONDS,
        "token_type": TOKEN_TYPE,
    };
    let path = format!("auth/{mount}/role/{name}");
    let role_id_path = format!("{path}/role-id");
    [entry(path, role), entry(role_id_path, fields! {"role_id": role_id})]
}

/// One AppRole with the secret id in a file of each node, used again and again.
fn shared_app_role(cluster: &Cluster) -> Option<Vec<Entry>> {
    let VaultAuth::AppRole { mount, role_id, .. } = &vault_of(cluster)?.auth else { return None };
    let mut policies: Vec<String> =
        cluster.nodes.iter().map(|node| nodes_policy(cluster, &node.role)).collect();
    policies.sort();
    policies.dedup();
    let mut entries = app_role(mount, &prefix(cluster), role_id, &policies);
    for (name, value) in [
        ("secret_id_num_uses", 0),
        ("secret_id_ttl", 0),
        ("token_ttl", TOKEN_SECONDS),
        ("token_max_ttl", TOKEN_MAX_SECONDS),
    ] {
        entries[0].fields.insert(name.to_owned(), Json::from(value));
    }
    Some(entries.to_vec())
}

/// What is left to people.
pub(super) fn notes(cluster: &Cluster, notes: &mut Vec<String>) {
    let Some(vault) = vault_of(cluster) else { return };
    let (method, path) = match &vault.auth {
        VaultAuth::Node(_) => return,
        VaultAuth::AppRole { .. } => {
            notes.push(
                "all nodes share one AppRole, so each may have the certificates of all; `vault.auth.node` tells them apart".to_owned(),
            );
            return;
        }
        VaultAuth::Cert { mount, role, .. } => {
            let role = role.as_deref().unwrap_or("ROLE");
            ("its certificate role", format!("auth/{mount}/certs/{role}"))
        }
        VaultAuth::Jwt { mount, role, .. } => ("its role", format!("auth/{mount}/role/{role}")),
        VaultAuth::Token { .. } => ("the tokens you hand out", "auth/token/create".to_owned()),
    };
    let mut policies: Vec<String> =
        cluster.nodes.iter().map(|node| nodes_policy(cluster, &node.role)).collect();
    policies.sort();
    policies.dedup();
    notes.push(format!(
        "`{path}` is yours: give {method} the policies {}; nodes cannot be told apart this way, so each may have the certificates of all",
        policies.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    ));
}
