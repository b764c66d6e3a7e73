//! A node of a cluster runs out of memory, and then of disk, with the thresholds that are shipped: the cluster's pods are
//! evicted, the node's own are not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;

use e2e::control_plane::ControlPlane;
use e2e::hand_off::{Yard, is_ready};
use e2e::images::{self, Recipe};
use e2e::peers::peer;
use e2e::pod_host::{KUBELET_DROP_INS, LAB_DROP_IN};
use e2e::tree::Tree;
use nix::sys::statvfs::statvfs;
use serde_json::Value;

use crate::node::{Running, boot, certificates, plane};

const HEADER: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
/// What a lab that shares its host's control groups and kernel cannot have as it is on a node, and no patience with unused
/// images. The thresholds are those that are shipped: this node's disk is its own.
const LAB: &str = "cgroupDriver: cgroupfs\nfailCgroupV1: false\nenforceNodeAllocatable: []\nimageMinimumGCAge: 1s\n";
/// The node's disk: large enough for space to be set aside on it.
const DISK: &str = "/srv/disk";
const DISK_UNIT: &str = "[Unit]
Description=A disk of the node's own
Before=containerd.service kubelet.service basalt-agent.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'mkdir -p /srv/disk; mount -t tmpfs -o size=768m disk /srv/disk; \\
    for folder in kubelet containerd basalt; do \\
    mkdir -p /srv/disk/$$folder /var/lib/$$folder; mount --bind /srv/disk/$$folder /var/lib/$$folder; done'
";
const NEEDS_DISK: &str = "[Unit]\nRequires=lab-disk.service\nAfter=lab-disk.service\n";
/// What takes memory.
const HOG: &str = "/dev/shm/hog";
const MEBIBYTE: u64 = 1 << 20;
/// Below the hard threshold of 5 %, and not full.
const LITTLE: u64 = 24 * MEBIBYTE;

/// Gives the node a disk that can be filled, and the thresholds of a real one.
fn with_disk(tree: &Tree) {
    tree.write(&format!("{KUBELET_DROP_INS}/{LAB_DROP_IN}"), format!("{HEADER}{LAB}"), 0o644)
        .unwrap();
    tree.write("/etc/systemd/system/lab-disk.service", DISK_UNIT, 0o644).unwrap();
    for unit in ["containerd", "kubelet", "basalt-agent"] {
        let drop_in = format!("/etc/systemd/system/{unit}.service.d/disk.conf");
        tree.write(&drop_in, NEEDS_DISK, 0o644).unwrap();
    }
}

/// An ordinary pod, as anybody may start one.
fn start_ordinary(running: &Running, plane: &ControlPlane<'_>, name: &str, image: &str) {
    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec:
  nodeName: n1
  hostNetwork: true
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: {name}, image: \"{image}\", imagePullPolicy: Never, command: [httpd, -f, -p, \"127.0.0.1:8098\", -h, /etc]}}
"
    );
    // Its sandbox and its container.
    let expected = running.containers().len() + 2;
    running.wait("the cluster to take a pod", |_| plane.apply(&manifest).ok());
    running.wait("an ordinary pod to run", |node| {
        let runs = pod_state(plane, name)?.0 == "Running" && node.containers().len() == expected;
        runs.then_some(())
    });
}

/// Phase and reason of a pod of the cluster.
fn pod_state(plane: &ControlPlane<'_>, name: &str) -> Option<(String, String)> {
    let text = plane.kubectl(&["get", "pod", name, "-o", "json"]).ok()?;
    let pod: Value = serde_json::from_str(&text).ok()?;
    let field = |name: &str| pod["status"][name].as_str().unwrap_or_default().to_owned();
    Some((field("phase"), format!("{}: {}", field("reason"), field("message"))))
}

#[track_caller]
fn wait_for_eviction(running: &Running, plane: &ControlPlane<'_>, name: &str, lacking: &str) {
    let (_, reason) = running.wait("an ordinary pod to be evicted", |_| {
        pod_state(plane, name).filter(|(phase, _)| phase == "Failed")
    });
    let is_it = reason.starts_with("Evicted: ") && reason.to_lowercase().contains(lacking);
    assert!(is_it, "{reason}");
}

