//! The operating system image: files that go to different places, archives that are named once, and the pause image
//! among them.

use super::texts::{image_name, word};
use super::{Item, unique};
use crate::cluster::BaseImage;
use crate::decode::Located;
use crate::input::{ClusterInput, ContainerdInput, PreloadInput};
use crate::names::reference::is_name;
use crate::node::PAUSE_IMAGE;
use crate::report::Report;

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    let image = &input.image;
    word(&image.version, "a version", report);
    if let Some(reference) = &image.reference {
        image_name(reference, report);
    }
    if BaseImage::parse(&image.base).is_none() {
        report
            .error(image.base.place, &image.base.path, format!("`{}` is not a base image", image.base.value))
            .hint("write `scratch`, `oci:FOLDER`, or `registry/name@sha256:…`: a tag alone may name another image tomorrow");
    }
    unique("path", image.files.iter().map(|file| Item::of(&file.value.path)), report);
    unique("reference", image.preload.iter().map(|item| Item::of(&item.reference)), report);
    if let Some(containerd) = &input.containerd {
        has_sandbox(containerd, &image.preload, report);
    }
}

/// Every pod needs the pause image, also where no registry can be reached.
fn has_sandbox(
    containerd: &ContainerdInput,
    preload: &[Located<PreloadInput>],
    report: &mut Report,
) {
    let sandbox = &containerd.sandbox_image;
    let is_it = |item: &Located<PreloadInput>| item.reference.name() == sandbox.value;
    if sandbox.value != PAUSE_IMAGE && is_name(sandbox) && !preload.iter().any(is_it) {
        let message = format!(
            "no archive in `image.preload` is `{}`: a node that cannot reach the registry starts no pod",
            sandbox.value
        );
        report.warning(sandbox.place, &sandbox.path, message).hint(
            "preload it, or leave the line out: the build then makes and bakes in a pause image",
        );
    }
}
