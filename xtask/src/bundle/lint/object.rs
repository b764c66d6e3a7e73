//! One object by itself: its name, and what only a server may set.

use super::Lint;
use crate::bundle::objects::{Object, at, entries, join};

/// What a server sets in `metadata`.
const SET_BY_SERVER: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// The annotation in which `kubectl apply` keeps what it applied last, where it does not leave that to the server.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) fn check(object: &Object, lint: &mut Lint<'_>) {
    if let Some(items) = at(&object.yaml, &["items"])
        && object.id.kind.ends_with("List")
    {
        let message = format!("a `{}` is not applied as a whole", object.id.kind);
        lint.error(object, "list", items.place, "items", message, "make each item a document");
        return;
    }
    name(object, lint);
    metadata(object, lint);
    if let Some(status) = at(&object.yaml, &["status"])
        && !status.is_null()
        && !entries(status).is_empty()
    {
        let message = "what is in `status` is said by the cluster";
        lint.error(object, "status", status.place, "status", message, "leave it out");
    }
}

fn name(object: &Object, lint: &mut Lint<'_>) {
    if let Some(generated) = at(&object.yaml, &["metadata", "generateName"]) {
        let message = "an object without a name of its own is made anew each time";
        let place = generated.place;
        let path = "metadata.generateName";
        lint.error(object, "generate-name", place, path, message, "give it a name");
        return;
    }
    let name = &object.id.name;
    let wrong = match (object.group(), object.id.kind.as_str()) {
        ("rbac.authorization.k8s.io", _) => path_segment(name),
        ("", "Namespace") => label(name),
        ("", "Service") => label(name).or_else(|| {
            let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
            (!begins).then_some("the name of a service begins with a letter")
        }),
        _ => subdomain(name),
    };
    let place = object.place(&["metadata", "name"]);
    if let Some(wrong) = wrong {
        let message = format!("`{name}` cannot be a name: {wrong}");
        lint.error(object, "name", place, "metadata.name", message, "give it another name");
    }
    if let Some(namespace) = &object.id.namespace
        && let Some(wrong) = label(namespace)
    {
        let place = object.place(&["metadata", "namespace"]);
        let path = "metadata.namespace";
        let message = format!("`{namespace}` cannot be a namespace: {wrong}");
        lint.error(object, "name", place, path, message, "name another namespace");
    }
}

fn metadata(object: &Object, lint: &mut Lint<'_>) {
    let Some(metadata) = at(&object.yaml, &["metadata"]) else { return };
    for field in SET_BY_SERVER {
        let Some(value) = at(metadata, &[field]).filter(|value| !value.is_null()) else { continue };
        let path = join("metadata", field);
        let message = format!("`{field}` is set by the server");
        lint.error(object, "set-by-server", value.place, &path, message, "leave it out");
    }
    if let Some(owners) = at(metadata, &["ownerReferences"]).filter(|value| !value.is_null()) {
        let message = "an owner is named by its uid, which no one knows before it is there";
        let path = "metadata.ownerReferences";
        lint.error(object, "set-by-server", owners.place, path, message, "leave it out");
    }
    if let Some(last) = at(metadata, &["annotations", LAST_APPLIED]) {
        let message = "what `kubectl apply` notes for itself";
        let path = format!("metadata.annotations[{LAST_APPLIED}]");
        lint.error(object, "set-by-server", last.place, &path, message, "leave it out");
    }
    for map in ["labels", "annotations"] {
        let Some(values) = at(metadata, &[map]) else { continue };
        for (key, value) in entries(values) {
            let key = key.as_scalar().map_or("", |key| key.text.as_str());
            let is_text = value.as_scalar().is_some_and(|scalar| {
                use basalt_model::yaml::scalar;
                scalar::as_bool(scalar).is_none()
                    && scalar::as_integer(scalar).is_none()
                    && !scalar::is_null(scalar)
            });
            if !is_text {
                let message = format!("{} is not text", value.kind());
                let path = format!("metadata.{map}[{key}]");
                lint.error(object, "not-text", value.place, &path, message, "put it in quotes");
            }
        }
    }
}

/// RFC 1123, as Kubernetes applies it to a label.
fn label(name: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 63 {
        return Some("it has 1 to 63 characters");
    }
    if !name.bytes().all(is_plain) || name.starts_with('-') || name.ends_with('-') {
        return Some("it has small letters, digits and `-`, which is not at its ends");
    }
    None
}

/// RFC 1123, as Kubernetes applies it to most names.
fn subdomain(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 253 {
        return Some("it has 1 to 253 characters");
    }
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(is_plain)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    match name.split('.').all(is_part) {
        true => None,
        false => Some("it has small letters, digits, and `-` or `.` between them"),
    }
}

/// What may be one part of a URL's path: names of roles and their bindings.
fn path_segment(name: &str) -> Option<&'static str> {
    match name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '%']) {
        true => Some("it may not be `.` or `..`, nor hold `/` or `%`"),
        false => None,
    }
}
