//! The kubelet's configuration as it is shipped, with what the first boot of a lab node writes, on the real kubelet.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::checkout;
use e2e::ignition::provision;
use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::{KUBELET_DROP_INS, LAB_DROP_IN, MANIFESTS, PodHost};
use e2e::tree::Tree;
use e2e::wait::until;

const LIMIT: Duration = Duration::from_secs(90);
/// The kubelet looks at its folder every twenty seconds, and at what runs every two.
const FIRST_ROUNDS: Duration = Duration::from_secs(25);
const CTR: [&str; 3] = ["ctr", "--namespace", "k8s.io"];
const HEADER: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
/// The server of the kubelet.
const SERVER: &str = "https://127.0.0.1:10250";

/// What a lab that shares its host's control groups, disk and kernel cannot have as it is on a node, and nothing else.
const LAB: &str = "cgroupDriver: cgroupfs
failCgroupV1: false
enforceNodeAllocatable: []
evictionHard: {nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%, imagefs.inodesFree: 1%, pid.available: 1%}
evictionSoft: {nodefs.available: 2%, imagefs.available: 2%}
";

/// A node as its first boot leaves it: n1 of the lab.
struct Node {
    host: PodHost,
    shell: PodImage,
    _folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Option<Node> {
        let folder = tempfile::tempdir().unwrap();
        let host = PodHost::new(folder.path())?;
        let recipe = Recipe::of_busybox("shell", "1", &["sh", "sleep"], &["/usr/bin/sh", "-c"]);
        let shell = images::make(&recipe, &peer("busybox")?, folder.path()).unwrap();
        Some(Node { host, shell, _folder: folder })
    }

    fn tree(&self) -> Option<Tree> {
        let (ignition, tree) = (peer("ignition-2.24")?, Tree::debian()?);
        self.host.equip(&tree, "n1", "127.0.0.1").unwrap();
        let config = checkout::cluster("lab").join("dist/nodes/n1/config.ign");
        provision(&ignition, &tree, &fs::read_to_string(config).unwrap()).unwrap();
        // Ignition writes no wishes of its own over these two: the lab has another pause image, and no such address.
        tree.write(&format!("{KUBELET_DROP_INS}/{LAB_DROP_IN}"), format!("{HEADER}{LAB}"), 0o644)
            .unwrap();
        let environment = "BASALT_NODE_NAME=n1\nBASALT_NODE_IP=127.0.0.1\n";
        tree.write("/etc/kubernetes/kubelet.env", environment, 0o644).unwrap();
        Some(tree)
    }

    fn boot(&self) -> Option<Machine> {
        let machine = Machine::boot(self.tree()?).unwrap();
        self.host.start_containerd(&machine, &[&self.shell]).unwrap();
        self.host.start_kubelet(&machine).unwrap();
        Some(machine)
    }

    /// A pod whose script runs until it is told to stop, and says when that was. It has a UID, as whatever the agent writes:
    /// a kubelet makes one up for a manifest without, each minor another one, and then starts the pod beside itself.
    fn write_pod(&self, machine: &Machine, name: &str, priority: Option<(&str, u32)>) {
        let priority = priority
            .map(|(class, value)| format!("  priorityClassName: {class}\n  priority: {value}\n"));
        let manifest = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: kube-system, uid: {uid}}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 10
{priority}  containers:
    - name: {name}
      image: {image}
      imagePullPolicy: Never
      args:
        - |
          trap 'read up idle </proc/uptime; echo $up >/stopped/{name}; sleep 1; exit 0' TERM
          echo up >/stopped/{name}
          while :; do sleep 1 & wait $!; done
      volumeMounts: [{{name: stopped, mountPath: /stopped}}]
  volumes: [{{name: stopped, hostPath: {{path: /var/lib/stopped, type: DirectoryOrCreate}}}}]
",
            uid = format_args!("00000000-0000-4000-8000-{:0>12}", name.len()),
            priority = priority.unwrap_or_default(),
            image = self.shell.reference(),
        );
        let folder = inside(machine, MANIFESTS);
        fs::write(folder.join(format!(".{name}.yaml")), manifest).unwrap();
        fs::rename(folder.join(format!(".{name}.yaml")), folder.join(format!("{name}.yaml")))
            .unwrap();
        let file = inside(machine, &format!("/var/lib/stopped/{name}"));
        if let Err(error) = until("the pod to run", LIMIT, || fs::read(&file).ok()) {
            panic!("{error}\n{}", journal(machine));
        }
    }
}

