//! `cluster.yaml` from text to nodes, and every way in which it can be wrong. Each row changes the lab cluster in one
//! place and names the findings that have to come of it.

use basalt_model::cluster::{Cluster, Reading};
use basalt_model::node::{InterfaceKind, Node};
use basalt_model::report::Severity;

const LAB: &str = include_str!("../../../tests/clusters/lab/cluster.yaml");

fn lab() -> Cluster {
    let (cluster, report) = Cluster::parse("cluster.yaml", LAB.as_bytes())
        .unwrap_or_else(|refused| panic!("{refused}"));
    assert!(report.is_empty(), "{report}");
    cluster
}

/// Replaces `from`, which stands in the lab exactly once, and expects these findings; `L` stands for the line where
/// the replacement starts, `L+n` for the n-th line after it,
/// `<text>` for the line of that text.
#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert_eq!(LAB.matches(from).count(), 1, "`{from}` stands in the lab once");
    let start = LAB.find(from).expect("it was just counted");
    let line = LAB[..start].matches('\n').count() + 1;
    let text = LAB.replace(from, to);
    let report = match Cluster::parse("f", text.as_bytes()) {
        Ok((_, report)) => report,
        Err(refused) => refused.0,
    };
    let found = report.sorted().iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut expected: Vec<String> = expected.iter().map(|row| (*row).to_owned()).collect();
    for row in &mut expected {
        for offset in 0..=12 {
            *row = row.replace(&format!("L+{offset}:"), &format!("{}:", line + offset));
        }
        *row = row.replace("L:", &format!("{line}:"));
        while let Some((start, end)) = row.find('<').zip(row.find('>')) {
            let at = text
                .find(&row[start + 1..end])
                .expect("the text between < and > stands in the file");
            let line = text[..at].matches('\n').count() + 1;
            row.replace_range(start..=end, &line.to_string());
        }
    }
    assert_eq!(found, expected, "\n{report}");
}

#[test]
fn lab_has_three_nodes() {
    let lab = lab();
    let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let n3 = lab.node("n3").unwrap();
    assert_eq!(n3.kernel_arguments, ["mitigations=auto", "console=ttyS0", "scsi_mod.use_blk_mq=1"]);
    assert!(matches!(n3.network.interfaces[3].kind, InterfaceKind::Vlan { id: 100, .. }));
    let keepalived = n3.keepalived.as_ref().unwrap();
    assert_eq!(keepalived.instances[0].interface.as_str(), "bond0");
    assert_eq!(keepalived.instances[0].source.to_string(), "192.0.2.13");
    assert_eq!(keepalived.instances[0].peers.len(), 2);
    assert_eq!(keepalived.instances[1].virtual_addresses[0].to_string(), "2001:db8:2::10/64");
    let frontends = &n3.haproxy.as_ref().unwrap().frontends;
    assert_eq!(
        (frontends[0].name.as_str(), frontends[1].name.as_str()),
        ("kubernetes-api", "dashboard")
    );
    let certificate = &n3.vault.as_ref().unwrap().certificates[0];
    assert_eq!(certificate.subject_alternative_names.len(), 2);
    assert_eq!(certificate.directory.as_str(), "/var/lib/basalt/certificates/dashboard");
    assert_eq!(n3.kubelet.node_ip.to_string(), "192.0.2.13");
    let butane: Vec<String> = lab.butane[&n3.name].iter().map(|file| file.to_string()).collect();
    assert_eq!(butane, ["butane/all.bu", "butane/n3.bu"]);
}

#[test]
fn node_json_comes_back() {
    for node in lab().nodes {
        assert_eq!(Node::from_json("node.json", &node.to_json()).unwrap(), node);
    }
}

#[test]
fn node_json_errors_have_places() {
    let text = lab().nodes[0].to_json();
    let broken = [
        (
            text.replacen("\"name\": \"n1\"", "\"nmae\": \"n1\"", 1),
            "unknown field `nmae`; did you mean `name`?",
        ),
        (
            text.replacen("192.0.2.11/24", "192.0.2.11/99", 1),
            "`192.0.2.11/99` is not a CIDR address",
        ),
        (text.replacen("\"schema\": 1", "\"schema\": 7", 1), "`schema` is 7, this agent reads 1"),
        (
            text.replacen("/etc/kubernetes/manifests", "/usr", 1),
            "`static_pod_directory` is `/usr`, not below `/etc/kubernetes/`",
        ),
        (text[..text.len() / 2].to_owned(), "EOF while parsing"),
    ];
    for (text, message) in broken {
        let error = Node::from_json("/etc/basalt/node.json", &text).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        assert!(error.line > 1 && error.line <= text.lines().count(), "{error}");
        assert!(
            error.to_string().starts_with(&format!("/etc/basalt/node.json:{}:", error.line)),
            "{error}"
        );
    }
}

