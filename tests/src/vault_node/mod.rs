//! A folder that stands for a machine, the agent on it, and a real Vault that signs for it.
//!
//! Read [`VaultNode`] first; [`set_up`] is what Vault needs, [`service`] the running agent. When a node is dropped,
//! [`secrets`] looks for every secret of its run in everything that the run left behind and said: no test has to ask.

mod secrets;
mod service;
mod set_up;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use basalt_model::node::{Certificate, Node, Vault};
use serde_json::Value as Json;

pub use self::service::Service;
pub use self::set_up::{IDENTITY_MOUNT, Issuing};
use crate::network::Switch;
use crate::programs::agent;
use crate::scratch_node::ScratchNode;
pub use crate::vault_server::signing::MOUNT;
use crate::vault_server::{Place, VaultServer, program};
use crate::wait::until;
use secrets::Said;

/// Long enough for a busy machine and a debug build.
const PATIENCE: Duration = Duration::from_secs(60);
/// The lab's Vault in a network of its own.
const INSIDE: [&str; 2] = ["192.0.2.21/24", "192.0.2.21"];

/// A node. Dropped, it is searched for secrets, and gone.
pub struct VaultNode {
    machine: ScratchNode,
    /// Who signs for it.
    pub vault: VaultServer,
    /// The network that both are in, when it is not the machine's own.
    pub network: Option<Switch>,
    node: Node,
    said: Said,
}

/// What was made, or the end of the test.
///
/// # Panics
/// With the whole chain of the error.
#[track_caller]
pub fn made<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

// A scene is as much test as what plays in it: what fails, fails the test.
#[allow(clippy::unwrap_used)]
impl VaultNode {
    /// A node with one certificate, `ingress`, of the lab; it logs in with a secret id in a file. `None` without the
    /// programs, and the test returns.
    pub fn new() -> Option<VaultNode> {
        let mut it = VaultNode::without_login(&Place::Loopback, None)?;
        made(it.set_login_up());
        Some(it)
    }

    /// The same in a network of its own.
    pub fn inside() -> Option<VaultNode> {
        let network = made(Switch::new(&[INSIDE[0]]));
        let place =
            Place::Namespace { path: network.namespace(), address: INSIDE[1].parse().unwrap() };
        let mut it = VaultNode::without_login(&place, Some(network))?;
        made(it.set_login_up());
        Some(it)
    }

    /// One that earns an identity of its own, by the wrapped secret that [`VaultNode::deliver`] brings.
    pub fn with_identity() -> Option<VaultNode> {
        let mut it = VaultNode::without_login(&Place::Loopback, None)?;
        made(it.set_identity_up());
        Some(it)
    }

    fn without_login(place: &Place, network: Option<Switch>) -> Option<VaultNode> {
        let agent = agent()?;
        let vault = made(VaultServer::start_at(&program()?, place));
        made(vault.record());
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let mut node = Node::from_json("n1.json", text).unwrap();
        (node.haproxy, node.keepalived, node.vault_agent) = (None, None, None);
        let own = node.vault.as_mut().unwrap();
        own.certificates.iter_mut().for_each(|it| it.reload.clear());
        let machine = made(ScratchNode::new(&agent, "0123456789abcdef0123456789abcdef"));
        let it = VaultNode { machine, vault, network, node, said: Said::default() };
        // The more it says, the more there is to look for secrets in.
        let talkative = r#"{"log": {"level": "debug"}}"#;
        it.write("/etc/basalt/agent.conf.d/60-log.json", talkative, 0o644);
        Some(it)
    }

    /// Where a file of the node is.
    pub fn path(&self, host_path: &str) -> PathBuf {
        self.machine.path(host_path)
    }

    /// The folder that stands for the node.
    pub fn root(&self) -> &Path {
        self.machine.root()
    }

    /// Puts a file in its place at once.
    pub fn write(&self, host_path: &str, text: &str, mode: u32) {
        made(self.machine.write(host_path, text, mode));
    }

    /// The node from now on, under the next generation, with other certificates.
    pub fn want(&mut self, change: impl FnOnce(&mut Vec<Certificate>)) {
        self.want_vault(|vault| change(&mut vault.certificates));
    }

    /// The node from now on, under the next generation, with another Vault.
    pub fn want_vault(&mut self, change: impl FnOnce(&mut Vault)) {
        self.want_node(|node| change(node.vault.as_mut().unwrap()));
    }

    /// The node from now on, under the next generation.
    pub fn want_node(&mut self, change: impl FnOnce(&mut Node)) {
        change(&mut self.node);
        self.node.generation += 1;
        self.write("/etc/basalt/node.json", &self.node.to_json(), 0o600);
    }

