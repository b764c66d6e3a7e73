//! Everything up to the first byte that is written: what the cluster's file says, compiled and looked at.

use basalt_image::oci::Base;
use basalt_model::cluster::{Cluster, Reading};
use basalt_model::report::Report;
use camino::Utf8Path;

use super::dist::Document;
use super::own_files::OwnFiles;
use super::{base, components, nodes};
use crate::progress::Progress;

/// What an image and its files are made from.
pub(crate) struct Prepared {
    pub(super) cluster: Cluster,
    pub(super) documents: Vec<Document>,
    pub(super) base: Base,
}

/// Reads the cluster and goes through all stages that can run on what was read, so that one run finds everything.
/// `None` means that errors were reported.
pub(crate) fn prepare(
    file: &Utf8Path,
    bytes: &[u8],
    folder: &Utf8Path,
    progress: &Progress,
) -> (Option<Prepared>, Report) {
    let Reading { cluster, mut report, butane, image } = Reading::of(file.as_str(), bytes);
    let own_files = OwnFiles::read(&butane, folder, &mut report);
    let base = image.and_then(|image| {
        components::check(&image, folder, &mut report);
        base(&image, folder, &mut report)
    });
    let Some(cluster) = cluster else {
        own_files.check(folder, &mut report);
        return (None, report);
    };
    progress.step(format!("compiling {} nodes of `{}`", cluster.nodes.len(), cluster.name));
    let documents = nodes::compile(&cluster, &own_files, folder, &mut report);
    match (documents, base, report.has_errors()) {
        (Some(documents), Some(base), false) => {
            (Some(Prepared { cluster, documents, base }), report)
        }
        _ => (None, report),
    }
}

#[cfg(test)]
mod tests {
    use basalt_model::report::Severity;

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
        let quiet = Progress::new(true);
        let (prepared, report) = prepare("f".into(), text.as_bytes(), folder.into(), &quiet);
        assert_eq!(prepared.is_none(), !expected.is_empty(), "{report}");
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
