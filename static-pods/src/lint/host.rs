//! Whether the host has what a manifest asks for, and lets containers read it.

use super::container::containers;
use super::policy::{Asked, Host, HostPath, HostPathKind};
use super::tree::At;
use super::{Effect, Sink, volumes};

/// Notes what a pod asks of the host.
pub(super) fn ask(pod: &At<'_>, asked: &mut Asked) {
    let spec = pod.get("spec");
    let note = |text: &str, set: &mut std::collections::BTreeSet<String>| {
        if !text.is_empty() {
            set.insert(text.to_owned());
        }
    };
    for volume in spec.get("volumes").items() {
        let path = volume.follow(["hostPath", "path"]);
        note(path.text(), &mut asked.paths);
        if volume.follow(["hostPath", "type"]).text().ends_with("OrCreate") {
            note(path.text(), &mut asked.made);
        }
        note(volume.follow(["image", "reference"]).text(), &mut asked.images);
    }
    for (_, container) in containers(&spec) {
        note(container.get("image").text(), &mut asked.images);
    }
}

pub(super) fn check(pod: &At<'_>, host: &Host, sink: &mut Sink<'_>) {
    let spec = pod.get("spec");
    let volumes = spec.get("volumes").items();
    for volume in volumes.iter().filter(|at| volumes::is_mounted(&spec, at.get("name").text())) {
        let source = volume.get("hostPath");
        let path = source.get("path");
        if let Some(found) = host.paths.get(path.text()).filter(|_| source.is_set()) {
            at_path(found, &path, source.get("type").text(), sink);
            if let HostPath::Found { label: Some(label), .. } = found
                && !may_read(label)
                && is_confined(&spec, volume.get("name").text())
            {
                let message = format!("`{label}` is not for containers to read");
                let remedy = "label it `container_file_t` (`semanage fcontext`, `restorecon`)";
                sink.add(Effect::Unsafe, "basalt-host-path-label", &path, message, remedy);
            }
        }
        image(&volume.follow(["image", "reference"]), host, sink);
    }
    for (_, container) in containers(&spec) {
        image(&container.get("image"), host, sink);
    }
}

fn at_path(found: &HostPath, path: &At<'_>, wanted: &str, sink: &mut Sink<'_>) {
    let message = match found {
        HostPath::Missing if wanted.ends_with("OrCreate") => return,
        HostPath::Missing => "there is nothing at this path of the host".to_owned(),
        HostPath::Found { kind, .. } => {
            let fits = match wanted {
                "Directory" | "DirectoryOrCreate" => *kind == HostPathKind::Folder,
                "File" | "FileOrCreate" => *kind == HostPathKind::File,
                "Socket" => *kind == HostPathKind::Socket,
                "CharDevice" => *kind == HostPathKind::CharDevice,
                "BlockDevice" => *kind == HostPathKind::BlockDevice,
                _ => true,
            };
            if fits {
                return;
            }
            format!("what is at this path of the host is no `{wanted}`")
        }
    };
    let remedy = "have the image or the cluster's Butane config put it there, or correct the path";
    sink.add(Effect::Unsafe, "basalt-host-path", path, message, remedy);
}

fn image(reference: &At<'_>, host: &Host, sink: &mut Sink<'_>) {
    let Some(images) = &host.images else { return };
    let text = reference.text();
    // The digest names the image, whatever its tag is.
    let digest = text.split_once('@').map(|(_, digest)| digest);
    let is_there = |image: &String| {
        image == text
            || digest.is_some_and(|digest| image.split_once('@').is_some_and(|(_, d)| d == digest))
    };
    if !text.is_empty() && !images.iter().any(is_there) {
        let message =
            "the node does not have this image, and must start its pods without a registry";
        let remedy = "list it in the cluster's images, which are preloaded";
        sink.add(Effect::Unsafe, "basalt-image-missing", reference, message, remedy);
    }
}

/// The types that a confined container may read.
const READABLE: [&str; 5] = [
    "container_file_t",
    "container_ro_file_t",
    "container_share_t",
    "container_runtime_tmpfs_t",
    "usr_t",
];

fn may_read(label: &str) -> bool {
    label.split(':').nth(2).is_some_and(|kind| READABLE.contains(&kind))
}

/// Whether a container that SELinux confines mounts the volume.
fn is_confined(spec: &At<'_>, volume: &str) -> bool {
    containers(spec).iter().any(|(_, container)| {
        let mounts = container.get("volumeMounts").items();
        let context = container.get("securityContext");
        let own = context.follow(["seLinuxOptions", "type"]);
        let of_pod = spec.follow(["securityContext", "seLinuxOptions", "type"]);
        let kind = if own.text().is_empty() { of_pod.text() } else { own.text() };
        mounts.iter().any(|mount| mount.get("name").text() == volume)
            && !context.get("privileged").is_true()
            && kind != "spc_t"
    })
}
