//! What haproxy and keepalived are told.

use basalt_model::cluster::Cluster;

use crate::{LAB, check};

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
            "f:L:15: haproxy.frontends[0].check.path: haproxy speaks to these servers without TLS, and cannot check them with it\n  hint: carry the bytes with `mode: tcp` and no certificate, or say `server_tls`",
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

#[test]
fn frontends_and_their_rules() {
    let rule = "        - http-request deny if { path_beg /admin } !operator\n";
    check(
        rule,
        "        - bind :80\n        - use_backend dashbord if operator\n        - acl a src -f /etc/hosts\n",
        &[
            "f:L:11: haproxy.frontends[0].rules[1]: the rule begins with `bind`, which is not a rule of a frontend\n  hint: rules begin with `acl`, `http-after-response`, `http-request`, `http-response`, `tcp-request`, `tcp-response` and `use_backend`",
            "f:L+1:11: haproxy.frontends[0].rules[2]: there is no backend `dashbord`\n  hint: did you mean `dashboard`?",
            "f:L+2:11: haproxy.frontends[0].rules[3]: the rule reads `/etc/hosts`, which haproxy's pod does not have\n  hint: list it under `haproxy.files` and name it `/etc/basalt/pods/haproxy/files/NAME`",
        ],
    );
    check(
        rule,
        "        - http-request deny if { path_beg /admin } !operatr\n        - http-request deny if later\n        - acl later src ::1\n",
        &[
            "f:L:11: haproxy.frontends[0].rules[1]: the rule names the ACL `operatr`, which no rule before it declares\n  hint: did you mean `operator`?",
            "f:L+1:11: haproxy.frontends[0].rules[2]: the rule names the ACL `later`, which no rule before it declares\n  hint: haproxy reads rules in their order: move the rule that declares it up",
        ],
    );
    check(
        "    - name: operators.acl\n",
        "    - name: other.acl\n",
        &[
            "f:L:7: warning: haproxy.files[0]: no rule reads `other.acl`\n  hint: name it `/etc/basalt/pods/haproxy/files/other.acl` in a rule",
            "f:<acl operator src>:11: haproxy.frontends[0].rules[0]: the rule reads `/etc/basalt/pods/haproxy/files/operators.acl`, which haproxy's pod does not have\n  hint: list it under `haproxy.files` and name it `/etc/basalt/pods/haproxy/files/NAME`",
        ],
    );
    check(
        "      check:\n        path: /healthz\n",
        "      server_tls: {ca: lab-vaul, host: www.lab.example}\n      check: {path: /healthz, status: 2xx, server_name: a.example}\n",
        &[
            "f:L:24: haproxy.frontends[0].server_tls.ca: there is no trust anchor `lab-vaul`\n  hint: did you mean `lab-vault`?",
            "f:L+1:39: haproxy.frontends[0].check.status: not a list of HTTP statuses\n  hint: write `200`, `200-299` or `200,401`",
            "f:L+1:57: haproxy.frontends[0].check.server_name: a name is verified only together with `ca`\n  hint: name the trust anchor that signs the servers' certificates",
        ],
    );
}

/// Statistics and metrics are answered on loopback, to everybody there and without a password. Nothing that can be
/// written changes either.
#[test]
fn what_haproxy_tells_of_itself_stays_on_the_node() {
    let refused = |text: &str| Cluster::parse("f", text.as_bytes()).unwrap_err().to_string();
    let roles = "  roles: [controller]\n  frontends:\n";
    for field in ["monitor_address: 0.0.0.0", "stats_password: admin"] {
        let text = LAB.replace(roles, &format!("  {field}\n{roles}"));
        let line = 1 + text.lines().position(|line| line.contains(field)).unwrap();
        let name = field.split(':').next().unwrap();
        let expected = format!("f:{line}:3: haproxy.{name}: unknown field");
        assert!(refused(&text).contains(&expected), "{}", refused(&text));
    }
    let stats = "the rule begins with `stats`, which is not a rule of a frontend\n  hint: rules begin with `acl`, `http-after-response`, `http-request`, `http-response`, `tcp-request`, `tcp-response` and `use_backend`";
    check(
        "        - http-request deny if { path_beg /admin } !operator\n",
        "        - stats uri /stats\n        - stats auth admin:admin\n        - http-request use-service prometheus-exporter if { path /metrics }\n",
        &[
            &format!("f:L:11: haproxy.frontends[0].rules[1]: {stats}"),
            &format!("f:L+1:11: haproxy.frontends[0].rules[2]: {stats}"),
            "f:L+2:11: haproxy.frontends[0].rules[3]: the rule answers with `prometheus-exporter`: what haproxy tells of itself stays on loopback\n  hint: let a scraper on the node ask for `/metrics` at `haproxy.monitor_port`",
        ],
    );
    for (written, shown) in [
        ("127.0.0.1:9444", "127.0.0.1:9444"),
        ("\"[::ffff:127.0.0.1]:9444\"", "[::ffff:127.0.0.1]:9444"),
    ] {
        check(
            "address: 192.0.2.11:8080",
            &format!("address: {written}"),
            &[&format!(
                "f:<- name: n1\n          address>:11: haproxy.frontends[0].servers[0].address: `{shown}` is haproxy's own monitor, which nobody is to reach but the node\n  hint: let a scraper on the node ask for `/metrics` there, or carry what another program offers"
            )],
        );
    }
    let text = LAB.replace("address: 192.0.2.11:8080", "address: 127.0.0.1:9555");
    assert!(Cluster::parse("f", text.as_bytes()).is_ok(), "a program of the node");
    let text = text.replace(roles, &format!("  monitor_port: 9555\n{roles}"));
    assert!(refused(&text).contains("`127.0.0.1:9555` is haproxy's own monitor"));
}

#[test]
fn own_pods() {
    check(
        "  - name: exporter\n    manifest: pods/exporter.yaml\n    roles: [controller]\n",
        "  - name: haproxy\n    manifest: pods/exporter.yaml\n    roles: [controler]\n",
        &[
            "f:L:11: pods[0].name: `haproxy` is a pod that Basalt makes by itself\n  hint: choose another name, or set it up under `haproxy`",
            "f:L+2:13: pods[0].roles[0]: there is no role `controler`\n  hint: did you mean `controller`?",
        ],
    );
    check(
        "    roles: [controller]\n    files:\n",
        "    roles: []\n    files:\n",
        &[
            "f:<- name: exporter>:5: pods[0].roles: no role is named, so nothing runs it\n  hint: name a role, or remove the pod",
        ],
    );
}
