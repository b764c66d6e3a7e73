//! The systemd service on every node: takes a node and its host, gives the host, changed.
//!
//! Reading order: [`desired`] (what the node is to be), [`generation`] (which set of pods it may have), [`observe`] (what
//! it is), [`plan`] (what to change), [`apply`] (changing it), [`probe`] (whether that did it good), [`reconcile`] (the
//! loop around them), then [`phase`] and [`status`] (saying how it went). [`desired`], [`generation`], [`plan`],
//! [`replace`], [`strangers`] and [`phase`] are pure; everything outside is below [`host`]. [`images`] is a task of its
//! own.
//! [`preflight`] and [`wire`] look at the network before keepalived speaks on it.

mod apply;
mod cli;
mod commands;
mod desired;
mod generation;
mod host;
mod images;
mod observe;
mod phase;
mod plan;
mod preflight;
mod probe;
mod reconcile;
mod reload;
mod replace;
mod settings;
mod show;
mod status;
mod strangers;
mod telemetry;
#[cfg(test)]
mod testing;
mod wire;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Arguments, Command, ImagesCommand};
use crate::commands::CommandError;
use crate::host::Host;

/// By this an image build knows the program, and its version, in a file that it cannot run: the machines may have
/// another architecture. See `xtask/src/build_image/agent.rs`.
const IDENTITY: &str = concat!("program/basalt-agent/", env!("CARGO_PKG_VERSION"), "/");

fn main() -> ExitCode {
    // Used, or the linker would leave it out.
    std::hint::black_box(IDENTITY);
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(code) => code,
        Err(CommandError { error, hint }) => {
            show::error(&error, hint.as_deref());
            ExitCode::from(commands::FAILED)
        }
    }
}

fn start(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let root = arguments.root;
    let host =
        Host::at(&root).with_context(|| format!("cannot use `{root}` as the root directory"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match arguments.command {
            Command::Run => commands::run(&host).await,
            Command::Status { output, watch: false } => commands::status(&host, output).await,
            Command::Status { output, watch: true } => commands::watch(&host, output).await,
            Command::Plan { output } => commands::plan(&host, output),
            Command::Preflight { output } => commands::preflight(&host, output).await,
            Command::Images { command: ImagesCommand::Import { output } } => {
                commands::import_images(&host, output)
            }
            Command::Check { quiet, boot, timeout_seconds } => {
                let limit =
                    boot.then(|| std::time::Duration::from_secs(timeout_seconds.get().into()));
                commands::check(&host, quiet, limit).await
            }
        }
    })
}
