//! What is on the wire before keepalived speaks: routers and addresses of others, found by the agent on a node.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::checkout;
use e2e::namespaces::Machine;
use e2e::network::Switch;
use e2e::peers::peer;
use e2e::programs;
use e2e::tree::Tree;
use e2e::wait::until;

/// A keepalived that nobody told the node of.
struct Rogue(Child);

impl Rogue {
    fn start(program: &Path, switch: &Switch, folder: &Path, id: u8, address: &str) -> Rogue {
        let config = folder.join("rogue.conf");
        let text = format!(
            "vrrp_instance rogue {{
  interface switch0
  virtual_router_id {id}
  priority 10
  advert_int 1
  virtual_ipaddress {{ {address} }}
}}
"
        );
        fs::write(&config, text).unwrap();
        let pids = ["pid", "vrrp"].map(|name| folder.join(name).display().to_string());
        let mut command: Command = switch.command(program.to_str().unwrap());
        command.args(["--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--use-file"]);
        command.arg(&config).args(["--pid", &pids[0], "--vrrp_pid", &pids[1]]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Rogue(command.spawn().unwrap())
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        // In order, so that it takes its address back.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

struct Node {
    machine: Machine,
}

impl Node {
    fn preflight(&self) -> (Option<i32>, String) {
        let output = self.machine.run(&["basalt-agent", "preflight"]).unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn check(&self, code: i32, said: &[&str]) {
        let (status, text) = self.preflight();
        for said in said {
            assert!(text.contains(said), "`{said}` is not in:\n{text}");
        }
        assert_eq!(status, Some(code), "{text}");
    }
}

#[test]
fn what_is_in_the_way_is_named() {
    let (Some(tree), Some(other)) = (Tree::debian(), Tree::debian()) else { return };
    let (Some(keepalived), Some(agent)) = (peer("keepalived"), programs::agent()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let model = checkout::root().join("static-pods/tests/lab/n1.json");
    tree.write("/etc/basalt/node.json", fs::read(model).unwrap(), 0o600).unwrap();
    tree.write("/usr/bin/basalt-agent", fs::read(agent).unwrap(), 0o755).unwrap();
    let switch = Switch::new(&["192.0.2.1/24", "2001:db8:2::1/64"]).unwrap();
    let node = Node { machine: Machine::boot(tree).unwrap() };
    switch.plug(&node.machine, "bond0", &["192.0.2.11/24", "2001:db8:2::11/64"]).unwrap();
    let shown = switch.run(&["ip", "-json", "link", "show", "switch0"]).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let hardware = shown[0]["address"].as_str().unwrap().to_owned();
    node.check(0, &["nothing is in the way of api-ipv4, api-ipv6"]);

    // Another router under the same identifier, for another address.
    let rogue = Rogue::start(&keepalived.program, &switch, folder.path(), 51, "198.51.100.1/24");
    let found = || node.preflight().1.contains("virtual router 51").then_some(());
    until("the rogue to be heard", Duration::from_secs(60), found).unwrap();
    node.check(1, &["`api-ipv4` is used by 192.0.2.1", &hardware, "198.51.100.1", "hint: "]);
    drop(rogue);

    // The addresses themselves, IPv4 and IPv6, with nobody speaking VRRP.
    for (address, length) in [("192.0.2.10", "24"), ("2001:db8:2::10", "64")] {
        let own = format!("{address}/{length}");
        let change = |verb: &str| {
            let command = ["ip", "address", verb, &own, "dev", "switch0"];
            assert!(switch.run(&command).unwrap().status.success());
        };
        change("add");
        node.check(1, &[&format!("{address} of `api-ipv"), &hardware, "which is no peer"]);
        change("del");
    }

    // A peer may have them.
    let peer = node.machine.boot_beside(other).unwrap();
    let addresses = ["192.0.2.12/24", "2001:db8:2::12/64", "192.0.2.10/24", "2001:db8:2::10/64"];
    switch.plug(&peer, "eth0", &addresses).unwrap();
    // The node's kernel believes for up to 45 seconds what it learned before.
    let clear = || (node.preflight().0 == Some(0)).then_some(());
    until("the peer to be known", Duration::from_secs(120), clear).unwrap();

    // The address moved into a bridge: that is where the instance runs from now on.
    let bridge =
        "ip link add br-ex type bridge; ip link set br-ex up; ip link set bond0 master br-ex;
        ip address flush dev bond0; ip address add 192.0.2.11/24 dev br-ex;
        ip address add 2001:db8:2::11/64 dev br-ex nodad";
    node.machine.output(&["sh", "-ec", bridge]).unwrap();
    node.check(0, &["`api-ipv4` runs on `br-ex`", "instead of `bond0`"]);
}
