//! Certificates and time, with the running agent and the real OpenBao: short lives, lives that ended while the power was
//! off, a clock that stands in another decade or is set, and a certificate that nobody serves.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "certificate_time/clock.rs"]
mod clock;

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use basalt_model::node::Certificate;
use e2e::ports::free_port;
use e2e::vault_node::{IDENTITY_MOUNT, Issuing, MOUNT, VaultNode, made, openssl};
use e2e::wait;
use serde_json::Value as Json;

const SIGN: &str = "pki/sign/node";
const LIMIT: Duration = Duration::from_secs(60);

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// Certificates of half a minute: each is followed by another one before its floor, which is the middle of its life when
/// Vault gives so much less than it is asked for.
#[test]
fn short_lives_follow_each_other() {
    let Some(mut node) = VaultNode::new() else { return };
    made(node.issue(MOUNT, Issuing::Seconds(30)));
    node.want(|_| {});
    let wanted = node.lab_certificate();
    let _service = node.start();
    let mut serials = BTreeSet::new();
    let mut last = node.wait_for_row("ingress", "the first", |row| row["standing"] == "in-use");
    serials.insert(serial(&last));
    for _ in 0..3 {
        let floor = last["renew_by"].as_i64().unwrap();
        let before = serial(&last);
        last = node.wait_for_row("ingress", "the next one", |row| {
            row["standing"] == "in-use" && serial(row) != before
        });
        let begins = last["leaf"]["not_before"].as_i64().unwrap();
        assert!(begins <= floor, "signed at {begins}, {} s after the floor", begins - floor);
        let served = node.served(&wanted).unwrap().to_lowercase();
        assert_eq!(served.trim(), format!("serial={}", serial(&last).replace(':', "")));
        serials.insert(serial(&last));
    }
    let signed = node.count(SIGN, 200);
    println!("{} certificates of 30 s, {signed} signatures", serials.len());
    // The next one may have come since the last look.
    assert!(serials.len() == 4 && (4..=5).contains(&signed), "{signed}");
    assert!(node.row("ingress")["remark"].as_str().unwrap().contains("Vault gave a life of"));
}

/// Lives of which more than the half is over when they begin are due at once. Vault is left alone all the same.
#[test]
fn lives_that_are_due_at_once_do_not_make_it_hurry() {
    let Some(mut node) = VaultNode::new() else { return };
    let mut role = made(node.vault.read("pki/roles/node"))["data"].clone();
    (role["not_before_duration"], role["max_ttl"]) = ("60s".into(), "20s".into());
    made(node.vault.write("pki/roles/node", &role));
    node.want(|_| {});
    let _service = node.start();
    let first = node.wait_for_new("ingress", "");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(serial(&node.row("ingress")), first, "it has just begun");
    node.wait_for_new("ingress", &first);
    std::thread::sleep(Duration::from_secs(15));
    let signed = node.count(SIGN, 200);
    println!("{signed} certificates of 20 s in half a minute");
    assert!((2..=4).contains(&signed), "{signed}");
}

fn serial(row: &Json) -> String {
    row["leaf"]["serial"].as_str().unwrap_or_default().to_owned()
}

/// Off for longer than its certificates live: it boots, logs in as itself, and has new ones, with nobody's help.
#[test]
fn what_expired_while_the_power_was_off_is_replaced() {
    let Some(mut node) = VaultNode::with_identity() else { return };
    made(node.issue(MOUNT, Issuing::Seconds(8)));
    made(node.deliver());
    node.want(|all| {
        let mut other = all[0].clone();
        other.name = "other".parse().unwrap();
        other.directory = "/srv/other".parse().unwrap();
        all.push(other);
    });
    let service = node.start();
    for name in ["ingress", "other"] {
        node.wait_for_row(name, "the first", |row| row["standing"] == "in-use");
    }
    service.kill();
    made(node.issue(MOUNT, Issuing::AsAsked));
    let old = ["ingress", "other"].map(|name| node.row(name));
    let end = old.iter().map(|row| row["leaf"]["not_after"].as_i64().unwrap()).max().unwrap();
    wait::until("the end of their lives", LIMIT, || (now() > end).then_some(())).unwrap();
    std::fs::remove_dir_all(node.path("/run")).unwrap();

    let logins = node.count("auth/cert/login", 200);
    let start = Instant::now();
    let service = node.start();
    for (name, old) in ["ingress", "other"].iter().zip(&old) {
        node.wait_for_new(name, &serial(old));
    }
    println!(
        "two certificates that had run out were replaced {:?} after the start",
        start.elapsed()
    );
    let log = service.log();
    assert!(log.contains("the last one ran out"), "{log}");
    assert_eq!(node.count("auth/cert/login", 200), logins + 1);
    assert_eq!(node.count("auth/approle/login", 200), 1, "the first login was the only one");
    for name in ["ingress", "other"] {
        node.wait_for_item(("certificate", name), "all to be well", |item| item["state"] == "ok");
    }
}

