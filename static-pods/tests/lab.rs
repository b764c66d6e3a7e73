//! Renders the three-node lab and compares every manifest and config file with the files beside it.
//!
//! `UPDATE_EXPECT=1` writes them anew; review the difference like code.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::path::{Path, PathBuf};

use basalt_model::node::{Node, OwnPod, OwnPodFile};
use basalt_static_pods::{CONFIG_DIRECTORY, RenderError, StaticPod, render};
use expect_test::expect_file;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab")
}

fn node(name: &str) -> Node {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    Node::from_json(&path.display().to_string(), &text).unwrap()
}

fn pod<'a>(pods: &'a [StaticPod], name: &str) -> &'a StaticPod {
    pods.iter().find(|pod| pod.name.as_str() == name).unwrap()
}

/// The contents of the only file whose path ends so.
fn file<'a>(pods: &'a [StaticPod], pod_name: &str, end: &str) -> &'a str {
    let mut files =
        pod(pods, pod_name).files.iter().filter(|file| file.path.as_str().ends_with(end));
    let file = files.next().unwrap();
    assert!(files.next().is_none());
    &file.contents
}

#[test]
fn golden() {
    let pods = render(&node("n1")).unwrap();
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["haproxy", "keepalived", "vault-agent"]);
    for pod in &pods {
        let golden = folder().join(format!("n1/manifests/{}.yaml", pod.name));
        expect_file![golden].assert_eq(&pod.manifest);
        for file in &pod.files {
            let below = file.path.as_str().strip_prefix(CONFIG_DIRECTORY).unwrap();
            expect_file![folder().join(format!("n1/pods{below}"))].assert_eq(&file.contents);
        }
    }
}

#[test]
fn nodes_differ_where_they_must() {
    for name in ["n2", "n3"] {
        let pods = render(&node(name)).unwrap();
        let golden = folder().join(format!("{name}/pods/keepalived/keepalived.conf"));
        expect_file![golden].assert_eq(file(&pods, "keepalived", "keepalived.conf"));
        let first = render(&node("n1")).unwrap();
        // Of its own and the others' addresses only the witness speaks.
        let configs = [&first, &pods].map(|pods| file(pods, "haproxy", "haproxy.cfg"));
        let lines = configs[0].lines().zip(configs[1].lines());
        assert_eq!(configs[0].lines().count(), configs[1].lines().count());
        for (line, other) in lines.filter(|(line, other)| line != other) {
            let is_witness = |line: &str| line.ends_with(":9446") || line.contains("unless { src ");
            assert!(is_witness(line) && is_witness(other), "{line}, {other}");
        }
        assert_eq!(pod(&pods, "vault-agent"), pod(&first, "vault-agent"));
    }
}

#[track_caller]
fn manifests_that_differ(change: impl Fn(&mut Node)) -> Vec<String> {
    let mut changed = node("n1");
    change(&mut changed);
    let (before, after) = (render(&node("n1")).unwrap(), render(&changed).unwrap());
    assert_ne!(before, after);
    let differ = |(a, b): &(&StaticPod, &StaticPod)| a.manifest != b.manifest;
    before.iter().zip(&after).filter(differ).map(|(pod, _)| pod.name.to_string()).collect()
}

/// Programs that take a new config while they run keep their manifest, so the kubelet leaves them alone.
#[test]
fn a_config_change_rolls_only_what_cannot_take_it() {
    let none: [&str; 0] = [];
    let timeout = |node: &mut Node| node.haproxy.as_mut().unwrap().idle_timeout_seconds += 1;
    assert_eq!(manifests_that_differ(timeout), none);
    let priority = |node: &mut Node| node.keepalived.as_mut().unwrap().instances[0].priority -= 1;
    assert_eq!(manifests_that_differ(priority), none);
    let template = |node: &mut Node| {
        node.vault_agent.as_mut().unwrap().templates[0].contents.push('x');
    };
    assert_eq!(manifests_that_differ(template), ["vault-agent"]);
    let port = |node: &mut Node| {
        node.haproxy.as_mut().unwrap().frontends[2].binds[0].0.set_port(5001);
    };
    assert_eq!(manifests_that_differ(port), ["haproxy"]);
}

#[test]
fn a_node_without_pods_has_none() {
    let mut node = node("n1");
    (node.haproxy, node.keepalived, node.vault_agent) = (None, None, None);
    assert_eq!(render(&node).unwrap(), []);
}

