//! The index of a bundle: what an applier has to know besides the objects.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the index that is written and read.
pub const SCHEMA: u32 = 1;

/// The index. Unknown fields are refused: a field that an applier does not know may be the one that keeps it from
/// pruning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The version of this document, [`SCHEMA`].
    pub schema: u32,
    /// Grows with every bundle of a cluster; at least 1.
    pub generation: u64,
    /// The oldest agent that may apply it, `0.1.0`.
    pub least_agent: String,
    /// The oldest Kubernetes that serves all of it, `1.33`.
    pub least_kubernetes: String,
    /// The waves, in order.
    pub waves: Vec<Wave>,
    /// Objects whose readiness is a condition of their own.
    pub readiness: Vec<ReadinessOverride>,
    /// Objects that are created where they are missing, and then left to whoever changes them.
    pub create_only: Vec<ObjectRef>,
    /// Objects that stay when a later bundle no longer has them.
    pub never_prune: Vec<ObjectRef>,
    /// Every image that the bundle runs, `NAME@sha256:…`, sorted.
    pub images: Vec<String>,
}

/// One wave: objects that are applied together, before those of the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// The name of its folder, `10-rbac`.
    pub name: String,
    /// How many files it has.
    pub files: usize,
    /// How many objects are in them.
    pub objects: usize,
}

/// An object that is ready when this condition has this status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadinessOverride {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `None` for cluster-scoped objects, and where the namespace does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `None` for every object of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The type of the condition, `Ready`.
    pub condition: String,
    /// Its status, `True`.
    pub status: String,
}

/// One object by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `None` for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    /// `apps/v1 Deployment hello/operator`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.api_version, self.kind)?;
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A value that an index cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is `{value}`, which is not {wanted}")]
pub struct IndexError {
    /// Which field.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it has to be, with its article.
    pub wanted: &'static str,
}

impl Index {
    /// Looks at what the types leave open.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn check(&self) -> Result<(), IndexError> {
        let check = |field, value: &dyn fmt::Display, wanted, is_good| match is_good {
            true => Ok(()),
            false => Err(IndexError { field, value: value.to_string(), wanted }),
        };
        check("schema", &self.schema, "the one known version, 1", self.schema == SCHEMA)?;
        check("generation", &self.generation, "a number from 1 on", self.generation > 0)?;
        let agent = version(&self.least_agent);
        let wanted = "a version like `0.1.0`";
        check("least_agent", &self.least_agent, wanted, agent.is_some_and(|v| v.len() == 3))?;
        let kubernetes = version(&self.least_kubernetes);
        let wanted = "a minor version like `1.33`";
        let is_minor = kubernetes.is_some_and(|v| v.len() == 2);
        check("least_kubernetes", &self.least_kubernetes, wanted, is_minor)?;
        for wave in &self.waves {
            let wanted = "two digits, `-` and a name in lower case, like `10-rbac`";
            check("waves[].name", &wave.name, wanted, is_wave_name(&wave.name))?;
        }
        let names: Vec<&str> = self.waves.iter().map(|wave| wave.name.as_str()).collect();
        let is_sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
        check("waves", &names.join(", "), "a list of different names in order", is_sorted)?;
        for image in &self.images {
            let wanted = "an image by digest, `NAME@sha256:…`";
            check("images[]", image, wanted, is_pinned(image))?;
        }
        Ok(())
    }
}

/// The numbers of a dotted version.
pub fn version(text: &str) -> Option<Vec<u32>> {
    let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => part.parse().ok(),
        false => None,
    };
    text.split('.').map(number).collect()
}

/// Whether a folder may be a wave: `10-rbac`.
pub fn is_wave_name(name: &str) -> bool {
    let Some((number, rest)) = name.split_once('-') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !rest.is_empty()
        && rest.len() <= 60
        && rest.bytes().all(is_plain)
        && !rest.starts_with('-')
        && !rest.ends_with('-')
}

/// Whether an image is named by digest.
pub fn is_pinned(image: &str) -> bool {
    image.rsplit_once('@').is_some_and(|(name, digest)| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
        let is_digest = digest.parse::<crate::io::digest::Digest>().is_ok();
        !name.is_empty() && name.bytes().all(is_plain) && is_digest
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An index with one wave of one object.
    pub(crate) fn index() -> Index {
        Index {
            schema: SCHEMA,
            generation: 3,
            least_agent: "0.1.0".into(),
            least_kubernetes: "1.33".into(),
            waves: vec![Wave { name: "00-crds".into(), files: 1, objects: 1 }],
            readiness: Vec::new(),
            create_only: Vec::new(),
            never_prune: Vec::new(),
            images: Vec::new(),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Index), expected: &str) {
        let mut index = index();
        change(&mut index);
        let found = index.check().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(found, expected);
    }

    #[test]
    fn values() {
        check(|_| {}, "");
        check(|index| index.schema = 2, "`schema` is `2`, which is not the one known version, 1");
        check(|index| index.generation = 0, "`generation` is `0`, which is not a number from 1 on");
        let wanted = "`least_agent` is `1`, which is not a version like `0.1.0`";
        check(|index| index.least_agent = "1".into(), wanted);
        let wanted = "`least_kubernetes` is `+1.33`, which is not a minor version like `1.33`";
        check(|index| index.least_kubernetes = "+1.33".into(), wanted);
        let twice = |index: &mut Index| index.waves.push(index.waves[0].clone());
        let wanted =
            "`waves` is `00-crds, 00-crds`, which is not a list of different names in order";
        check(twice, wanted);
        let image = |index: &mut Index| index.images.push("registry.example/a:1".into());
        let wanted = "`images[]` is `registry.example/a:1`, which is not an image by digest, \
                      `NAME@sha256:…`";
        check(image, wanted);
    }

    #[test]
    fn wave_names() {
        for good in ["00-crds", "99-a", "10-a-b2"] {
            assert!(is_wave_name(good), "{good}");
        }
        for bad in ["", "00", "00-", "0-a", "000-a", "a0-a", "00-A", "00--a", "00-a-", "00-a/b"] {
            assert!(!is_wave_name(bad), "{bad}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let mut value = serde_json::to_value(index()).unwrap();
        value["future"] = serde_json::json!(1);
        assert!(serde_json::from_value::<Index>(value).is_err());
    }
}
