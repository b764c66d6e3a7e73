//! A node with the real systemd, containerd, kubelet and haproxy, and the agent that looks after its pods.

use std::fs;
use std::time::Duration;

use basalt_model::node::{Frontend, HealthCheck, Node, Server};
use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::needs::lab_or_skip;
use e2e::peers::peer;
use e2e::pod_host::PodHost;
use e2e::programs::agent;
use e2e::tree::Tree;
use e2e::wait::until;
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The server behind haproxy, and a port where nobody is.
pub(crate) const SERVER: &str = "127.0.0.1:8098";
pub(crate) const NOBODY: &str = "127.0.0.1:8097";

const CTR: [&str; 3] = ["ctr", "--namespace", "k8s.io"];

const SERVER_UNIT: &str = "[Unit]
Description=The server behind haproxy
[Service]
ExecStart=/usr/bin/busybox httpd -f -p 127.0.0.1:8098 -h /srv
[Install]
WantedBy=multi-user.target
";

/// A node that runs.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) haproxy: PodImage,
    /// Another image of the same haproxy, which the node does not have yet.
    pub(crate) other: PodImage,
    host: PodHost,
    _folder: TempDir,
}

/// What a generation's haproxy is like.
pub(crate) struct Haproxy<'a> {
    pub(crate) image: &'a str,
    pub(crate) server: &'a str,
    /// Makes generations differ.
    pub(crate) max_connections: u32,
}

impl Bench {
    /// A node with these settings of trials, and nothing on it yet. `None` without root or a peer: the test returns.
    pub(crate) fn new(trial: &str) -> Option<Bench> {
        if !lab_or_skip() {
            return None;
        }
        let agent = agent()?;
        let (busybox, haproxy) = (peer("busybox")?, peer("haproxy")?);
        let folder = tempfile::tempdir().unwrap();
        let host = PodHost::new(folder.path())?;
        let make = |tag, entrypoint: &[&str]| {
            let recipe = Recipe {
                name: "haproxy",
                tag,
                programs: &[&haproxy],
                applets: &["sh", "cat", "kill", "rm", "sleep", "test"],
                entrypoint,
            };
            let folder = folder.path().join(tag);
            fs::create_dir(&folder).unwrap();
            images::make(&recipe, &busybox, &folder).unwrap()
        };
        let (haproxy, other) = (make("2.6", &["haproxy"]), make("2.6b", &["haproxy", "-W"]));

        let tree = Tree::debian()?;
        host.equip(&tree, "n1", "127.0.0.1").unwrap();
        fs::copy(&agent, tree.path("/usr/bin/basalt-agent")).unwrap();
        fs::copy(&busybox.program, tree.path("/usr/bin/busybox")).unwrap();
        tree.write("/srv/healthz", "fine\n", 0o644).unwrap();
        let unit = include_str!("../../../agent/dist/basalt-agent.service");
        tree.write("/etc/systemd/system/basalt-agent.service", unit, 0o644).unwrap();
        tree.write("/etc/systemd/system/lab-server.service", SERVER_UNIT, 0o644).unwrap();
        let settings = format!("{{\"generations\": {{{trial}}}}}");
        tree.write("/etc/basalt/agent.conf.d/50-lab.json", settings, 0o644).unwrap();
        let machine = Machine::boot(tree).unwrap();
        machine.output(&["systemctl", "start", "lab-server.service"]).unwrap();
        host.start_containerd(&machine, &[&haproxy]).unwrap();
        host.start_kubelet(&machine).unwrap();
        machine.output(&["systemctl", "start", "basalt-agent.service"]).unwrap();
        Some(Bench { machine, haproxy, other, host, _folder: folder })
    }

    /// Offers a generation, as whoever writes node.json does.
    pub(crate) fn offer(&self, generation: u64, haproxy: &Haproxy<'_>) {
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let mut node = Node::from_json("n1.json", text).unwrap();
        node.generation = generation;
        node.name = "n1".parse().unwrap();
        node.kubelet.node_ip = "127.0.0.1".parse().unwrap();
        (node.keepalived, node.vault_agent, node.vault) = (None, None, None);
        let wanted = haproxy;
        let haproxy = node.haproxy.as_mut().unwrap();
        haproxy.image = wanted.image.parse().unwrap();
        haproxy.max_connections = wanted.max_connections;
        haproxy.files.clear();
        let mut frontend: Frontend = haproxy.frontends[0].clone();
        frontend.name = "web".parse().unwrap();
        frontend.binds = vec!["127.0.0.1:8080".parse().unwrap()];
        frontend.rules.clear();
        frontend.server_tls = None;
        frontend.check = HealthCheck::http("/healthz");
        frontend.check.interval_seconds = 1;
        frontend.servers =
            vec![Server::new("one".parse().unwrap(), wanted.server.parse().unwrap())];
        haproxy.frontends = vec![frontend];
        let path = self.machine.root().join("etc/basalt/node.json");
        let beside = path.with_file_name(".being-written");
        fs::write(&beside, node.to_json()).unwrap();
        fs::rename(beside, path).unwrap();
    }

