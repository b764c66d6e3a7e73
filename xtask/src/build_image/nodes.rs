//! The files of each machine: its node.json, Butane and Ignition config, its pods, and how it boots over PXE.

use std::collections::{BTreeMap, BTreeSet};

use basalt_butane::{Addition, Extra, NodeConfig};
use basalt_image::pxe::{self, Live, Machine, Pxe};
use basalt_model::cluster::Cluster;
use basalt_model::decode::Located;
use basalt_model::names::RelativePath;
use basalt_model::node::{InterfaceKind, Node};
use basalt_model::report::{Place, Report};
use camino::{Utf8Path, Utf8PathBuf};

use super::dist::{self, Document, Kind};
use crate::source;

/// The three files of the Fedora CoreOS live system, as `coreos-installer download -f pxe` is told to name them; they
/// are put beside the scripts by the person who serves them.
const LIVE: [&str; 3] = ["fcos/kernel", "fcos/initramfs.img", "fcos/rootfs.img"];

/// The Butane files that people wrote, by the name that the cluster's file has for them.
pub(super) struct Additions<'c>(BTreeMap<&'c str, Option<Read>>);

struct Read {
    addition: Addition,
    sha256: String,
}

impl<'c> Additions<'c> {
    /// Reads each file once, however many nodes have it. What is wrong with them is reported, once.
    pub(super) fn read(cluster: &'c Cluster, folder: &Utf8Path, report: &mut Report) -> Self {
        let of_pods = cluster.nodes.iter().map(|node| node.kubelet.static_pod_directory.as_str());
        let agents: BTreeSet<&str> =
            of_pods.chain([basalt_static_pods::CONFIG_DIRECTORY]).collect();
        let agents: Vec<&str> = agents.into_iter().collect();
        let mut additions = BTreeMap::new();
        for file in cluster.butane.values().flatten() {
            additions
                .entry(file.value.as_str())
                .or_insert_with(|| read(file, folder, &agents, report));
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
        let line = |(name, read): (&&str, &Option<Read>)| {
            let sha256 = read.as_ref().map_or("", |read| read.sha256.as_str());
            format!("{sha256} {name}")
        };
        self.0.iter().map(line)
    }

    /// Those of a node, in order. `None` means that one of them could not be read.
    fn of(&self, cluster: &Cluster, node: &Node) -> Option<Vec<&Addition>> {
        let files = cluster.butane.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        let addition = |file: &Located<RelativePath>| {
            Some(&self.0.get(file.value.as_str())?.as_ref()?.addition)
        };
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

/// Compiles every node. `None` means that errors were reported, here or when the additions were read.
pub(super) fn compile(
    cluster: &Cluster,
    additions: &Additions,
    report: &mut Report,
) -> Option<Vec<Document>> {
    let nodes: Vec<Option<Vec<Document>>> =
        cluster.nodes.iter().map(|node| compile_node(cluster, node, additions, report)).collect();
    let pxe = scripts(cluster, report);
    let mut documents = Vec::new();
    for node in nodes {
        documents.extend(node?);
    }
    documents.extend(pxe?);
    Some(documents)
}

fn compile_node(
    cluster: &Cluster,
    node: &Node,
    additions: &Additions,
    report: &mut Report,
) -> Option<Vec<Document>> {
    let name = node.name.as_str();
    let additions = additions.of(cluster, node)?;
    let (config, findings) = basalt_butane::compile_node(node, &additions);
    report.absorb(findings);
    let pods = match basalt_static_pods::render(node) {
        Ok(pods) => Some(pods),
        Err(error) => {
            for finding in error.findings() {
                report.error(
                    Place::START,
                    format!("node `{name}`: {}", finding.place),
                    finding.message.clone(),
                );
            }
            None
        }
    };
    let (NodeConfig { butane, ignition }, pods) = (config?, pods?);
    let document = |path: String, kind, contents: String| Document {
        path,
        kind,
        node: Some(name.to_owned()),
        contents: contents.into_bytes(),
    };
    let mut documents = vec![
        document(format!("nodes/{name}/node.json"), Kind::Node, node.to_json()),
        document(format!("nodes/{name}/config.bu"), Kind::Butane, butane),
        document(format!("pxe/ignition/{name}.ign"), Kind::PxeIgnition, ignition.clone()),
        document(format!("nodes/{name}/config.ign"), Kind::Ignition, ignition),
    ];
    for pod in pods {
        for file in pod.files {
            let below = file
                .path
                .as_str()
                .strip_prefix(basalt_static_pods::CONFIG_DIRECTORY)
                .unwrap_or(file.path.as_str());
            documents.push(document(
                format!("nodes/{name}/pods{below}"),
                Kind::PodConfig,
                file.contents,
            ));
        }
        documents.push(document(
            format!("nodes/{name}/pods/{}.yaml", pod.name),
            Kind::StaticPod,
            pod.manifest,
        ));
    }
    Some(documents)
}

/// The iPXE scripts of the cluster.
fn scripts(cluster: &Cluster, report: &mut Report) -> Option<Vec<Document>> {
    let machine = |node: &Node| Machine {
        name: node.name.to_string(),
        macs: macs(node),
        install_disk: node.install_disk.as_ref().map(ToString::to_string),
        kernel_args: node.kernel_arguments.clone(),
        ignition: format!("ignition/{}.ign", node.name),
    };
    let [kernel, initramfs, rootfs] = LIVE.map(str::to_owned);
    let machines: Vec<Machine> = cluster.nodes.iter().map(machine).collect();
    match pxe::render(&Pxe { base: None, live: Live { kernel, initramfs, rootfs }, machines }) {
        Ok(scripts) => {
            Some(scripts.into_iter().map(|(path, text)| script(cluster, &path, text)).collect())
        }
        Err(error) => {
            for finding in error.0 {
                report.error(
                    Place::START,
                    &finding.place,
                    format!("`{}` {}", finding.value.escape_debug(), finding.problem),
                );
            }
            None
        }
    }
}

fn script(cluster: &Cluster, path: &str, text: String) -> Document {
    let boots = |node: &&Node| {
        macs(node).iter().any(|mac| path.ends_with(&format!("/{}.ipxe", mac.replace(':', "-"))))
    };
    Document {
        path: format!("pxe/{path}"),
        kind: Kind::Ipxe,
        node: cluster.nodes.iter().find(boots).map(|node| node.name.to_string()),
        contents: text.into_bytes(),
    }
}

/// The Ethernet addresses that a machine may boot from.
fn macs(node: &Node) -> Vec<String> {
    let mac = |interface: &basalt_model::node::Interface| match &interface.kind {
        InterfaceKind::Ethernet { mac } => Some(mac.to_string()),
        InterfaceKind::Bond { .. } | InterfaceKind::Vlan { .. } => None,
    };
    node.network.interfaces.iter().filter_map(mac).collect()
}
