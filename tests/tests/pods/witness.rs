//! The witness: haproxy of one node says whether it reaches the address that another node holds, and the agent of the
//! holder asks it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use basalt_model::node::{HealthCheck, Node, ProxyMode};
use e2e::programs;
use serde_json::Value;

use crate::keepalived::{PATIENCE, Station, serving};
use crate::moves::{pair, programs};
use crate::wait_for;

const PORT: u16 = 9446;

/// A node with a frontend for each way to look at one but TLS, on the virtual address: bytes, HTTP, PROXY protocol.
fn node(name: &str) -> Node {
    let mut node = serving(name);
    (node.vault, node.vault_agent) = (None, None);
    let haproxy = node.haproxy.as_mut().unwrap();
    for (name, mode, port) in [("web", ProxyMode::Http, 8080), ("mail", ProxyMode::Tcp, 8025)] {
        let mut frontend = haproxy.frontends[0].clone();
        frontend.name = name.parse().unwrap();
        frontend.mode = mode;
        frontend.accept_proxy = mode == ProxyMode::Tcp;
        frontend.check = HealthCheck::connect();
        frontend.binds = vec![format!("0.0.0.0:{port}").parse().unwrap()];
        haproxy.frontends.push(frontend);
    }
    node
}

/// The status by which the witness of n2 answers `path` from an address of n1; 0 when it does not answer.
fn status(n1: &Station<'_>, source: &str, path: &str) -> u16 {
    let host = if source.contains(':') { "[2001:db8:2::12]" } else { "192.0.2.12" };
    let url = format!("http://{host}:{PORT}{path}");
    let mut curl = n1.machine.command("curl");
    curl.args(["--silent", "--max-time", "5", "--interface", source]);
    curl.args(["--output", "/dev/null", "--write-out", "%{http_code}", &url]);
    String::from_utf8(curl.output().unwrap().stdout).unwrap().parse().unwrap()
}

#[test]
fn the_other_node_says_what_it_reaches() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [n1, n2] = pair(&["n1", "n2"].map(node), folder.path(), &programs);
    let (own, own6) = ("192.0.2.11", "2001:db8:2::11");
    let paths = ["/192.0.2.10/6443", "/192.0.2.10/8080", "/192.0.2.10/8025"];
    let path6 = "/2001:db8:2::10/6443";
    wait_for("n2 reaches everything", PATIENCE, || {
        paths.iter().all(|path| status(&n1, own, path) == 200) && status(&n1, own6, path6) == 200
    });
    assert_eq!(status(&n1, own, "/192.0.2.10/22"), 404);
    assert_eq!(status(&n1, own, "/metrics"), 404);
    assert_eq!(status(&n1, "192.0.2.10", paths[0]), 0, "only the other nodes are answered");

    n2.machine.run("ip route add unreachable 192.0.2.10/32");
    wait_for("n2 reaches nothing by IPv4", PATIENCE, || {
        paths.iter().all(|path| status(&n1, own, path) == 503)
    });
    assert_eq!(status(&n1, own6, path6), 200);
    n2.machine.run("ip route delete unreachable 192.0.2.10/32");
    wait_for("n2 reaches it again", PATIENCE, || status(&n1, own, paths[0]) == 200);
}

/// An agent on the machine of a node: no kubelet, no container runtime.
struct Agent<'a> {
    station: &'a Station<'a>,
    program: &'a Path,
    root: &'a Path,
    service: Child,
}

impl<'a> Agent<'a> {
    fn start(station: &'a Station<'a>, node: &Node, program: &'a Path, root: &'a Path) -> Self {
        fs::create_dir_all(root.join("etc/basalt/agent.conf.d")).unwrap();
        fs::write(root.join("etc/basalt/node.json"), node.to_json()).unwrap();
        // Without a container runtime no generation can begin by proofs; they are looked at once it has.
        let proof = |by: &str| {
            let text = format!(r#"{{"generations": {{"proof": "{by}"}}}}"#);
            fs::write(root.join("etc/basalt/agent.conf.d/50-proof.json"), text).unwrap();
        };
        proof("none");
        let mut command = Self::command(station, program, root);
        let log = fs::File::create(root.join("log")).unwrap();
        let service = command.arg("run").stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let agent = Agent { station, program, root, service };
        let last = root.join("etc/kubernetes/manifests/keepalived.yaml");
        wait_for("the generation is in place", PATIENCE, || last.exists());
        proof("probes");
        agent
    }

    fn command(station: &Station<'_>, program: &Path, root: &Path) -> Command {
        let mut command = station.machine.command(program);
        command.arg("--root").arg(root);
        command
    }

    /// What the agent's status says of the outcome at a port of 192.0.2.10: its code and the evidence.
    fn outcome(&self, port: u16) -> Option<(String, String)> {
        let mut command = Self::command(self.station, self.program, self.root);
        let output = command.args(["status", "--output", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let name = format!("192.0.2.10 outcome port {port}");
        let items = status["items"].as_array()?;
        let item = items.iter().find(|item| item["kind"] == "probe" && item["name"] == name)?;
        Some((item["state"].as_str()?.to_owned(), item.to_string()))
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.root.join("log")).unwrap_or_default();
            eprintln!("log of the agent:\n{log}\nits outcome: {:?}", self.outcome(6443));
        }
    }
}

#[test]
fn a_holder_learns_from_the_other_node_that_nobody_reaches_it() {
    let (Some(programs), Some(agent)) = (programs(), programs::agent()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let nodes = ["n1", "n2"].map(node);
    let [n1, n2] = pair(&nodes, folder.path(), &programs);
    let root = folder.path().join("agent");
    let agent = Agent::start(&n1, &nodes[0], &agent, &root);
    let says = |words: &str| agent.outcome(6443).is_some_and(|(_, text)| text.contains(words));
    wait_for("n2 reaches what n1 holds", PATIENCE, || says("; reached by 192.0.2.12"));
    assert_eq!(agent.outcome(6443).unwrap().0, "ok");
    n2.machine.run("ip route add unreachable 192.0.2.10/32");
    wait_for("n2 does not", PATIENCE, || says("not reached by 192.0.2.12"));
    assert_ne!(agent.outcome(6443).unwrap().0, "ok");
    // A node whose neighbours are all away is not to go back to an older generation for that.
    n2.machine.run("ip route add unreachable 192.0.2.11/32");
    wait_for("nobody says anything", PATIENCE, || says("nobody else says whether it is reached"));
    assert_eq!(agent.outcome(6443).unwrap().0, "ok");
}