    /// A good haproxy; `max_connections` makes it another one.
    pub(crate) fn good(&self, generation: u64, max_connections: u32) {
        let image = self.haproxy.reference();
        self.offer(generation, &Haproxy { image: &image, server: SERVER, max_connections });
    }

    /// Gives the node the other image, which nobody protects from the kubelet.
    pub(crate) fn bring_other_image(&self) {
        self.host.import(&self.machine, &self.other).unwrap();
        self.unpin(&self.other);
    }

    /// Takes the pins of an image away.
    pub(crate) fn unpin(&self, image: &PodImage) {
        for name in self.names(image, "") {
            let unpin = ["images", "label", &name, "io.cri-containerd.pinned="];
            self.machine.output(&[&CTR, &unpin[..]].concat()).unwrap();
        }
        assert!(!self.is_pinned(image));
    }

    /// Whether an image is pinned under any name.
    pub(crate) fn is_pinned(&self, image: &PodImage) -> bool {
        !self.names(image, ",labels.\"io.cri-containerd.pinned\"==pinned").is_empty()
    }

    fn names(&self, image: &PodImage, and: &str) -> Vec<String> {
        let filter = format!("target.digest==\"{}\"{and}", image.digest);
        let list = ["images", "list", "--quiet", &filter];
        let names = self.machine.output(&[&CTR, &list[..]].concat()).unwrap();
        names.lines().map(str::to_owned).collect()
    }

    pub(crate) fn status(&self) -> Value {
        let text = self.machine.output(&["basalt-agent", "status", "--output", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the phase begins like this, and gives the status.
    #[track_caller]
    pub(crate) fn wait_for(&self, phase: &str) -> Value {
        self.wait_for_reason(phase, "")
    }

    /// Waits until the phase begins like this and gives this reason, and gives the status.
    #[track_caller]
    pub(crate) fn wait_for_reason(&self, phase: &str, reason: &str) -> Value {
        let mut last = Value::Null;
        let found = until(phase, PATIENCE, || {
            last = self.status();
            let summary = last["summary"].as_str().unwrap_or_default();
            let is_so = summary.starts_with(phase) && summary.contains(reason);
            is_so.then(|| last.clone())
        });
        match found {
            Ok(status) => status,
            Err(error) => {
                let units = ["-u", "basalt-agent", "-u", "kubelet"];
                let journal = [&["journalctl", "--no-pager", "-n60"][..], &units].concat();
                let journal = self.machine.run(&journal).unwrap();
                let journal = String::from_utf8_lossy(&journal.stdout).into_owned();
                panic!("{error}\n{}\n{last:#}\n{journal}", last["summary"]);
            }
        }
    }

    /// What the agent has said, or systemd about it.
    pub(crate) fn journal(&self) -> String {
        let journal = ["journalctl", "--no-pager", "-o", "cat", "-u", "basalt-agent"];
        self.machine.output(&journal).unwrap()
    }

    /// Whether haproxy carries a request to its server.
    pub(crate) fn serves(&self) -> bool {
        let ask = ["curl", "-fsS", "--max-time", "2", "http://127.0.0.1:8080/healthz"];
        self.machine.output(&ask).is_ok()
    }

    /// The running container of haproxy.
    pub(crate) fn container(&self) -> String {
        let tasks = self.machine.output(&["ctr", "-n", "k8s.io", "containers", "ls"]).unwrap();
        let haproxy = tasks.lines().filter(|line| line.contains("basalt/haproxy"));
        let ids: Vec<&str> = haproxy.filter_map(|line| line.split_whitespace().next()).collect();
        ids.join(" ")
    }

    /// The text of haproxy's manifest; empty when there is none.
    pub(crate) fn manifest(&self) -> String {
        let path = self.machine.root().join("etc/kubernetes/manifests/haproxy.yaml");
        fs::read_to_string(path).unwrap_or_default()
    }

    pub(crate) fn config(&self) -> String {
        let path = self.machine.root().join("etc/basalt/pods/haproxy/haproxy.cfg");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The folders of the sets that are kept.
    pub(crate) fn kept(&self) -> Vec<String> {
        let folder = self.machine.root().join("var/lib/basalt/generations");
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
