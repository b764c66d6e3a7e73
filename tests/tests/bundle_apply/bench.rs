//! A cluster, and machines that are directories with an agent on each.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use basalt_image::bundle::store;
use basalt_model::node::{
    BUNDLE_APPLIERS_GROUP, BUNDLE_KUBECONFIG_PATH, Bundle, BundleOwner, Node,
};
use camino::Utf8Path;
use e2e::control_plane::{ControlPlane, Programs, Site, Subject, Wishes};
use e2e::peers::peer;
use e2e::programs::{agent, xtask};
use e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::{Signed, Signer};
use crate::grants::Grants;

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What everything is written down for.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
";

/// Everything there is.
pub(crate) struct Lab {
    pub(crate) plane: ControlPlane<'static>,
    pub(crate) signer: Signer,
    agent: PathBuf,
    audit: TempDir,
    grants: Rc<Grants>,
}

impl Lab {
    /// A cluster; `None` without the programs, and the test returns.
    pub(crate) fn new() -> Option<Lab> {
        let programs = Programs::find()?;
        let (agent, xtask) = (agent()?, xtask()?);
        let audit = tempfile::tempdir().unwrap();
        fs::write(audit.path().join("policy.yaml"), AUDIT_POLICY).unwrap();
        let at = |name: &str| audit.path().join(name).display().to_string();
        let arguments = vec![
            format!("--audit-policy-file={}", at("policy.yaml")),
            format!("--audit-log-path={}", at("audit.log")),
            "--audit-log-mode=blocking".to_owned(),
        ];
        let wishes = Wishes { arguments, ..Wishes::default() };
        let plane = ControlPlane::start(&programs, Site::Loopback, wishes).unwrap();
        let grants = Rc::new(Grants::new(xtask, peer("kubectl")?.program, &plane));
        Some(Lab { plane, signer: Signer::new(), agent, audit, grants })
    }

    /// A machine with nothing on it but quick settings and a way to the cluster, in the group that agents that apply are
    /// in.
    pub(crate) fn machine(&self, name: &str) -> Machine {
        let user = format!("basalt:agent:{name}");
        let subject = Subject::user(&user).of(BUNDLE_APPLIERS_GROUP);
        let pair = self.plane.kubeconfig(&format!("agent-{name}"), &subject).unwrap();
        let machine = Machine {
            name: name.to_owned(),
            root: tempfile::tempdir().unwrap(),
            agent: self.agent.clone(),
            public_key: self.signer.public_key(),
            grants: self.grants.clone(),
        };
        machine.write("/etc/kubernetes/ca.pem", &fs::read_to_string(self.plane.ca_file()).unwrap());
        machine.write(
            "/etc/kubernetes/bundle.pem",
            &fs::read_to_string(pair.with_extension("pem")).unwrap(),
        );
        machine.kubeconfig(&self.plane.url());
        machine.settings(r#"{"interval_seconds": 2, "settle_seconds": 1, "budget_seconds": 8, "lease_seconds": 6}"#);
        machine
    }

    /// What somebody who may do everything sees.
    pub(crate) fn get(&self, arguments: &[&str]) -> Option<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        serde_json::from_str(&self.plane.kubectl(&arguments).ok()?).ok()
    }

    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        let list = self.get(&[kind, "-n", "hello"]).unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The rights that bundles take, given by somebody who administers the cluster.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// By which certificates an agent has renewed its Lease, the last one last.
    pub(crate) fn credentials_of(&self, user: &str) -> Vec<String> {
        let log = fs::read_to_string(self.audit.path().join("audit.log")).unwrap_or_default();
        let mut seen: Vec<String> = Vec::new();
        for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let id = &event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
            let is_it =
                event["user"]["username"] == user && event["objectRef"]["resource"] == "leases";
            match id.as_str().filter(|_| is_it) {
                Some(id) if seen.last().map(String::as_str) != Some(id) => seen.push(id.to_owned()),
                Some(_) | None => {}
            }
        }
        seen
    }

    /// Writes that agents have asked for, but for those of the Lease: `verb resource/name`, as the API server has
    /// written them down.
    pub(crate) fn writes(&self) -> Vec<String> {
        let log = fs::read_to_string(self.audit.path().join("audit.log")).unwrap_or_default();
        let write = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let user = event["user"]["username"].as_str()?;
            let is_dry = event["requestURI"].as_str()?.contains("dryRun=All");
            let object = &event["objectRef"];
            let resource = object["resource"].as_str()?;
            let is_agents = user.starts_with("basalt:agent:");
            (is_agents && !is_dry && resource != "leases").then(|| {
                let name = object["name"].as_str().unwrap_or_default();
                format!(
                    "{} {} {resource}/{name}",
                    user.rsplit(':').next().unwrap_or_default(),
                    event["verb"].as_str().unwrap_or_default()
                )
            })
        };
        log.lines().filter_map(write).collect()
    }
}

