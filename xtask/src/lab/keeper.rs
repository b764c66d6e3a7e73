//! The process that holds the lab: everything in it ends with this one, whatever ends this one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use e2e::showcase::Showcase;
use nix::sys::signal::{SigSet, Signal};

use super::READY;
use super::state::{NodeState, Service, State};

/// Starts the lab, says so, and holds it until it is told to end.
///
/// # Errors
/// When a part does not start.
pub(super) fn keep(agent: PathBuf) -> Result<ExitCode> {
    let held = State::hold()?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Before anything has threads of its own, so that all of them leave these signals to the one that waits for them.
    signals.thread_block().context("cannot wait for signals")?;
    let is_up = Arc::new(AtomicBool::new(false));
    let (told, to_end) = mpsc::channel();
    std::thread::spawn({
        let is_up = Arc::clone(&is_up);
        move || {
            let _ = signals.wait();
            // Half a lab is not waited for: its machines end with this process, `down` clears away the rest.
            if !is_up.load(Ordering::SeqCst) || told.send(()).is_err() {
                std::process::exit(i32::from(crate::FAILED));
            }
        }
    });
    let start = Instant::now();
    let started_unix_seconds =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // `up` may be interrupted; then nobody wants what is being started.
    let mut gone = None;
    let mut tell = |stage: &str| {
        if let Err(error) = writeln!(io::stdout().lock(), "{stage}") {
            gone = Some(error);
        }
    };
    let showcase = Showcase::start(std::env::current_exe()?, agent, &mut tell)?;
    if let Some(error) = gone {
        return Err(error).context("nobody waits for the lab any more");
    }
    let state = State {
        keeper: std::process::id() as i32,
        started_unix_seconds,
        start_seconds: start.elapsed().as_secs(),
        nodes: showcase.nodes().iter().map(node_state).collect(),
        services: (showcase.services().into_iter())
            .map(|(name, address)| Service { name, address })
            .collect(),
        operator: showcase.operator()?,
    };
    state.write()?;
    is_up.store(true, Ordering::SeqCst);
    writeln!(io::stdout().lock(), "{READY}")?;
    to_end.recv().context("nobody waits for signals any more")?;
    drop(showcase);
    drop(held);
    Ok(ExitCode::SUCCESS)
}

fn node_state(node: &e2e::fleet::FleetNode) -> NodeState {
    NodeState {
        name: node.place.name.to_owned(),
        init: node.machine.init_pid(),
        addresses: node.place.addresses.iter().map(|address| (*address).to_owned()).collect(),
        cgroup: node.machine.cgroup(),
    }
}
