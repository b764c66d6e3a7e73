//! Pods that change: their UIDs, their order, and the ones that take a new config while they run.

use super::*;
use crate::host::restarts::{self, Asked};

/// The UID on disk.
#[track_caller]
fn uid(bench: &Bench, pod: &str) -> String {
    let text =
        std::fs::read_to_string(bench.host.path(&format!("{MANIFESTS}/{pod}.yaml"))).unwrap();
    pod_identity(&text).unwrap().uid.unwrap()
}

/// A pod with a manifest of its own.
fn version(name: &str, version: &str) -> StaticPod {
    let mut pod = pod(name, &[]);
    pod.manifest.push_str(&format!("spec: {{version: {version}}}\n"));
    pod
}

#[test]
fn every_run_has_a_uid_of_its_own() {
    let bench = Bench::new();
    let mut uids = std::collections::BTreeSet::new();
    // There, back at once, and back once more.
    for (generation, content) in [(1, "1"), (2, "2"), (3, "1"), (4, "2"), (5, "1")] {
        let pods = vec![version("a", content)];
        let outcome = bench.apply(&bench.plan(&desired(generation, pods, Acceptance::New)).steps);
        assert_eq!(outcome.failures, []);
        uids.insert(uid(&bench, "a"));
    }
    assert_eq!(uids.len(), 5);
    // Gone and back with the same content.
    bench.apply(&bench.plan(&desired(6, vec![], Acceptance::New)).steps);
    bench.apply(&bench.plan(&desired(7, vec![version("a", "1")], Acceptance::New)).steps);
    uids.insert(uid(&bench, "a"));
    assert_eq!(uids.len(), 6);
}

#[test]
fn a_pod_keeps_its_uid_when_only_its_attributes_change_or_the_ledger_is_lost() {
    let bench = Bench::new();
    let pods = || vec![version("a", "1")];
    bench.settle(&[version("a", "0")]);
    bench.apply(&bench.plan(&desired(2, pods(), Acceptance::New)).steps);
    let before = uid(&bench, "a");
    bench.set_mode("/etc/kubernetes/manifests/a.yaml", 0o644);
    bench.check(
        2,
        &pods(),
        Acceptance::Recorded,
        &["write manifest /etc/kubernetes/manifests/a.yaml: its mode is 0644 instead of 0600"],
    );
    bench.apply(&bench.plan(&desired(2, pods(), Acceptance::Recorded)).steps);
    assert_eq!(uid(&bench, "a"), before);
    std::fs::remove_file(bench.host.path(LEDGER_PATH)).unwrap();
    bench.apply(&bench.plan(&desired(2, pods(), Acceptance::New)).steps);
    assert_eq!(uid(&bench, "a"), before);
}

/// A run that is to end is replaced once, whoever is interrupted where; a request about an earlier one changes nothing.
#[test]
fn a_run_that_somebody_wants_to_end_is_replaced_once() {
    let bench = Bench::new();
    let pods = || vec![version("a", "1"), version("b", "1")];
    bench.settle(&pods());
    let node = desired(1, pods(), Acceptance::Recorded).node;
    let before = (uid(&bench, "a"), uid(&bench, "b"));
    assert_eq!(restarts::ask(&bench.host, &node, "a").unwrap(), Asked::Left);
    let steps = [
        "record what is about to be written",
        "remove manifest /etc/kubernetes/manifests/a.yaml: its pod is replaced",
        "wait until pod a has stopped",
        "write manifest /etc/kubernetes/manifests/a.yaml: its pod is to read a changed file",
    ];
    bench.check(1, &pods(), Acceptance::Recorded, &steps);
    for interrupted_after in 1..4 {
        let steps = bench.plan(&desired(1, pods(), Acceptance::Recorded)).steps;
        bench.apply(&steps[..interrupted_after.min(steps.len())]);
        restarts::settle(&bench.host, &node, |_| true);
    }
    bench.apply(&bench.plan(&desired(1, pods(), Acceptance::Recorded)).steps);
    assert_ne!(uid(&bench, "a"), before.0);
    assert_eq!(uid(&bench, "b"), before.1);
    // Done, whether anybody has noticed or not.
    bench.check(1, &pods(), Acceptance::Recorded, &[]);
    restarts::settle(&bench.host, &node, |_| true);
    assert!(restarts::pending(&bench.host).is_empty());
}

