//! Other clusters in the same Vault, as far as they concern this one: who could log in as one of its nodes, and whose
//! settings are about to be overwritten.
//!
//! A role of a certificate method trusts whoever has a certificate of its authority. Of two clusters whose identities are
//! signed in one mount, `n1` of one is `n1` of the other. Whose a role is, its policy tells: the first line of those that
//! `apply` writes names the cluster.

use std::collections::BTreeSet;

use basalt_model::cluster::Cluster;
use basalt_model::node::VaultAuth;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;

use super::client::{CallError, Client};
use super::object::{Entry, MountKind, Mounts, Object, prefix};
use super::seen::{Found, hex};
use super::wanted::{self, owner};

/// What was found of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// What keeps the plan from being one.
    pub(super) conflicts: Vec<Shared>,
    /// What a person has to know.
    pub(super) notes: Vec<String>,
}

/// Node names mean two machines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{mount}` signs the identities of the cluster `{cluster}` too, and `{role}` takes {nodes}: a node of one cluster could log in as the one of the other that has its name; give each cluster a mount of its own for identities (`vault.auth.node.pki.mount`), apply, and make new first secrets for its nodes (`vault wrap`)"
)]
pub(super) struct Shared {
    mount: String,
    cluster: String,
    role: String,
    nodes: String,
}

/// A role of a certificate method that takes the identities of this cluster and is not one that is wanted.
struct Role {
    path: String,
    /// The names it takes; any when there are none.
    names: Vec<String>,
    /// The cluster that it is made for, where that can be told.
    cluster: Option<String>,
}

/// Looks for them. What may not be looked at is a note.
///
/// # Errors
/// When Vault does not answer.
pub(super) fn neighbours(
    client: &Client,
    cluster: &Cluster,
    mounts: &Mounts,
    objects: &[Object],
    found: &Found,
) -> Result<Neighbours, CallError> {
    let mut neighbours = Neighbours::default();
    let Some(identity) = wanted::identity(cluster) else { return Ok(neighbours) };
    let mount = &identity.pki_mount;
    match roles(client, cluster, mounts, mount) {
        Ok(roles) => roles.iter().for_each(|role| judge(role, mount, cluster, &mut neighbours)),
        Err(error @ CallError::Denied { .. }) => neighbours.notes.push(format!(
            "whether another cluster has its identities signed in `{mount}` is not known: {error}"
        )),
        Err(error) => return Err(error),
    }
    match signers(client, cluster, mount, objects) {
        Ok(notes) => neighbours.notes.extend(notes),
        Err(error @ CallError::Denied { .. }) => neighbours
            .notes
            .push(format!("whether another cluster uses the same PKI roles is not known: {error}")),
        Err(error) => return Err(error),
    }
    let entries = objects.iter().filter_map(|object| match object {
        Object::Entry(entry) => Some(entry),
        Object::Mount(_) | Object::Root(_) | Object::Policy(_) => None,
    });
    let strange = entries.filter_map(|entry| strangers(entry, found.entries.get(&entry.path)?));
    neighbours.notes.extend(strange.map(|path| {
        format!(
            "`{path}` takes nodes, and none of them is in this cluster: is another cluster called `{}` too? Then give this one another name, or `vault.auth.node.prefix`",
            cluster.name
        )
    }));
    Ok(neighbours)
}

/// The roles of all certificate methods that take what `mount` signs, less the wanted ones.
fn roles(
    client: &Client,
    cluster: &Cluster,
    mounts: &Mounts,
    mount: &str,
) -> Result<Vec<Role>, CallError> {
    let issuers = mounts.issuers.get(mount).map(Vec::as_slice).unwrap_or_default();
    let issuers: BTreeSet<&str> = issuers.iter().map(|it| it.fingerprint.as_str()).collect();
    let own: BTreeSet<String> = own_roles(cluster).collect();
    let auth = prefix(MountKind::Auth);
    let mut found = Vec::new();
    for method in mounts.auth.iter().filter(|(_, seen)| seen.engine == "cert").map(|(path, _)| path)
    {
        let folder = format!("{auth}{method}/certs");
        for name in client.list(&folder)? {
            let path = format!("{folder}/{name}");
            if own.contains(&path) {
                continue;
            }
            let Some(fields) = client.read(&path)? else { continue };
            let pem = fields.get("certificate").and_then(Json::as_str).unwrap_or_default();
            if !fingerprints(pem).iter().any(|trusted| issuers.contains(trusted.as_str())) {
                continue;
            }
            let mut cluster = None;
            for policy in words(&fields, "token_policies") {
                cluster = cluster.or(policy_of(client, &policy)?);
            }
            found.push(Role { path, names: words(&fields, "allowed_common_names"), cluster });
        }
    }
    Ok(found)
}

fn own_roles(cluster: &Cluster) -> impl Iterator<Item = String> {
    cluster.nodes.iter().filter_map(|node| match &node.vault.as_ref()?.auth {
        VaultAuth::Node(identity) => {
            let role = identity.cert_role.as_ref()?;
            Some(format!("{}{}/certs/{role}", prefix(MountKind::Auth), identity.cert_mount))
        }
        _ => None,
    })
}

