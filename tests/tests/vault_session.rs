//! The running agent and the real OpenBao on its bad days: sealed, never set up, limited, behind a firewall, with
//! a revoked token, a policy that lacks something, a server that sends callers elsewhere; the agent killed in the
//! middle of its first login; and a login by a token of the real Kubernetes.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "vault_session/first_login.rs"]
mod first_login;
#[path = "vault_session/kubernetes.rs"]
mod kubernetes;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::needs::lab_or_skip;
use e2e::peers::peer;
use e2e::ports::free_port;
use e2e::vault_node::{MOUNT, VaultNode, made};
use e2e::vault_server::{Authority, Place, VaultServer, program};
use e2e::wait;
use serde_json::{Value as Json, json};

const LOGIN: &str = "auth/approle/login";
const SIGN: &str = "pki/sign/node";
/// A policy that lets nodes do nothing that they need.
const NOTHING: &str = "path \"nothing\" { capabilities = [\"read\"] }";
const LIMIT: Duration = Duration::from_secs(60);

/// As many calls as the backoff allows in a time: its slots are one second long, then two, four and so on up to five
/// minutes, with one call in each, after the one that failed first.
fn most_calls(span: Duration) -> usize {
    let (mut end, mut length, mut count) = (Duration::ZERO, Duration::from_secs(1), 1);
    while end <= span {
        count += 1;
        end += length;
        length = (length * 2).min(Duration::from_secs(300));
    }
    count
}

/// Wants another certificate than the one in use, so that there is something to ask for.
fn want_more(node: &mut VaultNode, name: &str) {
    let name = format!("{name}.lab.example").parse().unwrap();
    node.want(|all| all[0].subject_alternative_names.push(name));
}

/// A node whose certificate is in use, and the serial number.
fn in_use(node: &mut VaultNode) -> (e2e::vault_node::Service, String) {
    node.want(|_| {});
    let service = node.start();
    let serial = node.wait_for_new("ingress", "");
    (service, serial)
}

/// What status says of the server of this address.
fn server(node: &VaultNode, address: &str, state: &str) -> Json {
    node.wait_for_item(("vault", address), state, |item| item["seen"] == state)
}

#[test]
fn a_sealed_vault_is_asked_once_per_slot() {
    let Some(mut node) = VaultNode::new() else { return };
    let (_service, first) = in_use(&mut node);
    let wanted = node.lab_certificate();
    let served = node.served(&wanted);
    made(node.vault.seal());
    let before = made(node.vault.requests()).len();
    let start = Instant::now();
    want_more(&mut node, "more");
    server(&node, &node.vault.address(), "sealed");
    let item = node.wait_for_item(("certificate", "ingress"), "a countdown", |item| {
        item["reason"].as_str().is_some_and(|text| text.contains("it runs out in"))
    });
    assert!(item["reason"].as_str().unwrap().contains("is sealed"), "{item:#}");
    assert_eq!(item["state"], "error", "{item:#}");
    let session = node.item("vault", "session");
    assert!(session["hint"].as_str().unwrap().contains("unseal"), "{session:#}");
    assert_eq!(node.status()["phase"]["name"], "degraded");
    assert_eq!(node.served(&wanted), served);
    std::thread::sleep(Duration::from_secs(20).saturating_sub(start.elapsed()));
    let asked = made(node.vault.requests()).split_off(before);
    let span = start.elapsed();
    println!("a sealed Vault was asked {} times in {span:?}", asked.len());
    assert!((3..=most_calls(span)).contains(&asked.len()), "{asked:#?}");
    assert!(asked.iter().all(|it| it.path == "sys/health" && it.status == 503), "{asked:#?}");

    made(node.vault.unseal());
    node.wait_for_new("ingress", &first);
    // Another node: it has logged in once, and not for each call.
    assert_eq!(node.count(LOGIN, 200), 2);
    server(&node, &node.vault.address(), "active");
}

