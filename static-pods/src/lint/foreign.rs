//! Volumes that are not on the node: what Kubernetes wants in their sources.
//!
//! A standalone kubelet mounts next to none of them; a source that is wrong in itself is refused before that.

use super::Sink;
use super::names;
use super::pod::reference;
use super::tree::{At, beginning};

/// The fields of a source that must not be empty.
const REQUIRED: [(&str, &[&str]); 17] = [
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("azureFile", &["secretName", "shareName"]),
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

pub(super) fn check(name: &str, at: &At<'_>, sink: &mut Sink<'_>) {
    let required = REQUIRED.iter().find(|(source, _)| *source == name);
    for field in required.map_or(&[][..], |(_, fields)| fields) {
        sink.required("volume-field", &at.get(field));
    }
    let secret = at.get("secretRef");
    if secret.is_set() {
        if !secret.get("name").text().is_empty() {
            reference(&secret, "a Secret", sink);
        } else if matches!(name, "cinder" | "storageos") {
            sink.required("volume-field", &secret.get("name"));
        }
    }
    match name {
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
        "cephfs" | "rbd" => {
            let monitors = at.get("monitors");
            if monitors.items().is_empty() {
                sink.refused("volume-field", &monitors, "`monitors` must be set", "set it");
            }
        }
        "flocker" => flocker(at, sink),
        "quobyte" => quobyte(at, sink),
        "flexVolume" => flex(at, sink),
        "azureDisk" => azure_disk(at, sink),
        "storageos" => {
            for field in ["volumeName", "volumeNamespace"] {
                let name = at.get(field);
                if !name.text().is_empty() {
                    sink.named("volume-field", &name, names::dns_label(name.text()));
                }
            }
        }
        _ => {}
    }
}

fn flocker(at: &At<'_>, sink: &mut Sink<'_>) {
    let (name, id) = (at.get("datasetName"), at.get("datasetUUID"));
    if name.text().is_empty() == id.text().is_empty() {
        let message = "exactly one of `datasetName` and `datasetUUID` must be set";
        sink.refused("volume-field", at, message, "set one of the two");
    }
    if name.text().contains('/') {
        sink.refused("volume-field", &name, "must not contain `/`", "choose another name");
    }
}

fn quobyte(at: &At<'_>, sink: &mut Sink<'_>) {
    let (registry, tenant) = (at.get("registry"), at.get("tenant"));
    if tenant.text().len() > 64 {
        sink.refused("volume-field", &tenant, "has more than 64 characters", "shorten it");
    } else if !registry.text().is_empty() && !registry.text().split(',').all(is_host_and_port) {
        let message = "a list of `HOST:PORT`, joined by `,`, is wanted here";
        sink.refused("volume-field", &registry, message, "name the registry's hosts");
    }
}

/// As Go's `net.SplitHostPort` takes them apart.
fn is_host_and_port(pair: &str) -> bool {
    let Some((host, port)) = pair.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(address) => return !address.contains(['[', ']']) && !port.contains(['[', ']']),
            None => return false,
        },
        None => host,
    };
    !host.contains([':', '[', ']']) && !port.contains(['[', ']'])
}

fn flex(at: &At<'_>, sink: &mut Sink<'_>) {
    for (key, value) in at.get("options").entries() {
        let space = key.split_once('/').map_or(key, |(space, _)| space).to_lowercase();
        let space = format!(".{space}");
        if space.ends_with(".kubernetes.io") || space.ends_with(".k8s.io") {
            let message = "keys of `kubernetes.io` and `k8s.io` are reserved";
            sink.refused("volume-field", &value, message, "choose another key");
        }
    }
}

fn azure_disk(at: &At<'_>, sink: &mut Sink<'_>) {
    let (kind, uri) = (at.get("kind"), at.get("diskURI"));
    let caching = at.get("cachingMode");
    sink.one_of_if_set("volume-field", &caching, &["None", "ReadOnly", "ReadWrite"]);
    sink.one_of_if_set("volume-field", &kind, &["Shared", "Dedicated", "Managed"]);
    // Without a kind it is `Shared`.
    let start = if kind.text() == "Managed" { "/subscriptions/" } else { "https://" };
    if !uri.text().starts_with(start) {
        let message = format!("must begin with `{start}`");
        sink.refused("volume-field", &uri, message, "correct it");
    }
}

fn iscsi(at: &At<'_>, sink: &mut Sink<'_>) {
    sink.in_range("volume-field", &at.get("lun"), 0, 255);
    for field in ["iqn", "initiatorName"] {
        let name = at.get(field);
        let is_there = name.is_set() && (field != "iqn" || !name.text().is_empty());
        if is_there && !is_iscsi_name(name.text()) {
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
