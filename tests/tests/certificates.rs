//! Certificates from a real Vault: issued, renewed, rotated; with Vault sealed, stopped, killed, or somebody else; with the
//! agent killed at any moment, and a node that was off for too long.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use basalt_model::node::{Certificate, CertificateLayout, KeyKind};
use e2e::needs::root_or_skip;
use e2e::vault_node::{VaultNode, made, openssl};
use e2e::vault_server::Authority;

#[test]
fn a_first_certificate_comes_from_vault() {
    if !root_or_skip() {
        return;
    }
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|all| {
        all[0].layouts.push(CertificateLayout::Pkcs12);
        (all[0].owner, all[0].group) = ("web".to_owned(), "tls".to_owned());
        all[0].mode = "0640".parse().unwrap();
        let mut other = all[0].clone();
        other.name = "other".parse().unwrap();
        other.key = KeyKind::Rsa2048;
        other.directory = "/srv/other/tls".parse().unwrap();
        all.push(other);
    });
    let _service = node.start();
    let row =
        node.wait_for_row("ingress", "a certificate in use", |row| row["standing"] == "in-use");
    let wanted = node.lab_certificate();
    let folder = node.path(wanted.directory.as_str());
    let chain = std::fs::read_to_string(folder.join("certificate.pem")).unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &chain);
    for part in [
        "CN = ingress.lab.example",
        "DNS:ingress.lab.example, IP Address:192.0.2.10",
        "Issuer: CN = Lab CA",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(row["leaf"]["subject"], "CN=ingress.lab.example");
    assert!(row["renew_at"].as_i64().unwrap() <= row["renew_by"].as_i64().unwrap());
    for (name, mode) in [
        ("certificate.pem", 0o644),
        ("ca.pem", 0o644),
        ("key.pem", 0o640),
        ("combined.pem", 0o640),
        ("bundle.p12", 0o640),
        ("p12.password", 0o640),
    ] {
        assert_eq!(node.dress(&wanted, name), (mode, 4711, 4712), "{name}");
    }
    let path = |name: &str| folder.join(name).display().to_string();
    openssl(&["verify", "-CAfile", &path("ca.pem"), &path("certificate.pem")], "");
    let password = format!("file:{}", path("p12.password"));
    let bag = openssl(&["pkcs12", "-in", &path("bundle.p12"), "-nodes", "-passin", &password], "");
    assert!(bag.contains("BEGIN PRIVATE KEY") && bag.contains("BEGIN CERTIFICATE"));
    node.served(&wanted).unwrap();
    node.wait_for_row("other", "the RSA certificate", |row| row["standing"] == "in-use");

    let status = node.status();
    assert_eq!(node.item("certificate", "ingress")["state"], "ok", "{status:#}");
    assert_eq!(node.item("vault", &node.vault.address())["state"], "ok", "{status:#}");
    assert_eq!(status["phase"]["name"], "serving", "{status:#}");
    let numbers = std::fs::read_to_string(node.path("/run/basalt/metrics/basalt.prom")).unwrap();
    assert!(numbers.lines().any(|line| line.contains("{certificate=\"ingress\"}")), "{numbers}");
    let table = String::from_utf8(node.agent(&["certs"]).stdout).unwrap();
    assert!(table.contains("ingress: in use\n  subject   CN=ingress.lab.example\n"), "{table}");
}

