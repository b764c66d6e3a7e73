//! A certificate changes under load on a node with the real kubelet, containerd and haproxy: no request is lost, and each
//! change is proved by handshakes, the agent's and curl's. One that cannot be verified is refused, and the old one returns.
//!
//! In [`engine`] it is the agent's own engine that changes it, with a real Vault that signs.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "certificate_change/engine.rs"]
mod engine;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use basalt_model::node::{Certificate, Frontend, Node};
use e2e::peers::{Peer, peer};
use e2e::pod_change::load::{Load, Requests};
use e2e::pod_change::{LIMIT, Parts, PodNode, Wanted};
use e2e::vault_server::Authority;
use e2e::{checkout, programs, wait};
use serde_json::Value as Json;

const TLS_PORT: u16 = 8443;
/// The same certificate, and connections that begin with a PROXY header.
const PROXY_PORT: u16 = 8444;
const HOST: &str = "ingress.lab.example";
const CERTIFICATE: &str = "ingress";
/// So many requests at least see the changes.
const REQUESTS: u64 = 100_000;
/// So many are enough for what a person does by hand: the service's own changes get the others.
const SOME_REQUESTS: u64 = 15_000;
/// More than haproxy keeps workers of earlier configs: none of them may have a client left by then.
const SOME_CHANGES: u32 = 7;
/// More than fits into a command of haproxy's runtime API.
const LARGE: usize = 24_000;

/// A running node, and where its certificate lies.
struct Lab {
    node: PodNode,
    certificate: Certificate,
}

/// What lies in the certificate's folder.
#[derive(Clone)]
struct Set {
    combined: String,
    authority: String,
}

impl Set {
    /// A new root, and a leaf that it signed.
    fn new() -> Set {
        let authority = Authority::new("Lab PKI").unwrap();
        let (chain, key) = authority.issue(&[HOST.to_owned()]).unwrap();
        Set { combined: format!("{chain}{key}"), authority: authority.pem().to_owned() }
    }

    /// With so many further issuers behind its chain that haproxy takes it from its file alone.
    fn large() -> Set {
        let mut set = Set::new();
        while set.combined.len() < LARGE {
            set.combined.push_str(Authority::new("Further Lab PKI").unwrap().pem());
        }
        set
    }

    /// A root by itself, with a key that is too short for OpenSSL's security level 2.
    fn weak() -> Set {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days=30", "-subj"])
            .args([&format!("/CN={HOST}"), "-addext", &format!("subjectAltName=DNS:{HOST}")])
            .args(["-keyout", "-", "-out", "-"])
            .output()
            .unwrap();
        let pem = String::from_utf8(made.stdout).unwrap();
        let (key, certificate) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").unwrap());
        Set { combined: format!("{certificate}{key}"), authority: certificate.to_owned() }
    }
}

impl Lab {
    /// With a frontend that ends TLS beside the plain one, and nobody but the test to change its certificate.
    fn start() -> Option<(Lab, Peer)> {
        let (lab, next, wrk) = Lab::prepare()?;
        lab.lay(&Set::new());
        lab.node.commit_and_stop(&next).unwrap();
        Some((lab, wrk))
    }

    /// A node that is to have such a frontend, and what it is to be.
    fn prepare() -> Option<(Lab, Node, Peer)> {
        let agent = programs::agent()?;
        let wrk = peer("wrk")?;
        let wanted = Wanted::first();
        let node = PodNode::start(Parts::find()?, &agent, &wanted).unwrap();
        let lab_node = checkout::root().join("static-pods/tests/lab/n1.json");
        let lab_node = Node::from_json("n1.json", &fs::read_to_string(lab_node).unwrap()).unwrap();
        let certificate = lab_node.vault.as_ref().unwrap().certificates[0].clone();
        assert_eq!(certificate.name.as_str(), CERTIFICATE);
        let lab = Lab { node, certificate };

        let mut next = lab.node.node(&wanted).unwrap();
        next.generation += 1;
        next.vault = lab_node.vault.clone();
        let haproxy = next.haproxy.as_mut().unwrap();
        let tls = |name: &str, port: u16, accept_proxy: bool| {
            let mut frontend: Frontend = haproxy.frontends[0].clone();
            frontend.name = name.parse().unwrap();
            frontend.binds = vec![format!("0.0.0.0:{port}").parse().unwrap()];
            frontend.certificate = Some(CERTIFICATE.parse().unwrap());
            frontend.accept_proxy = accept_proxy;
            frontend
        };
        let mut own = tls("ingress", TLS_PORT, false);
        // Nobody has this address: it is one that keepalived would bring.
        own.binds.push("192.0.2.99:9443".parse().unwrap());
        let more = [own, tls("ingress-proxied", PROXY_PORT, true)];
        haproxy.frontends.extend(more);
        lab.node.machine.output(&["sysctl", "-w", "net.ipv4.ip_nonlocal_bind=1"]).unwrap();
        Some((lab, next, wrk))
    }

    fn folder(&self) -> PathBuf {
        self.node.machine.root().join(self.certificate.directory.as_str().trim_start_matches('/'))
    }