fn inside(machine: &Machine, path: &str) -> PathBuf {
    machine.root().join(path.trim_start_matches('/'))
}

fn journal(machine: &Machine) -> String {
    machine.output(&["journalctl", "--no-pager", "-u", "kubelet"]).unwrap()
}

/// The HTTP status of a request to the kubelet's server; `None` when nothing listens.
fn ask(machine: &Machine, path: &str) -> Option<String> {
    let url = format!("{SERVER}{path}");
    let arguments = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", &url];
    let output = machine.run(&arguments).unwrap();
    // curl's own number for a connection that is refused.
    if output.status.code() == Some(7) {
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn drop_in(machine: &Machine, text: &str) {
    let file = inside(machine, &format!("{KUBELET_DROP_INS}/95-test.conf"));
    fs::write(file, format!("{HEADER}{text}")).unwrap();
}

/// The containers that run, each with its process.
fn tasks(machine: &Machine) -> Vec<String> {
    let list = machine.output(&[&CTR[..], &["tasks", "list"]].concat()).unwrap();
    let mut lines: Vec<String> = list.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn healthy(machine: &Machine) {
    let look = || machine.output(&["curl", "-fsS", "http://127.0.0.1:10248/healthz"]).ok();
    if let Err(error) = until("the kubelet to be healthy", LIMIT, look) {
        panic!("{error}\n{}", journal(machine));
    }
}

/// What the kubelet and containerd have in memory together.
fn resident_mebibytes(machine: &Machine) -> u64 {
    let of = |service: &str| {
        let pid = machine.main_pid(service).unwrap().unwrap();
        let status = machine.output(&["cat", &format!("/proc/{pid}/status")]).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    };
    of("kubelet.service") + of("containerd.service")
}

/// What the node's configuration keeps for both of them.
fn reserved_mebibytes(machine: &Machine) -> u64 {
    let file = inside(machine, &format!("{KUBELET_DROP_INS}/10-node.conf"));
    let text = fs::read_to_string(file).unwrap();
    let (_, kept) = text.split_once("kubeReserved:").unwrap();
    let memory = kept.lines().find_map(|line| line.trim().strip_prefix("memory: ")).unwrap();
    memory.trim_matches('\'').trim_end_matches("Mi").parse().unwrap()
}

#[test]
fn the_kubelet_takes_every_word_and_lets_nobody_in() {
    let Some(node) = Node::new() else { return };
    let Some(machine) = node.boot() else { return };
    // It forgives what it does not know, and says so.
    let told = journal(&machine);
    for complaint in ["lenient", "unknown field"] {
        assert!(!told.contains(complaint), "{complaint}: {told}");
    }
    // What the node's drop-in says has arrived.
    let logind = "/etc/systemd/logind.conf.d";
    let granted = machine.output(&[
        "busctl",
        "get-property",
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "InhibitDelayMaxUSec",
    ]);
    assert_eq!(granted.unwrap(), "t 105000000");
    assert!(!inside(&machine, &format!("{logind}/99-kubelet.conf")).exists(), "it had no need to");
    let inhibitors = machine.output(&["systemd-inhibit", "--list", "--no-pager"]).unwrap();
    assert!(inhibitors.contains("kubelet") && inhibitors.contains("delay"), "{inhibitors}");

    // Health is told, everything else is closed.
    healthy(&machine);
    assert_eq!(ask(&machine, "/pods"), None);
    let listening = machine.output(&["ss", "-ltnH"]).unwrap();
    for port in [":10250 ", ":10255 "] {
        assert!(!listening.contains(port), "{listening}");
    }

    // With the server on, nobody is known, and the unknown are refused.
    drop_in(&machine, "enableServer: true\n");
    machine.output(&["systemctl", "restart", "kubelet"]).unwrap();
    healthy(&machine);
    until("the kubelet's server", LIMIT, || ask(&machine, "/healthz")).unwrap();
    for path in ["/pods", "/metrics", "/runningpods/", "/logs/", "/configz", "/healthz"] {
        assert_eq!(ask(&machine, path).as_deref(), Some("401"), "{path}");
    }
    let listening = machine.output(&["ss", "-ltnH"]).unwrap();
    assert!(listening.contains("127.0.0.1:10250 "), "{listening}");
}

/// Pods outlive the kubelet's restart, and end in order with the machine.
#[test]
fn pods_outlive_the_kubelet_and_stop_in_order() {
    let Some(node) = Node::new() else { return };
    let Some(machine) = node.boot() else { return };
    node.write_pod(&machine, "plain", None);
    node.write_pod(&machine, "address", Some(("system-cluster-critical", 2_000_000_000)));
    node.write_pod(&machine, "balancer", Some(("system-node-critical", 2_000_001_000)));

    let before = tasks(&machine);
    assert_eq!(before.len(), 6, "three pods, each with its sandbox: {before:?}");
    let (used, kept) = (resident_mebibytes(&machine), reserved_mebibytes(&machine));
    println!("the kubelet and containerd use {used} MiB of the {kept} MiB that are kept for them");
    assert!(used < kept, "{used} of {kept} MiB");
    let old = machine.main_pid("kubelet.service").unwrap().unwrap();
    // As after an update of the image: another configuration.
    drop_in(&machine, "maxPods: 40\ncontainerLogMaxFiles: 3\n");
    machine.output(&["systemctl", "restart", "kubelet"]).unwrap();
    healthy(&machine);
    let new = machine.kill_main("kubelet.service").unwrap();
    assert_ne!(new, old);
    machine.wait_for_restart("kubelet.service", new, LIMIT).unwrap();
    healthy(&machine);
    let containerd = machine.kill_main("containerd.service").unwrap();
    machine.wait_for_restart("containerd.service", containerd, LIMIT).unwrap();
    until("containerd to answer", LIMIT, || {
        machine.output(&[&CTR[..], &["version"]].concat()).ok()
    })
    .unwrap();
    assert_eq!(tasks(&machine), before, "the same containers with the same processes");

    let tree = machine.poweroff().unwrap();
    let stopped = |name: &str| {
        let text = tree.read(&format!("/var/lib/stopped/{name}")).unwrap();
        text.trim().parse::<f64>().unwrap_or_else(|_| panic!("{name} was not told: {text}"))
    };
    let times = ["plain", "address", "balancer"].map(stopped);
    // Each took a second to end, and the next was told after that.
    assert!(times[0] + 0.9 < times[1] && times[1] + 0.9 < times[2], "{times:?}");
}

/// As when an update is taken back, and comes again.
#[test]
fn pods_outlive_a_kubelet_of_another_minor() {
    let (Some(before), Some(now)) = (peer("kubelet-before"), peer("kubelet")) else { return };
    let Some(node) = Node::new() else { return };
    let Some(machine) = node.boot() else { return };
    node.write_pod(&machine, "balancer", Some(("system-node-critical", 2_000_001_000)));
    let running = tasks(&machine);
    assert_eq!(running.len(), 2, "a pod with its sandbox: {running:?}");
    for kubelet in [before, now] {
        let beside = inside(&machine, "/usr/bin/kubelet.new");
        fs::copy(&kubelet.program, &beside).unwrap();
        fs::rename(&beside, inside(&machine, "/usr/bin/kubelet")).unwrap();
        machine.output(&["systemctl", "restart", "kubelet"]).unwrap();
        healthy(&machine);
        let version = machine.output(&["kubelet", "--version"]).unwrap();
        assert_eq!(version, format!("Kubernetes v{}", kubelet.version));
        // It ends what it does not know within its first rounds.
        let restarted = Instant::now();
        while restarted.elapsed() < FIRST_ROUNDS {
            assert_eq!(tasks(&machine), running, "{version}: {}", journal(&machine));
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
