//! All objects together: whether each kind is known when it is applied, each namespace is there, and nothing comes
//! twice.

use std::collections::BTreeMap;

use basalt_model::yaml::Yaml;

use super::{Lint, schema};
use crate::bundle::kinds::{self, SUPPORTED};
use crate::bundle::objects::{Key, Object, at, items, text};

/// The namespaces of every cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A definition of the bundle, by group and kind.
struct Definition<'o> {
    object: &'o Object,
    is_namespaced: bool,
    served: Vec<&'o str>,
    /// By version.
    schemas: BTreeMap<&'o str, &'o Yaml>,
}

type Definitions<'o> = BTreeMap<(&'o str, &'o str), Definition<'o>>;

pub(super) fn check(objects: &[Object], lint: &mut Lint<'_>) {
    let definitions = definitions(objects, lint);
    let namespaces: BTreeMap<&str, &str> = objects
        .iter()
        .filter(|object| (object.group(), object.id.kind.as_str()) == ("", "Namespace"))
        .map(|object| (object.id.name.as_str(), object.wave.as_str()))
        .collect();
    let mut seen: BTreeMap<Key, &Object> = BTreeMap::new();
    for object in objects {
        if object.id.kind.ends_with("List") || object.id.name.is_empty() {
            continue;
        }
        if let Some(first) = seen.get(&object.key()) {
            let place = object.place(&["metadata", "name"]);
            let at = first.place(&["metadata", "name"]);
            let message =
                format!("`{}` is already in `{}`, line {}", object.id, first.file, at.line);
            lint.error(object, "twice", place, "metadata.name", message, "remove one of them");
        } else {
            seen.insert(object.key(), object);
        }
        if let Some(is_namespaced) = kind(object, &definitions, lint) {
            namespace(object, is_namespaced, &namespaces, lint);
        }
        by_definition(object, &definitions, lint);
    }
}

/// Holds an object against the schema of its definition, when that is in the bundle.
fn by_definition(object: &Object, definitions: &Definitions<'_>, lint: &mut Lint<'_>) {
    let Some(definition) = definitions.get(&(object.group(), object.id.kind.as_str())) else {
        return;
    };
    let Some(schema) = definition.schemas.get(object.version()) else { return };
    if let Err(wrong) = schema::check(object, schema, lint) {
        let message = format!("this is no schema: {wrong}");
        let path = "spec.versions";
        lint.error(definition.object, "definition", schema.place, path, message, "correct it");
    }
}

fn definitions<'o>(objects: &'o [Object], lint: &mut Lint<'_>) -> Definitions<'o> {
    let mut definitions = Definitions::new();
    for object in objects {
        if object.group() != "apiextensions.k8s.io" || object.id.kind != "CustomResourceDefinition"
        {
            continue;
        }
        let field = |path: &[&str]| text(&object.yaml, path).unwrap_or_default();
        let (group, kind) = (field(&["spec", "group"]), field(&["spec", "names", "kind"]));
        let wanted = format!("{}.{group}", field(&["spec", "names", "plural"]));
        if object.id.name != wanted {
            let place = object.place(&["metadata", "name"]);
            let message = format!("the definition of `{wanted}` is called `{}`", object.id.name);
            let remedy = format!("call it `{wanted}`");
            lint.error(object, "definition", place, "metadata.name", message, remedy);
        }
        let versions = at(&object.yaml, &["spec", "versions"]).map_or(&[][..], items);
        let has = |version, flag| text(version, &[flag]) == Some("true");
        let served = versions
            .iter()
            .filter(|version| has(version, "served"))
            .filter_map(|version| text(version, &["name"]))
            .collect();
        let stored = versions.iter().filter(|version| has(version, "storage")).count();
        if stored != 1 {
            let place = object.place(&["spec", "versions"]);
            let message = format!("{stored} versions are stored; one is");
            let remedy = "set `storage: true` for one version";
            lint.error(object, "definition", place, "spec.versions", message, remedy);
        }
        let is_namespaced = field(&["spec", "scope"]) == "Namespaced";
        let schema = |version| {
            let schema = at(version, &["schema", "openAPIV3Schema"])?;
            Some((text(version, &["name"])?, schema))
        };
        let schemas = versions.iter().filter_map(schema).collect();
        definitions.insert((group, kind), Definition { object, is_namespaced, served, schemas });
    }
    definitions
}

