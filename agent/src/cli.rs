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
    ///    "certificates": {"keeper": "agent"},
    ///    "bundle": {"interval_seconds": 15, "settle_seconds": 60, "budget_seconds": 600, "lease_seconds": 30},
    ///    "log": {"level": "info"}}
    ///
    /// `manifests.strangers` says what happens to files in the static pod directory that are not the agent's: `report`
    /// leaves them alone, `quarantine` moves them to /var/lib/basalt/quarantine.
    ///
    /// A new generation of pods is on trial until every probe has been good for `generations.settle_seconds` without a
    /// break. When that has not happened after `generations.deadline_seconds`, or in `generations.boots` boots, the last
    /// good generation returns, and the failed one is not tried again until node.json changes. `generations.proof: none`
    /// commits a generation once it is written, for nodes whose pods somebody else watches. A pod that has not ended
    /// `generations.stuck_seconds` after its grace period, or that the kubelet has not begun with for as long, makes the
    /// agent start the kubelet anew, once.
    ///
    /// `certificates.keeper: others` leaves certificates and secret files to somebody else: the agent reads them, writes
    /// none, and asks no Vault.
    ///
    /// An operator bundle is committed when everything in it has been well for `bundle.settle_seconds`. When that has not
    /// happened after `bundle.budget_seconds`, the last committed one returns. Between rounds over a committed bundle lie
    /// `bundle.interval_seconds`; another agent takes over `bundle.lease_seconds` after it last heard of the one that
    /// applies.
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

    /// Make this node one of its Kubernetes cluster
    ///
    /// Orders it and waits for the service to do it: needed where node.json says that nodes join by hand, and a way to try
    /// again at once where a try failed. `plan` shows the gates and steps before. The kubelet gets the cluster's
    /// configuration and is started anew; running pods stay. When the node has not proved itself in time (ready, same
    /// containers, every probe good), all of it is undone and tried again later. Exits with 1 if the node has not joined.
    Join {
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "300")]
        timeout_seconds: NonZeroU32,
    },

    /// Take this node out of its Kubernetes cluster
    ///
    /// Asks the cluster's pods on this node to end, then makes the kubelet stand by itself again; the node's own pods stay.
    /// The node does not join again until `join` says so. The node object stays in the cluster, since no node may remove
    /// its own: the command says what a person types. Exits with 1 if the node has not left.
    Leave {
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "600")]
        timeout_seconds: NonZeroU32,
    },

    /// Have a certificate that lies on the disk taken into use, and prove it
    ///
    /// Tells everyone who uses the certificate NAME, as after a renewal: haproxy by its runtime API, or a reload; other pods
    /// and units by a reload, or a restart. Then shakes hands with every listener that serves it, until each shows the
    /// certificate in its folder and the chain verifies against its `ca.pem`. Exits with 1 when one does not, and names it.
    /// Changes no file.
    Activate {
        /// Name of the certificate in node.json
        name: String,

        /// Form of the output
        #[arg(long, value_enum, default_value_t = PlanOutput::Text)]
        output: PlanOutput,
    },

    /// Show the certificates of this node
    ///
    /// Subject, names, serial number, issuer, end, when it is renewed, and what happened last: as the service says it, or from
    /// what is kept when the service does not run (as root).
    Certs {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = CertsOutput::Table)]
        output: CertsOutput,
    },

    /// Have certificates signed anew, each with a new key
    ///
    /// Asks the service, waits until it has done so, and prints what came of it. The new certificate is taken into use in its
    /// activation window, when it has one, and the old one stays until its consumers show the new one. Exits with 1 if that
    /// failed for one of them.
    Rotate {
        /// The certificate
        #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,

        /// Every certificate of the node
        #[arg(long)]
        all: bool,

        /// Take it into use at once, whatever its activation window
        #[arg(long)]
        now: bool,

        /// How long to wait for the service, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "120")]
        timeout_seconds: NonZeroU32,
    },

    /// Look after the operator bundle of the cluster
    Bundle {
        #[command(subcommand)]
        command: BundleCommand,
    },

    /// Look after the container images of the operating system image
    Images {
        #[command(subcommand)]
        command: ImagesCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Show what is applied, what is waited for, and what is in the way
    ///
    /// Shows the picture that the running service left last, also while the API server is away. Exits with 1 when not all
    /// is well.
    Status {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = StatusOutput::Table)]
        output: StatusOutput,
    },

    /// Show what applying the wanted bundle would change
    ///
    /// Tries every object out at the API server, and changes nothing. Exits with 0 if nothing would change, with 3 if
    /// something would, and with 1 if the bundle would be refused.
    Plan {
        /// Form of the output
        #[arg(long, value_enum, default_value_t = PlanOutput::Text)]
        output: PlanOutput,
    },

    /// Keep every agent from applying, repairing and pruning
    ///
    /// Writes it into the cluster, so that all nodes obey.
    Pause {
        /// Resume by itself after so many minutes
        #[arg(long, value_name = "MINUTES")]
        minutes: Option<NonZeroU32>,
    },

    /// End a pause
    Resume,

    /// Take back a bundle that was handed over
    ///
    /// Works when `bundle.owner` in cluster.yaml is `agent` again. Fields are taken from the manager that has them.
    AdoptBack,
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
pub(crate) enum CertsOutput {
    /// For people
    Table,
    /// For programs; described with the type `Report` in agent/src/certificates/report.rs
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
