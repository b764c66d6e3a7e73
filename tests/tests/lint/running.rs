//! The corpus on a running kubelet with containerd: what the linter passes starts, and what it says never starts does
//! not.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use basalt_static_pods::lint::{Effect, File, LintFinding, Rules, lint};
use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::{MANIFESTS, PodHost};
use e2e::tree::Tree;
use e2e::wait::until;
use serde_json::Value;

use crate::corpus::corpus;

/// How many pods there are at once; the kubelet takes 110.
const BATCH: usize = 60;
/// What starts does so within this time, on a busy machine too.
const START_LIMIT: Duration = Duration::from_secs(180);
/// So long after all others have started, what never starts has had its chance: it is tried before them.
const CHANCE: Duration = Duration::from_secs(10);

/// A network for pods that do not use the host's: it gives each the same address and connects none.
const CNI: &str = r#"{"cniVersion": "1.0.0", "name": "none", "plugins": [{"type": "none"}]}"#;
const CNI_PLUGIN: &str = r#"#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}';;
ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'$CNI_NETNS'"}],' \
    '"ips": [{"address": "192.0.2.7/24", "interface": 0}]}';;
esac
"#;
const ADDRESS: &str = "192.0.2.1";

/// These say that a pod that starts is never ready, or ends at once: seen in other ways than that it does not start.
const NOT_SEEN_HERE: [&str; 1] = ["probe-port"];

/// A manifest of the corpus, for a pod with a name of its own.
struct Case {
    /// `bad/….yaml`
    file: String,
    pod: String,
    text: String,
    starts: bool,
}

#[test]
fn what_starts_and_what_never_does() {
    let Some(tree) = Tree::debian() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (Some(host), Some(busybox)) = (PodHost::new(folder.path()), peer("busybox")) else {
        return;
    };
    let script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done";
    let entrypoint = ["/usr/bin/sh", "-c", script];
    let recipe = Recipe::of_busybox("web", "1", &["sh", "sleep"], &entrypoint);
    let web = images::make(&recipe, &busybox, folder.path()).unwrap();
    host.equip(&tree, "n1", ADDRESS).unwrap();
    tree.write("/etc/cni/net.d/10-none.conflist", CNI, 0o644).unwrap();
    for plugin in ["none", "loopback"] {
        tree.write(&format!("/opt/cni/bin/{plugin}"), CNI_PLUGIN, 0o755).unwrap();
    }
    let machine = Machine::boot(tree).unwrap();
    machine.output(&["ip", "address", "add", &format!("{ADDRESS}/32"), "dev", "lo"]).unwrap();
    host.start_containerd(&machine, &[&web]).unwrap();
    host.start_kubelet(&machine).unwrap();

    let cases = cases(&web);
    let count = |starts| cases.iter().filter(|case| case.starts == starts).count();
    assert!(count(true) > 50 && count(false) > 40, "{} and {}", count(true), count(false));
    let mut different = String::new();
    for batch in cases.chunks(BATCH) {
        run(&machine, batch, &mut different);
    }
    assert!(different.is_empty(), "{different}");
}

/// The manifests that the kubelet takes and whose fate does not depend on the host; what never starts comes first.
fn cases(image: &PodImage) -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (file, bytes)) in corpus().into_iter().enumerate() {
        let findings = lint(&[File { name: &file, bytes: &bytes }], Rules::Kubelet);
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let has =
            |effects: &[Effect]| findings.iter().any(|finding| effects.contains(&finding.effect));
        let is_named =
            text.contains("  name: web\n") && text.contains("image: registry.lab.example/web:1\n");
        if !is_named || has(&[Effect::Refused, Effect::Ends, Effect::Hangs, Effect::Host]) {
            continue;
        }
        // Other images are not there, init containers wait for ever, and all pods together ask for more than there is.
        let other =
            [" image: a\n", "image: a}", "image: a,", "reference:", "initContainers", "cpu"];
        if other.iter().any(|other| text.contains(other)) {
            continue;
        }
        let is_seen = |finding: &&LintFinding| !NOT_SEEN_HERE.contains(&finding.rule);
        let never = |finding: &LintFinding| {
            matches!(finding.effect, Effect::NeverStarts | Effect::NotAdmitted)
        };
        let pod = format!("case{index}");
        let text = text
            .replace("  name: web\n", &format!("  name: {pod}\n"))
            .replace("registry.lab.example/web:1\n", &format!("{}\n", image.reference()));
        let starts = !findings.iter().filter(is_seen).any(never);
        cases.push(Case { file, pod, text, starts });
    }
    cases.sort_by_key(|case| case.starts);
    cases
}

fn run(machine: &Machine, batch: &[Case], different: &mut String) {
    let folder = machine.root().join(MANIFESTS.trim_start_matches('/'));
    for Case { pod, text, .. } in batch {
        fs::write(folder.join(format!(".{pod}")), text).unwrap();
        fs::rename(folder.join(format!(".{pod}")), folder.join(format!("{pod}.yaml"))).unwrap();
    }
    let all_started = || {
        let states = states(machine)?;
        let started = |case: &Case| states.get(&case.pod).is_some_and(|state| state == STARTED);
        batch.iter().filter(|case| case.starts).all(started).then_some(())
    };
    // Which of them did not start is said below.
    let _ = until("the good pods to start", START_LIMIT, all_started);
    std::thread::sleep(CHANCE);
    let seen = until("the kubelet to answer", START_LIMIT, || states(machine)).unwrap();
    for Case { file, pod, starts, .. } in batch {
        let state = seen.get(pod).map_or("not listed", String::as_str);
        if *starts != (state == STARTED) {
            *different += &format!("{file}: {state}\n");
        }
    }
    for Case { pod, .. } in batch {
        fs::remove_file(folder.join(format!("{pod}.yaml"))).unwrap();
    }
    let none = || states(machine).filter(BTreeMap::is_empty);
    until("the pods to go", START_LIMIT, none).unwrap();
}

const STARTED: &str = "started";

/// What the kubelet says of each pod, by the name in its manifest.
fn states(machine: &Machine) -> Option<BTreeMap<String, String>> {
    let pods = machine.output(&["curl", "-ksS", "https://127.0.0.1:10250/pods"]).ok()?;
    let pods: Value = serde_json::from_str(&pods).ok()?;
    let mut states = BTreeMap::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str()?.trim_end_matches("-n1");
        states.insert(name.to_owned(), state(&pod["status"]));
    }
    Some(states)
}

/// [`STARTED`] when every container has run, else why not.
fn state(status: &Value) -> String {
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| status[list].as_array());
    let containers: Vec<&Value> = lists.into_iter().flatten().flatten().collect();
    let has_run = |container: &&Value| {
        let ended = |state: &Value| {
            state["startedAt"].is_string()
                && !matches!(
                    state["reason"].as_str(),
                    Some("StartError" | "ContainerStatusUnknown")
                )
        };
        container["state"]["running"].is_object()
            || ended(&container["state"]["terminated"])
            || ended(&container["lastState"]["terminated"])
    };
    if !containers.is_empty() && containers.iter().all(has_run) {
        return STARTED.to_owned();
    }
    let waiting = containers.iter().map(|container| container["state"]["waiting"].to_string());
    let reason = [&status["reason"], &status["message"]].map(Value::to_string);
    reason.into_iter().chain(waiting).filter(|text| text != "null").collect::<Vec<_>>().join(" ")
}
