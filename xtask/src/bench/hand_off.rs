//! A standalone node that joins a real cluster: how soon the cluster takes it for ready, and what those notice who use it.
//! What it then runs is measured by [`super::bundle`].

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::control_plane::{ControlPlane, Wishes};
use e2e::hand_off::prober::Prober;
use e2e::hand_off::{self, Yard, is_ready};
use e2e::namespaces::Machine;
use e2e::wait::until;

use super::cost::seconds;
use super::{agent as lab, bundle};
use crate::build_image::agent;
use crate::output;
use crate::progress::Progress;

const LIMIT: Duration = Duration::from_secs(180);

/// What one switch took.
struct Switch {
    ready: Duration,
    committed: Duration,
}

/// Measures and prints: `runs` switches of one node, and as many bundles on as many clusters.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let program = agent::build(progress)?;
    let yard = Yard::of(program.clone().into_std_path_buf())
        .context("a program is missing: `cargo xtask peers` gets it")?;
    progress.step("booting a node and a cluster");
    let switch = Yard::switch()?;
    let plane = yard.plane(&switch, Wishes::default())?;
    let tree = yard.tree(&yard.node(&plane, "manual")?)?;
    let machine = Yard::boot(tree, &switch)?;
    hand_off::put_certificates(&machine, &hand_off::certificates(plane.authority(), "n1")?)?;
    let status = ["basalt-agent", "status", "--output", "json"];
    until("the node to serve", LIMIT, || {
        let status = machine.output(&status).ok()?;
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        (status["phase"]["name"] == "serving").then_some(())
    })?;
    let prober = Prober::start(&switch, &yard)?;
    let mut switches = Vec::new();
    for run in 1..=runs {
        progress.step(format!("joining (run {run} of {runs})"));
        switches.push(join(&machine, &plane, run)?);
        progress.step(format!("leaving (run {run} of {runs})"));
        machine.output(&["basalt-agent", "leave"])?;
        plane.kubectl(&["delete", "node", "n1"])?;
    }
    let middle = |of: fn(&Switch) -> Duration| {
        let mut all: Vec<Duration> = switches.iter().map(of).collect();
        all.sort();
        all[all.len() / 2]
    };
    let worst = switches.iter().map(|it| it.ready).max().unwrap_or_default();
    output::print(format_args!(
        "hand-off, switch to Ready: {} (the slowest of {runs}: {}, goal {})\n\
         hand-off, switch to committed: {}\n",
        seconds(middle(|it| it.ready)),
        seconds(worst),
        seconds(GOAL),
        seconds(middle(|it| it.committed)),
    ))?;
    for count in prober.counts()? {
        output::print(format_args!(
            "hand-off, probes through the {} during {runs} ways in and out: {} of {} lost\n",
            count.way, count.lost, count.asked
        ))?;
    }
    drop((prober, machine, plane));
    bundle::run(program.as_std_path(), &lab::node()?, runs, progress)
}

/// How soon a node is to be ready.
const GOAL: Duration = Duration::from_secs(10);

/// Has the node join a cluster that does not know it.
fn join(machine: &Machine, plane: &ControlPlane<'_>, run: u16) -> Result<Switch> {
    let unit = format!("--unit=join-{run}");
    machine.output(&["systemd-run", &unit, "basalt-agent", "join"])?;
    let is_at = |wanted: &'static [&str]| {
        move || {
            hand_off::stage(machine)
                .is_ok_and(|stage| wanted.contains(&stage.as_str()))
                .then_some(())
        }
    };
    until("the switch", LIMIT, is_at(&["switching", "proving", "joined"]))?;
    let switched = Instant::now();
    until("the node to be ready", LIMIT, || is_ready(plane).then_some(()))?;
    let ready = switched.elapsed();
    until("the node to be a member", LIMIT, is_at(&["joined"]))?;
    Ok(Switch { ready, committed: switched.elapsed() })
}
