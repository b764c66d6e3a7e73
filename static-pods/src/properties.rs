//! Laws that hold for every node, tried on nodes made at random from the lab's.

use basalt_model::names::{Endpoint, ItemName};
use basalt_model::node::{
    Ask, Balance, CheckTls, Frontend, HealthCheck, Node, ProxyMode, ProxyProtocol, Server,
    ServerTls, VaultTemplate,
};
use basalt_model::report::Report;
use basalt_model::yaml::{Value, Yaml, parse, print::print, scalar};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

use crate::{CONFIG_DIRECTORY, RenderError, parts, pods, render};

/// A manifest as the kubelet reads it: what is not quoted is resolved by the rules of YAML 1.1.
fn as_json(yaml: &Yaml) -> Json {
    match &yaml.resolved().value {
        Value::Scalar(text) if scalar::is_null(text) => Json::Null,
        Value::Scalar(text) => match (scalar::as_bool(text), scalar::as_integer(text)) {
            (Some(flag), _) => json!(flag),
            (None, Some(number)) => json!(i64::try_from(number).unwrap()),
            (None, None) => json!(text.text),
        },
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Map(entries) => {
            let key = |key: &Yaml| key.as_scalar().unwrap().text.clone();
            Json::Object(entries.iter().map(|(k, v)| (key(k), as_json(v))).collect())
        }
        Value::Alias(_) => unreachable!("aliases are resolved"),
    }
}

fn lab(name: &str) -> Node {
    let text = match name {
        "n1" => include_str!("../tests/lab/n1.json"),
        "n2" => include_str!("../tests/lab/n2.json"),
        _ => include_str!("../tests/lab/n3.json"),
    };
    Node::from_json(name, text).unwrap()
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = select(vec!["0.0.0.0", "192.0.2.10", "127.0.0.1", "[::]", "[2001:db8:2::10]"]);
    (address, 1..=u16::MAX).prop_map(|(address, port)| format!("{address}:{port}").parse().unwrap())
}

fn name() -> impl Strategy<Value = ItemName> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let path = prop_oneof!["/[a-z0-9/?=&%._-]{0,12}", ".{0,12}"];
    let http = (path, "[0-9,-]{0,7}|.{0,3}").prop_map(|(path, status)| Ask::Http {
        path,
        host: None,
        status,
    });
    let ask = prop_oneof![Just(Ask::Connect), http];
    let tls = select(vec![CheckTls::Off, CheckTls::Unverified]);
    (ask, tls, [number(), number()]).prop_map(|(ask, tls, numbers)| HealthCheck {
        ask,
        tls,
        interval_seconds: numbers[0],
        fall: numbers[1],
        ..HealthCheck::connect()
    })
}

fn server() -> impl Strategy<Value = Server> {
    let proxy = select(vec![None, Some(ProxyProtocol::V1), Some(ProxyProtocol::V2)]);
    (name(), endpoint(), any::<bool>(), proxy).prop_map(|(name, address, backup, send_proxy)| {
        Server { backup, send_proxy, ..Server::new(name, address) }
    })
}

fn frontend() -> impl Strategy<Value = Frontend> {
    let rule = prop_oneof!["http-request deny if \\{ path /[a-z]{1,3} \\}", ".{0,12}"];
    let anchor = |ca: &str| ServerTls {
        ca: ca.parse().unwrap(),
        host: "servers.lab.example".parse().unwrap(),
    };
    (
        (name(), prop::collection::vec(endpoint(), 0..4)),
        select(vec![ProxyMode::Tcp, ProxyMode::Http]),
        prop::option::of(select(vec!["ingress", "absent"])),
        (any::<bool>(), prop::option::of(number()), prop::option::of(number())),
        prop::collection::vec(rule, 0..3),
        prop::option::of(select(vec![anchor("vault"), anchor("absent")])),
        health_check(),
        prop::collection::vec(server(), 0..6),
    )
        .prop_map(|((name, binds), mode, certificate, limits, rules, tls, check, servers)| {
            let certificate = certificate.map(|text| text.parse().unwrap());
            Frontend {
                name,
                binds,
                mode,
                certificate,
                accept_proxy: limits.0,
                max_connections: limits.1,
                max_connections_per_second: limits.2,
                rules,
                balance: Balance::Source,
                server_tls: tls,
                check,
                servers,
            }
        })
}

fn template() -> impl Strategy<Value = VaultTemplate> {
    (name(), ".*", "(/[a-z ${}\"]{1,8}){1,4}", "0[0-7]{3}").prop_map(
        |(name, contents, destination, mode)| VaultTemplate {
            name,
            contents,
            destination: destination.parse().unwrap(),
            mode: mode.parse().unwrap(),
            user_id: 1000,
            group_id: 0,
        },
    )
}

/// The bounds as often as what lies between them.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()]
}

