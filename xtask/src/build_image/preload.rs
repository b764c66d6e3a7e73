//! The container images that are baked in: those that the cluster names, and the pause image, which is made here.

use std::fs::File;

use anyhow::{Context, Result, bail};
use basalt_image::io::digest::Digest;
use basalt_image::oci::import::{self, ImportError};
use basalt_image::oci::{Architecture, Component, Entry, Source, is_image_archive};
use basalt_image::pause::pause;
use basalt_model::cluster::Cluster;
use basalt_model::input::PreloadInput;
use basalt_model::names::{ImageReference, Sha256};
use basalt_model::node::{PAUSE_IMAGE, PRELOAD_DIRECTORY};
use basalt_model::report::Report;
use camino::Utf8Path;

use super::{components, dist};

/// An archive of the image.
pub(super) struct Baked {
    /// The name pods use.
    pub(super) reference: ImageReference,
    /// Digest of the archive, and its name on a node.
    pub(super) sha256: Sha256,
    source: Source,
}

/// Looks for the image in its archive: a node could not run a pod that asks for a digest which is not there.
pub(super) fn check(file: &Utf8Path, item: &PreloadInput, report: &mut Report) {
    let wanted: Digest =
        item.reference.digest().parse().expect("a reference ends with a SHA-256 digest");
    let at = (item.archive.place, &item.archive.path);
    if let Ok(false) = File::open(file).and_then(is_image_archive) {
        report
            .error(at.0, at.1, format!("`{file}` is not an image archive"))
            .hint("make one with `skopeo copy docker://REGISTRY/IMAGE oci-archive:FILE`");
        return;
    }
    let found = File::open(file)
        .map_err(ImportError::Read)
        .and_then(import::contents)
        .and_then(|contents| contents.find(&wanted).map(drop));
    let Err(error) = found else { return };
    // A wrong digest is mended in the reference, everything else in the file.
    let at = match error {
        ImportError::NoImage { .. } => (item.reference.place, &item.reference.path),
        _ => at,
    };
    let mut message = format!("cannot use `{file}`: {error}");
    if let Some(source) = std::error::Error::source(&error) {
        message += &format!(": {source}");
    }
    let finding = report.error(at.0, at.1, message);
    if let Some(hint) = error.hint() {
        finding.hint(hint);
    }
}

/// What is baked in: a layer each, so that one that did not change is not fetched again.
///
/// # Errors
/// When the cluster leaves the pause image to the build and there is none for the architecture.
pub(super) fn baked(
    cluster: &Cluster,
    folder: &Utf8Path,
    architecture: Architecture,
) -> Result<Vec<Baked>> {
    let named = cluster.image.preload.iter().map(|item| Baked {
        reference: item.reference.value.clone(),
        sha256: item.sha256.clone(),
        source: Source::Path(folder.join(item.archive.as_str())),
    });
    let mut all: Vec<Baked> = named.collect();
    let is_missing = |name: &str| all.iter().all(|baked| baked.reference.name() != name);
    let uses_ours = cluster.nodes.iter().any(|node| node.containerd.sandbox_image == PAUSE_IMAGE);
    if uses_ours && is_missing(PAUSE_IMAGE) {
        all.push(our_pause(architecture)?);
    }
    Ok(all)
}

fn our_pause(architecture: Architecture) -> Result<Baked> {
    let Some(pause) = pause(architecture) else {
        bail!(
            "cannot make a pause image for {architecture}; preload one and name it in `containerd.sandbox_image`"
        );
    };
    let reference = format!("{PAUSE_IMAGE}@{}", pause.manifest);
    Ok(Baked {
        reference: reference.parse().context("the name of the pause image is none")?,
        sha256: dist::hex(&pause.archive).parse().context("a digest of ours is no digest")?,
        source: Source::Bytes(pause.archive),
    })
}

impl Baked {
    pub(super) fn into_component(self) -> Component {
        let path = format!("{}/{}.tar", PRELOAD_DIRECTORY.trim_start_matches('/'), self.sha256);
        let digest = components::digest(&self.sha256);
        Component {
            name: format!("preload-{}", &self.sha256.as_str()[..12]),
            entries: vec![Entry::pinned_file(path, 0o644, self.source, digest)],
        }
    }
}
