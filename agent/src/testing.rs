//! What several test modules need: small nodes, small pods, a scratch host.

use basalt_model::node::Node;
use basalt_static_pods::{CONFIG_DIRECTORY, ConfigFile, StaticPod};
use camino::Utf8Path;

use crate::desired::{Acceptance, Desired};
use crate::host::Host;

/// A `node.json` of this generation, without pods; the role makes its content differ.
pub(crate) fn node_json(generation: u64, role: &str) -> String {
    let text = include_str!("../../static-pods/tests/lab/n1.json");
    let mut node = Node::from_json("n1.json", text).unwrap();
    node.generation = generation;
    node.role = role.parse().unwrap();
    (node.haproxy, node.keepalived, node.vault_agent) = (None, None, None);
    node.to_json()
}

/// A pod whose manifest names it, with config files of mode 0644 in its own folder.
pub(crate) fn pod(name: &str, files: &[(&str, &str)]) -> StaticPod {
    let file = |(file, contents): &(&str, &str)| ConfigFile {
        path: format!("{CONFIG_DIRECTORY}/{name}/{file}").parse().unwrap(),
        contents: contents.to_string(),
        mode: 0o644,
    };
    StaticPod {
        name: name.parse().unwrap(),
        manifest: format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n"),
        files: files.iter().map(file).collect(),
    }
}

/// A desired node with these pods.
pub(crate) fn desired(generation: u64, pods: Vec<StaticPod>, acceptance: Acceptance) -> Desired {
    let text = node_json(generation, "lab");
    let node = Node::from_json("", &text).unwrap();
    Desired::new(node, text, pods, acceptance)
}

/// A host on an empty directory, which goes with the first value. It is in memory where the machine has such a place:
/// everything is synced, and a disk takes a while for that.
pub(crate) fn scratch_host() -> (tempfile::TempDir, Host) {
    let keep = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let host = Host::at(Utf8Path::from_path(keep.path()).unwrap()).unwrap();
    (keep, host)
}
