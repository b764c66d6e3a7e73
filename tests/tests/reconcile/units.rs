//! What is shipped for systemd, judged by systemd's own tools.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::needs::root_or_skip;
use e2e::peers::{Peer, peer};
use e2e::programs::agent;
use tempfile::TempDir;

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/dist")
}

/// A root directory with our units, the programs they start, and systemd's own units around them.
fn root() -> TempDir {
    let root = TempDir::new().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    let systemd = PathBuf::from("/usr/lib/systemd/system");
    for folder in [systemd, dist(), dist().join("kubelet"), dist().join("images")] {
        for entry in folder.read_dir().unwrap().flatten() {
            if entry.path().extension().is_some_and(|kind| {
                ["service", "target", "socket", "timer"].iter().any(|k| kind == *k)
            }) && entry.file_type().unwrap().is_file()
            {
                std::fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
            }
        }
    }
    for program in ["usr/bin/basalt-agent", "usr/bin/kubelet", "bin/kill"] {
        let program = root.path().join(program);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

/// Whether the program is content, and everything it says.
fn ask(peer: &Peer, root: &TempDir, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(&peer.program)
        .arg(format!("--root={}", root.path().display()))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), text)
}

#[track_caller]
fn succeeds(peer: &Peer, root: &TempDir, arguments: &[&str]) -> String {
    let (is_content, text) = ask(peer, root, arguments);
    assert!(is_content, "{} {arguments:?}: {text}", peer.name);
    text
}

#[test]
fn systemd_accepts_the_units() {
    let Some(analyze) = peer("systemd-analyze") else { return };
    let root = root();
    let verify =
        |unit: &str| ask(&analyze, &root, &["verify", "--man=no", "--recursive-errors=no", unit]);
    let units =
        ["basalt-agent.service", "kubelet.service", "basalt-images.service", "basalt-images.timer"];
    for unit in units {
        assert_eq!(verify(unit), (true, String::new()), "{unit}: not even a warning");
    }
    let path = root.path().join("usr/lib/systemd/system/basalt-agent.service");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Type=notify", "Typ=notify")).unwrap();
    let (_, text) = verify("basalt-agent.service");
    assert!(text.contains("Typ"), "the tool notices what is wrong: {text}");
}

/// 2.4 of 10 as `systemd-analyze security` counts, nearly half of it for asking pods and addresses whether they answer;
/// the threshold is in tenths.
#[test]
fn the_agent_is_locked_in() {
    let Some(analyze) = peer("systemd-analyze") else { return };
    let root = root();
    succeeds(
        &analyze,
        &root,
        &["security", "--offline=true", "--threshold=24", "--no-pager", "basalt-agent.service"],
    );
}

#[test]
fn directories_are_made_as_the_agent_wants_them() {
    let (Some(tmpfiles), Some(agent)) = (peer("systemd-tmpfiles"), agent()) else { return };
    if !root_or_skip() {
        return;
    }
    let root = TempDir::new().unwrap();
    let config = dist().join("basalt.tmpfiles");
    succeeds(&tmpfiles, &root, &["--create", config.to_str().unwrap()]);
    let mode =
        |path: &str| root.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
    for directory in
        ["etc/basalt/pods", "etc/basalt/agent.conf.d", "etc/kubernetes/manifests", "var/lib/basalt"]
    {
        assert_eq!(mode(directory), 0o755, "{directory}");
    }
    // The agent finds nothing to do about any of them.
    let node = root.path().join("etc/basalt/node.json");
    std::fs::write(&node, crate::bench::Variant::Full.node(1).to_json()).unwrap();
    let plan = Command::new(agent).arg("--root").arg(root.path()).arg("plan").output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    for directory in ["etc/basalt/pods:", "etc/kubernetes/manifests:", "var/lib/basalt:"] {
        assert!(!plan.contains(directory), "{plan}");
    }
}

#[test]
fn the_pods_user_is_reserved() {
    let Some(sysusers) = peer("systemd-sysusers") else { return };
    let root = TempDir::new().unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    let config = dist().join("basalt.sysusers");
    succeeds(&sysusers, &root, &[config.to_str().unwrap()]);
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.contains("basalt-pods:x:65532:65532:"), "{users}");
}
