//! A node with the real kubelet and containerd, the agent as its service, and haproxy and keepalived as its pods: what
//! a change of its pods costs those who use them.
//!
//! The end-to-end tests and `cargo xtask bench pods` change the same [`PodNode`].

pub mod load;
pub mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use basalt_model::node::{Frontend, HealthCheck, Node, ProxyMode, Server};

use crate::images::{self, PodImage, Recipe};
use crate::namespaces::Machine;
use crate::peers::{Peer, peer};
use crate::pod_host::{MANIFESTS, PodHost};
use crate::tree::Tree;
use crate::{checkout, wait};

/// Long enough for a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Where haproxy answers with the version it was given.
pub const PORT: u16 = 8099;
const NAME: &str = "n1";
/// The node's own address; its one peer is not there.
const ADDRESS: &str = "192.0.2.11";

/// The running node.
pub struct PodNode {
    /// The machine it is.
    pub machine: Machine,
    /// The pods' images under two names each.
    images: BTreeMap<&'static str, [PodImage; 2]>,
    _folder: tempfile::TempDir,
}

/// What distinguishes one generation from the next.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its number.
    pub generation: u64,
    /// haproxy answers with it; part of its config file alone.
    pub version: String,
    /// Which of its two names an image is called by; part of the manifest.
    pub haproxy: usize,
    /// The same of keepalived; `None` for a node without.
    pub keepalived: Option<usize>,
}

impl Wanted {
    /// A first generation, with haproxy alone.
    pub fn first() -> Wanted {
        Wanted { generation: 1, version: "v1".into(), haproxy: 0, keepalived: None }
    }

    /// Makes it the generation after it, with a version of its own.
    pub fn next(&mut self) {
        self.generation += 1;
        self.version = format!("v{}", self.generation);
    }
}

/// What a node is made from; see [`PodNode::start`].
pub struct Parts {
    folder: tempfile::TempDir,
    host: PodHost,
    busybox: Peer,
    curl: Peer,
    haproxy: Peer,
    keepalived: Peer,
    tree: Tree,
}

impl Parts {
    /// `None` means that a peer is missing, or root's rights: this function has said which.
    ///
    /// # Panics
    /// When there is no room for temporary files.
    pub fn find() -> Option<Parts> {
        let tree = Tree::debian()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = PodHost::new(folder.path())?;
        let (busybox, curl) = (peer("busybox")?, peer("curl")?);
        let (haproxy, keepalived) = (peer("haproxy")?, peer("keepalived")?);
        Some(Parts { folder, host, busybox, curl, haproxy, keepalived, tree })
    }

    fn images(&self) -> Result<BTreeMap<&'static str, [PodImage; 2]>> {
        let made = |name, programs: &[&Peer]| -> Result<[PodImage; 2]> {
            let applets = &["sh", "rm", "sleep", "cat"];
            let entrypoint = &["/usr/bin/sh"];
            let recipe = Recipe { name, tag: "1", programs, applets, entrypoint };
            let image = images::make(&recipe, &self.busybox, self.folder.path())?;
            // The digest decides which image it is, the tag alone makes another manifest.
            let renamed = PodImage { tag: "2".into(), ..image.clone() };
            Ok([image, renamed])
        };
        Ok(BTreeMap::from([
            ("haproxy", made("haproxy", &[&self.haproxy])?),
            ("keepalived", made("keepalived", &[&self.keepalived, &self.curl])?),
        ]))
    }
}

impl PodNode {
    /// Boots a node with the agent's program `agent`, and waits until it serves `first`.
    ///
    /// # Errors
    /// When it does not in time: with the journals.
    pub fn start(parts: Parts, agent: &Path, first: &Wanted) -> Result<PodNode> {
        let images = parts.images()?;
        let Parts { folder, host, tree, .. } = parts;
        host.equip(&tree, NAME, ADDRESS)?;
        fs::copy(agent, tree.path("/usr/bin").join("basalt-agent"))?;
        let unit = fs::read(checkout::root().join("agent/dist/basalt-agent.service"))?;
        tree.write("/etc/systemd/system/basalt-agent.service", unit, 0o644)?;
        tree.write("/etc/basalt/node.json", node(&images, first)?.to_json(), 0o600)?;
        // Enabled by the presets of the tree's distribution.
        let machine = Machine::boot(tree)?;
        // As the node's bond would be, for keepalived.
        let link = ["ip", "link", "add", "bond0", "type", "veth", "peer", "name", "cable"];
        machine.output(&link)?;
        machine.output(&["ip", "link", "set", "cable", "up"])?;
        let address = format!("{ADDRESS}/24");
        machine.output(&["ip", "address", "add", &address, "dev", "bond0"])?;
        machine.output(&["ip", "link", "set", "bond0", "up"])?;
        let all: Vec<&PodImage> = images.values().map(|[image, _]| image).collect();
        host.start_containerd(&machine, &all)?;
        host.start_kubelet(&machine)?;

        let node = PodNode { machine, images, _folder: folder };
        node.machine.output(&["systemctl", "start", "basalt-agent.service"])?;
        node.wait_for(&first.version)?;
        node.wait_for_serving(first.generation)?;
        Ok(node)
    }