#[test]
fn structure() {
    check(
        "dns_servers: [192.0.2.2,",
        "dns_server: [192.0.2.2,",
        &["f:L:1: dns_server: unknown field\n  hint: did you mean `dns_servers`?"],
    );
    check("generation: 1\n", "", &["f:<name: lab>:1: `generation` is missing"]);
    check(
        "generation: 1\n",
        "generation: 0\n",
        &["f:L:13: generation: 0 is not between 1 and 4294967295"],
    );
    check(
        "mode: active-backup",
        "mode: active_backup",
        &[
            "f:L:17: nodes[1].interfaces[2].bond.mode: `active_backup` is none of `active-backup`, `802.3ad` and `balance-xor`\n  hint: did you mean `active-backup`?",
        ],
    );
    check(
        "mac: \"52:54:00:00:02:01\"",
        "mac: \"52:54:00:00:02\"",
        &[
            "f:L:14: nodes[0].interfaces[0].mac: `52:54:00:00:02` is not an Ethernet address of one network card like `52:54:00:12:34:56`, in lower case",
        ],
    );
    let wanted = "a network interface name (at most 15 of a-z, A-Z, 0-9, `.`, `_` and `-`, no number, not `lo`)";
    for name in ["lo", "*", "a;b", "%i", "#x"] {
        let place = "f:L:15: nodes[0].interfaces[0].name";
        check(
            "name: eth0\n        mac: \"52:54:00:00:02:01\"",
            &format!("name: \"{name}\"\n        mac: \"52:54:00:00:02:01\""),
            &[&format!("{place}: `{name}` is not {wanted}")],
        );
    }
    check(
        "generation: 1\n",
        "generation: 1\ngeneration: 2\n",
        &["f:L+1:1: `generation` is already set in line <generation: 1>"],
    );
}

#[test]
fn machines() {
    check(
        "- name: n2\n    role",
        "- name: n1\n    role",
        &[
            "f:L:11: nodes[1].name: node name `n1` is already used in line <- name: n1> (nodes[0].name)",
        ],
    );
    check(
        "52:54:00:00:02:13",
        "52:54:00:00:02:02",
        &[
            "f:L:14: nodes[2].interfaces[1].mac: Ethernet address `52:54:00:00:02:02` is already used in line <mac: \"52:54:00:00:02:02\"> (nodes[1].interfaces[0].mac)",
        ],
    );
    check(
        "[192.0.2.12/24,",
        "[192.0.2.11/25,",
        &[
            "f:L:21: nodes[1].interfaces[2].addresses[0]: address `192.0.2.11` is already used in line <[192.0.2.11/24> (nodes[0].interfaces[0].addresses[0])",
        ],
    );
    check(
        "ports: [eth0, eth1]\n        addresses: [192.0.2.12/24,",
        "ports: [eth0, eth2]\n        addresses: [192.0.2.12/24,",
        &[
            "f:L:25: nodes[1].interfaces[2].bond.ports[1]: there is no interface `eth2` on this node that is its port\n  hint: did you mean `eth1`?",
        ],
    );
    check(
        "parent: bond0",
        "parent: bond0.100",
        &["f:L:19: nodes[2].interfaces[3].vlan.parent: an interface cannot stand on itself"],
    );
    check(
        "[198.51.100.13/24]",
        "[198.51.100.0/24]",
        &[
            "f:L:21: nodes[2].interfaces[3].addresses[0]: `198.51.100.0/24` is not an address that a machine can have\n  hint: write the machine's own address with the prefix length of its network",
        ],
    );
    check(
        "addresses: [198.51.100.13/24]",
        "addresses: [198.51.100.13/24]\n        gateways: [198.51.101.1]",
        &[
            "f:L+1:20: nodes[2].interfaces[3].gateways[0]: the gateway `198.51.101.1` is in no network of `bond0.100`",
            "f:L+1:20: nodes[2].interfaces[3].gateways[0]: `bond0` already has a default gateway of this address family",
        ],
    );
    check(
        "        mac: \"52:54:00:00:02:12\"\n",
        "        mac: \"52:54:00:00:02:12\"\n        addresses: [203.0.113.1/24]\n",
        &[
            "f:<name: eth1>:9: nodes[1].interfaces[1]: `eth1` is a port of `bond0` and cannot have addresses\n  hint: give them to `bond0`",
        ],
    );
}

