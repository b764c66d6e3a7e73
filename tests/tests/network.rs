//! The lab's switch: machines on it reach each other and the client, and nobody else.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use e2e::namespaces::Machine;
use e2e::network::Switch;
use e2e::tree::Tree;

#[test]
fn machines_on_a_switch_reach_each_other_until_it_is_split() {
    let (Some(first), Some(second)) = (Tree::debian(), Tree::debian()) else { return };
    let switch = Switch::new(&["192.0.2.1/24", "2001:db8:2::1/64"]).unwrap();
    let first = Machine::boot(first).unwrap();
    let second = first.boot_beside(second).unwrap();
    switch.plug(&first, "eth0", &["192.0.2.11/24", "2001:db8:2::11/64"]).unwrap();
    switch.plug(&second, "eth0", &["192.0.2.12/24", "2001:db8:2::12/64"]).unwrap();

    let reaches = |address: &str| {
        let probe = format!("(exec 3<>/dev/tcp/{address}/9) 2>&1");
        let output = first.run(&["timeout", "2", "bash", "-c", &probe]).unwrap();
        // Nothing listens: being refused means being reached.
        String::from_utf8_lossy(&output.stdout).contains("refused")
    };
    assert!(reaches("192.0.2.12"));
    assert!(reaches("2001:db8:2::12"));
    for machine in [&first, &second] {
        switch.isolate(machine, "eth0", true).unwrap();
    }
    assert!(!reaches("192.0.2.12"));
    assert!(reaches("192.0.2.1"), "the client is on both sides of the split");
    for machine in [&first, &second] {
        switch.isolate(machine, "eth0", false).unwrap();
    }
    assert!(reaches("192.0.2.12"));
    switch.unplug(&second, "eth0").unwrap();
    assert!(!reaches("192.0.2.12"));
    switch.replug(&second, "eth0").unwrap();
    assert!(reaches("192.0.2.12"));
}
