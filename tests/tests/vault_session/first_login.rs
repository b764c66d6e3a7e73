//! The agent is killed in the middle of its first login, at each of its stages, and starts again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::vault_node::{IDENTITY_MOUNT, Service, VaultNode, made};
use e2e::wait;
use serde_json::Value as Json;

const UNWRAP: &str = "sys/wrapping/unwrap";
const LIMIT: Duration = Duration::from_secs(60);
/// Rounds for each stage, with a kill a little later each time.
const ROUNDS: u32 = 5;

/// How the node stands with Vault, as this process says; null before it has.
fn vault(node: &VaultNode, service: &Service) -> Json {
    let file = std::fs::read(node.path("/run/basalt/status.json")).unwrap_or_default();
    let report: Json = serde_json::from_slice(&file).unwrap_or_default();
    match report["pid"] == service.id() {
        true => report["evidence"]["reports"]["certificates"]["vault"].clone(),
        false => Json::Null,
    }
}

#[track_caller]
fn identity(node: &VaultNode, service: &Service, states: &[&str]) -> Json {
    let mut last = Json::Null;
    let found = wait::until(&format!("an identity that is {states:?}"), LIMIT, || {
        last = vault(node, service)["identity"].clone();
        states.iter().any(|state| last["state"] == *state).then(|| last.clone())
    });
    found.unwrap_or_else(|error| panic!("{error}: {last:#}"))
}

/// The stage that was written down.
fn stage(node: &VaultNode) -> &'static str {
    let read = |path: &str| std::fs::read_to_string(node.path(path)).unwrap_or_default();
    if node.path("/var/lib/basalt/identity/node.json").exists() {
        return "identity";
    }
    let text = read("/var/lib/basalt/identity/enrolment.json");
    let stages = ["logged_in", "unwrapped", "unwrapping", "refused"];
    stages.into_iter().find(|stage| text.contains(&format!("\"{stage}\""))).unwrap_or("nothing")
}

/// Killed right after its first login: the one-time secret is gone, and nothing is asked of anybody. The same after a boot
/// that empties `/run`, and after the agent was installed anew beside its data.
#[test]
fn one_first_login_is_enough() {
    let Some(mut node) = VaultNode::with_identity() else { return };
    node.want(|_| {});
    let token = made(node.deliver());
    let service = node.start();
    identity(&node, &service, &["good"]);
    service.kill();
    let delivered = node.path(basalt_model::node::WRAPPED_SECRET_ID_PATH);
    assert!(!delivered.exists(), "it is of no use any more");
    assert_eq!((node.count(UNWRAP, 200), node.count("auth/approle/login", 200)), (1, 1));
    let unknown = made(node.vault.call("POST", UNWRAP, Some(&token), None));
    assert_eq!(unknown.status, 400, "{unknown:?}");

    let mut serial = String::new();
    for start in 1..=3 {
        std::fs::remove_dir_all(node.path("/run")).unwrap();
        let service = node.start();
        identity(&node, &service, &["good"]);
        serial = node.wait_for_row("ingress", "a certificate", |row| row["standing"] == "in-use")
            ["leaf"]["serial"]
            .to_string();
        assert_eq!(node.count("auth/cert/login", 200), start + 1);
        service.kill();
    }
    assert!(!serial.is_empty());
    assert_eq!((node.count(UNWRAP, 200), node.count("auth/approle/login", 200)), (1, 1));
    assert_eq!(node.count(&format!("{IDENTITY_MOUNT}/sign/node"), 200), 1);
}

/// Whatever stage it is killed at, it goes on from there, or the one-time secret was lost at the one moment where that
/// cannot be helped: then it says so, raises no false alarm, and takes a new one without a restart.
#[test]
fn killed_at_any_stage() {
    let Some(mut node) = VaultNode::with_identity() else { return };
    node.want(|_| {});
    let mut outcomes: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for (number, target) in ["unwrapping", "unwrapped", "logged_in", "identity"].iter().enumerate()
    {
        for round in 0..ROUNDS {
            for path in ["/var/lib/basalt/identity", "/run/basalt/identity"] {
                let _ = std::fs::remove_dir_all(node.path(path));
            }
            let unwrapped = node.count(UNWRAP, 200);
            made(node.deliver());
            let order = ["nothing", "unwrapping", "unwrapped", "logged_in", "identity"];
            let service = node.start();
            let start = Instant::now();
            while order.iter().position(|it| *it == stage(&node)).unwrap_or(0) <= number {
                assert!(start.elapsed() < LIMIT, "it never got to {target}: {}", stage(&node));
            }
            std::thread::sleep(Duration::from_millis(u64::from(round) * 3));
            let log = service.kill();
            assert!(!log.contains("panicked"), "{log}");
            let died_at = stage(&node);

            let service = node.start();
            let seen = identity(&node, &service, &["good", "failed"]);
            let state = seen["state"].as_str().unwrap().to_owned();
            // Of one that was cut off Vault does not say whether it answered.
            let times = node.count(UNWRAP, 200) - unwrapped;
            assert!(times == 1 || times == 0 && state == "failed", "{died_at}: {times} times");
            if state == "failed" {
                assert!(["unwrapping", "unwrapped"].contains(&died_at), "{died_at}: {seen:#}");
                let said = seen["warnings"].to_string();
                let is_known = said.contains("was used up at the moment this node was interrupted")
                    || said.contains("Vault does not take the secret id");
                assert!(is_known, "{died_at}: {said}");
                made(node.deliver());
                identity(&node, &service, &["good"]);
            }
            *outcomes.entry((died_at, state)).or_default() += 1;
        }
    }
    println!("killed at, and what became of it: {outcomes:?}");
    for stage in ["unwrapped", "logged_in", "identity"] {
        assert!(outcomes.contains_key(&(stage, "good".to_owned())), "{outcomes:?}");
    }
    let service = node.start();
    identity(&node, &service, &["good"]);
    node.wait_for_new("ingress", "");
}
