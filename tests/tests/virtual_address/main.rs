//! The virtual address moves: three nodes from one `cluster.yaml`, each with its own kubelet, haproxy and keepalived,
//! and a client that asks the address all the time.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::fleet::{self, CLIENT_ADDRESSES, PLACES, Yard};
use e2e::needs::lab_or_skip;
use e2e::network::Switch;

mod client;

use client::{Backends, answers};

const START_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn the_address_moves_when_its_holder_goes() {
    if !lab_or_skip() {
        return;
    }
    let Some(yard) = Yard::new() else { return };
    let switch = Switch::new(&CLIENT_ADDRESSES).unwrap();
    let Some(_backends) = Backends::start(&switch, yard.folder()) else { return };
    let dist = yard.build(&fleet::cluster(&yard, 1)).unwrap_or_else(|error| panic!("{error:#}"));
    let nodes = yard.boot(&dist, &PLACES, &switch).unwrap_or_else(|error| panic!("{error:#}"));
    if let Err(error) = e2e::wait::until("the address to answer", START_LIMIT, || answers(&switch))
    {
        for node in &nodes {
            let look = "basalt-agent status; ctr -n k8s.io containers ls; journalctl --no-pager -n40 -u kubelet -u basalt-agent; tail -n20 /var/log/pods/*/*/*.log; ip a";
            let seen = node.machine.run(&["sh", "-c", look]).unwrap();
            println!("{}\n{}", node.place.name, String::from_utf8_lossy(&seen.stdout));
        }
        panic!("{error}");
    }
}
