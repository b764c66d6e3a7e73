//! Whether a node has proved itself after the switch. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Switch;

/// What was seen of the node since the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProofSeen {
    /// The containers that run: the id, by `namespace/pod/container`.
    pub(crate) containers: Result<BTreeMap<String, String>, String>,
    /// The node object, as the API server has it.
    pub(crate) node: Result<NodeSeen, String>,
    /// The mirror pods that are missing; or why nobody knows.
    pub(crate) mirrors_missing: Result<Vec<String>, String>,
    /// What the probes of the pods miss, one line each.
    pub(crate) shortcomings: Vec<String>,
    /// For how long every probe has been good without a break.
    pub(crate) good_for: Option<Duration>,
}

/// A node object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSeen {
    /// Its condition `Ready`.
    pub(crate) is_ready: bool,
    /// Why it is not.
    pub(crate) message: String,
    /// When the kubelet last said so, in seconds since the Unix epoch.
    pub(crate) heartbeat_unix_seconds: u64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has; with remarks.
    Proved(Vec<String>),
    /// This is missing.
    NotYet(Vec<String>),
    /// It cannot any more.
    Lost(Vec<String>),
}

/// Probes have to stay good for this long.
const SETTLE: Duration = Duration::from_secs(2);

/// What the kubelet says of a node whose network plugin is still to come: a cluster brings it as a pod, which starts only
/// on a node that has joined.
const NO_NETWORK_PLUGIN: &str = "NetworkPluginNotReady";

/// Judges what was seen. `is_same_boot` is false when the machine was booted since the switch began: its containers are new
/// ones then, and rightly.
pub(crate) fn judge(switch: &Switch, seen: &ProofSeen, is_same_boot: bool) -> Verdict {
    let mut missing = Vec::new();
    let mut remarks = Vec::new();
    match &seen.containers {
        Ok(running) if is_same_boot => {
            let lost = lost(&switch.containers, running);
            if !lost.is_empty() {
                return Verdict::Lost(lost);
            }
        }
        Ok(_) => {}
        Err(reason) => missing.push(format!("nobody knows what runs: {reason}")),
    }
    match &seen.node {
        Err(reason) => missing.push(format!("its node object: {reason}")),
        Ok(node) if node.heartbeat_unix_seconds < switch.since_unix_seconds => {
            missing
                .push("the kubelet has not spoken to the API server since the switch".to_owned());
        }
        Ok(node) if node.is_ready => {}
        Ok(node) if lacks_network_plugin_alone(&node.message) => {
            remarks.push("the node waits for the cluster's network plugin".to_owned());
        }
        Ok(node) => missing.push(format!("the node is not ready: {}", node.message)),
    }
    match &seen.mirrors_missing {
        Ok(pods) if pods.is_empty() => {}
        Ok(pods) => missing.push(format!("the cluster does not show {}", pods.join(", "))),
        Err(reason) => missing.push(format!("its pods: {reason}")),
    }
    match seen.good_for {
        Some(good) if good >= SETTLE => {}
        Some(_) => missing.push("every probe is good, not for long enough yet".to_owned()),
        None => missing.extend(seen.shortcomings.iter().cloned()),
    }
    if missing.is_empty() { Verdict::Proved(remarks) } else { Verdict::NotYet(missing) }
}

/// The kubelet joins reasons by commas, and messages may hold some themselves; each reason begins with its own words.
fn lacks_network_plugin_alone(message: &str) -> bool {
    let others = ["PLEG is not healthy", "runtime is down", "container runtime status check"];
    message.contains(NO_NETWORK_PLUGIN) && !others.iter().any(|other| message.contains(other))
}

/// The containers that ran and do not run any more, one line each.
pub(crate) fn lost(
    before: &BTreeMap<String, String>,
    running: &BTreeMap<String, String>,
) -> Vec<String> {
    let is_lost = |(name, id): &(&String, &String)| running.get(*name) != Some(*id);
    before
        .iter()
        .filter(is_lost)
        .map(|(name, _)| match running.contains_key(name) {
            true => format!("container {name} is not the one that ran before"),
            false => format!("container {name} does not run any more"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::record::Moment;

    fn containers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect()
    }

    fn switch() -> Switch {
        Switch {
            since: Moment { boot: "b".into(), seconds: 5 },
            since_unix_seconds: 100,
            containers: containers(&[("n/haproxy/haproxy", "1")]),
        }
    }

    fn good() -> ProofSeen {
        ProofSeen {
            containers: Ok(containers(&[("n/haproxy/haproxy", "1"), ("n/new/new", "2")])),
            node: Ok(NodeSeen {
                is_ready: true,
                message: String::new(),
                heartbeat_unix_seconds: 101,
            }),
            mirrors_missing: Ok(Vec::new()),
            shortcomings: Vec::new(),
            good_for: Some(SETTLE),
        }
    }

    #[test]
    fn all_of_it_is_a_proof() {
        assert_eq!(judge(&switch(), &good(), true), Verdict::Proved(Vec::new()));
    }

    #[test]
    fn each_part_is_needed() {
        let node = |is_ready, message: &str, heartbeat_unix_seconds| {
            Ok(NodeSeen { is_ready, message: message.into(), heartbeat_unix_seconds })
        };
        for (seen, word) in [
            (ProofSeen { node: node(true, "", 99), ..good() }, "spoken"),
            (ProofSeen { node: node(false, "PLEG is not healthy", 101), ..good() }, "PLEG"),
            (ProofSeen { node: Err("away".into()), ..good() }, "away"),
            (ProofSeen { mirrors_missing: Ok(vec!["a".into()]), ..good() }, "does not show a"),
            (ProofSeen { mirrors_missing: Err("away".into()), ..good() }, "away"),
            (ProofSeen { containers: Err("away".into()), ..good() }, "away"),
            (ProofSeen { good_for: Some(Duration::from_secs(1)), ..good() }, "long enough"),
            (ProofSeen { good_for: None, shortcomings: vec!["bad".into()], ..good() }, "bad"),
        ] {
            let Verdict::NotYet(reasons) = judge(&switch(), &seen, true) else { panic!("{word}") };
            assert!(reasons.len() == 1 && reasons[0].contains(word), "{reasons:?}");
        }
    }

    #[test]
    fn a_lost_container_ends_it_unless_the_machine_was_booted() {
        for running in [containers(&[]), containers(&[("n/haproxy/haproxy", "3")])] {
            let seen = ProofSeen { containers: Ok(running), ..good() };
            assert!(matches!(judge(&switch(), &seen, true), Verdict::Lost(_)));
            assert_eq!(judge(&switch(), &seen, false), Verdict::Proved(Vec::new()));
        }
    }

    #[test]
    fn a_network_plugin_comes_later() {
        let message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";
        let node = |message: &str| {
            Ok(NodeSeen {
                is_ready: false,
                message: message.to_owned(),
                heartbeat_unix_seconds: 101,
            })
        };
        let judged = judge(&switch(), &ProofSeen { node: node(message), ..good() }, true);
        assert!(matches!(judged, Verdict::Proved(remarks) if remarks.len() == 1));
        let both = format!("[{message}, PLEG is not healthy: pleg was last seen active 5m ago]");
        let judged = judge(&switch(), &ProofSeen { node: node(&both), ..good() }, true);
        assert!(matches!(judged, Verdict::NotYet(_)));
    }
}
