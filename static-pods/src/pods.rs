//! The pods of a node, one file each: what runs, as a manifest, and its config as text.

use basalt_model::node::Node;

use crate::Finding;
use crate::manifest::Capability;
use crate::parts::{Draft, Findings};

pub(crate) mod haproxy;
pub(crate) mod keepalived;
pub(crate) mod own;
pub(crate) mod vault_agent;

/// The capabilities that our own pods may add, by their names.
pub(crate) fn capabilities() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let names = |of: &[Capability]| of.iter().map(|capability| capability.name()).collect();
    [
        ("haproxy", names(&haproxy::ALLOWED_CAPABILITIES)),
        ("keepalived", names(&keepalived::CAPABILITIES)),
        ("vault-agent", names(&vault_agent::ALLOWED_CAPABILITIES)),
    ]
    .into_iter()
}

/// Drafts every pod of ours that `node` has, sorted by name. A draft is worth something only when there are no findings.
pub(crate) fn drafts(node: &Node) -> (Vec<Draft>, Vec<Finding>) {
    let mut findings = Findings::default();
    let mut drafts = Vec::new();
    if let Some(haproxy) = &node.haproxy {
        drafts.push(haproxy::draft(node, haproxy, &mut findings));
    }
    if let Some(keepalived) = &node.keepalived {
        drafts.push(keepalived::draft(node, keepalived, &mut findings));
    }
    if let Some(agent) = &node.vault_agent {
        match &node.vault {
            Some(vault) => drafts.push(vault_agent::draft(node, vault, agent, &mut findings)),
            None => findings.add("vault_agent", "the node has no `vault` to ask"),
        }
    }
    (drafts, findings.0)
}
