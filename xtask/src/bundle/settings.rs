//! `bundle.yaml`: what is said about a bundle besides its objects.

use basalt_image::bundle::index::{is_pinned, version};
use basalt_image::bundle::{ObjectRef, ReadinessOverride};
use basalt_model::decode::{Decoder, Located};
use basalt_model::record;
use basalt_model::report::Report;
use basalt_model::yaml;

/// The name of the file in a bundle's folder.
pub(super) const FILE: &str = "bundle.yaml";

record! {
    /// A bundle, besides the folders of its waves.
    pub struct Settings {
        /// Grows with every bundle of a cluster.
        generation: Located<u64>,
        /// The oldest agent that may apply it.
        least_agent: Located<String> = Located::default_of("0.1.0".to_owned()),
        /// The oldest Kubernetes that it is for.
        least_kubernetes: Located<String> = Located::default_of("1.33".to_owned()),
        /// Where it is made from, a URL; tools show it.
        source: String = String::new(),
        /// Which version of that; tools show it. `generation-N` when absent.
        revision: Option<String>,
        /// Objects that are ready when a condition of theirs says so.
        readiness: Vec<Located<ReadinessInput>>,
        /// Objects that are created where they are missing, and then left to whoever changes them.
        create_only: Vec<Located<ObjectInput>>,
        /// Objects that stay when a later bundle no longer has them.
        never_prune: Vec<Located<ObjectInput>>,
        /// Images that the objects run without naming them in a pod, by digest.
        images: Vec<Located<String>>,
    }

    /// An object, or all of a kind, and the condition that says that it is ready.
    pub struct ReadinessInput {
        /// As in the object.
        api_version: String,
        /// As in the object.
        kind: String,
        /// As in the object.
        namespace: Option<String>,
        /// All of the kind when absent.
        name: Option<String>,
        /// The type of the condition.
        condition: String = "Ready".to_owned(),
        /// Its status.
        status: String = "True".to_owned(),
    }

    /// One object by name.
    pub struct ObjectInput {
        /// As in the object.
        api_version: String,
        /// As in the object.
        kind: String,
        /// As in the object; absent for cluster-scoped ones.
        namespace: Option<String>,
        /// As in the object.
        name: String,
    }
}

impl ReadinessInput {
    pub(super) fn to_index(&self) -> ReadinessOverride {
        let Self { api_version, kind, namespace, name, condition, status } = self.clone();
        ReadinessOverride { api_version, kind, namespace, name, condition, status }
    }
}

impl ObjectInput {
    pub(super) fn to_index(&self) -> ObjectRef {
        let Self { api_version, kind, namespace, name } = self.clone();
        ObjectRef { api_version, kind, namespace, name }
    }
}

/// Reads `bundle.yaml`. `None` means that errors were reported.
pub(super) fn parse(bytes: &[u8], report: &mut Report) -> Option<Settings> {
    let stream = yaml::parse(bytes, report)?;
    if let Some(place) = stream.second {
        report.error(place, "", "a second document; there is one");
    }
    let root = stream.first.unwrap_or_else(|| yaml::Yaml {
        place: basalt_model::report::Place::START,
        tag: None,
        value: yaml::Value::Map(Vec::new()),
    });
    let settings =
        <Settings as basalt_model::decode::Decode>::decode(&root, &mut Decoder::new(report))?;
    check(&settings, report);
    (!report.has_errors()).then_some(settings)
}

fn check(settings: &Settings, report: &mut Report) {
    let Settings { generation, least_agent, least_kubernetes, images, .. } = settings;
    if generation.value == 0 {
        report.error(generation.place, &generation.path, "generations begin with 1");
    }
    if version(&least_agent.value).is_none_or(|numbers| numbers.len() != 3) {
        let message = format!("`{}` is not a version like `0.1.0`", least_agent.value);
        report.error(least_agent.place, &least_agent.path, message);
    }
    let (first, last) = super::kinds::SUPPORTED;
    if minor(&least_kubernetes.value).is_none_or(|minor| !(first..=last).contains(&minor)) {
        let message =
            format!("`{}` is not a version from 1.{first} to 1.{last}", least_kubernetes.value);
        report
            .error(least_kubernetes.place, &least_kubernetes.path, message)
            .hint("in quotes, as `\"1.33\"`");
    }
    for image in images {
        if !is_pinned(&image.value) {
            let message = format!("`{}` is not an image by digest", image.value);
            report
                .error(image.place, &image.path, message)
                .hint("`skopeo inspect docker://IMAGE` shows the digest; write `NAME@sha256:…`");
        }
    }
}

/// The minor version of a Kubernetes 1.
pub(super) fn minor(text: &str) -> Option<u32> {
    match version(text)?[..] {
        [1, minor] => Some(minor),
        _ => None,
    }
}
