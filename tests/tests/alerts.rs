//! The alerts that are shipped, and the metrics of a running agent, as Prometheus' own tool takes them.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use e2e::checkout;
use e2e::peers::{Peer, peer};
use e2e::vault_node::VaultNode;

fn run(promtool: &Peer, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(&promtool.program)
        .args(arguments)
        .current_dir(checkout::root().join("tests/tests/alerts"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn alerts_are_raised_when_they_should_be() {
    let Some(promtool) = peer("promtool") else { return };
    let file = checkout::root().join("agent/dist/metrics/basalt-alerts.yaml");
    let checked = run(&promtool, &["check", "rules", file.to_str().unwrap()], "");
    assert!(checked.status.success(), "{checked:?}");
    // Series that are made up, and which alerts they are to raise.
    let tested = run(&promtool, &["test", "rules", "rules.yaml"], "");
    assert!(tested.status.success(), "{tested:?}");
}

/// Of a node whose certificate is in use, and of one whose Vault is sealed.
#[test]
fn metrics_are_as_prometheus_wants_them() {
    let Some(promtool) = peer("promtool") else { return };
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let _service = node.start();
    node.wait_for_new("ingress", "");
    let check = |what: &str, name: &str, value: &str| {
        let line = e2e::wait::until(what, std::time::Duration::from_secs(60), || {
            let metrics = node.metrics();
            let mut lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.any(|line| line.ends_with(value)).then_some(metrics)
        });
        let metrics = line.unwrap_or_else(|error| panic!("{error}\n{}", node.metrics()));
        let checked = run(&promtool, &["check", "metrics"], &metrics);
        assert!(checked.status.success(), "{checked:?}\n{metrics}");
        assert!(checked.stderr.is_empty() && checked.stdout.is_empty(), "{checked:?}");
    };
    check("all to be well", "basalt_certificate_proved{", " 1");
    e2e::vault_node::made(node.vault.seal());
    let refused = node.agent(&["rotate", "ingress"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    check("a sealed Vault", "basalt_vault_server_usable{", " 0");
}
