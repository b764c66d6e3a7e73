//! What there is to change: wanted beside found.

use serde_json::{Map, Value as Json};

use super::object::{Entry, Mount, MountKind, Mounts, Object, Policy, Root, prefix};
use super::seen::Found;
use super::wanted::owner;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Mount an engine.
    Enable(Mount),
    /// Let a mount give longer leases.
    Lengthen { mount: Mount, from: u64, to: u64 },
    /// Make a root certificate, if that is asked for.
    MakeRoot(Root),
    /// Write settings.
    Write { entry: Entry, is_new: bool, fields: Vec<FieldChange> },
    /// Write a policy.
    SetPolicy { policy: Policy, old: Option<String> },
}

/// One field of settings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldChange {
    pub(super) name: String,
    /// Absent when there was nothing.
    pub(super) from: Option<Json>,
    pub(super) to: Json,
}

/// What belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    #[error(
        "`{path}` is a mount of the type `{found}`, and the cluster needs `{wanted}` there; choose another path"
    )]
    Engine { path: String, found: String, wanted: String },
    #[error(
        "`{path}` is a `kv` mount of version {found}, and the cluster needs version 2; choose another path"
    )]
    Version { path: String, found: String },
    #[error(
        "`{inner}` cannot be mounted: `{outer}` is there already, and Vault has no mount inside a mount"
    )]
    Nested { inner: String, outer: String },
    #[error(
        "the policy `{policy}` is that of the cluster `{cluster}`; give this one names of its own (`vault.auth.node.prefix`). If it was renamed, delete its old policies first"
    )]
    Owned { policy: String, cluster: String },
}

impl Change {
    /// What has to be made before this change can be.
    pub(super) fn waits_for(&self) -> &[String] {
        match self {
            Change::Write { entry, .. } => &entry.waits_for,
            Change::SetPolicy { policy, .. } => &policy.waits_for,
            Change::Enable(_) | Change::Lengthen { .. } | Change::MakeRoot(_) => &[],
        }
    }
}

/// Decides what to change, in the order of `objects`; conflicts are found all at once.
pub(super) fn changes(
    objects: &[Object],
    mounts: &Mounts,
    found: &Found,
) -> Result<Vec<Change>, Vec<Conflict>> {
    let mut changes = Vec::new();
    let mut conflicts = Vec::new();
    for object in objects {
        match object {
            Object::Mount(mount) => match mount_change(mount, mounts) {
                Ok(change) => changes.extend(change),
                Err(conflict) => conflicts.push(conflict),
            },
            Object::Root(root) => {
                let issuers = mounts.issuers.get(&root.mount);
                if issuers.is_none_or(Vec::is_empty) {
                    changes.push(Change::MakeRoot(root.clone()));
                }
            }
            Object::Entry(entry) => {
                changes.extend(entry_change(entry, found.entries.get(&entry.path)))
            }
            Object::Policy(policy) => {
                let old = found.policies.get(&policy.name);
                let other =
                    old.and_then(|old| owner(old)).filter(|of| Some(*of) != owner(&policy.text));
                if let Some(cluster) = other {
                    let (policy, cluster) = (policy.name.clone(), cluster.to_owned());
                    conflicts.push(Conflict::Owned { policy, cluster });
                } else if old.is_none_or(|old| old.trim() != policy.text.trim()) {
                    changes.push(Change::SetPolicy { policy: policy.clone(), old: old.cloned() });
                }
            }
        }
    }
    if conflicts.is_empty() { Ok(changes) } else { Err(conflicts) }
}

fn mount_change(wanted: &Mount, mounts: &Mounts) -> Result<Option<Change>, Conflict> {
    let path = format!("{}{}", wanted.prefix(), wanted.path);
    let all = mounts.of(wanted.kind);
    let Some(seen) = all.get(&wanted.path) else {
        let inside = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
        };
        let kind = prefix(wanted.kind);
        return match all
            .keys()
            .find(|there| inside(&wanted.path, there) || inside(there, &wanted.path))
        {
            Some(there) => Err(Conflict::Nested { inner: path, outer: format!("{kind}{there}") }),
            None => Ok(Some(Change::Enable(wanted.clone()))),
        };
    };
    if seen.engine != wanted.engine {
        let (found, wanted) = (seen.engine.clone(), wanted.engine.to_owned());
        return Err(Conflict::Engine { path, found, wanted });
    }
    if wanted.version.is_some() && seen.version.as_deref() != wanted.version {
        let found = seen.version.clone().unwrap_or_else(|| "1".to_owned());
        return Err(Conflict::Version { path, found });
    }
    let longer = wanted.min_max_lease_ttl.filter(|to| *to > seen.max_lease_ttl);
    Ok(longer.map(|to| Change::Lengthen { mount: wanted.clone(), from: seen.max_lease_ttl, to }))
}

