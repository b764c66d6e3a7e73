//! Node → Butane: what the first boot has to write so that the image and the agent can do the rest.
//!
//! Read [`butane`]; each other file makes one part. What changes after the first boot is not written here but by the
//! agent, and what the image ships is not written at all: a copy in `/etc` would hide every later version of it.

mod containerd;
mod kubelet;
mod network;
mod system;
mod units;

use basalt_model::node::{NODE_JSON_PATH, Node};
use basalt_model::yaml::print;
use serde_json::{Map, Value, json};

/// The variant and version of the configs that are made here: Ignition spec 3.3.0, which every Fedora CoreOS reads.
const VARIANT: (&str, &str) = ("fcos", "1.4.0");

/// The user that Fedora CoreOS has for people.
const USER: &str = "core";

const HEADER: &str =
    "# Made from cluster.yaml by `cargo xtask build-image`; the next build overwrites it.\n";

/// A file to be written, owned by root.
struct File {
    path: String,
    mode: u32,
    contents: String,
}

impl File {
    /// A file that everybody may read.
    fn public(path: impl Into<String>, contents: impl Into<String>) -> File {
        File { path: path.into(), mode: 0o644, contents: contents.into() }
    }

    fn to_butane(&self) -> Value {
        // As the sixteen bits that Butane wants, which YAML shows in decimal: 420 is 0644.
        json!({"path": self.path, "mode": self.mode, "overwrite": true, "contents": {"inline": self.contents}})
    }
}

/// The Butane config of `node`, as text to be read, reviewed and compiled. The same node gives the same text. It holds
/// no secrets, as the node holds none.
pub fn butane(node: &Node) -> String {
    let mut files = vec![
        File::public(NODE_JSON_PATH, node.to_json()),
        File::public("/etc/hostname", format!("{}\n", node.name)),
    ];
    files.extend(network::files(&node.network));
    files.extend(kubelet::files(node));
    files.extend(containerd::files(&node.containerd));
    files.extend(system::files(node));

    let mut root = Map::new();
    root.insert("variant".into(), json!(VARIANT.0));
    root.insert("version".into(), json!(VARIANT.1));
    if !node.kernel_arguments.is_empty() {
        root.insert("kernel_arguments".into(), json!({"should_exist": node.kernel_arguments}));
    }
    if !node.ssh_authorized_keys.is_empty() {
        let user = json!({"name": USER, "ssh_authorized_keys": node.ssh_authorized_keys});
        root.insert("passwd".into(), json!({"users": [user]}));
    }
    let files: Vec<Value> = files.iter().map(File::to_butane).collect();
    root.insert("storage".into(), json!({"files": files}));
    root.insert("systemd".into(), json!({"units": units::units(node)}));
    format!("{HEADER}{}", print::print(&Value::Object(root)))
}
