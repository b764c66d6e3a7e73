//! The kinds of Kubernetes' API, in the versions that are supported.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The oldest and the newest Kubernetes of the table, as minor versions.
pub(super) const SUPPORTED: (u32, u32) = (33, 36);

const TABLE: &str = include_str!("kinds.txt");

/// A kind in one version of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) is_namespaced: bool,
    /// Not only asked, as a `TokenReview` is.
    pub(super) is_appliable: bool,
    /// The first and the last Kubernetes that have it, as minor versions.
    pub(super) since: u32,
    pub(super) until: u32,
}

static KINDS: LazyLock<BTreeMap<(&str, &str), Kind>> = LazyLock::new(|| {
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(row).collect()
});

fn row(line: &'static str) -> ((&'static str, &'static str), Kind) {
    let cells: Vec<&str> = line.split(' ').collect();
    let [api_version, kind, scope, verb, since, until] = cells[..] else {
        unreachable!("every line of the table has six cells: {line}")
    };
    let minor = |text: &str| {
        let minor = text.strip_prefix("1.").and_then(|minor| minor.parse().ok());
        minor.expect("the table has versions of Kubernetes 1")
    };
    let kind_row = Kind {
        is_namespaced: scope == "namespaced",
        is_appliable: verb == "apply",
        since: minor(since),
        until: minor(until),
    };
    ((api_version, kind), kind_row)
}

/// The kind, when any supported version has it.
pub(super) fn find(api_version: &str, kind: &str) -> Option<Kind> {
    KINDS.get(&(api_version, kind)).copied()
}

/// The API versions that have a kind of this name, for a message.
pub(super) fn versions_of(kind: &str) -> Vec<&'static str> {
    KINDS.keys().filter(|(_, other)| *other == kind).map(|(version, _)| *version).collect()
}

/// Whether API servers have this version only when they are told so.
pub(super) fn is_off_by_default(api_version: &str) -> bool {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    version.contains("alpha") || version.contains("beta")
}

/// Kinds of stable versions that the newest Kubernetes has and that can be applied.
#[cfg(test)]
pub(super) fn appliable_for_good() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = KINDS.iter().filter(|((version, _), kind)| {
        kind.is_appliable && kind.until == SUPPORTED.1 && !is_off_by_default(version)
    });
    rows.map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let deployment = find("apps/v1", "Deployment").unwrap();
        assert!(deployment.is_namespaced && deployment.is_appliable);
        assert_eq!((deployment.since, deployment.until), SUPPORTED);
        assert!(!find("v1", "Namespace").unwrap().is_namespaced);
        assert!(!find("authentication.k8s.io/v1", "TokenReview").unwrap().is_appliable);
        assert_eq!(find("resource.k8s.io/v1", "DeviceClass").unwrap().since, 34);
        assert_eq!(find("extensions/v1beta1", "Deployment"), None);
        assert_eq!(versions_of("Deployment"), ["apps/v1"]);
        for kind in KINDS.values() {
            assert!(SUPPORTED.0 <= kind.since && kind.since <= kind.until, "{kind:?}");
        }
    }
}