#[test]
fn vlans() {
    let vlan = |name: &str, id: u32, parent: &str, rest: &str| {
        format!(
            "      - name: {name}\n        vlan:\n          id: {id}\n          parent: {parent}\n{rest}"
        )
    };
    let lab =
        "      - name: bond0.100\n        vlan:\n          id: 100\n          parent: bond0\n";
    let own = vlan("bond0.100", 100, "bond0", "");
    check(
        lab,
        &format!("{}{own}", vlan("twin", 100, "bond0", "")),
        &[
            "f:<- name: bond0.100>:9: nodes[2].interfaces[4].vlan: `twin` is already the VLAN 100 of `bond0`",
        ],
    );
    check(
        lab,
        &format!("{}{}{own}", vlan("a", 1, "b", ""), vlan("b", 2, "a", "")),
        &[
            "f:L+3:19: nodes[2].interfaces[3].vlan.parent: `a` stands on `b`, which stands on `a` in the end",
        ],
    );
    let fits = |mtu: u32| format!("{own}        mtu: {mtu}\n");
    check(lab, &fits(9000), &[]);
    check(
        lab,
        &fits(9001),
        &[
            "f:L:9: nodes[2].interfaces[3].mtu: frames of 9001 bytes do not fit through `bond0`, which carries 9000\n  hint: give `bond0` an `mtu` at least as large",
        ],
    );
    check(
        "        mtu: 9000\n      - name: bond0.100\n        vlan:\n          id: 100\n          parent: bond0\n",
        &fits(1501),
        &[
            "f:L:9: nodes[2].interfaces[3].mtu: frames of 1501 bytes do not fit through `bond0`, which carries 1500\n  hint: give `bond0` an `mtu` at least as large",
        ],
    );
}

#[test]
fn addresses_of_nobody() {
    for mac in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"] {
        check(
            "52:54:00:00:02:01",
            mac,
            &[&format!(
                "f:L:14: nodes[0].interfaces[0].mac: `{mac}` is not an Ethernet address of one network card like `52:54:00:12:34:56`, in lower case"
            )],
        );
    }
    for address in ["198.51.100.13/0", "127.0.0.2/8", "224.0.0.1/24", "198.51.100.255/24"] {
        check(
            "[198.51.100.13/24]",
            &format!("[{address}]"),
            &[&format!(
                "f:L:21: nodes[2].interfaces[3].addresses[0]: `{address}` is not an address that a machine can have\n  hint: write the machine's own address with the prefix length of its network"
            )],
        );
    }
    check("[198.51.100.13/24]", "[198.51.100.12/31]", &[]);
    for server in ["0.0.0.0", "255.255.255.255", "224.0.0.251"] {
        let message =
            format!("f:L:15: dns_servers[0]: `{server}` is not the address of a name server");
        check("dns_servers: [192.0.2.2,", &format!("dns_servers: [{server},"), &[&message]);
    }
}

#[test]
fn name_servers() {
    let only_ipv4 = "addresses: [192.0.2.11/24]\n        gateways: [192.0.2.1]\n      - name: eth9\n        mac: \"52:54:00:00:02:99\"\n  # Two";
    let both = "addresses: [192.0.2.11/24, \"2001:db8:2::11/64\"]\n        gateways: [192.0.2.1, \"2001:db8:2::1\"]\n  # Two network cards as one.\n";
    check(
        both,
        &format!("{only_ipv4} network cards as one.\n"),
        &[
            "f:<dns_servers>:26: dns_servers[1]: node `n1` has no address of the family of `2001:db8:2::2`\n  hint: give the node such an address, or name servers of its own with `dns_servers`",
            "f:<virtual_addresses: [\"2001>:27: keepalived.instances[1].virtual_addresses[0]: node `n1` takes part and has no interface in the network of `2001:db8:2::10`",
        ],
    );
}

#[test]
fn roles() {
    check(
        "  controller: {}",
        "  controller: {}\n  storage: {}",
        &[
            "f:L+1:12: roles.storage: no node has the role `storage`\n  hint: give it to a node or remove it",
        ],
    );
    check(
        "- name: n3\n    role: controller",
        "- name: n3\n    role: controler",
        &[
            "f:L+1:11: nodes[2].role: there is no role `controler`\n  hint: did you mean `controller`?",
        ],
    );
}

