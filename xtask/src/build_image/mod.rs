//! `cargo xtask build-image`: one `cluster.yaml` becomes everything its machines need.
//!
//! Compiles every node first and reports all findings, then looks at what is to be in the image, and only then
//! builds: into a folder beside `dist/`, which takes its place when it is complete.

mod agent;
mod components;
mod dist;
mod nodes;
mod summary;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use basalt_image::oci::{Architecture, Base, Spec};
use basalt_model::cluster::{BaseImage, Cluster};
use basalt_model::report::Report;
use camino::{Utf8Path, Utf8PathBuf};

use crate::checkout;
use crate::progress::Progress;

/// The cluster that is built when none is named.
const DEFAULT_CLUSTER: &str = "tests/clusters/lab/cluster.yaml";

/// Where the result goes when no folder is named.
const DEFAULT_DIST: &str = "dist";

/// Compiles a cluster and writes its images, Ignition configs and PXE files.
///
/// Every finding about `cluster.yaml` and the Butane files is printed at once, with its place, and nothing is written
/// as long as one is an error. The result appears as a whole: an interrupted or failed run leaves the old one as it
/// was. A run with nothing changed does no work.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The cluster to build.
    ///
    /// Paths inside it are relative to its folder. The default is the lab, `tests/clusters/lab/cluster.yaml` of the
    /// checkout.
    #[arg(long, value_name = "FILE")]
    cluster: Option<Utf8PathBuf>,

    /// The folder to write.
    ///
    /// An existing one is replaced as a whole if it was written by this command. The default is `dist` in the
    /// checkout, or in the working folder outside one.
    #[arg(long, value_name = "DIR")]
    dist: Option<Utf8PathBuf>,

    /// The agent to bake in, instead of building it from the checkout.
    ///
    /// Wanted outside a checkout. It has to be a `basalt-agent` of the same version for the machines' architecture.
    #[arg(long, value_name = "FILE")]
    agent: Option<Utf8PathBuf>,

    /// Builds again although nothing has changed, and replaces a folder that was not written by this command.
    #[arg(long)]
    force: bool,

    /// Prints the result as a table or as one JSON document.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: crate::output::Format,

    /// Says nothing on stderr but findings and errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the cluster cannot be used, a file cannot be read, or the result cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let start = Instant::now();
    let progress = Progress::new(arguments.quiet);
    let cluster_file = match &arguments.cluster {
        Some(file) => file.clone(),
        None => checkout::root().context("name a cluster with `--cluster`")?.join(DEFAULT_CLUSTER),
    };
    let dist = match (&arguments.dist, checkout::root()) {
        (Some(dist), _) => dist.clone(),
        (None, Ok(root)) => root.join(DEFAULT_DIST),
        (None, Err(_)) => DEFAULT_DIST.into(),
    };
    let dist = camino::absolute_utf8(&dist).with_context(|| format!("cannot tell where `{dist}` is"))?;
    dist::check_target(&dist, arguments.force)?;

    let folder = match cluster_file.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    };
    let bytes = fs::read(&cluster_file).with_context(|| format!("cannot read the cluster `{cluster_file}`"))?;
    let (cluster, mut report) = match Cluster::parse(cluster_file.as_str(), &bytes) {
        Ok(parsed) => parsed,
        Err(refused) => return refuse(&refused.0),
    };

    progress.step(&format!("compiling {} nodes of `{}`", cluster.nodes.len(), cluster.name));
    let nodes = nodes::compile(&cluster, &folder, &mut report);
    let base = base(&cluster, cluster_file.as_str(), &folder, &mut report);
    let baked = components::check(&cluster, cluster_file.as_str(), &folder, &mut report);
    let (Some(nodes), Some(base), Some(())) = (nodes, base, baked) else { return refuse(&report) };
    if report.has_errors() {
        return refuse(&report);
    }
    if !report.is_empty() {
        eprintln!("{report}");
    }

    let agent = agent::find(arguments.agent.as_deref(), &progress)?;
    let components = components::all(&cluster, &folder, &agent)?;
    let spec = Spec {
        base,
        name: cluster.image.name.to_string(),
        version: cluster.image.version.clone(),
        components,
        // Whatever changes the bytes of nodes' files without changing an entry of the image is no part of it.
        inputs: None,
    };
    let built = dist::build(&dist, &spec, &cluster, &nodes, arguments.force, &progress)?;
    summary::print(&built, &cluster, start.elapsed(), arguments.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what is wrong; nothing was written.
fn refuse(report: &Report) -> Result<ExitCode> {
    eprintln!("{report}");
    Ok(ExitCode::FAILURE)
}
