//! Compose files: each service becomes a pod.
//!
//! Rules: <https://github.com/compose-spec/compose-spec>

mod deploy;
mod fields;
mod interpolate;
mod service;
mod tree;
mod volumes;

use std::collections::BTreeMap;

use basalt_model::decode::closest;

use super::Reference;
use super::draft::{MountSource, PodDraft};
use super::environment::{Dialect, Read, variables};
use super::notes::{At, Notes};
use fields::{FILE, Field};
use service::Context;
use tree::{Entry, Node};

/// The tables of fields, by the name of what they are fields of in the schema.
#[cfg(test)]
pub(super) const FIELDS: [(&str, &[(&str, Field)]); 5] = [
    ("file", FILE),
    ("service", fields::SERVICE),
    ("deployment", fields::DEPLOY),
    ("healthcheck", fields::HEALTH),
    ("volume", fields::VOLUME),
];

/// The pods of a compose file.
pub(super) fn pods(
    source: super::Source<'_>,
    read: &mut Read<'_>,
    notes: &mut Notes,
) -> Vec<PodDraft> {
    let file = source.name;
    if !file.ends_with(".yaml") && !file.ends_with(".yml") {
        let message = "the name says nothing about what it is: neither a unit nor a compose file";
        let remedy = "give `.container`, `.pod`, `.volume`, `.service` or `.yaml` files";
        notes.lost(&At::start_of(file), message, remedy);
        return Vec::new();
    }
    let environment = match read(Reference { from: file, path: ".env" }) {
        Ok(text) => tree::hidden(environment(&text)),
        Err(_) => BTreeMap::new(),
    };
    let Some(root) = tree::read(file, source.text, &environment, notes) else { return Vec::new() };
    let Some(services) = root.get("services") else {
        let remedy = "a manifest is named itself under `pods` of the cluster.yaml; check it with `pods lint`";
        notes.invalid(&At::start_of(file), "the file has no `services`", Some(remedy));
        return Vec::new();
    };
    let mut volumes: BTreeMap<String, MountSource> = BTreeMap::new();
    for entry in root.entries() {
        let at = at(file, entry, &entry.key);
        match known(FILE, entry, &at, notes) {
            Some(Field::Read) if entry.key == "volumes" => {
                for volume in entry.node.entries() {
                    let source = volumes::of_file(file, volume, notes);
                    volumes.insert(volume.key.clone(), source);
                }
            }
            Some(Field::Read) => shared(file, entry, notes),
            Some(field) => simple(field, &at, notes),
            None => {}
        }
    }
    let names: Vec<&str> = services.entries().iter().map(|entry| entry.key.as_str()).collect();
    let context = Context { file, names: &names, volumes: &volumes };
    let services = services.entries().iter();
    services
        .filter_map(|entry| service::read(entry, &context, read, notes))
        .map(PodDraft::of_one)
        .collect()
}

fn environment(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for variable in variables(text, Dialect::Quoted) {
        let Some(value) = variable.value else { continue };
        let value = match variable.is_literal {
            true => value,
            false => interpolate::interpolated(&value, &found).0,
        };
        found.insert(variable.name, value);
    }
    found
}

/// Networks, secrets and configs of the file: what services say of them counts.
fn shared(file: &str, section: &Entry, notes: &mut Notes) {
    for entry in section.node.entries() {
        let at = at(file, entry, &format!("{}.{}", section.key, entry.key));
        match section.key.as_str() {
            "networks" => notes.lost(
                &at,
                "networks of podman do not exist for pods, which have the host's",
                "reach others at `localhost` or the node's address",
            ),
            "secrets" => notes.changed(
                &at,
                "whatever it is read from, it comes from Vault now",
                "put its value into Vault",
            ),
            "configs" => notes.lost(
                &at,
                "a config is a file of the host",
                "write it with the node's Butane config, and mount it with `hostPath`",
            ),
            _ => {}
        }
    }
}

/// Where an entry stands.
fn at(file: &str, entry: &Entry, path: &str) -> At {
    At { file: file.to_owned(), place: entry.place, setting: path.to_owned() }
}

/// Where an item of a list stands.
fn item_at(file: &str, node: &Node, path: &str) -> At {
    At { file: file.to_owned(), place: node.place, setting: path.to_owned() }
}

/// The field of an entry; `None` where there is none, which is noted.
fn known(
    fields: &'static [(&'static str, Field)],
    entry: &Entry,
    at: &At,
    notes: &mut Notes,
) -> Option<Field> {
    if entry.key.starts_with("x-") {
        return Some(Field::Implied("nobody reads what begins with `x-`"));
    }
    let found = fields.iter().find(|(name, _)| *name == entry.key);
    if found.is_none() {
        let near = closest(&entry.key, fields.iter().map(|(name, _)| *name));
        let remedy = near.map(|near| format!("did you mean `{near}`?"));
        notes.invalid(at, "compose files have no such field here", remedy.as_deref());
    }
    found.map(|(_, field)| *field)
}

/// Notes a field that needs no reading.
fn simple(field: Field, at: &At, notes: &mut Notes) {
    match field {
        Field::Implied(reason) => notes.carried(at, reason),
        Field::Lost(reason, remedy) => notes.lost(at, reason, remedy),
        Field::Broken(reason, remedy) => notes.broken(at, reason, remedy),
        Field::One(_) | Field::Each(_) | Field::Pairs(_) | Field::Read => {}
    }
}
