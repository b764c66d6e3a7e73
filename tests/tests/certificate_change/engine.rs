//! The agent's engine renews the certificate, because somebody asks and because it is time, while clients are served.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use basalt_model::node::{Node, OwnPod, Reload};
use e2e::peers::Peer;
use e2e::pod_change::LIMIT;
use e2e::pod_change::load::{Load, Requests};
use e2e::pod_change::watch::Watch;
use e2e::vault_server::signing::sign_for;
use e2e::vault_server::{Place, VaultServer, program};
use e2e::visitors::{Visit, Visitors};
use e2e::wait;
use serde_json::{Value as Json, json};

use super::{CERTIFICATE, HOST, LARGE, Lab, REQUESTS, TLS_PORT};

/// Longer than all changes of one way take, and long enough for the requests.
const LOAD_SECONDS: u32 = 90;
/// How often the agent is killed in the middle of a change, and how long the load lasts meanwhile.
const KILLS: u64 = 4;
const KILLED_SECONDS: u32 = 40;
/// How long before it is signed a certificate begins.
const BEFORE: &str = "30s";
/// So one of this life is due within 35 seconds.
const SHORT: &str = "100s";
const LONG: &str = "720h";

/// A node whose engine has its certificate from a real Vault in the same network.
struct Signed {
    lab: Lab,
    vault: VaultServer,
    wanted: Node,
}

impl Signed {
    fn start() -> Option<(Signed, Peer)> {
        let program = program()?;
        let (lab, mut wanted, wrk) = Lab::prepare()?;
        let path = format!("/proc/{}/ns/net", lab.node.machine.init_pid());
        let place = Place::Namespace { path, address: "127.0.0.1".parse().unwrap() };
        let vault = VaultServer::start_at(&program, &place).unwrap();
        let login = sign_for(&vault, &mut wanted).unwrap();
        lab.node.machine.tree().write(&login.path, &login.secret_id, 0o600).unwrap();
        let signed = Signed { lab, vault, wanted };
        signed.lab.node.write_node(&signed.wanted).unwrap();
        signed.wait_for_new("", "the first certificate");
        signed.lab.node.wait_for_serving(signed.wanted.generation).unwrap();
        Some((signed, wrk))
    }

    /// What `certs` says.
    fn row(&self) -> Json {
        let output =
            self.lab.node.machine.run(&["basalt-agent", "certs", "--output=json"]).unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        report["certificates"][0].clone()
    }

    /// Waits until another certificate than `before` is in use and shown to openssl, and gives its serial number.
    #[track_caller]
    fn wait_for_new(&self, before: &str, what: &str) -> String {
        let mut row = Json::Null;
        let look = || {
            row = self.row();
            let serial = row["leaf"]["serial"].as_str()?.to_owned();
            (row["standing"] == "in-use" && serial != before).then_some(serial)
        };
        let serial = wait::until(what, LIMIT, look)
            .unwrap_or_else(|error| panic!("{error}: {row:#}\n{}", self.lab.node.journal()));
        assert_eq!(self.shown(), Some(serial.replace(':', "").to_uppercase()), "{what}");
        serial
    }

    /// The serial number that the real openssl gets from the listener, after it verified the chain by the node's bundle.
    fn shown(&self) -> Option<String> {
        let ask = format!(
            "openssl s_client -connect 127.0.0.1:{TLS_PORT} -servername {HOST} -verify_hostname {HOST} \
             -verify_return_error -CAfile {} </dev/null | openssl x509 -noout -serial",
            self.lab.folder().join("ca.pem").display()
        );
        let output = self.lab.node.inside("sh", &["-c", &ask]).unwrap();
        let serial = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Some(serial.strip_prefix("serial=")?.trim_start_matches("00").to_owned())
    }

    /// How long the certificates live that Vault signs from now on.
    fn sign_for_so_long(&self, life: &str) {
        let mut role = self.vault.read("pki/roles/node").unwrap()["data"].clone();
        role["max_ttl"] = json!(life);
        role["not_before_duration"] = json!(BEFORE);
        self.vault.write("pki/roles/node", &role).unwrap();
    }

    fn rotate(&self, before: &str) -> String {
        let machine = &self.lab.node.machine;
        let done = machine.output(&["basalt-agent", "rotate", CERTIFICATE, "--now"]).unwrap();
        let serial = self.wait_for_new(before, "the rotated certificate");
        assert!(done.contains(&serial), "{done}");
        serial
    }

    /// How often the agent said so in its journal.
    fn said(&self, words: &str) -> usize {
        let journal = ["journalctl", "--no-pager", "-o", "verbose", "-u", "basalt-agent"];
        self.lab.node.machine.output(&journal).unwrap().matches(words).count()
    }