#[test]
fn virtual_addresses() {
    check(
        "virtual_addresses: [192.0.2.10, \"2001:db8:2::10\"]",
        "virtual_addresses: [203.0.113.10, \"2001:db8:2::10\"]",
        &[
            "f:L:23: api.virtual_addresses[0]: `203.0.113.10` is in no network of any node\n  hint: choose an address of a network that the nodes have",
            "f:L:23: warning: api.virtual_addresses[0]: no keepalived instance moves `203.0.113.10`\n  hint: add it to an instance of its address family",
        ],
    );
    check(
        "virtual_addresses: [192.0.2.10]",
        "virtual_addresses: [192.0.2.12]",
        &[
            "f:<virtual_addresses: [192>:23: warning: api.virtual_addresses[0]: no keepalived instance moves `192.0.2.10`\n  hint: add it to an instance of its address family",
            "f:L:27: keepalived.instances[0].virtual_addresses[0]: `192.0.2.12` is a machine's own address (nodes[1].interfaces[2].addresses[0])\n  hint: choose an address of the network that nobody has",
        ],
    );
}

#[test]
fn virtual_addresses_of_somebody() {
    let somewhere = "\n  hint: choose an address between the first and the last of the network";
    let nobodys = "\n  hint: choose an address of the network that nobody has";
    let unmoved = "\n  hint: add it to an instance of its address family";
    for (address, message) in [
        ("192.0.2.1", format!("is the gateway (nodes[0].interfaces[0].gateways[0]){nobodys}")),
        ("192.0.2.0", format!("stands for the whole network{somewhere}")),
        ("192.0.2.255", format!("stands for the whole network{somewhere}")),
    ] {
        check(
            "virtual_addresses: [192.0.2.10, \"2001:db8:2::10\"]",
            &format!("virtual_addresses: [{address}, \"2001:db8:2::10\"]"),
            &[
                &format!("f:L:23: api.virtual_addresses[0]: `{address}` {message}"),
                &format!(
                    "f:L:23: warning: api.virtual_addresses[0]: no keepalived instance moves `{address}`{unmoved}"
                ),
            ],
        );
    }
    check(
        "virtual_addresses: [\"2001:db8:2::10\"]",
        "virtual_addresses: [\"2001:db8:2::10\", \"2001:db8:2::\"]",
        &[&format!(
            "f:L:45: keepalived.instances[1].virtual_addresses[1]: `2001:db8:2::` stands for the whole network{somewhere}"
        )],
    );
}

#[test]
fn where_haproxy_listens_and_sends() {
    let nobody = "\n  hint: listen on a virtual address, an address of a node, `0.0.0.0` or `[::]`";
    check(
        "[192.0.2.10:443,",
        "[192.0.2.99:443,",
        &[&format!(
            "f:L:15: haproxy.frontends[0].binds[0]: no node has the address `192.0.2.99`{nobody}"
        )],
    );
    check("[192.0.2.10:443,", "[192.0.2.12:443, 127.0.0.1:443,", &[]);
    check(
        "\"[2001:db8:2::10]:443\"]",
        "\"[2001:db8:2::10]:22\"]",
        &[
            "f:L:31: haproxy.frontends[0].binds[1]: on nodes of the role `controller`, sshd and frontend `dashboard` both listen on port 22",
        ],
    );
    let back =
        "\n  hint: name the servers by their own addresses, and listen on another port there";
    check(
        "servers: [192.0.2.11:6443,",
        "servers: [192.0.2.10:6443,",
        &[&format!(
            "f:L:13: api.servers[0]: `192.0.2.10:6443` is where haproxy itself listens for it{back}"
        )],
    );
    check(
        "binds: [192.0.2.10:443, \"[2001:db8:2::10]:443\"]",
        "binds: [\"0.0.0.0:8080\"]",
        &[11, 12, 13].map(|number| {
            format!("f:<name: n{}\n          address>:11: haproxy.frontends[0].servers[{}].address: `192.0.2.{number}:8080` is where haproxy itself listens for it{back}", number - 10, number - 11)
        }).each_ref().map(String::as_str),
    );
    for server in ["0.0.0.0", "224.0.0.1"] {
        check(
            "servers: [192.0.2.11:6443,",
            &format!("servers: [\"{server}:6443\","),
            &[&format!(
                "f:L:13: api.servers[0]: `{server}` is not an address that a server can be reached by"
            )],
        );
    }
}