/// Only what the binds and certificates need.
#[test]
fn haproxy_has_no_right_that_it_does_not_need() {
    let mut node = node("n1");
    node.haproxy.as_mut().unwrap().frontends.remove(1);
    let pods = render(&node).unwrap();
    let manifest = &pod(&pods, "haproxy").manifest;
    assert!(!manifest.contains("add:"), "{manifest}");
    assert!(!manifest.contains("certificate-"), "{manifest}");
}

#[track_caller]
fn check(change: impl Fn(&mut Node), expected: &[&str]) {
    let mut node = node("n1");
    change(&mut node);
    let error = render(&node).expect_err("such a node is refused");
    let found: Vec<String> = error.findings().iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn refused_haproxy() {
    use basalt_model::node::{HealthCheck, ProxyMode};
    let path = |text: &str| HealthCheck::http(text);
    check(
        |node| node.haproxy.as_mut().unwrap().frontends[1].check = path("/a' \n    server x"),
        &[
            "haproxy.frontends[1].check.path: `/a\\' \\n    server x` is not an absolute path of a request (begin with `/`, write other characters as `%20`)",
        ],
    );
    check(
        |node| {
            let frontend = &mut node.haproxy.as_mut().unwrap().frontends[0];
            frontend.mode = ProxyMode::Http;
            frontend.name = "basalt-monitor".parse().unwrap();
            frontend.servers[1].name = "n1".parse().unwrap();
        },
        &[
            "haproxy.frontends[0].name: names that begin with `basalt-` are taken by health answers",
            "haproxy.frontends[0].servers[1].name: `n1` is already at haproxy.frontends[0].servers[0].name",
            "haproxy.frontends[0].check.tls: the servers expect TLS, but haproxy would send them plain bytes; use mode `tcp` without a certificate, or `server_tls`",
        ],
    );
    check(
        |node| node.vault.as_mut().unwrap().certificates[0].name = "other".parse().unwrap(),
        &["haproxy.frontends[1].certificate: `ingress` is not a certificate of this node"],
    );
    check(
        |node| node.vault.as_mut().unwrap().certificates[0].owner = "haproxy".to_owned(),
        &[
            "vault.certificates[0].owner: belongs to `haproxy` with mode 0600: haproxy runs as root without the capability to read other users' files; let `root` own it",
        ],
    );
    check(
        |node| node.vault.as_mut().unwrap().certificates[0].directory = "/a b".parse().unwrap(),
        &[
            "vault.certificates[0].directory: haproxy cannot read from `/a b`: use letters, digits, `.`, `_`, `-`",
        ],
    );
    check(
        |node| {
            let haproxy = node.haproxy.as_mut().unwrap();
            haproxy.connect_timeout_seconds = 0;
            haproxy.tunnel_timeout_seconds = u32::MAX;
            haproxy.max_connections = u32::MAX;
            haproxy.frontends.remove(1);
            haproxy.frontends[1].name = "kubernetes-api".parse().unwrap();
        },
        &[
            "haproxy.frontends[1].name: `kubernetes-api` is already at haproxy.frontends[0].name",
            "haproxy.connect_timeout_seconds: must be between 1 and 2147483, not 0",
            "haproxy.tunnel_timeout_seconds: must be between 1 and 2147483, not 4294967295",
            "haproxy.max_connections: must be between 1 and 500000, not 4294967295",
        ],
    );
}

#[test]
fn refused_rules_and_anchors() {
    use basalt_model::node::ServerTls;
    check(
        |node| {
            let frontend = &mut node.haproxy.as_mut().unwrap().frontends[1];
            frontend.rules = ["bind :80", "acl a src -f /etc/shadow", "http-request deny if !b"]
                .map(str::to_owned)
                .to_vec();
            let host = "servers.lab.example".parse().unwrap();
            frontend.server_tls = Some(ServerTls { ca: "other".parse().unwrap(), host });
        },
        &[
            "haproxy.frontends[1]: the node has no trust anchor `other`",
            "haproxy.frontends[1].rules[0]: begins with `bind`, which is not a rule of a frontend",
            "haproxy.frontends[1].rules[1]: reads `/etc/shadow`, which haproxy's pod does not have",
            "haproxy.frontends[1].rules[2]: names the ACL `b`, which no rule before it declares",
        ],
    );
}

#[test]
fn refused_keepalived() {
    check(
        |node| node.keepalived.as_mut().unwrap().instances[0].peers.clear(),
        &[
            "keepalived.instances[0].peers: is empty: alone, this node would hold the addresses whatever the others do",
        ],
    );
    check(
        |node| {
            let instances = &mut node.keepalived.as_mut().unwrap().instances;
            instances[0].priority = 128;
            instances[0].interface = "eth9".parse().unwrap();
            instances[1].peers[1] = "192.0.2.13".parse().unwrap();
            instances[1].virtual_addresses[0] = "2001:db8:2::11/64".parse().unwrap();
        },
        &[
            "keepalived.instances[0].priority: must be between 1 and 127, not 128, since a working haproxy adds 127 to it",
            "keepalived.instances[0].interface: the node has no interface `eth9`",
            "keepalived.instances[1].peers[1]: `192.0.2.13` is not of the family of `2001:db8:2::11`",
            "keepalived.instances[1].virtual_addresses[0]: `2001:db8:2::11` is this node's own address",
        ],
    );
    check(
        |node| {
            let keepalived = node.keepalived.as_mut().unwrap();
            let mut copy = keepalived.instances[0].clone();
            copy.source = "192.0.2.99".parse().unwrap();
            keepalived.instances.push(copy);
            keepalived.instances[1].virtual_router_id = 51;
        },
        &[
            "keepalived.instances[2].name: `api-ipv4` is already at keepalived.instances[0].name",
            "keepalived.instances[2].virtual_router_id: `51 on bond0 (IPv4)` is already at keepalived.instances[0].virtual_router_id",
            "keepalived.instances[2].source: `192.0.2.99` is not an address of `bond0`",
        ],
    );
}

/// Without a haproxy nothing is added to the priority, so all of VRRP's range is free.
#[test]
fn keepalived_alone() {
    let mut node = node("n1");
    node.haproxy = None;
    node.keepalived.as_mut().unwrap().instances[0].priority = 253;
    let pods = render(&node).unwrap();
    assert!(!file(&pods, "keepalived", "keepalived.conf").contains("curl"));
}

#[test]
fn refused_vault_agent() {
    check(
        |node| node.vault = None,
        &[
            "haproxy.frontends[1].certificate: `ingress` is not a certificate of this node",
            "vault_agent: the node has no `vault` to ask",
        ],
    );
    check(
        |node| {
            let vault = node.vault.as_mut().unwrap();
            vault.addresses[0] = "http://192.0.2.21:8200".to_owned();
            vault.addresses[1] = "https://a'; reboot '".to_owned();
            vault.ca = "other".parse().unwrap();
            node.vault_agent.as_mut().unwrap().templates[0].destination =
                "/password".parse().unwrap();
        },
        &[
            "vault.addresses[0]: `http://192.0.2.21:8200` is not `https://host:port`",
            "vault.addresses[1]: `https://a\\'; reboot \\'` is not `https://host:port`",
            "vault.ca: the node has no trust anchor `other`",
            "vault_agent.templates[0].destination: `/password` must lie in a folder, which is mounted",
        ],
    );
}

fn own(name: &str, manifest: &str) -> OwnPod {
    OwnPod {
        name: name.parse().unwrap(),
        source: format!("pods/{name}.yaml").parse().unwrap(),
        manifest: manifest.to_owned(),
        files: vec![OwnPodFile {
            name: "a.conf".parse().unwrap(),
            contents: "a = 1\n".to_owned(),
            mode: "0600".parse().unwrap(),
        }],
        capabilities: Vec::new(),
        is_privileged: false,
    }
}

/// The manifest of the worked example.
const EXPORTER: &str = include_str!("../../tests/clusters/lab/pods/exporter.yaml");

#[test]
fn own_pods_stay_as_they_were_written() {
    let mut node = node("n1");
    node.pods = vec![own("exporter", EXPORTER)];
    let pods = render(&node).unwrap();
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["exporter", "haproxy", "keepalived", "vault-agent"]);
    let (digest, manifest) = pods[0].manifest.split_once('\n').unwrap();
    assert!(digest.starts_with("# basalt.dev/config-sha256: "), "{digest}");
    assert_eq!(manifest, EXPORTER);
    let file = &pods[0].files[0];
    assert_eq!(file.path.as_str(), "/etc/basalt/pods/exporter/a.conf");
    assert_eq!((file.contents.as_str(), file.mode), ("a = 1\n", 0o600));
    // Without files there is nothing that could change.
    node.pods[0].files.clear();
    assert_eq!(render(&node).unwrap()[0].manifest, EXPORTER);
}

