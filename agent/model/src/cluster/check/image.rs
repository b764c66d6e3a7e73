//! The operating system image: files that go to different places, archives that are named once.

use super::texts::{image_name, word};
use super::{Item, unique};
use crate::cluster::BaseImage;
use crate::input::ClusterInput;
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
}
