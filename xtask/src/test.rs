//! `test`: every check and test of the project, and which real programs it ran against.

mod count;
mod suites;
mod summary;

use std::env;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use e2e::peers::{PeerSpec, REQUIRE_VARIABLE};
use e2e::programs;
use e2e::report::{self, Event};

use crate::build_image::agent;
use crate::checkout::{self, cargo};
use crate::output::{self, Readers};
use crate::progress::Progress;
use crate::{FAILED, command, peers};
use count::Counts;
use suites::{Finished, Suite, What};

/// Run every check and test, and say which real programs they ran against.
///
/// First the style (`cargo fmt`, `cargo clippy`), generated files and the dependencies (`cargo deny`), then every test
/// of the workspace: two test programs at a time, those that take long first. What one prints is shown when it ends.
/// All of it runs even when something fails, so that one run shows every finding.
///
/// A test that fails then runs again, alone: on machines with work to do, some real programs are late for their time.
/// One that passes alone counts as passed and is named as unsteady, with what it printed the first time above.
///
/// It ends with a table of the real programs (peers) that tests ran against, and the line `N passed, N failed, N
/// skipped`. A test that needs a peer that is missing, or root, is skipped and named.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose names contain one of these, and no checks of style and dependencies.
    filters: Vec<String>,
    /// Do not get missing peers first, as `cargo xtask peers` does.
    ///
    /// With a filter, none are got either: a single test is not to wait for all of them.
    #[arg(long)]
    no_peers: bool,
    /// Make a missing peer a failure, not a skipped test.
    #[arg(long)]
    require_peers: bool,
}

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let checkout = checkout::folder()?;
    let mut failures: Vec<String> = Vec::new();
    let mut events = Vec::new();
    if !arguments.no_peers && arguments.filters.is_empty() {
        // What is still missing is named again by each test that wants it.
        peers::get_all(progress)?;
    }
    if arguments.filters.is_empty() {
        for check in style_checks(progress)? {
            perform(check, &checkout, progress, &mut failures)?;
        }
        events.push(match PeerSpec::named("cargo-deny").and_then(PeerSpec::find) {
            Some(deny) => {
                let mut check = Command::new(&deny.program);
                check.args(DENY_ARGUMENTS);
                perform(check, &checkout, progress, &mut failures)?;
                Event::Used {
                    peer: deny.name.to_owned(),
                    version: deny.version,
                    test: DENY_TEST.to_owned(),
                }
            }
            None => {
                if arguments.require_peers {
                    failures.push(format!("{DENY_TEST}: peer `cargo-deny` is missing"));
                }
                Event::Missing { peer: "cargo-deny".to_owned(), test: DENY_TEST.to_owned() }
            }
        });
    }
    let counts = match agent::build(progress) {
        Ok(agent) => {
            let (counts, more) = run_tests(arguments, &checkout, agent.as_std_path(), progress)?;
            events.extend(more);
            counts
        }
        Err(error) => {
            failures.push(format!("{error:#}"));
            Counts::default()
        }
    };
    if counts.is_incomplete {
        failures.push("`cargo test` did not finish".to_owned());
    }
    if counts.passed + counts.failed == 0 && !arguments.filters.is_empty() && failures.is_empty() {
        failures.push(format!("no test's name contains `{}`", arguments.filters.join("` or `")));
    }
    output::print(summary::text(&counts, &events, &failures))?;
    let is_good = failures.is_empty() && counts.failed == 0;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// So many tests that failed run again at most.
const MOST_AGAIN: usize = 10;
const DENY_TEST: &str = "cargo deny check";
/// Advisories are not among them: their database is fetched from the network, and changes without a commit of ours.
const DENY_ARGUMENTS: &[&str] =
    &["--locked", "--log-level=error", "check", "bans", "licenses", "sources"];

fn style_checks(progress: &Progress) -> Result<[Command; 3]> {
    let (mut fmt, mut clippy) = (cargo(), cargo());
    let mut generate = Command::new(env::current_exe()?);
    generate.args(["generate", "--check"]);
    fmt.args(["fmt", "--all", "--check"]);
    clippy.args(["clippy", "--workspace", "--all-targets"]);
    clippy.args(quiet(progress)).args(["--", "--deny=warnings"]);
    Ok([fmt, clippy, generate])
}

fn quiet(progress: &Progress) -> Option<&'static str> {
    progress.is_quiet().then_some("--quiet")
}

/// Runs one check with its output shown; a failed one is noted and does not end the run.
fn perform(
    mut check: Command,
    checkout: &Path,
    progress: &Progress,
    failures: &mut Vec<String>,
) -> Result<()> {
    let line = command::line(&check);
    progress.step(format!("checking: {line}"));
    let status = check.current_dir(checkout).stdin(Stdio::null()).status();
    if !status.with_context(|| format!("cannot start `{line}`"))?.success() {
        failures.push(format!("`{line}`"));
    }
    Ok(())
}

