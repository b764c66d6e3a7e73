//! Pods that do not end, on the real kubelet and containerd: each is named, nothing takes its place before it is gone, the
//! kubelet is restarted when nothing else is left to do, and the node's other pods do not notice.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use basalt_model::node::OwnPod;
use e2e::pod_change::{Parts, PodNode, Wanted};
use e2e::programs;
use e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The agent waits for a minute in each round, and for a pod that cannot be killed in more than one.
const PATIENCE: Duration = Duration::from_secs(240);
const CTR: [&str; 3] = ["ctr", "--namespace", "k8s.io"];

/// A node with haproxy and keepalived, and a pod that does not listen when it is told to end.
struct Scene {
    lab: PodNode,
    wanted: Wanted,
    /// The containers of the pods that are not changed.
    others: [String; 2],
    kubelet: Option<u32>,
}

impl Scene {
    /// `stuck_seconds` is what the agent grants a pod beyond its grace period.
    fn start(grace_seconds: u32, stuck_seconds: u32) -> Option<Scene> {
        let agent = programs::agent()?;
        let wanted = Wanted { keepalived: Some(0), ..Wanted::first() };
        let lab = PodNode::start(Parts::find()?, &agent, &wanted).unwrap();
        let settings = format!(
            "\"deadline_seconds\": 600, \"settle_seconds\": 1, \"stuck_seconds\": {stuck_seconds}"
        );
        lab.set_generations(&settings).unwrap();
        let mut scene = Scene { lab, wanted, others: Default::default(), kubelet: None };
        scene.change(grace_seconds);
        scene.wait_for_serving();
        scene.others = scene.containers_of_others();
        scene.kubelet = scene.lab.machine.main_pid("kubelet.service").unwrap();
        Some(scene)
    }

    /// Offers a generation with another manifest of the pod.
    fn change(&mut self, grace_seconds: u32) {
        self.wanted.generation += 1;
        let mut node = self.lab.node(&self.wanted).unwrap();
        let image = node.haproxy.as_ref().unwrap().image.to_string();
        let manifest = format!(
            "apiVersion: v1
kind: Pod
metadata:
  name: slow
  namespace: kube-system
spec:
  hostNetwork: true
  priorityClassName: system-node-critical
  priority: 2000001000
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {grace_seconds}
  containers:
  - name: slow
    image: {image}
    imagePullPolicy: Never
    command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\", run{run}]
    readinessProbe: {{exec: {{command: [sh, -c, exit 0]}}}}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {{drop: [ALL]}}
",
            run = self.wanted.generation
        );
        node.pods = vec![OwnPod {
            name: "slow".parse().unwrap(),
            source: "pods/slow.yaml".parse().unwrap(),
            manifest,
            files: Vec::new(),
            capabilities: Vec::new(),
            is_privileged: false,
        }];
        self.lab.write_node(&node).unwrap();
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        until(what, PATIENCE, look).unwrap_or_else(|error| {
            panic!("{error}\n{}\n{}", self.status_for_people(), self.lab.journal())
        })
    }

    #[track_caller]
    fn wait_for_serving(&self) {
        let expected = format!("serving generation {}", self.wanted.generation);
        self.wait(&expected, || (self.lab.phase() == expected).then_some(()));
    }

