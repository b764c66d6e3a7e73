//! The inventory: what was applied, and what is being applied, as every agent and a person find it in the cluster.
//!
//! It is a ConfigMap, and the parent of an ApplySet (KEP-3659): each object carries its label, so that `kubectl` finds
//! them too. It is written before the first object of a bundle: whatever happens later, nothing is forgotten.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::object::{Key, Object};
use crate::host::service::unix_seconds;

/// Where the inventory is.
pub(crate) const NAMESPACE: &str = "kube-system";
/// Its name.
pub(crate) const NAME: &str = "basalt-bundle";
/// The label by which an object belongs to an ApplySet.
pub(crate) const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The annotation by which every agent pauses; until when, RFC 3339, or [`FOREVER`].
pub(crate) const PAUSED: &str = "bundle.basalt/paused-until";
/// Until somebody resumes.
pub(crate) const FOREVER: &str = "resumed";
/// The annotation that takes a bundle back from the manager that it was handed to.
pub(crate) const ADOPT_BACK: &str = "bundle.basalt/adopt-back";

/// The key of the ConfigMap's data.
const DATA: &str = "inventory.json";
/// The version of the document.
const SCHEMA: u32 = 1;
/// A ConfigMap holds 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// One bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) generation: u64,
    /// `registry/name@sha256:…`
    pub(crate) reference: String,
}

impl std::fmt::Display for Release {
    /// `4 (sha256:0123456789ab)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = self.digest();
        let short = digest.get(.."sha256:".len() + 12).unwrap_or(digest);
        write!(f, "{} ({short})", self.generation)
    }
}

impl Release {
    /// `sha256:…`
    pub(crate) fn digest(&self) -> &str {
        self.reference.rsplit('@').next().unwrap_or_default()
    }
}

/// A bundle that is being applied, and is not committed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) release: Release,
    /// When its first object was about to be applied, in seconds since the Unix epoch.
    pub(crate) began: u64,
    /// The last committed one comes back.
    #[serde(default)]
    pub(crate) is_return: bool,
    /// It changes which versions of a kind of its own are stored: there is no way back.
    #[serde(default)]
    pub(crate) is_one_way: bool,
}

impl Trial {
    /// One that begins now.
    pub(crate) fn of(release: &Release) -> Trial {
        Trial {
            release: release.clone(),
            began: unix_seconds(),
            is_return: false,
            is_one_way: false,
        }
    }
}

/// A bundle that did not become healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) release: Release,
    pub(crate) reason: String,
}

/// One object that was applied, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) key: Key,
    /// The version of its kind that it was applied in.
    pub(crate) version: String,
    /// Absent until it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    pub(crate) wave: usize,
    /// Digest of what was sent; absent until it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<String>,
    /// Digest of the fields that we owned then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owned: Option<String>,
    /// It is never pruned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_kept: bool,
}

/// A field that somebody else keeps taking: it is theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Contested {
    pub(crate) key: Key,
    /// `.spec.replicas`
    pub(crate) field: String,
    pub(crate) manager: String,
}

/// Everything that agents keep in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    pub(crate) schema: u32,
    /// Who wrote it last.
    pub(crate) holder: String,
    /// Counts up when another holder begins to write.
    pub(crate) epoch: u64,
    pub(crate) committed: Option<Release>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<Trial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<Rejected>,
    /// The manager that has everything now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handed_to: Option<String>,
    pub(crate) entries: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) contested: Vec<Contested>,
}

/// The inventory as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) inventory: Inventory,
    pub(crate) resource_version: String,
    /// Until when every agent is to do nothing.
    pub(crate) paused: Option<String>,
    /// A person wants it back from the manager it was handed to.
    pub(crate) is_wanted_back: bool,
}

/// A ConfigMap that is no inventory of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    #[error("the ConfigMap {NAMESPACE}/{NAME} holds no inventory")]
    Unreadable(#[source] serde_json::Error),
    #[error("the ConfigMap {NAMESPACE}/{NAME} is of another program or a later version")]
    Foreign,
    #[error("an inventory of {objects} objects has {bytes} bytes, more than a ConfigMap holds")]
    TooLarge { objects: usize, bytes: usize },
}

