//! Generations on a real kubelet and containerd: proven before they are committed, and taken back when they are not.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "generations/bench.rs"]
mod bench;

use crate::bench::{Bench, Haproxy, NOBODY, PATIENCE, SERVER};

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
