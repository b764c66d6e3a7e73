//! What a later stage finds about nodes: without a place in the cluster's file, and for each node anew.
//!
//! The model's own checks find it first, with its place, wherever they know the rule. What is left is told once for each
//! cause.

use std::collections::BTreeMap;

use basalt_model::decode::list;
use basalt_model::node::Node;
use basalt_model::report::{Place, Report, Severity};

/// How many nodes are named; the others are counted.
const NAMED: usize = 3;

/// What is wrong, and the nodes it is wrong with.
#[derive(Default)]
pub(super) struct Causes(BTreeMap<(String, String, Severity), Vec<String>>);

impl Causes {
    /// Adds what was found about `node`; `path` is that of the value in its node.json or its config.
    pub(super) fn add(&mut self, node: &Node, severity: Severity, path: &str, message: &str) {
        let cause = (path.to_owned(), message.to_owned(), severity);
        self.0.entry(cause).or_default().push(node.name.to_string());
    }

    /// Takes over what was found about other nodes.
    pub(super) fn absorb(&mut self, other: Causes) {
        for (cause, nodes) in other.0 {
            self.0.entry(cause).or_default().extend(nodes);
        }
    }

    /// Reports each cause.
    pub(super) fn tell(self, report: &mut Report) {
        for ((path, message, severity), nodes) in self.0 {
            let on = match nodes.len() {
                0..=NAMED => list(&nodes),
                count => format!("`{}` and {} other nodes", nodes[0], count - 1),
            };
            let message = format!("{message} (on {on})");
            match severity {
                Severity::Error => report.error(Place::START, path, message),
                Severity::Warning => report.warning(Place::START, path, message),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_model::cluster::Cluster;

    use super::*;

    #[test]
    fn many_nodes_are_counted() {
        let text = include_str!("../../../tests/clusters/lab/cluster.yaml");
        let (cluster, _) = Cluster::parse("f", text.as_bytes()).unwrap();
        let mut causes = Causes::default();
        for node in cluster.nodes.iter().cycle().take(1000) {
            causes.add(node, Severity::Error, "a", "wrong");
        }
        let mut report = Report::new("f");
        causes.tell(&mut report);
        assert_eq!(report.to_string(), "f:1:1: a: wrong (on `n1` and 999 other nodes)");
    }
}
