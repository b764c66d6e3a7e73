//! One service of a compose file.

use std::collections::BTreeMap;

use super::super::draft::{Draft, EnvironmentFile, MountSource, Restart};
use super::super::environment::{Dialect, Read, read_files};
use super::super::notes::{At, Notes};
use super::super::options::{apply, named_volume};
use super::super::unit;
use super::super::values::boolean;
use super::configs::{self, Configs};
use super::fields::{Field, HEALTH, SERVICE};
use super::tree::{Entry, Node, Value};
use super::{at, deploy, item_at, known, simple, volumes};
use crate::lint::names;

/// What a service has to know of its project.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    /// All services of the project.
    pub(super) names: &'c [&'c str],
    pub(super) volumes: &'c BTreeMap<String, MountSource>,
    pub(super) configs: &'c Configs,
    /// Those that are on.
    pub(super) profiles: &'c [String],
}

/// Reads a service. `None`: there is to be no pod, which is noted.
pub(super) fn read(
    service: &Entry,
    context: &Context<'_>,
    reader: &mut Read<'_>,
    notes: &mut Notes,
) -> Option<Draft> {
    let path = format!("services.{}", service.key);
    let mut draft = Draft::new(service.key.clone(), at(service, &path));
    // As compose has it; `deploy` may say otherwise.
    draft.restart = Some(Restart::Never);
    let mut is_kept = true;
    // What `deploy` says goes before the older fields for the same, wherever it stands.
    let (last, first): (Vec<_>, Vec<_>) =
        service.node.entries().iter().partition(|entry| entry.key == "deploy");
    for entry in first.into_iter().chain(last) {
        let path = format!("{path}.{}", entry.key);
        let at = at(entry, &path);
        let Some(field) = known(SERVICE, entry, &at, notes) else { continue };
        // A field without a value is as good as none.
        if matches!(entry.node.value, Value::Null) {
            notes.carried(&at, "nothing, as without it");
            continue;
        }
        match field {
            Field::One(option) => one(&mut draft, option, &entry.node, &at, notes),
            Field::Each(option) => {
                for (index, item) in entry.node.items().into_iter().enumerate() {
                    let at = item_at(item, &format!("{path}[{index}]"));
                    one(&mut draft, option, item, &at, notes);
                }
            }
            Field::Pairs(option) => {
                for (text, at) in pairs(&path, &entry.node, notes) {
                    apply(&mut draft, option, &text, &at, notes);
                }
            }
            Field::Read => {
                let mut reading =
                    Reading { draft: &mut draft, context, reader: &mut *reader, notes };
                is_kept &= reading.field(entry, &path, &at);
            }
            field => simple(field, &at, notes),
        }
    }
    for mount in &mut draft.mounts {
        if let MountSource::Named(name) = &mount.source {
            mount.source = context.volumes.get(name).cloned().unwrap_or_else(|| named_volume(name));
        }
    }
    read_files(&mut draft, reader, notes);
    if !is_kept {
        return None;
    }
    neighbours(&mut draft, &service.key, context, notes);
    Some(draft)
}

fn one(draft: &mut Draft, option: &'static str, node: &Node, at: &At, notes: &mut Notes) {
    match node.text() {
        Some(text) => {
            // `service:db` is the container of that service.
            let text = match (option, text.strip_prefix("service:")) {
                ("network" | "pid" | "ipc", Some(name)) => format!("container:{name}"),
                _ => text.to_owned(),
            };
            apply(draft, option, &text, at, notes);
        }
        None => notes.invalid(at, "it is no text", None),
    }
}

/// `NAME=VALUE`, of a mapping or a list.
fn pairs(path: &str, node: &Node, notes: &mut Notes) -> Vec<(String, At)> {
    let mut found = Vec::new();
    for entry in node.entries() {
        let at = at(entry, &format!("{path}.{}", entry.key));
        match &entry.node.value {
            Value::Text(text) => found.push((format!("{}={text}", entry.key), at)),
            Value::Null => found.push((entry.key.clone(), at)),
            Value::List(items) => {
                for item in items {
                    let text = item.text().unwrap_or_default();
                    found.push((format!("{}={text}", entry.key), at.clone()));
                }
            }
            Value::Map(_) => notes.invalid(&at, "it is no text", None),
        }
    }
    if let Value::List(items) = &node.value {
        for (index, item) in items.iter().enumerate() {
            let at = item_at(item, &format!("{path}[{index}]"));
            match item.text() {
                Some(text) => found.push((text.to_owned(), at)),
                None => notes.invalid(&at, "it is no text", None),
            }
        }
    }
    found
}