    /// Four changes and more while clients are served, the second one because it is time.
    fn changes_under_load(&self, wrk: &Peer, way: &str) {
        let before =
            [self.said("Vault signed"), self.said("it is time to renew it"), self.told(way)];
        let mut serial = self.wait_for_new("", "a certificate");
        let trusted = self.lab.folder().join("ca.pem");
        let visit = |requests_per_connection| Visit {
            address: SocketAddr::from(([127, 0, 0, 1], TLS_PORT)),
            host: HOST.to_owned(),
            trusted: trusted.clone(),
            network_of: Some(self.lab.node.machine.init_pid()),
            requests_per_connection,
            pause: Duration::from_millis(1),
        };
        let visitors = [500, 1].map(|requests| Visitors::start(&visit(requests), 4).unwrap());
        let mut requests = Requests::default();
        let mut changes = 4;
        let start = Instant::now();
        requests.add(self.during_load(wrk, LOAD_SECONDS, || {
            self.sign_for_so_long(SHORT);
            serial = self.rotate(&serial);
            self.sign_for_so_long(LONG);
            serial = self.wait_for_new(&serial, "the renewal that is due");
            serial = self.rotate(&serial);
            serial = self.rotate(&serial);
        }));
        // A machine that has much else to do takes longer for as many.
        while requests.answered < REQUESTS {
            requests.add(self.during_load(wrk, LOAD_SECONDS / 3, || {
                serial = self.rotate(&serial);
                serial = self.rotate(&serial);
            }));
            changes += 2;
        }
        let took = start.elapsed();
        let tallies = visitors.map(Visitors::leave);
        println!("by {way}: {changes} changes in {took:?}; wrk: {requests:?}");
        for (tally, who) in tallies.iter().zip(["who stay", "who come anew"]) {
            println!("by {way}: clients {who}: {tally}");
        }
        let after =
            [self.said("Vault signed"), self.said("it is time to renew it"), self.told(way)];
        let seen = [after[0] - before[0], after[1] - before[1], after[2] - before[2]];
        assert_eq!(seen, [changes, 1, changes], "signed, because it was time, and told by {way}");
        let journal = || self.lab.node.journal();
        assert_eq!(requests.lost(), 0, "by {way}: {requests:?}\n{}", journal());
        for tally in &tallies {
            assert_eq!(tally.lost(), 0, "by {way}: {tally}\n{}", journal());
            assert!(tally.answered > 1_000, "{tally}");
        }
        assert!(tallies[1].shown.len() >= 4, "every certificate was seen: {}", tallies[1]);
    }

    /// The agent is killed again and again while it changes the certificate: nobody who asks haproxy notices.
    fn kills_under_load(&self, wrk: &Peer) {
        let machine = &self.lab.node.machine;
        let requests = self.during_load(wrk, KILLED_SECONDS, || {
            for kill in 0..KILLS {
                let rotate = ["sh", "-c", "basalt-agent rotate ingress --now >/dev/null 2>&1 &"];
                machine.output(&rotate).unwrap();
                // A change takes half a second; each kill comes a little later into it than the one before.
                std::thread::sleep(Duration::from_millis(50 + 150 * kill));
                let killed = machine.kill_main("basalt-agent.service").unwrap();
                machine.wait_for_restart("basalt-agent.service", killed, LIMIT).unwrap();
            }
            // Whoever comes back carries out what was asked for.
            let request = machine.root().join("run/basalt/rotate/ingress.json");
            let is_answered = || (!request.exists()).then_some(());
            wait::until("an answer after the kills", LIMIT, is_answered).unwrap();
            let serial = self.wait_for_new("", "a certificate after the kills");
            self.rotate(&serial);
        });
        println!("{KILLS} kills while it changed the certificate: {requests:?}");
        assert_eq!(requests.lost(), 0, "{requests:?}\n{}", self.lab.node.journal());
        assert!(requests.answered > 1_000, "{requests:?}");
    }

    /// What wrk sees on connections that stay, and on a new one each, while `change` is at work.
    fn during_load(&self, wrk: &Peer, seconds: u32, change: impl FnOnce()) -> Requests {
        let url = format!("https://127.0.0.1:{TLS_PORT}/");
        let headers = ["Connection: keep-alive", "Connection: close"];
        let start = |header| Load::start(&self.lab.node, wrk, &url, header, seconds).unwrap();
        let mut loads = headers.map(start);
        change();
        assert!(loads.iter_mut().all(Load::is_on), "the changes took longer than the load");
        let mut requests = Requests::default();
        loads.into_iter().for_each(|load| requests.add(load.wait().unwrap()));
        requests
    }

    /// How often haproxy was told in this way.
    fn told(&self, way: &str) -> usize {
        self.said(&format!("pod haproxy: told by {way}"))
    }
}

/// Reads its certificate when it starts, and never again.
const READER: &str = "apiVersion: v1
kind: Pod
metadata:
  name: reader
  namespace: kube-system
