//! The Butane files that people wrote for nodes: each is read once, and those that cannot be are told once.

use std::collections::BTreeMap;

use basalt_butane::{Extra, Options, Output, Warnings};
use basalt_model::cluster::Cluster;
use basalt_model::decode::Located;
use basalt_model::names::RelativePath;
use basalt_model::node::Node;
use basalt_model::report::Report;
use camino::Utf8Path;

use crate::source;

/// The files by their path in the cluster's file; `None` for one that cannot be read.
pub(super) struct OwnFiles(BTreeMap<RelativePath, Option<Extra>>);

impl OwnFiles {
    /// Reads every file, and reports those that cannot be read where they are named.
    pub(super) fn read(
        named: &[Located<RelativePath>],
        folder: &Utf8Path,
        report: &mut Report,
    ) -> OwnFiles {
        let mut files = BTreeMap::new();
        for file in named {
            let path = folder.join(file.value.as_str());
            let extra = match source::read(&path) {
                Ok(bytes) => Some(Extra { file: path.to_string(), bytes }),
                Err(error) => {
                    report
                        .error(file.place, &file.path, format!("cannot read `{path}`: {error}"))
                        .hint("paths are relative to the cluster's file");
                    None
                }
            };
            files.insert(file.value.clone(), extra);
        }
        OwnFiles(files)
    }

    /// The files of one node, in the order they are merged. `None` when one of them could not be read.
    pub(super) fn of(&self, cluster: &Cluster, node: &Node) -> Option<Vec<Extra>> {
        let files = cluster.butane.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        files.iter().map(|file| self.0.get(&file.value).cloned().flatten()).collect()
    }

    /// Compiles each file by itself, for a cluster that is refused: its nodes cannot be compiled, but what is wrong with
    /// these files can be told.
    pub(super) fn check(&self, folder: &Utf8Path, report: &mut Report) {
        let options = Options {
            files_dir: Some(folder),
            warnings: Warnings::Allowed,
            output: Output::Ignition,
        };
        for extra in self.0.values().flatten() {
            let (_, findings) = basalt_butane::compile(&extra.file, &extra.bytes, &options);
            report.absorb(findings);
        }
    }
}
