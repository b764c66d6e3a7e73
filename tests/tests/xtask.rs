//! The front door as a program: what it prints and how it ends.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::programs::xtask;
use serde_json::Value;

/// `xtask` with an empty cache and a `go` of our own: what it fetches otherwise is not what this is about.
struct Bench {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(go: &str) -> Option<Self> {
        let program = xtask()?;
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("go"), format!("#!/bin/sh\n{go}\n")).unwrap();
        fs::set_permissions(bin.join("go"), fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { program, folder })
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path().join("bin").display().to_string();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("BASALT_CACHE", self.cache())
            .env("PATH", format!("{bin}:{path}"));
        command.output().unwrap()
    }

    /// The row of `butane`, as `peers --output json` prints it, and the exit status.
    fn butane(&self, more: &[&str]) -> (Value, i32, String) {
        let output = self.run(&[&["peers", "butane", "--output=json"], more].concat());
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (rows[0].clone(), output.status.code().unwrap(), stderr)
    }

    fn entries(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.cache().join("peers")) else { return Vec::new() };
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Does what `go build -o FILE PACKAGE` does, as far as the caller can see.
const GO: &str = r#"
case $1 in
env) echo go1.26.1 ;;
build)
	while [ "$1" != -o ]; do shift; done
	printf '#!/bin/sh\necho Butane v0.29.0\n' >"$2"
	chmod +x "$2" ;;
esac"#;

#[test]
fn a_peer_is_built_once() {
    let Some(bench) = Bench::new(GO) else { return };
    let (row, status, _) = bench.butane(&["--check"]);
    assert_eq!((row["outcome"].as_str(), status), (Some("missing"), 3));
    assert_eq!(bench.entries(), [] as [&str; 0]);
    // What a killed run left behind is removed by the way.
    fs::create_dir_all(bench.cache().join("peers/.new-killed/half")).unwrap();
    let (row, status, _) = bench.butane(&[]);
    assert_eq!((row["outcome"].as_str(), status), (Some("built"), 0), "{row}");
    assert_eq!(row["version"], "0.29.0");
    assert!(Path::new(row["path"].as_str().unwrap()).starts_with(bench.cache()), "{row}");
    assert_eq!(bench.entries().len(), 1);
    let (row, status, _) = bench.butane(&[]);
    assert_eq!((row["outcome"].as_str(), status), (Some("already_there"), 0));
    let (_, status, _) = bench.butane(&["--check"]);
    assert_eq!(status, 0);
}

#[test]
fn a_failed_build_leaves_nothing_and_says_why() {
    let go = "test $1 = env && echo go1.26.1 || { echo 'checksum mismatch' >&2; exit 1; }";
    let Some(bench) = Bench::new(go) else { return };
    let (row, status, stderr) = bench.butane(&[]);
    assert_eq!((row["outcome"].as_str(), status), (Some("failed"), 1));
    assert!(
        stderr.contains("error: peer `butane`") && stderr.contains("checksum mismatch"),
        "{stderr}"
    );
    assert_eq!(bench.entries(), [] as [&str; 0]);
}

#[test]
fn an_old_go_is_named_with_where_to_get_a_newer_one() {
    let Some(bench) = Bench::new("echo go1.19.8") else { return };
    let (row, status, _) = bench.butane(&[]);
    assert_eq!((row["outcome"].as_str(), status), (Some("missing"), 1));
    let hint = row["hint"].as_str().unwrap();
    assert!(hint.starts_with("go1.19.8 is too old; install Go 1.21 or newer from "), "{hint}");
}

#[test]
fn wrong_usage_ends_with_2_and_what_was_meant() {
    let Some(bench) = Bench::new("exit 1") else { return };
    let output = bench.run(&["peers", "butan"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("a similar value exists: 'butane'"), "{stderr}");
    assert_eq!(bench.run(&["no-such-verb"]).status.code(), Some(2));
}

/// Runs the lines of shell `script` with `$XTASK` as the program, and gives how it ended and its standard error.
fn shell(program: &Path, script: &str) -> (Option<i32>, String) {
    let mut command = Command::new("bash");
    let output = command.args(["-c", script]).env("XTASK", program).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn output_that_nobody_reads_or_no_disk_takes_is_no_panic() {
    let (Some(xtask), Some(agent)) = (xtask(), e2e::programs::agent()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let cluster = e2e::checkout::cluster("lab").join("cluster.yaml");
    let build = format!(
        "\"$XTASK\" -q build-image --agent '{}' --cluster '{}' --dist '{}/dist'",
        agent.display(),
        cluster.display(),
        folder.path().display()
    );
    for verb in [build.as_str(), "\"$XTASK\" -q peers --check", "\"$XTASK\" butane --help"] {
        let (usual, _) = shell(&xtask, &format!("{verb} >/dev/null"));
        // The pipe is closed before the verb begins.
        let closed = format!("{{ sleep 0.2; {verb}; echo $? >&3; }} 3>&2 | true");
        let (_, stderr) = shell(&xtask, &closed);
        assert!(!stderr.contains("panicked"), "{verb}: {stderr}");
        if !verb.contains("butane") {
            let last = stderr.lines().last().map(str::to_owned);
            assert_eq!(last, usual.map(|code| code.to_string()), "{verb}");
        }
        let (status, stderr) = shell(&xtask, &format!("{verb} >/dev/full"));
        assert_eq!(status, Some(1), "{verb}: {stderr}");
        assert!(stderr.contains("error: cannot write to standard output"), "{verb}: {stderr}");
        assert!(!stderr.contains("panicked"), "{verb}: {stderr}");
        let (status, _) = shell(&xtask, &format!("{verb} >/dev/null 2>/dev/full"));
        assert_eq!(status, usual, "{verb}");
    }
}
