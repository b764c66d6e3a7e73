//! How far each node has followed a change of the authority.

use anyhow::Result;
use basalt_model::cluster::Cluster;
use basalt_model::node::{MountReport, NodeReport};

use super::client::Client;
use super::object::Issuer;
use super::rotate::report;
use super::wanted::{certificates_of, identity};

/// What one node has said about one mount.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub(super) name: String,
    /// Whether it is to trust the mount's authorities, because it gets certificates there for others to see.
    pub(super) must_trust: bool,
    /// Absent when it has never said anything.
    pub(super) report: Option<NodeReport>,
    mount: String,
}

impl NodeState {
    fn said(&self) -> Option<&MountReport> {
        self.report.as_ref()?.mounts.get(&self.mount)
    }
}

/// The nodes that a mount signs for.
///
/// # Errors
/// When a report cannot be read.
pub(super) fn nodes(client: &Client, cluster: &Cluster, mount: &str) -> Result<Vec<NodeState>> {
    let signs_identities = identity(cluster).is_some_and(|identity| identity.pki_mount == mount);
    let mut states = Vec::new();
    for node in &cluster.nodes {
        let must_trust = certificates_of(node).any(|own| own == mount);
        if must_trust || signs_identities {
            states.push(NodeState {
                name: node.name.to_string(),
                must_trust,
                report: report(client, cluster, node)?,
                mount: mount.to_owned(),
            });
        }
    }
    Ok(states)
}

/// Why the new authority cannot sign yet.
pub(super) fn without_trust(nodes: &[NodeState], new: &Issuer) -> Vec<String> {
    let trusts =
        |node: &NodeState| node.said().is_some_and(|said| said.trusts.contains(&new.fingerprint));
    let left = nodes.iter().filter(|node| node.must_trust && !trusts(node));
    left.map(|node| match &node.report {
        Some(_) => format!("`{}` does not trust the new authority yet", node.name),
        None => never(node),
    })
    .collect()
}

/// Why the old authorities cannot go yet.
pub(super) fn with_leaves_of(nodes: &[NodeState], old: &[Issuer]) -> Vec<String> {
    let blocker = |node: &NodeState| match (&node.report, node.said()) {
        (None, _) => Some(never(node)),
        (Some(_), None) => {
            Some(format!("`{}` has not said whose certificates it uses here", node.name))
        }
        (Some(_), Some(said)) => old
            .iter()
            .any(|issuer| said.leaves.contains(&issuer.fingerprint))
            .then(|| format!("`{}` still uses a certificate of the old authority", node.name)),
    };
    nodes.iter().filter_map(blocker).collect()
}

fn never(node: &NodeState) -> String {
    format!("`{}` has never reported; is its agent running, and may it write to Vault?", node.name)
}

/// A table of the nodes with a heading; `time` writes seconds since the Unix epoch.
pub(super) fn rows(
    nodes: &[NodeState],
    known: &[(&Issuer, &'static str)],
    time: impl Fn(u64) -> String,
) -> Vec<[String; 4]> {
    let words = |fingerprints: &[String]| -> String {
        let word = |fingerprint: &String| {
            let issuer = known.iter().find(|(issuer, _)| issuer.fingerprint == *fingerprint);
            issuer.map_or("another", |(_, word)| word)
        };
        let mut words: Vec<&str> = fingerprints.iter().map(word).collect();
        words.sort_unstable();
        words.dedup();
        if words.is_empty() { "-".to_owned() } else { words.join(", ") }
    };
    let heading = ["node", "trusts", "uses", "reported"].map(str::to_owned);
    let row = |node: &NodeState| {
        let said = node.said().cloned().unwrap_or_default();
        let at = node.report.as_ref().map_or_else(|| "never".to_owned(), |report| time(report.at));
        [node.name.clone(), words(&said.trusts), words(&said.leaves), at]
    };
    std::iter::once(heading).chain(nodes.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(fingerprint: &str) -> Issuer {
        Issuer {
            id: fingerprint.to_owned(),
            name: String::new(),
            is_default: false,
            pem: String::new(),
            fingerprint: fingerprint.to_owned(),
            not_before: 0,
            not_after: 0,
            is_self_signed: true,
        }
    }

    fn node(name: &str, said: Option<(&[&str], &[&str])>) -> NodeState {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let report = said.map(|(trusts, leaves)| {
            let said = MountReport { trusts: texts(trusts), leaves: texts(leaves) };
            NodeReport { mounts: [("pki".to_owned(), said)].into(), at: 1 }
        });
        NodeState { name: name.to_owned(), must_trust: true, report, mount: "pki".to_owned() }
    }

    #[test]
    fn each_step_waits_for_every_node() {
        let nodes = [
            node("n1", Some((&["old", "new"], &["new"]))),
            node("n2", Some((&["old"], &["old"]))),
            node("n3", None),
        ];
        assert_eq!(
            without_trust(&nodes, &issuer("new")),
            [
                "`n2` does not trust the new authority yet",
                "`n3` has never reported; is its agent running, and may it write to Vault?",
            ]
        );
        assert_eq!(
            with_leaves_of(&nodes, &[issuer("old")]),
            [
                "`n2` still uses a certificate of the old authority",
                "`n3` has never reported; is its agent running, and may it write to Vault?",
            ]
        );
        assert!(with_leaves_of(&nodes[..1], &[issuer("old")]).is_empty());
        assert!(without_trust(&nodes[..1], &issuer("new")).is_empty());
        // A report about another mount says nothing about this one.
        let mut elsewhere = nodes[0].clone();
        elsewhere.mount = "other".to_owned();
        assert_eq!(with_leaves_of(&[elsewhere.clone()], &[issuer("old")]).len(), 1);
        assert_eq!(without_trust(&[elsewhere], &issuer("new")).len(), 1);
    }
}
