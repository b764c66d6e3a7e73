//! Machines in namespaces: the real systemd as pid 1 over a root tree, in milliseconds instead of a virtual machine's
//! half minute.
//!
//! A machine has its own processes, mounts, network, host name and cgroup; it shares the kernel. It cannot outlive the
//! test: it is killed with the thread that booted it, so it cannot be sent to another one either.

use std::fs::{self, File};
use std::marker::PhantomData;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cache;
use crate::cgroup::Cgroup;
use crate::console::Console;
use crate::tree::Tree;
use crate::wait;

/// A booted machine. Dropped, it loses power; when the test is failing, the end of its console is shown.
#[derive(Debug)]
pub struct Machine {
    // Dropped first: the tree is in use until then.
    running: Running,
    tree: Tree,
}

/// The processes of a machine, and what belongs to them.
#[derive(Debug)]
struct Running {
    /// unshare, the parent of the machine's pid 1.
    parent: Child,
    /// The machine's pid 1, as this machine numbers it.
    init: Pid,
    console: Console,
    cgroup: Cgroup,
    /// Held while the machine runs: few tests have machines at once, across threads and test binaries, so that time limits
    /// mean something. Those of one test share it.
    turn: Rc<File>,
    _stays_in_its_thread: PhantomData<*const ()>,
}

/// So many tests have machines at once: they wait most of the time, and more would wait for each other.
const SCENES: usize = 2;
/// A boot takes a second; a busy machine may take its time.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
const POWEROFF_LIMIT: Duration = Duration::from_secs(60);
/// Seconds a command may run inside; after them it is killed and fails.
const COMMAND_LIMIT: &str = "60";
const CONSOLE_LINES: usize = 60;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Machine {
    /// Boots `tree` and waits until systemd has started everything, or given up on parts of it.
    ///
    /// # Errors
    /// When it does not boot in time: with the end of its console.
    pub fn boot(tree: Tree) -> Result<Machine> {
        Machine::boot_in_turn(tree, Rc::new(cache::place("machine", SCENES)?))
    }

    /// Boots another machine while this one runs; see [`Machine::boot`].
    ///
    /// # Errors
    /// When it does not boot in time.
    pub fn boot_beside(&self, tree: Tree) -> Result<Machine> {
        Machine::boot_in_turn(tree, Rc::clone(&self.running.turn))
    }

    fn boot_in_turn(tree: Tree, turn: Rc<File>) -> Result<Machine> {
        let console = Console::new(&tree.beside().join("console.log"))?;
        let cgroup = Cgroup::new(tree.name())?;
        let mut parent = start(&tree, &console, &cgroup)?;
        let init = match find_init(&mut parent) {
            Ok(init) => init,
            Err(error) => {
                let _ = parent.kill().and_then(|()| parent.wait());
                return Err(error.context(format!("it printed:\n{}", console.finish())));
            }
        };
        let _stays_in_its_thread = PhantomData;
        let running = Running { parent, init, console, cgroup, turn, _stays_in_its_thread };
        let machine = Machine { running, tree };
        let booted = wait::until("the machine to boot", BOOT_LIMIT, || {
            let state = machine.run(&["systemctl", "is-system-running"]).ok()?;
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded", "maintenance"].contains(&state.as_str()).then_some(())
        });
        booted.with_context(|| format!("the console says:\n{}", machine.console_end()))?;
        Ok(machine)
    }

    /// Runs a command inside, as root, and gives its exit status and what it printed.
    ///
    /// # Errors
    /// When it cannot be started. A command that fails is no error here.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        let mut limited = Command::new("timeout");
        limited.args(["--kill-after=5", COMMAND_LIMIT]);
        enter(&mut limited, self.init_pid()).args(command);
        limited.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))
    }

    /// Runs a command inside that has to succeed, and gives its standard output without the final newline.
    ///
    /// # Errors
    /// When it fails: with everything it printed.
    pub fn output(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{command:?} failed in the machine ({}):\n{stdout}{stderr}", output.status);
        }
        Ok(stdout.trim_end().to_owned())
    }

    /// The units that failed, by name.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn failed_units(&self) -> Result<Vec<String>> {
        let list =
            self.output(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"])?;
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(list.lines().filter_map(name).collect())
    }

    /// One property of a unit, as `systemctl show` prints it.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        self.output(&["systemctl", "show", "--value", "--property", property, unit])
    }

    /// The main process of a service, as the machine numbers it; `None` while it has none.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn main_pid(&self, service: &str) -> Result<Option<u32>> {
        let pid: u32 = self.property(service, "MainPID")?.parse()?;
        Ok((pid != 0).then_some(pid))
    }

    /// Kills the main process of a service with SIGKILL, as running out of memory would, and gives its pid.
    ///
    /// # Errors
    /// When it has no main process.
    pub fn kill_main(&self, service: &str) -> Result<u32> {
        let pid = self.main_pid(service)?.with_context(|| format!("`{service}` has no process"))?;
        self.output(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", service])?;
        Ok(pid)
    }

    /// Waits until a unit's `ActiveState` is `state`: `active`, `inactive`, `failed`.
    ///
    /// # Errors
    /// When it is not in time: with the unit's status.
    pub fn wait_for_unit(&self, unit: &str, state: &str, limit: Duration) -> Result<()> {
        let is_there = || self.property(unit, "ActiveState").ok().filter(|seen| seen == state);
        let reached = wait::until(&format!("`{unit}` to be {state}"), limit, is_there);
        reached.map(drop).with_context(|| {
            let status = self.run(&["systemctl", "status", "--full", "--no-pager", unit]);
            status.map_or_else(
                |error| error.to_string(),
                |output| String::from_utf8_lossy(&output.stdout).into_owned(),
            )
        })
    }

    /// Waits until a service runs with another main process than `old`, and gives the new one.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_for_restart(&self, service: &str, old: u32, limit: Duration) -> Result<u32> {
        let look = || self.main_pid(service).ok().flatten().filter(|pid| *pid != old);
        Ok(wait::until(&format!("`{service}` to be restarted"), limit, look)?)
    }

    /// Lets other tests boot machines while this one and those beside it go on: for machines that stay.
    ///
    /// # Errors
    /// When the lock cannot be given back.
    pub fn end_turn(&self) -> std::io::Result<()> {
        self.running.turn.unlock()
    }

    /// The machine's root folder with everything it has mounted, which [`Tree::root`] does not show.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.running.init))
    }

    /// The tree it runs from.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What it wrote to its console so far, its journal among it.
    pub fn console(&self) -> String {
        self.running.console.text()
    }

    /// Its pid 1, as this machine numbers it.
    pub fn init_pid(&self) -> i32 {
        self.running.init.as_raw()
    }

    /// The folder of its cgroup.
    pub fn cgroup(&self) -> PathBuf {
        self.running.cgroup.path().to_owned()
    }

    /// Shuts down in order, and gives the tree back: it can be looked at, or booted again.
    ///
    /// # Errors
    /// When it does not power off in time, or not by itself: with the end of its console.
    pub fn poweroff(mut self) -> Result<Tree> {
        // systemd may be gone before its answer is.
        self.run(&["systemctl", "poweroff"])?;
        let parent = &mut self.running.parent;
        let ended = wait::until("the machine to power off", POWEROFF_LIMIT, || {
            parent.try_wait().ok().flatten()
        });
        let status = ended.with_context(|| self.console_end())?;
        // The kernel ends a pid namespace that powers off as if its pid 1 had got SIGINT (reboot(2)), and unshare does
        // the same as its child.
        let is_clean = status.signal() == Some(Signal::SIGINT as i32);
        ensure!(is_clean, "the machine ended with {status}:\n{}", self.console_end());
        Ok(self.tree)
    }

    /// Loses power, and gives the tree back as it is at that moment.
    pub fn cut(self) -> Tree {
        let Machine { running, tree } = self;
        drop(running);
        tree
    }

    fn console_end(&self) -> String {
        end_of(&self.console())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the console of the machine:\n{}", end_of(&self.console.text()));
        }
        if matches!(self.parent.try_wait(), Ok(None)) {
            // With its pid 1 everything in the machine dies; unshare ends after all of it is gone.
            let _ = kill(self.init, Signal::SIGKILL);
            let _ = self.parent.wait();
        }
    }
}

