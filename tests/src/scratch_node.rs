//! A directory that stands for a machine, with the agent on it: no systemd, no kubelet, no container runtime.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::wait::until;

/// Long enough for a busy machine and a debug build.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory, gone with its value.
pub struct ScratchNode {
    program: PathBuf,
    root: tempfile::TempDir,
}

impl ScratchNode {
    /// With the users that a machine has, and an id of its own. Generations are taken for good at once.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn new(program: &Path, machine_id: &str) -> Result<ScratchNode> {
        let node = ScratchNode { program: program.to_owned(), root: tempfile::tempdir()? };
        let quick =
            r#"{"reconcile": {"settle_milliseconds": 20}, "generations": {"proof": "none"}}"#;
        node.write("/etc/basalt/agent.conf.d/50-quick.json", quick, 0o644)?;
        let users = "root:x:0:0::/root:/bin/sh\nweb:x:4711:4711::/:/bin/sh\n";
        node.write("/etc/passwd", users, 0o644)?;
        node.write("/etc/group", "root:x:0:\ntls:x:4712:\n", 0o644)?;
        node.write("/etc/machine-id", &format!("{machine_id}\n"), 0o444)?;
        Ok(node)
    }

    /// Where the directory is.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where `path`, absolute as the machine sees it, is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Puts a whole file in its place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        let beside = path.with_file_name(".being-written");
        fs::write(&beside, text)?;
        fs::set_permissions(&beside, Permissions::from_mode(mode))?;
        Ok(fs::rename(beside, path)?)
    }

    /// The agent's program on this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_by(Command::new(&self.program), arguments)
    }

    /// Where the agent's program is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The same by a command that runs the agent's program somewhere else.
    pub fn command_by(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.arg("--root").arg(self.root.path()).args(arguments);
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command of the agent to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn agent(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("cannot run the agent")
    }

    /// Starts the agent's service.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(&self) -> Result<Service> {
        Service::start(self.command(&["run"]))
    }

    /// What `certs` says about one certificate; null when there is none.
    pub fn row(&self, name: &str) -> Value {
        let Ok(output) = self.agent(&["certs", "--output", "json"]) else { return Value::Null };
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rows = report["certificates"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
    }

    /// What `status` says.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn status(&self) -> Result<Value> {
        let output = self.agent(&["status", "--output", "json"])?;
        serde_json::from_slice(&output.stdout).context("no status")
    }

    /// Waits until the row of a certificate is as it should be, and gives it.
    ///
    /// # Errors
    /// When it is not in time: with the row as it was last.
    pub fn wait_for_row(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let found = until(what, PATIENCE, || {
            last = self.row(name);
            is_so(&last).then(|| last.clone())
        });
        found.with_context(|| format!("{last:#}"))
    }

    /// Waits until another certificate than `before` is in use, and gives its serial number.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn wait_for_new(&self, name: &str, before: &str) -> Result<String> {
        let row = self.wait_for_row(name, "another certificate in use", |row| {
            row["standing"] == "in-use" && row["leaf"]["serial"] != before
        })?;
        row["leaf"]["serial"].as_str().map(str::to_owned).context("no serial number")
    }
}

/// A running `basalt-agent run`; ends with its value.
pub struct Service {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Service {
    pub(crate) fn start(mut command: Command) -> Result<Service> {
        let log = tempfile::NamedTempFile::new()?;
        let child = command.stdin(Stdio::null()).stderr(log.reopen()?).spawn()?;
        Ok(Service { child, log })
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, and gives what it has logged.
    pub fn kill(mut self) -> String {
        self.end();
        self.log()
    }

    pub(crate) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("log of the agent:\n{}", self.log());
        }
    }
}