#[test]
fn keepalived_leaves_before_haproxy_and_returns_after_it() {
    let bench = Bench::new();
    let pods = |haproxy, keepalived| {
        vec![version("haproxy", haproxy), version("keepalived", keepalived), version("z", "1")]
    };
    bench.settle(&pods("1", "1"));
    let before = (uid(&bench, "keepalived"), uid(&bench, "z"));
    let recorded = ["accept generation 2", "record what is about to be written"];
    let haproxy = [
        "remove manifest /etc/kubernetes/manifests/haproxy.yaml: its pod is replaced",
        "wait until pod haproxy has stopped",
        "write manifest /etc/kubernetes/manifests/haproxy.yaml: the new generation changes it",
    ];
    let first = [
        "remove manifest /etc/kubernetes/manifests/keepalived.yaml: its pod is replaced",
        "wait until pod keepalived has stopped",
    ];
    let last =
        ["write manifest /etc/kubernetes/manifests/keepalived.yaml: the new generation changes it"];
    let alone = [&recorded[..], &haproxy].concat();
    bench.check(2, &pods("2", "1"), Acceptance::New, &alone);
    let both = [&recorded[..], &first, &haproxy, &last].concat();
    bench.check(2, &pods("2", "2"), Acceptance::New, &both);
    let steps = bench.plan(&desired(2, pods("2", "2"), Acceptance::New)).steps;

    // Interrupted with both gone: haproxy returns first.
    let left = [
        "wait until pod haproxy has stopped",
        "write manifest /etc/kubernetes/manifests/haproxy.yaml: it is missing",
        "wait until pod keepalived has stopped",
        "write manifest /etc/kubernetes/manifests/keepalived.yaml: it is missing",
    ];
    bench.apply(&steps[..6]);
    bench.check(2, &pods("2", "2"), Acceptance::Recorded, &left);
    bench.apply(&bench.plan(&desired(2, pods("2", "2"), Acceptance::Recorded)).steps);
    bench.check(2, &pods("2", "2"), Acceptance::Recorded, &[]);
    assert_ne!(uid(&bench, "keepalived"), before.0);
    assert_eq!(uid(&bench, "z"), before.1);
}

