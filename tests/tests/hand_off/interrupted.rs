//! The agent is killed in the middle of the way in and of the way out.

use std::time::Duration;

use e2e::hand_off::{Yard, is_ready};

use crate::node::{Running, boot, certificates, plane, tree};

/// What is looked at to tell how far the agent has come.
enum Mark {
    /// The record tells this stage.
    Stage(&'static str),
    /// The file is there.
    There(&'static str),
    /// The file is gone.
    Gone(&'static str),
    /// So long after the order.
    After(Duration),
}

const FILES: &str = "/etc/kubernetes";

fn marks_in() -> Vec<Mark> {
    let after = |millis| Mark::After(Duration::from_millis(millis));
    vec![
        Mark::Stage("switching"),
        Mark::There("kubelet.kubeconfig"),
        Mark::There("joined.env"),
        Mark::There("kubelet.conf.d/20-joined.conf"),
        Mark::Stage("proving"),
        after(1500),
        after(2500),
        Mark::Stage("joined"),
    ]
}

fn marks_out() -> Vec<Mark> {
    let after = |millis| Mark::After(Duration::from_millis(millis));
    vec![
        Mark::Stage("draining"),
        Mark::Stage("returning"),
        Mark::Gone("kubelet.conf.d/20-joined.conf"),
        Mark::Gone("joined.env"),
        Mark::Gone("kubelet.kubeconfig"),
        after(1200),
        after(2000),
        Mark::Stage("standalone"),
    ]
}

impl Mark {
    fn is_reached(&self, node: &Running, since: std::time::Instant) -> bool {
        let file = |name: &str| node.path(&format!("{FILES}/{name}")).exists();
        match self {
            Mark::Stage(stage) => node.stage() == *stage,
            Mark::There(name) => file(name),
            Mark::Gone(name) => !file(name),
            Mark::After(time) => since.elapsed() >= *time,
        }
    }
}

/// The agent's process as this machine numbers it, so that killing takes no time.
fn agent_of(node: &Running) -> i32 {
    // The last one may just have been killed.
    node.machine.wait_for_unit("basalt-agent.service", "active", crate::node::LIMIT).unwrap();
    let inside = node.machine.main_pid("basalt-agent.service").unwrap().unwrap();
    let own = std::fs::read_link(format!("/proc/{}/ns/pid", node.machine.init_pid())).unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        let numbers = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = numbers.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let last = numbers.and_then(|line| line.split_whitespace().last()?.parse::<u32>().ok());
        last == Some(inside)
            && std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|found| found == own)
    };
    pids.into_iter().find(is_it).unwrap()
}

#[test]
fn an_agent_killed_anywhere_on_the_way_goes_on_from_there() {
    let Some(yard) = Yard::new() else { return };
    let switch = Yard::switch().unwrap();
    let plane = plane(&yard, &switch);
    let running = boot(tree(&yard, &plane, "manual"), &switch);
    running.put_certificates(&certificates(plane.authority(), "n1"));
    running.wait_for_reason("it joins by hand");
    let containers = running.containers();
    let ways = marks_in().into_iter().zip(marks_out());
    let mut points = 0;
    for (inward, outward) in ways {
        for (order, mark, end) in [("join", inward, "joined"), ("leave", outward, "standalone")] {
            let agent = nix::unistd::Pid::from_raw(agent_of(&running));
            let unit = format!("--unit=order-{points}");
            running.machine.output(&["systemd-run", &unit, "basalt-agent", order]).unwrap();
            let since = std::time::Instant::now();
            while !mark.is_reached(&running, since) {
                assert!(since.elapsed() < crate::node::LIMIT, "{order}: {}", running.record());
                std::hint::spin_loop();
            }
            nix::sys::signal::kill(agent, nix::sys::signal::Signal::SIGKILL).unwrap();
            points += 1;
            running.wait_for_stage(end);
            if order == "join" {
                running.wait("the node to be ready", |_| is_ready(&plane).then_some(()));
            }
            assert_eq!(running.containers(), containers, "point {points}");
            assert_eq!(running.record()["failed"], serde_json::Value::Null, "point {points}");
        }
    }
    assert!(running.asks() && points >= 12);
    eprintln!("killed at {points} points");
}
