//! `bench`: how long our programs take, beside the real program for the same job where there is one.
//!
//! Figures are for people: nothing fails for being slow. Each subject is a file: [`image`], [`agent`], [`butane`],
//! [`virtual_address`], [`pods`], [`hand_off`]; [`certificates`] belongs to the agent, [`bundle`] to the hand-off.

mod agent;
mod bundle;
mod butane;
mod certificates;
mod cost;
mod hand_off;
mod image;
mod inputs;
mod pods;
mod virtual_address;

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::progress::Progress;

/// Measure our programs beside the real ones.
///
/// Every figure is the median of several runs on this machine, in this run. CPU is user and system time of the program
/// and its children, memory the most that was resident at once. The real program works on the same input; a ratio below
/// 1 means that ours takes less.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure; all of it when nothing is named.
    subjects: Vec<Subject>,

    /// How often each measurement is taken.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Building the lab's image, and an image with the agent, which umoci builds too.
    Image,
    /// The agent on a node of the lab, and with ten certificates from a real Vault beside OpenBao's agent.
    Agent,
    /// Compiling Butane configs, which the reference compiles too, and the nodes of a large cluster.
    Butane,
    /// How long the virtual address of three nodes is away, whatever happens to its holder. Needs root.
    VirtualAddress,
    /// Changing a pod, beside the kubelet's own way, and a new config under load. Needs root.
    Pods,
    /// A node that joins a cluster, and a bundle of five hundred objects, which `kubectl` applies too. Needs root.
    HandOff,
}

pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    for subject in Subject::value_variants() {
        if !arguments.subjects.is_empty() && !arguments.subjects.contains(subject) {
            continue;
        }
        match subject {
            Subject::Image => image::run(arguments.runs, progress)?,
            Subject::Agent => agent::run(arguments.runs, progress)?,
            Subject::Butane => butane::run(arguments.runs, progress)?,
            Subject::VirtualAddress => virtual_address::run(arguments.runs, progress)?,
            Subject::Pods => pods::run(arguments.runs, progress)?,
            Subject::HandOff => hand_off::run(arguments.runs, progress)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