    /// The certificate that the lab's node has.
    pub fn lab_certificate(&self) -> Certificate {
        self.node.vault.as_ref().unwrap().certificates[0].clone()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let Some(network) = &self.network else { return self.machine.command(arguments) };
        let program = self.machine.program().to_str().unwrap();
        self.machine.command_by(network.command(program), arguments)
    }

    /// Runs one of the agent's commands.
    pub fn agent(&self, arguments: &[&str]) -> Output {
        self.learn();
        let output = self.command(arguments).output().unwrap();
        for text in [&output.stdout, &output.stderr] {
            self.said.add(&arguments.join(" "), String::from_utf8_lossy(text).into_owned());
        }
        output
    }

    /// Starts the service.
    pub fn start(&self) -> Service {
        self.start_with(&[])
    }

    /// Starts the service with more variables in its environment.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Service {
        self.learn();
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().copied());
        Service::start(command, self.said.clone())
    }

    /// What `certs` says about one certificate; null when there is none.
    pub fn row(&self, name: &str) -> Json {
        let output = self.agent(&["certs", "--output", "json"]);
        let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rows = report["certificates"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
    }

    /// What `status` says.
    pub fn status(&self) -> Json {
        serde_json::from_slice(&self.agent(&["status", "--output", "json"]).stdout).unwrap()
    }

    /// What `status` says about one thing; null when it says nothing.
    pub fn item(&self, kind: &str, name: &str) -> Json {
        let status = self.status();
        let items = status["items"].as_array().unwrap().iter();
        let mut items = items.filter(|item| item["kind"] == kind);
        items.find(|item| item["name"] == name).cloned().unwrap_or_default()
    }

    /// What monitoring is told.
    pub fn metrics(&self) -> String {
        std::fs::read_to_string(self.path("/run/basalt/metrics/basalt.prom")).unwrap_or_default()
    }

    /// Waits until `certs` says it about a certificate, and gives that.
    #[track_caller]
    pub fn wait_for_row(&self, name: &str, what: &str, is_so: impl Fn(&Json) -> bool) -> Json {
        let mut last = Json::Null;
        let found = until(what, PATIENCE, || {
            last = self.row(name);
            is_so(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}\n{last:#}"))
    }

    /// Waits until `status` says it about one thing, and gives that.
    #[track_caller]
    pub fn wait_for_item(
        &self,
        (kind, name): (&str, &str),
        what: &str,
        is_so: impl Fn(&Json) -> bool,
    ) -> Json {
        let mut last = Json::Null;
        let found = until(what, PATIENCE, || {
            last = self.item(kind, name);
            is_so(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}\n{last:#}"))
    }

    /// Waits until another one than `before` is in use, and gives its serial number.
    #[track_caller]
    pub fn wait_for_new(&self, name: &str, before: &str) -> String {
        let row = self.wait_for_row(name, "another certificate in use", |row| {
            row["standing"] == "in-use" && row["leaf"]["serial"] != before
        });
        row["leaf"]["serial"].as_str().unwrap().to_owned()
    }

    /// The serial number of the certificate in a folder by openssl, after a look whether every file is of its set. `None`
    /// when there is none yet.
    #[track_caller]
    pub fn served(&self, certificate: &Certificate) -> Option<String> {
        let folder = self.path(certificate.directory.as_str());
        // The set as it is at one moment, as a consumer that opens the folder's files has it.
        let set = folder.join(std::fs::read_link(folder.join("..data")).ok()?);
        let text = |name: &str| std::fs::read_to_string(set.join(name)).ok();
        let (chain, key, combined) =
            (text("certificate.pem")?, text("key.pem")?, text("combined.pem")?);
        assert_eq!(combined, format!("{chain}{key}"), "mixed");
        assert_eq!(
            openssl(&["x509", "-noout", "-pubkey"], &chain),
            openssl(&["pkey", "-pubout"], &key),
            "the key is that of another certificate"
        );
        Some(openssl(&["x509", "-noout", "-serial"], &chain))
    }

    /// Mode, user and group of a file of a certificate.
    pub fn dress(&self, certificate: &Certificate, name: &str) -> (u32, u32, u32) {
        let stat = self.path(certificate.directory.as_str()).join(name).metadata().unwrap();
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    }

    /// How often Vault was asked for a path with an answer of this status.
    pub fn count(&self, path: &str, status: u16) -> usize {
        let asked = made(self.vault.requests());
        asked.iter().filter(|asked| asked.path == path && asked.status == status).count()
    }
}

/// Runs the real openssl on a text.
///
/// # Panics
/// When it fails.
#[track_caller]
#[allow(clippy::unwrap_used)]
pub fn openssl(arguments: &[&str], text: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
