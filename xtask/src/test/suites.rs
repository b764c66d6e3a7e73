//! The workspace's tests in parts that run side by side: those on real machines wait most of their time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::checkout::cargo;
use crate::command;
use crate::progress::Progress;

/// So many parts run at once, whatever the number of processors. Tests that need a machine to themselves, or nearly,
/// take turns besides.
const AT_ONCE: usize = 2;

/// A part of the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    /// For people: `hand_off`.
    pub(super) name: String,
    pub(super) what: What,
}

/// What runs a part of the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A program that cargo has built of a package in `folder`.
    Program { program: PathBuf, folder: PathBuf },
    /// The examples in docs, which cargo builds as it runs them.
    Examples,
}

/// How a part ended.
pub(super) struct Finished {
    pub(super) suite: Suite,
    pub(super) took: Duration,
    /// What it printed, on both outputs.
    pub(super) output: Vec<u8>,
    pub(super) status: ExitStatus,
}

/// What `cargo metadata` says, as far as it is used here.
#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    metadata: Option<Metadata>,
}

/// The table `package.metadata` of a manifest.
#[derive(Deserialize)]
struct Metadata {
    /// The test targets that take longest, which are begun first.
    #[serde(default, rename = "longest-tests")]
    longest_tests: Vec<String>,
}

/// A message of cargo's, as far as it is about a test program.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The parts that `messages` of cargo's are about, which has built them, those that take long first.
///
/// # Errors
/// When cargo cannot read the workspace, or a manifest names a long test that was not built.
pub(super) fn all(messages: &str) -> Result<Vec<Suite>> {
    let text = command::run(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let workspace: Workspace =
        serde_json::from_str(&text).context("cannot read what cargo printed")?;
    let manifests = workspace.packages.into_iter().filter_map(|package| package.metadata);
    let longest: Vec<String> = manifests.flat_map(|manifest| manifest.longest_tests).collect();
    order(messages.lines().filter_map(built).collect(), &longest)
}

/// The test program that a message of cargo's is about.
fn built(message: &str) -> Option<Suite> {
    let Artifact { manifest_path, target, profile, executable } =
        serde_json::from_str(message).ok()?;
    let is_test = target.kind.iter().any(|kind| kind == "test");
    let name = if is_test { target.name } else { format!("{} (unit tests)", target.name) };
    let what = What::Program { program: executable?, folder: manifest_path.parent()?.into() };
    profile.test.then_some(Suite { name, what })
}

fn order(mut suites: Vec<Suite>, longest: &[String]) -> Result<Vec<Suite>> {
    for name in longest {
        let is_there = suites.iter().any(|suite| suite.name == *name);
        ensure!(is_there, "`longest-tests` names `{name}`, which is no test target");
    }
    suites.push(Suite { name: "examples in docs".to_owned(), what: What::Examples });
    let place = |suite: &Suite| longest.iter().position(|name| *name == suite.name);
    suites.sort_by_key(|suite| place(suite).unwrap_or(longest.len()));
    Ok(suites)
}

/// Runs `suites` side by side, each by the command that `prepare` makes for it, and hands each to `take` when it has
/// ended: their outputs do not mix.
///
/// # Errors
/// The first of `take`'s, and when a command cannot be started. Parts that run then run to their end.
pub(super) fn run(
    suites: Vec<Suite>,
    progress: &Progress,
    prepare: impl Fn(&Suite) -> Command + Sync,
    take: impl FnMut(Finished) -> Result<()> + Send,
) -> Result<()> {
    let left = Mutex::new(VecDeque::from(suites));
    let take = Mutex::new(take);
    let work = || -> Result<()> {
        loop {
            let suite = left.lock().expect("nobody panics with it").pop_front();
            let Some(suite) = suite else { return Ok(()) };
            progress.step(format!("testing: {}", suite.name));
            let command = prepare(&suite);
            let finished = perform(suite, command);
            let ended = finished.and_then(|finished| (take.lock().expect("as above"))(finished));
            if ended.is_err() {
                left.lock().expect("as above").clear();
                return ended;
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("it returns errors"));
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Runs `test`, which is of `suite`, and keeps what it prints.
///
/// # Errors
/// When it cannot be started.
pub(super) fn perform(suite: Suite, mut test: Command) -> Result<Finished> {
    let begin = Instant::now();
    let mut output = tempfile::tempfile()?;
    test.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let line = command::line(&test);
    let status = test.status().with_context(|| format!("cannot start `{line}`"))?;
    let output = read_back(&mut output)?;
    Ok(Finished { suite, took: begin.elapsed(), output, status })
}

fn read_back(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"
{"reason":"compiler-artifact","manifest_path":"/b/image/Cargo.toml","target":{"kind":["lib"],"name":"image"},"profile":{"test":true},"executable":"/t/image-1"}
{"reason":"compiler-artifact","manifest_path":"/b/image/Cargo.toml","target":{"kind":["lib"],"name":"image"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/b/tests/Cargo.toml","target":{"kind":["test"],"name":"lint"},"profile":{"test":true},"executable":"/t/lint-1"}
{"reason":"compiler-artifact","manifest_path":"/b/tests/Cargo.toml","target":{"kind":["test"],"name":"pods"},"profile":{"test":true},"executable":"/t/pods-1"}
{"reason":"compiler-artifact","manifest_path":"/b/xtask/Cargo.toml","target":{"kind":["bin"],"name":"xtask"},"profile":{"test":false},"executable":"/t/xtask"}
{"reason":"build-finished","success":true}"#;

    fn suites(longest: &[&str]) -> Result<Vec<Suite>> {
        let longest: Vec<String> = longest.iter().map(|&name| name.to_owned()).collect();
        order(MESSAGES.lines().filter_map(built).collect(), &longest)
    }

    #[test]
    fn each_program_is_run_once_and_long_ones_first() {
        let suites = suites(&["pods"]).unwrap();
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["pods", "image (unit tests)", "lint", "examples in docs"]);
        let what = What::Program { program: "/t/pods-1".into(), folder: "/b/tests".into() };
        assert_eq!(suites[0].what, what);
    }

    #[test]
    fn a_long_test_that_is_gone_is_named() {
        let error = suites(&["pods", "nodes"]).unwrap_err().to_string();
        assert!(error.contains("`nodes`"), "{error}");
    }

    #[test]
    fn parts_run_side_by_side_and_are_taken_one_by_one() {
        let suite = |name: &str| Suite { name: name.to_owned(), what: What::Examples };
        let suites = || ["1", "2", "3", "4"].map(suite).to_vec();
        let echo = |suite: &Suite| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo out; echo error >&2; exit $0", &suite.name]);
            command
        };
        let mut seen = Vec::new();
        run(suites(), &Progress::new(true), echo, |finished| {
            assert_eq!(finished.output, b"out\nerror\n");
            seen.push((finished.suite.name, finished.status.code().unwrap()));
            Ok(())
        })
        .unwrap();
        seen.sort();
        let expected = [1, 2, 3, 4].map(|code| (code.to_string(), code));
        assert_eq!(seen, expected);

        let missing = |_: &Suite| Command::new("no-such-program");
        assert!(run(suites(), &Progress::new(true), missing, |_| Ok(())).is_err());
    }
}
