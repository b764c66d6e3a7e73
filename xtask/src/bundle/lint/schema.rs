//! Objects of kinds that the bundle itself defines, held against the schema of their definition.
//!
//! Schemas are structural ones: each field is under `properties`, and what is not there is dropped or refused.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>

use basalt_model::decode::closest;
use basalt_model::yaml::{Scalar, Value, Yaml, scalar};
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value as Json, json};

use super::Lint;
use super::fields::{is_text, text_of};
use crate::bundle::objects::{Object, at, entries, items, join};

/// What every object has, whatever its definition says.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Checks an object; gives why its schema cannot be used, when it cannot.
pub(super) fn check(object: &Object, schema: &Yaml, lint: &mut Lint<'_>) -> Result<(), String> {
    let mut schema = as_json(schema);
    translate(&mut schema);
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4);
    let validator = options.build(&schema).map_err(|error| error.masked().to_string())?;
    unknown(object, &object.yaml, "", &schema, lint);
    for error in validator.iter_errors(&as_json(&object.yaml)) {
        let (yaml, path) = find(&object.yaml, error.instance_path().as_str());
        // What is there is not shown: it may be secret.
        let (path, message) = match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                (join(&path, name), "this is not there".to_owned())
            }
            _ => (path, error.masked().to_string()),
        };
        let remedy = "write what the schema of its definition wants";
        lint.error(object, "schema", yaml.place, &path, message, remedy);
    }
    Ok(())
}

/// Names fields that the schema does not have.
fn unknown(object: &Object, yaml: &Yaml, path: &str, schema: &Json, lint: &mut Lint<'_>) {
    for (index, item) in items(yaml).iter().enumerate() {
        unknown(object, item, &format!("{path}[{index}]"), &schema["items"], lint);
    }
    let is_object = path.is_empty() || schema["x-kubernetes-embedded-resource"] == true;
    let keeps_all = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let others = &schema["additionalProperties"];
    for (key, value) in entries(yaml) {
        let name = text_of(key);
        let path = join(path, name);
        match properties.get(name) {
            _ if is_object && OF_EVERY_OBJECT.contains(&name) => {}
            Some(property) => unknown(object, value, &path, property, lint),
            None if others.is_object() => unknown(object, value, &path, others, lint),
            None if keeps_all || others == true => {}
            None => {
                let known = properties.keys().map(String::as_str);
                let remedy = match closest(name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "leave it out, or add it to the schema of its definition".to_owned(),
                };
                let message = format!("there is no field `{name}` here");
                lint.error(object, "unknown-field", key.place, &path, message, remedy);
            }
        }
    }
}

/// Says in JSON Schema's words what Kubernetes has its own for: what has a default need not be there, and
/// `x-kubernetes-int-or-string` is a type.
fn translate(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            fields.values_mut().for_each(translate);
            if fields.get("x-kubernetes-int-or-string") == Some(&Json::Bool(true)) {
                fields.insert("type".to_owned(), json!(["integer", "string"]));
            }
            let has_default = |name: &Json| {
                let property = name.as_str().and_then(|name| fields.get("properties")?.get(name));
                property.is_some_and(|property| property.get("default").is_some())
            };
            let Some(required) = fields.get("required").and_then(Json::as_array) else { return };
            let left: Vec<Json> = required.iter().filter(|it| !has_default(it)).cloned().collect();
            match left.is_empty() {
                // The draft that has `exclusiveMinimum` as Kubernetes has it wants one at least.
                true => fields.shift_remove("required"),
                false => fields.insert("required".to_owned(), Json::Array(left)),
            };
        }
        Json::Array(items) => items.iter_mut().for_each(translate),
        _ => {}
    }
}

/// Where a JSON pointer leads, and how people write that.
fn find<'y>(yaml: &'y Yaml, pointer: &str) -> (&'y Yaml, String) {
    let (mut found, mut path) = (yaml, String::new());
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let item = part.parse::<usize>().ok().and_then(|index| items(found).get(index));
        let next = match item {
            Some(item) => {
                path = format!("{path}[{part}]");
                Some(item)
            }
            None => {
                path = join(&path, &part);
                at(found, &[&part])
            }
        };
        let Some(next) = next else { break };
        found = next;
    }
    (found, path)
}

/// Without what is null, which is as good as absent.
fn as_json(yaml: &Yaml) -> Json {
    match &yaml.resolved().value {
        Value::Map(entries) => {
            let there = entries.iter().filter(|(_, value)| !value.is_null());
            there.map(|(key, value)| (text_of(key).to_owned(), as_json(value))).collect()
        }
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Scalar(scalar) => of_scalar(scalar),
        Value::Alias(_) => unreachable!("aliases were followed"),
    }
}

fn of_scalar(scalar: &Scalar) -> Json {
    if scalar::is_null(scalar) {
        return Json::Null;
    }
    if is_text(scalar) {
        return json!(scalar.text);
    }
    if let Some(flag) = scalar::as_bool(scalar) {
        return json!(flag);
    }
    match scalar::as_integer(scalar).and_then(|it| i64::try_from(it).ok()) {
        Some(integer) => json!(integer),
        None => json!(scalar.text.parse::<f64>().unwrap_or_default()),
    }
}