fn entry_change(entry: &Entry, found: Option<&Map<String, Json>>) -> Option<Change> {
    let Some(found) = found else {
        let fields = entry.fields.iter().map(|(name, to)| FieldChange {
            name: name.clone(),
            from: None,
            to: to.clone(),
        });
        let fields = fields.collect();
        return Some(Change::Write { entry: entry.clone(), is_new: true, fields });
    };
    let differing = entry.fields.iter().filter(|(name, to)| match found.get(*name) {
        Some(from) => !is_same(from, to),
        // A server that knows the field shows it.
        None => !entry.optional.contains(&name.as_str()) && !is_same(&Json::Null, to),
    });
    let fields: Vec<FieldChange> = differing
        .map(|(name, to)| FieldChange {
            name: name.clone(),
            from: found.get(name).cloned(),
            to: to.clone(),
        })
        .collect();
    if fields.is_empty() {
        return None;
    }
    let mut entry = entry.clone();
    // A PKI role is written as a whole: what is left out falls back to its default, and nobody was shown that.
    if entry.mount.0 == MountKind::Secrets {
        let others = found.iter().filter(|(_, value)| !value.is_null());
        for (name, value) in others {
            entry.fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    Some(Change::Write { entry, is_new: false, fields })
}

/// Whether Vault shows `found` for what was written as `wanted`: it has lists as texts and texts as lists, leaves out
/// what is empty, and keeps no order.
fn is_same(found: &Json, wanted: &Json) -> bool {
    match wanted {
        Json::Array(wanted) => words(found) == words(&Json::Array(wanted.clone())),
        Json::String(wanted) => found.as_str().unwrap_or_default().trim() == wanted.trim(),
        Json::Number(wanted) => {
            let number = found.as_u64().or_else(|| found.as_str()?.parse().ok());
            number.unwrap_or_default() == wanted.as_u64().unwrap_or_default()
        }
        Json::Bool(wanted) => found.as_bool().unwrap_or_default() == *wanted,
        Json::Null | Json::Object(_) => found == wanted,
    }
}

fn words(list: &Json) -> Vec<&str> {
    let mut words: Vec<&str> = match list {
        Json::Array(items) => items.iter().filter_map(Json::as_str).collect(),
        Json::String(text) => text.split(',').map(str::trim).collect(),
        _ => Vec::new(),
    };
    words.retain(|word| !word.is_empty());
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(found: Json, wanted: Json, expected: bool) {
        assert_eq!(is_same(&found, &wanted), expected, "{found} {wanted}");
    }

    #[test]
    fn what_vault_shows_is_held_against_what_was_written() {
        check(json!(null), json!([]), true);
        check(json!("a, b"), json!(["b", "a"]), true);
        check(json!(["b", "a"]), json!(["a", "b"]), true);
        check(json!(["a"]), json!(["a", "b"]), false);
        check(json!([""]), json!([]), true);
        check(json!(3600), json!(3600), true);
        check(json!("3600"), json!(3600), true);
        check(json!(3601), json!(3600), false);
        check(json!("text\n"), json!("text"), true);
        check(json!(true), json!(false), false);
        check(json!(null), json!(false), true);
    }

    #[test]
    fn what_is_not_shown_stays_as_it_is() {
        let of = |kind| {
            let fields = json!({"max_ttl": 60}).as_object().unwrap().clone();
            let entry = Entry {
                path: "p".to_owned(),
                mount: (kind, "m".to_owned()),
                fields,
                optional: &[],
                waits_for: Vec::new(),
            };
            let found = json!({"max_ttl": 0, "no_store": true, "x": null});
            match entry_change(&entry, found.as_object()) {
                Some(Change::Write { entry, fields, .. }) => {
                    assert_eq!(fields.len(), 1);
                    Json::Object(entry.fields)
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(MountKind::Secrets), json!({"max_ttl": 60, "no_store": true}));
        assert_eq!(of(MountKind::Auth), json!({"max_ttl": 60}));
    }

    fn mount(path: &str, engine: &'static str) -> Mount {
        Mount {
            kind: super::super::object::MountKind::Secrets,
            path: path.to_owned(),
            engine,
            version: (engine == "kv").then_some("2"),
            min_max_lease_ttl: (engine == "pki").then_some(100),
        }
    }

    #[test]
    fn mounts_of_others_are_not_touched() {
        let seen =
            |engine: &str, version: Option<&str>, max_lease_ttl| super::super::object::MountSeen {
                engine: engine.to_owned(),
                accessor: "a".to_owned(),
                version: version.map(str::to_owned),
                max_lease_ttl,
            };
        let mut mounts = Mounts::default();
        for (path, mount) in [
            ("pki", seen("pki", None, 50)),
            ("old", seen("kv", Some("1"), 0)),
            ("ssh", seen("ssh", None, 0)),
            ("deep/inside", seen("kv", Some("2"), 0)),
        ] {
            mounts.secrets.insert(path.to_owned(), mount);
        }
        let of = |path: &str, engine| mount_change(&mount(path, engine), &mounts);
        assert!(matches!(of("pki", "pki"), Ok(Some(Change::Lengthen { from: 50, to: 100, .. }))));
        assert!(matches!(of("new", "kv"), Ok(Some(Change::Enable(_)))));
        assert_eq!(of("deep/inside", "kv"), Ok(None));
        for (path, engine, expected) in [
            (
                "ssh",
                "pki",
                "`ssh` is a mount of the type `ssh`, and the cluster needs `pki` there; choose another path",
            ),
            (
                "old",
                "kv",
                "`old` is a `kv` mount of version 1, and the cluster needs version 2; choose another path",
            ),
            (
                "pki/lab",
                "pki",
                "`pki/lab` cannot be mounted: `pki` is there already, and Vault has no mount inside a mount",
            ),
            (
                "deep",
                "kv",
                "`deep` cannot be mounted: `deep/inside` is there already, and Vault has no mount inside a mount",
            ),
        ] {
            assert_eq!(of(path, engine).unwrap_err().to_string(), expected);
        }
    }
}