/// The id of the ApplySet, made from what names its parent.
pub(crate) fn apply_set() -> String {
    let digest = Sha256::digest(format!("{NAME}.{NAMESPACE}.ConfigMap."));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(digest))
}

impl Inventory {
    /// What `entries` become when `objects` are about to be applied: old ∪ new. What is known of an object stays.
    pub(crate) fn joined(&self, objects: &[Object]) -> Vec<Entry> {
        let mut entries = self.entries.clone();
        for object in objects {
            let is_kept = object.never_prune || object.key.holds_data();
            match entries.iter_mut().find(|entry| entry.key == object.key) {
                Some(entry) => {
                    entry.version.clone_from(&object.version);
                    entry.wave = object.wave;
                    entry.is_kept = is_kept;
                }
                None => entries.push(Entry {
                    key: object.key.clone(),
                    version: object.version.clone(),
                    uid: None,
                    wave: object.wave,
                    hash: None,
                    owned: None,
                    is_kept,
                }),
            }
        }
        entries.sort_by(|a, b| (a.wave, &a.key).cmp(&(b.wave, &b.key)));
        entries
    }

    /// The entries that `objects` no longer have, in the order in which they are pruned: last waves first.
    pub(crate) fn leaving(&self, objects: &[Object]) -> Vec<&Entry> {
        let stay: BTreeSet<&Key> = objects.iter().map(|object| &object.key).collect();
        self.entries.iter().rev().filter(|entry| !stay.contains(&entry.key)).collect()
    }

    pub(crate) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == *key)
    }

    pub(crate) fn entry_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == *key)
    }

    /// The ConfigMap. With a `resource_version` it replaces exactly that one.
    ///
    /// # Errors
    /// When it would be too large.
    pub(crate) fn document(&self, before: Option<&Stored>) -> Result<Value, InventoryError> {
        let inventory = Inventory { schema: SCHEMA, ..self.clone() };
        let text = serde_json::to_string(&inventory).expect("an inventory has text keys only");
        if text.len() > MAX_BYTES {
            let (objects, bytes) = (self.entries.len(), text.len());
            return Err(InventoryError::TooLarge { objects, bytes });
        }
        let kind = |entry: &Entry| match entry.key.group.as_str() {
            "" => entry.key.kind.clone(),
            group => format!("{}.{group}", entry.key.kind),
        };
        let kinds: BTreeSet<String> = self.entries.iter().map(kind).collect();
        let namespaces: BTreeSet<&str> = self
            .entries
            .iter()
            .filter_map(|entry| entry.key.namespace.as_deref())
            .filter(|namespace| *namespace != NAMESPACE)
            .collect();
        let join = |names: Vec<&str>| names.join(",");
        let mut annotations = json!({
            "applyset.kubernetes.io/tooling": concat!("basalt-agent/", env!("CARGO_PKG_VERSION")),
            "applyset.kubernetes.io/contains-group-kinds":
                join(kinds.iter().map(String::as_str).collect()),
            "applyset.kubernetes.io/additional-namespaces": join(namespaces.into_iter().collect()),
        });
        if let Some(until) = before.and_then(|before| before.paused.as_ref()) {
            annotations[PAUSED] = json!(until);
        }
        let mut metadata = json!({
            "namespace": NAMESPACE,
            "name": NAME,
            "labels": {"applyset.kubernetes.io/id": apply_set()},
            "annotations": annotations,
        });
        if let Some(before) = before {
            metadata["resourceVersion"] = json!(before.resource_version);
        }
        Ok(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {DATA: text},
        }))
    }
}

