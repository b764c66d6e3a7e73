//! keepalived while something changes: who holds the addresses when a node stops, stands back, or is told otherwise.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use basalt_model::node::Node;
use basalt_static_pods::control::{HAPROXY_DRAIN_FILE, check_command};
use e2e::needs::root_or_skip;
use e2e::peers::{Peer, peer};

use crate::keepalived::{PATIENCE, Station, connect, serving};
use crate::namespace::Contained;
use crate::{pod, wait_for};

/// The programs, when they and the rights are there.
pub(crate) fn programs() -> Option<[Peer; 2]> {
    let programs = [peer("keepalived")?, peer("haproxy")?];
    (peer("curl").is_some() && root_or_skip()).then_some(programs)
}

/// Two nodes on one wire, of which the first holds the addresses.
pub(crate) fn pair<'a>(
    nodes: &[Node; 2],
    folder: &Path,
    programs: &'a [Peer; 2],
) -> [Station<'a>; 2] {
    let programs = programs.each_ref();
    let mut n1 = Station::of("n1", &nodes[0], folder, programs);
    let mut n2 = Station::of("n2", &nodes[1], folder, programs);
    connect(&n1, &n2);
    n1.start_keepalived();
    n2.start_keepalived();
    for station in [&n1, &n2] {
        wait_for("both serve", PATIENCE, || {
            ["v4", "v6"].iter().all(|family| {
                station.said().contains(&format!("VRRP_Script(haproxy-api-ip{family}) succeeded"))
            })
        });
    }
    wait_for("n1 holds the addresses", PATIENCE, || n1.holds() && n2.holds_nothing());
    [n1, n2]
}

fn signal(container: &Contained, name: &str) {
    let id = container.first_process();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

/// A node that stops says so: nobody waits for adverts that do not come.
#[test]
fn a_stop_hands_the_addresses_over_at_once() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [mut n1, n2] = pair(&["n1", "n2"].map(serving), folder.path(), &programs);
    signal(n1.keepalived.as_ref().unwrap(), "TERM");
    let took = wait_for("n2 holds", PATIENCE, || n2.holds());
    eprintln!("the addresses moved {:.2} s after the holder was told to stop", took.as_secs_f32());
    assert!(took < Duration::from_millis(1500), "{took:?}: {}", n2.said());
    let mut stopped = n1.keepalived.take().unwrap();
    let code = stopped.running.child.wait().unwrap();
    assert!(code.success() && n1.holds_nothing(), "{code}: {}", stopped.running.said());
}

/// Neighbours send to the new holder at once, without asking again: it announces itself (RFC 9568, section 8.1.2).
#[test]
fn a_new_holder_announces_itself() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [mut n1, n2] = pair(&["n1", "n2"].map(serving), folder.path(), &programs);
    // Notes whoever announces itself, whether asked for or not.
    n1.machine.run("echo 1 > /proc/sys/net/ipv4/conf/bond0/arp_accept");
    let link = n2.machine.run("ip -oneline link show dev bond0");
    let (_, link) = link.split_once("link/ether ").unwrap();
    let link = link.split_once(' ').unwrap().0;
    signal(n1.keepalived.as_ref().unwrap(), "TERM");
    wait_for("n1's host knows where the address is", PATIENCE, || {
        n1.machine.run("ip neighbour show to 192.0.2.10 dev bond0").contains(link)
    });
    n1.keepalived.take().unwrap().running.child.wait().unwrap();
}

/// A node that was taken off the list and goes on speaking, louder than all others, changes nothing for them.
#[test]
fn a_forgotten_node_is_not_heard() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut listed, mut forgotten) = (serving("n1"), serving("n2"));
    for instance in &mut listed.keepalived.as_mut().unwrap().instances {
        let other = if instance.source.is_ipv4() { "192.0.2.13" } else { "2001:db8:2::13" };
        instance.peers = vec![other.parse().unwrap()];
    }
    for instance in &mut forgotten.keepalived.as_mut().unwrap().instances {
        instance.priority = 127;
    }
    let programs = programs.each_ref();
    let mut n1 = Station::of("n1", &listed, folder.path(), programs);
    let mut n2 = Station::of("n2", &forgotten, folder.path(), programs);
    connect(&n1, &n2);
    n1.start_keepalived();
    wait_for("n1 holds the addresses", PATIENCE, || n1.holds());
    n2.start_keepalived();
    wait_for("n2 speaks", PATIENCE, || n2.holds());
    let backups = n1.said().matches("Entering BACKUP STATE").count();
    // Longer than three adverts, after which whoever hears them has yielded.
    for _ in 0..100 {
        assert!(n1.holds(), "{}", n1.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(n1.said().matches("Entering BACKUP STATE").count(), backups, "{}", n1.said());
}

/// haproxy's own sign that it is about to stop, and the one of its start.
#[test]
fn a_node_that_drains_stands_back() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [n1, n2] = pair(&["n1", "n2"].map(serving), folder.path(), &programs);
    let drain = |station: &Station<'_>| {
        std::fs::write(station.pod.inside(HAPROXY_DRAIN_FILE), "1\n").unwrap();
    };
    drain(&n1);
    let took = wait_for("n2 holds", PATIENCE, || n2.holds() && n1.holds_nothing());
    // What haproxy waits for before it closes its ports.
    assert!(took < Duration::from_secs(4), "{took:?}");
    drain(&n2);
    wait_for("all drain: the higher priority holds", PATIENCE, || n1.holds() && n2.holds_nothing());
    std::fs::remove_file(n2.pod.inside(HAPROXY_DRAIN_FILE)).unwrap();
    wait_for("n2 is back", PATIENCE, || n2.holds() && n1.holds_nothing());
}

