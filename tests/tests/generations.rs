//! Generations on a real kubelet and containerd: proven before they are committed, and taken back when they are not.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "generations/bench.rs"]
mod bench;

use std::fs;

use crate::bench::{Bench, Haproxy, NOBODY, PATIENCE, SERVER};
use e2e::wait::until;

/// Short, so that a test is; a busy machine still proves a set in time.
const TRIAL: &str = r#""deadline_seconds": 40, "settle_seconds": 3, "boots": 3"#;

#[test]
fn a_generation_is_proven_or_taken_back() {
    let Some(bench) = Bench::new(TRIAL) else { return };
    bench.good(1, 1000);
    bench.wait_for("trying generation 1");
    let status = bench.wait_for("serving generation 1");
    assert_eq!(status["fine"], true, "{status:#}");
    assert!(bench.serves());
    assert!(bench.journal().contains("commit generation 1-"), "{}", bench.journal());
    let plan = bench.machine.run(&["basalt-agent", "plan"]).unwrap();
    assert_eq!(plan.status.code(), Some(0), "nothing is left to do");

    // Another good one.
    bench.good(2, 1100);
    bench.wait_for("serving generation 2");
    let (config, container) = (bench.config(), bench.container());

    // Its servers do not work: everything runs, and nobody is served.
    let image = bench.haproxy.reference();
    bench.offer(3, &Haproxy { image: &image, server: NOBODY, max_connections: 1200 });
    bench.wait_for("trying generation 3");
    assert_ne!(bench.config(), config);
    let status = bench.wait_for("keeping generation 2, since generation 3-");
    let summary = status["summary"].as_str().unwrap();
    let reason = "function probe of haproxy (readiness): http://127.0.0.1:9444/readyz answers 503";
    assert!(summary.contains(reason), "{summary}");
    assert_eq!(bench.config(), config, "the last good config is back");
    assert!(bench.serves());
    assert!(bench.journal().contains("failed its trial"), "{}", bench.journal());
    // It is not tried again.
    bench.machine.output(&["systemctl", "reload", "basalt-agent.service"]).unwrap();
    bench.machine.output(&["systemctl", "restart", "basalt-agent.service"]).unwrap();
    bench.wait_for("keeping generation 2, since generation 3-");
    assert_eq!(bench.journal().matches("begin the trial of generation 3-").count(), 1);
    assert_eq!(bench.config(), config);

    // Its image is nowhere.
    let absent = "registry.lab.example/basalt/haproxy:9@sha256:".to_owned() + &"0".repeat(64);
    let container = if bench.container() == container { container } else { bench.container() };
    bench.offer(4, &Haproxy { image: &absent, server: SERVER, max_connections: 1300 });
    bench.wait_for_reason("keeping generation 2 while generation 4-", "is not on this node");
    assert_eq!((bench.config(), bench.container()), (config, container));

    // The agent dies in the middle of a trial, again and again: the set is proven all the same.
    bench.good(5, 1400);
    bench.wait_for("trying generation 5");
    for _ in 0..3 {
        let old = bench.machine.kill_main("basalt-agent.service").unwrap();
        bench.machine.wait_for_restart("basalt-agent.service", old, PATIENCE).unwrap();
    }
    bench.wait_for("serving generation 5");
    let kept = bench.kept();
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().any(|name| name.starts_with("5-")), "{kept:?}");

    // Without a runtime nobody knows, and nothing is touched.
    let manifest = bench.manifest();
    bench.machine.output(&["systemctl", "stop", "containerd.service"]).unwrap();
    bench.machine.output(&["systemctl", "reload", "basalt-agent.service"]).unwrap();
    bench.good(6, 1500);
    bench.wait_for_reason("keeping generation 5 while generation 6-", "cannot find out");
    assert_eq!(bench.manifest(), manifest);
    assert!(bench.serves(), "pods outlive their runtime");
    bench.machine.output(&["systemctl", "start", "containerd.service"]).unwrap();
    bench.wait_for("serving generation 6");
}

/// Images of a set are pinned before it is tried, stay so while it is kept, and no longer.
#[test]
fn images_are_pinned_as_long_as_a_set_needs_them() {
    let Some(bench) = Bench::new(TRIAL) else { return };
    let pinned = |image, expected| {
        until("the pin", PATIENCE, || (bench.is_pinned(image) == expected).then_some(()))
            .unwrap_or_else(|error| panic!("{error}\n{}", bench.journal()));
    };
    bench.unpin(&bench.haproxy);
    bench.good(1, 1000);
    bench.wait_for("serving generation 1");
    pinned(&bench.haproxy, true);
    // Whoever takes the pin away does not get far.
    bench.unpin(&bench.haproxy);
    bench.machine.output(&["systemctl", "reload", "basalt-agent.service"]).unwrap();
    pinned(&bench.haproxy, true);

    // Without a way to pin it the next set waits, and the old one serves.
    let ctr = bench.machine.root().join("usr/bin/ctr");
    let away = ctr.with_file_name("ctr-away");
    bench.bring_other_image();
    fs::rename(&ctr, &away).unwrap();
    let image = bench.other.reference();
    let other = |generation| {
        let max_connections = 1000 + u32::try_from(generation).unwrap();
        bench.offer(generation, &Haproxy { image: &image, server: SERVER, max_connections });
    };
    other(2);
    let waiting = until("the reason", PATIENCE, || {
        let status = bench.status().to_string();
        status.contains("is not pinned yet").then_some(status)
    });
    assert!(waiting.unwrap().contains(&format!("cannot pin image {image}")));
    assert!(bench.serves());
    fs::rename(&away, &ctr).unwrap();
    bench.wait_for("serving generation 2");
    assert!(bench.is_pinned(&bench.other) && bench.is_pinned(&bench.haproxy));
    let journal = bench.journal();
    let at = |line: &str| journal.find(line).unwrap_or_else(|| panic!("{line}\n{journal}"));
    assert!(at(&format!("pin image {image}")) < at("begin the trial of generation 2-"));

    // The third set after it takes the first one's place.
    for generation in [3, 4] {
        other(generation);
        bench.wait_for(&format!("serving generation {generation}"));
    }
    pinned(&bench.haproxy, false);
    assert!(bench.is_pinned(&bench.other));
    let plan = bench.machine.run(&["basalt-agent", "plan"]).unwrap();
    assert_eq!(plan.status.code(), Some(0), "nothing is left to do");
}