    fn status(&self) -> Value {
        let text =
            self.lab.machine.output(&["basalt-agent", "status", "--output", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn status_for_people(&self) -> String {
        self.lab.machine.output(&["basalt-agent", "status"]).unwrap()
    }

    fn journal(&self) -> String {
        let journal = ["journalctl", "--no-pager", "-o", "cat", "-u", "basalt-agent"];
        self.lab.machine.output(&journal).unwrap()
    }

    fn ids(&self, filter: &str) -> String {
        let list = ["containers", "list", "--quiet", filter];
        self.lab.machine.output(&[&CTR, &list[..]].concat()).unwrap()
    }

    fn containers_of_others(&self) -> [String; 2] {
        ["haproxy", "keepalived"].map(|name| {
            let ids = self.ids(&format!("labels.\"io.kubernetes.container.name\"=={name}"));
            assert_eq!(ids.lines().count(), 1, "{name}: {ids}");
            ids
        })
    }

    /// Waits until the status names the pod, since when it is waited for, and what is done about it.
    #[track_caller]
    fn wait_until_named(&self) {
        let report = self.wait("the status to name the pod", || {
            let report = self.status()["service"]["report"]["waiting"].clone();
            report.is_object().then_some(report)
        });
        assert_eq!(report["path"], "/etc/kubernetes/manifests/slow.yaml");
        assert_eq!(report["left"], "container slow still runs");
        assert!(report["since_unix_seconds"].as_u64().unwrap() > 0, "{report}");
        let status = self.status();
        let items = status["items"].as_array().unwrap();
        let item = items.iter().find(|it| it["kind"] == "static-pod" && it["name"] == "slow");
        let item = item.unwrap_or_else(|| panic!("{status:#}"));
        assert_eq!(item["state"], "pending", "{item}");
        assert_eq!(item["reason"], "its last run has not ended: container slow still runs");
        assert!(item["hint"].as_str().unwrap().contains("restarts the kubelet once"), "{item}");
        let text = self.status_for_people();
        let line =
            "s for the end of /etc/kubernetes/manifests/slow.yaml: container slow still runs";
        assert!(text.contains(line), "{text}");
        // Nothing is written beside it.
        let manifest = self.lab.machine.root().join("etc/kubernetes/manifests/slow.yaml");
        assert!(!manifest.exists());
    }

    /// How often the kubelet was restarted for a pod.
    fn restarts(&self) -> usize {
        self.journal().matches("restart the kubelet, since pod kube-system/slow-n1").count()
    }

    /// The other pods are those of the beginning, and haproxy answers.
    #[track_caller]
    fn others_did_not_notice(&self) {
        assert_eq!(self.containers_of_others(), self.others);
        assert_eq!(self.lab.answer(), Some(self.wanted.version.clone()));
    }
}

#[test]
fn a_pod_that_takes_its_time_is_named_and_waited_for() {
    const GRACE_SECONDS: u32 = 15;
    let Some(mut scene) = Scene::start(GRACE_SECONDS, 30) else { return };
    let begin = Instant::now();
    scene.change(GRACE_SECONDS);
    scene.wait_until_named();
    scene.wait_for_serving();
    assert!(begin.elapsed() >= Duration::from_secs(GRACE_SECONDS.into()), "{:?}", begin.elapsed());
    assert!(scene.status()["service"]["report"]["waiting"].is_null());
    // It was within its rights.
    assert_eq!(scene.restarts(), 0, "{}", scene.journal());
    assert_eq!(scene.lab.machine.main_pid("kubelet.service").unwrap(), scene.kubelet);
    scene.others_did_not_notice();
}

/// The kubelet stands still in the middle of a change: nothing ends and nothing begins any more until it is started anew.
#[test]
fn a_kubelet_that_hangs_is_restarted_as_the_last_step() {
    let Some(mut scene) = Scene::start(1, 5) else { return };
    let stop = ["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "kubelet.service"];
    scene.lab.machine.output(&stop).unwrap();
    let begin = Instant::now();
    scene.change(1);
    scene.wait_until_named();
    assert_eq!(scene.restarts(), 0, "it is not the first step");
    scene.wait_for_serving();
    println!("with a kubelet that hung: changed after {:?}", begin.elapsed());
    assert_eq!(scene.restarts(), 1, "{}", scene.journal());
    assert_ne!(scene.lab.machine.main_pid("kubelet.service").unwrap(), scene.kubelet);
    let told = "pod kube-system/slow-n1 (sandbox ";
    assert!(scene.journal().contains(told), "{}", scene.journal());
    scene.others_did_not_notice();
}

/// Whoever would kill the container stands still: neither the kubelet nor a new kubelet gets rid of it.
#[test]
fn a_container_that_cannot_be_killed_costs_one_restart() {
    let Some(mut scene) = Scene::start(1, 5) else { return };
    let sandbox = scene.ids(
        "labels.\"io.kubernetes.pod.name\"==slow-n1,labels.\"io.cri-containerd.kind\"==sandbox",
    );
    let shim = shim_of(&sandbox);
    kill(shim, Signal::SIGSTOP).unwrap();
    scene.change(1);
    scene.wait_until_named();
    let stuck = scene.wait("the status to say that the kubelet was restarted", || {
        let status = scene.status();
        let stuck = status["generations"]["lingering"][0].clone();
        (stuck["remedy"] == "kubelet-restarted").then_some(stuck)
    });
    assert_eq!(
        (&stuck["pod"], &stuck["trouble"]),
        (&"kube-system/slow-n1".into(), &"does-not-end".into())
    );
    assert!(stuck["seconds"].as_u64().unwrap() >= 60, "the first minute counts: {stuck}");
    assert_eq!(stuck["grace_seconds"], 1);
    let text = scene.status_for_people();
    assert!(
        text.contains("s, its grace period is 1 s; the kubelet was restarted for it"),
        "{text}"
    );
    assert_eq!(scene.restarts(), 1, "{}", scene.journal());
    assert_ne!(scene.lab.machine.main_pid("kubelet.service").unwrap(), scene.kubelet);
    scene.others_did_not_notice();

    kill(shim, Signal::SIGCONT).unwrap();
    scene.wait_for_serving();
    assert_eq!(scene.restarts(), 1, "{}", scene.journal());
    scene.others_did_not_notice();
}

/// The process that looks after the containers of a sandbox, as this machine numbers it.
fn shim_of(sandbox: &str) -> Pid {
    let is_it = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("containerd-shim") && line.contains(sandbox.trim())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Pid::from_raw(pids.into_iter().find(is_it).expect("each sandbox has a shim"))
}