/// A changed config comes into use without a restart, and without the addresses leaving in between.
#[test]
fn a_new_config_is_taken_by_the_running_program() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [n1, n2] = pair(&["n1", "n2"].map(serving), folder.path(), &programs);
    let mut changed = serving("n2");
    let config = |station: &Station<'_>, node: &Node| {
        let container = station.keepalived.as_ref().unwrap();
        for file in &pod(node, "keepalived").files {
            // As the agent writes: beside, then renamed into place.
            let path = station.pod.inside(file.path.as_str());
            let beside = path.with_extension("new");
            std::fs::write(&beside, station.pod.rewritten(&file.contents)).unwrap();
            std::fs::rename(beside, path).unwrap();
        }
        let command = check_command("keepalived").unwrap();
        let command: Vec<String> = command.iter().map(|word| station.pod.rewritten(word)).collect();
        let checked = container.exec(&command);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let before = container.first_process();
        signal(container, "HUP");
        assert_eq!(container.first_process(), before);
    };
    for instance in &mut changed.keepalived.as_mut().unwrap().instances {
        instance.priority = 127;
    }
    config(&n2, &changed);
    wait_for("n2 is preferred now", PATIENCE, || n2.holds() && n1.holds_nothing());
    // The holder itself reads its config again, and goes on holding.
    config(&n2, &changed);
    for _ in 0..60 {
        assert!(n2.holds() && n1.holds_nothing(), "{}", n2.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_for("alive", PATIENCE, || n2.probe("livenessProbe").status.success());
}

/// Whatever a node needs besides is tracked; when all lack it, the addresses still have a holder.
#[test]
fn a_lost_uplink_moves_the_addresses() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let nodes = ["n1", "n2"].map(|name| {
        let mut node = serving(name);
        for instance in &mut node.keepalived.as_mut().unwrap().instances {
            instance.track_interfaces = vec!["eth0".parse().unwrap()];
        }
        node
    });
    let programs = programs.each_ref();
    let [mut n1, mut n2] = [("n1", &nodes[0]), ("n2", &nodes[1])]
        .map(|(name, node)| Station::of(name, node, folder.path(), programs));
    connect(&n1, &n2);
    for station in [&mut n1, &mut n2] {
        station.machine.run(
            "ip link add eth0 type veth peer name far && ip link set eth0 up && ip link set far up",
        );
        station.start_keepalived();
    }
    wait_for("n1 holds the addresses", PATIENCE, || n1.holds() && n2.holds_nothing());
    n1.machine.run("ip link set eth0 down");
    wait_for("n2 holds", PATIENCE, || n2.holds() && n1.holds_nothing());
    n2.machine.run("ip link set eth0 down");
    wait_for("both lack it: one holds", PATIENCE, || n1.holds() && n2.holds_nothing());
    n1.machine.run("ip link set eth0 up");
    n2.machine.run("ip link set eth0 up");
    wait_for("n1 holds", PATIENCE, || n1.holds() && n2.holds_nothing());
}

/// Somebody makes a bridge and moves the node's addresses to it: the interface that keepalived knows is of no use.
#[test]
fn an_interface_moved_into_a_bridge_is_a_fault() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [n1, n2] = pair(&["n1", "n2"].map(serving), folder.path(), &programs);
    n1.machine.run(
        "ip link add br0 type bridge
         ip address delete 192.0.2.11/24 dev bond0
         ip address delete 2001:db8:2::11/64 dev bond0
         ip link set bond0 master br0
         ip address add 192.0.2.11/24 dev br0
         ip address add 2001:db8:2::11/64 dev br0 nodad
         ip link set br0 up",
    );
    wait_for("n2 holds", PATIENCE, || n2.holds() && n1.holds_nothing());
    wait_for("n1 says why", PATIENCE, || {
        let answer = n1.probe("readinessProbe");
        String::from_utf8_lossy(&answer.stdout).contains("a VRRP instance is in fault")
    });
}
