//! Kubernetes objects of any kind, read as `kubectl` and the kubelet read them.

use serde_json::{Map, Number, Value as Json};

use crate::lint::{Documents, documents};

/// Text of objects that cannot be read: every reason, each with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ObjectsError(pub Vec<String>);

/// Reads every object of a YAML stream, or of JSON text. `name` is only used to name the file in an error. Documents
/// without anything in them are left out; a `List` gives its items.
///
/// # Errors
/// Text that is no YAML, has a key twice, or holds something else than objects.
pub fn objects(name: &str, bytes: &[u8]) -> Result<Vec<Map<String, Json>>, ObjectsError> {
    let Documents { values, problems } = documents(name, bytes);
    if !problems.is_empty() {
        return Err(ObjectsError(problems));
    }
    let mut found = Vec::new();
    for value in values {
        match value {
            Json::Null => {}
            Json::Object(mut object) if is_list(&object) => {
                let items = object.remove("items").and_then(|items| match items {
                    Json::Array(items) => Some(items),
                    _ => None,
                });
                for item in items.unwrap_or_default() {
                    found.push(as_object(name, item)?);
                }
            }
            value => found.push(as_object(name, value)?),
        }
    }
    Ok(found)
}

fn is_list(object: &Map<String, Json>) -> bool {
    let kind = object.get("kind").and_then(Json::as_str).unwrap_or_default();
    kind.ends_with("List") && object.get("items").is_some_and(Json::is_array)
}

fn as_object(name: &str, value: Json) -> Result<Map<String, Json>, ObjectsError> {
    match value {
        Json::Object(object) => Ok(object),
        _ => Err(ObjectsError(vec![format!("{name}: holds something that is no object")])),
    }
}

/// A number as the reader of manifests has written it down.
pub(crate) fn number(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Json) {
        let found = objects("a.yaml", text.as_bytes()).unwrap();
        assert_eq!(json!(found), expected);
    }

    #[test]
    fn streams() {
        check("", json!([]));
        check("# nothing\n---\n---\n", json!([]));
        check("a: 1\n---\nb: yes\nc: '1'\n", json!([{"a": 1}, {"b": true, "c": "1"}]));
        check("{\"a\": [1.5, null]}", json!([{"a": [1.5, null]}]));
        check(
            "x: &x {a: 0o17}\nz:\n  <<: *x\n  b: 1e3\n",
            json!([{"x": {"a": 15}, "z": {"a": 15, "b": 1000}}]),
        );
        check("kind: ConfigMapList\nitems: [{a: 1}, {b: 2}]\n", json!([{"a": 1}, {"b": 2}]));
    }

    #[test]
    fn faults_have_places() {
        let fault = |text: &str| objects("a.yaml", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(fault("a: 1\nb: 2\na: 3\n"), "a.yaml:3:1: `a` is already set in line 1");
        assert_eq!(fault("- a\n"), "a.yaml: holds something that is no object");
        assert!(fault("a: {").starts_with("a.yaml:"));
    }
}