#[test]
fn rotations_are_done_and_answered() {
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let _service = node.start();
    let first = node.wait_for_new("ingress", "");
    let output = node.agent(&["rotate", "ingress"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && text.ends_with("is in use\n"), "{output:?}");
    let second = node.wait_for_new("ingress", &first);
    assert!(text.contains(&second), "{text}");
    assert_eq!(node.agent(&["rotate", "nobody"]).status.code(), Some(1));
    assert_eq!(node.agent(&["rotate"]).status.code(), Some(2));

    // Only in its window, unless somebody wants it at once.
    let hour =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
            / 3600;
    let time = |later: u64| format!("{:02}:00", (hour + later) % 24).parse().unwrap();
    node.want(|all| {
        all[0].activation =
            Some(basalt_model::node::ActivationWindow { from: time(10), until: time(11) });
    });
    let output = node.agent(&["rotate", "--all"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("taken into use at")
            || text.ends_with("is in use\n"),
        "{text}"
    );
    let output = node.agent(&["rotate", "--all", "--now"]);
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("is in use\n"));
    node.wait_for_new("ingress", &second);

    made(node.vault.seal());
    let output = node.agent(&["rotate", "ingress"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.code() == Some(1) && text.contains("failed") && text.contains("sealed"),
        "{text}"
    );
}

#[test]
fn vault_may_be_away() {
    let Some(mut node) = VaultNode::new() else { return };
    let wanted = node.lab_certificate();
    made(node.vault.seal());
    node.want(|_| {});
    let service = node.start();
    let row = node.wait_for_row("ingress", "a placeholder and why", |row| {
        row["standing"] == "placeholder" && row["last"]["good"] == false
    });
    assert!(row["last"]["text"].as_str().unwrap().contains("is sealed"), "{row:#}");
    node.served(&wanted).expect("haproxy could start with it");
    let status = node.status();
    assert_eq!(status["phase"]["name"], "degraded");
    let seen = node.item("certificate", "ingress");
    assert_eq!(
        (&seen["state"], &seen["seen"]),
        (&"error".into(), &"a self-signed placeholder".into())
    );
    drop(service);

    made(node.vault.unseal());
    let service = node.start();
    let first = node.wait_for_new("ingress", "");
    drop(service);
    // A renewal is due, and Vault is away in every way; the last good one stays, through a restart as well.
    for (what, away, back) in
        [("sealed", 0, 0), ("cannot be reached", 1, 1), ("cannot be reached", 2, 2)]
    {
        let before = node.row("ingress")["leaf"]["serial"].clone();
        match away {
            0 => made(node.vault.seal()),
            1 => made(node.vault.pause()),
            _ => made(node.vault.kill()),
        }
        let calls = made(node.vault.requests()).len();
        node.want(|all| {
            all[0]
                .subject_alternative_names
                .push(format!("more{away}.lab.example").parse().unwrap());
        });
        let service = node.start();
        let row = node.wait_for_row("ingress", what, |row| {
            row["last"]["good"] == false && row["last"]["text"].as_str().unwrap().contains(what)
        });
        assert_eq!(
            (&row["standing"], &row["leaf"]["serial"]),
            (&"in-use".into(), &before),
            "{row:#}"
        );
        let seen = node.item("certificate", "ingress");
        assert_eq!(seen["state"], "error");
        match back {
            0 => made(node.vault.unseal()),
            1 => made(node.vault.resume()),
            _ => made(node.vault.restart()),
        }
        let asked = made(node.vault.requests()).len() - calls;
        assert!(asked < 40, "{asked} calls while it was {what}");
        drop(service);
        // The pause after a failure ends with the process.
        let _service = node.start();
        node.wait_for_new("ingress", before.as_str().unwrap());
    }
    assert_ne!(node.row("ingress")["leaf"]["serial"], first);
}

#[test]
fn somebody_else_is_not_asked() {
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let service = node.start();
    let first = node.wait_for_new("ingress", "");
    drop(service);
    made(node.vault.present(&made(Authority::new("Somebody else"))));
    e2e::wait::until("the other certificate", Duration::from_secs(10), || {
        node.vault.health().err()
    })
    .unwrap();
    node.want(|all| all[0].subject_alternative_names.push("more.lab.example".parse().unwrap()));
    let _service = node.start();
    let row = node.wait_for_row("ingress", "a refusal", |row| row["last"]["good"] == false);
    let text = row["last"]["text"].as_str().unwrap();
    assert!(text.contains("is not by the trust anchor"), "{row:#}");
    let server = node.vault.address();
    node.wait_for_item(("vault", &server), "its name", |item| item["seen"] == "untrusted");
    assert_eq!((&row["standing"], &row["leaf"]["serial"]), (&"in-use".into(), &first.into()));
}

#[test]
fn ten_are_renewed_within_a_second() {
    let Some(mut node) = VaultNode::new() else { return };
    node.want(ten);
    let service = node.start();
    for number in 0..10 {
        node.wait_for_new(&format!("c{number}"), "");
    }
    let start = Instant::now();
    let output = node.agent(&["rotate", "--all"]);
    let took = start.elapsed();
    assert!(output.status.success(), "{output:?}");
    let memory = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let rss = memory.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    println!("10 certificates renewed in {took:?}, by OpenBao; the agent has {rss}");
    assert!(took < Duration::from_secs(10));
}

/// A request that comes while the service is busy for the first time is heard at once, not with the next round of its timer.
#[test]
fn who_asks_early_is_answered_soon() {
    let Some(mut node) = VaultNode::new() else { return };
    node.want(ten);
    let _service = node.start();
    node.wait_for_row("c0", "the first one", |row| row["standing"] == "in-use");
    let start = Instant::now();
    let output = node.agent(&["rotate", "--all", "--now"]);
    let took = start.elapsed();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && text.lines().count() == 10, "{output:?}");
    println!("10 certificates were renewed in {took:?} while the first ones were made");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// The search at the end of every run finds what lies, or was said, where it may not be.
#[test]
fn a_run_that_tells_a_secret_fails() {
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let service = node.start();
    node.wait_for_new("ingress", "");
    drop(service);
    let wanted = node.lab_certificate();
    let text = |path: &str| std::fs::read_to_string(node.path(path)).unwrap();
    let key = text(&format!("{}/key.pem", wanted.directory));
    let secret_id = text("/var/lib/basalt/identity/secret-id");
    let last = |document: &serde_json::Value| {
        document["request"]["client_token"].as_str().filter(|it| it.len() > 8).map(str::to_owned)
    };
    let token = made(node.vault.recorded()).iter().rev().find_map(last).unwrap();
    node.write("/run/basalt/told", &format!("before {key} after"), 0o600);
    node.write("/var/log/told", &secret_id, 0o600);
    node.write("/var/log/token", &format!("{{\"token\":\"{token}\"}}"), 0o600);
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(node))).unwrap_err();
    let found = found.downcast_ref::<String>().unwrap();
    for expected in ["a private key is in", "a secret id is in", "a token of Vault is in"] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    assert_eq!(found.lines().count(), 4, "{found}");
    assert!(![&key, &secret_id, &token].iter().any(|secret| found.contains(secret.as_str())));
}