/// A command inside the machine whose pid 1 this machine numbers `init`, as root: add the program and its arguments.
pub fn inside(init: i32) -> Command {
    let mut command = Command::new("env");
    enter(&mut command, init);
    command
}

/// Has `command`, which starts what it is given, start something in the machine of `init`.
fn enter(command: &mut Command, init: i32) -> &mut Command {
    command.args(["nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
    command.arg(format!("--target={init}")).arg("--");
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("SYSTEMD_COLORS", "0")
}

/// Moves the shell into the cgroups it is given, up to `--`, and becomes what is behind that.
const ENTER_CGROUPS: &str =
    "while [ \"$1\" != -- ]; do echo $$ >\"$1\"/cgroup.procs; shift; done; shift; exec \"$@\"";

/// Starts the namespaces with the boot script in them.
fn start(tree: &Tree, console: &Console, cgroup: &Cgroup) -> Result<Child> {
    let script = tree.beside().join("boot.sh");
    fs::write(&script, include_str!("boot.sh"))?;
    let mut command = Command::new("setpriv");
    // The kernel kills unshare with our thread, and the machine's pid 1 with unshare.
    command.args(["--pdeathsig", "KILL"]);
    command.args(["sh", "-ec", ENTER_CGROUPS, "sh"]).args(cgroup.paths()).arg("--");
    command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc"]);
    command.args(["--net", "--cgroup", "sh"]).arg(&script).arg(tree.root()).arg(console.device());
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    command.stdout(console.open()?).stderr(console.open()?);
    command.spawn().with_context(|| format!("cannot start {command:?}"))
}

/// Waits until the boot script has become systemd. Before that, commands would run in the host's file systems.
fn find_init(parent: &mut Child) -> Result<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let found = wait::until("systemd to start", BOOT_LIMIT, || {
        if let Ok(Some(status)) = parent.try_wait() {
            return Some(Err(anyhow::anyhow!("the machine ended with {status} before it booted")));
        }
        let pid: i32 = fs::read_to_string(&children).ok()?.split(' ').next()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "systemd").then(|| Ok(Pid::from_raw(pid)))
    });
    found?
}

fn end_of(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
}