/// Another manifest makes the agent replace the pod.
#[test]
fn a_changed_file_changes_the_manifest_of_an_own_pod() {
    let mut node = node("n1");
    node.pods = vec![own("exporter", EXPORTER)];
    let manifest = |node: &Node| pod(&render(node).unwrap(), "exporter").manifest.clone();
    let mut seen = std::collections::BTreeSet::from([manifest(&node)]);
    let haproxy = pod(&render(&node).unwrap(), "haproxy").manifest.clone();
    node.pods[0].files[0].contents.push_str("b = 2\n");
    seen.insert(manifest(&node));
    node.pods[0].files[0].mode = "0644".parse().unwrap();
    seen.insert(manifest(&node));
    node.pods[0].files[0].name = "b.conf".parse().unwrap();
    seen.insert(manifest(&node));
    assert_eq!(seen.len(), 4);
    // A load balancer takes its new config while it runs.
    let frontend = &mut node.haproxy.as_mut().unwrap().frontends[0];
    frontend.rules.push("http-request deny if FALSE".to_owned());
    let pods = render(&node).unwrap();
    assert!(file(&pods, "haproxy", "haproxy.cfg").contains("deny if FALSE"));
    assert_eq!(pod(&pods, "haproxy").manifest, haproxy);
}

#[test]
fn refused_own_pods() {
    check(
        |node| node.pods = vec![own("haproxy", EXPORTER), own("a", ""), own("a", "")],
        &[
            "pods[2].name: `a` is already at pods[1].name",
            "pods[0].name: `haproxy` is the name of a pod of ours",
        ],
    );
    check(
        |node| node.pods = vec![own("other", EXPORTER)],
        &[
            "pods/other.yaml: metadata.name: the pod is called `exporter` here and `other` in the cluster",
        ],
    );
    let unpinned = EXPORTER.split("@sha256").next().unwrap().to_owned()
        + EXPORTER.split_once("d6c55").unwrap().1;
    check(
        |node| node.pods = vec![own("exporter", &unpinned)],
        &[
            "pods/exporter.yaml:17:12: spec.containers[0].image: the image is not named by its digest, so it can change behind the node's back [basalt-image-digest]; add `@sha256:…`",
        ],
    );
    // Two pods that are fine by themselves.
    let taken = EXPORTER.replace("9100", "9444");
    check(
        |node| node.pods = vec![own("exporter", &taken)],
        &[
            "pods/exporter.yaml:22:17: spec.containers[0].ports[0].hostPort: port 9444 (TCP) of the host is taken by the pod in `haproxy.yaml` [host-port]; choose another port, or another `hostIP`",
        ],
    );
}

