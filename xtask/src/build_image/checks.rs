//! Whether nodes can do anything with the image that they are told to run.

use basalt_image::oci::tree::Tree;
use basalt_image::oci::{Base, Spec};
use basalt_model::cluster::Cluster;
use basalt_model::report::Report;

/// What `kubelet.service` starts, and does nothing without.
const KUBELET: &str = "usr/bin/kubelet";

/// Warns when nodes would rebase to an image that they cannot boot. A base that is none is an error.
pub(super) fn can_nodes_boot(spec: &Spec, cluster: &Cluster, report: &mut Report) {
    let (place, path) = (cluster.image.base.place, &cluster.image.base.path);
    let opened = match spec.base.open(spec.architecture) {
        Ok(opened) => opened,
        Err(error) => {
            let hint = error.hint();
            let message = format!("cannot use the base image: {:#}", anyhow::Error::new(error));
            let finding = report.error(place, path, message);
            if let Some(hint) = hint {
                finding.hint(hint);
            }
            return;
        }
    };
    let Some(reference) = reference(cluster) else { return };
    let message = match &spec.base {
        _ if opened.is_bootable => return,
        Base::Scratch => format!(
            "nodes are to run `{reference}`, but an image made from `scratch` has no operating system"
        ),
        Base::Layout { .. } => format!(
            "nodes are to run `{reference}`, but its base is no image that a node can boot: it has no label \
             `ostree.final-diffid`"
        ),
    };
    report.warning(place, path, message).hint(
        "build on Fedora CoreOS (`base: oci:FOLDER`) before you push it, or leave `image.reference` away",
    );
}

/// Warns when nodes are to run an image without a kubelet, which starts the static pods. `base` are the names in the image
/// that it is derived from.
pub(super) fn has_kubelet(base: &Tree, cluster: &Cluster, report: &mut Report) {
    let is_added = cluster.image.files.iter().any(|file| file.value.path.as_str() == KUBELET);
    if is_added || base.get(KUBELET).is_some() || reference(cluster).is_none() {
        return;
    }
    let message = format!(
        "the image has no `{KUBELET}`, so that no static pod starts on a node that runs it"
    );
    report
        .warning(cluster.image.base.place, "image.files", message)
        .hint("list the kubelet in `image.files`, with its digest");
}

fn reference(cluster: &Cluster) -> Option<&str> {
    cluster.nodes.first()?.image.reference.as_deref()
}
