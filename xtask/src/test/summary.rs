//! The end of a test run, for people and for CI.

use std::collections::{BTreeMap, BTreeSet};

use e2e::report::Event;

use super::count::Counts;
use crate::table::table;

/// The table of peers, what was skipped and why, what failed besides tests, and the counts as the last line.
pub(super) fn text(counts: &Counts, events: &[Event], failures: &[String]) -> String {
    let mut text = String::from("\n");
    let rows = peer_rows(events);
    if rows.len() > 1 {
        text += &table(&rows);
        text.push('\n');
    }
    let skipped = skipped(counts, events);
    for (reason, tests) in &skipped {
        text += &format!(
            "skipped, {reason}: {}\n",
            tests.iter().copied().collect::<Vec<_>>().join(", ")
        );
    }
    for test in &counts.unsteady {
        text += &format!("unsteady, failed beside other tests and passed alone: {test}\n");
    }
    for failure in failures {
        text += &format!("failed: {failure}\n");
    }
    let names: BTreeSet<&str> = skipped.values().flatten().copied().collect();
    // A check that is no test was never counted as passed.
    let early = names.iter().filter(|name| name.contains("::")).count();
    let passed = counts.passed.saturating_sub(early);
    text + &format!(
        "{passed} passed, {} failed, {} skipped\n",
        counts.failed,
        names.len() + counts.ignored
    )
}

fn peer_rows(events: &[Event]) -> Vec<[String; 4]> {
    #[derive(Default)]
    struct Row<'a> {
        version: Option<&'a str>,
        used: BTreeSet<&'a str>,
        missed: BTreeSet<&'a str>,
    }
    let mut peers: BTreeMap<&str, Row> = BTreeMap::new();
    for event in events {
        match event {
            Event::Used { peer, version, test } => {
                let row = peers.entry(peer).or_default();
                row.version = Some(version);
                row.used.insert(test);
            }
            Event::Missing { peer, test } => {
                peers.entry(peer).or_default().missed.insert(test);
            }
            Event::Skipped { .. } => {}
        }
    }
    let heading = ["peer", "version", "tests that used it", "tests that missed it"];
    let row = |(name, row): (&&str, &Row)| {
        [
            (*name).to_owned(),
            row.version.unwrap_or("missing").to_owned(),
            by_binary(&row.used),
            by_binary(&row.missed),
        ]
    };
    std::iter::once(heading.map(str::to_owned)).chain(peers.iter().map(row)).collect()
}

/// Skipped tests by reason. A test that failed is not skipped, whatever it missed before.
fn skipped<'a>(counts: &Counts, events: &'a [Event]) -> BTreeMap<String, BTreeSet<&'a str>> {
    let mut skipped: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        let reason = match event {
            Event::Used { .. } => continue,
            Event::Missing { peer, .. } => format!("`{peer}` is missing"),
            Event::Skipped { reason, .. } => reason.clone(),
        };
        let test = event.skipped_test().unwrap_or_default();
        let name = test.split_once("::").map_or(test, |(_, name)| name);
        if !counts.failed_names.contains(name) {
            skipped.entry(reason).or_default().insert(test);
        }
    }
    skipped
}

/// How many tests of which test binary: names would fill the screen, and those that matter are told below the table.
fn by_binary(tests: &BTreeSet<&str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for test in tests {
        let binary = test.split_once("::").map_or(*test, |(binary, _)| binary);
        *counts.entry(binary).or_default() += 1;
    }
    let texts = counts.iter().map(|(binary, count)| format!("{count} in {binary}"));
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_peers_skips_and_counts() {
        let used = |peer: &str, version: &str, test: &str| Event::Used {
            peer: peer.to_owned(),
            version: version.to_owned(),
            test: test.to_owned(),
        };
        let missing = |peer: &str, test: &str| Event::Missing {
            peer: peer.to_owned(),
            test: test.to_owned(),
        };
        let events = [
            used("haproxy", "2.6.12", "pods::a"),
            used("haproxy", "2.6.12", "pods::b"),
            used("haproxy", "2.6.12", "pods::c"),
            used("haproxy", "2.6.12", "pods::d"),
            used("haproxy", "2.6.12", "boot::a"),
            used("cargo-deny", "0.20.2", "cargo deny check"),
            missing("umoci", "image::a"),
            // Under `--require-peers` a test that misses a peer fails.
            missing("skopeo", "image::b"),
            Event::Skipped { reason: "needs root".to_owned(), test: "boot::a".to_owned() },
        ];
        let failed_names = BTreeSet::from(["b".to_owned()]);
        let unsteady = vec!["pods::e".to_owned()];
        let counts = Counts {
            passed: 20,
            failed: 1,
            ignored: 2,
            failed_names,
            unsteady,
            ..Counts::default()
        };
        let failures = ["`cargo fmt --check`".to_owned()];
        expect_test::expect![[r#"

            peer        version  tests that used it     tests that missed it
            cargo-deny  0.20.2   1 in cargo deny check
            haproxy     2.6.12   1 in boot, 4 in pods
            skopeo      missing                         1 in image
            umoci       missing                         1 in image

            skipped, `umoci` is missing: image::a
            skipped, needs root: boot::a
            unsteady, failed beside other tests and passed alone: pods::e
            failed: `cargo fmt --check`
            18 passed, 1 failed, 4 skipped
        "#]]
        .assert_eq(&text(&counts, &events, &failures));
    }
}
