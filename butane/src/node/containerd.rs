//! containerd: its configuration, and where it finds mirrors of registries.
//!
//! Format: <https://github.com/containerd/containerd/blob/main/docs/cri/config.md> (version 3) and
//! <https://github.com/containerd/containerd/blob/main/docs/hosts.md>

use std::fmt::Write;

use basalt_model::node::Containerd;

use super::File;

const CONFIG: &str = "/etc/containerd/config.toml";

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

[plugins.'io.containerd.cri.v1.images']
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = {sandbox}
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = '{REGISTRIES}'

[plugins.'io.containerd.cri.v1.runtime']
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    # The first is part of the image, the second is where operators put theirs.
    bin_dirs = ['/usr/libexec/cni', '/opt/cni/bin']
    conf_dir = '/etc/cni/net.d'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = true
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
