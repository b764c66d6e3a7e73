//! `basalt-agent` as a shell meets it: what it does when nobody reads, when it is asked about no node, and when whoever asks
//! may not look.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::Duration;

use basalt_model::node::Node;
use e2e::needs::root_or_skip;
use e2e::scratch_node::{ScratchNode, Service};
use e2e::{programs, wait};
use serde_json::json;

/// A node of one generation that was accepted, without pods and without a service.
fn node() -> Option<ScratchNode> {
    let node = ScratchNode::new(&programs::agent()?, "6f1d2c3b4a5968778695a4b3c2d1e0f9").unwrap();
    let text = include_str!("../clusters/lab/dist/nodes/n1/node.json");
    let mut wanted = Node::from_json("n1.json", text).unwrap();
    (wanted.haproxy, wanted.keepalived, wanted.vault_agent) = (None, None, None);
    (wanted.vault, wanted.pods) = (None, Vec::new());
    // Nobody is there: the node waits for it, and says so.
    let kubernetes = json!({
        "servers": ["127.0.0.1:1"],
        "server_name": "kubernetes.lab.example",
        "local_port": 6444,
        "ca": "fleet-root",
        "client_ca": "fleet-root",
        "cluster_domain": "cluster.local",
        "cluster_dns": ["10.96.0.10"],
        "labels": {},
        "taints": [],
        "identity": {"bootstrap": {"token_file": "/etc/basalt/bootstrap-token"}},
        "hand_off": "manual",
        "deadline_seconds": 60,
        "drain_seconds": 5,
    });
    wanted.kubernetes = Some(serde_json::from_value(kubernetes).unwrap());
    node.write("/etc/basalt/node.json", &wanted.to_json(), 0o644).unwrap();
    drop(serving(&node));
    Some(node)
}

/// Starts the service, and waits until it has looked at the node.
fn serving(node: &ScratchNode) -> Service {
    let service = node.start().unwrap();
    wait::until("the node to be accepted", Duration::from_secs(60), || {
        let status = node.status().ok()?;
        let is_there = node.path("/run/basalt/hand-off.json").exists();
        (is_there && status["service"]["report"]["rounds"].as_u64() > Some(0)).then_some(())
    })
    .unwrap();
    service
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the lines of shell with `$AGENT` as the program on the node.
fn shell(node: &ScratchNode, script: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("AGENT", node.program()).env("BASALT_ROOT", node.root());
    command.output().unwrap()
}

#[test]
fn output_that_nobody_reads_or_no_disk_takes_is_no_panic() {
    let Some(node) = node() else { return };
    let _service = serving(&node);
    let verbs = [
        "status",
        "plan",
        "check",
        "certs",
        "preflight",
        "join --timeout-seconds 1",
        "leave --timeout-seconds 1",
        "rotate --all --timeout-seconds 1",
        "bundle status",
        "bundle plan",
        "bundle pause",
        "--help",
        "no-such-command",
    ];
    for verb in verbs {
        let usual = shell(&node, &format!("\"$AGENT\" {verb} >/dev/null 2>&1; echo $?"));
        let usual = text(&usual.stdout);
        // Pipes are closed before the command begins.
        for closed in [
            "{ { sleep 0.1; \"$AGENT\" VERB 2>&1; echo $? >&3; } | true; } 3>&1",
            "{ { sleep 0.1; \"$AGENT\" VERB 2>&1 >/dev/null; echo $? >&3; } | true; } 3>&1",
            "\"$AGENT\" VERB >&- 2>&-; echo $?",
        ] {
            let output = shell(&node, &closed.replace("VERB", verb));
            assert_eq!(text(&output.stdout), usual, "{verb}: {closed}");
        }
        let full = shell(&node, &format!("\"$AGENT\" {verb} >/dev/full 2>/dev/full; echo $?"));
        assert_ne!(text(&full.stdout), "101\n", "{verb}");
    }
}

#[test]
fn a_root_that_is_no_directory_is_an_error_with_its_path() {
    let Some(agent) = programs::agent() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node");
    fs::write(&file, "").unwrap();
    for (root, reason) in [
        (file, "not a directory"),
        (folder.path().join("gone"), "No such file or directory (os error 2)"),
    ] {
        let root = root.to_str().unwrap();
        let output = Command::new(&agent).args(["--root", root, "status"]).output().unwrap();
        let expected = format!("error: cannot use `{root}` as the root directory: {reason}\n");
        assert_eq!(text(&output.stderr), expected);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    }
}

#[test]
fn who_may_not_look_is_told_to_ask_as_root() {
    if !root_or_skip() {
        return;
    }
    let Some(node) = node() else { return };
    // As on a machine that an administrator has closed further.
    fs::set_permissions(node.path("/var/lib/basalt"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(node.root(), Permissions::from_mode(0o755)).unwrap();
    for verb in [&["bundle", "pause"][..], &["bundle", "resume"], &["bundle", "plan"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(node.program());
        let output = node.command_by(command, verb).output().unwrap();
        let expected = "error: cannot find out which node.json was accepted: \
                        Permission denied (os error 13)\nhint: ask as root\n";
        assert_eq!(text(&output.stderr), expected, "{verb:?}");
        assert_eq!(output.status.code(), Some(1));
    }
}
