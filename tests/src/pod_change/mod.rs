//! A node with the real kubelet and containerd, the agent as its service, and haproxy and keepalived as its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use basalt_model::node::{Frontend, HealthCheck, Node, ProxyMode, Server};
use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::PodHost;
use e2e::tree::Tree;
use e2e::wait::until;
use e2e::{checkout, programs};

/// Long enough for a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Where haproxy answers with the version it was given.
pub(crate) const PORT: u16 = 8099;
const NAME: &str = "n1";
/// The node's own address; its one peer is not there.
const ADDRESS: &str = "192.0.2.11";

/// The running node.
pub(crate) struct Lab {
    pub(crate) machine: Machine,
    /// The pods' images under two names each.
    images: BTreeMap<&'static str, [PodImage; 2]>,
    _folder: tempfile::TempDir,
}

/// What distinguishes one generation from the next.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) generation: u64,
    /// haproxy answers with it; part of its config file alone.
    pub(crate) version: String,
    /// Which of its two names an image is called by; part of the manifest.
    pub(crate) haproxy: usize,
    pub(crate) keepalived: Option<usize>,
}

impl Lab {
    /// Boots the node and waits until it serves `first`. `None` means that a peer is missing: somebody has said which.
    pub(crate) fn start(first: &Wanted) -> Option<Lab> {
        let agent = programs::agent()?;
        let tree = Tree::debian()?;
        let folder = tempfile::tempdir().unwrap();
        let host = PodHost::new(folder.path())?;
        let (busybox, curl) = (peer("busybox")?, peer("curl")?);
        let (haproxy, keepalived) = (peer("haproxy")?, peer("keepalived")?);
        let made = |name, programs: &[&e2e::peers::Peer]| {
            let applets = &["sh", "rm", "sleep", "cat"];
            let entrypoint = &["/usr/bin/sh"];
            let recipe = Recipe { name, tag: "1", programs, applets, entrypoint };
            let image = images::make(&recipe, &busybox, folder.path()).unwrap();
            // The digest decides which image it is, the tag alone makes another manifest.
            let renamed = PodImage { tag: "2".into(), ..image.clone() };
            [image, renamed]
        };
        let images = BTreeMap::from([
            ("haproxy", made("haproxy", &[&haproxy])),
            ("keepalived", made("keepalived", &[&keepalived, &curl])),
        ]);

        host.equip(&tree, NAME, ADDRESS).unwrap();
        fs::copy(agent, tree.path("/usr/bin").join("basalt-agent")).unwrap();
        let unit = fs::read(checkout::root().join("agent/dist/basalt-agent.service")).unwrap();
        tree.write("/etc/systemd/system/basalt-agent.service", unit, 0o644).unwrap();
        tree.write("/etc/basalt/node.json", node(&images, first).to_json(), 0o600).unwrap();
        // Enabled by the presets of the tree's distribution.
        let machine = Machine::boot(tree).unwrap();
        // As the node's bond would be, for keepalived.
        let link = ["ip", "link", "add", "bond0", "type", "veth", "peer", "name", "cable"];
        machine.output(&link).unwrap();
        machine.output(&["ip", "link", "set", "cable", "up"]).unwrap();
        let address = format!("{ADDRESS}/24");
        machine.output(&["ip", "address", "add", &address, "dev", "bond0"]).unwrap();
        machine.output(&["ip", "link", "set", "bond0", "up"]).unwrap();
        let all: Vec<&PodImage> = images.values().map(|[image, _]| image).collect();
        host.start_containerd(&machine, &all).unwrap();
        host.start_kubelet(&machine).unwrap();

        let lab = Lab { machine, images, _folder: folder };
        lab.machine.output(&["systemctl", "start", "basalt-agent.service"]).unwrap();
        lab.wait_for(&first.version);
        lab.wait_for_serving(first.generation);
        Some(lab)
    }

    /// Gives the node a new `node.json`.
    pub(crate) fn want(&self, wanted: &Wanted) {
        self.write_node(&self.node(wanted));
    }

