//! The image that ours is derived from: found, checked, and its layers taken over byte for byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::io::digest::{Digest, DigestReader};
use crate::oci::entry::Architecture;
use crate::oci::layout::{self, CONFIG_TYPE, Descriptor, Layout, LayoutError, MANIFEST_TYPE};
use crate::oci::tree::{Listing, Tree};
use crate::parallel;

/// Where the base image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing: the image holds our layers alone. Needs no download; a node cannot boot it.
    Scratch,
    /// An OCI layout folder, as `skopeo copy docker://… oci:FOLDER:NAME` makes it.
    Layout {
        /// The folder.
        folder: Utf8PathBuf,
        /// The image's name in `index.json`, needed when there are several.
        reference: Option<String>,
    },
}

/// A base image that can be derived from.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// The digest of its manifest; none for [`Base::Scratch`].
    pub digest: Option<Digest>,
    /// The manifest as it was found, with fields that this program does not know.
    pub manifest: Value,
    /// The config as it was found, likewise.
    pub config: Value,
    /// Whether nodes can boot what is derived from it: it is an ostree image and says so.
    pub is_bootable: bool,
    layers: Vec<BaseLayer>,
    layout: Option<Layout>,
}

#[derive(Clone, Debug)]
struct BaseLayer {
    descriptor: Descriptor,
    diff_id: Digest,
    compression: Compression,
}

#[derive(Clone, Copy, Debug)]
enum Compression {
    None,
    Gzip,
}

/// What has to be right in a manifest before it is edited as a plain [`Value`].
#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, rename = "annotations")]
    _annotations: Option<BTreeMap<String, String>>,
}

/// What has to be right in a config before it is edited as a plain [`Value`].
#[derive(Deserialize)]
struct Config {
    architecture: String,
    os: String,
    rootfs: RootFs,
    #[serde(default)]
    config: Option<RunConfig>,
    #[serde(default, rename = "history")]
    _history: Option<Vec<BTreeMap<String, Value>>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RunConfig {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// A base that cannot be derived from.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The layout could not be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The config is of another kind.
    #[error("the base's config has the media type {media_type}, not {CONFIG_TYPE}")]
    ConfigType {
        /// What the manifest says.
        media_type: String,
    },
    /// An image for other machines.
    #[error("the base is for {os}/{found}, but linux/{wanted} is wanted")]
    Architecture {
        /// The system in the config.
        os: String,
        /// The architecture in the config.
        found: String,
        /// The architecture asked for.
        wanted: Architecture,
    },
    /// Manifest and config disagree.
    #[error("the base has {layers} layers but {diff_ids} diff ids")]
    Layers {
        /// Layers in the manifest.
        layers: usize,
        /// Diff ids in the config.
        diff_ids: usize,
    },
    /// A layer is packed in a way that cannot be read.
    #[error("the base's layer {digest} has the media type {media_type}, which cannot be read")]
    LayerType {
        /// The layer's digest.
        digest: Digest,
        /// What the manifest says.
        media_type: String,
    },
    /// An ostree image without the label that says where its layers end.
    #[error(
        "the base says that it is bootable but has no label `ostree.final-diffid`, so nodes refuse it"
    )]
    NoFinalLayer,
    /// The label names no layer, or several.
    #[error(
        "the base's label `ostree.final-diffid` is `{label}`, which is {count} of its layers instead of one"
    )]
    FinalLayer {
        /// The label's value.
        label: String,
        /// How many layers have it as their diff id.
        count: usize,
    },
    /// An ostree image that nodes refuse to deploy.
    #[error(
        "the base is an ostree image without a label `ostree.bootable` or `containers.bootc`, so nodes refuse it"
    )]
    NotBootable,
    /// A blob could not be put into the new layout.
    #[error("cannot copy `{from}`")]
    Copy {
        /// The blob's file.
        from: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layer's content is no tar stream, or not compressed as announced.
    #[error("the blob `{path}` is not a readable layer")]
    Unreadable {
        /// The blob's file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layer's content is not that of the config.
    #[error(
        "the blob `{path}` holds a layer with the diff id {found}, but the config says {diff_id}"
    )]
    DiffId {
        /// The blob's file.
        path: Utf8PathBuf,
        /// The diff id in the config.
        diff_id: Digest,
        /// That of the content.
        found: Digest,
    },
}

