//! A machine with the shipped kubelet, its folder of manifests, and what can be asked of both.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::{KUBELET_DROP_INS, MANIFESTS, PodHost};
use e2e::tree::Tree;
use e2e::wait::until;
use serde_json::Value;

/// Some rescans of the folder, each 20 s after the one before, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// A machine with the kubelet and an image.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) image: PodImage,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn start() -> Option<Scene> {
        let (tree, folder) = (Tree::debian()?, tempfile::tempdir().unwrap());
        let host = PodHost::new(folder.path())?;
        let recipe = Recipe::of_busybox("shell", "1", &["sh", "sleep"], &["/usr/bin/sh", "-c"]);
        let image = images::make(&recipe, &peer("busybox")?, folder.path()).unwrap();
        host.equip(&tree, "n1", "127.0.0.1").unwrap();
        let machine = Machine::boot(tree).unwrap();
        host.start_containerd(&machine, &[&image]).unwrap();
        host.start_kubelet(&machine).unwrap();
        Some(Scene { machine, image, _folder: folder })
    }

    /// A pod that runs until it is told to end. `version` makes it another one, `metadata` and `spec` are more lines.
    pub(crate) fn manifest(&self, name: &str, version: &str, metadata: &str, spec: &str) -> String {
        let image = self.image.reference();
        format!(
            "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: kube-system
{metadata}spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
{spec}  containers:
  - name: {name}
    image: {image}
    imagePullPolicy: Never
    args: [\"trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done\", {version}]
"
        )
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.machine.root().join(MANIFESTS.trim_start_matches('/'))
    }

    /// Puts a file in place, whole.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let beside = self.machine.root().join("etc/kubernetes/beside");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.folder().join(file)).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.folder().join(file)).unwrap();
    }

    /// The pods with running containers, as the runtime tells the kubelet: UIDs by name.
    pub(crate) fn running(&self) -> Option<BTreeMap<String, String>> {
        let url = "https://127.0.0.1:10250/runningpods/";
        let text = self.machine.output(&["curl", "-fksS", "--max-time", "5", url]).ok()?;
        let pods: Value = serde_json::from_str(&text).ok()?;
        let uid = |pod: &Value| {
            let metadata = &pod["metadata"];
            let name = metadata["name"].as_str()?.trim_end_matches("-n1").to_owned();
            let runs = pod["spec"]["containers"].as_array().is_some_and(|all| !all.is_empty());
            runs.then(|| Some((name, metadata["uid"].as_str()?.to_owned())))?
        };
        Some(pods["items"].as_array().into_iter().flatten().filter_map(uid).collect())
    }

    #[track_caller]
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&BTreeMap<String, String>) -> Option<T>,
    ) -> T {
        let seen = until(what, LIMIT, || look(&self.running()?));
        seen.unwrap_or_else(|error| {
            panic!("{error}\n{:?}\n{:?}\n{}", self.running(), self.listed(), self.journal());
        })
    }

    /// Waits until a pod runs, and gives its UID.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str) -> String {
        self.wait(&format!("pod {name} to run"), |running| running.get(name).cloned())
    }

    #[track_caller]
    pub(crate) fn wait_for_end(&self, name: &str) {
        self.wait(&format!("pod {name} to end"), |running| {
            (!running.contains_key(name)).then_some(())
        });
    }

    /// The containers of a pod, with those that have ended.
    pub(crate) fn containers(&self, name: &str) -> String {
        let filter = format!(
            "labels.\"io.kubernetes.pod.name\"=={name}-n1,labels.\"io.cri-containerd.kind\"==container"
        );
        let list = ["ctr", "-n", "k8s.io", "containers", "list", "--quiet", &filter];
        self.machine.output(&list).unwrap()
    }

    /// The pods that the kubelet lists, running or not: their status by name.
    pub(crate) fn listed(&self) -> Option<BTreeMap<String, Value>> {
        let list = ["curl", "-fksS", "--max-time", "5", "https://127.0.0.1:10250/pods"];
        let pods: Value = serde_json::from_str(&self.machine.output(&list).ok()?).ok()?;
        let status = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str()?.trim_end_matches("-n1").to_owned();
            Some((name, pod["status"].clone()))
        };
        Some(pods["items"].as_array().into_iter().flatten().filter_map(status).collect())
    }

    /// A file of `/proc` about a pod's process.
    pub(crate) fn process(&self, name: &str, file: &str) -> String {
        let containers = self.containers(name);
        let tasks = self.machine.output(&["ctr", "-n", "k8s.io", "tasks", "list"]).unwrap();
        let is_its = |task: &&str| {
            containers.lines().any(|id| task.starts_with(id)) && task.contains("RUNNING")
        };
        let task = tasks.lines().find(is_its).unwrap_or_else(|| panic!("{name}: {tasks}"));
        let pid = task.split_whitespace().nth(1).unwrap();
        self.machine.output(&["cat", &format!("/proc/{pid}/{file}")]).unwrap()
    }

    /// The effective capabilities of a pod's process, as the kernel numbers them.
    pub(crate) fn capabilities(&self, name: &str) -> u64 {
        let status = self.process(name, "status");
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    }

    /// Starts the kubelet anew with one more drop-in, whether it can start or not.
    pub(crate) fn restart_with(&self, drop_in: &str) {
        let header = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
        let path = format!("{KUBELET_DROP_INS}/95-test.conf");
        self.machine.tree().write(&path, format!("{header}{drop_in}"), 0o644).unwrap();
        self.machine.output(&["systemctl", "restart", "--no-block", "kubelet.service"]).unwrap();
    }

    /// Waits until the kubelet has given up with this on its lips.
    #[track_caller]
    pub(crate) fn wait_for_last_words(&self, words: &str) {
        let said = || (!self.is_healthy() && self.journal().contains(words)).then_some(());
        until(words, LIMIT, said).unwrap_or_else(|error| panic!("{error}\n{}", self.journal()));
    }

    #[track_caller]
    pub(crate) fn wait_until_healthy(&self) {
        until("the kubelet to be healthy", LIMIT, || self.is_healthy().then_some(()))
            .unwrap_or_else(|error| panic!("{error}\n{}", self.journal()));
    }

    /// The last that the kubelet said.
    pub(crate) fn journal(&self) -> String {
        let journal = ["journalctl", "--no-pager", "-n60", "-u", "kubelet"];
        String::from_utf8_lossy(&self.machine.run(&journal).unwrap().stdout).into_owned()
    }

    pub(crate) fn is_healthy(&self) -> bool {
        let ask = ["curl", "-fsS", "--max-time", "5", "http://127.0.0.1:10248/healthz"];
        self.machine.output(&ask).is_ok_and(|answer| answer == "ok")
    }
}
