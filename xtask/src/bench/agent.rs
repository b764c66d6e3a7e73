//! The agent on a node of the lab: how soon its files are there, and what it needs when idle.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use basalt_model::cluster::Reading;
use basalt_model::names::RelativePath;
use basalt_model::node::Node;
use camino::Utf8PathBuf;
use e2e::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::certificates;
use super::cost::{mebibytes, seconds};
use crate::build_image::agent;
use crate::checkout;
use crate::command;
use crate::output;
use crate::progress::Progress;
use crate::source;

/// How long the agent may take to write its files before the measurement gives up.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a program may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long after its last write a program counts as idle.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// Measures and prints.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let program = agent::build(progress)?;
    progress.step("measuring the agent");
    let first = self::node()?;
    let node = first.to_json();
    let mut starts = Vec::new();
    let mut resident = Resident::default();
    for _ in 0..runs {
        let (start, seen) = start_agent(program.as_std_path(), node.as_bytes())?;
        starts.push(start);
        resident = resident.max(seen);
    }
    starts.sort();
    output::print(format_args!(
        "agent, start to manifests: {}\nagent, resident when idle: {}, without its program file {}\nagent, program: {}\n",
        seconds(starts[starts.len() / 2]),
        mebibytes(resident.all),
        mebibytes(resident.own),
        mebibytes(fs::metadata(&program)?.len())
    ))?;
    certificates::run(program.as_std_path(), &first, runs, progress)
}

/// A node of the lab.
pub(super) fn node() -> Result<Node> {
    let folder = Utf8PathBuf::try_from(checkout::folder()?.join("tests/clusters/lab"))?;
    let mut text = |name: &RelativePath| source::text(&folder, name);
    let file = fs::read(folder.join("cluster.yaml"))?;
    let reading = Reading::with("cluster.yaml", &file, &mut text);
    let cluster = reading.cluster.context("the lab's `cluster.yaml` has errors")?;
    cluster.nodes.into_iter().next().context("the lab has no nodes")
}

/// Starts the agent on an empty root: the time until all manifests are there, and its resident memory when idle.
fn start_agent(program: &Path, node: &[u8]) -> Result<(Duration, Resident)> {
    let root = tempfile::tempdir()?;
    fs::create_dir_all(root.path().join("etc/basalt"))?;
    fs::write(root.path().join("etc/basalt/node.json"), node)?;
    let manifests = root.path().join("etc/kubernetes/manifests");
    let start = Instant::now();
    let mut command = Command::new(program);
    command.arg("--root").arg(root.path()).arg("run");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut agent = Running::start(&mut command)?;
    let pods = ["haproxy.yaml", "keepalived.yaml", "vault-agent.yaml"];
    while !pods.iter().all(|pod| manifests.join(pod).exists()) {
        if start.elapsed() > LIMIT || agent.has_ended()? {
            bail!("the agent wrote no manifests");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let elapsed = start.elapsed();
    std::thread::sleep(SETTLE);
    Ok((elapsed, agent.resident()?))
}

/// Bytes of a program in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resident {
    /// With the parts of its program file and libraries that it has used, which the kernel can drop and read again.
    pub(super) all: u64,
    /// What it wrote.
    pub(super) own: u64,
}

/// A running program; stopped when it is dropped.
pub(super) struct Running(Child);

impl Running {
    /// Starts it.
    pub(super) fn start(command: &mut Command) -> Result<Running> {
        let child = command.spawn();
        Ok(Running(child.with_context(|| format!("cannot start `{}`", command::line(command)))?))
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// What it has in memory now.
    pub(super) fn resident(&self) -> Result<Resident> {
        Ok(Resident { all: self.bytes("VmRSS:")?, own: self.bytes("RssAnon:")? })
    }

    /// The most it had in memory so far, in bytes.
    pub(super) fn resident_at_most(&self) -> Result<u64> {
        self.bytes("VmHWM:")
    }

    fn bytes(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let line = line.with_context(|| format!("no {field}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// User and system time so far; the kernel counts it in hundredths of a second.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // Behind the name, which may hold anything, they are the 12th and 13th field.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let has_ended = until("the program to end", STOP_LIMIT, || self.0.try_wait().ok()?);
        if has_ended.is_err() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}
