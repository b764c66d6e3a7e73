//! Everything before the nodes: what the cluster's file says, and the files that it names.

use basalt_image::oci::Base;
use basalt_model::cluster::{Cluster, Reading};
use basalt_model::names::RelativePath;
use basalt_model::report::Report;
use camino::Utf8Path;

use super::additions::Additions;
use super::{base, components, pods, templates};
use crate::source;

/// Where pods are unless the cluster's file says otherwise.
const PODS: &str = "/etc/kubernetes/manifests";

/// What an image and its files are made from.
pub(crate) struct Prepared {
    /// Absent when errors were reported.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) additions: Additions,
    /// Absent when it cannot be had, which was reported.
    pub(super) base: Option<Base>,
}

/// Reads the cluster and looks at all that it names, as far as it could be read, so that one run finds everything.
pub(crate) fn prepare(file: &Utf8Path, bytes: &[u8], folder: &Utf8Path) -> (Prepared, Report) {
    let mut text = |name: &RelativePath| source::text(folder, name);
    let reading = Reading::with(file.as_str(), bytes, &mut text);
    let Reading { mut cluster, mut report, butane, image, templates, pods: own } = reading;
    let source = String::from_utf8_lossy(bytes);
    for template in &templates {
        templates::check(template, &source, &mut report);
    }
    cluster = cluster.filter(|_| !report.has_errors());
    for pod in &own {
        // What is wrong with the file itself is told here, with its place. Nodes would tell it once more.
        if !pods::is_fine(folder.join(pod.source.as_str()).as_str(), pod, &mut report) {
            cluster = None;
        }
    }
    let nodes = cluster.iter().flat_map(|cluster| &cluster.nodes);
    let mut agents: Vec<&str> =
        nodes.map(|node| node.kubelet.static_pod_directory.as_str()).collect();
    agents.extend([PODS, basalt_static_pods::CONFIG_DIRECTORY]);
    agents.sort_unstable();
    agents.dedup();
    let additions = Additions::read(&butane, folder, &agents, &mut report);
    let base = image.and_then(|image| {
        components::check(&image, folder, &mut report);
        base(&image, folder, &mut report)
    });
    (Prepared { cluster, additions, base }, report)
}

#[cfg(test)]
mod tests {
    use basalt_model::report::Severity;

    use super::super::nodes;
    use super::*;

    /// The lab's file with changes, in the lab's folder.
    #[track_caller]
    fn check(changes: &[(&str, &str)], expected: &[&str]) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/clusters/lab");
        let mut text = include_str!("../../../tests/clusters/lab/cluster.yaml").to_owned();
        for (from, to) in changes {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        let (prepared, mut report) = prepare("f".into(), text.as_bytes(), folder.into());
        if let Some(cluster) = &prepared.cluster {
            let compiled = nodes::compile(cluster, &prepared.additions, &mut report);
            assert_eq!(compiled.is_none() || prepared.base.is_none(), !expected.is_empty());
        }
        let severe =
            report.sorted().into_iter().filter(|finding| finding.severity == Severity::Error);
        let found: Vec<String> = severe.map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{report}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{report}");
        }
    }

    #[test]
    fn every_stage_tells_what_it_finds() {
        check(&[], &[]);
        // A manifest is looked at once, with places of its own, not once for each node.
        check(
            &[("manifest: pods/exporter.yaml", "manifest: pods/exporter.conf")],
            &["/pods/exporter.conf:1:1: a pod is wanted here"],
        );
        check(
            &[("source: pods/exporter.conf", "source: pods/none.conf")],
            &["f:160:17: pods[0].files[0].source: cannot read `"],
        );
        check(
            &[("  - name: exporter\n    manifest", "  - name: another\n    manifest")],
            &[
                "f:1:1: pods/exporter.yaml: metadata.name: the pod is called `exporter` here and `another` in the cluster (on `n1`, `n2` and `n3`)",
            ],
        );
        let secret = "  secrets:\n  - name: password\n    roles: [controller]\n    destination: /etc/password/file\n    \
            template: |\n      a\n      {{ kv('secret', 'x').y }\n";
        check(
            &[("  certificates:\n", &format!("{secret}  certificates:\n"))],
            &["f:140:7: vault.secrets[0].template: syntax error: "],
        );
        check(&[("[butane/all.bu]", "[butane/none.bu]")], &["f:26:10: butane[0]: cannot read `"]);
        check(
            &[
                ("generation: 1\n", "generation: x\n"),
                ("[butane/all.bu]", "[butane/none.bu]"),
                ("- name: n3\n    role: controller", "- name: n3\n    role: controler"),
                ("[butane/n3.bu]", "[files/crictl.yaml]"),
                ("source: files/crictl.yaml", "source: files/none"),
                ("base: scratch", "base: oci:none"),
            ],
            &[
                "/files/crictl.yaml:1:1: $.variant: `variant` is missing",
                "/files/crictl.yaml:1:1: $.version: `version` is missing",
                "f:5:13: generation: ",
                "f:26:10: butane[0]: cannot read `",
                "nodes[2].role: there is no role `controler`",
                "image.base: `",
                "image.files[0].source: cannot read `",
            ],
        );
    }
}
