//! `basalt-agent preflight`: is the network as this node's keepalived needs it?

use basalt_model::node::Node;
use serde::Serialize;

use crate::wire::hear::{HearError, hear};
use crate::wire::links::{self, Moved};
use crate::wire::{Conflict, conflicts};

/// What was found. With `--output json`, the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// The instances that were looked into.
    pub(crate) instances: Vec<String>,
    /// Instances whose address is on another interface than `node.json` says.
    pub(crate) moved: Vec<Moved>,
    /// What is in the way.
    pub(crate) conflicts: Vec<Conflict>,
}

/// Listens and asks for some seconds.
pub(crate) async fn look(node: &Node) -> Result<Findings, HearError> {
    let addresses = links::addresses().map_err(HearError::Ask)?;
    let mut interfaces = links::Interfaces::new();
    links::learn(&mut interfaces, &addresses);
    let (node, moved) = links::relocated(node, &interfaces);
    let instances = node.keepalived.map_or_else(Vec::new, |keepalived| keepalived.instances);
    if instances.is_empty() {
        return Ok(Findings::default());
    }
    let heard = hear(&instances).await?;
    Ok(Findings {
        instances: instances.iter().map(|instance| instance.name.to_string()).collect(),
        moved,
        conflicts: conflicts(&instances, &heard),
    })
}

/// For people.
pub(crate) fn text(findings: &Findings) -> String {
    let mut text = String::new();
    for moved in &findings.moved {
        text.push_str(&format!(
            "note: `{}` runs on `{}`, which has its address, instead of `{}`\n",
            moved.instance, moved.to, moved.from
        ));
    }
    for conflict in &findings.conflicts {
        text.push_str(&format!("conflict: {conflict}\n  hint: {}\n", conflict.hint()));
    }
    if findings.instances.is_empty() {
        text.push_str("this node has no virtual addresses\n");
    } else if findings.conflicts.is_empty() {
        text.push_str(&format!("nothing is in the way of {}\n", findings.instances.join(", ")));
    }
    text
}