#[test]
fn keepalived() {
    check(
        "virtual_router_id: 52",
        "virtual_router_id: 51",
        &[
            "f:L:26: keepalived.instances[1].virtual_router_id: VRID `51` is already used in line <virtual_router_id: 51> (keepalived.instances[0].virtual_router_id)",
        ],
    );
    check(
        "      virtual_addresses: [192.0.2.10]\n",
        "      virtual_addresses: [192.0.2.10]\n      peers: [n1]\n",
        &[
            "f:<name: api-v4>:7: keepalived.instances[0]: an instance needs at least two nodes, this one has 1\n  hint: give a priority to a role with two nodes, or remove the instance",
        ],
    );
    check(
        "virtual_addresses: [192.0.2.10]",
        "virtual_addresses: [192.0.2.10, \"2001:db8:2::20\"]",
        &[
            "f:L:39: keepalived.instances[0].virtual_addresses[1]: one VRRP instance carries one address family (RFC 9568)\n  hint: make a second instance with a VRID of its own",
        ],
    );
    check(
        "virtual_addresses: [192.0.2.10]",
        "virtual_addresses: [192.0.2.10, 198.51.100.10]",
        &[
            "f:L:39: keepalived.instances[0].virtual_addresses[1]: node `n1` takes part and has no interface in the network of `198.51.100.10`",
            "f:L:39: keepalived.instances[0].virtual_addresses[1]: node `n2` takes part and has no interface in the network of `198.51.100.10`",
            "f:L:39: keepalived.instances[0].virtual_addresses[1]: on node `n3` this address lies behind another interface than `192.0.2.10`\n  hint: make a second instance",
        ],
    );
}

#[test]
fn what_the_pods_cannot_do() {
    check(
        "      virtual_addresses: [192.0.2.10]\n      priorities: {controller: 100}",
        "      virtual_addresses: [192.0.2.10]\n      priorities: {controller: 128}",
        &[
            "f:L+1:32: keepalived.instances[0].priorities.controller: nodes of the role `controller` run haproxy, so their priority is at most 127\n  hint: a working haproxy adds 127 to it",
        ],
    );
    check(
        "        path: /healthz\n",
        "        path: /healthz\n        tls: true\n",
        &[
            "f:L:15: haproxy.frontends[0].check.path: haproxy speaks to these servers without TLS, and cannot check them with it\n  hint: carry the bytes with `mode: tcp` and no certificate, or leave `tls` out",
        ],
    );
    check(
        "      include_node_name: true\n",
        "      include_node_name: true\n      owner: horizon\n",
        &[
            "f:L+1:14: vault.certificates[0].owner: haproxy reads `dashboard` as root without special rights\n  hint: leave `owner` out; a `group` with mode \"0640\" lets others read it",
        ],
    );
}

#[test]
fn haproxy_and_ports() {
    check(
        "certificate: dashboard",
        "certificate: dashbord",
        &[
            "f:L:20: haproxy.frontends[0].certificate: there is no certificate `dashbord`\n  hint: did you mean `dashboard`?",
        ],
    );
    check(
        "path: /healthz",
        "path: \"/healthz\\n  stats\"",
        &[
            "f:L:15: haproxy.frontends[0].check.path: not the path of an HTTP request\n  hint: write it like `/healthz`",
        ],
    );
    check(
        "[192.0.2.10:443,",
        "[192.0.2.10:6443,",
        &[
            "f:L:15: haproxy.frontends[0].binds[0]: on nodes of the role `controller`, frontend `kubernetes-api` and frontend `dashboard` both listen on port 6443",
        ],
    );
    check(
        "  templates:\n",
        "  metrics_port: 9444\n  templates:\n",
        &[
            "f:L:17: vault_agent.metrics_port: on nodes of the role `controller`, haproxy's monitor and vault-agent's metrics both listen on port 9444",
        ],
    );
    check(
        "[192.0.2.10:443,",
        "[\"0.0.0.0:22\",",
        &[
            "f:L:15: haproxy.frontends[0].binds[0]: on nodes of the role `controller`, sshd and frontend `dashboard` both listen on port 22",
        ],
    );
}

const URL_HINT: &str = "\n  hint: write a host in lower case, or an IP address (IPv6 in brackets), and a port up to 65535";

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

