//! Two agents and one Lease: who stood still while the other took over writes nothing when it goes on.

use std::collections::BTreeMap;

use e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::{Lab, PATIENCE};
use crate::bundles::{NAMESPACE, Recipe, config_map};
use crate::tripwire::{Moment, Tripwire};

/// Maps of a bundle.
const MAPS: usize = 30;
/// The write that the first agent is stopped at: the inventory, the namespace and some maps are before it, most maps
/// behind.
const STOPPED_AT: usize = 9;

fn maps(count: usize, value: &str) -> Recipe {
    let namespace = Recipe::default().with("00-base/namespace.yaml", NAMESPACE);
    (1..=count).fold(namespace, |recipe, number| {
        let name = format!("map-{number:02}");
        recipe.with(&format!("40-maps/{name}.yaml"), &config_map(&name, value))
    })
}

/// The maps by name: what they hold, their version, and who has written them.
fn seen(lab: &Lab) -> BTreeMap<String, (Value, Value, Value)> {
    let list = lab.get(&["configmaps", "-n", "hello", "--show-managed-fields"]).unwrap();
    let of_ours = list["items"].as_array().unwrap().iter().filter(|map| {
        map["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("map-"))
    });
    of_ours
        .map(|map| {
            let metadata = &map["metadata"];
            let name = metadata["name"].as_str().unwrap().to_owned();
            let fields = metadata["managedFields"].clone();
            (name, (map["data"]["value"].clone(), metadata["resourceVersion"].clone(), fields))
        })
        .collect()
}

/// Stopped in the middle of applying, with most of its writes still to come: each of them would undo what the other has
/// applied meanwhile, or bring back what that has dropped.
#[test]
fn a_holder_that_stood_still_writes_nothing() {
    let Some(lab) = Lab::new() else { return };
    let tripwire = Tripwire::start(&lab);
    let (n1, n2) = (lab.machine("n1"), lab.machine("n2"));
    // All that the first one asks for comes by there.
    n1.kubeconfig(&tripwire.url());
    let first = lab.signer.sign(1, &maps(MAPS, "one"));
    n1.want(1, &first);
    let one = n1.start();
    let pid = Pid::from_raw(one.id().cast_signed());
    tripwire.arm(STOPPED_AT, Moment::Meanwhile, move || kill(pid, Signal::SIGSTOP).unwrap());
    until("the first agent to be stopped", PATIENCE, || tripwire.pulled_at())
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", n1.status(), one.log()));

    let second = lab.signer.sign(2, &maps(MAPS - 3, "two"));
    n2.want(2, &second);
    let _two = n2.start();
    n2.wait_for_commit(&second);
    let before = seen(&lab);
    assert_eq!(before.len(), MAPS - 3);
    assert!(before.values().all(|(value, ..)| value == "two"), "{before:?}");

    // It still wants the first generation.
    let passed = tripwire.passed();
    assert!(passed < MAPS, "it was stopped before the end: {passed} writes");
    one.signal(Signal::SIGCONT);
    let picture = n1.wait_for("the first agent to stand by", |picture| {
        picture["state"] == "standby" && picture["holder"] == "n2"
    });
    assert_eq!(picture["objects"].as_array().unwrap().len(), MAPS - 3 + 1);
    assert_eq!(tripwire.passed(), passed, "it has written after it went on: {}", one.log());
    assert_eq!(seen(&lab), before);

    // The other one keeps the bundle up, and the first leaves it to it.
    lab.plane.kubectl(&["delete", "configmap", "map-01", "-n", "hello"]).unwrap();
    until("the map to be repaired", PATIENCE, || seen(&lab).contains_key("map-01").then_some(()))
        .unwrap();
    n2.wait_for_commit(&second);
    assert_eq!(tripwire.passed(), passed);
}
