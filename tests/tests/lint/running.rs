//! The corpus on a running kubelet with containerd: what the linter passes starts, and what it says never starts does
//! not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use basalt_model::report::Severity;
use basalt_static_pods::lint::{Effect, File, Rules, lint};
use e2e::images::{self, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::{MANIFESTS, PodHost};
use e2e::tree::Tree;
use serde_json::Value;

use crate::corpus::corpus;

/// How many pods run at once.
const BATCH: usize = 40;
/// What starts does so within this time.
const LIMIT: Duration = Duration::from_secs(40);

/// A network for pods that do not use the host's: it gives each the same address and connects none.
const CNI: &str = r#"{"cniVersion": "1.0.0", "name": "none", "plugins": [{"type": "none"}]}"#;
const CNI_PLUGIN: &str = r#"#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}';;
ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'$CNI_NETNS'"}],' \
    '"ips": [{"address": "192.0.2.7/24", "interface": 0}]}';;
esac
"#;

#[test]
fn the_corpus_on_a_running_kubelet() {
    let Some(tree) = Tree::debian() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (Some(host), Some(busybox)) = (PodHost::new(folder.path()), peer("busybox")) else {
        return;
    };
    let script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done";
    let recipe = Recipe {
        name: "web",
        tag: "1",
        programs: &[],
        applets: &["sh", "sleep", "true"],
        entrypoint: &["/usr/bin/sh", "-c", script],
    };
    let web = images::make(&recipe, &busybox, folder.path()).unwrap();
    host.equip(&tree, "n1", "192.0.2.1").unwrap();
    tree.write("/etc/cni/net.d/10-none.conflist", CNI, 0o644).unwrap();
    for plugin in ["none", "loopback"] {
        tree.write(&format!("/opt/cni/bin/{plugin}"), CNI_PLUGIN, 0o755).unwrap();
    }
    let machine = Machine::boot(tree).unwrap();
    machine.output(&["ip", "address", "add", "192.0.2.1/32", "dev", "lo"]).unwrap();
    host.start_containerd(&machine, &[&web]).unwrap();
    host.start_kubelet(&machine).unwrap();
    let only = std::env::var("ONLY").unwrap_or_default();
    let cases: Vec<_> = corpus()
        .into_iter()
        .filter(|(name, _)| name.contains(&only))
        .enumerate()
        .filter_map(|(index, (name, text))| {
            let text = String::from_utf8(text).ok()?;
            let findings = lint(&[File { name: &name, bytes: text.as_bytes() }], Rules::Kubelet);
            let refused = findings
                .iter()
                .any(|f| matches!(f.effect, Effect::Refused | Effect::Ends | Effect::Hangs));
            if refused || !text.contains("name: web") {
                return None;
            }
            let expected = findings
                .iter()
                .find(|f| f.severity() == Severity::Error)
                .map(|f| format!("{:?}", f.effect))
                .unwrap_or_else(|| "Runs".into());
            let pod = format!("case{index}");
            let text = text
                .replace("name: web\n", &format!("name: {pod}\n"))
                .replace("registry.lab.example/web:1", &web.reference());
            Some((name, pod, text, expected))
        })
        .collect();
    let folder = machine.root().join(MANIFESTS.trim_start_matches('/'));
    for batch in cases.chunks(BATCH) {
        for (_, pod, text, _) in batch {
            fs::write(folder.join(format!(".{pod}")), text).unwrap();
            fs::rename(folder.join(format!(".{pod}")), folder.join(format!("{pod}.yaml"))).unwrap();
        }
        let start = Instant::now();
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        while start.elapsed() < LIMIT {
            sleep(Duration::from_secs(3));
            let Ok(pods) = machine.output(&["curl", "-ksS", "https://127.0.0.1:10250/pods"]) else {
                continue;
            };
            let pods: Value = serde_json::from_str(&pods).unwrap();
            for pod in pods["items"].as_array().into_iter().flatten() {
                seen.insert(pod["metadata"]["name"].as_str().unwrap().to_owned(), state(pod));
            }
            let done = batch.iter().all(|(_, pod, _, expected)| {
                expected != "Runs"
                    || seen.get(&format!("{pod}-n1")).is_some_and(|s| s.starts_with("Started"))
            });
            if done && start.elapsed() > Duration::from_secs(45) {
                break;
            }
        }
        for (name, pod, _, expected) in batch {
            let got = seen.get(&format!("{pod}-n1")).cloned().unwrap_or_else(|| "absent".into());
            println!("RUN {expected:12} {name:45} {got}");
        }
        for (_, pod, _, _) in batch {
            fs::remove_file(folder.join(format!("{pod}.yaml"))).unwrap();
        }
        sleep(Duration::from_secs(8));
    }
    let journal = machine
        .run(&["journalctl", "--no-pager", "-n4000", "-u", "kubelet", "-u", "containerd"])
        .unwrap();
    fs::write("/tmp/live-journal.txt", &journal.stdout).unwrap();
}

fn state(pod: &Value) -> String {
    let status = &pod["status"];
    let mut parts = Vec::new();
    for c in status["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(status["initContainerStatuses"].as_array().into_iter().flatten())
    {
        let state = &c["state"];
        let started = |s: &Value| {
            s["startedAt"].is_string()
                && s["reason"] != "StartError"
                && s["reason"] != "ContainerStatusUnknown"
        };
        let text = if state["running"].is_object()
            || started(&state["terminated"])
            || started(&c["lastState"]["terminated"])
        {
            "ok".to_owned()
        } else {
            format!(
                "{} {}",
                state["waiting"]["reason"]
                    .as_str()
                    .or(state["terminated"]["reason"].as_str())
                    .unwrap_or("?"),
                state["waiting"]["message"]
                    .as_str()
                    .or(state["terminated"]["message"].as_str())
                    .unwrap_or("")
                    .chars()
                    .take(200)
                    .collect::<String>()
            )
        };
        parts.push(text);
    }
    let head = if !parts.is_empty() && parts.iter().all(|p| p == "ok") {
        "Started"
    } else {
        status["phase"].as_str().unwrap_or("?")
    };
    format!(
        "{head} {} {} | {}",
        status["reason"].as_str().unwrap_or(""),
        status["message"].as_str().unwrap_or("").chars().take(150).collect::<String>(),
        parts.join("; ")
    )
}
