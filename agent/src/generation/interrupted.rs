//! The agent is killed after every single step of a change, on real files: the next one completes the old set or the new
//! one, and never leaves a mix.

use std::collections::BTreeMap;

use basalt_model::node::Node;
use camino::Utf8Path;

use super::PodSetId;
use crate::apply::apply_all;
use crate::host::ledger::LEDGER_PATH;
use crate::host::{Host, boot};
use crate::plan::Step;
use crate::probe::{Answer, Evidence, Health, ImageSeen, Level, Probe};
use crate::reconcile::{Survey, survey};
use crate::testing::scratch_host;

/// The lab's first node; the second generation has no keepalived and another haproxy.
fn node(generation: u64) -> Node {
    let mut node =
        Node::from_json("n1.json", include_str!("../../../static-pods/tests/lab/n1.json")).unwrap();
    node.generation = generation;
    if generation == 2 {
        let haproxy = node.haproxy.as_mut().unwrap();
        haproxy.image = haproxy.image.to_string().replace(":2.6@", ":2.8@").parse().unwrap();
        node.keepalived = None;
    }
    node
}

fn write(host: &Host, path: &str, text: &str) {
    let path = host.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// What a look would find: every image is there, and the set on the node is well or not.
fn look(host: &Host, is_well: bool) -> Evidence {
    let present = ImageSeen::Present { id: "i".into(), digests: Default::default(), pinned: true };
    let nodes = [node(1), node(2)];
    let images = (nodes.iter())
        .flat_map(|node| {
            [
                node.haproxy.as_ref().map(|it| &it.image),
                node.keepalived.as_ref().map(|it| &it.image),
                node.vault_agent.as_ref().map(|it| &it.image),
            ]
        })
        .flatten()
        .map(|image| (image.to_string(), present.clone()))
        .collect();
    let evidence = Evidence { images, ..Evidence::default() };
    let Some((of, _)) = survey(host, &evidence).choice.unwrap().target else { return evidence };
    let probe = Probe {
        level: Level::Function,
        subject: "haproxy".into(),
        name: "readiness".into(),
        answer: if is_well { Answer::Good } else { Answer::Bad },
        evidence: "seen".into(),
        asked_unix_seconds: 0,
    };
    let good_milliseconds = is_well.then_some(60_000);
    let health = Some(Health { of, probes: vec![probe], good_milliseconds });
    Evidence { health, ..evidence }
}

/// Carries out the first `most` steps of a round, and gives how many there were.
fn round(host: &Host, is_well: bool, most: usize) -> usize {
    let steps: Vec<Step> = survey(host, &look(host, is_well)).plan.steps;
    apply(host, &steps[..most.min(steps.len())]);
    steps.len()
}

#[track_caller]
fn apply(host: &Host, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(apply_all(steps, host, async || false)).failures, []);
}

/// Rounds until nothing is left to do.
fn rest(host: &Host, is_well: bool) -> Survey {
    for _ in 0..10 {
        let survey = survey(host, &look(host, is_well));
        if survey.plan.steps.is_empty() {
            return survey;
        }
        apply(host, &survey.plan.steps);
    }
    panic!("it does not come to rest: {:?}", survey(host, &look(host, is_well)).plan.steps);
}

/// Lets the trial, when there is one, have begun long ago.
fn run_out_of_time(host: &Host) {
    let path = host.path(LEDGER_PATH);
    let mut ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let trial = &mut ledger["generations"]["trial"];
    if trial.is_null() {
        return;
    }
    trial["begun"]["seconds"] = 0.into();
    std::fs::write(path, ledger.to_string()).unwrap();
}

/// Every file of pods on the host, less the runs' numbers in the manifests.
fn files(host: &Host) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec!["/etc/kubernetes/manifests".to_owned(), "/etc/basalt/pods".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in host.path(&folder).read_dir_utf8().into_iter().flatten() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(path),
                false => {
                    let text = std::fs::read_to_string(entry.path()).unwrap();
                    let lines = text.lines().filter(|line| !line.trim().starts_with("uid: "));
                    files.insert(path, lines.collect::<Vec<_>>().join("\n"));
                }
            }
        }
    }
    files
}

