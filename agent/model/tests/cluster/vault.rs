//! Vault, its certificates, and the folders they go to.

use crate::check;

pub(crate) const URL_HINT: &str = "\n  hint: write a host in lower case, or an IP address (IPv6 in brackets), and a port up to 65535";

#[test]
fn vault_requests() {
    let first = "[\"https://192.0.2.21:8200\",";
    for address in ["https://192.0.2.21:99999", "https://", "https://Vault", "https://a?b"] {
        let message = "not a URL that starts with `https://`";
        check(
            first,
            &format!("[\"{address}\","),
            &[&format!("f:L:15: vault.addresses[0]: {message}{URL_HINT}")],
        );
    }
    for address in ["https://192.0.2.21:8200/v1", "https://192.0.2.21:8200/"] {
        let message =
            "the address of a Vault server has no path\n  hint: write `https://host:port`";
        check(
            first,
            &format!("[\"{address}\","),
            &[&format!("f:L:15: vault.addresses[0]: {message}")],
        );
    }
    check(first, "[\"https://[2001:db8::21]\",", &[]);
    let cert = "    cert:\n      role: lab-node\n";
    for (mount, message) in [
        ("auth/cert", "`auth/cert` would become `auth/auth/cert`\n  hint: leave out `auth/`"),
        (
            "cert/",
            "not a mount path\n  hint: use letters, digits, `.`, `_` and `-`, with `/` only between names",
        ),
    ] {
        check(
            cert,
            &format!("{cert}      mount: {mount}\n"),
            &[&format!("f:L+2:14: vault.auth.cert.mount: {message}")],
        );
    }
    let hint = "\n  hint: use letters, digits, `.`, `_` and `-`";
    check(
        "mount: pki/lab",
        "mount: /pki",
        &[&format!("f:L:12: vault.pki.mount: not a mount path{hint}, with `/` only between names")],
    );
    check(
        "    role: node\n",
        "    role: a/b\n",
        &[&format!("f:L:11: vault.pki.role: not the name of a role{hint}")],
    );
}

#[test]
fn vault() {
    check("      certificate: dashboard\n", "", &[]);
    check(
        "      reload:\n        - pod: haproxy\n",
        "      mode: \"0644\"\n",
        &[
            "f:L:13: vault.certificates[0].mode: mode `0644` lets every user of the node read the private key\n  hint: use \"0600\", or \"0640\" with a group",
        ],
    );
    check(
        "- pod: haproxy",
        "- pod: ha-proxy",
        &[
            "f:L:11: vault.certificates[0].reload[0]: there is no pod `ha-proxy` in this cluster\n  hint: did you mean `haproxy`?",
        ],
    );
    check(
        "ca: lab-vault",
        "ca: lab-vaults",
        &[
            "f:L:7: vault.ca: there is no trust anchor `lab-vaults`\n  hint: did you mean `lab-vault`?",
        ],
    );
    check(
        "[\"https://192.0.2.21:8200\",",
        "[\"http://192.0.2.21:8200\",",
        &[&format!("f:L:15: vault.addresses[0]: not a URL that starts with `https://`{URL_HINT}")],
    );
    let two = "    - name: spare\n      roles: [controller]\n    - name: dashboard\n      roles: [controller]";
    check(
        "    - name: dashboard\n      roles: [controller]",
        two,
        &[
            "f:L:7: vault.certificates[0]: nobody uses the certificate `spare`\n  hint: name it in a frontend, say under `reload` what uses it, or remove it",
        ],
    );
}

#[test]
fn folders() {
    let destination = "destination: /var/lib/basalt/secrets/registry-auth.json";
    let hint = "\n  hint: use a folder of its own, like `/var/lib/basalt/secrets`";
    for (to, message) in [
        ("/etc/basalt/node.json", "`/etc/basalt` belongs to the node itself"),
        ("/usr/lib/x", "`/usr` belongs to the node itself"),
        ("/etc/ssh/x", "`/etc/ssh` belongs to the node itself"),
        ("/run/containerd/x", "`/run/containerd` belongs to the node itself"),
        ("/lib/x", "`/lib` belongs to the node itself"),
        ("/srv/a:b/x", "no pod can be given a folder with a `:` in its name"),
        ("/etc/passwd", "the folder is shared with other programs"),
        ("/x", "the folder is shared with other programs"),
    ] {
        let place = "f:L:20: vault_agent.templates[0].destination";
        check(destination, &format!("destination: {to}"), &[&format!("{place}: {message}{hint}")]);
    }
    let identity = "`/var/lib/basalt/identity` holds what the node proves itself with (vault.auth.cert.certificate_file)\n  hint: use another folder";
    check(
        destination,
        "destination: /var/lib/basalt/identity/x",
        &[&format!("f:L:20: vault_agent.templates[0].destination: {identity}")],
    );
    let certificate = "      include_node_name: true\n";
    for (directory, message) in [
        ("/var/lib/basalt/identity", identity.to_owned()),
        ("/etc/ssh", format!("`/etc/ssh` belongs to the node itself{hint}")),
        ("/etc/containerd/x", format!("`/etc/containerd` belongs to the node itself{hint}")),
    ] {
        check(
            certificate,
            &format!("{certificate}      directory: {directory}\n"),
            &[&format!("f:L+1:18: vault.certificates[0].directory: {message}")],
        );
    }
    check(
        destination,
        "destination: /var/lib/basalt/certificates/dashboard/x",
        &[
            "f:L:20: vault_agent.templates[0].destination: `/var/lib/basalt/certificates/dashboard/x` is in the folder of a certificate",
        ],
    );
    check(
        "containerd:\n",
        "kubelet:\n  static_pod_directory: /etc/manifests\ncontainerd:\n",
        &[
            "f:L+1:25: kubelet.static_pod_directory: `/etc/manifests` is not below `/etc/kubernetes/`\n  hint: the agent owns the folder and may write there alone",
        ],
    );
}