    /// Puts a set in its place.
    fn lay(&self, set: &Set) {
        let folder = self.folder();
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("combined.pem", &set.combined), ("ca.pem", &set.authority)] {
            fs::write(folder.join(format!(".{name}")), text).unwrap();
            fs::rename(folder.join(format!(".{name}")), folder.join(name)).unwrap();
        }
    }

    fn activate(&self) -> Output {
        let command = ["basalt-agent", "activate", CERTIFICATE, "--output=json"];
        self.node.machine.run(&command).unwrap()
    }

    /// Puts a set in its place and has it taken into use.
    #[track_caller]
    fn change(&self, set: &Set, way: &str) -> Json {
        self.lay(set);
        let output = self.activate();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", self.node.journal());
        let done: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(done["told"][0]["way"], way, "{done}");
        assert!(self.is_served(set), "{done}");
        done
    }

    /// Puts a set in its place that is not taken, for `reason`, and the good one again, as the caller of an activation that
    /// failed does.
    #[track_caller]
    fn refuses(&self, bad: &Set, reason: &str, good: &Set) {
        self.lay(bad);
        let output = self.activate();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
        self.lay(good);
        let output = self.activate();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let is_back = || self.is_served(good).then_some(());
        wait::until("the old certificate", LIMIT, is_back).unwrap();
    }

    /// What a client sees that trusts this root alone, and asks by name.
    fn is_served(&self, set: &Set) -> bool {
        let trusted = self.node.machine.tree().beside().join("trusted.pem");
        fs::write(&trusted, &set.authority).unwrap();
        let to = format!("{HOST}:{TLS_PORT}:127.0.0.1");
        let url = format!("https://{HOST}:{TLS_PORT}/");
        let arguments = ["--silent", "--fail", "--max-time", "5", "--resolve", &to, "--cacert"];
        let trusted = trusted.display().to_string();
        let arguments: Vec<&str> = arguments.into_iter().chain([trusted.as_str(), &url]).collect();
        self.node.inside("curl", &arguments).unwrap().status.success()
    }

    /// Requests on connections that stay, and on a new one each, while `change` is done again and again.
    fn under_load(&self, wrk: &Peer, mut change: impl FnMut(&Lab)) -> (Requests, u32) {
        let url = format!("https://127.0.0.1:{TLS_PORT}/");
        let (mut sum, mut changes) = (Requests::default(), 0);
        while sum.answered < SOME_REQUESTS || changes < SOME_CHANGES {
            let start = |header| Load::start(&self.node, wrk, &url, header, 15).unwrap();
            let mut kept = start("Connection: keep-alive");
            let new = start("Connection: close");
            while kept.is_on() {
                change(self);
                changes += 1;
            }
            for load in [kept, new] {
                let seen = load.wait().unwrap();
                assert!(seen.answered > 100, "{seen:?}");
                sum.add(seen);
            }
        }
        (sum, changes)
    }
}

#[test]
fn a_new_certificate_loses_no_request() {
    let Some((lab, wrk)) = Lab::start() else { return };
    // By handshakes with every listener: two sockets beside them, a port, and one that wants the PROXY protocol. The
    // address that is not there is left out.
    let done = lab.change(&Set::new(), "runtime API");
    let listeners: Vec<&str> = done["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["listener"].as_str().unwrap())
        .collect();
    let expected = [
        "/run/basalt/haproxy/tls-ingress.sock",
        "127.0.0.1:8443",
        "/run/basalt/haproxy/tls-ingress-proxied.sock",
        "127.0.0.1:8444",
    ];
    assert_eq!(listeners, expected, "{done}");
    assert_eq!(done["skipped"][0]["what"], "192.0.2.99:9443", "{done}");
    for proof in done["proofs"].as_array().unwrap() {
        assert!(proof["old_serial"].is_string(), "{done}");
        assert_ne!(proof["old_serial"], proof["serial"], "{done}");
    }

    let uid = lab.node.uid("haproxy");
    for (way, make) in [("runtime API", Set::new as fn() -> Set), ("reload", Set::large)] {
        let mut slowest = 0;
        let (seen, changes) = lab.under_load(&wrk, |lab| {
            let start = Instant::now();
            lab.change(&make(), way);
            slowest = slowest.max(start.elapsed().as_millis());
        });
        println!("by {way}: {changes} new certificates, each within {slowest} ms; {seen:?}");
        assert_eq!(seen.lost(), 0, "{way}: {seen:?}\n{}", lab.node.journal());
    }
    assert_eq!(lab.node.uid("haproxy"), uid);
}

/// A chain that its `ca.pem` does not verify, a key that is not the certificate's, and no certificate at all: said with its
/// reason, and the old set is in use again after it was put back, while clients see nothing. So is one that haproxy alone
/// refuses.
#[test]
fn what_cannot_be_proved_is_refused() {
    let Some((lab, wrk)) = Lab::start() else { return };
    let good = Set::new();
    lab.change(&good, "runtime API");
    let url = format!("https://127.0.0.1:{TLS_PORT}/");
    let mut load = Load::start(&lab.node, &wrk, &url, "Connection: close", 30).unwrap();

    let other = Set::new();
    let stranger = Set { authority: good.authority.clone(), ..other.clone() };
    let chain = other.combined.split("-----BEGIN PRIVATE KEY").next().unwrap();
    let key = good.combined.split_once("-----BEGIN PRIVATE KEY").unwrap().1;
    let mixed = format!("{chain}-----BEGIN PRIVATE KEY{key}");
    let mixed = Set { combined: mixed, ..other.clone() };
    let empty = Set { combined: "nothing\n".to_owned(), ..good.clone() };
    let weak = Set::weak();
    for (bad, reason) in [
        (stranger, "whose chain does not verify"),
        (mixed, "combined.pem` is not its certificate's"),
        (empty, "holds no certificate in PEM"),
    ] {
        lab.refuses(&bad, reason, &good);
    }
    assert!(load.is_on(), "everything was seen under load");
    let seen = load.wait().unwrap();
    println!("during three refusals: {seen:?}");
    assert!(seen.answered > 1_000 && seen.lost() == 0, "{seen:?}");
    // Without clients: OpenSSL's error would cost one of them its connection.
    lab.refuses(&weak, "pod haproxy does not take the certificate `ingress`", &good);
}
