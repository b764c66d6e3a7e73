//! A switch, and machines plugged into it: nothing on it reaches the host's network, or anybody else's.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::run;
use crate::namespaces::Machine;

/// A switch with a client of its own on it; gone with everything plugged in when dropped.
#[derive(Debug)]
pub struct Switch {
    /// Keeps the network namespace.
    holder: Child,
}

/// The switch's own interface: what a client beside the machines sees.
const CLIENT: &str = "switch0";
/// Given, so that it stays: the kernel's own choice is the lowest of the plugged-in ports, and a machine that loses
/// power would give the client another address, which its neighbours learn half a minute late.
const CLIENT_MAC: &str = "02:00:00:00:00:01";

impl Switch {
    /// A switch whose client has `addresses`, as `192.0.2.1/24` or `2001:db8:2::1/64`.
    ///
    /// # Errors
    /// When namespaces cannot be made.
    pub fn new(addresses: &[&str]) -> Result<Switch> {
        let script = format!(
            "ip link set lo up; ip link add {CLIENT} address {CLIENT_MAC} type bridge; ip link set {CLIENT} up; echo up; exec sleep infinity"
        );
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-ec", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot make a network namespace")?;
        let mut line = String::new();
        let output = holder.stdout.take().context("it has a pipe")?;
        BufReader::new(output).read_line(&mut line)?;
        let switch = Switch { holder };
        ensure!(line == "up\n", "the switch did not come up");
        for address in addresses {
            switch.add_address(address)?;
        }
        Ok(switch)
    }

    /// Gives the client one more address.
    ///
    /// # Errors
    /// When it has it already.
    pub fn add_address(&self, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", CLIENT, "nodad"])
    }

    /// Plugs in a machine: its interface `name` gets `addresses` and is up.
    ///
    /// # Errors
    /// When the machine has such an interface already.
    pub fn plug(&self, machine: &Machine, name: &str, addresses: &[&str]) -> Result<()> {
        let port = port(machine, name);
        let init = machine.init_pid().to_string();
        let add = ["link", "add", &port, "type", "veth", "peer", "name", name, "netns", &init];
        self.ip(&add)?;
        self.ip(&["link", "set", &port, "master", CLIENT, "up"])?;
        for address in addresses {
            // Nobody else has it: waiting to find that out would take a second.
            machine.output(&["ip", "address", "add", address, "dev", name, "nodad"])?;
        }
        machine.output(&["ip", "link", "set", name, "up"])?;
        Ok(())
    }

    /// Cuts the wire of a machine's interface: it sees the carrier go.
    ///
    /// # Errors
    /// When it is not plugged in.
    pub fn unplug(&self, machine: &Machine, name: &str) -> Result<()> {
        self.ip(&["link", "set", &port(machine, name), "down"])
    }

    /// Brings the wire back that [`Switch::unplug`] cut.
    ///
    /// # Errors
    /// When it is not plugged in.
    pub fn replug(&self, machine: &Machine, name: &str) -> Result<()> {
        self.ip(&["link", "set", &port(machine, name), "up"])
    }

    /// Splits the network: isolated machines reach the client, which reaches everybody, but not each other.
    ///
    /// # Errors
    /// When it is not plugged in.
    pub fn isolate(&self, machine: &Machine, name: &str, isolated: bool) -> Result<()> {
        let state = if isolated { "on" } else { "off" };
        let port = port(machine, name);
        run(self.command("bridge").args(["link", "set", "dev", &port, "isolated", state])).map(drop)
    }

    /// A program in the place of the client.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--").arg(program);
        command
    }

    /// Runs a program in the place of the client, and gives its exit status and what it printed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        let (program, arguments) = command.split_first().context("a command has a program")?;
        Ok(self.command(program).args(arguments).stdin(Stdio::null()).output()?)
    }

    /// The path of the network namespace, for whoever enters it by system call.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        run(self.command("ip").args(arguments)).map(drop)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The switch's end of a machine's interface. Names of interfaces have 15 bytes at most.
fn port(machine: &Machine, name: &str) -> String {
    format!("p{}-{name}", machine.init_pid()).chars().take(15).collect()
}