/// What can be used and is likely not meant.
#[test]
fn warnings() {
    check(
        "generation: 1\n",
        "generation: 010\n",
        &[
            "f:L:13: warning: generation: `010` is octal, and 8 in decimal\n  hint: leave out the leading zero, or write `0o` if octal is meant",
        ],
    );
    let (start, end) =
        (LAB.find("keepalived:\n").unwrap(), LAB.find("vault:\n  addresses").unwrap());
    let unmoved =
        "\n  hint: add the section `keepalived`, unless something outside the cluster does it";
    check(
        &LAB[start..end],
        "",
        &[
            &format!("f:<host: api.lab>:23: warning: api.virtual_addresses[0]: no keepalived instance moves `192.0.2.10`{unmoved}"),
            &format!("f:<host: api.lab>:35: warning: api.virtual_addresses[1]: no keepalived instance moves `2001:db8:2::10`{unmoved}"),
        ]
        .map(|row| row.replace("<host: api.lab>", "<virtual_addresses: [192.0.2.10, >"))
        .each_ref()
        .map(String::as_str),
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

#[test]
fn images() {
    let image = "image: registry.lab.example/basalt/haproxy:2.6@";
    let digest = "sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca";
    for name in ["Basalt/haproxy:2.6", "basalt/haproxy:", "basalt/haproxy:2:6"] {
        let name = format!("registry.lab.example/{name}");
        let message =
            "is not an image reference with a digest (`registry/name@sha256:` and 64 hex digits)";
        let expected = format!("f:L:10: haproxy.image: `{name}@{digest}` {message}");
        check(image, &format!("image: {name}@"), &[&expected]);
    }
    let hint = "\n  hint: write `registry/name:tag`, in lower case, without a digest and without `docker://`";
    let wrong = "not the name of an image in a registry";
    for name in ["pause:3.10", "docker://registry.lab.example/basalt/pause:3.10"] {
        check(
            "sandbox_image: registry.lab.example/basalt/pause:3.10",
            &format!("sandbox_image: {name}"),
            &[&format!("f:L:18: containerd.sandbox_image: {wrong}{hint}")],
        );
    }
    check(
        "reference: registry.lab.example/basalt/lab:stable",
        "reference: registry.lab.example/basalt/lab:stable:2",
        &[&format!("f:L:14: image.reference: {wrong}{hint}")],
    );
}

#[test]
fn mirrors() {
    let mirrors = "    registry.lab.example: [";
    for registry in ["registry:5000", "\"[2001:db8::1]:5000\"", "registry"] {
        check(mirrors, &format!("    {registry}: ["), &[]);
    }
    for registry in ["registry:port", "registry:0", "https://registry", "2001:db8::1"] {
        let place = format!("f:L:5: containerd.mirrors.{registry}");
        let message = "is not a registry like `registry.example` or `registry:5000`";
        check(
            mirrors,
            &format!("    {registry}: ["),
            &[&format!("{place}: `{registry}` {message}")],
        );
    }
}

/// What a later stage would find, without a place and once for each node, is found here.
#[test]
fn what_later_stages_refuse() {
    check(
        "  roles: [controller]\n  frontends:",
        "  roles: [controller]\n  max_connections: 900000\n  frontends:",
        &["f:L+1:20: haproxy.max_connections: 900000 is not between 1 and 500000"],
    );
    check(
        "    - name: dashboard\n      mode: http",
        "    - name: basalt-monitor\n      mode: http",
        &[
            "f:L:13: haproxy.frontends[0].name: `basalt-monitor` is the name of haproxy's own health answers\n  hint: choose another name",
        ],
    );
    let ipxe = "means something else to iPXE\n  hint: leave out `${`, and do not write `&&`, `||` or `;` alone";
    for argument in ["a=${b}", "||"] {
        check(
            "kernel_arguments: [mitigations=auto,",
            &format!("kernel_arguments: [\"{argument}\","),
            &[&format!("f:L:20: kernel_arguments[0]: the kernel argument `{argument}` {ipxe}")],
        );
    }
    check(
        "/dev/disk/by-id/virtio-lab-n1",
        "/dev/disk/${x}",
        &[&format!("f:L:19: nodes[0].install_disk: the disk `/dev/disk/${{x}}` {ipxe}")],
    );
    check(
        "/dev/disk/by-id/virtio-lab-n1",
        "/disk",
        &[
            "f:L:19: nodes[0].install_disk: not a device below `/dev`\n  hint: write it like `/dev/disk/by-id/…`",
        ],
    );
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efvBIqiF/jSB9PtqX+Q5L42xaD2 operator@lab.example";
    check(
        "- name: n3\n    role: controller\n",
        &format!("- name: n3\n    role: controller\n    ssh_authorized_keys: [{key}]\n"),
        &[&format!(
            "f:L+2:27: nodes[2].ssh_authorized_keys[0]: SSH key `{key}` is already used in line <ssh-ed25519> (ssh_authorized_keys[0])"
        )],
    );
    let certificate = "      include_node_name: true\n";
    let place = "vault.certificates[0]";
    for (field, message) in [
        (
            "mode: \"0000\"",
            format!(
                "f:L+1:13: {place}.mode: mode `0000` lets not even the owner read the files\n  hint: use \"0600\", or \"0640\" with a group"
            ),
        ),
        (
            "directory: /srv/a b",
            format!(
                "f:L+1:18: {place}.directory: haproxy cannot be told the folder `/srv/a b`\n  hint: use letters, digits, `.`, `_` and `-`"
            ),
        ),
    ] {
        check(certificate, &format!("{certificate}      {field}\n"), &[&message]);
    }
    let auth = "    cert:\n      role: lab-node\n      certificate_file: /var/lib/basalt/identity/certificate.pem\n      key_file: /var/lib/basalt/identity/key.pem\n";
    check(
        auth,
        "    app_role:\n      role_id: a b\n      secret_id_file: /secret\n",
        &[
            "f:L+1:16: vault.auth.app_role.role_id: not a role id: it is empty or has white space in it",
            "f:L+2:23: vault.auth.app_role.secret_id_file: vault-agent would be given the whole folder\n  hint: use a folder of its own, like `/var/lib/basalt/identity`",
        ],
    );
    let long = "c".repeat(52);
    let report = Cluster::parse(
        "f",
        LAB.replace("certificate: dashboard", &format!("certificate: {long}"))
            .replace(
                "    - name: dashboard\n      roles",
                &format!("    - name: {long}\n      roles"),
            )
            .as_bytes(),
    )
    .unwrap_err();
    assert!(report.to_string().contains("at most 51 characters fit"), "{report}");
}

#[test]
fn texts() {
    check(
        "kernel_arguments: [scsi_mod.use_blk_mq=1]",
        "kernel_arguments: [mitigations=auto]",
        &[
            "f:L:24: nodes[2].kernel_arguments[0]: kernel argument `mitigations=auto` is already used in line <kernel_arguments: [mitigations> (kernel_arguments[0])",
        ],
    );
    check(
        "/dev/disk/by-id/virtio-lab-n1",
        "/dev/a b",
        &["f:L:19: nodes[0].install_disk: not the path of a disk: it has white space in it"],
    );
    check(
        "[\"https://mirror1.lab.example\",",
        "[\"ftp://mirror1.lab.example\",",
        &[&format!(
            "f:L:28: containerd.mirrors.registry.lab.example[0]: not a URL that starts with `https://` or `http://`{URL_HINT}"
        )],
    );
    check(
        "mitigations=auto,",
        "\"mitigations=auto quiet\",",
        &[
            "f:L:20: kernel_arguments[0]: not a kernel argument: it is empty or has white space in it",
        ],
    );
    check(
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----",
        &[
            "f:<lab-vault: |>:14: trust_anchors.lab-vault: holds something else than certificates\n  hint: a trust anchor is public; a private key does not belong into this file",
        ],
    );
    let line = "    xC0VB9PtP4AZ78KJzBlpXR6GX4+xLQ==\n";
    let damaged = "certificate is cut or damaged\n  hint: copy it again, every line of it";
    for wrong in
        ["", "    xC0VB9PtP4AZ78KJzBlpXR6GX4+x!Q==\n", "    xC0VB9PtP4AZ78KJzBlpXR6GX4+x\n"]
    {
        check(line, wrong, &[&format!("f:<lab-vault: |>:14: trust_anchors.lab-vault: {damaged}")]);
    }
    check(
        "  base: scratch",
        "  base: quay.io/fedora/fedora-coreos:stable",
        &[
            "f:L:9: image.base: `quay.io/fedora/fedora-coreos:stable` is not a base image\n  hint: write `scratch`, `oci:FOLDER`, or `registry/name@sha256:…`: a tag alone may name another image tomorrow",
        ],
    );
}

/// Everything at once: no finding of the cross-checks hides another.
#[test]
fn all_at_once() {
    let text = LAB
        .replace("virtual_router_id: 52", "virtual_router_id: 51")
        .replace("ca: lab-vault", "ca: other")
        .replace("  controller: {}", "  controller: {}\n  storage: {}")
        .replace("- name: n2\n    role", "- name: n1\n    role");
    let refused = Cluster::parse("f", text.as_bytes()).unwrap_err();
    assert_eq!(refused.0.sorted().len(), 4, "{refused}");
}

/// What cannot be read hides nothing of the rest, and is not taken for missing.
#[test]
fn what_cannot_be_read_hides_nothing() {
    let all = |changes: &[(&str, &str)]| {
        let mut text = LAB.to_owned();
        for (from, to) in changes {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        let report = Cluster::parse("f", text.as_bytes()).unwrap_err().0;
        let errors =
            report.sorted().into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| format!("{}: {}", finding.path, finding.message)).collect::<Vec<_>>()
    };
    let role = ("- name: n3\n    role: controller", "- name: n3\n    role: controler");
    let no_role = "nodes[2].role: there is no role `controler`";
    let own = "`192.0.2.12` is a machine's own address (nodes[1].interfaces[2].addresses[0])";
    assert_eq!(
        all(&[
            ("generation: 1\n", "generation: x\n"),
            role,
            ("virtual_addresses: [192.0.2.10]", "virtual_addresses: [192.0.2.12]"),
        ]),
        [
            "generation: a whole number is wanted here, not `x`".to_owned(),
            no_role.to_owned(),
            format!("keepalived.instances[0].virtual_addresses[0]: {own}"),
        ]
    );
    // The VRRP instances have too few nodes that can be read, and the API's address is in no network that can be.
    assert_eq!(
        all(&[
            ("- name: n1\n    role", "- name: N1\n    role"),
            ("- name: n2\n    role", "- name: N2\n    role"),
            role,
        ]),
        [
            "nodes[0].name: `N1` is not an RFC 1123 label that is no number (a-z, 0-9 and `-`, at most 63 characters)",
            "nodes[1].name: `N2` is not an RFC 1123 label that is no number (a-z, 0-9 and `-`, at most 63 characters)",
            no_role,
        ]
    );
    // One interface stays, without the card and the addresses that it has.
    assert_eq!(
        all(&[
            ("mac: \"52:54:00:00:02:01\"", "mac: no"),
            ("addresses: [192.0.2.11/24, \"2001:db8:2::11/64\"]", "adresses: [192.0.2.11/24]"),
            ("ca: lab-vault", "ca: other"),
            ("virtual_router_id: 52", "virtual_router_id: 51"),
        ]),
        [
            "nodes[0].interfaces[0].mac: `no` is not an Ethernet address of one network card like `52:54:00:12:34:56`, in lower case",
            "nodes[0].interfaces[0].adresses: unknown field",
            "keepalived.instances[1].virtual_router_id: VRID `51` is already used in line 107 (keepalived.instances[0].virtual_router_id)",
            "vault.ca: there is no trust anchor `other`",
        ]
    );
    // Whole sections and required fields of them.
    assert_eq!(
        all(&[
            ("  host: api.lab.example\n", ""),
            ("  image: registry.lab.example/basalt/haproxy:2.6@", "  image: haproxy@"),
            ("    role: node\n", ""),
            ("  name: basalt-lab\n", "  name: Lab\n"),
            ("certificate: dashboard", "certificate: dashbord"),
            role,
        ]),
        [
            no_role,
            "api: `host` is missing",
            "haproxy.image: `haproxy@sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca` is not an image reference with a digest (`registry/name@sha256:` and 64 hex digits)",
            "haproxy.frontends[0].certificate: there is no certificate `dashbord`",
            "vault.pki: `role` is missing",
            "image.name: `Lab` is not an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)",
        ]
    );
    let text =
        LAB.replace("generation: 1\n", "generation: 1\ngeneration: 1\n").replace(role.0, role.1);
    let report = Cluster::parse("f", format!("{text}---\n").as_bytes()).unwrap_err().to_string();
    for part in ["`generation` is already set", "a second document", "no role `controler`"] {
        assert!(report.contains(part), "{report}");
    }
}

/// The files that a refused cluster names can be looked at.
#[test]
fn files_of_a_refused_cluster() {
    let reading = Reading::of("f", LAB.replace("generation: 1\n", "").as_bytes());
    assert!(reading.cluster.is_none() && reading.report.has_errors());
    let butane: Vec<&str> = reading.butane.iter().map(|file| file.as_str()).collect();
    assert_eq!(butane, ["butane/all.bu", "butane/n3.bu"]);
    assert_eq!(reading.image.unwrap().files[0].source.as_str(), "files/crictl.yaml");
    let nothing = Reading::of("f", b"[");
    assert!(nothing.report.has_errors() && nothing.butane.is_empty() && nothing.image.is_none());
}

mod never_panics {
    use super::*;
    use proptest::prelude::*;

    /// Words that stand somewhere in the lab, to be put where they do not belong.
    fn words() -> Vec<&'static str> {
        LAB.split_whitespace().collect()
    }

    proptest! {
        // Fuzzed inputs are cheap to find again; a failure becomes a row of a table above.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn on_lines_left_out(dropped in prop::collection::vec(0..LAB.lines().count(), 1..6)) {
            let kept = LAB.lines().enumerate().filter(|(index, _)| !dropped.contains(index));
            let text: Vec<&str> = kept.map(|(_, line)| line).collect();
            let _ = Cluster::parse("f", text.join("\n").as_bytes());
        }

        #[test]
        fn on_words_exchanged(pairs in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4)) {
            let words = words();
            let mut text = LAB.to_owned();
            for (from, to) in pairs {
                text = text.replacen(words[from.index(words.len())], words[to.index(words.len())], 1);
            }
            let _ = Cluster::parse("f", text.as_bytes());
        }

        #[test]
        fn on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Cluster::parse("f", &bytes);
        }
    }
}
