//! The files of each machine: its node.json, Butane and Ignition config, its pods, and how it boots over PXE.

use std::num::NonZero;
use std::thread;

use basalt_butane::{Extra, NodeConfig};
use basalt_image::pxe::{self, Live, Machine, Pxe};
use basalt_model::cluster::Cluster;
use basalt_model::node::{InterfaceKind, Node};
use basalt_model::report::{Place, Report};
use camino::Utf8Path;

use super::dist::{Document, Kind};
use crate::source;

/// The three files of the Fedora CoreOS live system, as `coreos-installer download -f pxe` is told to name them; they
/// are put beside the scripts by the person who serves them.
const LIVE: [&str; 3] = ["fcos/kernel", "fcos/initramfs.img", "fcos/rootfs.img"];

/// Compiles every node of the cluster in `file`, on all processors. `None` means that errors were reported.
pub(crate) fn compile(
    cluster: &Cluster,
    file: &Utf8Path,
    report: &mut Report,
) -> Option<Vec<Document>> {
    let folder = folder(file);
    let compile_some = |nodes: &[Node]| {
        let mut report = Report::new(file.as_str());
        let compiled: Vec<Option<Vec<Document>>> =
            nodes.iter().map(|node| compile_node(cluster, node, folder, &mut report)).collect();
        (compiled, report)
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = cluster.nodes.len().div_ceil(threads).max(1);
    let parts: Vec<_> = thread::scope(|scope| {
        let parts = cluster.nodes.chunks(share);
        let threads: Vec<_> = parts.map(|nodes| scope.spawn(|| compile_some(nodes))).collect();
        threads
            .into_iter()
            .map(|part| part.join().expect("a node compiles or has errors"))
            .collect()
    });
    // In the order of the cluster's file, on any number of threads.
    let mut nodes = Vec::new();
    for (compiled, findings) in parts {
        nodes.extend(compiled);
        report.absorb(findings);
    }
    let pxe = scripts(cluster, report);
    let mut documents = Vec::new();
    for node in nodes {
        documents.extend(node?);
    }
    documents.extend(pxe?);
    Some(documents)
}

/// What paths in the cluster's file are relative to.
pub(super) fn folder(file: &Utf8Path) -> &Utf8Path {
    match file.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    }
}

fn compile_node(
    cluster: &Cluster,
    node: &Node,
    folder: &Utf8Path,
    report: &mut Report,
) -> Option<Vec<Document>> {
    let name = node.name.as_str();
    let extras = extras(cluster, node, folder, report)?;
    let (config, findings) = basalt_butane::compile_node(node, &extras, Some(folder));
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

/// The Butane files that a person wrote for this node.
fn extras(
    cluster: &Cluster,
    node: &Node,
    folder: &Utf8Path,
    report: &mut Report,
) -> Option<Vec<Extra>> {
    let files = cluster.butane.get(&node.name).map(Vec::as_slice).unwrap_or_default();
    let mut extras = Vec::new();
    for file in files {
        let path = folder.join(file.value.as_str());
        match source::read(&path) {
            Ok(bytes) => extras.push(Extra { file: path.to_string(), bytes }),
            Err(error) => {
                report
                    .error(file.place, &file.path, format!("cannot read `{path}`: {error}"))
                    .hint("paths are relative to the cluster's file");
            }
        }
    }
    (extras.len() == files.len()).then_some(extras)
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
