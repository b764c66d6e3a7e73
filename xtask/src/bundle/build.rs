//! `cargo xtask bundle build`: a folder of YAML becomes an artefact.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use basalt_image::bundle::index::SCHEMA;
use basalt_image::bundle::{self, About, Index, Wave, store};
use camino::Utf8PathBuf;
use serde::Serialize;

use super::input::{self, Input};
use super::lint::{self, Checked};
use super::settings::Settings;
use super::with_hint;
use crate::FAILED;
use crate::findings::{Color, Output};
use crate::output::{Format, print, say};
use crate::progress::Progress;

/// Make a bundle of a folder with waves of Kubernetes YAML.
///
/// The folder holds `bundle.yaml` and folders of plain YAML that are applied one after the other, called by two digits
/// and a name: `00-crds 10-rbac 20-network 30-operator 40-webhooks 50-first`. It is checked first, as `bundle lint` does,
/// and nothing is written as long as something is wrong. The same folder gives the same bytes every time.
///
/// The result is an OCI artefact with the media types of Flux: `flux pull artifact` and `oras pull` read it, and `kubectl
/// apply --server-side -R -f` what they unpack.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder.
    #[arg(value_name = "DIR")]
    folder: Utf8PathBuf,

    /// Where to write the artefact: an OCI layout folder, or an archive where the name ends in `.tar`.
    #[arg(long, short, value_name = "LAYOUT", default_value = "bundle.oci")]
    output: Utf8PathBuf,

    /// The time of the artefact in seconds since the Unix epoch.
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", default_value_t = 0)]
    created: u64,

    /// Which version of its source it is made of, in place of what bundle.yaml says.
    #[arg(long, value_name = "TEXT")]
    revision: Option<String>,

    /// How to print the result.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// The document of `--format json`.
#[derive(Debug, Serialize)]
struct Summary<'b> {
    schema: u32,
    /// By which the bundle is pulled.
    digest: String,
    generation: u64,
    waves: &'b [Wave],
    images: &'b [String],
}

pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let input = Input::read(&arguments.folder)?;
    if let input::About::Artefact(_) = input.about {
        anyhow::bail!("`{}` is a bundle already; name the folder it was made of", input.path);
    }
    let checked = lint::check(&input);
    let mut findings = Vec::new();
    lint::print(&input, &checked, Output::Text, Color::Never.is_wanted(), &mut findings)?;
    if !findings.is_empty() {
        say(String::from_utf8_lossy(&findings).trim_end());
    }
    let settings = match &checked.settings {
        Some(settings) if !checked.is_refused() => settings,
        Some(_) | None => return Ok(ExitCode::from(FAILED)),
    };
    let index = index(&input, &checked, settings);
    let revision = arguments
        .revision
        .clone()
        .or_else(|| settings.revision.clone())
        .unwrap_or_else(|| format!("generation-{}", index.generation));
    let about = About { created: arguments.created, source: settings.source.clone(), revision };
    let built = bundle::build(&input.files, &index, &about);
    store::write(&arguments.output, &built, &[]).map_err(|error| {
        let hint = error.hint();
        with_hint(error, hint)
    })?;
    progress.step(format!("wrote `{}`", arguments.output));
    let digest = built.manifest.to_string();
    match arguments.format {
        Format::Text => print(format_args!("{digest}\n"))?,
        Format::Json => {
            let Index { generation, waves, images, .. } = &index;
            let summary = Summary { schema: 1, digest, generation: *generation, waves, images };
            print(format_args!("{}\n", serde_json::to_string_pretty(&summary)?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn index(input: &Input, checked: &Checked, settings: &Settings) -> Index {
    let names: BTreeSet<&str> = input.files.iter().map(|file| file.wave()).collect();
    let wave = |name: &&str| Wave {
        name: (*name).to_owned(),
        files: input.files.iter().filter(|file| file.wave() == *name).count(),
        objects: checked.objects.iter().filter(|object| object.wave == *name).count(),
    };
    let mut images = checked.images.clone();
    images.extend(settings.images.iter().map(|image| image.value.clone()));
    let objects = |list: &[basalt_model::decode::Located<super::settings::ObjectInput>]| {
        let set: BTreeSet<_> = list.iter().map(|entry| entry.value.to_index()).collect();
        set.into_iter().collect()
    };
    let readiness: BTreeSet<_> =
        settings.readiness.iter().map(|entry| entry.value.to_index()).collect();
    Index {
        schema: SCHEMA,
        generation: settings.generation.value,
        least_agent: settings.least_agent.value.clone(),
        least_kubernetes: settings.least_kubernetes.value.clone(),
        waves: names.iter().map(wave).collect(),
        readiness: readiness.into_iter().collect(),
        create_only: objects(&settings.create_only),
        never_prune: objects(&settings.never_prune),
        images: images.into_iter().collect(),
    }
}