/// Waits until these containers run and no others. A container that was restarted has another id.
#[track_caller]
fn wait_for_these(running: &Running, containers: &BTreeSet<String>) {
    running.wait("the node's own pods alone to run", |node| {
        (node.containers() == *containers).then_some(())
    });
}

/// The kubelet tries a static pod when nothing else is left, and leaves it.
fn wait_for_refusal(running: &Running, since: &str) {
    running.wait("the kubelet to come to the static pods", |node| {
        let journal = ["journalctl", "--no-pager", "-o", "cat", "-u", "kubelet", "--since", since];
        let journal = node.machine.output(&journal).ok()?;
        let is_of =
            |line: &&str| line.contains("cannot evict a critical pod") && line.contains("-n1");
        journal.lines().find(is_of).map(drop)
    });
}

fn now(running: &Running) -> String {
    running.machine.output(&["date", "+%Y-%m-%d %H:%M:%S"]).unwrap()
}

fn images(running: &Running, filter: &str) -> BTreeSet<String> {
    let mut list = vec!["ctr", "-n", "k8s.io", "images", "list", "--quiet"];
    list.extend((!filter.is_empty()).then_some(filter));
    let names = running.machine.output(&list).unwrap();
    names.lines().map(str::to_owned).collect()
}

fn pinned(running: &Running) -> BTreeSet<String> {
    images(running, "labels.\"io.cri-containerd.pinned\"==pinned")
}

/// Gives the node an image that nobody uses.
fn bring_unused_image(running: &Running, yard: &Yard) -> String {
    let recipe = Recipe::of_busybox("unused", "1", &["true"], &["true"]);
    let image = images::make(&recipe, &peer("busybox").unwrap(), yard.folder()).unwrap();
    fs::copy(&image.archive, running.path("/var/unused.tar")).unwrap();
    let import = ["ctr", "-n", "k8s.io", "images", "import", "/var/unused.tar"];
    running.machine.output(&import).unwrap();
    image.tagged()
}

/// Fills the node's disk until this much is free; 0 is full to the last byte.
fn fill(running: &Running, free: u64) {
    let disk = running.path(DISK);
    let mut filler = File::options().append(true).create(true).open(disk.join("filler")).unwrap();
    let chunk = vec![0; 1 << 18];
    loop {
        let space = statvfs(&disk).unwrap();
        if free > 0 && space.blocks_available() * space.fragment_size() <= free {
            return;
        }
        if filler.write(&chunk).is_err() {
            return;
        }
    }
}

/// Takes one fiftieth of the machine's memory. The kubelet counts what the processes of its node take.
fn take_memory(running: &Running) {
    let total = fs::read_to_string("/proc/meminfo").unwrap();
    let total = total.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
    let (target, count) = (format!("of={HOG}"), format!("count={}", total / 50));
    let copy = ["systemd-run", "--wait", "dd", "if=/dev/zero", &target, "bs=1M", &count];
    running.machine.output(&copy).unwrap();
}

fn space(running: &Running) -> Option<Value> {
    let text = running.machine.output(&["basalt-agent", "status", "--output", "json"]).unwrap();
    let status: Value = serde_json::from_str(&text).unwrap();
    status["items"].as_array().unwrap().iter().find(|row| row["kind"] == "space").cloned()
}

