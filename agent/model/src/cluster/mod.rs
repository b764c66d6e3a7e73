//! [`Cluster`]: `cluster.yaml`, read, checked and resolved into one [`Node`] per machine.
//!
//! Read [`Cluster::parse`]; the checks stand in `check/`, what a node is made of in `resolve`.

mod check;
mod resolve;

use std::collections::BTreeMap;

use crate::decode::{self, Located};
use crate::input::{ClusterInput, ImageFileInput, PreloadInput};
use crate::names::{ClusterName, ItemName, NodeName, RelativePath};
use crate::node::Node;
use crate::report::{Refused, Report};

/// A cluster whose parts fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Name of the cluster.
    pub name: ClusterName,
    /// Counts up with each change.
    pub generation: u64,
    /// One per machine, in the order written.
    pub nodes: Vec<Node>,
    /// The Butane files of each node, in the order they are merged: the cluster's, the role's, the node's own.
    pub butane: BTreeMap<NodeName, Vec<Located<RelativePath>>>,
    /// The operating system image.
    pub image: ImagePlan,
}

/// What the operating system image is made of. Paths are relative to `cluster.yaml`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePlan {
    /// Name of the image.
    pub name: ItemName,
    /// Version label.
    pub version: String,
    /// What it is built on.
    pub base: Located<BaseImage>,
    /// Files baked in.
    pub files: Vec<Located<ImageFileInput>>,
    /// Container images baked in.
    pub preload: Vec<Located<PreloadInput>>,
}

/// What an image is built on.
#[derive(Clone, Debug, PartialEq)]
pub enum BaseImage {
    /// Nothing: the image holds only what is baked in. Needs no network and no download.
    Scratch,
    /// An OCI layout in a folder.
    Layout(RelativePath),
    /// An image in a registry, by digest.
    Registry(crate::names::ImageReference),
}

impl Cluster {
    /// Reads `cluster.yaml`. `file` is only used to name the file in findings. The report holds warnings.
    ///
    /// # Errors
    /// [`Refused`] holds every finding, errors and warnings, each with its place.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<(Cluster, Report), Refused> {
        let mut report = Report::new(file);
        let Some(input) = decode::document::<ClusterInput>(bytes, &mut report) else {
            return Err(Refused(report));
        };
        check::check(&input, &mut report);
        if report.has_errors() {
            return Err(Refused(report));
        }
        Ok((resolve::cluster(&input), report))
    }

    /// The node `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name.as_str() == name)
    }
}

impl BaseImage {
    /// Reads `scratch`, `oci:FOLDER` or an image reference with a digest.
    fn parse(text: &str) -> Option<BaseImage> {
        match text.strip_prefix("oci:") {
            Some(folder) => folder.parse().ok().map(BaseImage::Layout),
            None if text == "scratch" => Some(BaseImage::Scratch),
            None => text.parse().ok().map(BaseImage::Registry),
        }
    }
}
