//! `test`: every check and test of the project, and which real programs it ran against.

mod count;
mod summary;

use std::env;
use std::io::{BufRead, BufReader, IsTerminal};
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

/// First the style (`cargo fmt`, `cargo clippy`), generated files and the dependencies (`cargo deny`), then every test
/// of the workspace.
/// All of it runs even when something fails, so that one run shows every finding.
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
    progress.step("testing: cargo test --workspace");
    let report = tempfile::NamedTempFile::new()?;
    let mut test = cargo();
    test.current_dir(checkout).stdin(Stdio::null()).stdout(Stdio::piped());
    test.args(["test", "--workspace", "--no-fail-fast"]).args(quiet(progress)).arg("--");
    test.arg(if std::io::stdout().is_terminal() { "--color=always" } else { "--color=never" });
    // One line per test, also with `--quiet`: names of failed tests are read off them.
    test.arg("--format=pretty").args(&arguments.filters);
    test.env(report::VARIABLE, report.path());
    test.env(programs::AGENT_VARIABLE, agent);
    test.env(programs::XTASK_VARIABLE, env::current_exe()?);
    if arguments.require_peers {
        test.env(REQUIRE_VARIABLE, "1");
    }
    let mut child = test.spawn().context("cannot start cargo")?;
    let mut counts = Counts::default();
    let output = child.stdout.take().expect("standard output is piped");
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    // Tests may print anything: bytes go through as they are.
    let mut shown = Ok(Readers::Some);
    while lines.read_until(b'\n', &mut line)? > 0 {
        // Cargo is heard to the end in any case: nobody else waits for it.
        if matches!(shown, Ok(Readers::Some)) {
            shown = output::write(|out| out.write_all(&line));
        }
        counts.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    counts.is_incomplete = !child.wait()?.success() && counts.failed == 0;
    shown?;
    let text = std::fs::read_to_string(report.path())?;
    let events = report::parse(&text).context("a test wrote a report that cannot be read")?;
    Ok((counts, events))
}