/// Ten certificates like the first.
fn ten(all: &mut Vec<Certificate>) {
    let one = all[0].clone();
    let other = |number: usize| {
        let mut it = one.clone();
        it.name = format!("c{number}").parse().unwrap();
        it.directory = format!("/srv/c{number}").parse().unwrap();
        it
    };
    *all = (0..10).map(other).collect();
}

/// Killed at any moment of a rotation, the set is the old or the new one.
#[test]
fn killed_while_it_rotates() {
    const KILLS: u64 = 40;
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let wanted = node.lab_certificate();
    let service = node.start();
    node.wait_for_new("ingress", "");
    drop(service);
    let mut serials = std::collections::BTreeSet::new();
    let mut last = node.served(&wanted).unwrap();
    for kill in 0..KILLS {
        std::fs::create_dir_all(node.path("/run/basalt/rotate")).unwrap();
        let request = format!("{{\"id\": \"{kill}\", \"now\": true}}");
        std::fs::write(node.path("/run/basalt/rotate/ingress.json"), request).unwrap();
        let service = node.start();
        std::thread::sleep(Duration::from_millis(40 + kill * 7919 % 400));
        let log = service.kill();
        assert!(!log.contains("panicked"), "{log}");
        let seen = node.served(&wanted).expect("a set is there");
        if seen != last {
            serials.insert(seen.clone());
        }
        last = seen;
    }
    println!("{KILLS} kills, {} of them after a new set was in place", serials.len());
    let before = node.row("ingress")["leaf"]["serial"].as_str().unwrap_or_default().to_owned();
    let _service = node.start();
    let row = node.wait_for_row("ingress", "all is well", |row| {
        row["standing"] == "in-use" && row["last"]["good"] == true && row["next"].is_null()
    });
    assert!(row["leaf"]["serial"] != "" && !before.is_empty());
    assert!(node.root().exists());
}
