//! Power cuts, as far as a process can have them: killed at any moment, the agent leaves whole files behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::bench::{Bench, Variant, visible_files, without_uid};

/// How often the agent is killed.
const KILLS: u64 = 50;

/// Every text that each path may have: those of either generation.
fn whole_texts() -> BTreeMap<String, BTreeSet<String>> {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for variant in [Variant::Full, Variant::Small] {
        for (path, (contents, _)) in variant.files() {
            texts.entry(path).or_default().insert(contents);
        }
    }
    texts
}

/// The visible files that hold something else than a whole text. A file may be gone by the time it is read.
fn torn_files(
    bench: &Bench,
    texts: &BTreeMap<String, BTreeSet<String>>,
    looks: &AtomicU64,
) -> Vec<String> {
    let mut torn = Vec::new();
    for directory in ["/etc/kubernetes/manifests", "/etc/basalt/pods"] {
        for path in visible_files(&bench.path(directory)) {
            let Ok(contents) = std::fs::read_to_string(&path) else { continue };
            looks.fetch_add(1, Ordering::Relaxed);
            let host_path = format!("/{}", path.strip_prefix(bench.path("/")).unwrap().display());
            if !texts.get(&host_path).is_some_and(|whole| whole.contains(&without_uid(&contents))) {
                torn.push(format!("{host_path}: {contents:?}"));
            }
        }
    }
    torn
}

#[test]
fn killed_at_any_moment_it_leaves_only_whole_files() {
    let Some(bench) = Bench::new() else { return };
    let texts = whole_texts();
    let (is_over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    // The same moments in every run, so far as the scheduler lets them be (Knuth's linear congruential generator).
    let mut random = 0x5DEE_CE66_D1CE_4E5B_u64;
    let mut next_random = |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut interrupted = 0;

    std::thread::scope(|scope| {
        let checker = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let torn = torn_files(&bench, &texts, &looks);
                if !torn.is_empty() {
                    return torn;
                }
            }
            Vec::new()
        });
        for generation in 1..=KILLS {
            let variant = if generation.is_multiple_of(2) { Variant::Small } else { Variant::Full };
            // Half of the generations arrive while the agent runs, half before it starts.
            let arrives_before = next_random(2) == 0;
            if arrives_before {
                bench.write_node(variant, generation);
            }
            let service = bench.start();
            if !arrives_before {
                bench.wait_for("the agent runs", |bench| {
                    bench.path("/run/basalt/agent.lock").exists()
                });
                bench.write_node(variant, generation);
            }
            std::thread::sleep(Duration::from_micros(next_random(30_000)));
            service.kill();
            assert_eq!(
                torn_files(&bench, &texts, &looks),
                Vec::<String>::new(),
                "kill {generation}"
            );
            if bench.agent(&["plan"]).status.code() == Some(3) {
                interrupted += 1;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(checker.join().unwrap(), Vec::<String>::new(), "seen by the reader");
    });

    let _service = bench.start();
    bench.wait_for_serving(KILLS);
    let last = if KILLS.is_multiple_of(2) { Variant::Small } else { Variant::Full };
    assert_eq!(bench.wrong_files(last), Vec::<String>::new());
    let manifests = bench.path("/etc/kubernetes/manifests");
    let expected = last.files().into_keys().filter(|path| path.ends_with(".yaml")).count();
    assert_eq!(manifests.read_dir().unwrap().count(), expected, "nothing else is left behind");
    println!(
        "{KILLS} kills, {interrupted} of them amid work, {} reads",
        looks.load(Ordering::Relaxed)
    );
    assert!(interrupted > 0, "no kill came early enough to interrupt anything");
}
