//! Environment variables, and what they and files take from the pod itself.

use super::names;
use super::pod::reference;
use super::tree::{At, beginning};
use super::volumes::{Volumes, quantity};
use super::{Effect, Sink};

/// Where a value of the pod goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Variable,
    Volume,
}

pub(super) fn check(container: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let env = container.get("env");
    for (index, variable) in env.items().iter().enumerate() {
        let name = variable.get("name");
        if sink.required("env-name", &name) {
            sink.named("env-name", &name, names::variable(name.text()));
        }
        let is_repeated =
            env.items()[..index].iter().any(|at| at.get("name").text() == name.text());
        if is_repeated && !name.text().is_empty() {
            let message = format!("`{}` is set above; the last one wins", beginning(name.text()));
            sink.add(Effect::Questionable, "env-name", &name, message, "keep one of the two");
        }
        let from = variable.get("valueFrom");
        if from.is_set() {
            value_from(variable, &from, volumes, sink);
        }
    }
    for from in container.get("envFrom").items() {
        let prefix = from.get("prefix");
        if !prefix.text().is_empty() {
            sink.named("env-name", &prefix, names::variable(prefix.text()));
        }
        let sources = [("configMapRef", "a ConfigMap"), ("secretRef", "a Secret")];
        let set: Vec<_> = sources.iter().filter(|(name, _)| from.get(name).is_set()).collect();
        set.iter().for_each(|(name, what)| reference(&from.get(name), what, sink));
        if set.len() != 1 {
            let message = "`envFrom` takes exactly one of `configMapRef` and `secretRef`";
            sink.refused("env-source", &from, message, "a static pod can use neither: use `env`");
        }
    }
}

fn value_from(variable: &At<'_>, from: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let set: Vec<_> = sources.iter().filter(|name| from.get(name).is_set()).collect();
    match set[..] {
        [] => {
            let message = "`valueFrom` must have a source";
            sink.refused("env-source", from, message, "set `fieldRef` or `resourceFieldRef`");
        }
        [_] if !variable.get("value").text().is_empty() => {
            let message = "`value` and `valueFrom` exclude each other";
            sink.refused("env-source", from, message, "keep one of the two");
        }
        [_] => {}
        _ => {
            let message = "`valueFrom` takes exactly one source";
            sink.refused("env-source", from, message, "keep one");
        }
    }
    for name in set {
        let at = from.get(name);
        match *name {
            "fieldRef" => field_ref(&at, Of::Variable, sink),
            "resourceFieldRef" => resource_ref(&at, Of::Variable, sink),
            "configMapKeyRef" => key_ref(&at, "a ConfigMap", sink),
            "secretKeyRef" => key_ref(&at, "a Secret", sink),
            _ => file_ref(&at, volumes, sink),
        }
    }
}

fn key_ref(at: &At<'_>, what: &str, sink: &mut Sink<'_>) {
    reference(at, what, sink);
    let key = at.get("key");
    sink.named("env-source", &key, names::data_key(key.text()));
}

fn file_ref(at: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let (key, volume, path) = (at.get("key"), at.get("volumeName"), at.get("path"));
    if sink.required("env-source", &key) {
        sink.named("env-source", &key, names::variable(key.text()));
    }
    if sink.required("env-source", &path) {
        sink.named("env-source", &path, names::no_backsteps(path.text()));
    }
    if !sink.required("env-source", &volume) {
        return;
    }
    match volumes.get(volume.text()) {
        Some(&"emptyDir") => {}
        Some(_) => {
            let message = "the volume must be an `emptyDir`";
            sink.refused(
                "env-source",
                &volume,
                message,
                "use an `emptyDir` that an init container fills",
            );
        }
        None => {
            let message = format!("there is no volume `{}`", beginning(volume.text()));
            sink.refused("env-source", &volume, message, "name a volume of the pod");
        }
    }
}

const OF_VARIABLE: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const OF_VOLUME: [&str; 5] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.labels",
    "metadata.annotations",
    "metadata.uid",
];

pub(super) fn field_ref(at: &At<'_>, of: Of, sink: &mut Sink<'_>) {
    let version = at.get("apiVersion");
    if !version.text().is_empty() && version.text() != "v1" {
        sink.one_of("field-ref", &version, &["v1"]);
        return;
    }
    let path = at.get("fieldPath");
    if !sink.required("field-ref", &path) {
        return;
    }
    if let Some((field, key)) = subscript(path.text()) {
        let key_is_wrong = match field {
            "metadata.annotations" => names::qualified(&key.to_lowercase()),
            "metadata.labels" => names::qualified(key),
            _ => Some("does not take a key in brackets"),
        };
        sink.named("field-ref", &path, key_is_wrong);
        return;
    }
    let known = if of == Of::Variable { &OF_VARIABLE[..] } else { &OF_VOLUME };
    // The kubelet still knows the name that the field had at first.
    let is_old_name = of == Of::Variable && path.text() == "spec.host";
    if !is_old_name {
        sink.one_of("field-ref", &path, known);
    }
}

/// `metadata.labels['key']`
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (field, key) = path.strip_suffix("']")?.split_once("['")?;
    (!field.is_empty()).then_some((field, key))
}

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
];

pub(super) fn resource_ref(at: &At<'_>, of: Of, sink: &mut Sink<'_>) {
    if of == Of::Volume && !sink.required("resource-ref", &at.get("containerName")) {
        return;
    }
    let resource = at.get("resource");
    let is_huge = ["requests.hugepages-", "limits.hugepages-"]
        .iter()
        .any(|prefix| resource.text().starts_with(prefix));
    if sink.required("resource-ref", &resource) && !is_huge {
        sink.one_of("resource-ref", &resource, &RESOURCES);
    }
    let divisor = at.get("divisor");
    let Some(amount) = quantity(&divisor).filter(|amount| amount.nanos != 0) else { return };
    let fits = match resource.text() {
        "limits.cpu" | "requests.cpu" => matches!(amount.nanos, 1_000_000 | 1_000_000_000),
        _ => amount.is_unit_of_bytes(),
    };
    if !fits {
        let message = "not a divisor of this resource";
        sink.refused(
            "resource-ref",
            &divisor,
            message,
            "write `1` or `1m` for cpu; `1`, `1k`, `1Ki`, … for bytes",
        );
    }
}
