//! `cargo xtask bundle`: what a cluster is to run, from a folder of YAML to a signed artefact in a registry.
//!
//! Read [`input`] first (a folder or an artefact → files and settings), then [`objects`] (files → objects with places),
//! [`lint`] (objects → findings, pure) and [`diff`] (two bundles → what changed, pure). The others are one verb each.

mod build;
mod diff;
mod fields;
mod input;
mod kinds;
mod lint;
mod objects;
mod push;
mod rbac;
mod settings;
mod sign;

use std::process::ExitCode;

use anyhow::Result;

use crate::output;
use crate::progress::Progress;

/// Make, check, compare, sign and push what a cluster is to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    // A comment here would take the place of all that its arguments say about the verb.
    Build(build::Arguments),
    Lint(lint::Arguments),
    Diff(diff::Arguments),
    Key(sign::KeyArguments),
    Sign(sign::Arguments),
    Verify(sign::VerifyArguments),
    Push(push::Arguments),
    Rbac(rbac::Arguments),
}

/// Does what the arguments say.
///
/// # Errors
/// When something cannot be read, written or reached, or is not what it should be.
pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Build(arguments) => build::run(arguments, progress),
        Verb::Lint(arguments) => lint::run(arguments),
        Verb::Diff(arguments) => diff::run(arguments),
        Verb::Key(arguments) => sign::key(arguments, progress),
        Verb::Sign(arguments) => sign::run(arguments, progress),
        Verb::Verify(arguments) => sign::verify(arguments),
        Verb::Push(arguments) => push::run(arguments, progress),
        Verb::Rbac(arguments) => rbac::run(arguments),
    }
}

/// An error of the image crate with what to do about it.
fn with_hint(error: impl Into<anyhow::Error>, hint: Option<&'static str>) -> anyhow::Error {
    let error = error.into();
    match hint {
        Some(hint) => output::Hinted { error, hint }.into(),
        None => error,
    }
}