impl BaseError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Layout(error) => error.hint(),
            Self::ConfigType { .. } | Self::LayerType { .. } => Some(
                "convert it with `skopeo copy --format oci --dest-compress-format gzip oci:FROM oci:TO`",
            ),
            Self::Architecture { .. } => Some("fetch the image for this architecture"),
            Self::NoFinalLayer | Self::FinalLayer { .. } | Self::NotBootable => Some(
                "use an unchanged image of Fedora CoreOS, or one derived from it layer by layer",
            ),
            Self::Unreadable { .. } => Some(
                "its digest is right, so it was made this way and nodes cannot read it either; make it with another tool",
            ),
            Self::Layers { .. } | Self::DiffId { .. } => {
                Some("its digest is right, so it was made this way; make it with another tool")
            }
            Self::Copy { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the copy is not complete: fetch the image again")
            }
            Self::Copy { .. } => None,
        }
    }
}

impl Base {
    /// Finds the image for `architecture` and checks all that its documents say. Layers are not read yet.
    ///
    /// # Errors
    /// When there is no such image, or it cannot be derived from.
    pub fn open(&self, architecture: Architecture) -> Result<BaseImage, BaseError> {
        match self {
            Self::Scratch => Ok(scratch(architecture)),
            Self::Layout { folder, reference } => {
                let layout = Layout::open(folder)?;
                let manifest = layout.find(reference.as_deref(), architecture)?;
                open(layout, &manifest, architecture)
            }
        }
    }
}

fn scratch(architecture: Architecture) -> BaseImage {
    BaseImage {
        digest: None,
        manifest: json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": {}, "layers": []}),
        config: json!({
            "created": "",
            "architecture": architecture.as_str(),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        }),
        is_bootable: false,
        layers: Vec::new(),
        layout: None,
    }
}

fn open(
    layout: Layout,
    descriptor: &Descriptor,
    architecture: Architecture,
) -> Result<BaseImage, BaseError> {
    let bytes = layout.document(descriptor)?;
    let path = layout.blob(&descriptor.digest);
    let manifest: Manifest = layout::parse(&path, "image manifest", &bytes)?;
    let manifest_value = layout::parse(&path, "image manifest", &bytes)?;
    if manifest.config.media_type != CONFIG_TYPE {
        return Err(BaseError::ConfigType { media_type: manifest.config.media_type });
    }
    let bytes = layout.document(&manifest.config)?;
    let path = layout.blob(&manifest.config.digest);
    let config: Config = layout::parse(&path, "image config", &bytes)?;
    let config_value = layout::parse(&path, "image config", &bytes)?;
    if (config.os.as_str(), config.architecture.as_str()) != ("linux", architecture.as_str()) {
        let (os, found) = (config.os, config.architecture);
        return Err(BaseError::Architecture { os, found, wanted: architecture });
    }
    let diff_ids = config.rootfs.diff_ids;
    if manifest.layers.len() != diff_ids.len() {
        let layers = manifest.layers.len();
        return Err(BaseError::Layers { layers, diff_ids: diff_ids.len() });
    }
    let labels = config.config.and_then(|config| config.labels).unwrap_or_default();
    let is_bootable = check_bootable(&labels, &diff_ids)?;
    let layers = manifest.layers.into_iter().zip(diff_ids).map(|(descriptor, diff_id)| {
        let compression = compression(&descriptor)?;
        Ok(BaseLayer { descriptor, diff_id, compression })
    });
    Ok(BaseImage {
        digest: Some(descriptor.digest),
        manifest: manifest_value,
        config: config_value,
        is_bootable,
        layers: layers.collect::<Result<_, BaseError>>()?,
        layout: Some(layout),
    })
}

fn compression(descriptor: &Descriptor) -> Result<Compression, BaseError> {
    match descriptor.media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar" => Ok(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Compression::Gzip),
        other => {
            Err(BaseError::LayerType { digest: descriptor.digest, media_type: other.to_owned() })
        }
    }
}

/// Whether an image with these labels and layers is one that nodes boot. An image that is none at all is fine, since it
/// promises nothing; one that promises and does not keep it is not.
///
/// A node splits the layers after the one that `ostree.final-diffid` names, and deploys only an image that has one of
/// the labels `ostree.bootable` and `containers.bootc`.
fn check_bootable(
    labels: &BTreeMap<String, String>,
    diff_ids: &[Digest],
) -> Result<bool, BaseError> {
    let says_bootable =
        labels.contains_key("ostree.bootable") || labels.contains_key("containers.bootc");
    match labels.get("ostree.final-diffid") {
        None if says_bootable => Err(BaseError::NoFinalLayer),
        None => Ok(false),
        Some(label) => {
            let count = diff_ids.iter().filter(|diff_id| diff_id.to_string() == *label).count();
            match (count, says_bootable) {
                (1, true) => Ok(true),
                (1, false) => Err(BaseError::NotBootable),
                (count, _) => Err(BaseError::FinalLayer { label: label.clone(), count }),
            }
        }
    }
}