    /// Has the agent take each generation for good at once, so that many follow one another quickly.
    ///
    /// # Errors
    /// When the setting cannot be written.
    pub fn trust_every_generation(&self) -> Result<()> {
        self.set_generations("\"proof\": \"none\"")
    }

    /// Gives the agent these settings of generations.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn set_generations(&self, settings: &str) -> Result<()> {
        let folder = self.machine.root().join("etc/basalt/agent.conf.d");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("50-lab.json"), format!("{{\"generations\": {{{settings}}}}}\n"))?;
        self.machine.output(&["systemctl", "restart", "basalt-agent.service"])?;
        Ok(())
    }

    /// Gives the node a new `node.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn want(&self, wanted: &Wanted) -> Result<()> {
        self.write_node(&self.node(wanted)?)
    }

    /// Gives the node this `node.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_node(&self, node: &Node) -> Result<()> {
        let folder = self.machine.root().join("etc/basalt");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(".node.json"), node.to_json())?;
        fs::rename(folder.join(".node.json"), folder.join("node.json"))?;
        Ok(())
    }

    /// The `node.json` of a generation.
    ///
    /// # Errors
    /// When the lab's node is not as it is expected here.
    pub fn node(&self, wanted: &Wanted) -> Result<Node> {
        node(&self.images, wanted)
    }

    /// Changes haproxy's manifest where it lies, as on a node without an agent; the agent has to be stopped. The other of
    /// the image's two names gets in, and the UID out: the kubelet makes up its own.
    ///
    /// # Errors
    /// When the manifest is not there or names neither.
    pub fn change_in_place(&self) -> Result<()> {
        let path = self.machine.root().join(MANIFESTS.trim_start_matches('/')).join("haproxy.yaml");
        let text = fs::read_to_string(&path)?;
        let text: String =
            text.split_inclusive('\n').filter(|line| !line.starts_with("  uid: ")).collect();
        let [first, second] = self.images["haproxy"].each_ref().map(PodImage::reference);
        let changed = if text.contains(&first) {
            text.replace(&first, &second)
        } else {
            text.replace(&second, &first)
        };
        if changed == text {
            bail!("`{}` names neither `{first}` nor `{second}`", path.display());
        }
        let beside = path.with_file_name(".haproxy.yaml");
        fs::write(&beside, changed)?;
        fs::rename(beside, path)?;
        Ok(())
    }

    /// What haproxy answers now.
    pub fn answer(&self) -> Option<String> {
        let url = format!("http://127.0.0.1:{PORT}/");
        let output = self.inside("curl", &["-fsS", "--max-time", "1", &url]).ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a program of this machine in the node's network.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn inside(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.command(Path::new(program)).args(arguments).output();
        output.with_context(|| format!("cannot run `{program}`"))
    }

    /// A program of this machine, to be run in the node's network.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let target = format!("--target={}", self.machine.init_pid());
        command.args([&target, "--net", "--"]).arg(program);
        command
    }

    /// Waits until haproxy answers with `version`, and says how long nobody answered meanwhile.
    ///
    /// # Errors
    /// When it does not in time: with the journals.
    pub fn wait_for(&self, version: &str) -> Result<Duration> {
        self.silence(&format!("the answer {version}"), |answer| answer == Some(version))
    }

    /// Waits until haproxy falls silent and answers again, and says for how long nobody answered.
    ///
    /// # Errors
    /// When it does not in time: with the journals.
    pub fn wait_for_return(&self) -> Result<Duration> {
        let mut was_silent = false;
        self.silence("haproxy to go and to come back", |answer| {
            was_silent |= answer.is_none();
            was_silent && answer.is_some()
        })
    }

    /// How long nobody answers until `is_over`, which is asked with each answer.
    fn silence(
        &self,
        what: &str,
        mut is_over: impl FnMut(Option<&str>) -> bool,
    ) -> Result<Duration> {
        let (mut hole, mut since) = (Duration::ZERO, None::<Instant>);
        let start = Instant::now();
        loop {
            let answer = self.answer();
            if answer.is_some() {
                hole += since.take().map_or(Duration::ZERO, |since| since.elapsed());
            } else {
                since.get_or_insert_with(Instant::now);
            }
            if is_over(answer.as_deref()) {
                return Ok(hole);
            }
            if start.elapsed() > LIMIT {
                bail!("waited for {what}, and haproxy answers {answer:?}\n{}", self.journal());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the agent calls everything done.
    ///
    /// # Errors
    /// When it does not in time: with the journals.
    pub fn wait_for_serving(&self, generation: u64) -> Result<()> {
        let expected = format!("serving generation {generation}");
        let look = || (self.phase() == expected).then_some(());
        wait::until(&expected, LIMIT, look)
            .with_context(|| format!("the agent says: {}\n{}", self.phase(), self.journal()))
    }

    /// Has the agent commit this node, whatever it says of certificates that nobody signs here, and stops the service: from
    /// then on the files of certificates are the test's alone.
    ///
    /// # Errors
    /// When it does not in time: with the journals.
    pub fn commit_and_stop(&self, node: &Node) -> Result<()> {
        let service = "basalt-agent.service";
        self.machine.output(&["systemctl", "start", service])?;
        self.write_node(node)?;
        let committed = || {
            let status = self.machine.output(&["basalt-agent", "status", "--output=json"]).ok()?;
            let status: serde_json::Value = serde_json::from_str(&status).ok()?;
            (status["generations"]["committed"]["generation"] == node.generation).then_some(())
        };
        wait::until("the agent to commit its pods", LIMIT, committed)
            .with_context(|| format!("the agent says: {}\n{}", self.phase(), self.journal()))?;
        self.machine.output(&["systemctl", "stop", service]).map(drop)
    }

    /// The agent's last report.
    pub fn phase(&self) -> String {
        self.machine
            .property("basalt-agent.service", "StatusText")
            .unwrap_or_else(|error| error.to_string())
    }

    /// The last that agent, kubelet and pods said.
    pub fn journal(&self) -> String {
        let said = |command: &[&str]| match self.machine.run(command) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("{error:#}"),
        };
        let show = |unit: &str, lines: &str| {
            said(&["journalctl", "--no-pager", "-o", "short-precise", lines, "-u", unit])
        };
        let pods = said(&["sh", "-c", "tail -n20 /var/log/pods/*/*/*.log"]);
        format!("{}\n{}\n{pods}", show("basalt-agent", "-n60"), show("kubelet", "-n20"))
    }

    /// The UID in a manifest.
    pub fn uid(&self, pod: &str) -> Option<String> {
        let folder = self.machine.root().join(MANIFESTS.trim_start_matches('/'));
        let text = fs::read_to_string(folder.join(format!("{pod}.yaml"))).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("  uid: "))?;
        Some(line.to_owned())
    }
}

