//! What a run costs: measuring it, and the middle one of several.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::getuid;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wait4::Wait4;

/// How long a program may take before the measurement gives up.
const LIMIT: Duration = Duration::from_secs(300);

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub wall: Duration,
    /// User and system time of the program and its children.
    pub cpu: Duration,
    /// The most memory that was resident at once, in bytes; 0 when it was not measured.
    pub peak: u64,
}

impl Cost {
    /// CPU and memory as shares of another's.
    pub(super) fn ratios(&self, other: &Cost) -> [f64; 2] {
        let memory = self.peak as f64 / other.peak as f64;
        [self.cpu.as_secs_f64() / other.cpu.as_secs_f64(), memory]
    }
}

/// The run with the middle CPU time.
pub(super) fn median(runs: u16, mut take: impl FnMut() -> Result<Cost>) -> Result<Cost> {
    let mut costs = (0..runs).map(|_| take()).collect::<Result<Vec<_>>>()?;
    costs.sort_by_key(|cost| cost.cpu);
    Ok(costs[costs.len() / 2])
}

/// Runs a program whose output nobody wants.
pub(super) fn measure(command: &mut Command) -> Result<Cost> {
    run(command.stdout(Stdio::null()))
}

/// Runs a program whose output goes to a file.
pub(super) fn measure_to(file: &Path, command: &mut Command) -> Result<Cost> {
    run(command.stdout(File::create(file)?))
}

fn run(command: &mut Command) -> Result<Cost> {
    // The kernel counts what the process had before it became the program. With a user to become, even the same one,
    // it is made by fork, which has few pages; otherwise by vfork, which has all of ours.
    command.uid(getuid().as_raw());
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).spawn();
    let mut child =
        child.with_context(|| format!("cannot start `{}`", crate::command::line(command)))?;
    let limit = Limit::of(&child)?;
    let used = child.wait4()?;
    let wall = start.elapsed();
    if limit.was_reached() {
        bail!("`{}` did not end in {} s", crate::command::line(command), LIMIT.as_secs());
    }
    if !used.status.success() {
        bail!("`{}` failed", crate::command::line(command));
    }
    Ok(Cost { wall, cpu: used.rusage.utime + used.rusage.stime, peak: used.rusage.maxrss })
}

/// Ends a program that takes too long.
struct Limit {
    has_ended: Sender<()>,
    watch: JoinHandle<bool>,
}

impl Limit {
    fn of(child: &Child) -> Result<Limit> {
        // Unlike its number, which another process may have a moment later, this is the program itself.
        let program = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let (has_ended, end) = channel();
        let watch = thread::spawn(move || {
            let is_late = end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
            is_late && pidfd_send_signal(&program, Signal::KILL).is_ok()
        });
        Ok(Limit { has_ended, watch })
    }

    fn was_reached(self) -> bool {
        drop(self.has_ended);
        self.watch.join().unwrap_or(false)
    }
}

/// Measures work of this process itself.
pub(super) fn measure_own(work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (start, before) = (Instant::now(), used()?);
    work()?;
    Ok(Cost { wall: start.elapsed(), cpu: used()?.saturating_sub(before), peak: 0 })
}

/// User and system time of this process.
fn used() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration = |time: TimeVal| {
        Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs())
    };
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

/// As a person reads it.
pub(super) fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.1 => format!("{:.1} ms", seconds * 1000.0),
        seconds => format!("{seconds:.3} s"),
    }
}

/// As a person reads it.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
