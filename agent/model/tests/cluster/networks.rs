//! Interfaces, addresses and what they have to do with each other.

use crate::check;

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