#[test]
fn a_running_pod_takes_new_config_files_without_a_new_manifest() {
    let bench = Bench::new();
    let haproxy = |manifest, files: &[(&str, &str)]| {
        let mut changed = version("haproxy", manifest);
        changed.files = pod("haproxy", files).files;
        vec![changed]
    };
    let before = haproxy("1", &[("a.cfg", "1"), ("b.map", "1")]);
    bench.settle(&before);
    let config = "/etc/basalt/pods/haproxy/a.cfg";
    let next = haproxy("1", &[("a.cfg", "2"), ("c.map", "2")]);
    let recorded = ["accept generation 2", "record what is about to be written"];
    let expected = [
        &recorded[..],
        &[
            "reload pod haproxy with /etc/basalt/pods/haproxy/a.cfg: the new generation changes it, \
             /etc/basalt/pods/haproxy/c.map: new",
            "remove config file /etc/basalt/pods/haproxy/b.map",
            "record what is left",
        ],
    ]
    .concat();
    bench.check(2, &next, Acceptance::New, &expected);

    // With a new manifest the pod reads them when it starts.
    let both = haproxy("2", &[("a.cfg", "2"), ("b.map", "1")]);
    let expected = [
        &recorded[..],
        &[
            "write config file /etc/basalt/pods/haproxy/a.cfg: the new generation changes it",
            "remove manifest /etc/kubernetes/manifests/haproxy.yaml: its pod is replaced",
            "wait until pod haproxy has stopped",
            "write manifest /etc/kubernetes/manifests/haproxy.yaml: the new generation changes it",
        ],
    ]
    .concat();
    bench.check(2, &both, Acceptance::New, &expected);

    // What a program does not notice is nothing to tell it.
    bench.set_mode(config, 0o600);
    let expected =
        ["write config file /etc/basalt/pods/haproxy/a.cfg: its mode is 0600 instead of 0644"];
    bench.check(1, &before, Acceptance::Recorded, &expected);

    // Interrupted with the files written and nobody told.
    let steps = bench.plan(&desired(2, next.clone(), Acceptance::New)).steps;
    bench.apply(&steps[..2]);
    for file in &next[0].files {
        bench.write(file.path.as_str(), &file.contents);
        bench.set_mode(file.path.as_str(), 0o644);
    }
    let expected = [
        "reload pod haproxy: it was interrupted",
        "remove config file /etc/basalt/pods/haproxy/b.map",
        "record what is left",
    ];
    bench.check(2, &next, Acceptance::Recorded, &expected);
    bench.apply(&bench.plan(&desired(2, next.clone(), Acceptance::Recorded)).steps);
    bench.check(2, &next, Acceptance::Recorded, &[]);
    assert_eq!(std::fs::read_to_string(bench.host.path(config)).unwrap(), "2");
}

#[test]
fn a_pod_that_changes_is_kept_when_its_config_files_cannot_be_written() {
    let bench = Bench::new();
    bench.settle(&[version("a", "1")]);
    let before = uid(&bench, "a");
    let mut next = version("a", "2");
    next.files = pod("a", &[("a.cfg", "2")]).files;
    bench.write("/etc/basalt/pods/a/a.cfg/kept", "");
    let outcome = bench.apply(&bench.plan(&desired(2, vec![next], Acceptance::New)).steps);
    assert!(!outcome.failures.is_empty());
    assert_eq!(uid(&bench, "a"), before);
}

#[test]
fn a_pod_whose_traces_stay_is_not_started_again_and_holds_nobody_else_up() {
    let bench = Bench::new();
    bench.settle(&[version("a", "1"), version("b", "1")]);
    let group = format!("/sys/fs/cgroup/kubepods/burstable/pod{}", uid(&bench, "a"));
    std::fs::create_dir_all(bench.host.path(&group)).unwrap();
    let next = [version("a", "2"), version("b", "2")];
    let steps = bench.plan(&desired(2, next.to_vec(), Acceptance::New)).steps;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let outcome = runtime.block_on(apply_all(&steps, &bench.host, async || false));
    let failures: Vec<&str> = outcome.failures.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].starts_with("pod a has not stopped after 60 s: its control group pod"));
    assert!(failures[1].ends_with("because its last run has not stopped"), "{failures:?}");
    assert!(outcome.failures[0].hint.is_some());
    assert!(!bench.host.path("/etc/kubernetes/manifests/a.yaml").exists());
    bench.check(
        2,
        &next,
        Acceptance::Recorded,
        &[
            "wait until pod a has stopped",
            "write manifest /etc/kubernetes/manifests/a.yaml: it is missing",
        ],
    );
    let steps = bench.plan(&desired(2, next.to_vec(), Acceptance::Recorded)).steps;
    let outcome = runtime.block_on(apply_all(&steps, &bench.host, async || false));
    let left = "the container runtime is away, and pods are not";
    assert!(outcome.failures[0].message.ends_with(left), "{:?}", outcome.failures);
    std::fs::remove_dir(bench.host.path(&group)).unwrap();
    let steps = bench.plan(&desired(2, next.to_vec(), Acceptance::Recorded)).steps;
    assert_eq!(bench.apply(&steps).failures, []);
    bench.check(2, &next, Acceptance::Recorded, &[]);
}
