//! Volumes and devices in a container.

use std::collections::BTreeSet;

use super::names;
use super::tree::{At, beginning};
use super::volumes::Volumes;
use super::{Effect, Sink};

pub(super) fn check(container: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let devices = container.get("volumeDevices").items();
    let is_privileged = container.follow(["securityContext", "privileged"]).is_true();
    let mut paths = BTreeSet::new();
    for mount in container.get("volumeMounts").items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if sink.required("mount-name", &name) && !volumes.contains_key(name.text()) {
            missing(&name, volumes, sink);
        }
        if sink.required("mount-path", &path) {
            mount_path(&path, volumes.get(name.text()).copied(), sink);
        }
        if !paths.insert(path.text()) {
            let message = format!("`{}` is mounted on already", beginning(path.text()));
            sink.refused("mount-path", &path, message, "mount each volume on a path of its own");
        }
        if devices.iter().any(|device| device.get("name").text() == name.text()) {
            let message = "the volume is a device of the container already";
            sink.refused("mount-name", &name, message, "keep one of the two");
        }
        sub_path(&mount, sink);
        propagation(&mount, is_privileged, sink);
        read_only(&mount, sink);
    }
    for device in devices {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        let message = "a static pod has no volume that is a device: only claims are";
        sink.refused("volume-device", &name, message, "use `hostPath` with the device");
        sink.required("volume-device", &path);
    }
}

fn missing(name: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let message = format!("there is no volume `{}`", beginning(name.text()));
    let remedy = match basalt_model::decode::closest(name.text(), volumes.keys().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "add it to `spec.volumes`".to_owned(),
    };
    sink.refused("mount-name", name, message, remedy);
}

fn mount_path(path: &At<'_>, source: Option<&str>, sink: &mut Sink<'_>) {
    let text = path.text();
    let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
    // `..` cannot leave the root.
    let depth = parts.fold(0_usize, |depth, part| match part {
        ".." => depth.saturating_sub(1),
        _ => depth + 1,
    });
    let (message, remedy) = if depth == 0 {
        ("nothing can be mounted on the root of the container", "mount it on a folder")
    } else if text.contains('\0') {
        ("a path cannot hold a null character", "remove it")
    } else if hides_the_kernel(text, source) {
        ("runc lets nothing hide the kernel's own files", "mount it on another folder")
    } else {
        if !text.starts_with('/') {
            let message = format!("the kubelet makes `/{}` of a relative path", beginning(text));
            sink.add(Effect::Questionable, "mount-path", path, message, "start it with `/`");
        }
        return;
    };
    sink.add(Effect::NeverStarts, "mount-path", path, message, remedy);
}

/// What runc lets be mounted below `/proc`.
const BELOW_PROC: [&str; 9] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "uptime",
];

/// The host's `/proc` may be mounted on `/proc`, and no other folder; below it only a few files.
fn hides_the_kernel(path: &str, source: Option<&str>) -> bool {
    match path.trim_end_matches('/').strip_prefix("/proc") {
        Some("") => source.is_some_and(|source| source != "hostPath"),
        Some(below) => below.strip_prefix('/').is_some_and(|below| !BELOW_PROC.contains(&below)),
        None => false,
    }
}

fn sub_path(mount: &At<'_>, sink: &mut Sink<'_>) {
    let (path, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    for at in [&path, &expression] {
        if let Some(wrong) = names::descending_path(at.text()) {
            let message = format!("`{}` {wrong}", beginning(at.text()));
            sink.refused("sub-path", at, message, "write a path below the volume");
        }
    }
    if !path.text().is_empty() && !expression.text().is_empty() {
        let message = "`subPath` and `subPathExpr` exclude each other";
        sink.refused("sub-path", &expression, message, "keep one of the two");
    }
}

fn propagation(mount: &At<'_>, is_privileged: bool, sink: &mut Sink<'_>) {
    let at = mount.get("mountPropagation");
    sink.one_of_if_set("mount-propagation", &at, &["Bidirectional", "HostToContainer", "None"]);
    if at.text() == "Bidirectional" && !is_privileged {
        let message = "`Bidirectional` is for privileged containers only";
        sink.refused("mount-propagation", &at, message, "use `HostToContainer`");
    }
}

fn read_only(mount: &At<'_>, sink: &mut Sink<'_>) {
    let at = mount.get("recursiveReadOnly");
    sink.one_of_if_set("mount-read-only", &at, &["Disabled", "IfPossible", "Enabled"]);
    if !matches!(at.text(), "IfPossible" | "Enabled") {
        return;
    }
    if !mount.get("readOnly").is_true() {
        let message = "`recursiveReadOnly` is for mounts with `readOnly: true`";
        sink.refused("mount-read-only", &at, message, "set `readOnly: true`");
    }
    let propagation = mount.get("mountPropagation");
    if propagation.is_set() && propagation.text() != "None" {
        let message = "`recursiveReadOnly` and mount propagation exclude each other";
        sink.refused("mount-read-only", &at, message, "keep one of the two");
    }
}