/// In compose files services know each other by name. In the host's network all of them are at `localhost`.
fn neighbours(draft: &mut Draft, own: &str, context: &Context<'_>, notes: &mut Notes) {
    if draft.shared.host_network.is_some() {
        return;
    }
    let others = context.names.iter().filter(|name| **name != own);
    let mut known: Vec<&&str> =
        others.filter(|name| names::dns_subdomain(name).is_none()).collect();
    known.sort();
    if known.is_empty() {
        return;
    }
    for name in &known {
        draft.shared.aliases.push(((**name).to_owned(), "127.0.0.1".to_owned()));
    }
    notes.changed(
        &draft.at,
        "the names of the other services lead to 127.0.0.1 by `hostAliases`",
        "run all services of the file on the same nodes, and check that no two programs open one port",
    );
}

/// Notes what the mapping `item` has besides `fields`.
pub(super) fn only(item: &Node, at: &At, fields: &[&str], notes: &mut Notes) {
    for entry in item.entries() {
        if !fields.contains(&entry.key.as_str()) && !entry.key.starts_with("x-") {
            let at = entry.spot.at(&format!("{}.{}", at.setting, entry.key));
            notes.invalid(&at, "compose files have no such field here", None);
        }
    }
}

struct Reading<'r, 'c, 'f> {
    draft: &'r mut Draft,
    context: &'r Context<'c>,
    reader: &'r mut Read<'f>,
    notes: &'r mut Notes,
}

