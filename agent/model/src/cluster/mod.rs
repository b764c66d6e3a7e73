//! [`Cluster`]: `cluster.yaml`, read, checked and resolved into one [`Node`] per machine.
//!
//! Read [`Cluster::parse`]; the checks stand in `check/`, what a node is made of in `resolve`.

mod check;
mod resolve;
mod texts;

use std::collections::BTreeMap;

use crate::decode::{self, Located};
use crate::input::{ClusterInput, ImageFileInput, PreloadInput};
use crate::names::{ClusterName, ItemName, NodeName, RelativePath};
use crate::node::Node;
use crate::node::OwnPod;
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
    /// The texts of the files that nodes carry, by the name that the cluster's file has for them.
    pub texts: BTreeMap<RelativePath, String>,
}

/// What a `cluster.yaml` says, also one that is refused: the files it names can be looked at all the same, so that
/// everything that is wrong is told at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The cluster; absent when the report has errors.
    pub cluster: Option<Cluster>,
    /// Every finding, errors and warnings, each with its place.
    pub report: Report,
    /// Every Butane file that is named, in the order of the file's sections.
    pub butane: Vec<Located<RelativePath>>,
    /// The operating system image as far as it could be read; absent when nothing could.
    pub image: Option<ImagePlan>,
    /// The templates of secret files, in the order written; this crate does not read their language.
    pub templates: Vec<Located<String>>,
    /// People's own pods whose manifests could be read.
    pub pods: Vec<OwnPod>,
}

impl Reading {
    /// Reads and checks `cluster.yaml`; see [`Cluster::parse`].
    pub fn of(file: &str, bytes: &[u8]) -> Reading {
        Reading::with(file, bytes, &mut |_| Ok(String::new()))
    }

    /// Reads and checks `cluster.yaml`, and fetches with `read` the texts of the files that nodes carry: manifests of
    /// people's own pods and their config files, maps of haproxy. Each is fetched once. What `read` says is wrong is a
    /// finding at the file's place.
    pub fn with(
        file: &str,
        bytes: &[u8],
        read: &mut dyn FnMut(&RelativePath) -> Result<String, String>,
    ) -> Reading {
        let mut report = Report::new(file);
        let Some(input) = decode::document_in_part::<ClusterInput>(bytes, &mut report) else {
            let (butane, templates, pods) = (Vec::new(), Vec::new(), Vec::new());
            return Reading { cluster: None, report, butane, image: None, templates, pods };
        };
        check::check(&input, &mut report);
        let texts = texts::Texts::read(&input, read, &mut report);
        let is_usable = !report.has_errors();
        Reading {
            cluster: is_usable.then(|| resolve::cluster(&input, &texts)),
            butane: resolve::butane(&input),
            image: resolve::image(&input),
            templates: resolve::templates(&input),
            pods: resolve::own_pods(&input, &texts),
            report,
        }
    }
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
    /// Reads `cluster.yaml`. `file` is only used to name the file in findings. The report holds warnings. Files that it
    /// names are not read: where nodes carry their text, it is empty ([`Reading::with`] fetches it).
    ///
    /// # Errors
    /// [`Refused`] holds every finding, errors and warnings, each with its place.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<(Cluster, Report), Refused> {
        let Reading { cluster, report, .. } = Reading::of(file, bytes);
        cluster.map(|cluster| (cluster, report.clone())).ok_or(Refused(report))
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
