//! `bench`: how long our programs take, beside the real program for the same job where there is one.
//!
//! Figures are for people: nothing fails for being slow.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use basalt_image::oci::{Architecture, Base, Component, Entry, Source, Spec};
use camino::{Utf8Path, Utf8PathBuf};
use e2e::peers::PeerSpec;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;

use crate::build_image::agent;
use crate::checkout;
use crate::output;
use crate::progress::Progress;
use crate::table::table;

/// How long the agent may take to write its files before the measurement gives up.
const AGENT_LIMIT: Duration = Duration::from_secs(30);

/// How long after its last write the agent counts as idle.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures the lab cluster: building its image, and the agent on one of its nodes.
///
/// Every figure is the median of several runs on this machine, in this run. CPU is user and system time of the program
/// and its children. The real program works on the same input; a ratio below 1 means that ours takes less.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each measurement is taken.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let folder = checkout::folder()?;
    let program = agent::build(progress)?;
    let scratch = tempfile::tempdir()?;
    let dist = scratch.path().join("dist");
    let build = || {
        let mut command =
            Command::new(std::env::current_exe().context("cannot tell where this program is")?);
        command.args(["--quiet", "build-image", "--agent", program.as_str(), "--cluster"]);
        command.arg(folder.join("tests/clusters/lab/cluster.yaml")).arg("--dist").arg(&dist);
        anyhow::Ok(command)
    };

    progress.step("measuring build-image");
    let cold = median(arguments.runs, || {
        let _ = fs::remove_dir_all(&dist);
        measure(&mut build()?)
    })?;
    let warm = median(arguments.runs, || measure(&mut build()?))?;
    progress.step("measuring how an image with the agent is made");
    let ours = median(arguments.runs, || compose(scratch.path(), &program))?;
    let umoci = match PeerSpec::named("umoci").and_then(PeerSpec::find) {
        Some(umoci) => Some(median(arguments.runs, || {
            insert(&umoci.program, scratch.path(), program.as_std_path())
        })?),
        None => None,
    };
    progress.step("measuring the agent");
    let node =
        fs::read(dist.join("nodes/n1/node.json")).context("build-image wrote no node.json")?;
    let mut starts = Vec::new();
    let mut resident = 0;
    for _ in 0..arguments.runs {
        let (start, kibibytes) = start_agent(program.as_std_path(), &node)?;
        starts.push(start);
        resident = resident.max(kibibytes);
    }
    starts.sort();

    let seconds = |duration: Duration| format!("{:.3} s", duration.as_secs_f64());
    let row = |what: &str, cost: Cost| {
        [what.to_owned(), seconds(cost.wall), seconds(cost.cpu), String::new()]
    };
    let mut rows = vec![["", "wall", "CPU", "ratio of CPU"].map(str::to_owned)];
    rows.push(row("build-image, nothing there", cold));
    rows.push(row("build-image, nothing changed", warm));
    let mut ours_row = row("an image with the agent", ours);
    if let Some(umoci) = umoci {
        ours_row[3] = format!("{:.2}", ours.cpu.as_secs_f64() / umoci.cpu.as_secs_f64());
        rows.extend([ours_row, row("  the same by umoci", umoci)]);
    } else {
        rows.push(ours_row);
    }
    rows.push([
        "agent, start to manifests".to_owned(),
        seconds(starts[starts.len() / 2]),
        String::new(),
        String::new(),
    ]);
    let size = fs::metadata(&program)?.len();
    output::print(format_args!(
        "{}agent, resident when idle: {:.1} MiB\nagent, program: {:.1} MiB\n",
        table(&rows),
        resident as f64 / 1024.0,
        size as f64 / (1 << 20) as f64
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn median(runs: u16, mut take: impl FnMut() -> Result<Cost>) -> Result<Cost> {
    let mut costs = (0..runs).map(|_| take()).collect::<Result<Vec<_>>>()?;
    costs.sort_by_key(|cost| cost.cpu);
    Ok(costs[costs.len() / 2])
}

fn measure(command: &mut Command) -> Result<Cost> {
    let (start, before) = (Instant::now(), used(UsageWho::RUSAGE_CHILDREN)?);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status =
        status.with_context(|| format!("cannot start `{}`", crate::command::line(command)))?;
    if !status.success() {
        bail!("`{}` failed", crate::command::line(command));
    }
    Ok(Cost { wall: start.elapsed(), cpu: used(UsageWho::RUSAGE_CHILDREN)?.saturating_sub(before) })
}

/// Makes the image that `umoci` makes, with the code of `build-image`.
fn compose(scratch: &Path, agent: &Utf8Path) -> Result<Cost> {
    let layout = Utf8PathBuf::try_from(scratch.join("ours"))?;
    let _ = fs::remove_dir_all(&layout);
    let entry = Entry::file("usr/bin/basalt-agent", 0o755, Source::Path(agent.to_owned()));
    let spec = Spec {
        base: Base::Scratch,
        architecture: Architecture::Amd64,
        title: "bench".to_owned(),
        version: "1".to_owned(),
        reference: "new".to_owned(),
        created: 0,
        mtime: 0,
        labels: BTreeMap::new(),
        components: vec![Component { name: "agent".to_owned(), entries: vec![entry] }],
    };
    let (start, before) = (Instant::now(), used(UsageWho::RUSAGE_SELF)?);
    basalt_image::oci::compose(&spec, &layout)?;
    Ok(Cost { wall: start.elapsed(), cpu: used(UsageWho::RUSAGE_SELF)?.saturating_sub(before) })
}

/// User and system time of this process, or of all its children that have ended.
fn used(who: UsageWho) -> Result<Duration> {
    let usage = getrusage(who)?;
    let duration = |time: TimeVal| {
        Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs())
    };
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

/// Puts the agent into a new layout with umoci.
fn insert(umoci: &Path, scratch: &Path, agent: &Path) -> Result<Cost> {
    let layout = scratch.join("umoci");
    let _ = fs::remove_dir_all(&layout);
    let image = format!("{}:new", layout.display());
    measure(Command::new(umoci).args(["init", "--layout"]).arg(&layout))?;
    measure(Command::new(umoci).args(["new", "--image", &image]))?;
    measure(
        Command::new(umoci)
            .args(["insert", "--image", &image])
            .arg(agent)
            .arg("/usr/bin/basalt-agent"),
    )
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
        if start.elapsed() > AGENT_LIMIT || agent.0.try_wait()?.is_some() {
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