/// Off for longer than even its identity lives: nothing is left to log in with, which is said, and what there is stays in
/// use. A new wrapped secret is enough; nobody has to restart anything.
#[test]
fn an_identity_that_expired_waits_for_a_new_first_login() {
    let Some(mut node) = VaultNode::with_identity() else { return };
    made(node.issue(MOUNT, Issuing::Seconds(10)));
    made(node.issue(IDENTITY_MOUNT, Issuing::Seconds(10)));
    made(node.deliver());
    node.want(|_| {});
    let wanted = node.lab_certificate();
    let service = node.start();
    let old = node.wait_for_row("ingress", "the first", |row| row["standing"] == "in-use");
    let end_of_identity = || {
        let report = std::fs::read(node.path("/run/basalt/status.json")).unwrap();
        let report: Json = serde_json::from_slice(&report).unwrap();
        let vault = &report["evidence"]["reports"]["certificates"]["vault"];
        vault["identity"]["not_after_unix_seconds"].as_i64()
    };
    let end = wait::until("word of the identity", LIMIT, end_of_identity).unwrap();
    service.kill();
    let end = end.max(end_of_identity().unwrap()).max(old["leaf"]["not_after"].as_i64().unwrap());
    wait::until("the end of both", LIMIT, || (now() > end).then_some(())).unwrap();
    for mount in [MOUNT, IDENTITY_MOUNT] {
        made(node.issue(mount, Issuing::AsAsked));
    }
    let served = node.served(&wanted);
    let _service = node.start();
    let said = node.wait_for_item(("vault", "session"), "a refusal", |item| {
        item["reason"].as_str().is_some_and(|it| it.contains("which has expired"))
    });
    let hint = said["hint"].as_str().unwrap();
    assert!(hint.contains("`cargo xtask vault wrap NODE --bare --output FILE`"), "{said:#}");
    assert!(hint.contains(basalt_model::node::WRAPPED_SECRET_ID_PATH), "{said:#}");
    assert_eq!(node.served(&wanted), served);
    made(node.deliver());
    node.wait_for_new("ingress", &serial(&old));
    node.wait_for_item(("certificate", "ingress"), "all to be well", |item| item["state"] == "ok");
}

/// openssl's server with the files that a node has at the moment. It never looks at them again.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(node: &VaultNode, certificate: &Certificate) -> Server {
        let port = free_port().unwrap();
        let folder = node.path(certificate.directory.as_str());
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-port", &port.to_string()])
            .arg("-cert")
            .arg(folder.join("certificate.pem"))
            .arg("-key")
            .arg(folder.join("key.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { child, port };
        let is_up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        wait::until("the server", LIMIT, is_up).unwrap();
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new certificate, of another PKI at that, which its consumer does not show: the handshake proves it, the old one
/// returns, and status and monitoring say so. Without that consumer the next try goes through.
#[test]
fn what_is_not_served_is_taken_back() {
    let Some(mut node) = VaultNode::new() else { return };
    made(node.set_pki_up("other-pki", "Other lab CA"));
    node.want(|_| {});
    let wanted = node.lab_certificate();
    let service = node.start();
    let first = node.wait_for_new("ingress", "");
    let served = node.served(&wanted);
    let server = Server::start(&node, &wanted);
    node.want(|all| {
        all[0].pki_mount = Some("other-pki".to_owned());
        all[0].prove = vec![format!("127.0.0.1:{}", server.port).parse().unwrap()];
    });
    let row = node.wait_for_row("ingress", "the old one to return", |row| {
        row["last"]["text"].as_str().is_some_and(|it| it.contains("the certificate before is back"))
    });
    assert_eq!(serial(&row), first, "{row:#}");
    wait::until("its files", LIMIT, || (node.served(&wanted) == served).then_some(())).unwrap();
    let item =
        node.wait_for_item(("certificate", "ingress"), "an error", |item| item["state"] == "error");
    assert!(item["reason"].as_str().unwrap().contains("it runs out in"), "{item:#}");
    assert_eq!(node.status()["phase"]["name"], "degraded");
    let failures = node.metrics();
    let failures =
        failures.lines().find(|line| line.contains("failures_total{certificate=\"ingress\"}"));
    assert!(failures.is_some_and(|line| !line.ends_with(" 0")), "{}", node.metrics());
    assert!(service.log().contains("ERROR the new certificate is not served"), "{}", service.log());

    // Nobody else serves it: what Vault signs is good by itself.
    drop(server);
    node.want(|all| all[0].prove.clear());
    node.wait_for_new("ingress", &first);
    let chain =
        std::fs::read_to_string(node.path(&format!("{}/certificate.pem", wanted.directory)));
    let issuer = openssl(&["x509", "-noout", "-issuer"], &chain.unwrap());
    assert!(issuer.contains("Other lab CA"), "{issuer}");
}
