//! What Vault has now, as far as a cluster needs to know.

use std::collections::BTreeMap;

use basalt_model::cluster::Cluster;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use x509_parser::pem::parse_x509_pem;

use super::client::{CallError, Client};
use super::object::{Issuer, MountKind, MountSeen, Mounts, Object, prefix};
use super::wanted::{enrolment_policy, pki_mounts};

/// What was found where something is wanted, by its path or, for policies, its name.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: BTreeMap<String, Map<String, Json>>,
    pub(super) policies: BTreeMap<String, String>,
}

/// Reads the mounts and the issuers of the PKI among them.
///
/// # Errors
/// When Vault does not let them be read.
pub(super) fn mounts(client: &Client, cluster: &Cluster) -> Result<Mounts, CallError> {
    let mut mounts = Mounts {
        secrets: mounts_at(client, "sys/mounts")?,
        auth: mounts_at(client, "sys/auth")?,
        issuers: BTreeMap::new(),
    };
    for mount in pki_mounts(cluster) {
        if mounts.secrets.get(&mount).is_some_and(|seen| seen.engine == "pki") {
            let issuers = issuers(client, &mount)?;
            mounts.issuers.insert(mount, issuers);
        }
    }
    Ok(mounts)
}

fn mounts_at(client: &Client, path: &str) -> Result<BTreeMap<String, MountSeen>, CallError> {
    let found = client.read(path)?.unwrap_or_default();
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let mount = |(path, mount): (String, Json)| {
        let seen = MountSeen {
            engine: text(&mount["type"]),
            accessor: text(&mount["accessor"]),
            version: mount["options"]["version"].as_str().map(str::to_owned),
            max_lease_ttl: mount["config"]["max_lease_ttl"].as_u64().unwrap_or_default(),
        };
        (path.trim_end_matches('/').to_owned(), seen)
    };
    Ok(found.into_iter().map(mount).collect())
}

/// The issuers of a PKI mount, oldest first.
///
/// # Errors
/// When they cannot be read, or one is no certificate.
pub(super) fn issuers(client: &Client, mount: &str) -> Result<Vec<Issuer>, CallError> {
    let config = client.read(&format!("{mount}/config/issuers"))?.unwrap_or_default();
    let default = config.get("default").and_then(Json::as_str).unwrap_or_default();
    let mut found = Vec::new();
    for id in client.list(&format!("{mount}/issuers"))? {
        let path = format!("{mount}/issuer/{id}");
        let Some(issuer) = client.read(&path)? else { continue };
        let text = |name: &str| issuer.get(name).and_then(Json::as_str).unwrap_or_default();
        let senseless =
            |what: String| CallError::Senseless { method: "GET", path: path.clone(), what };
        let pem = text("certificate");
        let (_, block) = parse_x509_pem(pem.as_bytes())
            .map_err(|error| senseless(format!("it has no certificate: {error}")))?;
        let certificate = block
            .parse_x509()
            .map_err(|error| senseless(format!("it has no certificate: {error}")))?;
        let validity = certificate.validity();
        found.push(Issuer {
            is_default: id == default,
            name: text("issuer_name").to_owned(),
            pem: pem.to_owned(),
            fingerprint: hex(&Sha256::digest(&block.contents)),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            is_self_signed: certificate.issuer() == certificate.subject(),
            id,
        });
    }
    found.sort_by(|a, b| (a.not_before, &a.id).cmp(&(b.not_before, &b.id)));
    Ok(found)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what is at the places of `objects`.
///
/// # Errors
/// When Vault does not let it be read.
pub(super) fn found(
    client: &Client,
    mounts: &Mounts,
    objects: &[Object],
) -> Result<Found, CallError> {
    let mut found = Found::default();
    for object in objects {
        match object {
            Object::Entry(entry) if has(mounts, &entry.mount) => {
                if let Some(fields) = client.read(&entry.path)? {
                    found.entries.insert(entry.path.clone(), fields);
                }
            }
            Object::Policy(policy) => {
                let path = format!("sys/policies/acl/{}", policy.name);
                let fields = client.read(&path)?.unwrap_or_default();
                if let Some(text) = fields.get("policy").and_then(Json::as_str) {
                    found.policies.insert(policy.name.clone(), text.to_owned());
                }
            }
            Object::Entry(_) | Object::Mount(_) | Object::Root(_) => {}
        }
    }
    Ok(found)
}

fn has(mounts: &Mounts, (kind, path): &(MountKind, String)) -> bool {
    mounts.of(*kind).contains_key(path)
}

/// AppRoles with the cluster's prefix that no node of it has: those of nodes that are gone.
///
/// # Errors
/// When Vault does not let them be listed.
pub(super) fn left_over(
    client: &Client,
    cluster: &Cluster,
    mounts: &Mounts,
) -> Result<Vec<String>, CallError> {
    use basalt_model::node::VaultAuth;
    let identities = cluster.nodes.iter().filter_map(|node| match &node.vault.as_ref()?.auth {
        VaultAuth::Node(identity) => Some((node, identity)),
        _ => None,
    });
    let known: Vec<_> = identities.collect();
    let Some((node, identity)) = known.first() else { return Ok(Vec::new()) };
    let mount = &identity.app_role_mount;
    if !has(mounts, &(MountKind::Auth, mount.clone())) {
        return Ok(Vec::new());
    }
    let start = identity.app_role.strip_suffix(node.name.as_str()).unwrap_or_default();
    let auth = prefix(MountKind::Auth);
    let names = client.list(&format!("{auth}{mount}/role"))?;
    let is_left = |name: &String| {
        name.starts_with(start) && known.iter().all(|(_, identity)| identity.app_role != *name)
    };
    let own = enrolment_policy(cluster);
    let mut left = Vec::new();
    for name in names.into_iter().filter(is_left) {
        let path = format!("{auth}{mount}/role/{name}");
        let role = client.read(&path)?.unwrap_or_default();
        let policies = role.get("token_policies").and_then(Json::as_array);
        // The names of `lab-2` begin like those of `lab`; its policies are its own.
        let is_others = policies.is_some_and(|policies| {
            !policies.is_empty() && !policies.iter().any(|policy| *policy == *own)
        });
        if !is_others {
            left.push(path);
        }
    }
    Ok(left)
}
