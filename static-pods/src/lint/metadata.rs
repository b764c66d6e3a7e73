//! `metadata`: the name the pod gets, labels, annotations, and what is the kubelet's own to set.

use super::names;
use super::tree::{At, beginning};
use super::{Effect, Sink};

/// The longest DNS name.
const MAX_NAME: usize = 253;

/// The shortest name of a node: the kubelet appends `-` and the node's name to a static pod's.
const SHORTEST_NODE_NAME: &str = "n";
/// Linux' limit for the name of a file: the kubelet logs into a folder `NAMESPACE_NAME_UID`.
const MAX_FILE_NAME: usize = 255;
/// The kubelet's own uid of a static pod.
const UID_LENGTH: usize = 32;
/// The most bytes that all annotations may have.
const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check(pod: &At<'_>, sink: &mut Sink<'_>) {
    let metadata = pod.get("metadata");
    name(&metadata, sink);
    uid(&metadata.get("uid"), sink);
    labels(&metadata.get("labels"), sink);
    annotations(&metadata.get("annotations"), sink);
    set_by_the_kubelet(pod, sink);
    sink.in_range("metadata", &metadata.get("generation"), 0, i64::MAX);
    owners(&metadata.get("ownerReferences"), sink);
    finalizers(&metadata.get("finalizers"), sink);
    managed_fields(&metadata.get("managedFields"), sink);
}

fn name(metadata: &At<'_>, sink: &mut Sink<'_>) {
    let (name, namespace) = (metadata.get("name"), metadata.get("namespace"));
    let generated = metadata.get("generateName");
    // A prefix may end in a dash: Kubernetes puts an `a` in place of it, and of the character before it.
    let prefix = generated.text();
    let prefix_as_name = match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let end = rest.char_indices().next_back().map_or(0, |(at, _)| at);
            format!("{}a", &rest[..end])
        }
        _ => prefix.to_owned(),
    };
    if !prefix.is_empty() {
        sink.named("pod-name", &generated, names::dns_subdomain(&prefix_as_name));
    }
    if !sink.required("pod-name", &name) {
        return;
    }
    let full = format!("{}-{SHORTEST_NODE_NAME}", name.text());
    if name.text().len() <= MAX_NAME && full.len() > MAX_NAME {
        let message = "the kubelet puts `-` and the node's name behind it, and that is more than 253 characters";
        sink.refused("pod-name", &name, message, "choose a shorter name");
    } else {
        sink.named("pod-name", &name, names::dns_subdomain(&full));
    }
    if !namespace.text().is_empty() {
        sink.named("namespace", &namespace, names::dns_label(namespace.text()));
    }
    let namespace = if namespace.text().is_empty() { "default" } else { namespace.text() };
    let given = metadata.get("uid").text().len();
    let uid = if given == 0 { UID_LENGTH } else { given };
    if full.len() <= MAX_NAME && namespace.len() + full.len() + uid + 2 > MAX_FILE_NAME {
        let message = "the name is too long for the pod's log folder, `NAMESPACE_NAME-NODE_UID`";
        sink.add(Effect::NeverStarts, "pod-name", &name, message, "choose a shorter name");
    }
}

fn uid(uid: &At<'_>, sink: &mut Sink<'_>) {
    if matches!(uid.text(), "." | "..") {
        let message = "the kubelet takes a folder of its own for that of this pod";
        sink.add(Effect::Ends, "pod-uid", uid, message, "remove it: the kubelet sets one");
    } else if uid.text().contains(['/', '_']) {
        let message = format!(
            "`{}`: the kubelet makes the name of a control group of it, and panics on `/` and `_`",
            beginning(uid.text())
        );
        sink.add(Effect::Ends, "pod-uid", uid, message, "remove it: the kubelet sets one");
    } else if uid.text().contains('\0') || uid.text().len() > MAX_FILE_NAME {
        let message = "a folder cannot be named after this";
        sink.add(Effect::NeverStarts, "pod-uid", uid, message, "remove it: the kubelet sets one");
    } else if !uid.text().bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b)) {
        let message = "systemd takes no unit with such a name, as the pod's slice has";
        sink.add(Effect::Host, "pod-uid", uid, message, "remove it: the kubelet sets one");
    }
}

pub(super) fn labels(labels: &At<'_>, sink: &mut Sink<'_>) {
    for (key, value) in labels.entries() {
        if let Some(wrong) = names::qualified(key) {
            let message = format!("`{}` {wrong}", beginning(key));
            sink.refused("label", &value, message, "choose another key");
        }
        sink.named("label", &value, names::label_value(value.text()));
    }
    // Wanted of the pod's labels only, and no selector has its path.
    if labels.path == "metadata.labels" {
        for (_, value) in labels.entries().iter().filter(|(key, _)| *key == "kubernetes.io/os") {
            if value.text() != "linux" {
                let message = format!("`{}` is not this node's operating system", value.text());
                sink.add(Effect::NotAdmitted, "node-os", value, message, "remove the label");
            }
        }
    }
}

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

