//! Bundles: what a cluster is to run, as one OCI artefact.
//!
//! An artefact has two layers. The first is a tar stream of plain Kubernetes YAML in folders, one a wave, in the media
//! types of Flux, so that `flux`, `oras` and `kubectl` read it. The second is our [`Index`]: what an applier has to know
//! besides. Read [`index`] first, then [`build()`] (objects to bytes) and [`read`] (bytes to objects, everything
//! checked), then [`store`] (the layout folder or archive that holds one).

pub mod build;
pub mod content;
pub mod index;
pub mod read;
pub mod store;

pub use build::{About, Built, build};
pub use content::ContentFile;
pub use index::{Index, ObjectRef, ReadinessOverride, Wave};
pub use read::{Artefact, ArtefactError, Descriptors, Parts, descriptors, parse};
pub use store::{Opened, Store, StoreError, open};

/// The media type of the config, which says to Flux that this is an artefact for it.
pub const CONFIG_TYPE: &str = "application/vnd.cncf.flux.config.v1+json";
/// The media type of the layer with the objects.
pub const CONTENT_TYPE: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
/// The media type of the layer with the [`Index`].
pub const BUNDLE_INDEX_TYPE: &str = "application/vnd.basalt.bundle.index.v1+json";

/// The name under which `oras pull` writes the layer with the objects.
pub const CONTENT_TITLE: &str = "bundle.tar.gz";
/// The name under which `oras pull` writes the index.
pub const INDEX_TITLE: &str = "index.json";
