//! What kinds are called in the paths of the API, which is how rights name them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bundle::kinds;

/// A kind as rights name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// The API group; empty for the core one.
    pub(super) group: String,
    /// `networkpolicies`
    pub(super) plural: String,
    pub(super) is_namespaced: bool,
    /// Agents never delete it: with it goes what people keep in it.
    pub(super) holds_data: bool,
}

/// Kinds that hold what people keep, and are never pruned.
const HOLD_DATA: [(&str, &str); 4] = [
    ("", "Namespace"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
];

/// The kinds that objects define, by group and kind.
pub(super) struct Resources(BTreeMap<(String, String), Resource>);

impl Resources {
    pub(super) fn of(objects: &[Value]) -> Resources {
        let definitions =
            objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition");
        let defined = definitions.filter_map(|definition| {
            let spec = &definition["spec"];
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let (group, kind) = (text(&spec["group"])?, text(&spec["names"]["kind"])?);
            let resource = Resource {
                group: group.clone(),
                plural: text(&spec["names"]["plural"])?,
                is_namespaced: spec["scope"] == "Namespaced",
                holds_data: false,
            };
            Some(((group, kind), resource))
        });
        Resources(defined.collect())
    }

    /// A kind, when it is Kubernetes' own or defined.
    pub(super) fn find(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if let Some(known) = kinds::find(api_version, kind) {
            return Some(Resource {
                group: group.to_owned(),
                plural: plural(kind),
                is_namespaced: known.is_namespaced,
                holds_data: HOLD_DATA.contains(&(group, kind)),
            });
        }
        self.0.get(&(group.to_owned(), kind.to_owned())).cloned()
    }
}

/// The plural of a kind of Kubernetes' own. They follow the rule, but for one.
fn plural(kind: &str) -> String {
    let word = kind.to_ascii_lowercase();
    let ends_with = |ends: &[&str]| ends.iter().any(|end| word.ends_with(end));
    if word == "endpoints" {
        return word;
    }
    if ends_with(&["s", "x", "ch", "sh"]) {
        return format!("{word}es");
    }
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals() {
        for (kind, expected) in [
            ("Deployment", "deployments"),
            ("Endpoints", "endpoints"),
            ("EndpointSlice", "endpointslices"),
            ("IPAddress", "ipaddresses"),
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
            ("CSIStorageCapacity", "csistoragecapacities"),
            ("FlowSchema", "flowschemas"),
            ("StorageClass", "storageclasses"),
            ("APIService", "apiservices"),
        ] {
            assert_eq!(plural(kind), expected);
        }
    }
}
