//! The command line; what it says here is the program's documentation.

use std::num::NonZeroU32;

use camino::Utf8PathBuf;
use clap::{Parser, Subcommand, ValueEnum};

/// Keeps a node what its node.json says.
///
/// The agent turns /etc/basalt/node.json into the static pods of this node: it writes their config files below
/// /etc/basalt/pods and their manifests into the directory that the kubelet reads, and keeps both as they should be. Each
/// file appears whole or not at all.
///
/// The node.json of another machine is refused once one was accepted, and so are an older generation and other content
/// under the generation that was accepted; whenever node.json is missing, faulty or refused, the node keeps what was
/// accepted before, and `status` says why.
#[derive(Debug, Parser)]
#[command(name = "basalt-agent", version, max_term_width = 100)]
#[command(after_help = "\
Exit status:
  0  done, or nothing to do
  1  the work failed, or `check` found something
  2  wrong usage
  3  `plan` found steps to do

Files:
  /etc/basalt/node.json            what this node is to be
  /etc/basalt/pods/                config files of the static pods
  /etc/basalt/agent.conf.d/*.json  settings; also in /run/basalt and /usr/lib/basalt
  /var/lib/basalt/                 what was accepted, and which files are the agent's
  /run/basalt/status.json          what the running service reported last")]
pub(crate) struct Arguments {
    /// Work on the node whose file system starts at DIR
    ///
    /// Every path the agent reads or writes is taken below this directory, the socket of the system bus included. What it
    /// writes belongs to the owner of DIR. Symbolic links are followed as after chroot(2), so none leads out of DIR.
    #[arg(long, global = true, value_name = "DIR", default_value = "/", env = "BASALT_ROOT")]
    pub(crate) root: Utf8PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep the node as it should be, until told to stop
    ///
    /// This is the systemd service. It looks at the node when something changes in the directories it depends on, and
    /// every `reconcile.interval_seconds` besides; it changes what `plan` would print.
    ///
    /// SIGHUP starts a round at once; SIGTERM and SIGINT end the service after the step it is at. Only one can run on a
    /// node. Settings are JSON files with these keys, shown with their defaults:
    ///
    ///   {"reconcile": {"interval_seconds": 60, "settle_milliseconds": 200, "retry_limit_seconds": 60},
    ///    "manifests": {"strangers": "report"},
    ///    "generations": {"deadline_seconds": 120, "settle_seconds": 10, "boots": 3, "proof": "probes", "stuck_seconds": 60},
    ///    "log": {"level": "info"}}
    ///
    /// `manifests.strangers` says what happens to files in the static pod directory that are not the agent's: `report`
    /// leaves them alone, `quarantine` moves them to /var/lib/basalt/quarantine.
    ///
    /// A new generation of pods is on trial until every probe has been good for `generations.settle_seconds` without a
    /// break. When that has not happened after `generations.deadline_seconds`, or in `generations.boots` boots, the last
    /// good generation returns, and the failed one is not tried again until node.json changes. `generations.proof: none`
    /// commits a generation once it is written, for nodes whose pods somebody else watches. A pod that has not ended
    /// `generations.stuck_seconds` after its grace period makes the agent start the kubelet anew, once.
    #[command(verbatim_doc_comment)]
    Run,

    /// Show what is wanted, what is there, why they differ and what to do
    ///
    /// Works whether or not the service runs, and as any user; what that user may not read is shown as unknown. Exits with
    /// 0 whatever the status is, and with 1 only if there is none; `check` is the command that judges.
    Status {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = StatusOutput::Table)]
        output: StatusOutput,

        /// Go on and show every change
        ///
        /// On a terminal the table is drawn anew. Elsewhere each change is one line: of text, or a whole JSON document.
        #[arg(long)]
        watch: bool,
    },

    /// Show the steps that `run` would take now
    ///
    /// Changes nothing. Exits with 0 if there are none, with 3 if there are some.
    Plan {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = PlanOutput::Text)]
        output: PlanOutput,
    },

    /// Look at the network before this node takes part in a virtual address
    ///
    /// Listens for VRRP adverts for some seconds and asks who has the virtual addresses. Exits with 1 when a machine that
    /// is no peer speaks under one of the virtual router identifiers or has one of the addresses, and names it. Changes
    /// nothing; needs the right to open raw sockets. The service does the same before keepalived starts for the first time.
    Preflight {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = PlanOutput::Text)]
        output: PlanOutput,
    },

    /// Judge the node: is everything that is wanted there?
    ///
    /// For scripts and boot checks. Exits with 0 if so; otherwise with 1, after one line for each item that is not as
    /// wanted. A stranger that harms no pod of this node does not count, and neither does what cannot be found out.
    Check {
        /// Print nothing
        #[arg(long)]
        quiet: bool,

        /// Wait for it, as after a boot
        #[arg(long)]
        boot: bool,

        /// How long `--boot` waits, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "300", requires = "boot")]
        timeout_seconds: NonZeroU32,
    },

    /// Look after the container images of the operating system image
    Images {
        #[command(subcommand)]
        command: ImagesCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Bring every baked-in image into containerd that is not there
    ///
    /// Takes what /usr/lib/basalt/image.json names from the archives in /usr/share/basalt/images; nothing is fetched. Each
    /// image gets the names that pods use, `repository:tag` and `repository@digest`, and is pinned: the kubelet never
    /// clears it away. Images that were baked in before and are not any more are unpinned. When all is there, this is one
    /// question to containerd. It waits up to a minute for containerd to answer. Exits with 1 if an image is missing
    /// afterwards; `check` tells of it as well.
    ///
    /// basalt-images.service runs it at each boot before the kubelet starts, and every five minutes.
    Import {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = PlanOutput::Text)]
        output: PlanOutput,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusOutput {
    /// For people
    Table,
    /// For programs; described with the type `Status` in agent/src/status.rs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    /// For people, one line for each step
    Text,
    /// For programs
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
