//! The images that objects run: each by digest, so that what was tested is what runs, and a node without a registry
//! can have them beforehand.

use std::collections::BTreeSet;

use basalt_image::bundle::index::is_pinned;
use basalt_model::yaml::Yaml;

use super::Lint;
use crate::bundle::objects::{Object, at, items, text};

/// Where the kinds with a pod in them have it.
const PODS: [(&str, &str, &[&str]); 9] = [
    ("", "Pod", &["spec"]),
    ("", "PodTemplate", &["template", "spec"]),
    ("", "ReplicationController", &["spec", "template", "spec"]),
    ("apps", "Deployment", &["spec", "template", "spec"]),
    ("apps", "ReplicaSet", &["spec", "template", "spec"]),
    ("apps", "StatefulSet", &["spec", "template", "spec"]),
    ("apps", "DaemonSet", &["spec", "template", "spec"]),
    ("batch", "Job", &["spec", "template", "spec"]),
    ("batch", "CronJob", &["spec", "jobTemplate", "spec", "template", "spec"]),
];

/// Variables by which operators are told what to run begin so.
const RELATED: &str = "RELATED_IMAGE";

const REMEDY: &str = "`skopeo inspect docker://IMAGE` shows the digest; write `NAME@sha256:…`";

/// Looks at the images of an object, and gathers them.
pub(super) fn check(object: &Object, lint: &mut Lint<'_>, images: &mut BTreeSet<String>) {
    let row = PODS
        .iter()
        .find(|(group, kind, _)| (*group, *kind) == (object.group(), object.id.kind.as_str()));
    let Some((_, _, path)) = row else { return };
    let Some(pod) = at(&object.yaml, path) else { return };
    let path = path.join(".");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = at(pod, &[list]).map_or(&[][..], items);
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            match at(container, &["image"]).filter(|image| !image.is_null()) {
                Some(image) => take(object, image, &format!("{path}.image"), lint, images),
                None => {
                    let message = "a container without an image";
                    lint.error(object, "image", container.place, &path, message, "give it one");
                }
            }
            let variables = at(container, &["env"]).map_or(&[][..], items);
            for (number, variable) in variables.iter().enumerate() {
                let is_related =
                    text(variable, &["name"]).is_some_and(|name| name.starts_with(RELATED));
                if let Some(value) = at(variable, &["value"]).filter(|_| is_related) {
                    take(object, value, &format!("{path}.env[{number}].value"), lint, images);
                }
            }
        }
    }
    for (index, volume) in at(pod, &["volumes"]).map_or(&[][..], items).iter().enumerate() {
        if let Some(image) = at(volume, &["image", "reference"]) {
            let path = format!("{path}.volumes[{index}].image.reference");
            take(object, image, &path, lint, images);
        }
    }
}

fn take(
    object: &Object,
    image: &Yaml,
    path: &str,
    lint: &mut Lint<'_>,
    images: &mut BTreeSet<String>,
) {
    let name = image.as_scalar().map_or("", |scalar| scalar.text.as_str());
    match is_pinned(name) {
        true => drop(images.insert(name.to_owned())),
        false => {
            let message = format!("`{name}` is not an image by digest");
            lint.error(object, "image", image.place, path, message, REMEDY);
        }
    }
}
