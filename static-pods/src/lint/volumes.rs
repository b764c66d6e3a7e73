//! `spec.volumes`: one source each, of those that a standalone kubelet can mount.

use std::collections::BTreeMap;

use super::names;
use super::pod::reference;
use super::quantity::Quantity;
use super::tree::{At, beginning};
use super::{Effect, Sink, env, image};

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

const SOURCES: [(&str, Source); 29] = [
    ("emptyDir", Source::Mounts),
    ("hostPath", Source::Mounts),
    ("gitRepo", Source::Never("the kubelet's plugin for it is disabled")),
    ("gcePersistentDisk", Source::Never(BY_CSI)),
    ("awsElasticBlockStore", Source::Never(BY_CSI)),
    ("secret", Source::Reference("a Secret")),
    ("nfs", Source::Host("an NFS server, and `mount.nfs`")),
    ("iscsi", Source::Host("an iSCSI target, and `iscsiadm`")),
    ("glusterfs", Source::Reference("Endpoints")),
    ("flocker", Source::Never(NO_PLUGIN)),
    ("persistentVolumeClaim", Source::Reference("a PersistentVolumeClaim")),
    ("rbd", Source::Never(NO_PLUGIN)),
    ("cinder", Source::Never(BY_CSI)),
    ("cephfs", Source::Never(NO_PLUGIN)),
    ("quobyte", Source::Never(NO_PLUGIN)),
    ("downwardAPI", Source::Mounts),
    ("fc", Source::Host("a Fibre Channel target")),
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
        let source = source(&volume, sink);
        volumes.insert(name.text(), source);
    }
    volumes
}

fn source(volume: &At<'_>, sink: &mut Sink<'_>) -> &'static str {
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
            sink.add(Effect::NeverStarts, "volume-source", &at, *why, remedy);
        }
        Source::Host(what) => {
            let message = format!("needs {what}");
            sink.add(Effect::Host, "volume-source", &at, message, "make sure that the host has it");
        }
    }
    contents(name, &at, sink);
    name
}

