//! `cargo xtask build-image`: one `cluster.yaml` becomes everything its machines need.
//!
//! Compiles every node first and reports all findings, then looks at what is to be in the image, and only then
//! builds: into a folder beside `dist/`, which takes its place when it is complete.

mod additions;
pub(crate) mod agent;
mod causes;
mod checks;
mod components;
mod dist;
mod foreign;
mod hosts;
pub(crate) mod nodes;
mod pods;
mod preload;
pub(crate) mod prepare;
pub(crate) mod rewrite;
mod shipped;
mod stage;
mod summary;
mod target;
mod templates;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Error, Result};
use basalt_image::oci::base::BaseError;
use basalt_image::oci::compose::ComposeError;
use basalt_image::oci::tree::Tree;
use basalt_image::oci::{Base, Spec};
use basalt_model::cluster::{BaseImage, Cluster, ImagePlan};
use basalt_model::report::{Place, Report};
use camino::{Utf8Path, Utf8PathBuf};

use self::additions::Additions;
use self::dist::{Old, Wanted};
use self::prepare::Prepared;
use crate::output::say;
use crate::progress::Progress;
use crate::{FAILED, checkout, source};

/// The cluster that is built when none is named.
const DEFAULT_CLUSTER: &str = "tests/clusters/lab/cluster.yaml";

/// Where the result goes when no folder is named.
const DEFAULT_DIST: &str = "dist";

/// The time that images and their files have, in seconds since the Unix epoch: the same input gives the same bytes on
/// every day.
const EPOCH: u64 = 0;

/// Compile a cluster.yaml into Ignition configs, an OS image and PXE files.
///
/// Every finding about `cluster.yaml` and the Butane files is printed at once, with its place, and nothing is written
/// as long as one is an error. The result appears as a whole: an interrupted or failed run leaves the old one as it
/// was. A run with nothing changed does no work.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The cluster to build.
    ///
    /// Paths inside it are relative to its folder. The default is the lab, `tests/clusters/lab/cluster.yaml` of the
    /// checkout.
    #[arg(long, value_name = "FILE")]
    cluster: Option<Utf8PathBuf>,

    /// The folder to write.
    ///
    /// An existing one is replaced if it was written by this command; files that other people have put into it stay.
    /// One that holds something this build is made from is never replaced. The default is `dist` in the checkout, or in
    /// the working folder outside one.
    #[arg(long, value_name = "DIR")]
    dist: Option<Utf8PathBuf>,

    /// The agent to bake in, instead of building it from the checkout.
    ///
    /// Wanted outside a checkout. It has to be a `basalt-agent` of the same version for the machines' architecture.
    #[arg(long, value_name = "FILE")]
    agent: Option<Utf8PathBuf>,

    /// Builds again although nothing has changed, and replaces a folder, or a file in it, that was not written by this
    /// command.
    #[arg(long)]
    force: bool,

    /// Prints the result as a table or as one JSON document.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: crate::output::Format,
}

/// Runs the verb. Findings go to stderr; the exit code is 1 when there are errors among them.
///
/// # Errors
/// When a file cannot be read, or the result cannot be written.
pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let start = Instant::now();
    let cluster_file = match &arguments.cluster {
        Some(file) => file.clone(),
        None => checkout().context("name a cluster with `--cluster`")?.join(DEFAULT_CLUSTER),
    };
    let dist = match &arguments.dist {
        Some(dist) => dist.clone(),
        None => checkout()
            .map(|folder| folder.join(DEFAULT_DIST))
            .unwrap_or_else(|_| DEFAULT_DIST.into()),
    };
    let dist =
        camino::absolute_utf8(&dist).with_context(|| format!("cannot tell where `{dist}` is"))?;
    let target = target::check(&dist, arguments.force);

    let bytes = source::read(&cluster_file)
        .with_context(|| format!("cannot read the cluster `{cluster_file}`"))?;
    let folder = match cluster_file.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    };
    let (prepared, mut report) = prepare::prepare(&cluster_file, &bytes, folder);
    let Prepared { cluster, additions, base } = prepared;
    let Some(cluster) = cluster else {
        say(&report);
        // Said last, as it has no place in the cluster's file.
        target?;
        return Ok(ExitCode::from(FAILED));
    };
    let sources = components::sources(&cluster, folder);
    let local = additions.local_paths(folder);
    let named = [Some(&cluster_file), arguments.agent.as_ref()].into_iter().flatten();
    let sources = named.chain(&sources).chain(&local).map(Utf8PathBuf::as_path);
    let target = target.and_then(|()| target::check_inputs(&dist, sources));

    let old = if arguments.force { None } else { Old::read(&dist) };
    let inputs = inputs(&bytes, &additions, &cluster)?;
    let is_compiled = old.as_ref().is_some_and(|old| old.is_compiled_from(&inputs));
    let compile = |report: &mut Report| {
        progress.step(format!("compiling {} nodes of `{}`", cluster.nodes.len(), cluster.name));
        let mut said = Report::new(cluster_file.as_str());
        let documents = nodes::compile(&cluster, &additions, &mut said);
        // What is said once is said as long as it holds.
        let inputs = said.is_empty().then(|| inputs.clone());
        report.absorb(said);
        Some((documents?, inputs))
    };
    let compiled = if is_compiled { None } else { compile(&mut report) };
    let Some(base) = base.filter(|_| !report.has_errors()) else {
        say(&report);
        target?;
        return Ok(ExitCode::from(FAILED));
    };
    target?;
    let agent = agent::find(arguments.agent.as_deref(), progress)?;
    let spec = spec(&cluster, folder, base, &agent)?;
    checks::can_nodes_boot(&spec, &cluster, &mut report);
    if report.has_errors() {
        return Ok(refuse(&report));
    }
    if !report.is_empty() {
        say(&report);
    }
    let all_inputs = dist::hex(format!("{inputs}\n{}", spec.labels[dist::INPUTS_LABEL]).as_bytes());
    let mut built = match (compiled, old) {
        (None, Some(old)) if old.has_image_of(&spec) => old.keep(Some(inputs))?,
        (compiled, old) => {
            let mut report = Report::new(cluster_file.as_str());
            let Some((documents, inputs)) = compiled.or_else(|| compile(&mut report)) else {
                return Ok(refuse(&report));
            };
            let wanted = Wanted { spec: &spec, documents: &documents, inputs };
            match dist::build(&dist, wanted, old, arguments.force, progress) {
                Ok(built) => built,
                Err(error) => return explain(error, &cluster, &mut report),
            }
        }
    };
    if !built.is_checked(&all_inputs) {
        let mut report = Report::new(cluster_file.as_str());
        let base = match &built.composed {
            Some(composed) => composed.base_names.clone(),
            None => base_names(&spec).context("cannot tell what nodes will lack")?,
        };
        checks::has_kubelet(&base, &cluster, &mut report);
        let ignition = hosts::laid_by_ignition(&built)?;
        hosts::can_pods_start(&base, &cluster, folder, ignition, &mut report);
        // What is said once is said as long as it holds.
        built.note_checked(report.is_empty().then_some(all_inputs))?;
        if !report.is_empty() {
            say(&report);
        }
    }
    summary::print(&built, &cluster, start.elapsed(), arguments.output)?;
    Ok(ExitCode::SUCCESS)
}

