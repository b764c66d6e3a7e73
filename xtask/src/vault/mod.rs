//! `cargo xtask vault`: what a cluster needs of Vault, or OpenBao, and the secrets with which its nodes begin.
//!
//! [`wanted`] decides what there is to be, [`seen`] reads what there is, [`change`] is the difference, [`apply`] makes it.
//! [`neighbours`] looks for other clusters in the same Vault.
//! [`wrap`] makes the secret of a first login, [`rotate`] replaces an authority.

mod apply;
mod change;
mod client;
mod connect;
mod fleet;
mod neighbours;
mod object;
mod rotate;
mod seen;
mod show;
mod wanted;
mod wrap;

use std::process::ExitCode;

use anyhow::Result;

use crate::progress::Progress;

/// Set up Vault for a cluster, make first secrets, replace authorities.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    // A comment here would take the place of all that its arguments say about the verb.
    Plan(apply::PlanArguments),
    Apply(apply::ApplyArguments),
    Wrap(wrap::Arguments),
    RotateCa(rotate::Arguments),
}

/// Does what the arguments say.
///
/// # Errors
/// When the cluster or Vault cannot be read, or something cannot be made.
pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Plan(arguments) => apply::plan(arguments),
        Verb::Apply(arguments) => apply::apply(arguments, progress),
        Verb::Wrap(arguments) => wrap::run(arguments),
        Verb::RotateCa(arguments) => rotate::run(arguments, progress),
    }
}
