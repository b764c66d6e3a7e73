//! What keeps a bundle from being applied, before anything is written: pure.

use std::collections::{BTreeMap, BTreeSet};

use basalt_image::bundle::index::version;
use serde::Serialize;
use serde_json::Value;

use super::api::GRANT;
use super::fields::Conflict;
use super::inventory::{Inventory, PART_OF, apply_set};
use super::object::{Key, Object};

/// What applying an object would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub(crate) enum Change {
    /// It would be made.
    Create,
    /// These fields would be changed.
    Fields { fields: Vec<String> },
    /// Nothing.
    Same,
    /// It cannot be tried out before what it needs is there.
    Later { reason: String },
    /// It would be deleted.
    Prune,
    /// It is no longer in the bundle, and stays.
    Leave { reason: String },
}

/// Why a bundle is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it wants basalt-agent {wanted}; this is {found}")]
    Agent { wanted: String, found: &'static str },
    #[error("it wants Kubernetes {wanted}; the API server has 1.{found}")]
    Kubernetes { wanted: String, found: u32 },
    #[error("{key} belongs to another set of objects, `{set}`")]
    ForeignSet { key: Key, set: String },
    #[error("{key} belongs to others: {}", list(.conflicts))]
    Foreign { key: Key, conflicts: Vec<Conflict> },
    #[error("{key} would lose {}, in which objects are still stored", .versions.join(", "))]
    StoredVersions { key: Key, versions: Vec<String> },
    #[error("it would prune {leaving} of {all} objects, more than {percent} %")]
    PruneShare { leaving: usize, all: usize, percent: u8 },
    #[error("the API server refuses {key}: {message}")]
    Invalid { key: Key, message: String },
    #[error("no right to apply {key}: {message}")]
    Forbidden { key: Key, message: String },
    #[error("no right to look at what is there: {message}")]
    Unseen { message: String },
    #[error("{key} is there twice")]
    Twice { key: Key },
}

impl Refusal {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Refusal::Agent { .. } => "bring the nodes to a newer image first",
            Refusal::Kubernetes { .. } => "upgrade the control plane first",
            Refusal::ForeignSet { .. } | Refusal::Foreign { .. } => {
                "leave it out of the bundle, or let its owner go of it"
            }
            Refusal::StoredVersions { .. } => {
                "keep the version in the definition until its objects are migrated"
            }
            Refusal::PruneShare { .. } => {
                "look at what is missing; if it is meant, raise `bundle.prune_percent`"
            }
            Refusal::Forbidden { .. } | Refusal::Unseen { .. } => GRANT,
            Refusal::Invalid { .. } | Refusal::Twice { .. } => "correct the bundle",
        }
    }
}

