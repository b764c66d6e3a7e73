//! The files of the checkout's `agent/dist`: where each goes in the image, and what starts with the machine.

use basalt_image::oci::{Component, Entry, Source};

/// Where units of the image are.
const UNITS: &str = "usr/lib/systemd/system";

/// A file: its path in the image, and its text.
macro_rules! shipped {
    ($($path:literal: $file:literal,)+) => {
        [$(($path, include_str!(concat!("../../../agent/dist/", $file)))),+]
    };
}

/// What the agent comes with.
const AGENT: [(&str, &str); 7] = shipped! {
    "usr/lib/systemd/system/basalt-agent.service": "basalt-agent.service",
    "usr/lib/systemd/system/basalt-images.service": "images/basalt-images.service",
    "usr/lib/systemd/system/basalt-images.timer": "images/basalt-images.timer",
    "usr/lib/sysusers.d/basalt.conf": "basalt.sysusers",
    "usr/lib/tmpfiles.d/basalt.conf": "basalt.tmpfiles",
    "usr/lib/basalt/agent.conf.d/10-defaults.json": "agent.conf.d/10-defaults.json",
    "usr/share/basalt/prometheus/basalt-alerts.yaml": "metrics/basalt-alerts.yaml",
};

/// What makes a kubelet and a containerd those of a node.
const NODE: [(&str, &str); 6] = shipped! {
    "usr/lib/systemd/system/kubelet.service": "kubelet/kubelet.service",
    "usr/lib/basalt/kubelet/kubelet.yaml": "kubelet/kubelet.yaml",
    "usr/lib/basalt/kubelet/nobody.pem": "kubelet/nobody.pem",
    "usr/lib/sysctl.d/50-basalt-kubelet.conf": "kubelet/sysctl.conf",
    "usr/lib/systemd/system/containerd.service.d/10-basalt.conf": "containerd/10-basalt.conf",
    "usr/lib/basalt/containerd/config.toml": "containerd/config.toml",
};

/// The agent's files besides the program.
pub(super) fn agent() -> Vec<Entry> {
    let mut entries = vec![
        starts("basalt-agent.service", "multi-user.target"),
        starts("basalt-images.service", "kubelet.service"),
        starts("basalt-images.timer", "timers.target"),
    ];
    entries.extend(AGENT.map(text));
    entries
}

/// The configuration of kubelet and containerd, a layer of its own.
pub(super) fn node() -> Component {
    let mut entries = vec![starts("kubelet.service", "multi-user.target")];
    entries.extend(NODE.map(text));
    Component { name: "node".to_owned(), entries }
}

/// The link by which `by` starts a unit. The image enables it, so that an update of the image updates this too; a link in
/// /etc would stay for ever.
fn starts(unit: &str, by: &str) -> Entry {
    Entry::symlink(format!("{UNITS}/{by}.wants/{unit}"), format!("../{unit}"))
}

fn text((path, text): (&str, &str)) -> Entry {
    Entry::file(path, 0o644, Source::Bytes(text.as_bytes().to_vec()))
}
