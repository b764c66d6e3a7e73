//! Rendered static pods against the real programs: haproxy, keepalived and OpenBao read our configs, run them as the
//! manifests say (command, user, capabilities, probes) and do their work.
//!
//! Each pod has a file here; `container` stands in for the container runtime, `http` for clients and servers,
//! `namespace` for machines.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod bonds;
mod container;
mod haproxy;
mod http;
mod keepalived;
mod moves;
mod namespace;
mod on_kubelet;
mod proxying;
mod traffic;
mod vault_agent;
mod witness;

use std::path::Path;
use std::time::{Duration, Instant};

use basalt_model::cluster::Reading;
use basalt_model::names::RelativePath;
use basalt_model::node::Node;
use basalt_static_pods::{StaticPod, render};

/// A node of the three-node lab.
fn lab(name: &str) -> Node {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../static-pods/tests/lab");
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    Node::from_json(&path.display().to_string(), &text).unwrap()
}

/// The nodes of the worked example, as `build-image` makes them.
fn worked_example() -> Vec<Node> {
    let folder = e2e::checkout::cluster("lab");
    let bytes = std::fs::read(folder.join("cluster.yaml")).unwrap();
    let mut text = |name: &RelativePath| {
        std::fs::read_to_string(folder.join(name.as_str())).map_err(|error| error.to_string())
    };
    Reading::with("cluster.yaml", &bytes, &mut text).cluster.unwrap().nodes
}

/// One pod of `node`, which has it.
fn pod(node: &Node, name: &str) -> StaticPod {
    render(node).unwrap().into_iter().find(|pod| pod.name.as_str() == name).unwrap()
}

/// Waits for a state, at most so long.
#[track_caller]
fn wait_for(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}