impl Stored {
    /// Reads the ConfigMap.
    ///
    /// # Errors
    /// When it is not one that an agent of this version writes.
    pub(crate) fn of(config_map: &Value) -> Result<Stored, InventoryError> {
        let label = config_map.pointer("/metadata/labels/applyset.kubernetes.io~1id");
        if label.and_then(Value::as_str) != Some(apply_set().as_str()) {
            return Err(InventoryError::Foreign);
        }
        let text = config_map["data"][DATA].as_str().unwrap_or_default();
        let inventory: Inventory =
            serde_json::from_str(text).map_err(InventoryError::Unreadable)?;
        if inventory.schema != SCHEMA {
            return Err(InventoryError::Foreign);
        }
        let annotation =
            |name: &str| config_map["metadata"]["annotations"][name].as_str().map(str::to_owned);
        let resource_version = config_map["metadata"]["resourceVersion"].as_str();
        Ok(Stored {
            inventory,
            resource_version: resource_version.unwrap_or_default().to_owned(),
            paused: annotation(PAUSED),
            is_wanted_back: annotation(ADOPT_BACK).is_some(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn object(kind: &str, name: &str, wave: usize) -> Object {
        let key = Key {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: Some("hello".to_owned()),
            name: name.to_owned(),
        };
        let body = json!({"kind": kind, "metadata": {"name": name}});
        Object {
            hash: super::super::object::hash(&body),
            key,
            version: "v1".to_owned(),
            wave,
            body,
            create_only: false,
            never_prune: false,
            ready_by: None,
        }
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.key.name.as_str()).collect()
    }

    #[test]
    fn old_and_new_are_joined() {
        let old = [object("ConfigMap", "a", 0), object("ConfigMap", "b", 1)];
        let mut inventory = Inventory::default();
        inventory.entries = inventory.joined(&old);
        inventory.entries[0].uid = Some("u".to_owned());
        let new = [object("ConfigMap", "a", 2), object("ConfigMap", "c", 1)];
        inventory.entries = inventory.joined(&new);
        assert_eq!(names(&inventory.entries), ["b", "c", "a"]);
        assert_eq!(inventory.entries[2].uid.as_deref(), Some("u"), "what is known stays");
        let leaving: Vec<&str> =
            inventory.leaving(&new).iter().map(|entry| entry.key.name.as_str()).collect();
        assert_eq!(leaving, ["b"]);
    }

    #[test]
    fn what_leaves_goes_in_reverse_order() {
        let old = [object("A", "1", 0), object("B", "2", 1), object("C", "3", 1)];
        let mut inventory = Inventory::default();
        inventory.entries = inventory.joined(&old);
        let leaving: Vec<&str> =
            inventory.leaving(&[]).iter().map(|entry| entry.key.name.as_str()).collect();
        assert_eq!(leaving, ["3", "2", "1"]);
    }

    #[test]
    fn is_read_as_written() {
        let mut inventory = Inventory { holder: "n1".to_owned(), epoch: 3, ..Inventory::default() };
        inventory.schema = SCHEMA;
        inventory.entries = inventory.joined(&[object("ConfigMap", "a", 0)]);
        let mut document = inventory.document(None).unwrap();
        document["metadata"]["resourceVersion"] = json!("9");
        document["metadata"]["annotations"][PAUSED] = json!(FOREVER);
        let stored = Stored::of(&document).unwrap();
        assert_eq!(stored.inventory, inventory);
        assert_eq!(stored.resource_version, "9");
        let again = inventory.document(Some(&stored)).unwrap();
        assert_eq!(again["metadata"]["annotations"][PAUSED], FOREVER, "who writes keeps the pause");
        assert_eq!(again["metadata"]["resourceVersion"], "9");
        assert_eq!(
            again["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"],
            "ConfigMap"
        );
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let mut document = Inventory::default().document(None).unwrap();
        document["metadata"]["labels"] = json!({});
        assert!(matches!(Stored::of(&document), Err(InventoryError::Foreign)));
        let mut document = Inventory::default().document(None).unwrap();
        document["data"] = json!({});
        assert!(matches!(Stored::of(&document), Err(InventoryError::Unreadable(_))));
        let many: Vec<Object> =
            (0..12_000).map(|n| object("ConfigMap", &format!("{n}"), 0)).collect();
        let mut inventory = Inventory::default();
        inventory.entries = inventory.joined(&many[..3000]);
        assert!(inventory.document(None).is_ok());
        inventory.entries = many
            .iter()
            .flat_map(|it| Inventory::default().joined(std::slice::from_ref(it)))
            .collect();
        assert!(matches!(inventory.document(None), Err(InventoryError::TooLarge { .. })));
    }
}
