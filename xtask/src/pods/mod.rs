//! `cargo xtask pods`: what concerns static pods by themselves.

mod host;
mod import;
mod lint;
mod sources;

use std::process::ExitCode;

use anyhow::Result;

/// Check static pods, or make them of what Podman runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    // A comment here would take the place of all that its arguments say about the verb.
    Lint(lint::Arguments),
    Import(import::Arguments),
}

/// Does what the arguments say.
///
/// # Errors
/// When a file cannot be read or written, or nothing can be printed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Lint(arguments) => lint::run(arguments),
        Verb::Import(arguments) => import::run(arguments),
    }
}
