//! `spec.volumes`: one source each, of those that a standalone kubelet can mount.

use std::collections::BTreeMap;

use super::container::containers;
use super::names;
use super::pod::reference;
use super::quantity::Quantity;
use super::tree::{At, beginning};
use super::{Effect, Sink, env, foreign, image, resources};

/// The volumes that containers may mount, by name, each with its source.
pub(super) type Volumes<'t> = BTreeMap<&'t str, &'static str>;

/// What a standalone kubelet makes of a source.
enum Source {
    /// It mounts it.
    Mounts,
    /// It is an object of the API.
    Reference(&'static str),
    /// Nothing in the kubelet mounts it.
    Never(&'static str),
    /// Something on the host has to mount it.
    Host(&'static str),
}

const NO_PLUGIN: &str = "this kubelet has no plugin for it any more";
const BY_CSI: &str = "it is mounted by a CSI driver, which a standalone kubelet has not";
const BY_CLUSTER: &str =
    "a controller of the cluster has to attach it first, and a standalone kubelet has none";

const SOURCES: [(&str, Source); 29] = [
    ("emptyDir", Source::Mounts),
    ("hostPath", Source::Mounts),
    ("gitRepo", Source::Never("the kubelet's plugin for it is disabled")),
    ("gcePersistentDisk", Source::Never(BY_CSI)),
    ("awsElasticBlockStore", Source::Never(BY_CSI)),
    ("secret", Source::Reference("a Secret")),
    ("nfs", Source::Host("an NFS server, and `mount.nfs`")),
    ("iscsi", Source::Never(BY_CLUSTER)),
    ("glusterfs", Source::Reference("Endpoints")),
    ("flocker", Source::Never(NO_PLUGIN)),
    ("persistentVolumeClaim", Source::Reference("a PersistentVolumeClaim")),
    ("rbd", Source::Never(NO_PLUGIN)),
    ("cinder", Source::Never(BY_CSI)),
    ("cephfs", Source::Never(NO_PLUGIN)),
    ("quobyte", Source::Never(NO_PLUGIN)),
    ("downwardAPI", Source::Mounts),
    ("fc", Source::Never(BY_CLUSTER)),
    ("flexVolume", Source::Host("the program of its driver")),
    ("configMap", Source::Reference("a ConfigMap")),
    ("azureFile", Source::Reference("a Secret")),
    ("vsphereVolume", Source::Never(BY_CSI)),
    ("photonPersistentDisk", Source::Never(NO_PLUGIN)),
    ("portworxVolume", Source::Never(BY_CSI)),
    ("azureDisk", Source::Never(BY_CSI)),
    ("storageos", Source::Never(NO_PLUGIN)),
    ("projected", Source::Never("a projected volume needs the API, whatever its sources are")),
    ("scaleIO", Source::Never(NO_PLUGIN)),
    ("csi", Source::Reference("a CSIDriver")),
    ("ephemeral", Source::Reference("a PersistentVolumeClaim")),
];

pub(super) fn check<'t>(spec: &At<'t>, sink: &mut Sink<'_>) -> Volumes<'t> {
    let mut volumes = Volumes::new();
    for volume in spec.get("volumes").items() {
        let name = volume.get("name");
        if sink.required("volume-name", &name) {
            sink.named("volume-name", &name, names::dns_label(name.text()));
        }
        if volumes.contains_key(name.text()) {
            let message = format!("a volume `{}` is there already", beginning(name.text()));
            sink.refused("volume-name", &name, message, "give each volume its own name");
        }
        // The kubelet leaves alone what no container mounts.
        let effect = match is_mounted(spec, name.text()) {
            true => Effect::NeverStarts,
            false => Effect::Questionable,
        };
        let source = source(&volume, effect, sink);
        huge_pages(spec, &volume.follow(["emptyDir", "medium"]), effect, sink);
        volumes.insert(name.text(), source);
    }
    volumes
}

/// Whether a container uses the volume.
pub(super) fn is_mounted(spec: &At<'_>, name: &str) -> bool {
    containers(spec).iter().any(|(_, container)| {
        let used = ["volumeMounts", "volumeDevices"].map(|list| container.get(list).items());
        used.iter().flatten().any(|mount| mount.get("name").text() == name)
    })
}

fn source(volume: &At<'_>, effect: Effect, sink: &mut Sink<'_>) -> &'static str {
    let image = ("image", &Source::Mounts);
    let known = SOURCES.iter().map(|(name, source)| (*name, source)).chain([image]);
    let set: Vec<_> = known.filter(|(name, _)| volume.get(name).is_set()).collect();
    let [(name, source), further @ ..] = &set[..] else {
        let message = "without a source the volume becomes an empty folder";
        let remedy = "write its source, or `emptyDir: {}` when an empty folder is meant";
        sink.add(Effect::Dropped, "volume-source", volume, message, remedy);
        return "emptyDir";
    };
    for (other, _) in further {
        let message = format!("the volume has the source `{name}` already");
        sink.refused("volume-source", &volume.get(other), message, "keep one source");
    }
    let at = volume.get(name);
    match source {
        Source::Mounts => {}
        Source::Reference(what) => reference(&at, what, sink),
        Source::Never(why) => {
            let remedy = "use `hostPath`, `emptyDir` or `downwardAPI`";
            sink.add(effect, "volume-source", &at, *why, remedy);
        }
        Source::Host(what) => {
            let message = format!("needs {what}");
            sink.add(Effect::Host, "volume-source", &at, message, "make sure that the host has it");
        }
    }
    contents(name, &at, effect, sink);
    name
}

fn contents(name: &str, at: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    match name {
        "emptyDir" => empty_dir(at, effect, sink),
        "hostPath" => host_path(at, effect, sink),
        "downwardAPI" => downward_api(at, effect, sink),
        "projected" => projected(at, sink),
        "image" => image_volume(at, effect, sink),
        _ => foreign::check(name, at, sink),
    }
}

fn empty_dir(at: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    let size = at.get("sizeLimit");
    if quantity(&size).is_some_and(|size| size.nanos < 0) {
        sink.refused("empty-dir", &size, "negative", "write 0 or more");
    } else if quantity(&size).is_some_and(|size| !size.is_whole()) {
        let message = resources::THOUSANDTHS;
        sink.add(Effect::Questionable, "empty-dir", &size, message, "write `M` or `Mi`");
    }
    let medium = at.get("medium");
    let huge = medium.text().strip_prefix("HugePages");
    let is_huge = huge.is_some_and(|size| {
        size.is_empty() || size.strip_prefix('-').and_then(Quantity::parse).is_some()
    });
    if !medium.text().is_empty() && medium.text() != "Memory" && !is_huge {
        let message = format!("there is no medium `{}`", beginning(medium.text()));
        let remedy = "write `Memory`, or leave it away for the disk";
        sink.add(effect, "empty-dir", &medium, message, remedy);
    } else if is_huge {
        let message = "needs huge pages";
        sink.add(Effect::Host, "empty-dir", &medium, message, "reserve them on the host");
    }
}

/// Pages can be had by those pods only that request some of their size.
fn huge_pages(spec: &At<'_>, medium: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    let Some(size) = medium.text().strip_prefix("HugePages") else { return };
    let of_containers =
        containers(spec).into_iter().map(|(_, container)| container.get("resources"));
    let mut sizes: Vec<i128> = Vec::new();
    for resources in of_containers.chain([spec.get("resources")]) {
        for (name, _) in ["limits", "requests"].iter().flat_map(|of| resources.get(of).entries()) {
            let size = name.strip_prefix("hugepages-").and_then(Quantity::parse);
            sizes.extend(size.map(|size| size.nanos).filter(|size| !sizes.contains(size)));
        }
    }
    let wanted = match size.strip_prefix('-') {
        Some(size) => match Quantity::parse(size) {
            Some(size) => sizes.contains(&size.nanos),
            None => return,
        },
        None if size.is_empty() => sizes.len() == 1,
        None => return,
    };
    if !wanted {
        let message = "no container requests huge pages of one such size";
        let remedy = "set the limit `hugepages-2Mi` of a container, or use `Memory`";
        sink.add(effect, "empty-dir", medium, message, remedy);
    }
}

/// A quantity that decoding has found to be one.
pub(super) fn quantity(at: &At<'_>) -> Option<Quantity> {
    use super::tree::Value;
    match at.value()? {
        Value::Text(text) | Value::Number(text) => Quantity::parse(text.trim()),
        _ => None,
    }
}

fn host_path(at: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    let path = at.get("path");
    if sink.required("volume-field", &path) {
        if let Some(wrong) = names::no_backsteps(path.text()) {
            let message = format!("`{}` {wrong}", beginning(path.text()));
            sink.refused("host-path", &path, message, "write the path without `..`");
        } else if !path.text().starts_with('/') {
            let message = format!("`{}` is not an absolute path", beginning(path.text()));
            sink.add(effect, "host-path", &path, message, "start it with `/`");
        } else if path.text().contains('\0') {
            let message = "a path cannot hold a null character";
            sink.add(effect, "host-path", &path, message, "remove it");
        } else if image::is_template(path.text()) {
            let message =
                format!("`{}` is a template that was not filled in", beginning(path.text()));
            sink.add(Effect::Questionable, "host-path", &path, message, "write the path itself");
        }
    }
    let kind = at.get("type");
    if kind.is_set() {
        let known = [
            "",
            "DirectoryOrCreate",
            "Directory",
            "FileOrCreate",
            "File",
            "Socket",
            "CharDevice",
            "BlockDevice",
        ];
        sink.one_of("host-path", &kind, &known);
    }
}

fn mode(at: &At<'_>, sink: &mut Sink<'_>) {
    if let Some(bits) = at.integer().filter(|bits| !(0..=0o777).contains(bits)) {
        let message = format!("{bits} is not a mode between 0 and 511 (octal 0777)");
        sink.refused("file-mode", at, message, "write it in octal with a leading 0, as in 0644");
    }
}

fn downward_api(at: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    mode(&at.get("defaultMode"), sink);
    let items = at.get("items").items();
    items.iter().for_each(|item| downward_file(item, sink));
    for item in &items {
        let path = item.get("path");
        let parts = parts(path.text());
        let is_above = |other: &At<'_>| {
            let others = self::parts(other.get("path").text());
            parts.len() < others.len() && others.starts_with(&parts)
        };
        if !path.text().is_empty() && items.iter().any(is_above) {
            let message = format!("`{}` is a folder for another file", beginning(path.text()));
            sink.add(effect, "downward-api", &path, message, "choose another path");
        }
    }
}

/// The names in a path, without those that change nothing.
fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect()
}

