//! Puts an image together: takes what it is made of, gives an OCI layout folder.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde_json::Value;

use crate::io::atomic::{self, PlaceError};
use crate::io::digest::Digest;
use crate::io::tar::MAX_FILE_BYTES;
use crate::oci::base::{Base, BaseError};
use crate::oci::document::{self, About};
use crate::oci::entry::{Architecture, Component};
use crate::oci::layer::{self, Layer, LayerError};
use crate::oci::layout::MARKER;
use crate::oci::rules::{self, Finding, LayerPlan};
use crate::oci::tree::Tree;
use crate::parallel;

/// What an image is made of. No field has a default: each is part of the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What it is derived from.
    pub base: Base,
    /// For which machines.
    pub architecture: Architecture,
    /// Its name, for people.
    pub title: String,
    /// Its version, which nodes show.
    pub version: String,
    /// Its name in the layout, by which `skopeo copy oci:FOLDER:REFERENCE` finds it.
    pub reference: String,
    /// Its time, in seconds since the Unix epoch, which nodes show as that of the deployment.
    pub created: u64,
    /// The time of every file in our layers, in seconds since the Unix epoch. Nodes throw it away; another value gives
    /// every layer another digest.
    pub mtime: u64,
    /// Labels beside those that are always set, `dev.basalt.…` by custom.
    pub labels: BTreeMap<String, String>,
    /// One layer each, in this order. Those that change most often come last.
    pub components: Vec<Component>,
}

/// A composed image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Composed {
    /// The digest of the manifest, by which the image is pulled.
    pub manifest: Digest,
    /// The digest of the config.
    pub config: Digest,
    /// Whether a node can boot it.
    pub is_bootable: bool,
    /// How many layers come from the base.
    pub base_layers: usize,
    /// Our layers, in order.
    pub layers: Vec<ComposedLayer>,
    /// The names in the base.
    #[serde(skip)]
    pub base_names: Tree,
}

/// One of our layers in a composed image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComposedLayer {
    /// The component's name.
    pub component: String,
    /// The digest of the tar stream.
    pub diff_id: Digest,
    /// The digest of the compressed stream.
    pub digest: Digest,
    /// The size of the compressed stream in bytes.
    pub size: u64,
}

/// An image could not be composed. The folder it was to go to is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The specification holds a value that cannot be used.
    #[error("{field} is `{value}`, which is not {wanted}")]
    Value {
        /// Which field of [`Spec`].
        field: &'static str,
        /// Its value.
        value: String,
        /// What it has to be, with its article.
        wanted: &'static str,
    },
    /// The folder holds something else.
    #[error("`{folder}` is not empty and not an OCI layout, so it is not replaced")]
    Occupied {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The base cannot be derived from.
    #[error("cannot use the base image")]
    Base(#[source] BaseError),
    /// Components break rules.
    #[error("{0}")]
    Rules(Findings),
    /// A layer could not be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file of the layout could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The finished layout could not be put in its place.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// All broken rules; prints as one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl ComposeError {
    /// What to do about it, where that is known. [`ComposeError::Rules`] says it in its message, for each rule.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Base(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Occupied { .. } => Some("choose another folder, or remove this one"),
            Self::Value { .. } | Self::Rules(_) | Self::Write { .. } | Self::Place(_) => None,
        }
    }
}

/// Composes the image `spec` and puts it as an OCI layout at `folder`. A layout that is already there is exchanged for
/// the new one when that is complete. The same `spec` gives the same bytes.
///
/// Base layers are linked or copied and checked on the way; layers are read and written on as many threads as there
/// are cores, each within [`layer::LAYER_MEMORY_BYTES`].
///
/// # Errors
/// See [`ComposeError`]; `folder` is then as it was.
pub fn compose(spec: &Spec, folder: &Utf8Path) -> Result<Composed, ComposeError> {
    check_values(spec)?;
    check_target(folder)?;
    atomic::replace_folder(folder, |staging| write_layout(spec, staging))
}

