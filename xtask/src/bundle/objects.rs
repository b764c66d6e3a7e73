//! Files of YAML → the objects in them, with their places.

use basalt_image::bundle::{ContentFile, ObjectRef};
use basalt_model::report::{Place, Report};
use basalt_model::yaml::{self, Value, Yaml};

/// One object of a bundle.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// The file, below the bundle's root.
    pub(super) file: String,
    /// Its wave, `10-rbac`.
    pub(super) wave: String,
    pub(super) id: ObjectRef,
    pub(super) yaml: Yaml,
}

impl Object {
    /// The group of its API; empty for the first one.
    pub(super) fn group(&self) -> &str {
        self.id.api_version.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The version of its API.
    pub(super) fn version(&self) -> &str {
        self.id.api_version.rsplit('/').next().unwrap_or_default()
    }

    /// What no other object may share: group, kind, namespace and name.
    pub(super) fn key(&self) -> Key {
        let ObjectRef { kind, namespace, name, .. } = self.id.clone();
        (self.group().to_owned(), kind, namespace, name)
    }

    /// Where a field is; where the object is when it has none of that name.
    pub(super) fn place(&self, path: &[&str]) -> Place {
        at(&self.yaml, path).map_or(self.yaml.place, |found| found.place)
    }
}

/// See [`Object::key`].
pub(super) type Key = (String, String, Option<String>, String);

/// Reads the objects of one file. What is no object is reported.
pub(super) fn read(file: &ContentFile, report: &mut Report) -> Vec<Object> {
    let documents = yaml::parse_all(file.text.as_bytes(), report).unwrap_or_default();
    let mut objects = Vec::new();
    for yaml in documents.into_iter().filter(|yaml| !yaml.is_null()) {
        repeated(&yaml, "", report);
        let Value::Map(_) = &yaml.value else {
            report.error(yaml.place, "", format!("{} where an object should be", yaml.kind()));
            continue;
        };
        let mut text = |path: &[&str]| -> Option<String> {
            let joined = path.join(".");
            let Some(found) = at(&yaml, path).filter(|found| !found.is_null()) else {
                report.error(yaml.place, &joined, "an object has this; it is not there");
                return None;
            };
            match found.as_scalar() {
                Some(scalar) if is_text(scalar) => Some(scalar.text.clone()),
                Some(_) => {
                    let message = format!("{} is not text", found.kind());
                    report.error(found.place, &joined, message).hint("put it in quotes");
                    None
                }
                None => {
                    report.error(found.place, &joined, format!("{}, not text", found.kind()));
                    None
                }
            }
        };
        let api_version = text(&["apiVersion"]);
        let kind = text(&["kind"]);
        // A list has no name; that it is one is said later.
        let is_list = kind.as_ref().is_some_and(|kind| kind.ends_with("List"))
            && at(&yaml, &["items"]).is_some();
        let name = match is_list || at(&yaml, &["metadata", "generateName"]).is_some() {
            true => Some(String::new()),
            false => text(&["metadata", "name"]),
        };
        let namespace = match at(&yaml, &["metadata", "namespace"]) {
            Some(namespace) if !namespace.is_null() => text(&["metadata", "namespace"]),
            Some(_) | None => None,
        };
        let (Some(api_version), Some(kind), Some(name)) = (api_version, kind, name) else {
            // Each of them was reported.
            continue;
        };
        let id = ObjectRef { api_version, kind, namespace, name };
        objects.push(Object { file: file.path.clone(), wave: file.wave().to_owned(), id, yaml });
    }
    objects
}

/// Whether what reads objects takes a scalar for text.
fn is_text(scalar: &yaml::Scalar) -> bool {
    let is_number = scalar.style == yaml::ScalarStyle::Plain
        && scalar.text.parse::<f64>().is_ok_and(|_| {
            scalar.text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        });
    !is_number
        && !yaml::scalar::is_null(scalar)
        && yaml::scalar::as_bool(scalar).is_none()
        && yaml::scalar::as_integer(scalar).is_none()
}

fn repeated(yaml: &Yaml, path: &str, report: &mut Report) {
    match &yaml.value {
        Value::Map(entries) => {
            for (key, message) in yaml::repeated_keys(entries) {
                report.error(key.place, path, message);
            }
            for (key, value) in entries {
                let key = key.as_scalar().map_or("", |key| key.text.as_str());
                repeated(value, &join(path, key), report);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                repeated(item, &format!("{path}[{index}]"), report);
            }
        }
        Value::Scalar(_) | Value::Alias(_) => {}
    }
}

/// The path of a field.
pub(super) fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// The fields of a mapping; none of what is no mapping.
pub(super) fn entries(yaml: &Yaml) -> &[(Yaml, Yaml)] {
    match &yaml.resolved().value {
        Value::Map(entries) => entries,
        Value::Scalar(_) | Value::List(_) | Value::Alias(_) => &[],
    }
}

/// The items of a list; none of what is no list.
pub(super) fn items(yaml: &Yaml) -> &[Yaml] {
    match &yaml.resolved().value {
        Value::List(items) => items,
        Value::Scalar(_) | Value::Map(_) | Value::Alias(_) => &[],
    }
}

/// A field by its path.
pub(super) fn at<'y>(yaml: &'y Yaml, path: &[&str]) -> Option<&'y Yaml> {
    let Some((first, rest)) = path.split_first() else { return Some(yaml) };
    let found =
        entries(yaml).iter().find(|(key, _)| key.as_scalar().is_some_and(|key| key.text == *first));
    at(&found?.1, rest)
}

/// The text of a field by its path; `None` where it is no scalar.
pub(super) fn text<'y>(yaml: &'y Yaml, path: &[&str]) -> Option<&'y str> {
    at(yaml, path)?.as_scalar().map(|scalar| scalar.text.as_str())
}

/// Calls `act` with every scalar and its path.
pub(super) fn scalars<'y>(yaml: &'y Yaml, path: &str, act: &mut impl FnMut(&str, &'y Yaml)) {
    match &yaml.resolved().value {
        Value::Scalar(_) => act(path, yaml),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                scalars(item, &format!("{path}[{index}]"), act);
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let key = key.as_scalar().map_or("", |key| key.text.as_str());
                scalars(value, &join(path, key), act);
            }
        }
        Value::Alias(_) => unreachable!("aliases were followed"),
    }
}
