//! What the lab says of itself.

use std::process::{ExitCode, Stdio};

use anyhow::Result;
use e2e::namespaces;
use serde_json::{Value, json};

use super::state::{NodeState, State};
use crate::output::{self, Format};

/// Prints the lab, each node with the first lines of its own status.
///
/// # Errors
/// When it cannot be printed.
pub(super) fn print(state: &State, format: Format) -> Result<ExitCode> {
    let nodes: Vec<(&NodeState, Option<Value>)> =
        state.nodes.iter().map(|node| (node, status_of(node))).collect();
    match format {
        Format::Json => {
            let nodes: Vec<Value> = nodes
                .iter()
                .map(|(node, status)| json!({"node": node, "status": status}))
                .collect();
            let document = json!({
                "keeper": state.keeper,
                "started_unix_seconds": state.started_unix_seconds,
                "start_seconds": state.start_seconds,
                "services": state.services,
                "nodes": nodes,
            });
            output::print(format_args!("{document:#}\n"))?;
        }
        Format::Text => output::print(text(state, &nodes))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status_of(node: &NodeState) -> Option<Value> {
    let mut status = namespaces::inside(node.init);
    status.args(["basalt-agent", "status", "--output", "json"]);
    let output = status.stdin(Stdio::null()).output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

fn text(state: &State, nodes: &[(&NodeState, Option<Value>)]) -> String {
    let mut text = format!("The lab is up; it took {} s to start.\n\n", state.start_seconds);
    for (node, status) in nodes {
        let summary = status.as_ref().and_then(|status| status["summary"].as_str());
        let summary = summary.unwrap_or("does not answer");
        text.push_str(&format!("{:<12}{:<16}{summary}\n", node.name, first_address(node)));
    }
    for service in &state.services {
        text.push_str(&format!("{:<12}{}\n", service.name, service.address));
    }
    let first = nodes.first().map_or("n1", |(node, _)| node.name.as_str());
    text.push_str(&format!(
        "
Try:
  cargo xtask lab shell {first} -- basalt-agent status
  cargo xtask lab shell {first} -- basalt-agent certs
  cargo xtask lab shell operator -- kubectl get nodes,pods -A
  cargo xtask lab shell operator -- bao list auth/approle/role
  cargo xtask lab shell {first}
  cargo xtask lab down
"
    ));
    text
}

fn first_address(node: &NodeState) -> &str {
    node.addresses.first().map_or("", |address| address.split('/').next().unwrap_or(address))
}