/// A host with generation 1 committed, where `node.json` has just become generation 2.
struct Changed {
    _keep: tempfile::TempDir,
    host: Host,
}

impl Changed {
    fn new() -> Changed {
        let (keep, host) = scratch_host();
        boot::mark(&host).unwrap();
        write(&host, "/etc/basalt/node.json", &node(1).to_json());
        let survey = rest(&host, true);
        assert_eq!(survey.generations().committed.unwrap().generation, 1);
        write(&host, "/etc/basalt/node.json", &node(2).to_json());
        Changed { _keep: keep, host }
    }

    /// Another host with the same files.
    fn copy(&self) -> (tempfile::TempDir, Host) {
        let (keep, host) = scratch_host();
        copy(&self.host.path("/"), &host.path("/"));
        (keep, host)
    }
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(entry.path(), &to);
            std::fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
        } else {
            // With its permissions.
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

fn reboot(host: &Host) {
    std::fs::remove_dir_all(host.path("/run/basalt")).unwrap();
    boot::mark(host).unwrap();
}

#[track_caller]
fn check(survey: &Survey, committed: u64, rejected: Option<u64>, context: &str) {
    let report = survey.generations();
    let generation = |id: &PodSetId| id.generation;
    let seen = (report.committed.as_ref().map(generation), report.rejected.map(|it| it.set));
    assert_eq!(seen.0, Some(committed), "{context}");
    assert_eq!(seen.1.as_ref().map(generation), rejected, "{context}");
    assert_eq!(report.trial, None, "{context}");
    assert!(report.kept.iter().any(|id| id.generation == committed), "{context}");
}

/// How many steps the change takes, and the files before and after it.
fn undisturbed(changed: &Changed) -> (usize, [BTreeMap<String, String>; 2]) {
    let (_keep, host) = changed.copy();
    let old = files(&host);
    let steps = survey(&host, &look(&host, false)).plan.steps.len();
    check(&rest(&host, true), 2, None, "undisturbed");
    let new = files(&host);
    assert_ne!(old, new);
    assert!(old.keys().any(|path| !new.contains_key(path)));
    assert!(steps > 8, "a change of {steps} steps is not much of a test");
    (steps, [old, new])
}

#[test]
fn killed_after_each_step_of_a_change_that_is_proven_after_all() {
    let changed = Changed::new();
    let (steps, [_, new]) = undisturbed(&changed);
    for cut in 0..=steps + 1 {
        for reboots in [false, true] {
            let (_keep, host) = changed.copy();
            round(&host, false, cut);
            if reboots {
                reboot(&host);
            }
            let context = format!("after step {cut}, reboot: {reboots}");
            check(&rest(&host, true), 2, None, &context);
            assert_eq!(files(&host), new, "{context}");
        }
    }
}

#[test]
fn killed_after_each_step_of_a_change_that_is_never_proven() {
    let changed = Changed::new();
    let (steps, [old, _]) = undisturbed(&changed);
    for cut in 0..=steps + 1 {
        for reboots in [false, true] {
            let (_keep, host) = changed.copy();
            round(&host, false, cut);
            rest(&host, false);
            run_out_of_time(&host);
            let back = round(&host, false, cut);
            if reboots {
                reboot(&host);
            }
            if cut == 0 {
                assert!(back > 0, "there is something to take back");
            }
            // Before its first step nothing is on record, and another boot has time of its own.
            rest(&host, false);
            run_out_of_time(&host);
            let context = format!("after step {cut}, reboot: {reboots}");
            let survey = rest(&host, false);
            check(&survey, 1, Some(2), &context);
            assert_eq!(files(&host), old, "{context}");
        }
    }
}
