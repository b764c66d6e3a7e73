//! What goes away in the middle of an apply: the API server, killed at a write.

use std::sync::mpsc;
use std::time::Duration;

use e2e::wait::until;

use crate::bench::{Lab, PATIENCE};
use crate::bundles::{NAMESPACE, Recipe, config_map};
use crate::tripwire::{Moment, Tripwire};

/// The inventory, the namespace, two maps that change, and a map that leaves the generation before.
fn changing(generation: u64) -> Recipe {
    let (only, value) = (format!("only-{generation}"), generation.to_string());
    Recipe::default()
        .with("00-base/namespace.yaml", NAMESPACE)
        .with("40-maps/first.yaml", &config_map("first", &value))
        .with("40-maps/last.yaml", &config_map("last", &value))
        .with(&format!("40-maps/{only}.yaml"), &config_map(&only, "x"))
}

#[test]
fn an_api_server_that_is_killed_at_a_write_is_explained_and_waited_for() {
    let Some(mut lab) = Lab::new() else { return };
    let tripwire = Tripwire::start(&lab);
    let n1 = lab.machine("n1");
    n1.kubeconfig(&tripwire.url());
    n1.settings(r#"{"interval_seconds": 2, "settle_seconds": 1, "budget_seconds": 300, "lease_seconds": 6}"#);
    let mut service = None;
    let mut generation = 0;
    for (write, moment) in [
        // The inventory before the first object, objects, the deletion of what has left.
        (0, Moment::Before),
        (0, Moment::After),
        (2, Moment::Before),
        (3, Moment::After),
        (6, Moment::Before),
    ] {
        generation += 1;
        let (reached, wait_for_reached) = mpsc::channel();
        let (killed, wait_for_killed) = mpsc::channel::<()>();
        tripwire.arm(write, moment, move || {
            let _ = reached.send(());
            let _ = wait_for_killed.recv_timeout(Duration::from_secs(60));
        });
        let signed = lab.signer.sign(generation, &changing(generation));
        n1.want(generation, &signed);
        service.get_or_insert_with(|| n1.start());
        wait_for_reached
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("{moment:?} {write}: {error}\n{}", n1.status()));
        lab.plane.kill_api();
        killed.send(()).unwrap();
        n1.wait_for("the API server to be missed", |picture| !picture["away"].is_null());
        println!("{moment:?} write {write}: {:?}", tripwire.pulled_at());
        let bundle = n1.status();
        assert!(bundle.contains("\naway ") && bundle.contains("s ago"), "{bundle}");
        if generation > 1 {
            assert!(bundle.contains("hello/first"), "what was seen last is shown: {bundle}");
        }
        let node = n1.agent(&["status"]);
        let node = String::from_utf8(node.stdout).unwrap();
        assert!(node.contains("what is known is from"), "{node}");
        lab.plane.start_api_again().unwrap();
        n1.wait_for_commit(&signed);
        let only = format!("only-{generation}");
        let expected = ["first", "last", &only];
        let maps = || {
            let mut names = lab.names("configmaps");
            // That one is the business of a controller, which was cut off as well.
            names.retain(|name| name != "kube-root-ca.crt");
            names
        };
        until("what left to be gone", PATIENCE, || (maps() == expected).then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {:?}", maps()));
    }
}
