//! containerd, as far as it differs from node to node: a drop-in to the configuration that the image has, and where it
//! finds mirrors of registries.
//!
//! Format: <https://github.com/containerd/containerd/blob/main/docs/cri/config.md> (version 3) and
//! <https://github.com/containerd/containerd/blob/main/docs/hosts.md>

use std::fmt::Write;

use basalt_model::node::Containerd;

use super::File;

/// One of the files that the image's configuration imports. What a person adds has a higher number.
const CONFIG: &str = "/etc/containerd/conf.d/10-node.toml";

/// The folder with one folder per registry.
const REGISTRIES: &str = "/etc/containerd/certs.d";

pub(super) fn files(containerd: &Containerd) -> Vec<File> {
    let mut files = vec![File::public(CONFIG, config(containerd))];
    for (registry, mirrors) in &containerd.mirrors {
        files.push(File::public(
            format!("{REGISTRIES}/{registry}/hosts.toml"),
            hosts(registry, mirrors),
        ));
    }
    files
}

fn config(containerd: &Containerd) -> String {
    format!(
        "version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = {sandbox}
",
        sandbox = quoted(&containerd.sandbox_image)
    )
}

fn hosts(registry: &str, mirrors: &[String]) -> String {
    let mut text = format!("server = {}\n", quoted(&format!("https://{registry}")));
    for mirror in mirrors {
        let _ = write!(text, "\n[host.{}]\n  capabilities = ['pull', 'resolve']\n", quoted(mirror));
    }
    text
}

/// A TOML basic string. The model holds no control characters here.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