impl Reading<'_, '_, '_> {
    /// Reads a field that is more than an option. False: there is to be no pod.
    fn field(&mut self, entry: &Entry, path: &str, at: &At) -> bool {
        let node = &entry.node;
        match entry.key.as_str() {
            "image" => {
                self.draft.image = node.text().map(|image| (image.to_owned(), at.clone()));
                self.notes.carried(at, "as `image`");
            }
            "build" => self.notes.broken(
                at,
                "a node builds no images",
                "build the image beforehand, and name it by digest as `image`",
            ),
            "command" => {
                self.draft.arguments = self.words(node, at);
                self.draft.arguments_at = Some(at.clone());
                self.notes.carried(at, "as `args`");
            }
            "entrypoint" => {
                self.draft.entrypoint = Some(self.words(node, at));
                self.notes.carried(at, "as `command`");
            }
            "environment" => {
                for (text, at) in pairs(path, node, self.notes) {
                    apply(self.draft, "env", &text, &at, self.notes);
                }
            }
            "env_file" => self.environment_files(node, path),
            "devices" => self.devices(node, path),
            "depends_on" => self.depends_on(node, at),
            "deploy" => return deploy::read(self.draft, path, node, self.notes),
            "healthcheck" => self.health(node, path),
            "networks" => self.networks(node, path),
            "ports" => self.ports(node, path),
            "profiles" => return self.is_on(node, at),
            "pull_policy" => {
                let policy = match node.text().unwrap_or_default() {
                    "if_not_present" => "missing",
                    "build" | "daily" | "weekly" => "always",
                    policy if policy.starts_with("every_") => "always",
                    policy => policy,
                };
                apply(self.draft, "pull", policy, at, self.notes);
            }
            "scale" => {
                return deploy::replicas(node.text().unwrap_or_default(), at, self.notes);
            }
            "secrets" => self.secrets(node, path),
            "configs" => {
                configs::mounts(self.draft, path, node, self.context.configs, self.notes);
            }
            "ulimits" => {
                for limit in node.entries() {
                    let at = super::at(limit, &format!("{path}.{}", limit.key));
                    apply(self.draft, "ulimit", &limit.key, &at, self.notes);
                }
            }
            "volumes" => volumes::mounts(self.draft, path, node, self.reader, self.notes),
            other => self.notes.invalid(at, format!("`{other}` is not read"), None),
        }
        true
    }

    /// Whether compose starts a service with these profiles.
    fn is_on(&mut self, profiles: &Node, at: &At) -> bool {
        let on = self.context.profiles;
        let profiles: Vec<&str> = profiles.items().into_iter().filter_map(Node::text).collect();
        let is_on = |profile: &&str| on.iter().any(|name| name == profile || name == "*");
        if profiles.is_empty() {
            self.notes.carried(at, "none, as without it");
            return true;
        }
        if profiles.iter().any(is_on) {
            self.notes.carried(at, "a pod, as `COMPOSE_PROFILES` of `.env` says");
            return true;
        }
        let message = "a service with a profile is not started by itself: no pod is made";
        let remedy = "remove `profiles` where it has to run, or name one of them in `COMPOSE_PROFILES` of `.env`";
        self.notes.lost(at, message, remedy);
        false
    }

    /// A list as it is, or a text split as a shell would.
    fn words(&mut self, node: &Node, at: &At) -> Vec<String> {
        match &node.value {
            Value::List(items) => {
                items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
            }
            Value::Text(text) => match unit::words(text) {
                Ok(words) => words.into_iter().map(|word| word.text).collect(),
                Err(error) => {
                    self.notes.invalid(at, error, None);
                    Vec::new()
                }
            },
            Value::Null | Value::Map(_) => {
                self.notes.invalid(at, "it is neither a text nor a list", None);
                Vec::new()
            }
        }
    }

    fn environment_files(&mut self, node: &Node, path: &str) {
        for (index, item) in node.items().into_iter().enumerate() {
            let at = item_at(item, &format!("{path}[{index}]"));
            let name = item.text().or_else(|| item.text_of("path"));
            let is_optional = item.text_of("required") == Some("false");
            only(item, &at, &["path", "required", "format"], self.notes);
            // podman-run(1) and compose's `raw` are the same.
            let is_raw = item.text_of("format") == Some("raw");
            let dialect = if is_raw { Dialect::Podman } else { Dialect::Quoted };
            match name {
                Some(name) => {
                    let (from, path) = item.spot.origin.reference(name);
                    let file = EnvironmentFile { from, path, at: at.clone(), is_optional, dialect };
                    self.draft.environment_files.push(file);
                    self.notes.carried(&at, "its variables are written into the manifest");
                }
                None => self.notes.invalid(&at, "it has no path", None),
            }
        }
    }

    fn devices(&mut self, node: &Node, path: &str) {
        for (index, item) in node.items().into_iter().enumerate() {
            let at = item_at(item, &format!("{path}[{index}]"));
            only(item, &at, &["source", "target", "permissions"], self.notes);
            let long = || {
                let source = item.text_of("source")?;
                Some(format!("{source}:{}", item.text_of("target").unwrap_or(source)))
            };
            match item.text().map(str::to_owned).or_else(long) {
                Some(text) => apply(self.draft, "device", &text, &at, self.notes),
                None => self.notes.invalid(&at, "it is no device", None),
            }
        }
    }

    fn depends_on(&mut self, node: &Node, at: &At) {
        let (mut waits, mut needs_end): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for entry in node.entries() {
            match entry.node.text_of("condition") {
                Some("service_completed_successfully") => needs_end.push(&entry.key),
                _ => waits.push(&entry.key),
            }
        }
        if let Value::List(items) = &node.value {
            waits.extend(items.iter().filter_map(Node::text));
        }
        if !waits.is_empty() {
            let names = basalt_model::decode::list(&waits);
            self.notes.lost(
                at,
                format!("pods are not ordered: the pod does not wait for {names}"),
                "let the program wait for what it needs",
            );
        }
        if !needs_end.is_empty() {
            let names = basalt_model::decode::list(&needs_end);
            self.notes.broken(
                at,
                format!("the pod does not wait until {names} is done"),
                "make it an init container of this pod, which has to end before the others start",
            );
        }
    }

    fn health(&mut self, node: &Node, path: &str) {
        for entry in node.entries() {
            let at = at(entry, &format!("{path}.{}", entry.key));
            let Some(field) = known(HEALTH, entry, &at, self.notes) else { continue };
            match (field, entry.key.as_str(), &entry.node.value) {
                (Field::One(option), ..) => one(self.draft, option, &entry.node, &at, self.notes),
                (_, "test", Value::Text(text)) => {
                    let words = serde_json::json!(["CMD-SHELL", text]).to_string();
                    apply(self.draft, "health-cmd", &words, &at, self.notes);
                }
                (_, "test", Value::List(items)) => {
                    let words: Vec<&str> = items.iter().filter_map(Node::text).collect();
                    let words = serde_json::json!(words).to_string();
                    apply(self.draft, "health-cmd", &words, &at, self.notes);
                }
                (_, "disable", Value::Text(text)) => {
                    self.draft.health.is_off = boolean(text) == Some(true);
                    let message = match self.draft.health.is_off {
                        true => "no health check, so no probe",
                        false => "off, as without it",
                    };
                    self.notes.carried(&at, message);
                }
                (Field::Read, ..) => {
                    self.notes.invalid(&at, "it is neither a text nor a list", None)
                }
                (field, ..) => simple(field, &at, self.notes),
            }
        }
    }

    fn networks(&mut self, node: &Node, path: &str) {
        for (index, item) in node.items().into_iter().enumerate() {
            if let Some(name) = item.text() {
                let at = item_at(item, &format!("{path}[{index}]"));
                apply(self.draft, "network", name, &at, self.notes);
            }
        }
        for network in node.entries() {
            let path = format!("{path}.{}", network.key);
            apply(self.draft, "network", &network.key, &at(network, &path), self.notes);
            for entry in network.node.entries() {
                let at = at(entry, &format!("{path}.{}", entry.key));
                match entry.key.as_str() {
                    "ipv4_address" | "ipv6_address" | "link_local_ips" | "mac_address" => {
                        apply(self.draft, "ip", "", &at, self.notes);
                    }
                    "aliases" => apply(self.draft, "network-alias", "", &at, self.notes),
                    _ => self.notes.lost(
                        &at,
                        "the pod has the host's network and no other",
                        "set it for the host's own interface",
                    ),
                }
            }
        }
    }

    fn ports(&mut self, node: &Node, path: &str) {
        for (index, item) in node.items().into_iter().enumerate() {
            let at = item_at(item, &format!("{path}[{index}]"));
            let text = match &item.value {
                Value::Text(text) => text.clone(),
                Value::Map(_) => {
                    const FIELDS: [&str; 7] = [
                        "target",
                        "published",
                        "host_ip",
                        "protocol",
                        "mode",
                        "name",
                        "app_protocol",
                    ];
                    only(item, &at, &FIELDS, self.notes);
                    let ip = item.text_of("host_ip").unwrap_or_default();
                    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
                    let published = item.text_of("published").unwrap_or_default();
                    let target = item.text_of("target").unwrap_or_default();
                    let protocol = item.text_of("protocol").unwrap_or("tcp");
                    format!("{ip}:{published}:{target}/{protocol}")
                }
                Value::Null | Value::List(_) => {
                    self.notes.invalid(&at, "it is no port", None);
                    continue;
                }
            };
            apply(self.draft, "publish", &text, &at, self.notes);
        }
    }

    fn secrets(&mut self, node: &Node, path: &str) {
        for (index, item) in node.items().into_iter().enumerate() {
            let at = item_at(item, &format!("{path}[{index}]"));
            let Some(name) = item.text().or_else(|| item.text_of("source")) else {
                self.notes.invalid(&at, "it names no secret", None);
                continue;
            };
            only(item, &at, &["source", "target", "uid", "gid", "mode"], self.notes);
            let mut text = name.to_owned();
            for key in ["target", "uid", "gid", "mode"] {
                if let Some(value) = item.text_of(key) {
                    text.push_str(&format!(",{key}={value}"));
                }
            }
            apply(self.draft, "secret", &text, &at, self.notes);
        }
    }
}
