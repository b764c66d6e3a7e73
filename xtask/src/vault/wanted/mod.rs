//! What Vault has to have for a cluster: decided from the cluster and from what mounts are called there.
//!
//! Each node gets the least that works. Its rights come from two roles: an AppRole of its own, which may ask for an
//! identity with the node's name, and the certificate role of its role of nodes, which may ask for the certificates and
//! secrets of that role. What it may be called follows from the identity in both cases, by templates that Vault fills
//! in: a PKI role has the node's name as `{{identity…}}`, so that one role serves all nodes and none gets another's name.

mod auth;
mod pki;
mod policies;
mod templates;

use basalt_model::cluster::Cluster;
use basalt_model::node::{Node, NodeIdentity, REPORT_MOUNT, VaultAuth};

pub(super) use self::auth::{enrolment_policy, wrap_path};
pub(super) use self::pki::ROOT_HOURS;
pub(super) use self::policies::{LONGEST_WAIT_SECONDS, owner};
use super::connect::vault_of;
use super::object::{Mount, MountKind, Mounts, Object, Root};

/// What Vault is to have, in the order in which it is made, and what a person has to know.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) objects: Vec<Object>,
    pub(super) notes: Vec<String>,
}

/// The mounts of PKI engines that a cluster needs, that of identities last.
pub(super) fn pki_mounts(cluster: &Cluster) -> Vec<String> {
    let vaults = || cluster.nodes.iter().filter_map(|node| node.vault.as_ref());
    let mut mounts: Vec<String> = vaults()
        .flat_map(|vault| {
            vault
                .certificates
                .iter()
                .map(|item| item.pki_mount.clone().unwrap_or_else(|| vault.pki_mount.clone()))
        })
        .collect();
    mounts.sort();
    mounts.dedup();
    mounts.extend(identity(cluster).map(|identity| identity.pki_mount.clone()));
    mounts
}

/// How the nodes of a cluster earn their identity, as one of them is told; `None` when they log in otherwise.
pub(super) fn identity(cluster: &Cluster) -> Option<&NodeIdentity> {
    match &vault_of(cluster)?.auth {
        VaultAuth::Node(identity) => Some(identity),
        _ => None,
    }
}

/// The PKI mounts that sign certificates of a node.
pub(super) fn certificates_of(node: &Node) -> impl Iterator<Item = &str> {
    node.vault.iter().flat_map(|vault| {
        let own = vault.certificates.iter().map(|item| item.pki_mount.as_ref());
        own.map(|own| own.unwrap_or(&vault.pki_mount).as_str())
    })
}

/// Decides it.
pub(super) fn wanted(cluster: &Cluster, mounts: &Mounts) -> Wanted {
    let mut wanted = Wanted::default();
    let Some(vault) = vault_of(cluster) else { return wanted };
    let identity = identity(cluster);
    let secrets = policies::secrets(cluster, &mut wanted.notes);
    for mount in pki_mounts(cluster) {
        wanted.objects.push(Object::Mount(Mount {
            kind: MountKind::Secrets,
            min_max_lease_ttl: Some(pki::longest_life(cluster, &mount)),
            path: mount,
            engine: "pki",
            version: None,
        }));
    }
    let reports = identity.map(|_| REPORT_MOUNT.to_owned());
    for path in secrets.kv_mounts.iter().cloned().chain(reports) {
        wanted.objects.push(Object::Mount(Mount {
            kind: MountKind::Secrets,
            path,
            engine: "kv",
            version: Some("2"),
            min_max_lease_ttl: None,
        }));
    }
    wanted.objects.extend(auth::methods(&vault.auth).into_iter().map(Object::Mount));
    for mount in pki_mounts(cluster) {
        let common_name = format!("{} {mount} root", cluster.name);
        wanted.objects.push(Object::Root(Root { mount, common_name }));
    }
    wanted.objects.extend(pki::roles(cluster, mounts).into_iter().map(Object::Entry));
    wanted.objects.extend(policies::policies(cluster, mounts).into_iter().map(Object::Policy));
    wanted.objects.extend(auth::roles(cluster, mounts).into_iter().map(Object::Entry));
    auth::notes(cluster, &mut wanted.notes);
    wanted
}

/// Names of nodes that log in with what all share cannot be told apart by Vault.
fn is_known_by_name(auth: &VaultAuth) -> bool {
    matches!(auth, VaultAuth::Node(_))
}

/// What Vault fills in for a node that logged in with its certificate: the common name of that.
fn node_name(identity: &NodeIdentity, mounts: &Mounts, waits: &mut Vec<String>) -> String {
    let accessor = accessor(&identity.cert_mount, mounts, waits);
    format!("{{{{identity.entity.aliases.{accessor}.name}}}}")
}

/// What Vault fills in at the first login of a node: what `wrap` said about the secret.
fn enrolling_name(identity: &NodeIdentity, mounts: &Mounts, waits: &mut Vec<String>) -> String {
    let accessor = accessor(&identity.app_role_mount, mounts, waits);
    format!("{{{{identity.entity.aliases.{accessor}.metadata.node}}}}")
}

fn accessor<'m>(mount: &str, mounts: &'m Mounts, waits: &mut Vec<String>) -> &'m str {
    mounts.accessor(mount).unwrap_or_else(|| {
        waits.push(format!("the accessor of `auth/{mount}`"));
        "ACCESSOR"
    })
}

/// An empty list.
const NONE: [&str; 0] = [];

/// Rows of `{…}` for [`serde_json::Map`].
macro_rules! fields {
    ($($name:literal: $value:expr),* $(,)?) => {{
        let mut fields = serde_json::Map::new();
        $(fields.insert($name.to_owned(), serde_json::json!($value));)*
        fields
    }};
}
use fields;
