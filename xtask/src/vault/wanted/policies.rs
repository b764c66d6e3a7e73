//! Policies: what a node may ask once it has logged in.

use std::collections::{BTreeMap, BTreeSet};

use basalt_model::cluster::Cluster;
use basalt_model::names::RoleName;
use basalt_model::node::{Node, REPORT_MOUNT};

use super::templates::Secrets;
use super::{auth, identity, node_name, pki};
use crate::vault::object::{Mounts, Policy};

/// What every token needs for its own life.
const SELF: [(&str, Right); 3] = [
    ("auth/token/lookup-self", Right::Read),
    ("auth/token/renew-self", Right::Update),
    ("auth/token/revoke-self", Right::Update),
];

/// How long what `wrap` makes may wait for its node, at most: a week.
pub(in crate::vault) const LONGEST_WAIT_SECONDS: u64 = 7 * 24 * 3600;

/// The secrets that nodes render; says where a template does not tell.
pub(super) fn secrets(cluster: &Cluster, notes: &mut Vec<String>) -> Secrets {
    let mut all = Secrets::default();
    cluster.nodes.iter().for_each(|node| find(node, &mut all));
    for tag in &all.unclear {
        notes.push(format!(
            "a template does not say in so many words which secret it reads: `{tag}`; let the nodes read it by a policy of your own"
        ));
    }
    all
}

fn find(node: &Node, secrets: &mut Secrets) {
    for file in node.vault.iter().flat_map(|vault| &vault.secrets) {
        secrets.find_in_jinja(&file.template);
    }
    for template in node.vault_agent.iter().flat_map(|agent| &agent.templates) {
        secrets.find_in_vault_agent(&template.contents);
    }
}

/// All policies of a cluster.
pub(super) fn policies(cluster: &Cluster, mounts: &Mounts) -> Vec<Policy> {
    let mut by_role: BTreeMap<&RoleName, Vec<&Node>> = BTreeMap::new();
    for node in cluster.nodes.iter().filter(|node| node.vault.is_some()) {
        by_role.entry(&node.role).or_default().push(node);
    }
    let of_nodes = by_role.into_iter().map(|(role, nodes)| of_role(cluster, role, &nodes, mounts));
    let Some(identity) = identity(cluster) else { return of_nodes.collect() };
    let sign = format!("{}/sign/{}", identity.pki_mount, identity.pki_role);
    let enrolment = Policy {
        name: auth::enrolment_policy(cluster),
        text: text(
            &format!("The first login of a node of the cluster `{}`", cluster.name),
            [(sign, Right::Sign)],
        ),
        waits_for: Vec::new(),
    };
    let paths = cluster.nodes.iter().filter_map(auth::secret_id_path);
    let wrap = Policy {
        name: auth::wrap_policy(cluster),
        text: text(
            &format!(
                "Whoever makes secrets for first logins of the cluster `{}`: wrapped ones alone",
                cluster.name
            ),
            paths.map(|path| (path, Right::Wrap)),
        ),
        waits_for: Vec::new(),
    };
    of_nodes.chain([enrolment, wrap]).collect()
}

fn of_role(cluster: &Cluster, role: &RoleName, nodes: &[&Node], mounts: &Mounts) -> Policy {
    let mut waits_for = Vec::new();
    let mut paths: BTreeSet<(String, Right)> = BTreeSet::new();
    let mut secrets = Secrets::default();
    for node in nodes {
        find(node, &mut secrets);
    }
    paths.extend(secrets.paths.into_iter().map(|path| (path, Right::Read)));
    let of_role = pki::asked(cluster).filter(|(node, ..)| node.role == *role);
    for (_, (mount, role), _) in of_role {
        paths.insert((format!("{mount}/sign/{role}"), Right::Sign));
    }
    if let Some(identity) = identity(cluster) {
        let sign = format!("{}/sign/{}", identity.pki_mount, identity.pki_role);
        paths.insert((sign, Right::Sign));
        let name = node_name(identity, mounts, &mut waits_for);
        let report = format!("{REPORT_MOUNT}/data/{}/nodes/{name}", cluster.name);
        paths.insert((report, Right::Report));
    }
    // What vault-agent reads may have a lease.
    if nodes.iter().any(|node| node.vault_agent.is_some()) {
        paths.insert(("sys/leases/renew".to_owned(), Right::Update));
    }
    Policy {
        name: auth::nodes_policy(cluster, role),
        text: text(&format!("Nodes of the role `{role}` of the cluster `{}`", cluster.name), paths),
        waits_for,
    }
}

/// What may be done at a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Read,
    Update,
    /// Writes a report, the first one included.
    Report,
    /// Has a certificate signed.
    Sign,
    /// Makes what only ever leaves Vault wrapped.
    Wrap,
}

impl Right {
    /// What the block of a path says.
    fn lines(self) -> String {
        let capabilities = match self {
            Right::Read => "\"read\"",
            Right::Update | Right::Sign | Right::Wrap => "\"update\"",
            Right::Report => "\"create\", \"update\"",
        };
        let limits = match self {
            Right::Read | Right::Update | Right::Report => String::new(),
            // A date of the node's own goes before the longest life that the role gives.
            Right::Sign => {
                "  denied_parameters = {\n    \"not_after\" = []\n    \"not_before\" = []\n  }\n"
                    .to_owned()
            }
            Right::Wrap => format!(
                "  min_wrapping_ttl = \"1s\"\n  max_wrapping_ttl = \"{LONGEST_WAIT_SECONDS}s\"\n"
            ),
        };
        format!("  capabilities = [{capabilities}]\n{limits}")
    }
}

/// A policy in HCL.
fn text(title: &str, paths: impl IntoIterator<Item = (String, Right)>) -> String {
    let own = SELF.map(|(path, right)| (path.to_owned(), right));
    let blocks = paths
        .into_iter()
        .chain(own)
        .map(|(path, right)| format!("\npath \"{path}\" {{\n{}}}\n", right.lines()));
    format!("# {title}{MADE_BY}\n{}", blocks.collect::<String>())
}

/// How the first line of each policy ends. The title before it names the cluster.
const MADE_BY: &str = ". Made by `cargo xtask vault apply` from cluster.yaml.";

/// The cluster that a policy was made for; `None` for one that was not made here.
pub(in crate::vault) fn owner(text: &str) -> Option<&str> {
    let title = text.trim_start().lines().next()?.strip_suffix(MADE_BY)?;
    let (_, named) = title.rsplit_once("of the cluster `")?;
    named.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_say_whose_they_are() {
        let lab = include_str!("../../../../tests/clusters/lab/cluster.yaml");
        let (cluster, _) = Cluster::parse("f", lab.as_bytes()).unwrap();
        let policies = policies(&cluster, &Mounts::default());
        assert_eq!(policies.len(), 3);
        for policy in policies {
            assert_eq!(owner(&policy.text), Some("lab"), "{}", policy.text);
        }
        assert_eq!(owner("# Nodes of the cluster `lab`\npath \"a\" {}"), None);
        assert_eq!(owner(""), None);
    }
}
