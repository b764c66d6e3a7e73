//! What is left of the operating system: time, trust, and one kernel setting.

use std::fmt::Write;

use basalt_model::node::Node;

use super::File;

/// Where `update-ca-trust` takes certificates from; Fedora CoreOS runs it on the first boot when there are any
/// (`coreos-update-ca-trust.service`).
const ANCHORS: &str = "/etc/pki/ca-trust/source/anchors";

/// The same certificates one by one, for programs that are to trust a single one of them.
const TRUST: &str = "/etc/basalt/trust";

pub(super) fn files(node: &Node) -> Vec<File> {
    let mut files = Vec::new();
    for (name, pem) in &node.trust_anchors {
        for folder in [ANCHORS, TRUST] {
            files.push(File::public(format!("{folder}/{name}.pem"), format!("{}\n", pem.trim())));
        }
    }
    if !node.time_servers.is_empty() {
        files.push(File::public("/etc/chrony.conf", chrony(node)));
    }
    if node.haproxy.is_some() {
        files.push(File::public("/etc/sysctl.d/90-basalt.conf", SYSCTL));
    }
    files
}

/// haproxy listens on virtual addresses that another node holds at the moment.
const SYSCTL: &str = "net.ipv4.ip_nonlocal_bind = 1\nnet.ipv6.ip_nonlocal_bind = 1\n";

/// <https://chrony-project.org/doc/latest/chrony.conf.html>
fn chrony(node: &Node) -> String {
    let mut text = String::new();
    for server in &node.time_servers {
        let _ = writeln!(text, "server {server} iburst");
    }
    // Certificates are judged by this clock: a large error is stepped away at the start, slewed later.
    text.push_str(
        "driftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\nlogdir /var/log/chrony\n",
    );
    text
}
