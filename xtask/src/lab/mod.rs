//! `lab`: the whole product on this machine, without hardware.
//!
//! `up` starts a [`keeper`]: one process that holds everything and ends it, so that nothing outlives it. What others
//! have to know stands in its [`state`].

mod keeper;
mod leftovers;
mod operator;
mod state;
mod status;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e::{namespaces, needs, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::state::State;
use crate::build_image::agent;
use crate::output::{self, Format};
use crate::progress::Progress;

/// How long the lab may take to end: three machines, their pods and their file systems.
const END_LIMIT: Duration = Duration::from_secs(60);
/// The first word of a line by which the keeper says that all is up; the others are stages.
const READY: &str = "ready";

/// Show the product on this machine: three nodes in namespaces, with everything around them.
///
/// Needs Linux, root, and the programs that `cargo xtask peers` gets. The nodes are real but for their kernel and disk:
/// systemd, containerd, the kubelet, haproxy, keepalived and basalt-agent, provisioned by the real Ignition from what
/// `build-image` makes. They log in to an OpenBao, get their certificates there, and join a Kubernetes cluster. Nothing of
/// them reaches a network, and `down` leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start the lab, and wait until every node has proven its pods and joined the cluster.
    Up {
        /// The agent that the nodes run; the checkout's own, built as it is shipped, when absent.
        #[arg(long, value_name = "FILE")]
        agent: Option<camino::Utf8PathBuf>,
    },
    /// Say what runs, what each node says of itself, and what to try.
    Status {
        /// Form of the output.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Run a shell on a node, or the command after `--`.
    ///
    /// `operator` is no node but the place of whoever runs Vault and the cluster: kubectl and bao may do everything there.
    Shell {
        /// Name of the node, or `operator`.
        node: String,
        /// A command and its arguments.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// End the lab, and check that nothing is left of it.
    Down,
    /// Hold the lab; started by `up`.
    #[command(hide = true)]
    Keep {
        /// The agent that the nodes run.
        agent: std::path::PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Up { agent } => up(agent.as_deref(), progress),
        Verb::Status { output } => status::print(&running()?, *output),
        Verb::Shell { node, command } => shell(&running()?, node, command),
        Verb::Down => down(progress),
        Verb::Keep { agent } => keeper::keep(agent.clone()),
    }
}

fn running() -> Result<State> {
    State::read()?.context("no lab is up: `cargo xtask lab up` starts one")
}

fn up(agent: Option<&Utf8Path>, progress: &Progress) -> Result<ExitCode> {
    if let Some(state) = State::read()? {
        output::say(format_args!("the lab is up since {} already", state.since()));
        return status::print(&state, Format::Text);
    }
    if !needs::is_root() {
        bail!("the lab needs root: it makes namespaces, mounts and network interfaces");
    }
    let agent = agent::find(agent, progress)?.program.canonicalize_utf8()?;
    let mut keeper = Command::new(std::env::current_exe()?);
    keeper.args(["lab", "keep"]).arg(&agent);
    keeper.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(State::log()?);
    // In a group of its own, so that what the terminal sends to us does not reach it.
    keeper.process_group(0);
    let mut keeper = keeper.spawn().context("cannot start the keeper of the lab")?;
    let stages = keeper.stdout.take().context("it has a pipe")?;
    for line in BufReader::new(stages).lines() {
        match line?.as_str() {
            READY => return status::print(&running()?, Format::Text),
            stage => progress.step(stage),
        }
    }
    let status = keeper.wait()?;
    let log = std::fs::read_to_string(State::log_path()).unwrap_or_default();
    bail!("the lab did not come up ({status}):\n{}", log.trim_end());
}

/// The name of the place that is no node.
const OPERATOR: &str = "operator";

fn shell(state: &State, name: &str, command: &[String]) -> Result<ExitCode> {
    if name == OPERATOR {
        return Err(operator::enter(&state.operator, command)?).context("cannot enter");
    }
    let Some(node) = state.nodes.iter().find(|node| node.name == name) else {
        let names: Vec<&str> = state.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!(
            "there is no node `{name}`; the nodes are {}, and there is `{OPERATOR}`",
            names.join(", ")
        );
    };
    let mut inside = namespaces::inside(node.init);
    match command {
        [] => inside.args(["sh", "-c", "cd; exec bash -l"]),
        command => inside.args(command),
    };
    if let Some(terminal) = std::env::var_os("TERM") {
        inside.env("TERM", terminal);
    }
    inside.env("HOME", "/root");
    Err(inside.exec()).context("cannot enter the node")
}

fn down(progress: &Progress) -> Result<ExitCode> {
    let state = State::read().ok().flatten();
    let machines: Vec<String> = state.iter().flat_map(State::machines).collect();
    if let Some(keeper) = state::keeper()? {
        progress.step("ending the lab");
        kill(Pid::from_raw(keeper), Signal::SIGTERM).context("cannot end the lab's keeper")?;
        let ended = || state::keeper().is_ok_and(|keeper| keeper.is_none()).then_some(());
        wait::until("the lab to end", END_LIMIT, ended)?;
    } else {
        progress.step("no lab is up");
    }
    let left = leftovers::clear(&machines)?;
    if !left.is_empty() {
        bail!("something is left of a lab:\n{}", left.join("\n"));
    }
    progress.step("nothing is left of it: no process, mount, namespace or cgroup");
    Ok(ExitCode::SUCCESS)
}