fn node(images: &BTreeMap<&str, [PodImage; 2]>, wanted: &Wanted) -> Result<Node> {
    let path = checkout::root().join("static-pods/tests/lab/n1.json");
    let mut node = Node::from_json("n1.json", &fs::read_to_string(&path)?)?;
    node.generation = wanted.generation;
    (node.vault, node.vault_agent) = (None, None);
    let image = |pod: &str, number: usize| images[pod][number].reference().parse();
    let haproxy = node.haproxy.as_mut().context("the lab's node has a haproxy")?;
    haproxy.image = image("haproxy", wanted.haproxy)?;
    // As many as the limit of open files of the machine that runs the test has room for.
    haproxy.max_connections = 1_000;
    haproxy.drain_seconds = 1;
    haproxy.frontends.truncate(1);
    answering(&mut haproxy.frontends[0], &wanted.version)?;
    match wanted.keepalived {
        Some(number) => {
            let keepalived = node.keepalived.as_mut().context("the lab's node has a keepalived")?;
            keepalived.image = image("keepalived", number)?;
            keepalived.instances.truncate(1);
        }
        None => node.keepalived = None,
    }
    Ok(node)
}

/// Makes the frontend answer by itself.
fn answering(frontend: &mut Frontend, version: &str) -> Result<()> {
    frontend.mode = ProxyMode::Http;
    frontend.binds = vec![format!("127.0.0.1:{PORT}").parse()?];
    frontend.check = HealthCheck::connect();
    frontend.rules =
        vec![format!("http-request return status 200 content-type text/plain string {version}")];
    // Itself, so that it has a server that lives.
    let itself = format!("127.0.0.1:{PORT}").parse()?;
    frontend.servers = vec![Server::new("itself".parse()?, itself)];
    Ok(())
}