/// Any node the types allow, sound and unsound ones, with up to 40 frontends.
fn node() -> impl Strategy<Value = Node> {
    (
        select(vec!["n1", "n2", "n3"]),
        prop::collection::vec(frontend(), 0..40),
        prop::collection::vec(template(), 0..4),
        any::<[u16; 2]>(),
        [number(), number()],
        any::<[u8; 3]>(),
        any::<[bool; 4]>(),
    )
        .prop_map(|(base, frontends, templates, ports, numbers, bytes, keep)| {
            let mut node = lab(base);
            if let Some(haproxy) = &mut node.haproxy {
                haproxy.frontends = frontends;
                haproxy.monitor_port = ports[0];
                (haproxy.max_connections, haproxy.idle_timeout_seconds) = (numbers[0], numbers[1]);
            }
            if let Some(keepalived) = &mut node.keepalived {
                let instance = &mut keepalived.instances[0];
                instance.priority = bytes[0];
                instance.virtual_router_id = bytes[1];
                instance.peers.truncate(usize::from(bytes[2] % 3));
            }
            if let Some(agent) = &mut node.vault_agent {
                agent.templates = templates;
                agent.metrics_port = ports[1];
            }
            node.haproxy = node.haproxy.filter(|_| keep[0]);
            node.keepalived = node.keepalived.filter(|_| keep[1]);
            node.vault_agent = node.vault_agent.filter(|_| keep[2]);
            node.vault = node.vault.filter(|_| keep[3]);
            node
        })
}

/// Nodes that differ from the lab's without being unsound: frontends by the dozen, each on a port of its own.
fn sound_node() -> impl Strategy<Value = Node> {
    (1_u16..60, any::<bool>(), "[ -~\n]{0,200}").prop_map(|(count, with_tls, template)| {
        let mut node = lab("n2");
        node.vault_agent.as_mut().unwrap().templates[0].contents = template;
        let frontends = &mut node.haproxy.as_mut().unwrap().frontends;
        let pattern = frontends[if with_tls { 1 } else { 0 }].clone();
        frontends.clear();
        for index in 0..count {
            let mut frontend = pattern.clone();
            frontend.name = format!("f-{index}").parse().unwrap();
            for bind in &mut frontend.binds {
                bind.0.set_port(20_000 + index);
            }
            frontends.push(frontend);
        }
        node
    })
}

proptest! {
    #[test]
    fn render_answers_every_node(node in node()) {
        match render(&node) {
            Ok(rendered) => prop_assert!(rendered.is_sorted_by_key(|pod| pod.name.clone())),
            Err(error) => prop_assert!(!error.findings().is_empty()),
        }
    }

    #[test]
    fn a_sound_node_has_its_pods(node in sound_node()) {
        let rendered = render(&node).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&rendered, &render(&node).unwrap());
        for pod in rendered {
            prop_assert!(pod.manifest.ends_with('\n'));
            prop_assert!(pod.files.is_sorted_by_key(|file| file.path.clone()));
            let folder = format!("{CONFIG_DIRECTORY}/{}/", pod.name);
            prop_assert!(pod.files.iter().all(|file| file.path.as_str().starts_with(&folder)));
        }
    }

    #[test]
    fn manifests_read_back_as_what_was_checked(node in sound_node()) {
        let (drafts, _) = pods::drafts(&node);
        for manifest in drafts.iter().map(parts::Draft::to_manifest) {
            let mut report = Report::new("manifest");
            let text = print(&manifest.value);
            let read = parse(text.as_bytes(), &mut report).and_then(|stream| stream.first);
            prop_assert_eq!(read.as_ref().map(as_json), Some(manifest.value), "{}", report);
        }
    }

    /// Whatever a health check asks for, it stays one line of the config.
    #[test]
    fn a_check_path_is_one_line_or_refused(path in "\\PC{0,8}|.{0,12}|/[!-~]{0,12}") {
        let mut node = lab("n1");
        let lines = |node: &Node| {
            let pods = render(node)?;
            Ok::<_, RenderError>(pods[0].files[0].contents.lines().count())
        };
        let before = lines(&node).unwrap();
        let check = HealthCheck::http(path.clone());
        node.haproxy.as_mut().unwrap().frontends[1].check = check;
        if let Ok(after) = lines(&node) {
            prop_assert_eq!(before, after);
            prop_assert!(!path.contains(['\'', '"', '\\', '$', '#', ' ']));
        }
    }

    /// The same for what people write themselves.
    #[test]
    fn a_rule_is_one_line_or_refused(rule in "(acl|http-request|tcp-request) [ -~\n\r\t]{0,20}|\\PC{0,9}") {
        let mut node = lab("n1");
        let lines = |node: &Node| {
            let pods = render(node)?;
            Ok::<_, RenderError>(pods[0].files[0].contents.lines().count())
        };
        let before = lines(&node).unwrap();
        node.haproxy.as_mut().unwrap().frontends[1].rules = vec![rule];
        if let Ok(after) = lines(&node) {
            prop_assert_eq!(before + 1, after);
        }
    }
}