/// The fields of a source that must not be empty.
const REQUIRED: [(&str, &[&str]); 16] = [
    ("hostPath", &["path"]),
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("rbd", &["image"]),
    ("cinder", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("flexVolume", &["driver"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("storageos", &["volumeName"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

fn contents(name: &str, at: &At<'_>, sink: &mut Sink<'_>) {
    let required = REQUIRED.iter().find(|(source, _)| *source == name);
    for field in required.map_or(&[][..], |(_, fields)| fields) {
        sink.required("volume-field", &at.get(field));
    }
    let secret = at.get("secretRef");
    if secret.is_set() {
        reference(&secret, "a Secret", sink);
    }
    match name {
        "emptyDir" => empty_dir(at, sink),
        "hostPath" => host_path(at, sink),
        "downwardAPI" => downward_api(at, sink),
        "projected" => projected(at, sink),
        "image" => image_volume(at, sink),
        "nfs" => {
            let path = at.get("path");
            if !path.text().is_empty() && !path.text().starts_with('/') {
                sink.refused("volume-field", &path, "not an absolute path", "start it with `/`");
            }
        }
        "gitRepo" => {
            let folder = at.get("directory");
            sink.named("volume-field", &folder, names::descending_path(folder.text()));
        }
        "iscsi" => iscsi(at, sink),
        "fc" => fibre_channel(at, sink),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            sink.in_range("volume-field", &at.get("partition"), 0, 255);
        }
        _ => {}
    }
}

fn empty_dir(at: &At<'_>, sink: &mut Sink<'_>) {
    let size = at.get("sizeLimit");
    if quantity(&size).is_some_and(|size| size.nanos < 0) {
        sink.refused("empty-dir", &size, "negative", "write 0 or more");
    }
    let medium = at.get("medium");
    let huge = medium.text().strip_prefix("HugePages");
    let is_huge = huge.is_some_and(|size| {
        size.is_empty() || size.strip_prefix('-').and_then(Quantity::parse).is_some()
    });
    if !medium.text().is_empty() && medium.text() != "Memory" && !is_huge {
        let message = format!("there is no medium `{}`", beginning(medium.text()));
        let remedy = "write `Memory`, or leave it away for the disk";
        sink.add(Effect::NeverStarts, "empty-dir", &medium, message, remedy);
    } else if is_huge {
        let message = "needs huge pages";
        sink.add(Effect::Host, "empty-dir", &medium, message, "reserve them on the host");
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

fn host_path(at: &At<'_>, sink: &mut Sink<'_>) {
    let path = at.get("path");
    if !path.text().is_empty() {
        if let Some(wrong) = names::no_backsteps(path.text()) {
            let message = format!("`{}` {wrong}", beginning(path.text()));
            sink.refused("host-path", &path, message, "write the path without `..`");
        } else if !path.text().starts_with('/') {
            let message = format!("`{}` is not an absolute path", beginning(path.text()));
            sink.add(Effect::NeverStarts, "host-path", &path, message, "start it with `/`");
        } else if path.text().contains('\0') {
            let message = "a path cannot hold a null character";
            sink.add(Effect::NeverStarts, "host-path", &path, message, "remove it");
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

fn downward_api(at: &At<'_>, sink: &mut Sink<'_>) {
    mode(&at.get("defaultMode"), sink);
    for item in at.get("items").items() {
        downward_file(&item, sink);
    }
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
        }
        let set = source.map().iter().filter(|entry| source.get(&entry.key).is_set()).count();
        if set != 1 {
            let message = "a source of a projected volume has exactly one kind";
            sink.refused("volume-source", &source, message, "keep one");
        }
    }
}

fn image_volume(at: &At<'_>, sink: &mut Sink<'_>) {
    let reference = at.get("reference");
    if reference.text().is_empty() {
        let message = "`reference` must be set";
        sink.add(Effect::NeverStarts, "volume-field", &reference, message, "name an image");
    } else {
        image::reference(&reference, sink);
    }
    let policy = at.get("pullPolicy");
    if !policy.text().is_empty() {
        sink.one_of("pull-policy", &policy, &["Always", "IfNotPresent", "Never"]);
    }
}

fn iscsi(at: &At<'_>, sink: &mut Sink<'_>) {
    sink.in_range("volume-field", &at.get("lun"), 0, 255);
    for field in ["iqn", "initiatorName"] {
        let name = at.get(field);
        if name.is_set() && !name.text().is_empty() && !is_iscsi_name(name.text()) {
            let message = format!("`{}` is not an iSCSI name", beginning(name.text()));
            sink.refused(
                "volume-field",
                &name,
                message,
                "write it as in `iqn.2001-04.com.example:disk`",
            );
        }
    }
    let wants_secret = at.get("chapAuthDiscovery").is_true() || at.get("chapAuthSession").is_true();
    let secret = at.get("secretRef");
    if wants_secret && !secret.is_set() {
        sink.refused("volume-field", &secret, "CHAP needs a Secret", "remove CHAP");
    }
}

fn is_iscsi_name(name: &str) -> bool {
    let hex = |rest: &str, length: usize| {
        rest.len() == length + 1 && rest[1..].bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if let Some(rest) = name.strip_prefix("eui") {
        return rest.is_ascii() && hex(rest, 16);
    }
    if let Some(rest) = name.strip_prefix("naa") {
        return rest.is_ascii() && hex(rest, 32);
    }
    let Some(rest) = name.strip_prefix("iqn.") else { return false };
    let Some((date, rest)) = rest.split_once('.') else { return false };
    let is_date = date.len() == 7
        && date.bytes().enumerate().all(|(index, byte)| match index {
            4 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let Some((authority, label)) = rest.split_once(':') else { return false };
    let is_authority = !authority.is_empty()
        && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    is_date
        && is_authority
        && !label.is_empty()
        && !label.contains([',', ';', '*', '&', '$', '|', ' ', '\t', '\n'])
}

fn fibre_channel(at: &At<'_>, sink: &mut Sink<'_>) {
    let (targets, ids) = (at.get("targetWWNs"), at.get("wwids"));
    let lun = at.get("lun");
    match (targets.items().is_empty(), ids.items().is_empty()) {
        (true, true) | (false, false) => {
            let message = "exactly one of `targetWWNs` and `wwids` must be set";
            sink.refused("volume-field", at, message, "set one of the two");
        }
        (false, true) if !lun.is_set() => {
            sink.refused("volume-field", &lun, "`lun` must be set with `targetWWNs`", "set it");
        }
        _ => sink.in_range("volume-field", &lun, 0, 255),
    }
}
