//! A machine as far as networking and mounts go: namespaces of its own, gone when dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::container::Running;
use crate::wait_for;

/// Holds the namespaces: a process that only waits.
pub(crate) struct Machine {
    holder: Child,
}

impl Machine {
    /// A network with loopback alone, where any address may be listened on, and memory over `/tmp`. What was below
    /// `shared` in `/tmp` stays visible.
    pub(crate) fn new(shared: &std::path::Path) -> Self {
        let script = format!(
            "set -e
             ip link set lo up
             echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind
             echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
             mount -t sysfs sysfs /sys
             mount --bind '{0}' /mnt
             mount -t tmpfs tmpfs /tmp
             mkdir -p '{0}'
             mount --move /mnt '{0}'
             echo ready
             exec sleep infinity",
            shared.display()
        );
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation=private", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self { holder }
    }

    pub(crate) fn id(&self) -> String {
        self.holder.id().to_string()
    }

    /// Runs a command line inside; it must succeed.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.command("sh").args(["-ec", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A program inside, to be given its arguments.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--target={}", self.id()), "--net", "--mount", "--"]).arg(program);
        command
    }

    /// Starts a container: process 1 of a process namespace of its own.
    pub(crate) fn start(&self, command: &[String]) -> Contained {
        let mut whole: Vec<String> = ["nsenter", &format!("--target={}", self.id()), "--net"]
            .into_iter()
            .chain(["--mount", "--", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .map(str::to_owned)
            .collect();
        whole.extend_from_slice(command);
        Contained { running: Running::start(&whole) }
    }

    /// A listener inside. Namespaces belong to threads, so a thread goes in and hands the socket out.
    pub(crate) fn listen(&self, address: SocketAddr) -> TcpListener {
        let network = File::open(format!("/proc/{}/ns/net", self.id())).unwrap();
        let bind = move || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind(address).unwrap()
        };
        std::thread::spawn(bind).join().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A running container.
pub(crate) struct Contained {
    pub(crate) running: Running,
}

impl Contained {
    /// Process 1 of the container, by its number outside. It comes a moment after the container was started.
    pub(crate) fn first_process(&self) -> String {
        let outer = self.running.child.id();
        let path = format!("/proc/{outer}/task/{outer}/children");
        let children = || std::fs::read_to_string(&path).unwrap_or_default();
        wait_for("a process in the container", Duration::from_secs(10), || !children().is_empty());
        children().split_whitespace().next().unwrap().to_owned()
    }

    /// Runs a probe's command inside.
    pub(crate) fn exec(&self, command: &[String]) -> Output {
        let target = format!("--target={}", self.first_process());
        let enter = ["--net", "--mount", "--pid", "--"];
        Command::new("nsenter").arg(target).args(enter).args(command).output().unwrap()
    }

    /// Kills it without warning, as the kernel does when memory is short.
    pub(crate) fn crash(mut self) {
        let id = self.first_process();
        assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
        self.running.child.wait().unwrap();
    }
}
