//! keepalived on an interface that is made of several: it is as good as the best of its links.

use std::time::Duration;

use e2e::needs::root_or_skip;
use e2e::peers::peer;

use crate::keepalived::{PATIENCE, Station, serving};
use crate::wait_for;

/// Longer than three adverts: whoever is to notice anything has done so.
const LONG: Duration = Duration::from_secs(5);

/// Two cables between the nodes, which the first one has as `bond0`. The other one has them in a bridge, as a switch would,
/// with a third port, so that it has a link when both cables are out.
fn connect(first: &Station<'_>, second: &Station<'_>) {
    for cable in ["left", "right"] {
        let other = second.machine.id();
        first
            .machine
            .run(&format!("ip link add {cable} type veth peer name {cable} netns {other}"));
    }
    let bond = "ip link add bond0 type bond mode active-backup miimon 50";
    if first.machine.command("sh").args(["-c", bond]).output().unwrap().status.success() {
        first.machine.run("for cable in left right; do ip link set $cable down master bond0; done");
    } else {
        // Whose link is up as long as one of its ports has one, too. Frames do not go round between the two bridges.
        println!("the kernel has no bonds: a bridge stands in for one");
        bridge(first, "left right");
    }
    second.machine.run("ip link add rest type veth peer name far && ip link set far up");
    bridge(second, "left right rest");
    for (station, last) in [(first, "11"), (second, "12")] {
        station.machine.run(&format!(
            "ip address add 192.0.2.{last}/24 dev bond0
             ip address add 2001:db8:2::{last}/64 dev bond0 nodad
             for link in left right bond0; do ip link set $link up; done"
        ));
    }
}

/// Makes `bond0` a bridge whose ports have no way to one another.
fn bridge(station: &Station<'_>, ports: &str) {
    station.machine.run(&format!(
        "ip link add bond0 type bridge
         for port in {ports}; do
           ip link set $port up master bond0
           bridge link set dev $port isolated on
         done"
    ));
}

/// Whether `bond0` may send by this port, as the bond has it or the bridge, for which 3 is forwarding.
fn is_in_use(station: &Station<'_>, port: &str) -> bool {
    let state = format!(
        "cd /sys/class/net/{port}; cat bonding_slave/mii_status 2>/dev/null || cat brport/state"
    );
    ["up\n", "3\n"].contains(&station.machine.run(&state).as_str())
}

#[test]
fn a_bond_holds_the_addresses_as_long_as_one_of_its_links_is_up() {
    let (Some(keepalived), Some(haproxy)) = (peer("keepalived"), peer("haproxy")) else { return };
    if peer("curl").is_none() || !root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [mut n1, mut n2] = ["n1", "n2"]
        .map(|name| Station::of(name, &serving(name), folder.path(), [&keepalived, &haproxy]));
    connect(&n1, &n2);
    n1.start_keepalived();
    n2.start_keepalived();
    wait_for("n1 holds the addresses", PATIENCE, || n1.holds() && n2.holds_nothing());
    let faults = || n1.said().matches("Entering FAULT STATE").count();

    // The one that is in use is pulled out, then the other one instead.
    for (out, back) in [("left", "right"), ("right", "left")] {
        n2.machine.run(&format!("ip link set {back} up"));
        wait_for("the other link", PATIENCE, || is_in_use(&n1, back));
        n2.machine.run(&format!("ip link set {out} down"));
        let start = std::time::Instant::now();
        while start.elapsed() < LONG {
            assert!(n1.holds() && n2.holds_nothing(), "{}\n{}", n1.said(), n2.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        n2.machine.run("curl --silent --fail --max-time 5 http://192.0.2.10:6443/hello");
    }
    assert_eq!(faults(), 0, "{}", n1.said());

    n2.machine.run("ip link set left down && ip link set right down");
    let took = wait_for("n2 holds", PATIENCE, || n2.holds() && n1.holds_nothing());
    eprintln!("the addresses moved {:.1} s after the last link went", took.as_secs_f32());
    wait_for("n1 is in fault", PATIENCE, || faults() >= 1);
    n2.machine.run("ip link set right up");
    wait_for("n1 is preferred", PATIENCE, || n1.holds() && n2.holds_nothing());
}
