//! The units that the first boot enables, and the one that takes the node to its image.

use basalt_model::node::Node;
use serde_json::{Value, json};

pub(super) fn units(node: &Node) -> Vec<Value> {
    // The image enables the agent and the kubelet by itself; named here too, a node whose root is not made from the
    // image has the same units. Their text is in the image alone.
    let mut units = vec![
        json!({"name": "basalt-agent.service", "enabled": true}),
        json!({"name": "containerd.service", "enabled": true}),
        json!({"name": "kubelet.service", "enabled": true}),
        // It updates to Fedora's own images only, and keeps rpm-ostree from everybody else while it runs.
        json!({"name": "zincati.service", "mask": true}),
    ];
    if let Some(reference) = &node.image.reference {
        units.push(json!({"name": "basalt-rebase.service", "enabled": true, "contents": rebase(reference)}));
    }
    units
}

/// Takes a stock Fedora CoreOS to the cluster's image, once.
///
/// It ends itself by what it brings: on the image there is `image.json`. The stamp keeps a node that came back to the
/// stock system (an operator's rollback) from being pulled forward again. The reboot comes last and by ourselves: the
/// one of `rpm-ostree --reboot` races with the client. It waits for no network and nothing waits for it: the pull is
/// tried until it succeeds, and on the image's later boots the unit must not hold anything back.
fn rebase(reference: &str) -> String {
    format!(
        "[Unit]
Description=Rebase to the image of this Basalt cluster
ConditionPathExists=/run/ostree-booted
ConditionPathExists=!/usr/lib/basalt/image.json
ConditionPathExists=!/var/lib/basalt/rebased
After=first-boot-complete.target systemd-machine-id-commit.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/bin/rpm-ostree rebase --bypass-driver ostree-unverified-registry:{reference}
ExecStart=/usr/bin/mkdir -p /var/lib/basalt
ExecStart=/usr/bin/touch /var/lib/basalt/rebased
ExecStart=/usr/bin/systemctl --no-block reboot
Restart=on-failure
RestartSec=5
RestartSteps=6
RestartMaxDelaySec=60
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
",
        reference = reference.replace('%', "%%")
    )
}
