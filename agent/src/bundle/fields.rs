//! Who owns which field: what objects say in `metadata.managedFields`, and what conflicts say in words.
//!
//! Form: <https://kubernetes.io/docs/reference/using-api/server-side-apply/>.

use serde_json::Value;

use super::object::hash;

/// The name under which the agent applies.
pub(crate) const MANAGER: &str = "basalt-agent";

/// What one manager owns of an object.
fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// Our own entry: what was applied, not what some subresource was told.
fn is_ours(entry: &Value) -> bool {
    entry["manager"] == MANAGER
        && entry["operation"] == "Apply"
        && entry["subresource"].as_str().unwrap_or_default().is_empty()
}

/// What we own, `fieldsV1` of our entry.
pub(crate) fn owned(object: &Value) -> Option<&Value> {
    entries(object).find(|entry| is_ours(entry)).map(|entry| &entry["fieldsV1"])
}

/// A digest of what we own: it changes when somebody takes a field, or when we apply others.
pub(crate) fn owned_hash(object: &Value) -> Option<String> {
    owned(object).map(hash)
}

/// The manager other than us that has changed the object last.
pub(crate) fn last_other(object: &Value) -> Option<&str> {
    let others = entries(object).filter(|entry| {
        entry["manager"] != MANAGER && entry["subresource"].as_str().unwrap_or_default().is_empty()
    });
    others.max_by_key(|entry| entry["time"].as_str())?["manager"].as_str()
}

/// Whether `manager` owns every field that we do; then nothing is lost when we let go.
pub(crate) fn is_taken_over(object: &Value, manager: &str) -> bool {
    let Some(ours) = owned(object) else { return true };
    // A namespace has nothing but its name; whoever applies it owns no field of it, and is not even listed.
    if leaves(ours) == 0 {
        return true;
    }
    let theirs: Vec<&Value> = entries(object)
        .filter(|entry| entry["manager"] == manager && entry["operation"] == "Apply")
        .map(|entry| &entry["fieldsV1"])
        .collect();
    theirs.iter().any(|theirs| covers(theirs, ours))
}

/// Our own marks, which a new owner has no reason to set.
const OWN_MARK: &str = "f:applyset.kubernetes.io/part-of";

/// Whether every leaf of `inner` is in `outer`.
fn covers(outer: &Value, inner: &Value) -> bool {
    let Some(fields) = inner.as_object() else { return true };
    fields.iter().filter(|(name, _)| *name != OWN_MARK).all(|(name, below)| {
        match outer.get(name) {
            Some(outer) => covers(outer, below),
            // A place of its own is the marker `.`; whoever owns what is below has it too.
            None if name == "." => true,
            None => leaves(below) == 0 && is_branch(below),
        }
    })
}

/// Whether there is something below, of which nothing counts.
fn is_branch(fields: &Value) -> bool {
    fields.as_object().is_some_and(|fields| !fields.is_empty())
}

fn leaves(fields: &Value) -> usize {
    let Some(fields) = fields.as_object() else { return 1 };
    if fields.is_empty() {
        return 1;
    }
    let counted = fields.iter().filter(|(name, _)| *name != OWN_MARK && *name != ".");
    counted.map(|(_, below)| leaves(below)).sum()
}

/// The patch (RFC 6902) by which we let go of an object without touching its fields. It applies only to the object as
/// it was seen.
pub(crate) fn release_patch(object: &Value) -> Option<Value> {
    let list = object.pointer("/metadata/managedFields")?.as_array()?;
    let index = list.iter().position(is_ours)?;
    let version = object.pointer("/metadata/resourceVersion")?;
    let path = format!("/metadata/managedFields/{index}");
    let mut patch = vec![
        serde_json::json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
        serde_json::json!({"op": "test", "path": format!("{path}/manager"), "value": MANAGER}),
        serde_json::json!({"op": "remove", "path": path}),
    ];
    if list.len() == 1 {
        // An empty list means "leave it as it is" to the API server; one empty entry empties it.
        patch.pop();
        patch.push(serde_json::json!({
            "op": "replace", "path": "/metadata/managedFields", "value": [{}],
        }));
    }
    Some(Value::Array(patch))
}

