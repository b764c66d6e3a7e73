//! The Butane files that people wrote for nodes: each is read once, and what is wrong with it is told once.

use std::collections::BTreeMap;

use basalt_butane::{Addition, Extra};
use basalt_model::cluster::Cluster;
use basalt_model::decode::Located;
use basalt_model::names::RelativePath;
use basalt_model::node::Node;
use basalt_model::report::Report;
use camino::{Utf8Path, Utf8PathBuf};

use super::dist;
use crate::source;

/// The Butane files that people wrote, by the name that the cluster's file has for them.
pub(crate) struct Additions(BTreeMap<RelativePath, Option<Read>>);

struct Read {
    addition: Addition,
    sha256: String,
}

impl Additions {
    /// Reads each file once, however many nodes have it, and whether or not there are nodes. What is wrong with them is
    /// reported, once. `agents` are the folders whose files the agent writes.
    pub(super) fn read(
        named: &[Located<RelativePath>],
        folder: &Utf8Path,
        agents: &[&str],
        report: &mut Report,
    ) -> Self {
        let mut additions = BTreeMap::new();
        for file in named {
            additions
                .entry(file.value.clone())
                .or_insert_with(|| read(file, folder, agents, report));
        }
        Additions(additions)
    }

    /// What they take from this machine.
    pub(super) fn local_paths(&self, folder: &Utf8Path) -> Vec<Utf8PathBuf> {
        let read = self.0.values().flatten();
        read.flat_map(|read| read.addition.local_paths()).map(|path| folder.join(path)).collect()
    }

    /// A line for each file, which differs when what nodes get of it may differ.
    pub(super) fn digests(&self) -> impl Iterator<Item = String> {
        let line = |(name, read): (&RelativePath, &Option<Read>)| {
            let sha256 = read.as_ref().map_or("", |read| read.sha256.as_str());
            format!("{sha256} {name}")
        };
        self.0.iter().map(line)
    }

    /// Those of a node, in order. `None` means that one of them could not be read.
    pub(super) fn of(&self, cluster: &Cluster, node: &Node) -> Option<Vec<&Addition>> {
        let files = cluster.butane.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        let addition =
            |file: &Located<RelativePath>| Some(&self.0.get(&file.value)?.as_ref()?.addition);
        files.iter().map(addition).collect()
    }
}

fn read(
    file: &Located<RelativePath>,
    folder: &Utf8Path,
    agents: &[&str],
    report: &mut Report,
) -> Option<Read> {
    let path = folder.join(file.value.as_str());
    let bytes = match source::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            report
                .error(file.place, &file.path, format!("cannot read `{path}`: {error}"))
                .hint("paths are relative to the cluster's file");
            return None;
        }
    };
    let extra = Extra { file: path.to_string(), bytes };
    let (addition, findings) = Addition::read(&extra, Some(folder), agents);
    report.absorb(findings);
    let addition = addition?;
    let text = [dist::hex(&extra.bytes), dist::hex(addition.text().as_bytes())].join(" ");
    Some(Read { addition, sha256: dist::hex(text.as_bytes()) })
}
