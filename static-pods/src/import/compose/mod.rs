//! Compose files: each service becomes a pod.
//!
//! `settings` says which files are a project, `project` puts them together by the rules of `merge`, `service` reads what
//! came of it.
//!
//! Rules: <https://github.com/compose-spec/compose-spec>

mod binds;
mod configs;
mod deploy;
mod fields;
mod merge;
mod project;
mod service;
mod settings;
mod tree;
mod volumes;

use std::collections::BTreeMap;

use basalt_model::decode::closest;

use super::draft::{MountSource, PodDraft};
use super::environment::Read;
use super::notes::{At, Notes};
use configs::Configs;
use fields::{FILE, Field};
use project::{Model, Project};
use service::Context;
pub use settings::compose_files;
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

/// The pods of all projects. What another one includes is none of its own.
pub(super) fn pods(
    sources: &[super::Source<'_>],
    read: &mut Read<'_>,
    notes: &mut Notes,
) -> Vec<PodDraft> {
    let mut projects = Vec::new();
    for project in projects_of(sources, notes) {
        let mut notes = Notes::default();
        let model = project::model(&project, read, &mut notes);
        projects.push((project.sources, model, notes));
    }
    let included: Vec<String> = projects
        .iter()
        .filter_map(|(_, model, _)| model.as_ref())
        .flat_map(|model| model.included.iter().cloned())
        .collect();
    let mut drafts = Vec::new();
    for (sources, model, mut own) in projects {
        let file = sources.first().map_or("", |source| source.name);
        if included.iter().any(|known| known == file) {
            continue;
        }
        if let Some(model) = model {
            drafts.extend(pods_of(file, &model, read, &mut own));
        }
        notes.0.append(&mut own.0);
    }
    drafts
}

/// The projects: those that a `.env` names the files of, and the rest by their folders.
fn projects_of<'s>(sources: &[super::Source<'s>], notes: &mut Notes) -> Vec<Project<'s>> {
    let mut named = Vec::new();
    for env in sources.iter().filter(|source| settings::is_one(source.name)) {
        named.extend(named_by(env, sources, notes));
    }
    let is_named = |source: &super::Source<'_>| {
        named.iter().flat_map(|project| &project.sources).any(|known| known.name == source.name)
    };
    let mut projects: Vec<(&str, Vec<super::Source<'s>>)> = Vec::new();
    for source in sources {
        let file = source.name;
        if settings::is_one(file) || is_named(source) {
            continue;
        }
        if !file.ends_with(".yaml") && !file.ends_with(".yml") {
            let message =
                "the name says nothing about what it is: neither a unit nor a compose file";
            let remedy = "give `.container`, `.pod`, `.volume`, `.service` or `.yaml` files";
            notes.broken(&At::start_of(file), message, remedy);
            continue;
        }
        let (folder, _) = file.rsplit_once('/').unwrap_or_default();
        match projects.iter_mut().find(|(known, _)| *known == folder) {
            Some((_, files)) => files.push(*source),
            None => projects.push((folder, vec![*source])),
        }
    }
    for (_, mut sources) in projects {
        sources.sort_by_key(|source| is_override(source.name));
        named.push(Project { sources, env: None });
    }
    named
}

/// The project of a `.env`. `None`: it names none, or files that were not given, which is noted.
fn named_by<'s>(
    env: &super::Source<'s>,
    sources: &[super::Source<'s>],
    notes: &mut Notes,
) -> Option<Project<'s>> {
    let at = At::start_of(env.name);
    let Some(names) = compose_files(env.name, env.text) else {
        notes.carried(&at, "its variables are put into the files beside it");
        return None;
    };
    let mut files = Vec::new();
    for name in names {
        let Some(source) = sources.iter().find(|source| source.name == name) else {
            let message = format!("`COMPOSE_FILE` names `{name}`, which was not given");
            notes.invalid(&at, message, Some("give that file, too"));
            return None;
        };
        files.push(*source);
    }
    Some(Project { sources: files, env: Some(*env) })
}

/// Whether a file is by its name one that compose merges over the others without being told.
fn is_override(name: &str) -> bool {
    name.ends_with("compose.override.yaml") || name.ends_with("compose.override.yml")
}

/// The pods of a project.
fn pods_of(file: &str, model: &Model, read: &mut Read<'_>, notes: &mut Notes) -> Vec<PodDraft> {
    let Model { root, variables, .. } = model;
    let Some(services) = root.get("services") else {
        let remedy = "a manifest is named itself under `pods` of the cluster.yaml; check it with `pods lint`";
        notes.invalid(&At::start_of(file), "the file has no `services`", Some(remedy));
        return Vec::new();
    };
    let mut volumes: BTreeMap<String, MountSource> = BTreeMap::new();
    let mut configs = Configs::new();
    for entry in root.entries() {
        let at = at(entry, &entry.key);
        match known(FILE, entry, &at, notes) {
            Some(Field::Read) if entry.key == "volumes" => {
                for volume in entry.node.entries() {
                    let source = volumes::of_file(volume, notes);
                    volumes.insert(volume.key.clone(), source);
                }
            }
            Some(Field::Read) if entry.key == "configs" => {
                for config in entry.node.entries() {
                    let text = configs::of_file(config, variables, read, notes);
                    configs.insert(config.key.clone(), text);
                }
            }
            Some(Field::Read) => shared(entry, notes),
            Some(field) => simple(field, &at, notes),
            None => {}
        }
    }
    let names: Vec<&str> = services.entries().iter().map(|entry| entry.key.as_str()).collect();
    let profiles = settings::profiles(variables);
    let context =
        Context { names: &names, volumes: &volumes, configs: &configs, profiles: &profiles };
    let services = services.entries().iter();
    services
        .filter_map(|entry| service::read(entry, &context, read, notes))
        .map(PodDraft::of_one)
        .collect()
}

/// Networks and secrets of the file: what services say of them counts.
fn shared(section: &Entry, notes: &mut Notes) {
    for entry in section.node.entries() {
        let at = at(entry, &format!("{}.{}", section.key, entry.key));
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
            _ => {}
        }
    }
}

/// Where an entry stands.
fn at(entry: &Entry, path: &str) -> At {
    entry.spot.at(path)
}

/// Where an item of a list stands.
fn item_at(node: &Node, path: &str) -> At {
    node.spot.at(path)
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
