//! The systemd service on every node: takes a node and its host, gives the host, changed.
//!
//! Reading order: [`desired`] (what the node is to be), [`generation`] (which set of pods it may have), [`observe`] (what
//! it is), [`plan`] (what to change), [`apply`] (changing it), [`probe`] (whether that did it good), [`reconcile`] (the
//! loop around them), then [`phase`] and [`status`] (saying how it went). [`desired`], [`generation`], [`plan`],
//! [`replace`], [`strangers`] and [`phase`] are pure; everything outside is below [`host`]. [`images`] is a task of its
//! own.
//! [`certificates`] are kept beside the loop: by [`vault`] and the node's [`identity`] there, [`activate`] and [`trust`] among
//! their consumers, and a [`clock`] that may be wrong; [`secret_files`] with them.
//! [`hand_off`] makes the node one of a cluster. [`preflight`] and [`wire`] look at the network before keepalived speaks on it.

mod activate;
mod apply;
mod bundle;
mod causes;
mod certificates;
mod cli;
#[allow(dead_code, reason = "metrics take the rest")]
mod clock;
mod commands;
mod desired;
mod fault;
mod generation;
mod hand_off;
mod host;
mod identity;
mod images;
#[allow(dead_code, unused_imports, reason = "some facts are for whoever has no service to ask")]
mod metrics;
mod observe;
mod phase;
mod plan;
mod preflight;
mod probe;
mod reconcile;
mod reload;
mod replace;
mod secret;
mod secret_files;
mod settings;
mod show;
mod space;
mod status;
mod strangers;
mod telemetry;
#[cfg(test)]
mod testing;
#[allow(dead_code, reason = "metrics take the rest")]
mod trust;
#[allow(dead_code, reason = "metrics take the rest")]
mod vault;
mod wire;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Arguments, BundleCommand, Command, ImagesCommand};
use crate::commands::CommandError;
use crate::hand_off::record::Order;
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
            Command::Plan { output } => commands::plan(&host, output).await,
            Command::Join { timeout_seconds } => {
                commands::hand_off(&host, Order::Join, timeout_seconds).await
            }
            Command::Leave { timeout_seconds } => {
                commands::hand_off(&host, Order::Leave, timeout_seconds).await
            }
            Command::Preflight { output } => commands::preflight(&host, output).await,
            Command::Activate { name, output } => commands::activate(&host, &name, output).await,
            Command::Certs { output } => commands::certs(&host, output),
            Command::Rotate { name, all: _, now, timeout_seconds } => {
                let limit = std::time::Duration::from_secs(timeout_seconds.get().into());
                commands::rotate(&host, name.as_deref(), now, limit).await
            }
            Command::Images { command: ImagesCommand::Import { output } } => {
                commands::import_images(&host, output)
            }
            Command::Bundle { command } => match command {
                BundleCommand::Status { output } => bundle::commands::status(&host, output),
                BundleCommand::Plan { output } => bundle::commands::plan(&host, output).await,
                BundleCommand::Pause { minutes } => {
                    let limit = minutes.map(|minutes| {
                        std::time::Duration::from_secs(60 * u64::from(minutes.get()))
                    });
                    bundle::commands::pause(&host, limit).await
                }
                BundleCommand::Resume => bundle::commands::resume(&host).await,
                BundleCommand::AdoptBack => bundle::commands::adopt_back(&host).await,
            },
            Command::Check { quiet, boot, timeout_seconds } => {
                let limit =
                    boot.then(|| std::time::Duration::from_secs(timeout_seconds.get().into()));
                commands::check(&host, quiet, limit).await
            }
        }
    })
}
