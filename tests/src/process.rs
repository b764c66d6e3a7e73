//! A program that runs beside the test, and what a test does to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// A running program; killed when dropped, and when this process ends otherwise.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
    /// Ends the thread that the process belongs to.
    _keeper: Sender<()>,
}

/// How much of a log an error shows.
const LOG_LINES: usize = 30;
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl Process {
    /// Starts the program and the arguments of `command`; what it prints is added to `log`.
    pub(crate) fn start(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL", "--"]);
        guarded.arg(command.get_program()).args(command.get_args());
        guarded.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let (keeper, end) = channel();
        let (started, start) = channel();
        // The kernel kills the child with the thread that started it, and a program may outlive the test that did: so it
        // belongs to a thread that does nothing else.
        thread::spawn(move || {
            let _ = started.send(guarded.spawn());
            let _ = end.recv();
        });
        let child = start.recv().context("the thread of the program ended")?;
        let child = child.with_context(|| format!("cannot start `{name}`"))?;
        let (name, log) = (name.to_owned(), log.to_owned());
        Ok(Self { name, child: Mutex::new(child), log, _keeper: keeper })
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Says that it ended, when it did, with the end of its log.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(status) = self.child().try_wait()? else { return Ok(()) };
        anyhow::bail!("`{}` ended with {status}:\n{}", self.name, self.log_end())
    }

    /// The end of what it wrote.
    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child().id().try_into()?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to `{}`", self.name))
    }

    /// Stops it in its tracks: connections are accepted by the kernel, nothing answers. Waits until every thread has
    /// stopped: the signal alone may come after the next answer.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let threads = format!("/proc/{}/task", self.child().id());
        let is_stopped = |folder: PathBuf| {
            let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
            // One that has ended since it was listed answers nobody either.
            !status.lines().any(|line| line.starts_with("State:") && !line.contains("T ("))
        };
        Ok(wait::until(&format!("`{}` to stop", self.name), STOP_LIMIT, || {
            let mut threads = fs::read_dir(&threads).ok()?.flatten();
            threads.all(|thread| is_stopped(thread.path())).then_some(())
        })?)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Its exit status is of no interest.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
