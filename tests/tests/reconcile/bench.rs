//! A directory that stands for a machine, the agent on it, and waiting for what should become of it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use basalt_model::node::Node;
use basalt_static_pods::render;
use e2e::needs::root_or_skip;
use e2e::programs::agent;
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a busy machine; what is waited for takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two states of one node that differ in pods, manifests and config files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// All pods of the lab's first node.
    Full,
    /// Without keepalived, and with another haproxy.
    Small,
}

impl Variant {
    pub(crate) fn node(self, generation: u64) -> Node {
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let mut node = Node::from_json("n1.json", text).unwrap();
        node.generation = generation;
        // No Vault is here that would sign a certificate.
        node.vault.as_mut().unwrap().certificates.clear();
        for frontend in &mut node.haproxy.as_mut().unwrap().frontends {
            frontend.certificate = None;
        }
        match self {
            Variant::Full => assert!(node.haproxy.is_some() && node.keepalived.is_some()),
            Variant::Small => {
                node.keepalived = None;
                node.haproxy.as_mut().unwrap().max_connections += 1;
            }
        }
        node
    }

    /// Everything the agent is to write: path, contents, mode.
    pub(crate) fn files(self) -> BTreeMap<String, (String, u32)> {
        let node = self.node(1);
        let mut files = BTreeMap::new();
        for pod in render(&node).unwrap() {
            let manifest = format!("{}/{}.yaml", node.kubelet.static_pod_directory, pod.name);
            files.insert(manifest, (pod.manifest, 0o600));
            for file in pod.files {
                files.insert(file.path.to_string(), (file.contents, file.mode));
            }
        }
        assert!(files.len() >= 4, "the lab's pods are worth a test");
        files
    }
}

/// A manifest as it was rendered: each run of a pod has a UID that the agent puts in.
pub(crate) fn without_uid(manifest: &str) -> String {
    manifest.split_inclusive('\n').filter(|line| !line.starts_with("  uid: ")).collect()
}

/// A machine that is a directory.
pub(crate) struct Bench {
    agent: PathBuf,
    root: TempDir,
    is_mounted: bool,
}

impl Bench {
    /// A machine with nothing on it but quick settings; `None` without a built agent, and the test returns. The timer is
    /// left at a minute: what happens within seconds happens because the agent noticed.
    pub(crate) fn new() -> Option<Bench> {
        let bench = Bench { agent: agent()?, root: TempDir::new().unwrap(), is_mounted: false };
        bench.quicken();
        Some(bench)
    }

    /// As [`Bench::new`], on a file system of its own with so many KiB; for root alone.
    pub(crate) fn small(kibibytes: u32) -> Option<Bench> {
        if !root_or_skip() {
            return None;
        }
        let bench = Bench { agent: agent()?, root: TempDir::new().unwrap(), is_mounted: true };
        let size = format!("size={kibibytes}k");
        let root = bench.root.path().to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", &size, "basalt-test", root]);
        bench.quicken();
        Some(bench)
    }

    fn quicken(&self) {
        self.write(
            "/etc/basalt/agent.conf.d/50-quick.json",
            // Nothing runs here, so nothing can be proven.
            r#"{"reconcile": {"settle_milliseconds": 20}, "generations": {"proof": "none"}}"#,
        );
    }

    pub(crate) fn path(&self, host_path: &str) -> PathBuf {
        self.root.path().join(host_path.trim_start_matches('/'))
    }

    /// Writes a file in one go, as careful people do.
    pub(crate) fn write(&self, host_path: &str, text: &str) {
        let path = self.path(host_path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_file_name(".being-written");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    pub(crate) fn node(&self, variant: Variant, generation: u64) -> String {
        variant.node(generation).to_json()
    }

    pub(crate) fn write_node(&self, variant: Variant, generation: u64) {
        self.write("/etc/basalt/node.json", &self.node(variant, generation));
    }

    /// Which of the variant's files are not as they should be.
    pub(crate) fn wrong_files(&self, variant: Variant) -> Vec<String> {
        let is_right = |path: &str, (contents, mode): &(String, u32)| {
            let path = self.path(path);
            std::fs::read_to_string(&path).is_ok_and(|seen| without_uid(&seen) == *contents)
                && path
                    .symlink_metadata()
                    .is_ok_and(|seen| seen.permissions().mode() & 0o7777 == *mode)
        };
        let files = variant.files().into_iter();
        files.filter(|(path, file)| !is_right(path, file)).map(|(path, _)| path).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.agent);
        command.arg("--root").arg(self.root.path()).args(arguments);
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the agent to its end.
    pub(crate) fn agent(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the agent with something else than `run`.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn start(&self) -> Service<'_> {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Service<'_> {
        // Not below the root: a test may fill that up.
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = self
            .command(&["run"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Service { bench: self, child, log }
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.agent(&["status", "--output", "json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut(&Bench) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(
                begin.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}\n{:#}",
                self.status()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_status(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        self.wait_for(what, |bench| {
            last = bench.status();
            is_so(&last)
        });
        last
    }

    /// Waits until the service itself says so, not only whoever looks.
    #[track_caller]
    pub(crate) fn wait_for_serving(&self, generation: u64) {
        self.wait_for_status(&format!("serving generation {generation}"), |status| {
            status["summary"] == format!("serving generation {generation}")
                && status["service"]["report"]["phase"] == status["summary"]
        });
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        use std::io::Write;
        let mut filler = std::fs::File::create(self.path("/filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        while filler.write_all(&[0]).is_ok() {}
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("-l").arg(self.root.path()).status();
        }
    }
}

/// A running `basalt-agent run`; ends with its value.
pub(crate) struct Service<'a> {
    bench: &'a Bench,
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Service<'_> {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        run("kill", &[&format!("-{name}"), &self.id().to_string()]);
    }

    /// Asks for a round and waits for its end.
    #[track_caller]
    pub(crate) fn round(&self) {
        let rounds = |status: &Value| status["service"]["report"]["rounds"].as_u64();
        let before = rounds(&self.bench.status());
        self.signal("HUP");
        self.bench.wait_for_status("a round more", |status| rounds(status) > before);
    }

    /// Stops it the polite way.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "log of the agent:\n{}",
                std::fs::read_to_string(self.log.path()).unwrap_or_default()
            );
        }
    }
}

/// The items of one kind.
pub(crate) fn items(status: &Value, kind: &str) -> Vec<Value> {
    let items = status["items"].as_array().expect("a status has items");
    items.iter().filter(|item| item["kind"] == kind).cloned().collect()
}

/// One item; null when there is none.
pub(crate) fn item(status: &Value, kind: &str, name: &str) -> Value {
    items(status, kind).into_iter().find(|item| item["name"] == name).unwrap_or_default()
}

/// Runs a small system program that has to succeed.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}

/// Every file below `directory` whose name has no dot in front, in the order of a walk.
pub(crate) fn visible_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(visible_files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
