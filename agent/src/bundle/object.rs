//! One object of a bundle, and what names it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// What an object is, whatever version of its kind it is written in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The API group; empty for the core one.
    pub(crate) group: String,
    pub(crate) kind: String,
    /// Absent for what belongs to the cluster as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    /// `Deployment.apps hello/operator`, as `kubectl` names kinds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

impl Key {
    /// The key of an object as it is written; nothing when a part of it is missing.
    pub(crate) fn of(object: &Value) -> Option<Key> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let (group, _) = group_and_version(text("/apiVersion")?);
        Some(Key {
            group: group.to_owned(),
            kind: filled(text("/kind"))?,
            namespace: filled(text("/metadata/namespace")),
            name: filled(text("/metadata/name"))?,
        })
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// Whether this defines a kind of its own.
    pub(crate) fn is_definition(&self) -> bool {
        self.is("apiextensions.k8s.io", "CustomResourceDefinition")
    }

    /// What is never pruned: with it goes what people keep in it.
    pub(crate) fn holds_data(&self) -> bool {
        self.is_definition()
            || self.is("", "Namespace")
            || self.is("", "PersistentVolumeClaim")
            || self.is("", "PersistentVolume")
    }
}

/// The group and version of `apps/v1`; those of the core have no group.
pub(crate) fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// One object of a bundle, as it is applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) key: Key,
    /// The version of its kind that it is written in.
    pub(crate) version: String,
    /// Counts from 0, in the order in which waves are applied.
    pub(crate) wave: usize,
    /// What is sent.
    pub(crate) body: Value,
    /// Digest of what is sent.
    pub(crate) hash: String,
    /// It is made where it is missing, and then left to others.
    pub(crate) create_only: bool,
    /// It stays when a later bundle no longer has it.
    pub(crate) never_prune: bool,
    /// The condition, and its status, that says it is ready.
    pub(crate) ready_by: Option<(String, String)>,
}

/// A digest that does not depend on the order of fields.
pub(crate) fn hash(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            text.push('{');
            for name in names {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                canonical(&fields[name], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Sets a label, making the places for it where they are missing.
pub(crate) fn set_label(object: &mut Value, name: &str, value: &str) {
    let below = |parent: &mut Map<String, Value>, name: &str| {
        let child = parent.entry(name.to_owned()).or_insert(Value::Null);
        if !child.is_object() {
            *child = Value::Object(Map::new());
        }
    };
    let Some(fields) = object.as_object_mut() else { return };
    below(fields, "metadata");
    let Some(metadata) = fields["metadata"].as_object_mut() else { return };
    below(metadata, "labels");
    metadata["labels"][name] = Value::String(value.to_owned());
}

/// The fields at which `wanted` is not met by `live`, deepest first found, `.spec.replicas`. Lists are compared as a
/// whole where their lengths differ; what `live` has besides does not count.
pub(crate) fn differences(wanted: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(wanted, live, "", &mut found);
    found
}

fn compare(wanted: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (name, value) in wanted {
                // Nothing is wanted there: the API server leaves such fields out.
                let is_empty = match value {
                    Value::Null => true,
                    Value::Object(fields) => fields.is_empty(),
                    Value::Array(items) => items.is_empty(),
                    _ => false,
                };
                let below = format!("{path}.{name}");
                match live.get(name) {
                    Some(live) => compare(value, live, &below, found),
                    None if is_empty => {}
                    None => found.push(below),
                }
            }
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                compare(wanted, live, &format!("{path}[{index}]"), found);
            }
        }
        (wanted, live) if wanted == live => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names() {
        let key = |value: Value| Key::of(&value).map(|key| key.to_string()).unwrap_or_default();
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": "hello", "name": "operator"},
        });
        assert_eq!(key(deployment), "Deployment.apps hello/operator");
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hello"}});
        assert_eq!(key(namespace), "Namespace hello");
        assert_eq!(key(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {}})), "");
    }

    #[test]
    fn hashes_do_not_depend_on_order() {
        let one = json!({"a": 1, "b": [{"c": 2, "d": 3}]});
        let two = json!({"b": [{"d": 3, "c": 2}], "a": 1});
        assert_eq!(hash(&one), hash(&two));
        assert_ne!(hash(&one), hash(&json!({"a": 1, "b": [{"c": 2, "d": 4}]})));
        assert_ne!(hash(&json!(["a", "b"])), hash(&json!(["b", "a"])));
    }

    #[test]
    fn labels() {
        for start in [json!({}), json!({"metadata": {"labels": null}})] {
            let mut object = start;
            set_label(&mut object, "a/b", "c");
            assert_eq!(object, json!({"metadata": {"labels": {"a/b": "c"}}}));
        }
    }

    #[test]
    fn differing_fields() {
        let wanted = json!({"spec": {"a": 1, "list": [{"x": 1}], "none": null, "empty": {}}});
        let check = |live: Value, expected: &[&str]| {
            assert_eq!(differences(&wanted, &live), expected, "{live}");
        };
        check(json!({"spec": {"a": 1, "list": [{"x": 1, "y": 2}]}, "status": {}}), &[]);
        check(json!({"spec": {"a": 2, "list": [{"x": 3}]}}), &[".spec.a", ".spec.list[0].x"]);
        check(json!({"spec": {"a": 1, "list": []}}), &[".spec.list"]);
        check(json!({}), &[".spec"]);
    }
}