fn checkout() -> Result<Utf8PathBuf> {
    Ok(Utf8PathBuf::try_from(checkout::folder()?)?)
}

/// Prints what is wrong; nothing was written.
fn refuse(report: &Report) -> ExitCode {
    say(report);
    ExitCode::from(FAILED)
}

/// Says why the image could not be made: what a person can mend in the cluster's file, with its place there.
fn explain(error: Error, cluster: &Cluster, report: &mut Report) -> Result<ExitCode> {
    let rules = match error.downcast::<ComposeError>()? {
        ComposeError::Rules(rules) => rules,
        error => {
            let hint = error.hint();
            let error = Error::new(error);
            return Err(match hint {
                Some(hint) => error.context(format!("cannot make the image; {hint}")),
                None => error,
            });
        }
    };
    for finding in rules.0 {
        let files = cluster.image.files.iter();
        let file = files
            .map(|file| &file.value.path)
            .find(|path| Some(path.as_str()) == finding.path.as_deref());
        let (place, path) =
            file.map_or((Place::START, "image.files"), |path| (path.place, path.path.as_str()));
        let name = finding.path.as_deref().unwrap_or(&finding.component);
        report
            .error(place, path, format!("`{}`: {}", name.escape_debug(), finding.rule))
            .hint(finding.rule.hint());
    }
    Ok(refuse(report))
}

/// The image that ours is derived from. `None` means that it cannot be had, and why was reported.
fn base(image: &ImagePlan, folder: &Utf8Path, report: &mut Report) -> Option<Base> {
    let base = &image.base;
    match &base.value {
        BaseImage::Scratch => Some(Base::Scratch),
        BaseImage::Layout(layout) => {
            let layout = folder.join(layout.as_str());
            if layout.join("oci-layout").is_file() {
                return Some(Base::Layout { folder: layout, reference: None });
            }
            report.error(base.place, &base.path, format!("`{layout}` is not an OCI layout")).hint(format!(
                "copy an image there: `skopeo copy docker://quay.io/fedora/fedora-coreos:stable oci:{layout}`"
            ));
            None
        }
        BaseImage::Registry(reference) => {
            let message = "a base image is read from a folder, and not fetched from a registry";
            report.error(base.place, &base.path, message).hint(format!(
                "fetch it with `skopeo copy docker://{reference} oci:{}` and write `base: oci:base`",
                folder.join("base")
            ));
            None
        }
    }
}

fn base_names(spec: &Spec) -> Result<Tree, BaseError> {
    spec.base.open(spec.architecture)?.names()
}

/// What the image is made of, with a digest of all of it in a label.
fn spec(cluster: &Cluster, folder: &Utf8Path, base: Base, agent: &agent::Agent) -> Result<Spec> {
    let mut spec = Spec {
        base,
        architecture: agent.architecture,
        title: cluster.image.name.to_string(),
        version: cluster.image.version.clone(),
        reference: format!("{}:{}", cluster.image.name, cluster.image.version),
        created: EPOCH,
        mtime: EPOCH,
        labels: BTreeMap::from([("dev.basalt.cluster".to_owned(), cluster.name.to_string())]),
        components: components::all(cluster, folder, agent)?,
    };
    spec.labels.insert(dist::INPUTS_LABEL.to_owned(), components::inputs(&spec)?);
    Ok(spec)
}

/// A digest of all that the nodes' files are made from: this program, the cluster's file, people's Butane files with
/// what they take from this machine, and the texts that nodes carry.
fn inputs(file: &[u8], additions: &Additions, cluster: &Cluster) -> Result<String> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let program = Utf8PathBuf::try_from(program)?;
    let (program, _) =
        dist::digest_of(&program).with_context(|| format!("cannot read `{program}`"))?;
    let texts = cluster.texts.iter();
    let texts = texts.map(|(name, text)| format!("{} {name}", dist::hex(text.as_bytes())));
    let lines = [program, dist::hex(file)].into_iter().chain(additions.digests()).chain(texts);
    Ok(dist::hex(lines.collect::<Vec<_>>().join("\n").as_bytes()))
}