#[test]
fn what_is_short_costs_the_clusters_pods_and_never_the_nodes() {
    let Some(yard) = Yard::new() else { return };
    let switch = Yard::switch().unwrap();
    let plane = plane(&yard, &switch);
    let node = yard.node(&plane, "automatic").unwrap();
    let tree = yard.tree(&node).unwrap();
    with_disk(&tree);
    let running = boot(tree, &switch);
    let containers = running.containers();
    assert_eq!(containers.len(), 6, "{containers:?}");
    running.put_certificates(&certificates(plane.authority(), "n1"));
    running.wait_for_stage("joined");
    running.wait("the node to be ready", |_| is_ready(&plane).then_some(()));
    let web = yard.web();

    // Memory: more than one hundredth of it is taken, and less than that is the threshold.
    take_memory(&running);
    start_ordinary(&running, &plane, "hungry", &web);
    let since = now(&running);
    let drop_in = running.path(&format!("{KUBELET_DROP_INS}/95-memory.conf"));
    // A soft threshold: what a hard one keeps free is nobody's, and pods that no longer fit are not let in again.
    let memory = "evictionSoft: {memory.available: 99%}\nevictionSoftGracePeriod: {memory.available: 1s}\nevictionPressureTransitionPeriod: 1s\n";
    fs::write(&drop_in, format!("{HEADER}{memory}")).unwrap();
    running.machine.output(&["systemctl", "restart", "kubelet"]).unwrap();
    wait_for_eviction(&running, &plane, "hungry", "memory");
    wait_for_refusal(&running, &since);
    wait_for_these(&running, &containers);
    assert!(running.asks());
    fs::remove_file(&drop_in).unwrap();
    fs::remove_file(running.path(HOG)).unwrap();
    running.machine.output(&["systemctl", "restart", "kubelet"]).unwrap();
    running.wait("the pressure to be over", |_| {
        let path = "jsonpath={.status.conditions[?(@.type==\"MemoryPressure\")].status}";
        let pressure = plane.kubectl(&["get", "node", "n1", "-o", path]).ok()?;
        (pressure == "False").then_some(())
    });

    // Disk, for real.
    start_ordinary(&running, &plane, "wasteful", &web);
    let before = running.containers();
    assert_eq!(before.len(), 8, "{before:?}");
    let reserve = running.path("/var/lib/basalt/reserve");
    running.wait("space to be set aside", |_| reserve.is_file().then_some(()));
    assert_eq!(space(&running), None);
    let (kept, unused) = (pinned(&running), bring_unused_image(&running, &yard));
    let since = now(&running);
    fill(&running, LITTLE);
    wait_for_eviction(&running, &plane, "wasteful", "ephemeral-storage");
    wait_for_refusal(&running, &since);
    running
        .wait("the unused image to go", |node| (!images(node, "").contains(&unused)).then_some(()));
    assert_eq!(pinned(&running), kept, "images of kept sets stay");
    wait_for_these(&running, &containers);
    assert!(running.asks());

    // A pod of the node's own is let in all the same.
    let mut next = node.clone();
    next.generation = 2;
    let labelled = "namespace: kube-system, labels: {generation: \"2\"}}";
    next.pods[0].manifest = next.pods[0].manifest.replacen("namespace: kube-system}", labelled, 1);
    assert_ne!(next.pods[0].manifest, node.pods[0].manifest);
    let path = running.path("/etc/basalt/node.json");
    fs::write(path.with_file_name(".node.json"), next.to_json()).unwrap();
    fs::rename(path.with_file_name(".node.json"), &path).unwrap();
    running.wait("another run of a pod under pressure", |node| {
        let now = node.containers();
        let is_new = now.len() == 6 && now != containers && node.asks();
        is_new.then_some(())
    });
    let containers = running.containers();

    // To the last byte: what is set aside is given up, and the status says so.
    fill(&running, 0);
    let row = running.wait("the status to speak of the disk", |node| {
        (!reserve.exists()).then(|| space(node)).flatten()
    });
    assert_eq!(
        (&row["name"], &row["state"]),
        (&"/var/lib/basalt".into(), &"error".into()),
        "{row}"
    );
    assert!(
        row["reason"].as_str().unwrap().contains("the space set aside for that is given up"),
        "{row}"
    );
    let check = running.machine.run(&["basalt-agent", "check"]).unwrap();
    assert_eq!(check.status.code(), Some(1));
    let journal = ["journalctl", "--no-pager", "-o", "cat", "-u", "basalt-agent"];
    let journal = running.machine.output(&journal).unwrap();
    assert!(journal.contains("gave up the space set aside"), "{journal}");
    assert_eq!(running.containers(), containers);
    assert!(running.asks());

    fs::remove_file(running.path(&format!("{DISK}/filler"))).unwrap();
    running.machine.output(&["systemctl", "reload", "basalt-agent"]).unwrap();
    running.wait("space to be set aside again", |_| reserve.is_file().then_some(()));
    assert_eq!(space(&running), None);
    assert_eq!(running.containers(), containers);
}