/// What only shows once the manifests are made.
#[test]
fn refused_manifests() {
    check(
        |node| {
            node.vault_agent.as_mut().unwrap().metrics_port = 9444;
            node.haproxy.as_mut().unwrap().frontends[2].binds =
                vec!["192.0.2.11:443".parse().unwrap()];
        },
        &[
            "haproxy.yaml: spec.containers[0].ports[5].hostPort: port 443 (TCP) of the host is taken in this pod already; choose another port, or another `hostIP`",
            "vault-agent.yaml: spec.containers[0].ports[0].hostPort: port 9444 (TCP) of the host is taken by the pod in `haproxy.yaml`; choose another port, or another `hostIP`",
        ],
    );
    check(
        |node| {
            let mut template = node.vault_agent.as_ref().unwrap().templates[0].clone();
            template.name = "two".parse().unwrap();
            template.destination = "/etc/password".parse().unwrap();
            node.vault_agent.as_mut().unwrap().templates.push(template.clone());
            template.name = "three".parse().unwrap();
            template.destination = "/var/lib/basalt/identity/x".parse().unwrap();
            node.vault_agent.as_mut().unwrap().templates.push(template);
        },
        &[
            "vault-agent.yaml: spec.containers[0].volumeMounts[4].mountPath: `/var/lib/basalt/identity` is mounted on already; mount each volume on a path of its own",
            "vault-agent.yaml: spec.containers[0].volumeMounts[3].mountPath: would hide the image's own `/etc`; use a folder of its own",
        ],
    );
    let mut node = node("n1");
    node.vault_agent.as_mut().unwrap().metrics_port = 9444;
    assert!(matches!(render(&node), Err(RenderError::Manifest { .. })));
}