spec:
  hostNetwork: true
  priorityClassName: system-node-critical
  priority: 2000001000
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: cat
    image: IMAGE
    imagePullPolicy: IfNotPresent
    command: [/usr/bin/sh, -c, 'cat /tls/certificate.pem; exec sleep 86400']
    resources:
      requests: {cpu: 10m, memory: 16Mi}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    readinessProbe:
      exec: {command: [/usr/bin/cat, /tls/certificate.pem]}
      periodSeconds: 2
    volumeMounts:
    - name: tls
      mountPath: /tls
      readOnly: true
  volumes:
  - name: tls
    hostPath:
      path: FOLDER
      type: Directory
";

impl Signed {
    /// Waits until the reader has read the certificate that lies in the folder.
    #[track_caller]
    fn wait_for_reader(&self) {
        let read = || {
            let chain = fs::read_to_string(self.lab.folder().join("certificate.pem")).ok()?;
            let machine = &self.lab.node.machine;
            let logs = machine.run(&["sh", "-c", "cat /var/log/pods/*_reader-*/cat/*.log"]).ok()?;
            let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
            // The first lines of all certificates of one issuer are alike.
            let own = chain.lines().nth(8)?;
            logs.contains(own).then_some(())
        };
        wait::until("the reader to read the certificate", LIMIT, read)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.lab.node.journal()));
    }
}

/// A pod that nobody knows how to tell is started anew by the loop, and its neighbours are not.
#[test]
fn a_pod_that_reads_its_certificate_at_its_start_alone_is_started_anew() {
    let Some((mut signed, _)) = Signed::start() else { return };
    let before = signed.wait_for_new("", "a certificate");
    let image = signed.wanted.haproxy.as_ref().unwrap().image.to_string();
    let certificate = &mut signed.wanted.vault.as_mut().unwrap().certificates[0];
    certificate.reload = vec![Reload::Pod("reader".parse().unwrap())];
    let manifest =
        READER.replace("IMAGE", &image).replace("FOLDER", certificate.directory.as_str());
    signed.wanted.pods.push(OwnPod {
        name: "reader".parse().unwrap(),
        source: "pods/reader.yaml".parse().unwrap(),
        manifest,
        files: Vec::new(),
        capabilities: Vec::new(),
        is_privileged: false,
    });
    signed.wanted.generation += 1;
    signed.lab.node.write_node(&signed.wanted).unwrap();
    signed.lab.node.wait_for_serving(signed.wanted.generation).unwrap();
    signed.wait_for_reader();

    let uids = || ["reader", "haproxy"].map(|pod| signed.lab.node.uid(pod));
    let [reader, haproxy] = uids();
    let watch = Watch::start(&signed.lab.node, "sleep");
    let second = signed.rotate(&before);
    assert_eq!(signed.said("pod reader: told by restart"), 1, "{}", signed.lab.node.journal());
    signed.wait_for_reader();
    assert_ne!(uids()[0], reader);
    assert_eq!(uids()[1], haproxy);

    // Whoever is interrupted between the question and the end goes on: once, and with the newest certificate.
    let asked = uids()[0].clone();
    let rotate = ["sh", "-c", "basalt-agent rotate ingress --now >/dev/null 2>&1 &"];
    signed.lab.node.machine.output(&rotate).unwrap();
    let request = signed.lab.node.machine.root().join("run/basalt/restart/reader.json");
    let is_asked = || (request.exists() || uids()[0] != asked).then_some(());
    wait::until("the question", LIMIT, is_asked).unwrap();
    signed.lab.node.machine.kill_main("basalt-agent.service").unwrap();
    signed.wait_for_new(&second, "the certificate after that");
    signed.wait_for_reader();
    let is_done = || (!request.exists()).then_some(());
    wait::until("the end of the question", LIMIT, is_done).unwrap();
    let seen = watch.stop();
    // haproxy's pod sleeps as well, and stays all the time.
    let is_reader = |uid: &&String| haproxy.as_ref() != Some(uid);
    let readers = |pods: &Vec<String>| pods.iter().filter(is_reader).count();
    assert!(seen.together.iter().all(|pods| readers(pods) == 1), "{seen:?}");
    assert_eq!(uids()[1], haproxy);
}

#[test]
fn renewals_of_the_engine_lose_no_request() {
    let Some((mut signed, wrk)) = Signed::start() else { return };
    let uid = signed.lab.node.uid("haproxy");
    signed.changes_under_load(&wrk, "runtime API");

    // So many names that haproxy takes the certificate from its file alone.
    let before = signed.wait_for_new("", "a certificate");
    let vault = signed.wanted.vault.as_mut().unwrap();
    let names = &mut vault.certificates[0].subject_alternative_names;
    for number in 0..LARGE / 60 {
        names.push(
            format!("service-{number}-of-many-{}.lab.example", "x".repeat(20)).parse().unwrap(),
        );
    }
    signed.wanted.generation += 1;
    signed.lab.node.write_node(&signed.wanted).unwrap();
    signed.wait_for_new(&before, "the certificate with many names");
    signed.lab.node.wait_for_serving(signed.wanted.generation).unwrap();
    signed.changes_under_load(&wrk, "reload");
    signed.kills_under_load(&wrk);
    assert_eq!(signed.lab.node.uid("haproxy"), uid);
}