fn write_layout(spec: &Spec, folder: &Utf8Path) -> Result<Composed, ComposeError> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(write_error(&blobs))?;
    let base = spec.base.open(spec.architecture).map_err(ComposeError::Base)?;
    let tree = base.take_over(&blobs).map_err(ComposeError::Base)?;
    let plans = rules::plan(&spec.components, &tree)
        .map_err(|findings| ComposeError::Rules(Findings(findings)))?;
    let written = parallel::try_map(&plans, |index, plan| {
        write_layer(plan, spec.mtime, &blobs, &folder.join(format!("layer-{index}")))
    })?;
    let layers: Vec<(&str, Layer)> = plans.iter().map(|plan| plan.component).zip(written).collect();

    let about = About {
        title: &spec.title,
        version: &spec.version,
        created: spec.created,
        labels: &spec.labels,
        base: base.digest.as_ref(),
    };
    let config = document::config(&base.config, base.layer_count(), &about, &layers);
    let (config, config_size) = write_document(&blobs, &config)?;
    let manifest = document::manifest(&base.manifest, &about, (&config, config_size), &layers);
    let (manifest, manifest_size) = write_document(&blobs, &manifest)?;
    let architecture = spec.architecture.as_str();
    let index = document::index((&manifest, manifest_size), architecture, &spec.reference);
    write_file(&folder.join("index.json"), index.to_string().as_bytes())?;
    write_file(&folder.join(MARKER.0), MARKER.1.as_bytes())?;

    let layers = layers.into_iter().map(|(component, layer)| ComposedLayer {
        component: component.to_owned(),
        diff_id: layer.diff_id,
        digest: layer.digest,
        size: layer.size,
    });
    Ok(Composed {
        manifest,
        config,
        is_bootable: base.is_bootable,
        base_layers: base.layer_count(),
        layers: layers.collect(),
        base_names: tree,
    })
}

/// Writes a layer to `partial` and gives the file its name, which is known only then.
fn write_layer(
    plan: &LayerPlan<'_>,
    mtime: u64,
    blobs: &Utf8Path,
    partial: &Utf8Path,
) -> Result<Layer, ComposeError> {
    let file = File::create_new(partial).map_err(write_error(partial))?;
    let layer = layer::write(plan, mtime, file)?;
    let blob = blobs.join(layer.digest.hex());
    fs::rename(partial, &blob).map_err(write_error(&blob))?;
    Ok(layer)
}

fn write_document(blobs: &Utf8Path, document: &Value) -> Result<(Digest, usize), ComposeError> {
    let bytes = document.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    write_file(&blobs.join(digest.hex()), &bytes)?;
    Ok((digest, bytes.len()))
}

fn write_file(path: &Utf8Path, bytes: &[u8]) -> Result<(), ComposeError> {
    fs::write(path, bytes).map_err(write_error(path))
}

fn write_error(path: &Utf8Path) -> impl Fn(io::Error) -> ComposeError {
    move |source| ComposeError::Write { path: path.to_owned(), source }
}

fn check_values(spec: &Spec) -> Result<(), ComposeError> {
    let check = |field, value: &dyn fmt::Display, wanted, is_good: bool| match is_good {
        true => Ok(()),
        false => Err(ComposeError::Value { field, value: value.to_string(), wanted }),
    };
    let is_line = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    check("the title", &spec.title, "a line of text", is_line(&spec.title))?;
    check("the version", &spec.version, "a line of text", is_line(&spec.version))?;
    let wanted =
        "a reference name (letters and digits, joined by `-`, `.`, `_`, `:`, `@`, `/` or `+`)";
    check("the reference", &spec.reference, wanted, is_reference(&spec.reference))?;
    let wanted = "a time before the year 10000";
    check("the creation time", &spec.created, wanted, spec.created <= document::MAX_TIME)?;
    let wanted = "a time that a tar header can state";
    check("the time of files", &spec.mtime, wanted, spec.mtime <= MAX_FILE_BYTES)?;
    for key in spec.labels.keys() {
        // Nodes decide by these what an image is; they are the base's.
        let is_foreign =
            ["ostree.", "rpmostree.", "containers."].iter().any(|p| key.starts_with(p));
        let is_ours =
            [document::VERSION, document::TITLE, document::COMPONENTS].contains(&key.as_str());
        let wanted = "a label that may be set (`dev.basalt.…`)";
        check("a label", key, wanted, is_line(key) && !is_foreign && !is_ours)?;
    }
    Ok(())
}

/// The grammar of `org.opencontainers.image.ref.name`, less `--`, which no one needs.
///
/// Format: <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
fn is_reference(text: &str) -> bool {
    text.split(|c| "-._:@/+".contains(c))
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A folder is replaced only when it is a layout or empty, so that a slip of the pen does not cost someone a home.
fn check_target(folder: &Utf8Path) -> Result<(), ComposeError> {
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none() || folder.join(MARKER.0).is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    match is_free {
        true => Ok(()),
        false => Err(ComposeError::Occupied { folder: folder.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
