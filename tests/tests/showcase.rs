//! `cargo xtask lab`, as somebody uses it who sees the product for the first time.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use e2e::{cache, needs, programs};
use serde_json::Value;

/// The verb on a cache of the test's own, so that a lab of somebody on this machine is left alone.
struct Lab {
    xtask: std::path::PathBuf,
    cache: tempfile::TempDir,
}

impl Lab {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.xtask);
        command.arg("lab").args(arguments).env("BASALT_CACHE", self.cache.path());
        command.output().expect("the program that cargo built can be started")
    }

    #[track_caller]
    fn output(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("it prints text")
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], expected: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

#[test]
fn the_lab_comes_up_answers_and_leaves_nothing_behind() {
    if !needs::lab_or_skip() {
        return;
    }
    let (Some(xtask), Some(agent)) = (programs::xtask(), programs::agent()) else { return };
    // Says which is missing; the verb would too.
    let needed = ["ignition-2.24", "umoci", "busybox", "curl", "haproxy", "keepalived", "kubelet"];
    if !needed.into_iter().all(|name| e2e::peers::peer(name).is_some()) {
        return;
    }
    // Trees are made in the cache, which therefore is on the same disk.
    std::fs::create_dir_all(cache::folder()).unwrap();
    let own = tempfile::tempdir_in(cache::folder()).unwrap();
    symlink(cache::folder().join("peers"), own.path().join("peers")).unwrap();
    let lab = Lab { xtask, cache: own };

    lab.refused(&["status"], "no lab is up");
    let agent = agent.to_str().unwrap();
    let text = lab.output(&["up", "--agent", agent]);
    assert!(text.contains("lab shell n1"), "{text}");

    let status: Value = serde_json::from_str(&lab.output(&["status", "--output", "json"])).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    let phase = |node: &Value| node["status"]["phase"]["name"].as_str().unwrap().to_owned();
    assert_eq!(nodes.iter().map(phase).collect::<Vec<_>>(), ["serving"; 3]);
    assert_eq!(lab.output(&["shell", "n2", "--", "hostname"]).trim(), "n2");
    let answer = ["shell", "n3", "--", "curl", "-fsS", "http://192.0.2.10/"];
    assert_eq!(lab.output(&answer), "web");
    lab.refused(&["shell", "n4"], "there is no node `n4`; the nodes are n1, n2, n3");
    assert!(lab.output(&["up", "--agent", agent]).contains("serving"));

    lab.output(&["down"]);
    lab.refused(&["status"], "no lab is up");
    let inits = nodes.iter().map(|node| node["node"]["init"].as_i64().unwrap());
    for init in inits {
        assert!(!Path::new(&format!("/proc/{init}")).exists(), "pid {init} is still there");
    }
    let left = std::fs::read_dir(lab.cache.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0, "folders are left");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.cache.path().to_str().unwrap()), "{mounts}");
}