/// The cluster that a policy is made for.
fn policy_of(client: &Client, name: &str) -> Result<Option<String>, CallError> {
    let fields = client.read(&format!("sys/policies/acl/{name}"))?.unwrap_or_default();
    let text = fields.get("policy").and_then(Json::as_str).unwrap_or_default();
    Ok(owner(text).map(str::to_owned))
}

/// What a role that takes this cluster's identities means for it.
fn judge(role: &Role, mount: &str, cluster: &Cluster, neighbours: &mut Neighbours) {
    let Role { path, names, cluster: of } = role;
    let is_taken = |node: &str| {
        names.is_empty() || names.iter().any(|name| name == node || name.contains('*'))
    };
    let nodes: Vec<&str> =
        cluster.nodes.iter().map(|node| node.name.as_str()).filter(|node| is_taken(node)).collect();
    let taken = nodes.iter().map(|node| format!("`{node}`")).collect::<Vec<_>>().join(", ");
    match of.as_deref() {
        Some(own) if own == cluster.name.as_str() => neighbours.notes.push(format!(
            "`{path}` belongs to no role of the cluster's nodes any more; delete it"
        )),
        Some(other) if nodes.is_empty() => neighbours.notes.push(format!(
            "`{mount}` signs the identities of the cluster `{other}` too (`{path}`): no two nodes may ever have one name; a mount of its own for each cluster (`vault.auth.node.pki.mount`) tells them apart"
        )),
        Some(other) => neighbours.conflicts.push(Shared {
            mount: mount.to_owned(),
            cluster: other.to_owned(),
            role: path.clone(),
            nodes: taken,
        }),
        None if nodes.is_empty() => {}
        None => neighbours.notes.push(format!(
            "`{path}` was not made for this cluster and takes identities of {taken}: look whether that is meant"
        )),
    }
}

/// Other clusters that use the PKI roles which are written here, that of identities left out.
fn signers(
    client: &Client,
    cluster: &Cluster,
    identities: &str,
    objects: &[Object],
) -> Result<Vec<String>, CallError> {
    let roles: Vec<(String, String)> = objects
        .iter()
        .filter_map(|object| match object {
            Object::Entry(Entry { path, mount: (MountKind::Secrets, mount), .. })
                if mount != identities =>
            {
                let role = path.strip_prefix(mount)?.strip_prefix("/roles/")?;
                Some((path.clone(), format!("path \"{mount}/sign/{role}\" ")))
            }
            _ => None,
        })
        .collect();
    let mut notes = Vec::new();
    for name in client.list("sys/policies/acl")? {
        let fields = client.read(&format!("sys/policies/acl/{name}"))?.unwrap_or_default();
        let text = fields.get("policy").and_then(Json::as_str).unwrap_or_default();
        let Some(other) = owner(text).filter(|other| *other != cluster.name.as_str()) else {
            continue;
        };
        for (role, _) in roles.iter().filter(|(_, block)| text.contains(block)) {
            notes.push(format!(
                "`{role}` is used by the cluster `{other}` too (policy `{name}`), and each `apply` sets it for one of the two; name another role, or another mount (`vault.pki`)"
            ));
        }
    }
    Ok(notes)
}

/// The path of a wanted role whose nodes are, as it stands in Vault, all unknown here.
fn strangers(entry: &Entry, found: &Map<String, Json>) -> Option<String> {
    let wanted = words(&entry.fields, "allowed_common_names");
    let seen = words(found, "allowed_common_names");
    let is_strange = !seen.is_empty() && !seen.iter().any(|name| wanted.contains(name));
    is_strange.then(|| entry.path.clone())
}

/// A list as Vault has it: of texts, or one text with commas.
fn words(fields: &Map<String, Json>, name: &str) -> Vec<String> {
    match fields.get(name) {
        Some(Json::Array(items)) => {
            items.iter().filter_map(Json::as_str).map(str::to_owned).collect()
        }
        Some(Json::String(text)) => {
            text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// SHA-256 of each certificate.
fn fingerprints(pem: &str) -> Vec<String> {
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    blocks.map(|block| hex(&Sha256::digest(&block.contents))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], of: Option<&str>, conflicts: usize, notes: &[&str]) {
        let lab = include_str!("../../../tests/clusters/lab/cluster.yaml");
        let (cluster, _) = Cluster::parse("f", lab.as_bytes()).unwrap();
        let role = Role {
            path: "auth/cert/certs/x".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            cluster: of.map(str::to_owned),
        };
        let mut neighbours = Neighbours::default();
        judge(&role, "pki/ids", &cluster, &mut neighbours);
        assert_eq!(neighbours.conflicts.len(), conflicts, "{neighbours:?}");
        assert_eq!(neighbours.notes.len(), notes.len(), "{neighbours:?}");
        for (note, expected) in neighbours.notes.iter().zip(notes) {
            assert!(note.contains(expected), "{note}");
        }
    }

    #[test]
    fn whoever_takes_our_identities_is_somebody() {
        check(&["n1", "n9"], Some("other"), 1, &[]);
        check(&[], Some("other"), 1, &[]);
        check(&["n*"], Some("other"), 1, &[]);
        check(&["m1"], Some("other"), 0, &["no two nodes may ever have one name"]);
        check(&["n1"], Some("lab"), 0, &["belongs to no role of the cluster's nodes any more"]);
        check(&["n1", "n3"], None, 0, &["takes identities of `n1`, `n3`: look whether"]);
        check(&["m1"], None, 0, &[]);
    }
}
