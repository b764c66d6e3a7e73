//! Roles that sign: what each allows is what `cluster.yaml` asks for, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use basalt_model::cluster::Cluster;
use basalt_model::names::Host;
use basalt_model::node::{Certificate, KeyKind, KeyUsage, Node, NodeIdentity, Vault};
use serde_json::{Map, Value as Json, json};

use super::{NONE, enrolling_name, fields, identity, is_known_by_name, node_name};
use crate::vault::object::{Entry, MountKind, Mounts};

/// What a role has to allow.
struct Needs {
    /// The same for every node that uses the role.
    names: BTreeSet<String>,
    /// Filled in by Vault.
    templates: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    /// Groups of Kubernetes that whoever the role signs for is in.
    organizations: BTreeSet<&'static str>,
    /// Whether it signs for users of Kubernetes, whose names are no host names.
    signs_for_users: bool,
    keys: BTreeSet<(&'static str, u32)>,
    usages: BTreeSet<KeyUsage>,
    hours: u32,
    waits_for: Vec<String>,
}

impl Needs {
    fn new() -> Needs {
        Needs {
            names: BTreeSet::new(),
            templates: BTreeSet::new(),
            addresses: BTreeSet::new(),
            organizations: BTreeSet::new(),
            signs_for_users: false,
            keys: BTreeSet::new(),
            usages: BTreeSet::new(),
            hours: 0,
            waits_for: Vec::new(),
        }
    }
}

/// What a root that signs these lives for, in seconds, is ten years; no lease is longer.
pub(in crate::vault) const ROOT_HOURS: u32 = 87_600;

/// Seconds of the longest life that is asked of a mount.
pub(super) fn longest_life(cluster: &Cluster, mount: &str) -> u64 {
    let of_identity = identity(cluster).filter(|identity| identity.pki_mount == mount);
    let certificates = asked(cluster).filter(|(_, (own, _), _)| own == mount);
    let hours = certificates.map(|(_, _, item)| item.ttl_hours);
    let longest = hours.chain(of_identity.map(|identity| identity.ttl_hours)).max();
    seconds(longest.unwrap_or_default().max(ROOT_HOURS))
}

fn seconds(hours: u32) -> u64 {
    u64::from(hours) * 3600
}

/// Every certificate of every node, with the mount and the role that sign it.
pub(super) fn asked(
    cluster: &Cluster,
) -> impl Iterator<Item = (&Node, (String, String), &Certificate)> {
    let vaults = cluster.nodes.iter().filter_map(|node| Some((node, node.vault.as_ref()?)));
    vaults.flat_map(|(node, vault)| {
        vault.certificates.iter().map(move |item| (node, signer(vault, item), item))
    })
}

/// The mount and the role that sign a certificate.
fn signer(vault: &Vault, item: &Certificate) -> (String, String) {
    let mount = item.pki_mount.as_ref().unwrap_or(&vault.pki_mount);
    let role = item.pki_role.as_ref().unwrap_or(&vault.pki_role);
    (mount.clone(), role.clone())
}

/// The roles of all mounts.
pub(super) fn roles(cluster: &Cluster, mounts: &Mounts) -> Vec<Entry> {
    let mut roles: BTreeMap<(String, String), Needs> = BTreeMap::new();
    for (node, signer, item) in asked(cluster) {
        let needs = roles.entry(signer).or_insert_with(Needs::new);
        add(needs, cluster, node, item, mounts);
    }
    let certificates = roles.into_iter().map(|((mount, role), needs)| entry(&mount, &role, &needs));
    certificates.chain(identity(cluster).map(|identity| identity_role(identity, mounts))).collect()
}

fn add(needs: &mut Needs, cluster: &Cluster, node: &Node, item: &Certificate, mounts: &Mounts) {
    let common_name = item.common_name.parse::<Host>().ok();
    if common_name.is_none() {
        user(needs, cluster, node, item, mounts);
    }
    needs.organizations.extend(item.organization());
    for host in common_name.iter().chain(&item.subject_alternative_names) {
        let is_own = host.as_str() == node.name.as_str();
        let told_apart = node.vault.as_ref().filter(|vault| is_known_by_name(&vault.auth));
        match (host.ip(), is_own && told_apart.is_some(), identity(cluster)) {
            (Some(address), ..) => drop(needs.addresses.insert(address)),
            (None, true, Some(identity)) => {
                let template = node_name(identity, mounts, &mut needs.waits_for);
                needs.templates.insert(template);
            }
            (None, ..) => drop(needs.names.insert(host.to_string())),
        }
    }
    // An address as the common name is looked up among the names.
    if let Some(address) = common_name.and_then(|host| host.ip()) {
        needs.names.insert(address.to_string());
    }
    needs.keys.insert(key(item.key));
    needs.usages.extend(&item.usages);
    needs.hours = needs.hours.max(item.ttl_hours);
}

/// The name of a user of Kubernetes, as `system:node:NODE`: one role serves all nodes, and none gets another's name.
fn user(needs: &mut Needs, cluster: &Cluster, node: &Node, item: &Certificate, mounts: &Mounts) {
    needs.signs_for_users = true;
    let told_apart = node.vault.as_ref().filter(|vault| is_known_by_name(&vault.auth));
    let prefix = item.common_name.strip_suffix(node.name.as_str());
    match (prefix, told_apart.and(identity(cluster))) {
        (Some(prefix), Some(identity)) => {
            let name = node_name(identity, mounts, &mut needs.waits_for);
            needs.templates.insert(format!("{prefix}{name}"));
        }
        _ => drop(needs.names.insert(item.common_name.clone())),
    }
}

/// In the words of a PKI role.
fn key(kind: KeyKind) -> (&'static str, u32) {
    match kind {
        KeyKind::EcdsaP256 => ("ec", 256),
        KeyKind::EcdsaP384 => ("ec", 384),
        KeyKind::Rsa2048 => ("rsa", 2048),
        KeyKind::Rsa3072 => ("rsa", 3072),
        KeyKind::Rsa4096 => ("rsa", 4096),
    }
}

fn identity_role(identity: &NodeIdentity, mounts: &Mounts) -> Entry {
    let mut needs = Needs::new();
    let mut waits = Vec::new();
    needs.templates.insert(enrolling_name(identity, mounts, &mut waits));
    needs.templates.insert(node_name(identity, mounts, &mut waits));
    needs.waits_for = waits;
    needs.keys.insert(key(KeyKind::EcdsaP256));
    needs.usages.insert(KeyUsage::Client);
    needs.hours = identity.ttl_hours;
    entry(&identity.pki_mount, &identity.pki_role, &needs)
}

/// Fields that one of the two servers does not have.
const OPTIONAL: [&str; 5] = [
    "allowed_ip_sans_cidr",
    "allow_globs_in_identity_templates",
    "allowed_user_ids",
    "not_after_bound",
    "not_before_bound",
];

fn entry(mount: &str, role: &str, needs: &Needs) -> Entry {
    let domains: Vec<&String> = needs.templates.iter().chain(&needs.names).collect();
    let kinds: BTreeSet<&str> = needs.keys.iter().map(|(kind, _)| *kind).collect();
    // The least that is asked for; a key with more bits is fine as well.
    let (key_type, key_bits) = match needs.keys.first() {
        Some((kind, bits)) if kinds.len() == 1 => (*kind, *bits),
        _ => ("any", 0),
    };
    let key_usage: Json = match key_type {
        "ec" => json!(["DigitalSignature"]),
        _ => json!(["DigitalSignature", "KeyEncipherment"]),
    };
    let networks: Vec<String> = needs.addresses.iter().map(network).collect();
    let ttl = seconds(needs.hours);
    // Everything that widens a role is written: most defaults are on.
    let fields: Map<String, Json> = fields! {
        "allow_any_name": false,
        "allow_bare_domains": true,
        "allow_glob_domains": false,
        "allow_globs_in_identity_templates": false,
        "allow_ip_sans": !networks.is_empty(),
        "allow_localhost": false,
        "allow_subdomains": false,
        "allow_token_displayname": false,
        "allow_wildcard_certificates": false,
        "allowed_domains": domains,
        "allowed_domains_template": !needs.templates.is_empty(),
        "allowed_ip_sans_cidr": networks,
        "allowed_other_sans": NONE,
        "allowed_serial_numbers": NONE,
        "allowed_uri_sans": NONE,
        "allowed_uri_sans_template": false,
        "allowed_user_ids": NONE,
        "basic_constraints_valid_for_non_ca": true,
        "client_flag": needs.usages.contains(&KeyUsage::Client),
        // `disabled` would let a role sign any common name.
        "cn_validations": ["hostname"],
        "code_signing_flag": false,
        "country": NONE,
        "email_protection_flag": false,
        "enforce_hostnames": !needs.signs_for_users,
        "ext_key_usage": NONE,
        "ext_key_usage_oids": NONE,
        "issuer_ref": "default",
        "key_bits": key_bits,
        "key_type": key_type,
        "key_usage": key_usage,
        "max_ttl": ttl,
        // A date goes before `max_ttl`, whether it is the role's or that of whoever asks.
        "not_after": "",
        "not_after_bound": "forbid",
        "not_before_bound": "forbid",
        "organization": needs.organizations,
        "ou": NONE,
        "policy_identifiers": NONE,
        "require_cn": true,
        "server_flag": needs.usages.contains(&KeyUsage::Server),
        "ttl": ttl,
        "use_csr_common_name": true,
        "use_csr_sans": true,
    };
    let mut waits_for = needs.waits_for.clone();
    waits_for.sort();
    waits_for.dedup();
    Entry {
        path: format!("{mount}/roles/{role}"),
        mount: (MountKind::Secrets, mount.to_owned()),
        fields,
        optional: &OPTIONAL,
        waits_for,
    }
}

/// One address as a network.
fn network(address: &IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