fn downward_file(item: &At<'_>, sink: &mut Sink<'_>) {
    let path = item.get("path");
    if sink.required("downward-api", &path) {
        sink.named("downward-api", &path, names::volume_path(path.text()));
    }
    mode(&item.get("mode"), sink);
    let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
    match (field.is_set(), resource.is_set()) {
        (true, both) => {
            env::field_ref(&field, env::Of::Volume, sink);
            if both {
                let message = "`fieldRef` and `resourceFieldRef` exclude each other";
                sink.refused("downward-api", &resource, message, "keep one of the two");
            }
        }
        (false, true) => env::resource_ref(&resource, env::Of::Volume, sink),
        (false, false) => {
            let message = "one of `fieldRef` and `resourceFieldRef` must be set";
            sink.refused("downward-api", item, message, "set one of the two");
        }
    }
}

fn projected(at: &At<'_>, sink: &mut Sink<'_>) {
    mode(&at.get("defaultMode"), sink);
    let mut paths: Vec<&str> = Vec::new();
    for source in at.get("sources").items() {
        let references = [
            ("secret", "a Secret"),
            ("configMap", "a ConfigMap"),
            ("serviceAccountToken", "a service account"),
            ("clusterTrustBundle", "a ClusterTrustBundle"),
            ("podCertificate", "a PodCertificateRequest"),
        ];
        for (name, what) in references {
            let at = source.get(name);
            if at.is_set() {
                reference(&at, what, sink);
            }
        }
        let api = source.get("downwardAPI");
        for item in api.get("items").items() {
            downward_file(&item, sink);
            let path = item.get("path");
            if !path.text().is_empty() && paths.contains(&path.text()) {
                let message = format!("`{}` is written already", beginning(path.text()));
                sink.refused("downward-api", &path, message, "choose another path");
            }
            paths.push(path.text());
        }
        let kinds = references.map(|(name, _)| name);
        let set = kinds.iter().chain(&["downwardAPI"]).filter(|kind| source.get(kind).is_set());
        if set.count() != 1 {
            let message = "a source of a projected volume has exactly one kind";
            sink.refused("volume-source", &source, message, "keep one");
        }
    }
}

fn image_volume(at: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    let reference = at.get("reference");
    if reference.text().is_empty() {
        let message = "`reference` must be set";
        sink.add(effect, "volume-field", &reference, message, "name an image");
    } else {
        image::reference(&reference, sink);
    }
    let policy = at.get("pullPolicy");
    if !policy.text().is_empty() {
        sink.one_of("pull-policy", &policy, &["Always", "IfNotPresent", "Never"]);
    }
}