fn list(conflicts: &[Conflict]) -> String {
    let one = |it: &Conflict| format!("`{}` to `{}`", it.field, it.manager);
    conflicts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The agent's own version.
const AGENT: &str = env!("CARGO_PKG_VERSION");

/// Whether agent and API server are new enough.
pub(crate) fn versions(
    least_agent: &str,
    least_kubernetes: &str,
    minor: Option<u32>,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if version(least_agent) > version(AGENT) {
        refusals.push(Refusal::Agent { wanted: least_agent.to_owned(), found: AGENT });
    }
    if let Some(found) = minor
        && version(least_kubernetes) > Some(vec![1, found])
    {
        let wanted = least_kubernetes.to_owned();
        refusals.push(Refusal::Kubernetes { wanted, found });
    }
    refusals
}

/// Objects that come twice: each application would undo the other.
pub(crate) fn twice(objects: &[Object]) -> Vec<Refusal> {
    let mut seen = BTreeSet::new();
    let again = objects.iter().filter(|object| !seen.insert(&object.key));
    again.map(|object| Refusal::Twice { key: object.key.clone() }).collect()
}

/// Whether too much would be pruned. What never is does not count.
pub(crate) fn share(inventory: &Inventory, objects: &[Object], percent: u8) -> Option<Refusal> {
    let all = inventory.entries.iter().filter(|entry| entry.uid.is_some()).count();
    let leaving = inventory.leaving(objects);
    let leaving = leaving.iter().filter(|it| !it.is_kept && it.uid.is_some()).count();
    (leaving * 100 > all * usize::from(percent)).then_some(Refusal::PruneShare {
        leaving,
        all,
        percent,
    })
}

/// The set that an object belongs to, when that is another.
pub(crate) fn foreign_set(key: &Key, live: &Value) -> Option<Refusal> {
    let set = live["metadata"]["labels"][PART_OF].as_str()?;
    (set != apply_set()).then(|| Refusal::ForeignSet { key: key.clone(), set: set.to_owned() })
}

/// The versions of its kind in which objects are stored, or would be.
fn stored_versions(definition: &Value) -> BTreeSet<&str> {
    let list = definition.pointer("/status/storedVersions").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn versions_of(definition: &Value) -> impl Iterator<Item = &Value> {
    definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten()
}

fn storage_version(definition: &Value) -> Option<&str> {
    versions_of(definition).find(|version| version["storage"] == true)?["name"].as_str()
}

/// Whether a new definition drops versions in which objects are stored.
pub(crate) fn lost_versions(object: &Object, live: &Value) -> Option<Refusal> {
    if !object.key.is_definition() {
        return None;
    }
    let kept: BTreeSet<&str> =
        versions_of(&object.body).filter_map(|version| version["name"].as_str()).collect();
    let lost: Vec<String> =
        stored_versions(live).difference(&kept).map(|name| (*name).to_owned()).collect();
    let key = object.key.clone();
    (!lost.is_empty()).then_some(Refusal::StoredVersions { key, versions: lost })
}

/// Whether objects of a kind would be stored in another version from now on: no earlier definition could read them.
pub(crate) fn is_one_way(objects: &[Object], live: &BTreeMap<Key, Value>) -> bool {
    objects.iter().filter(|object| object.key.is_definition()).any(|object| {
        let Some(live) = live.get(&object.key) else { return false };
        storage_version(live).is_some() && storage_version(live) != storage_version(&object.body)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::inventory::tests::object;
    use super::*;

    #[test]
    fn least_versions() {
        let refusals = |agent: &str, kubernetes: &str, minor| {
            let list = versions(agent, kubernetes, minor);
            list.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(refusals("0.1.0", "1.33", Some(36)), Vec::<String>::new());
        assert_eq!(refusals("0.0.9", "1.36", Some(36)), Vec::<String>::new());
        assert_eq!(
            refusals("99.0.0", "1.37", Some(36)),
            [
                format!("it wants basalt-agent 99.0.0; this is {AGENT}"),
                "it wants Kubernetes 1.37; the API server has 1.36".to_owned(),
            ]
        );
    }

    #[test]
    fn shares() {
        let old: Vec<Object> = (0..12).map(|n| object("ConfigMap", &n.to_string(), 0)).collect();
        let mut inventory = Inventory::default();
        inventory.entries = inventory.joined(&old);
        for entry in &mut inventory.entries {
            entry.uid = Some("u".to_owned());
        }
        assert_eq!(share(&inventory, &old[3..], 25), None);
        let refusal = share(&inventory, &old[4..], 25).unwrap();
        assert_eq!(refusal.to_string(), "it would prune 4 of 12 objects, more than 25 %");
        inventory.entries[0].is_kept = true;
        assert_eq!(share(&inventory, &old[4..], 25), None, "what stays does not count");
        assert_eq!(share(&Inventory::default(), &[], 0), None);
    }

    fn definition(versions: &[(&str, bool)]) -> Object {
        let mut object = object("CustomResourceDefinition", "greetings.hello.example", 0);
        object.key.group = "apiextensions.k8s.io".to_owned();
        let one = |(name, storage): &(&str, bool)| json!({"name": name, "storage": storage});
        object.body = json!({"spec": {"versions": versions.iter().map(one).collect::<Vec<_>>()}});
        object
    }

    #[test]
    fn stored_versions_stay() {
        let mut live = definition(&[("v1", true)]).body;
        live["status"] = json!({"storedVersions": ["v1alpha1", "v1"]});
        let refusal = lost_versions(&definition(&[("v1", true), ("v2", false)]), &live).unwrap();
        assert!(refusal.to_string().contains("would lose v1alpha1,"), "{refusal}");
        let kept = definition(&[("v1", false), ("v2", true), ("v1alpha1", false)]);
        assert_eq!(lost_versions(&kept, &live), None);
        let live = BTreeMap::from([(kept.key.clone(), live)]);
        assert!(is_one_way(&[kept], &live));
        assert!(!is_one_way(&[definition(&[("v1", true)])], &live));
        assert!(!is_one_way(&[definition(&[("v1", true)])], &BTreeMap::new()));
    }

    #[test]
    fn other_sets() {
        let one = object("ConfigMap", "a", 0);
        let live = |set: &str| json!({"metadata": {"labels": {PART_OF: set}}});
        assert_eq!(foreign_set(&one.key, &json!({})), None);
        assert_eq!(foreign_set(&one.key, &live(&apply_set())), None);
        assert!(foreign_set(&one.key, &live("applyset-other-v1")).is_some());
    }

    #[test]
    fn doubles() {
        let list = [object("A", "a", 0), object("B", "a", 0), object("A", "a", 1)];
        assert_eq!(twice(&list).len(), 1);
    }
}
