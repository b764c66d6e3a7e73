//! The virtual address moves: three nodes from one `cluster.yaml`, each with its own kubelet, haproxy and keepalived,
//! and a client that asks the address all the time.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::fleet::Yard;
use e2e::needs::lab_or_skip;
use e2e::peers::peer;
use e2e::virtual_address::{Event, Outage, Scene};

/// What happens to the address, not how fast: a machine that builds other things at the same time is slow.
#[test]
fn the_address_moves_away_from_whoever_cannot_serve() {
    if !lab_or_skip() {
        return;
    }
    let Some(yard) = Yard::new() else { return };
    let Some(haproxy) = peer("haproxy") else { return };
    let mut scene = Scene::start(&yard, &haproxy).unwrap_or_else(|error| panic!("{error:#}"));
    let after = |scene: &mut Scene, event: Event| -> Outage {
        let outage = scene.after(event).unwrap_or_else(|error| panic!("{event:?}: {error:#}"));
        println!("{event:?}: {outage:?}");
        outage
    };
    let mend = |scene: &Scene| scene.mend().unwrap_or_else(|error| panic!("{error:#}"));
    let name = |scene: &Scene| scene.holder().unwrap().place.name;

    let before = name(&scene);
    let outage = after(&mut scene, Event::GracefulStop);
    assert_ne!(name(&scene), before);
    // It leaves the address before another takes it.
    assert!(outage.doubly_held < Duration::from_secs(2), "{outage:?}");
    mend(&scene);

    let before = name(&scene);
    after(&mut scene, Event::BackendsDie);
    assert_ne!(name(&scene), before);
    mend(&scene);

    after(&mut scene, Event::Split);
    after(&mut scene, Event::Heal);
    assert!(scene.holder().is_ok());

    let before = name(&scene);
    after(&mut scene, Event::SuddenDeath);
    assert_ne!(name(&scene), before);
    assert_eq!(scene.nodes().len(), 2);
}
