//! `cargo xtask bundle rbac`: the rights with which agents apply a bundle, for an administrator of the cluster.
//!
//! [`Rights::of`] is pure. An agent that applies has no more than what it does takes: its own Lease and inventory, the kinds
//! of the bundle in the namespaces where the bundle has them, and what roles of the bundle give to others. Kubernetes lets
//! nobody give a right away that they do not have, so the agent has those rules as well, in place of a leave to write
//! any.

mod resources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Result, bail};
use basalt_model::node::BUNDLE_APPLIERS_GROUP;
use basalt_model::yaml::print::print as yaml;
use basalt_static_pods::objects::objects;
use camino::Utf8PathBuf;
use serde_json::{Map, Value, json};

use self::resources::{Resource, Resources};
use super::input::Input;
use crate::output::print;

/// Print the rights with which agents apply bundles.
///
/// Somebody who administers the cluster applies them once, and again when a bundle brings kinds, namespaces or roles that
/// were not there before: `cargo xtask bundle rbac NEW OLD | kubectl apply --server-side -f -`. The old bundle belongs to it
/// for as long as something of it is to be pruned.
///
/// The rights go to the group `basalt:bundle-appliers`, which the certificates of agents that apply hold: Lease and
/// inventory in `kube-system`; the bundle's kinds, in its namespaces alone; objects of the whole cluster by name; and
/// the rules that its roles give to others, since nobody may give away what they do not have. Namespaces that the bundle
/// brings come first, for roles to be in them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundles: folders, OCI layouts or archives.
    #[arg(value_name = "BUNDLE", required = true)]
    bundles: Vec<Utf8PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut all = Vec::new();
    for path in &arguments.bundles {
        let input = Input::read(path)?;
        for file in &input.files {
            let bodies = objects(&input.name(&file.path), file.text.as_bytes())?;
            all.extend(bodies.into_iter().map(Value::Object));
        }
    }
    let documents = Rights::of(&all)?.documents();
    let texts: Vec<String> = documents.iter().map(yaml).collect();
    print(texts.join("---\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the Lease and the inventory are.
const OWN_NAMESPACE: &str = "kube-system";
/// What both are called.
const OWN_NAME: &str = "basalt-bundle";
/// What the roles are called.
const ROLE: &str = "basalt:bundle-applier";
const RBAC: &str = "rbac.authorization.k8s.io";

/// What is in one role.
#[derive(Debug, Default)]
struct Rules {
    /// Verbs by group, resource, and the name that they are for; no name is every name.
    verbs: BTreeMap<(String, String, Option<String>), BTreeSet<&'static str>>,
    /// Rules of the bundle's own roles, as they are written.
    given: Vec<Value>,
}

impl Rules {
    fn allow(&mut self, group: &str, resource: &str, name: Option<&str>, verbs: &[&'static str]) {
        let key = (group.to_owned(), resource.to_owned(), name.map(str::to_owned));
        self.verbs.entry(key).or_default().extend(verbs);
    }

    fn give(&mut self, rules: &Value) {
        for rule in rules.as_array().into_iter().flatten() {
            if !self.given.contains(rule) {
                self.given.push(rule.clone());
            }
        }
    }

    /// The rules of a role: names that may the same are one rule.
    fn list(&self) -> Vec<Value> {
        let mut named: BTreeMap<(&str, &str, bool, &BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
        for ((group, resource, name), verbs) in &self.verbs {
            let key = (group.as_str(), resource.as_str(), name.is_some(), verbs);
            named.entry(key).or_default().extend(name.as_deref());
        }
        let rule = |((group, resource, is_named, verbs), names): (_, Vec<&str>)| {
            let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
            if is_named {
                rule["resourceNames"] = json!(names);
            }
            rule
        };
        named.into_iter().map(rule).chain(self.given.iter().cloned()).collect()
    }
}

/// All rights.
#[derive(Debug, Default)]
struct Rights {
    cluster: Rules,
    namespaces: BTreeMap<String, Rules>,
    /// Namespaces that the bundle brings.
    brought: BTreeSet<String>,
}

impl Rights {
    /// Works the rights out.
    ///
    /// # Errors
    /// When a kind is neither Kubernetes' own nor defined by one of the objects.
    fn of(objects: &[Value]) -> Result<Rights> {
        let resources = Resources::of(objects);
        let mut rights = Rights::default();
        rights.own();
        for object in objects {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let (api_version, kind) = (text("/apiVersion"), text("/kind"));
            let (Some(api_version), Some(kind), Some(name)) =
                (api_version, kind, text("/metadata/name"))
            else {
                bail!("an object without apiVersion, kind or name; see `bundle lint`");
            };
            let Some(resource) = resources.find(api_version, kind) else {
                bail!(
                    "{api_version} {kind} `{name}` is neither a kind of Kubernetes nor defined by the bundle; see `bundle lint`"
                );
            };
            match (resource.is_namespaced, text("/metadata/namespace")) {
                (true, Some(namespace)) => rights.in_namespace(namespace, &resource),
                (true, None) => bail!("{kind} `{name}` names no namespace; see `bundle lint`"),
                (false, _) => rights.by_name(&resource, name),
            }
            if resource.group.is_empty() && kind == "Namespace" {
                rights.brought.insert(name.to_owned());
            }
            if resource.group == RBAC {
                rights.passed_on(object, kind, name);
            }
        }
        Ok(rights)
    }

    fn namespace(&mut self, namespace: &str) -> &mut Rules {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    /// Lease and inventory. No name can be asked of what is yet to be made.
    fn own(&mut self) {
        let own = self.namespace(OWN_NAMESPACE);
        own.allow("coordination.k8s.io", "leases", None, &["create"]);
        own.allow("coordination.k8s.io", "leases", Some(OWN_NAME), &["get", "update"]);
        own.allow("", "configmaps", None, &["create"]);
        own.allow("", "configmaps", Some(OWN_NAME), &["get", "patch", "update"]);
    }

    fn in_namespace(&mut self, namespace: &str, resource: &Resource) {
        let rules = self.namespace(namespace);
        let verbs = ["create", "get", "list", "patch"];
        rules.allow(&resource.group, &resource.plural, None, &verbs);
        if !resource.holds_data {
            rules.allow(&resource.group, &resource.plural, None, &["delete"]);
        }
        // To say what is the matter with an object.
        rules.allow("", "events", None, &["list"]);
        rules.allow("", "pods", None, &["list"]);
        rules.allow("", "pods/log", None, &["get"]);
    }

    fn by_name(&mut self, resource: &Resource, name: &str) {
        let rules = &mut self.cluster;
        rules.allow(&resource.group, &resource.plural, None, &["create", "list"]);
        rules.allow(&resource.group, &resource.plural, Some(name), &["get", "patch"]);
        if !resource.holds_data {
            rules.allow(&resource.group, &resource.plural, Some(name), &["delete"]);
        }
    }

    /// What a role or a binding of the bundle gives to others.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>
    fn passed_on(&mut self, object: &Value, kind: &str, name: &str) {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let rules = match namespace {
            Some(namespace) => self.namespaces.entry(namespace.to_owned()).or_default(),
            None => &mut self.cluster,
        };
        match kind {
            "ClusterRole" | "Role" => {
                rules.give(&object["rules"]);
                // Its rules are those of others, whichever they come to be.
                if object.get("aggregationRule").is_some() {
                    rules.allow(RBAC, "clusterroles", Some(name), &["escalate"]);
                }
            }
            _ => {
                let (kind, name) = (&object["roleRef"]["kind"], &object["roleRef"]["name"]);
                // By name, also where the role's rules are held already: a binding is rehearsed before its role is there.
                let roles = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
                rules.allow(RBAC, roles, name.as_str(), &["bind"]);
            }
        }
    }

    /// The objects that give the rights.
    fn documents(&self) -> Vec<Value> {
        let namespace = |name: &String| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let used = self.brought.iter().filter(|name| self.namespaces.contains_key(*name));
        let mut documents: Vec<Value> = used.map(namespace).collect();
        documents.extend(role("ClusterRole", None, &self.cluster));
        for (namespace, rules) in &self.namespaces {
            documents.extend(role("Role", Some(namespace), rules));
        }
        documents
    }
}

/// A role, and what binds it to the group.
fn role(kind: &str, namespace: Option<&str>, rules: &Rules) -> [Value; 2] {
    let document = |kind: &str, more: Value| {
        let mut metadata = Map::from_iter([("name".to_owned(), json!(ROLE))]);
        metadata.extend(namespace.map(|it| ("namespace".to_owned(), json!(it))));
        let mut document =
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata});
        if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
            document.extend(more);
        }
        document
    };
    let binding = json!({
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": ROLE},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": BUNDLE_APPLIERS_GROUP}],
    });
    [document(kind, json!({"rules": rules.list()})), document(&format!("{kind}Binding"), binding)]
}