fn annotations(annotations: &At<'_>, sink: &mut Sink<'_>) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        bytes += key.len() + value.text().len();
        if let Some(wrong) = names::qualified(&key.to_lowercase()) {
            let message = format!("`{}` {wrong}", beginning(key));
            sink.refused("annotation", &value, message, "choose another key");
        }
        match key {
            MIRROR => {
                let message = "the kubelet takes the pod for the mirror of another one";
                sink.add(Effect::NeverStarts, "mirror-pod", &value, message, "remove it");
            }
            "kubernetes.io/config.hash"
            | "kubernetes.io/config.source"
            | "kubernetes.io/config.seen" => {
                let message = "the kubelet writes its own value over this";
                sink.add(Effect::Dropped, "kubelets-own-field", &value, message, "remove it");
            }
            DELETION_COST if !is_cost(value.text()) => {
                let message = format!("`{}` is not an integer of 32 bits", beginning(value.text()));
                sink.refused("annotation", &value, message, "remove it");
            }
            "scheduler.alpha.kubernetes.io/tolerations" if !value.text().is_empty() => {
                tolerations(&value, sink);
            }
            _ if key.starts_with("pod.beta.kubernetes.io/init-container")
                || key.starts_with("pod.alpha.kubernetes.io/init-container") =>
            {
                let message = "init containers have not been annotations for years";
                let remedy = "write them to `spec.initContainers`";
                sink.add(Effect::Dropped, "annotation", &value, message, remedy);
            }
            _ => {}
        }
    }
    if bytes > MAX_ANNOTATIONS {
        let message =
            format!("the annotations have {bytes} bytes; at most {MAX_ANNOTATIONS} are taken");
        sink.refused("annotation", annotations, message, "keep large data out of annotations");
    }
}

fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let starts_well = digits == "0" || digits.starts_with(|c: char| matches!(c, '1'..='9'));
    starts_well && text != "-0" && text.parse::<i32>().is_ok()
}

fn tolerations(value: &At<'_>, sink: &mut Sink<'_>) {
    if super::json::parse(value.text().as_bytes()).is_err() {
        let message = "the tolerations are not JSON";
        sink.refused("annotation", value, message, "write them to `spec.tolerations`");
    }
}

/// What a file may not say for the kubelet.
fn set_by_the_kubelet(pod: &At<'_>, sink: &mut Sink<'_>) {
    let deletion = pod.follow(["metadata", "deletionTimestamp"]);
    if deletion.is_set() {
        let message = "the kubelet takes the pod for one that is being deleted";
        sink.add(Effect::NeverStarts, "deletion-timestamp", &deletion, message, "remove it");
    }
    let node_name = pod.follow(["spec", "nodeName"]);
    if !node_name.text().is_empty() {
        let message = "the kubelet writes the name of its own node over this";
        sink.add(Effect::Dropped, "kubelets-own-field", &node_name, message, "remove it");
    }
    let status = pod.get("status");
    if status.map().iter().any(|entry| status.get(&entry.key).is_set()) {
        let message = "the status of a pod is the kubelet's own to write";
        sink.add(Effect::Dropped, "kubelets-own-field", &status, message, "remove it");
    }
}

fn owners(owners: &At<'_>, sink: &mut Sink<'_>) {
    let mut controllers = 0;
    for owner in owners.items() {
        for field in ["kind", "name", "uid"] {
            sink.required("metadata", &owner.get(field));
        }
        let version = owner.get("apiVersion");
        // What is not GROUP/VERSION has neither.
        let is_version = match version.text().split('/').collect::<Vec<_>>()[..] {
            [version] => !version.is_empty(),
            [_, version] => !version.is_empty(),
            _ => false,
        };
        if !is_version {
            sink.refused("metadata", &version, "not an API version", "write it as in `apps/v1`");
        }
        if version.text() == "v1" && owner.get("kind").text() == "Event" {
            sink.refused("metadata", &owner, "an Event owns nothing", "remove it");
        }
        if owner.get("controller").is_true() {
            controllers += 1;
        }
    }
    if controllers > 1 {
        sink.refused("metadata", owners, "more than one owner is the controller", "keep one");
    }
}

fn finalizers(finalizers: &At<'_>, sink: &mut Sink<'_>) {
    for finalizer in finalizers.items() {
        let name = finalizer.text();
        let is_known = ["kubernetes", "orphan", "foregroundDeletion"].contains(&name);
        let wrong = names::qualified(name)
            .or((!is_known && !name.contains('/')).then_some("has no DNS name and `/` before it"));
        sink.named("metadata", &finalizer, wrong);
    }
    let texts = finalizers.texts();
    if ["orphan", "foregroundDeletion"].iter().all(|name| texts.contains(name)) {
        let message = "`orphan` and `foregroundDeletion` exclude each other";
        sink.refused("metadata", finalizers, message, "keep one of the two");
    }
}

fn managed_fields(fields: &At<'_>, sink: &mut Sink<'_>) {
    for entry in fields.items() {
        sink.one_of("metadata", &entry.get("operation"), &["Apply", "Update"]);
        let kind = entry.get("fieldsType");
        if !kind.text().is_empty() {
            sink.one_of("metadata", &kind, &["FieldsV1"]);
        }
        let manager = entry.get("manager");
        if manager.text().len() > 128 || manager.text().chars().any(char::is_control) {
            sink.refused(
                "metadata",
                &manager,
                "not the name of a manager",
                "remove `managedFields`",
            );
        }
    }
}