/// A machine that is a directory.
pub(crate) struct Machine {
    name: String,
    root: TempDir,
    agent: PathBuf,
    public_key: String,
    grants: Rc<Grants>,
}

/// A running agent; killed when dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Machine {
    pub(crate) fn path(&self, host_path: &str) -> PathBuf {
        self.root.path().join(host_path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, host_path: &str, text: &str) {
        let path = self.path(host_path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_file_name(".being-written");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
    }

    pub(crate) fn kubeconfig(&self, url: &str) {
        self.write(
            BUNDLE_KUBECONFIG_PATH,
            &format!(
                "apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: \"{url}\", certificate-authority: ca.pem}}}}]
users: [{{name: agent, user: {{client-certificate: bundle.pem, client-key: bundle.pem}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: agent}}}}]
current-context: lab
"
            ),
        );
    }

    pub(crate) fn settings(&self, bundle: &str) {
        self.write(
            "/etc/basalt/agent.conf.d/50-quick.json",
            &format!(
                r#"{{"reconcile": {{"settle_milliseconds": 20}}, "generations": {{"proof": "none"}}, "bundle": {bundle}, "log": {{"level": "info"}}}}"#
            ),
        );
    }

    /// Bakes a bundle in, has the rights that it takes given, and asks for it in a node.json of this generation.
    pub(crate) fn want(&self, node_generation: u64, signed: &Signed) {
        self.want_with(node_generation, signed, |_| {});
    }

    pub(crate) fn want_with(
        &self,
        node_generation: u64,
        signed: &Signed,
        change: impl FnOnce(&mut Bundle),
    ) {
        self.grants.add(&self.bake(signed));
        self.ask(node_generation, signed, |node| change(node.bundle.as_mut().unwrap()));
    }

    /// Puts a bundle where the image of a node has it.
    pub(crate) fn bake(&self, signed: &Signed) -> PathBuf {
        let digest = signed.built.manifest.to_string();
        let hex = digest.trim_start_matches("sha256:");
        let place = self.path(&format!("/usr/share/basalt/bundles/{hex}.tar"));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let path = Utf8Path::from_path(&place).unwrap();
        store::write(path, &signed.built, &signed.signatures).unwrap();
        place
    }

    /// Asks for a bundle in a node.json of this generation.
    pub(crate) fn ask(
        &self,
        node_generation: u64,
        signed: &Signed,
        change: impl FnOnce(&mut Node),
    ) {
        let digest = signed.built.manifest.to_string();
        let bundle = Bundle {
            reference: format!("registry.lab.example/hello@{digest}").parse().unwrap(),
            public_key: self.public_key.clone(),
            kubeconfig: Some(BUNDLE_KUBECONFIG_PATH.parse().unwrap()),
            prune_percent: 25,
            is_paused: false,
            owner: BundleOwner::Agent,
        };
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let mut node = Node::from_json("n1.json", text).unwrap();
        node.generation = node_generation;
        node.name = self.name.parse().unwrap();
        (node.haproxy, node.keepalived, node.vault, node.vault_agent) = (None, None, None, None);
        node.pods.clear();
        node.bundle = Some(bundle);
        change(&mut node);
        self.write("/etc/basalt/node.json", &node.to_json());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.agent);
        command.arg("--root").arg(self.root.path()).args(arguments);
        command
    }

    pub(crate) fn agent(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn start(&self) -> Service {
        let log = self.path("/agent.log");
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(file);
        Service { child: command.spawn().unwrap(), log }
    }

    /// The picture that the agent left.
    pub(crate) fn picture(&self) -> Option<Value> {
        let text = fs::read_to_string(self.path("/run/basalt/bundle.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(crate) fn status(&self) -> String {
        let output = self.agent(&["bundle", "status"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits for a picture.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, look: impl Fn(&Value) -> bool) -> Value {
        let seen = until(what, PATIENCE, || self.picture().filter(|picture| look(picture)));
        seen.unwrap_or_else(|error| {
            let log = fs::read_to_string(self.path("/agent.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(40).collect();
            panic!(
                "{error}\n{}\n{}",
                self.status(),
                end.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        })
    }

    #[track_caller]
    pub(crate) fn wait_for_commit(&self, signed: &Signed) -> Value {
        self.wait_for(&format!("generation {} to be committed", signed.generation), |picture| {
            picture["state"] == "committed"
                && picture["committed"]["generation"] == signed.generation
        })
    }
}

impl Service {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn wait_for_end(&mut self) {
        self.child.wait().unwrap();
    }

    /// Processor time so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // Behind the name, which may hold anything: the 12th and 13th field, in hundredths.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }

    /// The most memory that was resident so far.
    pub(crate) fn resident_kibibytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
