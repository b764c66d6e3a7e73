//! The agent on a node of the lab: how soon its files are there, and what it needs when idle.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use basalt_model::cluster::Reading;
use basalt_model::names::RelativePath;
use camino::Utf8PathBuf;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cost::{mebibytes, seconds};
use crate::build_image::agent;
use crate::checkout;
use crate::output;
use crate::progress::Progress;
use crate::source;

/// How long the agent may take to write its files before the measurement gives up.
const LIMIT: Duration = Duration::from_secs(30);

/// How long after its last write the agent counts as idle.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures and prints.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let program = agent::build(progress)?;
    progress.step("measuring the agent");
    let folder = Utf8PathBuf::try_from(checkout::folder()?.join("tests/clusters/lab"))?;
    let mut text = |name: &RelativePath| source::text(&folder, name);
    let file = fs::read(folder.join("cluster.yaml"))?;
    let reading = Reading::with("cluster.yaml", &file, &mut text);
    let cluster = reading.cluster.context("the lab's `cluster.yaml` has errors")?;
    let node = cluster.nodes.first().context("the lab has no nodes")?.to_json();
    let mut starts = Vec::new();
    let mut resident = 0;
    for _ in 0..runs {
        let (start, kibibytes) = start_agent(program.as_std_path(), node.as_bytes())?;
        starts.push(start);
        resident = resident.max(kibibytes);
    }
    starts.sort();
    output::print(format_args!(
        "agent, start to manifests: {}\nagent, resident when idle: {}\nagent, program: {}\n",
        seconds(starts[starts.len() / 2]),
        mebibytes(resident * 1024),
        mebibytes(fs::metadata(&program)?.len())
    ))
}

/// Starts the agent on an empty root: the time until all manifests are there, and its resident memory in KiB when idle.
fn start_agent(program: &Path, node: &[u8]) -> Result<(Duration, u64)> {
    let root = tempfile::tempdir()?;
    fs::create_dir_all(root.path().join("etc/basalt"))?;
    fs::write(root.path().join("etc/basalt/node.json"), node)?;
    let manifests = root.path().join("etc/kubernetes/manifests");
    let start = Instant::now();
    let mut agent = Agent::start(program, root.path())?;
    let pods = ["haproxy.yaml", "keepalived.yaml", "vault-agent.yaml"];
    while !pods.iter().all(|pod| manifests.join(pod).exists()) {
        if start.elapsed() > LIMIT || agent.0.try_wait()?.is_some() {
            bail!("the agent wrote no manifests");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let elapsed = start.elapsed();
    std::thread::sleep(SETTLE);
    Ok((elapsed, agent.resident_kibibytes()?))
}

/// A running agent; stopped when it is dropped.
struct Agent(Child);

impl Agent {
    fn start(program: &Path, root: &Path) -> Result<Agent> {
        let mut command = Command::new(program);
        command.arg("--root").arg(root).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Agent(command.spawn().context("cannot start the agent")?))
    }

    fn resident_kibibytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}
