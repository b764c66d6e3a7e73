//! The files of each machine: its node.json, Butane and Ignition config, its pods, and how it boots over PXE.

use std::num::NonZero;
use std::thread;

use basalt_butane::{Addition, NodeConfig};
use basalt_image::pxe::{self, Live, Machine, Pxe};
use basalt_model::cluster::Cluster;
use basalt_model::node::{InterfaceKind, Node};
use basalt_model::report::{Finding, Place, Report, Severity};

use super::additions::Additions;
use super::causes::Causes;
use super::dist::{Document, Kind};

/// The three files of the Fedora CoreOS live system, as `coreos-installer download -f pxe` is told to name them; they
/// are put beside the scripts by the person who serves them.
const LIVE: [&str; 3] = ["fcos/kernel", "fcos/initramfs.img", "fcos/rootfs.img"];

/// Compiles every node with people's own files, on all processors. `None` means that errors were reported.
pub(crate) fn compile(
    cluster: &Cluster,
    additions: &Additions,
    report: &mut Report,
) -> Option<Vec<Document>> {
    let compile_some = |nodes: &[Node]| {
        let mut causes = Causes::default();
        let mut findings = Vec::new();
        let compile = |node: &Node| {
            let additions = additions.of(cluster, node)?;
            compile_node(node, &additions, &mut causes, &mut findings)
        };
        let compiled: Vec<Option<Vec<Document>>> = nodes.iter().map(compile).collect();
        (compiled, causes, findings)
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
    let (mut nodes, mut causes, mut findings) = (Vec::new(), Causes::default(), Vec::new());
    for (compiled, more_causes, more_findings) in parts {
        nodes.extend(compiled);
        causes.absorb(more_causes);
        findings.extend(more_findings);
    }
    report.absorb_once(findings);
    causes.tell(report);
    let pxe = scripts(cluster, report);
    let mut documents = Vec::new();
    for node in nodes {
        documents.extend(node?);
    }
    documents.extend(pxe?);
    Some(documents)
}

fn compile_node(
    node: &Node,
    additions: &[&Addition],
    causes: &mut Causes,
    findings: &mut Vec<Finding>,
) -> Option<Vec<Document>> {
    let name = node.name.as_str();
    let (config, report) = basalt_butane::compile_node(node, additions);
    for finding in report.into_findings() {
        // Basalt's own part of the config is a file that nobody has.
        match finding.file == format!("{name}.bu") {
            true => causes.add(node, finding.severity, &finding.path, &finding.message),
            false => findings.push(finding),
        }
    }
    let pods = match basalt_static_pods::render(node) {
        Ok(pods) => Some(pods),
        Err(error) => {
            for finding in error.findings() {
                causes.add(node, Severity::Error, &finding.place, &finding.message);
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

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = include_str!("../../../tests/clusters/lab/cluster.yaml");

    /// What the model does not find is told once, with the nodes it is about.
    #[test]
    fn one_cause_on_many_nodes_is_one_finding() {
        let (mut cluster, _) = Cluster::parse("cluster.yaml", LAB.as_bytes()).unwrap();
        for node in &mut cluster.nodes {
            node.haproxy.as_mut().unwrap().max_connections = 900_000;
            node.ssh_authorized_keys.push(node.ssh_authorized_keys[0].clone());
        }
        cluster.nodes[1].haproxy.as_mut().unwrap().monitor_port = 0;
        cluster.butane.clear();
        cluster.nodes.iter_mut().for_each(|node| node.pods.clear());
        let mut report = Report::new("cluster.yaml");
        let additions = Additions::read(&[], ".".into(), &[], &mut report);
        let documents = compile(&cluster, &additions, &mut report);
        assert!(documents.is_none());
        let found: Vec<String> = report.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{report}");
        for expected in [
            "cluster.yaml:1:1: haproxy.max_connections: must be between 1 and 500000, not 900000 (on `n1`, `n2` and `n3`)",
            "cluster.yaml:1:1: haproxy.monitor_port: must be between 1 and 65535 (on `n2`)",
        ] {
            assert!(found.iter().any(|row| row == expected), "{report}");
        }
        assert!(found.iter().any(|row| row.contains("ssh_authorized_keys")), "{report}");
    }
}