/// A token that was revoked is followed by one login, and a policy that lacks something by no more than one.
#[test]
fn a_denial_leads_to_one_login() {
    let Some(mut node) = VaultNode::new() else { return };
    let (_service, first) = in_use(&mut node);
    let login = |document: &Json| {
        (document["type"] == "response" && document["request"]["path"] == LOGIN)
            .then(|| document["response"]["auth"]["client_token"].as_str().map(str::to_owned))?
    };
    let token = made(node.vault.recorded()).iter().rev().find_map(login).unwrap();
    made(node.vault.write("auth/token/revoke", &json!({"token": token})));
    let refused = node.agent(&["rotate", "ingress"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("Vault denies"), "{refused:?}");
    let rotated = node.agent(&["rotate", "ingress"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let second = node.wait_for_new("ingress", &first);
    assert_eq!((node.count(SIGN, 403), node.count(LOGIN, 200)), (1, 2));

    made(node.vault.write("sys/policies/acl/node", &json!({"policy": NOTHING})));
    let before = (made(node.vault.requests()).len(), node.count(LOGIN, 200));
    let start = Instant::now();
    want_more(&mut node, "evenmore");
    let row = node.wait_for_row("ingress", "a denial", |row| row["last"]["good"] == false);
    assert!(row["last"]["text"].as_str().unwrap().contains("Vault denies"), "{row:#}");
    assert!(row["last"]["hint"].as_str().unwrap().contains("cargo xtask vault plan"), "{row:#}");
    std::thread::sleep(Duration::from_secs(15));
    let asked = made(node.vault.requests()).split_off(before.0);
    let span = start.elapsed();
    let signs = asked.iter().filter(|it| it.path == SIGN).count();
    let logins = node.count(LOGIN, 200) - before.1;
    println!("a policy that lacks something: asked {signs} times in {span:?}, {logins} logins");
    assert!((2..=most_calls(span)).contains(&signs), "{asked:#?}");
    // One for the node that it obeys since, and one because of the denial.
    assert_eq!(logins, 2, "{asked:#?}");
    assert_eq!(node.row("ingress")["leaf"]["serial"], second.as_str());
}

/// Vault's own limit: whoever goes beyond it is left out for four seconds, and told so.
#[test]
fn limits_are_honoured() {
    let Some(mut node) = VaultNode::new() else { return };
    let (_service, _) = in_use(&mut node);
    made(
        node.vault.write("sys/quotas/config", &json!({"enable_rate_limit_response_headers": true})),
    );
    let quota =
        json!({"path": format!("{MOUNT}/"), "rate": 2, "interval": "1s", "block_interval": "4s"});
    made(node.vault.write("sys/quotas/rate-limit/pki", &quota));
    let before = made(node.vault.requests()).len();
    let start = Instant::now();
    node.want(|all| {
        let one = all[0].clone();
        all.extend((0..5).map(|number| {
            let mut it = one.clone();
            it.name = format!("c{number}").parse().unwrap();
            it.directory = format!("/srv/c{number}").parse().unwrap();
            it
        }));
    });
    let limited = |node: &VaultNode| node.count(SIGN, 429);
    wait::until("the limit", LIMIT, || (limited(&node) > 0).then_some(())).unwrap();
    let said = node.wait_for_item(("vault", "session"), "the limit", |item| !item.is_null());
    assert!(said["reason"].as_str().unwrap().contains("asks to be left alone"), "{said:#}");
    for number in 0..5 {
        node.wait_for_new(&format!("c{number}"), "");
    }
    let span = start.elapsed();
    let asked = made(node.vault.requests()).split_off(before);
    let of_pki: Vec<_> = asked.iter().filter(|it| it.path.starts_with(MOUNT)).collect();
    let refused = of_pki.iter().filter(|it| it.status == 429).count();
    println!("{refused} of {} calls were one too many, in {span:?}", of_pki.len());
    let first = of_pki.iter().position(|it| it.status == 429).unwrap();
    let next = of_pki.get(first + 1).unwrap();
    let pause = seconds_of_day(&next.time) - seconds_of_day(&of_pki[first].time);
    assert!(pause >= 2, "left alone as long as it wanted: {of_pki:#?}");
    // The server rounds what is left of the four seconds down: then the calls come one per slot.
    assert!(refused <= 2 * most_calls(span), "{of_pki:#?}");
}

/// Of a time like `2026-11-21T17:01:16Z`.
fn seconds_of_day(time: &str) -> i64 {
    let (_, time) = time.trim_end_matches('Z').split_once('T').unwrap();
    time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap())
}

/// From before the boot and for as long as it lasts: the certificates of before are used, a new one gets a placeholder, and
/// the calls become rare. When packets flow again, everything is made good without anybody's help.
#[test]
fn packets_are_dropped() {
    if !lab_or_skip() {
        return;
    }
    let Some(mut node) = VaultNode::inside() else { return };
    let (service, first) = in_use(&mut node);
    let wanted = node.lab_certificate();
    let served = node.served(&wanted);
    drop(service);
    std::fs::remove_dir_all(node.path("/run")).unwrap();
    let firewall = |node: &VaultNode, action: &str| {
        let rule = ["iptables", action, "INPUT", "-p", "tcp", "--dport", "8200", "-j", "DROP"];
        let output = node.network.as_ref().unwrap().run(&rule).unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    firewall(&node, "-A");
    node.want(|all| {
        let mut other = all[0].clone();
        other.name = "other".parse().unwrap();
        other.directory = "/srv/other".parse().unwrap();
        all.push(other);
        all[0].subject_alternative_names.push("more.lab.example".parse().unwrap());
    });
    let service = node.start();
    let address = node.vault.address();
    let item = server(&node, &address, "unreachable");
    assert_eq!(item["state"], "error", "{item:#}");
    let countdown = node.wait_for_item(("certificate", "ingress"), "a countdown", |item| {
        item["reason"].as_str().is_some_and(|text| text.contains("cannot be reached"))
    });
    assert_eq!(node.row("ingress")["leaf"]["serial"], first.as_str(), "{countdown:#}");
    assert_eq!(node.served(&wanted), served);
    let other = node.wait_for_item(("certificate", "other"), "a placeholder", |item| {
        item["seen"] == "a self-signed placeholder"
    });
    assert_eq!(other["state"], "error", "{other:#}");
    let placeholder = std::fs::read_to_string(node.path("/srv/other/certificate.pem")).unwrap();
    let subject = e2e::vault_node::openssl(&["x509", "-noout", "-subject"], &placeholder);
    assert!(subject.contains("placeholder"), "{subject}");
    assert_eq!(node.status()["phase"]["name"], "degraded");
    let metrics = node.metrics();
    let is_told = |name: &str| metrics.lines().any(|line| line.starts_with(name));
    assert!(is_told("basalt_certificate_"), "{metrics}");
    firewall(&node, "-D");
    node.wait_for_new("ingress", &first);
    node.wait_for_new("other", "");
    server(&node, &address, "active");
    assert!(!service.log().contains("panicked"));
}

#[test]
fn one_that_was_never_set_up_is_told_from_a_sealed_one() {
    let Some(mut node) = VaultNode::new() else { return };
    let (_service, first) = in_use(&mut node);
    let mut other = made(VaultServer::start_uninitialised(&program().unwrap(), &Place::Loopback));
    let (address, ca) = (other.address(), other.ca_pem().to_owned());
    node.want_node(|it| {
        let vault = it.vault.as_mut().unwrap();
        vault.addresses = vec![address.clone()];
        vault.certificates[0].common_name = "more.lab.example".to_owned();
        it.trust_anchors.insert(vault.ca.clone(), ca);
    });
    let item = server(&node, &address, "uninitialised");
    assert_eq!(item["state"], "error", "{item:#}");
    made(other.init());
    server(&node, &address, "sealed");
    assert_eq!(node.row("ingress")["leaf"]["serial"], first.as_str());
    let own = ["sys/health", "sys/init", "sys/seal-status"];
    let asked = made(other.requests());
    assert!(asked.iter().all(|it| own.contains(&it.path.as_str())), "{asked:#?}");
}

/// Vault is reached directly, whatever the environment says about proxies.
#[test]
fn proxies_are_not_for_vault() {
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let nobody = "http://127.0.0.1:9";
    let names =
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let _service = node.start_with(&names.map(|name| (name, nobody)));
    node.wait_for_new("ingress", "");
}

/// The real haproxy, with a certificate that the node trusts, sends everybody to the real Vault. Nobody goes there.
#[test]
fn nobody_is_sent_elsewhere() {
    let Some(mut node) = VaultNode::new() else { return };
    let Some(haproxy) = peer("haproxy") else { return };
    let authority = made(Authority::new("Lab proxy CA"));
    let (chain, key) = made(authority.issue(&["127.0.0.1".to_owned()]));
    let port = free_port().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("server.pem");
    std::fs::write(&pem, format!("{chain}{key}")).unwrap();
    let config = folder.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend vault\n  bind 127.0.0.1:{port} ssl crt {}\n  http-request redirect prefix {}\n",
        pem.display(),
        node.vault.address()
    );
    std::fs::write(&config, text).unwrap();
    let child = Command::new(&haproxy.program)
        .args(["-db", "-f"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _proxy = Ended(child.unwrap());
    wait::until("haproxy", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok())
        .unwrap();
    let before = made(node.vault.requests()).len();
    let address = format!("https://127.0.0.1:{port}");
    node.want_node(|it| {
        let vault = it.vault.as_mut().unwrap();
        vault.addresses = vec![address.clone()];
        let anchors = format!("{}{}", authority.pem(), it.trust_anchors[&vault.ca]);
        it.trust_anchors.insert(vault.ca.clone(), anchors);
    });
    let _service = node.start();
    let item = server(&node, &address, "redirects");
    assert!(item["reason"].as_str().unwrap().contains(&node.vault.address()), "{item:#}");
    let row = node.wait_for_row("ingress", "a failure", |row| row["last"]["good"] == false);
    assert_eq!(row["standing"], "placeholder", "{row:#}");
    assert_eq!(made(node.vault.requests()).len(), before, "it was not followed");
}

/// Ended with its value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