impl BaseImage {
    /// How many layers it has.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Puts every layer's blob into the folder `blobs`, as a hard link where the file system allows it, and gives the
    /// names in them. Each blob is read once, for its digest, its diff id and its names together.
    ///
    /// # Errors
    /// When a blob is missing, damaged or no layer. What is in `blobs` then is of no use.
    pub fn take_over(&self, blobs: &Utf8Path) -> Result<Tree, BaseError> {
        self.read_layers(|from, layer| {
            let to = blobs.join(layer.descriptor.digest.hex());
            link_or_copy(&from, &to)
                .map_err(|source| BaseError::Copy { from: from.clone(), source })?;
            // The copy is what gets checked, since it is what gets shipped; messages name the original.
            list_layer(from, &to, layer)
        })
    }

    /// Gives the names in the image, as [`take_over`](Self::take_over) does, and takes nothing over.
    ///
    /// # Errors
    /// When a blob is missing, damaged or no layer.
    pub fn names(&self) -> Result<Tree, BaseError> {
        self.read_layers(|from, layer| {
            let at = from.clone();
            list_layer(from, &at, layer)
        })
    }

    /// Lays the listings that `read` makes of the layers' blobs over one another.
    fn read_layers(
        &self,
        read: impl Fn(Utf8PathBuf, &BaseLayer) -> Result<Listing, BaseError> + Sync,
    ) -> Result<Tree, BaseError> {
        let Some(layout) = &self.layout else { return Ok(Tree::default()) };
        let listings = parallel::try_map(&self.layers, |_, layer| {
            read(layout.blob(&layer.descriptor.digest), layer)
        })?;
        let mut tree = Tree::default();
        for listing in listings {
            tree.apply(listing);
        }
        Ok(tree)
    }
}

/// Lists the layer `from`, which is read at `at`.
fn list_layer(from: Utf8PathBuf, at: &Utf8Path, layer: &BaseLayer) -> Result<Listing, BaseError> {
    let read_error = |source| LayoutError::Read { path: from.clone(), source };
    let mut blob = DigestReader::new(File::open(at).map_err(read_error)?);
    let content = match layer.compression {
        Compression::None => list(&mut blob),
        Compression::Gzip => list(MultiGzDecoder::new(&mut blob)),
    };
    // Damage shows as an unreadable layer too, but only the digest tells which of the two it is.
    blob.drain().map_err(read_error)?;
    let (digest, size) = blob.finish();
    layer.descriptor.check(&from, digest, size)?;
    let (listing, found) =
        content.map_err(|source| BaseError::Unreadable { path: from.clone(), source })?;
    match layer.diff_id == found {
        true => Ok(listing),
        false => Err(BaseError::DiffId { path: from, diff_id: layer.diff_id, found }),
    }
}

fn list(tar: impl Read) -> io::Result<(Listing, Digest)> {
    let mut tar = DigestReader::new(tar);
    let listing = Listing::read(&mut tar)?;
    tar.drain()?;
    Ok((listing, tar.finish().0))
}

/// Gives the file `from` a second name, or copies it where it is a link or lies on another file system. A file that is
/// already at `to` is the same blob: some images have one layer twice.
fn link_or_copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_file() {
        match fs::hard_link(from, to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            Ok(()) | Err(_) => return Ok(()),
        }
    }
    fs::copy(from, to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootable_rule() {
        #[track_caller]
        fn check(labels: &[(&str, &str)], layers: &[&str], expected: Result<bool, &str>) {
            let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let diff_ids: Vec<Digest> = layers.iter().map(|l| Digest::of(l.as_bytes())).collect();
            let found = check_bootable(&labels, &diff_ids).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        }
        let b = Digest::of(b"b").to_string();
        let last = ("ostree.final-diffid", b.as_str());
        let (ostree, bootc) = (("ostree.bootable", "true"), ("containers.bootc", "1"));
        check(&[], &["a"], Ok(false));
        check(&[last, ostree], &["a", "b"], Ok(true));
        check(&[last, bootc], &["b", "c"], Ok(true));
        check(
            &[last],
            &["a", "b"],
            Err(
                "the base is an ostree image without a label `ostree.bootable` or `containers.bootc`, so nodes \
                 refuse it",
            ),
        );
        let no_final = "the base says that it is bootable but has no label `ostree.final-diffid`, so nodes refuse it";
        check(&[ostree], &["a"], Err(no_final));
        check(&[bootc], &["a"], Err(no_final));
        for (layers, count) in [(["a", "c"], 0), (["b", "b"], 2)] {
            let words = format!(
                "the base's label `ostree.final-diffid` is `{b}`, which is {count} of its layers instead of one"
            );
            check(&[last, ostree], &layers, Err(&words));
        }
    }
}