/// A field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conflict {
    pub(crate) manager: String,
    /// `.spec.replicas`
    pub(crate) field: String,
}

/// The conflicts that the API server names when it refuses to apply.
pub(crate) fn conflicts(status: &Value) -> Vec<Conflict> {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let conflict = |cause: &Value| {
        if cause["reason"] != "FieldManagerConflict" {
            return None;
        }
        // `conflict with "kubectl-edit" using v1`, with `subresource "scale"` before `using` at times.
        let message = cause["message"].as_str()?;
        let manager = message.split('"').nth(1).unwrap_or(message).to_owned();
        Some(Conflict { manager, field: cause["field"].as_str()?.to_owned() })
    };
    let mut found: Vec<Conflict> = causes.into_iter().flatten().filter_map(conflict).collect();
    found.sort();
    found.dedup();
    found
}

/// Takes the field at `path` out of an object, as conflicts name it: `.spec.containers[name="web"].image`. Gives whether
/// it was there. Names of fields may have dots in them, so the object itself says where a name ends.
pub(crate) fn remove(object: &mut Value, path: &str) -> bool {
    match object {
        Value::Object(fields) => {
            let Some(rest) = path.strip_prefix('.') else { return false };
            let begins = |name: &&String| {
                rest.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            // Of several names the longest: `a` and `a.b` may both be there.
            let Some(name) = fields.keys().filter(begins).max_by_key(|name| name.len()).cloned()
            else {
                return false;
            };
            match &rest[name.len()..] {
                "" => fields.shift_remove(&name).is_some(),
                rest => fields.get_mut(&name).is_some_and(|value| remove(value, rest)),
            }
        }
        Value::Array(items) => {
            let found = (0..items.len()).find_map(|index| {
                let rest = selects(path, &items[index]).or_else(|| at_index(path, index))?;
                Some((index, rest))
            });
            let Some((index, rest)) = found else { return false };
            match rest {
                "" => {
                    items.remove(index);
                    true
                }
                rest => remove(&mut items[index], rest),
            }
        }
        _ => false,
    }
}

/// What follows `[index]`.
fn at_index(path: &str, index: usize) -> Option<&str> {
    path.strip_prefix('[')?.strip_prefix(&index.to_string())?.strip_prefix(']')
}

/// What follows the selector at the beginning of `path`, when it selects this item: `[name="web",port=80]`, `[="text"]`.
fn selects<'p>(path: &'p str, item: &Value) -> Option<&'p str> {
    let mut rest = path.strip_prefix('[')?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
        let value = values.next()?.ok()?;
        let seen = if name.is_empty() { item } else { item.get(name)? };
        if *seen != value {
            return None;
        }
        let after = &after[values.byte_offset()..];
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return after.strip_prefix(']'),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_remove(path: &str, expected: Option<Value>) {
        let mut object = json!({
            "metadata": {"labels": {"app": "a", "app.kubernetes.io/name": "b"}, "finalizers": ["x", "y"]},
            "spec": {"containers": [
                {"name": "a", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "w"}]},
                {"name": "b]\"", "image": "j"},
            ]},
        });
        let found = remove(&mut object, path);
        assert_eq!(found, expected.is_some(), "{path}");
        if let Some(expected) = expected {
            let at = |pointer: &str| object.pointer(pointer).cloned().unwrap_or(Value::Null);
            assert_eq!(at(expected[0].as_str().unwrap()), expected[1], "{path}");
        }
    }

    #[test]
    fn fields_are_removed_by_the_path_of_a_conflict() {
        check_remove(
            ".metadata.labels.app",
            Some(json!(["/metadata/labels", {"app.kubernetes.io/name": "b"}])),
        );
        check_remove(
            ".metadata.labels.app.kubernetes.io/name",
            Some(json!(["/metadata/labels", {"app": "a"}])),
        );
        check_remove(".metadata.finalizers[=\"y\"]", Some(json!(["/metadata/finalizers", ["x"]])));
        check_remove(
            ".spec.containers[name=\"a\"].ports[containerPort=80,protocol=\"TCP\"].name",
            Some(json!(["/spec/containers/0/ports", [{"containerPort": 80, "protocol": "TCP"}]])),
        );
        check_remove(
            ".spec.containers[name=\"b]\\\"\"].image",
            Some(json!(["/spec/containers/1", {"name": "b]\""}])),
        );
        check_remove(
            ".spec.containers[1].image",
            Some(json!(["/spec/containers/1", {"name": "b]\""}])),
        );
        for absent in [
            "",
            ".",
            ".spec.replicas",
            ".spec.containers[name=\"c\"].image",
            ".metadata.labels.app.x",
            ".spec.containers[2]",
        ] {
            check_remove(absent, None);
        }
    }

    fn managed(list: Value) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": list}})
    }

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": fields, "time": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn ownership() {
        let ours = json!({"f:spec": {"f:replicas": {}}});
        let seen = managed(json!([
            entry("basalt-agent", "Update", json!({"f:a": {}})),
            entry("basalt-agent", "Apply", ours.clone()),
            entry("kubectl-edit", "Update", json!({"f:b": {}})),
        ]));
        assert_eq!(owned(&seen), Some(&ours));
        assert_eq!(last_other(&seen), Some("kubectl-edit"));
        assert_eq!(
            owned_hash(&seen),
            owned_hash(&managed(json!([entry("basalt-agent", "Apply", ours)])))
        );
        assert_eq!(owned(&json!({})), None);
    }

    #[test]
    fn take_over() {
        let ours = json!({
            "f:metadata": {"f:labels": {"f:applyset.kubernetes.io/part-of": {}}},
            "f:spec": {"f:replicas": {}, "f:ports": {"k:{\"port\":80}": {".": {}, "f:port": {}}}},
        });
        let check = |theirs: Value, expected: bool| {
            let list = json!([
                entry("basalt-agent", "Apply", ours.clone()),
                entry("flux", "Apply", theirs.clone())
            ]);
            assert_eq!(is_taken_over(&managed(list), "flux"), expected, "{theirs}");
        };
        check(
            json!({"f:spec": {"f:replicas": {}, "f:ports": {"k:{\"port\":80}": {"f:port": {}}}}, "f:more": {}}),
            true,
        );
        check(json!({"f:spec": {"f:replicas": {}}}), false);
        check(json!({"f:spec": {"f:replicas": {}, "f:ports": {"k:{\"port\":80}": {}}}}), false);
        check(json!({}), false);
        let mark =
            json!({"f:metadata": {"f:labels": {".": {}, "f:applyset.kubernetes.io/part-of": {}}}});
        assert!(is_taken_over(&managed(json!([entry("basalt-agent", "Apply", mark)])), "flux"));
    }

    #[test]
    fn letting_go() {
        let list =
            json!([entry("flux", "Apply", json!({})), entry("basalt-agent", "Apply", json!({}))]);
        let patch = release_patch(&managed(list)).unwrap();
        assert_eq!(patch[2], json!({"op": "remove", "path": "/metadata/managedFields/1"}));
        let alone =
            release_patch(&managed(json!([entry("basalt-agent", "Apply", json!({}))]))).unwrap();
        assert_eq!(alone[2]["value"], json!([{}]));
        assert_eq!(release_patch(&managed(json!([entry("flux", "Apply", json!({}))]))), None);
    }

    #[test]
    fn conflicts_of_a_refusal() {
        let status = json!({"details": {"causes": [
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"},
            {"reason": "FieldManagerConflict", "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1", "field": ".spec.replicas"},
            {"reason": "Other", "message": "m", "field": "f"},
        ]}});
        let found: Vec<String> = conflicts(&status).into_iter().map(|it| it.manager).collect();
        assert_eq!(found, ["hpa", "kubectl-edit"]);
    }
}