/// Whether objects of this kind are in namespaces; `None` when the kind is not known.
fn kind(object: &Object, definitions: &Definitions<'_>, lint: &mut Lint<'_>) -> Option<bool> {
    let (api_version, kind) = (object.id.api_version.as_str(), object.id.kind.as_str());
    let place = object.place(&["apiVersion"]);
    if let Some(found) = kinds::find(api_version, kind) {
        let id = format!("`{api_version}` `{kind}`");
        if !found.is_appliable {
            let message = format!("{id} is asked, and not applied");
            lint.error(object, "not-applied", place, "kind", message, "leave it out");
        }
        if found.since > lint.least_minor {
            let (since, least) = (found.since, lint.least_minor);
            let message = format!(
                "{id} is there from Kubernetes 1.{since} on; the bundle is for 1.{least} too"
            );
            let remedy = format!("set `least_kubernetes: \"1.{since}\"` in bundle.yaml");
            lint.error(object, "kind-too-new", place, "apiVersion", message, remedy);
        }
        if found.until < SUPPORTED.1 {
            let until = found.until;
            let message = format!("{id} is gone after Kubernetes 1.{until}");
            let remedy = others(api_version, kind);
            lint.error(object, "kind-gone", place, "apiVersion", message, remedy);
        } else if kinds::is_off_by_default(api_version) {
            let message = format!("{id} is served only where the API server is told so");
            let remedy = "use a stable version, or set `--runtime-config` of the API servers";
            lint.warning(object, "kind-off", place, "apiVersion", message, remedy);
        }
        return Some(found.is_namespaced);
    }
    let Some(definition) = definitions.get(&(object.group(), kind)) else {
        let message = format!(
            "no Kubernetes from 1.{} to 1.{} has `{api_version}` `{kind}`, and the bundle does not define it",
            SUPPORTED.0, SUPPORTED.1
        );
        let remedy = others(api_version, kind);
        lint.error(object, "unknown-kind", place, "apiVersion", message, remedy);
        return None;
    };
    if !definition.served.contains(&object.version()) {
        let message = format!(
            "`{}` does not serve the version `{}`",
            definition.object.id.name,
            object.version()
        );
        let remedy = format!("it serves {}", definition.served.join(", "));
        lint.error(object, "unknown-kind", place, "apiVersion", message, remedy);
    }
    if definition.object.wave >= object.wave {
        let (first, own) = (&definition.object.wave, &object.wave);
        let message = format!("its definition comes in wave `{first}`, and it in `{own}`");
        let remedy = "put it into a later wave than its definition";
        lint.error(object, "too-early", place, "kind", message, remedy);
    }
    Some(definition.is_namespaced)
}

fn others(api_version: &str, kind: &str) -> String {
    let versions = kinds::versions_of(kind);
    let versions: Vec<&str> =
        versions.into_iter().filter(|version| *version != api_version).collect();
    match versions.is_empty() {
        true => "put its CustomResourceDefinition into an earlier wave".to_owned(),
        false => format!("`{kind}` is of {}", versions.join(", ")),
    }
}

fn namespace(
    object: &Object,
    is_namespaced: bool,
    namespaces: &BTreeMap<&str, &str>,
    lint: &mut Lint<'_>,
) {
    let place = object.place(&["metadata", "namespace"]);
    let path = "metadata.namespace";
    let Some(namespace) = object.id.namespace.as_deref() else {
        if is_namespaced {
            let message = format!("a `{}` is in a namespace, and none is named", object.id.kind);
            lint.error(object, "namespace", place, path, message, "name its namespace");
        }
        return;
    };
    if !is_namespaced {
        let message = format!("a `{}` is in no namespace", object.id.kind);
        lint.error(object, "namespace", place, path, message, "leave it out");
        return;
    }
    match namespaces.get(namespace) {
        Some(wave) if *wave >= object.wave.as_str() => {
            let own = &object.wave;
            let message = format!("the namespace comes in wave `{wave}`, and this in `{own}`");
            lint.error(object, "too-early", place, path, message, "move the namespace forward");
        }
        Some(_) => {}
        None if NAMESPACES.contains(&namespace) => {}
        None => {
            let message = format!("no wave makes the namespace `{namespace}`");
            let remedy = "add a `Namespace` to an earlier wave";
            lint.error(object, "namespace", place, path, message, remedy);
        }
    }
}