    pub(crate) fn write_node(&self, node: &Node) {
        let folder = self.machine.root().join("etc/basalt");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".node.json"), node.to_json()).unwrap();
        fs::rename(folder.join(".node.json"), folder.join("node.json")).unwrap();
    }

    pub(crate) fn node(&self, wanted: &Wanted) -> Node {
        node(&self.images, wanted)
    }

    /// What haproxy answers now.
    pub(crate) fn answer(&self) -> Option<String> {
        let url = format!("http://127.0.0.1:{PORT}/");
        let output = self.inside("curl", &["-fsS", "--max-time", "1", &url]);
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Runs a program of this machine in the node's network.
    pub(crate) fn inside(&self, program: &str, arguments: &[&str]) -> Output {
        let target = format!("--target={}", self.machine.init_pid());
        let mut command = Command::new("nsenter");
        command.args([&target, "--net", "--", program]).args(arguments);
        command.output().unwrap()
    }

    /// Waits until haproxy answers with `version`, and says how long nobody answered meanwhile.
    #[track_caller]
    pub(crate) fn wait_for(&self, version: &str) -> Duration {
        let (mut hole, mut since) = (Duration::ZERO, None::<Instant>);
        let start = Instant::now();
        loop {
            let answer = self.answer();
            if answer.is_some() {
                hole += since.take().map_or(Duration::ZERO, |since| since.elapsed());
            } else {
                since.get_or_insert_with(Instant::now);
            }
            if answer.as_deref() == Some(version) {
                return hole;
            }
            if start.elapsed() > LIMIT {
                panic!("haproxy answers {answer:?} instead of {version}\n{}", self.journal());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the agent calls everything done.
    #[track_caller]
    pub(crate) fn wait_for_serving(&self, generation: u64) {
        let expected = format!("serving generation {generation}");
        let look = || (self.phase() == expected).then_some(());
        if let Err(error) = until(&expected, LIMIT, look) {
            panic!("{error}: {}\n{}", self.phase(), self.journal());
        }
    }

    /// The agent's last report.
    pub(crate) fn phase(&self) -> String {
        self.machine
            .property("basalt-agent.service", "StatusText")
            .unwrap_or_else(|error| error.to_string())
    }

    pub(crate) fn journal(&self) -> String {
        let show = |unit: &str, lines: &str| {
            let arguments = ["journalctl", "--no-pager", "-o", "short-precise", lines, "-u", unit];
            let output = self.machine.run(&arguments).unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let said = self.machine.run(&["sh", "-c", "tail -n20 /var/log/pods/*/*/*.log"]).unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        format!("{}\n{}\n{said}", show("basalt-agent", "-n60"), show("kubelet", "-n20"))
    }

    /// The UID in a manifest.
    pub(crate) fn uid(&self, pod: &str) -> Option<String> {
        let path = format!("etc/kubernetes/manifests/{pod}.yaml");
        let text = fs::read_to_string(self.machine.root().join(path)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("  uid: "))?;
        Some(line.to_owned())
    }
}

fn node(images: &BTreeMap<&str, [PodImage; 2]>, wanted: &Wanted) -> Node {
    let path = checkout::root().join("static-pods/tests/lab/n1.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut node = Node::from_json("n1.json", &text).unwrap();
    node.generation = wanted.generation;
    (node.vault, node.vault_agent) = (None, None);
    let image = |pod: &str, number: usize| images[pod][number].reference().parse().unwrap();
    let haproxy = node.haproxy.as_mut().unwrap();
    haproxy.image = image("haproxy", wanted.haproxy);
    // As many as the limit of open files of the machine that runs the test has room for.
    haproxy.max_connections = 1_000;
    haproxy.drain_seconds = 1;
    haproxy.frontends.truncate(1);
    answering(&mut haproxy.frontends[0], &wanted.version);
    match wanted.keepalived {
        Some(number) => {
            let keepalived = node.keepalived.as_mut().unwrap();
            keepalived.image = image("keepalived", number);
            keepalived.instances.truncate(1);
        }
        None => node.keepalived = None,
    }
    node
}

/// Makes the frontend answer by itself.
fn answering(frontend: &mut Frontend, version: &str) {
    frontend.mode = ProxyMode::Http;
    frontend.binds = vec![format!("127.0.0.1:{PORT}").parse().unwrap()];
    frontend.check = HealthCheck::connect();
    frontend.rules =
        vec![format!("http-request return status 200 content-type text/plain string {version}")];
    // Itself, so that it has a server that lives.
    let itself = format!("127.0.0.1:{PORT}").parse().unwrap();
    frontend.servers = vec![Server::new("itself".parse().unwrap(), itself)];
}

/// Looks all the time at which pods have a process of a program, and remembers the moments with more than one.
pub(crate) struct Watch {
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a [`Watch`] saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) looks: u64,
    /// Pods, by UID, that ran at one moment, where there was more than one.
    pub(crate) together: BTreeSet<Vec<String>>,
    /// All pods that ran.
    pub(crate) pods: BTreeSet<String>,
}

impl Watch {
    pub(crate) fn start(lab: &Lab, program: &'static str) -> Watch {
        let group = lab.machine.cgroup();
        let group = group.file_name().unwrap().to_str().unwrap().to_owned();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopping);
        let look = move || {
            let mut seen = Seen::default();
            while !stop.load(Ordering::Relaxed) {
                let now: BTreeSet<String> = pods_with(program, &group);
                if now.len() > 1 {
                    seen.together.insert(now.iter().cloned().collect());
                }
                seen.pods.extend(now);
                seen.looks += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        };
        Watch { is_stopping, thread: std::thread::spawn(look) }
    }

    pub(crate) fn stop(self) -> Seen {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// UIDs of the pods below `group` in which `program` runs, by the control groups of its processes. Zombies do not count.
fn pods_with(program: &str, group: &str) -> BTreeSet<String> {
    let pod_of = |process: &Path| {
        let name = fs::read_to_string(process.join("comm")).ok()?;
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        let is_dead = stat.rsplit(')').next()?.trim_start().starts_with(['Z', 'X']);
        if name.trim() != program || is_dead {
            return None;
        }
        let groups = fs::read_to_string(process.join("cgroup")).ok()?;
        let below = groups.split(group).nth(1)?.split("kubepods").nth(1)?;
        let uid = below.split("/pod").nth(1)?.split(['/', '\n']).next()?;
        Some(uid.to_owned())
    };
    let entries = fs::read_dir("/proc").unwrap();
    entries.flatten().filter_map(|entry| pod_of(&entry.path())).collect()
}
