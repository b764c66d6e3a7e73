//! Vault, its certificates, and the folders they go to.

use basalt_model::cluster::Cluster;
use basalt_model::node::VaultAuth;

use crate::{LAB, check};

pub(crate) const URL_HINT: &str = "\n  hint: write a host in lower case, or an IP address (IPv6 in brackets), and a port up to 65535";

/// How the lab's nodes log in.
pub(crate) const NODE_AUTH: &str =
    "    node:\n      pki:\n        mount: pki/lab-identities\n        role: node\n";

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
    for (mount, message) in [
        ("auth/cert", "`auth/cert` would become `auth/auth/cert`\n  hint: leave out `auth/`"),
        (
            "cert/",
            "not a mount path\n  hint: use letters, digits, `.`, `_` and `-`, with `/` only between names",
        ),
    ] {
        check(
            NODE_AUTH,
            &format!("{NODE_AUTH}      cert_mount: {mount}\n"),
            &[&format!("f:L+4:19: vault.auth.node.cert_mount: {message}")],
        );
    }
    let message = "`same` is the mount of the AppRole and of the certificate method\n  hint: Vault has one method at a mount; give them different paths";
    check(
        NODE_AUTH,
        &format!("{NODE_AUTH}      app_role_mount: same\n      cert_mount: same\n"),
        &[&format!("f:L+5:19: vault.auth.node.cert_mount: {message}")],
    );
    check(
        NODE_AUTH,
        &format!("{NODE_AUTH}      app_role_mount: cert\n"),
        &[&format!(
            "f:L+4:23: vault.auth.node.app_role_mount: {}",
            message.replace("same", "cert")
        )],
    );
    let hint = "\n  hint: use letters, digits, `.`, `_` and `-`";
    check(
        "mount: pki/lab\n",
        "mount: /pki\n",
        &[&format!("f:L:12: vault.pki.mount: not a mount path{hint}, with `/` only between names")],
    );
    check(
        "mount: pki/lab\n    role: node\n",
        "mount: pki/lab\n    role: a/b\n",
        &[&format!("f:L+1:11: vault.pki.role: not the name of a role{hint}")],
    );
    check(
        NODE_AUTH,
        &format!("{NODE_AUTH}      prefix: a b\n"),
        &[&format!("f:L+4:15: vault.auth.node.prefix: not the name of a role{hint}")],
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
    let first = "    - name: dashboard\n      roles: [controller]";
    check(
        first,
        &format!("{first}\n      usages: []"),
        &[
            "f:L:7: vault.certificates[0].usages: the certificate is for nothing\n  hint: leave `usages` out for `server`, or name `server`, `client` or both",
        ],
    );
    let secret = |roles: &str, destination: &str| {
        format!(
            "  secrets:\n    - {{name: a, roles: [{roles}], template: x, destination: {destination}}}\n  certificates:\n"
        )
    };
    check(
        "  certificates:\n",
        &secret("controllers", "/srv/a/x"),
        &[
            "f:L+1:25: vault.secrets[0].roles[0]: there is no role `controllers`\n  hint: did you mean `controller`?",
        ],
    );
    let template = "/var/lib/basalt/secrets/registry-auth.json";
    check(
        "  certificates:\n",
        &secret("controller", template),
        &[&format!(
            "f:<destination: {template}\n>:20: vault_agent.templates[0].destination: destination `{template}` is already used in line <    - {{name: a> (vault.secrets[0].destination)"
        )],
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
    let identity = "`/var/lib/basalt/identity` holds what the node proves itself with (vault.auth.node)\n  hint: use another folder";
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

/// A secret where the path of its file belongs, or where nothing of the kind does, is not shown to whoever reads the log.
#[test]
fn a_secret_itself_is_not_repeated() {
    let itself = "looks like the secret itself\n  hint: give the path of a file that holds it";
    let uuid = "f2a0e5f4-8d0c-4d5c-9a55-0a9a2e1c7a11";
    let app_role = "app_role: {role_id: r, secret_id_file: ";
    for (way, value, column, path) in [
        ("token: {token_file: ", "hvs.CAESIJ3ooPAymGbPdnzq", 25, "token.token_file"),
        ("token: {token_file: ", "s.abcdefghijklmnopqrstuvwx", 25, "token.token_file"),
        (app_role, uuid, 44, "app_role.secret_id_file"),
        ("jwt: {role: r, token_file: ", "eyJhbGciOiJub25lIn0.e30.c2ln", 32, "jwt.token_file"),
    ] {
        check(
            NODE_AUTH,
            &format!("    {way}{value}}}\n"),
            &[&format!("f:L:{column}: vault.auth.{path}: {itself}")],
        );
    }
    // It may be one that nobody knows the look of.
    check(
        NODE_AUTH,
        "    token: {token_file: correct-horse}\n",
        &[
            "f:L:25: vault.auth.token.token_file: not an absolute path without `..`, `//` or a final `/`\n  hint: give the path of a file that holds it",
        ],
    );
    check(
        NODE_AUTH,
        "    token: {token_file: run/token}\n",
        &[
            "f:L:25: vault.auth.token.token_file: `run/token` is not an absolute path without `..`, `//` or a final `/`",
        ],
    );
    check(
        NODE_AUTH,
        "    token: hvs.CAESIJ3ooPAymGbPdnzq\n",
        &["f:L:12: vault.auth.token: a mapping is wanted here, not what looks like a token"],
    );
    check(
        "ca: lab-vault",
        "ca: hvs.CAESIJ3ooPAymGbPdnzq",
        &[
            "f:L:7: vault.ca: what looks like a token is not an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)",
        ],
    );
}

/// What is missing is said where it would be.
#[test]
fn empty_lists_have_a_place() {
    check(
        "servers: [192.0.2.11:6443, 192.0.2.12:6443, 192.0.2.13:6443]",
        "servers: []",
        &["f:L:12: api.servers: haproxy needs at least one API server to send clients to"],
    );
    let servers = "[\"https://192.0.2.21:8200\", \"https://192.0.2.22:8200\"]";
    check(servers, "[]", &["f:L:14: vault.addresses: at least one address is wanted"]);
    let (line, _) = LAB.split_once(servers).unwrap();
    let line = line.matches('\n').count() + 1;
    let twice = "server `https://192.0.2.21:8200` is already used";
    check(
        servers,
        "[\"https://192.0.2.21:8200\", \"https://192.0.2.21:8200\"]",
        &[&format!("f:L:42: vault.addresses[1]: {twice} in line {line} (vault.addresses[0])")],
    );
    check(
        servers,
        "[\"https://192.0.2.21\", \"https://192.0.2.21:443\"]",
        &[&format!(
            "f:L:37: vault.addresses[1]: server `https://192.0.2.21` is already used in line {line} (vault.addresses[0])"
        )],
    );
}

/// What is one in Vault for several that ask is everybody's.
#[test]
fn shared_mounts_and_roles() {
    let identities = "mount: pki/lab-identities";
    check(
        identities,
        "mount: pki/lab",
        &[
            "f:L+3:12: vault.pki.mount: `pki/lab` signs identities, and certificates too\n  hint: identities want a mount of their own: whoever has a certificate of it can log in as that node",
        ],
    );
    let inside = "\n  hint: Vault has no mount inside a mount; give them different names";
    check(
        identities,
        "mount: pki/lab/identities",
        &[&format!(
            "f:L:16: vault.auth.node.pki.mount: `pki/lab/identities` is inside the mount `pki/lab`{inside}"
        )],
    );
    let reload = "      reload:\n        - pod: haproxy\n";
    let second = |fields: &str| {
        format!("{reload}    - name: second\n      roles: [controller]\n{fields}{reload}")
    };
    check(reload, &second(""), &[]);
    let hint = "\n  hint: each node gets what either needs; give it a `pki_role` of its own to keep them apart";
    for (fields, what) in [
        ("      usages: [client]\n", "usages"),
        ("      usages: [server, client]\n      key: rsa-3072\n", "usages and keys"),
    ] {
        let message =
            format!("shares the role `node` of `pki/lab` with `dashboard`, which has other {what}");
        check(
            reload,
            &second(fields),
            &[&format!("f:L+2:7: warning: vault.certificates[1]: {message}{hint}")],
        );
    }
    check(reload, &second("      usages: [client]\n      pki_role: clients\n"), &[]);
}

/// The names that a node's identity has in Vault tell clusters, nodes and roles apart.
#[test]
fn names_in_vault() {
    let names = |text: &str| {
        let (cluster, _) = Cluster::parse("f", text.as_bytes()).unwrap();
        let VaultAuth::Node(identity) = &cluster.node("n2").unwrap().vault.as_ref().unwrap().auth
        else {
            panic!("an identity")
        };
        [&identity.app_role, &identity.role_id, identity.cert_role.as_ref().unwrap()]
            .map(Clone::clone)
    };
    assert_eq!(names(LAB), ["basalt-lab-n2", "basalt-lab-n2", "basalt-lab-nodes-controller"]);
    let own = LAB.replace(NODE_AUTH, &format!("{NODE_AUTH}      prefix: dc1\n"));
    assert_eq!(names(&own), ["dc1-n2", "dc1-n2", "dc1-nodes-controller"]);
}
