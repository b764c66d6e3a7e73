//! Changing pods on a node with the real kubelet and containerd: how long nobody answers, that there are never two of
//! one kind, and that a config alone costs nobody anything.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "replace/lab.rs"]
mod lab;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::peers::{Peer, peer};
use lab::{Lab, PORT, Wanted, Watch};

/// From the moment that the port closes until it answers again.
const GOAL: Duration = Duration::from_secs(3);

fn first() -> Wanted {
    Wanted { generation: 1, version: "v1".into(), haproxy: 0, keepalived: None }
}

fn next(wanted: &mut Wanted) {
    wanted.generation += 1;
    wanted.version = format!("v{}", wanted.generation);
}

/// Back and forth between two contents, so that each return is one to a pod that ended seconds ago.
#[test]
fn a_pod_is_replaced_within_three_seconds() {
    let mut wanted = first();
    let Some(lab) = Lab::start(&wanted) else { return };
    let watch = Watch::start(&lab, "haproxy");
    let mut holes = Vec::new();
    for round in 0..30 {
        next(&mut wanted);
        wanted.haproxy = 1 - wanted.haproxy;
        let before = lab.uid("haproxy");
        lab.want(&wanted);
        holes.push(lab.wait_for(&wanted.version));
        lab.wait_for_serving(wanted.generation);
        assert_ne!(lab.uid("haproxy"), before);
        // At another moment of the kubelet's own rounds each time.
        std::thread::sleep(Duration::from_millis(130 * (round % 8)));
    }
    let seen = watch.stop();
    holes.sort();
    println!("without an answer, in 30 replaces: {holes:?}; {} looks", seen.looks);
    assert!(seen.together.is_empty(), "{seen:?}");
    assert_eq!(seen.pods.len(), 31, "every run was seen");
    assert!(holes.last().unwrap() < &GOAL, "{holes:?}\n{}", lab.journal());
}

/// Both pods at once, the agent killed in the middle, again and again: it makes up for it, and there are never two of a
/// kind.
#[test]
fn an_agent_that_is_killed_leaves_no_two_of_a_kind() {
    let mut wanted = Wanted { keepalived: Some(0), ..first() };
    let Some(lab) = Lab::start(&wanted) else { return };
    let watches = ["haproxy", "keepalived"].map(|program| Watch::start(&lab, program));
    for round in 0..8 {
        next(&mut wanted);
        wanted.haproxy = 1 - wanted.haproxy;
        wanted.keepalived = wanted.keepalived.map(|number| 1 - number);
        lab.want(&wanted);
        // From before the first removal to after the last write.
        std::thread::sleep(Duration::from_millis(300 + 900 * round));
        lab.machine.kill_main("basalt-agent.service").unwrap();
        lab.wait_for(&wanted.version);
        lab.wait_for_serving(wanted.generation);
    }
    for watch in watches {
        let seen = watch.stop();
        assert!(seen.together.is_empty(), "{seen:?}\n{}", lab.journal());
        assert!(seen.pods.len() >= 9, "{seen:?}");
    }
}

/// The kubelet's own UIDs would change, and with them the pods, the new ones beside the old.
#[test]
fn pods_outlive_a_kubelet_with_another_node_name() {
    let wanted = Wanted { keepalived: Some(0), ..first() };
    let Some(lab) = Lab::start(&wanted) else { return };
    let watches = ["haproxy", "keepalived"].map(|program| Watch::start(&lab, program));
    let environment = "BASALT_NODE_NAME=renamed\nBASALT_NODE_IP=192.0.2.11\n";
    lab.machine.tree().write("/etc/kubernetes/kubelet.env", environment, 0o644).unwrap();
    lab.machine.output(&["systemctl", "restart", "kubelet.service"]).unwrap();
    let start = Instant::now();
    // The kubelet kills what it does not know within its first rounds.
    while start.elapsed() < Duration::from_secs(30) {
        assert_eq!(lab.answer().as_deref(), Some("v1"), "{}", lab.journal());
        std::thread::sleep(Duration::from_millis(100));
    }
    for watch in watches {
        let seen = watch.stop();
        assert_eq!((seen.pods.len(), seen.together.len()), (1, 0), "{seen:?}");
    }
}

/// 100,000 requests and more, with new configs all the time, and one that haproxy refuses.
#[test]
fn a_new_config_loses_no_request_and_keeps_the_pod() {
    let mut wanted = first();
    let Some(lab) = Lab::start(&wanted) else { return };
    let Some(wrk) = peer("wrk") else { return };
    let uid = lab.uid("haproxy");
    // Connections that stay, which the worker of their time goes on serving, and one for each request.
    for header in ["Connection: keep-alive", "Connection: close"] {
        let (mut requests, mut changes) = (0, 0);
        while requests < 100_000 {
            let (more, said) = under_load(&lab, &wrk, header, || {
                for _ in 0..3 {
                    next(&mut wanted);
                    lab.want(&wanted);
                    assert_eq!(lab.wait_for(&wanted.version), Duration::ZERO);
                    lab.wait_for_serving(wanted.generation);
                    changes += 1;
                }
            });
            assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
            requests += more;
        }
        println!("`{header}`: {requests} requests, {changes} new configs, none lost");
    }

    // What haproxy refuses is not brought in, and said.
    wanted.generation += 1;
    let mut node = lab.node(&wanted);
    node.haproxy.as_mut().unwrap().frontends[0].rules = vec!["http-request no-such-action".into()];
    let config = lab.machine.root().join("etc/basalt/pods/haproxy/haproxy.cfg");
    let before = std::fs::read_to_string(&config).unwrap();
    lab.write_node(&node);
    let told = || lab.phase().contains("no-such-action").then_some(());
    e2e::wait::until("the refusal", lab::LIMIT, told).unwrap();
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    assert_eq!(lab.answer().as_deref(), Some(wanted.version.as_str()));
    assert_eq!(lab.uid("haproxy"), uid);
    assert!(lab.phase().contains("the old files are back"), "{}", lab.phase());
}

/// Ten seconds of requests while `change` works: how many there were, and what wrk says of them.
fn under_load(lab: &Lab, wrk: &Peer, header: &str, change: impl FnOnce()) -> (u64, String) {
    let url = format!("http://127.0.0.1:{PORT}/");
    let target = format!("--target={}", lab.machine.init_pid());
    let load = Command::new("nsenter")
        .args([&target, "--net", "--"])
        .arg(&wrk.program)
        .args(["--threads=1", "--connections=20", "--duration=10s", "--header", header, &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    change();
    let said = String::from_utf8(load.wait_with_output().unwrap().stdout).unwrap();
    let line = said.lines().find(|line| line.contains("requests in")).unwrap();
    (line.split_whitespace().next().unwrap().parse().unwrap(), said)
}
