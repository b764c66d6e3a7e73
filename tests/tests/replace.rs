//! Changing pods on a node with the real kubelet and containerd: how long nobody answers, that there are never two of
//! one kind, and that a config alone costs nobody anything.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use e2e::peers::peer;
use e2e::pod_change::load::{self, Requests};
use e2e::pod_change::watch::Watch;
use e2e::pod_change::{LIMIT, Parts, PodNode, Wanted};
use e2e::{programs, wait};

/// From the moment that the port closes until it answers again, on a machine that has nothing else to do.
const GOAL: Duration = Duration::from_secs(3);

fn start(first: &Wanted) -> Option<PodNode> {
    let agent = programs::agent()?;
    Some(PodNode::start(Parts::find()?, &agent, first).unwrap())
}

/// Back and forth between two contents, so that each return is one to a pod that ended seconds ago.
#[test]
fn a_pod_is_replaced_and_there_are_never_two() {
    let mut wanted = Wanted::first();
    let Some(lab) = start(&wanted) else { return };
    lab.trust_every_generation().unwrap();
    lab.wait_for_serving(wanted.generation).unwrap();
    let watch = Watch::start(&lab, "haproxy");
    let mut holes = Vec::new();
    for round in 0..30 {
        wanted.next();
        wanted.haproxy = 1 - wanted.haproxy;
        let before = lab.uid("haproxy");
        lab.want(&wanted).unwrap();
        holes.push(lab.wait_for(&wanted.version).unwrap());
        lab.wait_for_serving(wanted.generation).unwrap();
        assert_ne!(lab.uid("haproxy"), before);
        // At another moment of the kubelet's own rounds each time.
        std::thread::sleep(Duration::from_millis(130 * (round % 8)));
    }
    let seen = watch.stop();
    holes.sort();
    // Said and not asserted: how long it takes depends on what else the machine does.
    let quick = holes.iter().filter(|hole| **hole < GOAL).count();
    println!("without an answer, in 30 replaces: {holes:?}; {quick} below {GOAL:?}");
    assert!(seen.looks > 1_000, "{seen:?}");
    assert!(seen.together.is_empty(), "{seen:?}");
    assert_eq!(seen.pods.len(), 31, "every run was seen");
}

/// Both pods at once, the agent killed in the middle, again and again: it makes up for it, and there are never two of a
/// kind.
#[test]
fn an_agent_that_is_killed_leaves_no_two_of_a_kind() {
    let mut wanted = Wanted { keepalived: Some(0), ..Wanted::first() };
    let Some(lab) = start(&wanted) else { return };
    lab.trust_every_generation().unwrap();
    lab.wait_for_serving(wanted.generation).unwrap();
    let watches = ["haproxy", "keepalived"].map(|program| Watch::start(&lab, program));
    for round in 0..8 {
        wanted.next();
        wanted.haproxy = 1 - wanted.haproxy;
        wanted.keepalived = wanted.keepalived.map(|number| 1 - number);
        lab.want(&wanted).unwrap();
        // From before the first removal to after the last write.
        std::thread::sleep(Duration::from_millis(300 + 900 * round));
        lab.machine.kill_main("basalt-agent.service").unwrap();
        lab.wait_for(&wanted.version).unwrap();
        lab.wait_for_serving(wanted.generation).unwrap();
    }
    // A keepalived that was away when the agent came back waits until the network was listened to, and the next
    // generation does not wait for that.
    for (watch, runs) in watches.into_iter().zip([9, 2]) {
        let seen = watch.stop();
        assert!(seen.together.is_empty(), "{seen:?}\n{}", lab.journal());
        assert!(seen.pods.len() >= runs, "{seen:?}");
    }
}

/// The kubelet's own UIDs would change, and with them the pods, the new ones beside the old.
#[test]
fn pods_outlive_a_kubelet_with_another_node_name() {
    let wanted = Wanted { keepalived: Some(0), ..Wanted::first() };
    let Some(lab) = start(&wanted) else { return };
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
    let mut wanted = Wanted::first();
    let Some(lab) = start(&wanted) else { return };
    let Some(wrk) = peer("wrk") else { return };
    let uid = lab.uid("haproxy");
    // Connections that stay, which the worker of their time goes on serving, and one for each request.
    for header in ["Connection: keep-alive", "Connection: close"] {
        let (mut requests, mut changes) = (0, 0);
        while requests < 100_000 {
            let seen = load::during(&lab, &wrk, header, || {
                for _ in 0..3 {
                    wanted.next();
                    lab.want(&wanted).unwrap();
                    assert_eq!(lab.wait_for(&wanted.version).unwrap(), Duration::ZERO);
                    lab.wait_for_serving(wanted.generation).unwrap();
                    changes += 1;
                }
                Ok(())
            });
            let Requests { answered, lost } = seen.unwrap();
            assert_eq!(lost, 0, "of {answered}");
            requests += answered;
        }
        println!("`{header}`: {requests} requests, {changes} new configs, none lost");
    }

    // What haproxy refuses is not brought in, and said.
    wanted.generation += 1;
    let mut node = lab.node(&wanted).unwrap();
    node.haproxy.as_mut().unwrap().frontends[0].rules = vec!["http-request no-such-action".into()];
    let config = lab.machine.root().join("etc/basalt/pods/haproxy/haproxy.cfg");
    let before = std::fs::read_to_string(&config).unwrap();
    lab.write_node(&node).unwrap();
    let told = || lab.phase().contains("no-such-action").then_some(());
    wait::until("the refusal", LIMIT, told).unwrap();
    // The agent tries again before long, and has haproxy look at the file in its place each time.
    let is_back = || (std::fs::read_to_string(&config).ok()? == before).then_some(());
    wait::until("the old config", LIMIT, is_back).unwrap();
    assert_eq!(lab.answer().as_deref(), Some(wanted.version.as_str()));
    assert_eq!(lab.uid("haproxy"), uid);
    let said = || lab.phase().contains("the old files are back").then_some(());
    wait::until("the agent to say what became of the old files", LIMIT, said).unwrap();
}