/// Runs the workspace's tests, shows what they print, and gives their counts and the peers they used.
fn run_tests(
    arguments: &Arguments,
    checkout: &Path,
    agent: &Path,
    progress: &Progress,
) -> Result<(Counts, Vec<Event>)> {
    let report = tempfile::NamedTempFile::new()?;
    let mut counts = Counts::default();
    let Some(messages) = build(checkout, progress)? else {
        counts.is_incomplete = true;
        return Ok((counts, Vec::new()));
    };
    let xtask = env::current_exe()?;
    let bench =
        Bench { arguments, checkout, agent, xtask: &xtask, report: report.path(), progress };
    let mut screen = Screen { progress, readers: Readers::Some };
    let mut failed = Vec::new();
    let first = |suite: &Suite| bench.command(suite, &arguments.filters);
    suites::run(suites::all(&messages)?, progress, first, |finished| {
        screen.show(&finished)?;
        let mut one = Counts::of(&finished.output);
        one.is_incomplete = !finished.status.success() && one.failed == 0;
        failed.extend(one.failed_names.iter().map(|name| (finished.suite.clone(), name.clone())));
        counts.add(one);
        Ok(())
    })?;
    // Many failures are no matter of time.
    if arguments.filters.is_empty() && failed.len() <= MOST_AGAIN {
        for (suite, name) in failed {
            if bench.passes_alone(&suite, &name, &mut screen)? {
                counts.passed_alone(&suite.name, &name);
            }
        }
    }
    let text = std::fs::read_to_string(report.path())?;
    let events = report::parse(&text).context("a test wrote a report that cannot be read")?;
    Ok((counts, events))
}

/// What the tests run with.
struct Bench<'a> {
    arguments: &'a Arguments,
    checkout: &'a Path,
    agent: &'a Path,
    xtask: &'a Path,
    report: &'a Path,
    progress: &'a Progress,
}

impl Bench<'_> {
    /// What runs the tests of `suite` that `only`, arguments of libtest's, leaves.
    fn command(&self, suite: &Suite, only: &[String]) -> Command {
        let mut test = match &suite.what {
            What::Program { program, folder } => {
                let mut test = Command::new(program);
                // As cargo does it.
                test.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
                test
            }
            What::Examples => {
                let mut test = cargo();
                test.current_dir(self.checkout).args(["test", "--workspace", "--doc"]);
                test.args(quiet(self.progress)).arg("--");
                test
            }
        };
        test.arg(if std::io::stdout().is_terminal() { "--color=always" } else { "--color=never" });
        // One line per test: names of failed tests are read off them.
        test.arg("--format=pretty").args(only);
        test.env(report::VARIABLE, self.report);
        test.env(programs::AGENT_VARIABLE, self.agent);
        test.env(programs::XTASK_VARIABLE, self.xtask);
        if self.arguments.require_peers {
            test.env(REQUIRE_VARIABLE, "1");
        }
        test
    }

    /// Whether the test `name` of `suite` passes while no other one runs.
    fn passes_alone(&self, suite: &Suite, name: &str, screen: &mut Screen) -> Result<bool> {
        self.progress.step(format!("testing again, alone: {name} of {}", suite.name));
        // With one thread, what is printed meanwhile would stand in the line that tells the result.
        let only = ["--test-threads=2", "--exact", name].map(str::to_owned);
        let finished = suites::perform(suite.clone(), self.command(suite, &only))?;
        screen.show(&finished)?;
        Ok(finished.status.success() && Counts::of(&finished.output).passed == 1)
    }
}

/// Where the tests' outputs go.
struct Screen<'a> {
    progress: &'a Progress,
    readers: Readers,
}

impl Screen<'_> {
    fn show(&mut self, finished: &Finished) -> Result<()> {
        let (name, seconds) = (&finished.suite.name, finished.took.as_secs());
        self.progress.step(format!("tested: {name} in {seconds} s ({})", finished.status));
        // Tests may print anything: bytes go through as they are. Without readers the tests still count.
        if matches!(self.readers, Readers::Some) {
            self.readers = output::write(|out| {
                writeln!(out, "\n{name}:")?;
                out.write_all(&finished.output)
            })?;
        }
        Ok(())
    }
}

/// Builds every test, before any of them runs beside others and wants its time. What cargo says about it; none when that
/// did not work.
fn build(checkout: &Path, progress: &Progress) -> Result<Option<String>> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--no-run"]).args(quiet(progress));
    build.arg("--message-format=json-render-diagnostics");
    progress.step(format!("building: {}", command::line(&build)));
    build.current_dir(checkout).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = build.output().context("cannot start cargo")?;
    let messages = || String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then(messages))
}
