//! Volumes of a compose file, and mounts of a service.

use super::super::draft::{Draft, MountSource};
use super::super::environment::Read;
use super::super::notes::{At, Notes};
use super::super::options::{apply, named_volume};
use super::super::values::{self, quantity};
use super::binds;
use super::fields::VOLUME;
use super::tree::{Entry, Node, Value};
use super::{at, item_at, known, simple};

/// Where a volume of the file is on the host.
pub(super) fn of_file(volume: &Entry, notes: &mut Notes) -> MountSource {
    let path = format!("volumes.{}", volume.key);
    let node = &volume.node;
    notes.carried(&at(volume, &path), "as a folder of the host, or what its driver says");
    let options = node.get("driver_opts");
    let option = |key: &str| options.and_then(|options| options.text_of(key));
    let has_bind = option("o").is_some_and(|o| o.split(',').any(|o| o == "bind" || o == "rbind"));
    let device = option("device").filter(|device| device.starts_with('/') && has_bind);
    let is_memory = option("type") == Some("tmpfs");
    for entry in node.entries() {
        let at = at(entry, &format!("{path}.{}", entry.key));
        let Some(field) = known(VOLUME, entry, &at, notes) else { continue };
        match (entry.key.as_str(), entry.node.text()) {
            ("driver", Some("local")) => notes.carried(&at, "as a folder of the host"),
            ("driver_opts", _) if device.is_some() => {
                notes.carried(&at, "as that folder of the host")
            }
            ("driver_opts", _) if is_memory => notes.carried(&at, "as memory of the pod"),
            ("driver" | "driver_opts", _) => notes.broken(
                &at,
                "a volume is a folder of the host, and nothing is mounted there",
                "mount it there with a mount unit of the node's Butane config",
            ),
            ("external", _) => notes.changed(
                &at,
                "the volume is a folder of the host all the same",
                "move the data there",
            ),
            ("name", _) => notes.carried(&at, "as the folder's name"),
            _ => simple(field, &at, notes),
        }
    }
    match device {
        Some(device) => MountSource::Host(device.to_owned(), "Directory"),
        None if is_memory => {
            let size = option("o").unwrap_or_default().split(',');
            MountSource::Memory(
                size.filter_map(|option| quantity(option.strip_prefix("size=")?)).next(),
            )
        }
        None => named_volume(node.text_of("name").unwrap_or(&volume.key)),
    }
}

/// `volumes` of a service: short texts, and mappings.
pub(super) fn mounts(
    draft: &mut Draft,
    path: &str,
    node: &Node,
    read: &mut Read<'_>,
    notes: &mut Notes,
) {
    for (index, item) in node.items().into_iter().enumerate() {
        let at = item_at(item, &format!("{path}[{index}]"));
        match &item.value {
            Value::Text(text) => short(draft, item, text, &at, read, notes),
            Value::Map(_) => long(draft, item, &at, read, notes),
            Value::Null | Value::List(_) => notes.invalid(&at, "it is no mount", None),
        }
    }
}

/// In the place of a path that is relative, while the rest of a mount is read.
const STAND_IN: &str = "/project";

fn short(
    draft: &mut Draft,
    item: &Node,
    text: &str,
    at: &At,
    read: &mut Read<'_>,
    notes: &mut Notes,
) {
    let parts = text.split_once(':').filter(|(source, _)| binds::is_relative(source));
    let mounted = parts.and_then(|(source, rest)| {
        Some((source, values::volume(&format!("{STAND_IN}:{rest}")).ok()?))
    });
    match mounted {
        Some((source, mounted)) => {
            binds::mount(draft, (&item.spot.origin, source), mounted, at, read, notes);
        }
        None => apply(draft, "volume", text, at, notes),
    }
}

/// The long form becomes a text for `--mount`.
fn long(draft: &mut Draft, item: &Node, at: &At, read: &mut Read<'_>, notes: &mut Notes) {
    let is_bind = item.text_of("type") == Some("bind");
    let relative = item
        .text_of("source")
        .filter(|source| is_bind && !source.starts_with(['/', '~']) && !source.is_empty());
    let mut parts = Vec::new();
    for entry in item.entries() {
        let at = entry.spot.at(&format!("{}.{}", at.setting, entry.key));
        match (entry.key.as_str(), entry.node.text()) {
            ("type" | "source" | "target", Some(text)) if text.contains(',') => {
                notes.invalid(&at, "a comma cannot stand in it", None);
            }
            ("type", Some(kind)) => parts.push(format!("type={kind}")),
            ("source", Some(_)) if relative.is_some() => {
                parts.push(format!("source={STAND_IN}"));
            }
            ("source", Some(source)) => parts.push(format!("source={source}")),
            ("target", Some(target)) => parts.push(format!("target={target}")),
            ("read_only", Some("true")) => parts.push("ro".to_owned()),
            ("read_only", Some("false")) => notes.carried(&at, "as it is by itself"),
            ("consistency", _) => notes.carried(&at, "there is but one"),
            ("bind" | "volume" | "tmpfs" | "image", None) => {
                inner(&mut parts, &entry.node, &at, notes);
            }
            (key, _) if key.starts_with("x-") => {
                notes.carried(&at, "nobody reads what begins with `x-`")
            }
            _ => notes.invalid(&at, "a mount has no such field", None),
        }
    }
    let text = parts.join(",");
    match relative.and_then(|source| Some((source, values::mount(&text).ok()?))) {
        Some((source, mounted)) => {
            binds::mount(draft, (&item.spot.origin, source), mounted, at, read, notes);
        }
        None => apply(draft, "mount", &text, at, notes),
    }
}

fn inner(parts: &mut Vec<String>, node: &Node, at: &At, notes: &mut Notes) {
    for entry in node.entries() {
        let at = entry.spot.at(&format!("{}.{}", at.setting, entry.key));
        match (entry.key.as_str(), entry.node.text()) {
            ("propagation", Some(value)) => parts.push(format!("bind-propagation={value}")),
            ("size", Some(value)) => parts.push(format!("tmpfs-size={value}")),
            ("subpath", Some(value)) if at.setting.ends_with(".image.subpath") => {
                parts.push(format!("subpath={value}"));
            }
            ("create_host_path", Some(_)) => {
                notes.carried(&at, "containerd makes folders that are absent")
            }
            ("selinux", Some(value)) => parts.push(value.to_owned()),
            _ => notes.lost(&at, "a mount of a pod has no such option", "see to it on the host"),
        }
    }
}
