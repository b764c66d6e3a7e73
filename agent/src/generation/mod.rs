//! Generations of the pod set: a set is tried, proven by probes, and committed, or the last committed one returns.
//!
//! A pod set is everything one `node.json` makes of the static pods: manifests, their config files, and `node.json`
//! itself. What counts is its content: the same `node.json`, rendered otherwise by another agent, is another set.
//!
//! Reading order: [`record`] (what has to be remembered), [`decide`] (what to do next), [`choose`] (what the node is
//! therefore to be). All pure; the sets
//! themselves are kept by [`crate::host::generations`], and what is known about their health comes from
//! [`crate::probe`].

pub(crate) mod choose;
pub(crate) mod decide;
#[cfg(test)]
mod interrupted;
pub(crate) mod pins;
pub(crate) mod record;
pub(crate) mod report;

use std::fmt;

use basalt_static_pods::StaticPod;
use serde::{Deserialize, Serialize};

use crate::host::look::sha256;

/// So many hex digits of a digest are part of a set's name; enough to tell any sets apart that one node ever sees.
const NAME_DIGITS: usize = 16;

/// Which pod set: the generation of its `node.json`, and the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodSetId {
    pub(crate) generation: u64,
    /// SHA-256 of everything in it, in lower-case hex.
    pub(crate) digest: String,
}

/// A pod set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSet {
    pub(crate) id: PodSetId,
    /// The text of its `node.json`.
    pub(crate) node: String,
    /// Sorted by name.
    pub(crate) pods: Vec<StaticPod>,
}

impl PodSet {
    pub(crate) fn new(generation: u64, node: String, pods: Vec<StaticPod>) -> PodSet {
        let digest = digest(&node, &pods);
        PodSet { id: PodSetId { generation, digest }, node, pods }
    }
}

impl PodSetId {
    /// The name of the folder that holds the set.
    pub(crate) fn name(&self) -> String {
        let digits = self.digest.len().min(NAME_DIGITS);
        format!("{}-{}", self.generation, &self.digest[..digits])
    }
}

impl fmt::Display for PodSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Whether a folder of this name holds, or held, a set.
pub(crate) fn is_set_name(name: &str) -> bool {
    name.split_once('-').is_some_and(|(generation, digits)| {
        generation.parse::<u64>().is_ok()
            && digits.len() == NAME_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Each text with its length before it, so that no two sets read as the same bytes.
fn digest(node: &str, pods: &[StaticPod]) -> String {
    let mut bytes = Vec::new();
    let mut add = |text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    add(node);
    for pod in pods {
        add(pod.name.as_str());
        add(&pod.manifest);
        add(&pod.files.len().to_string());
        for file in &pod.files {
            add(file.path.as_str());
            add(&format!("{:o}", file.mode));
            add(&file.contents);
        }
    }
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;

    #[test]
    fn the_digest_tells_every_content_apart() {
        let set = |node: &str, pods: Vec<StaticPod>| PodSet::new(4, node.to_owned(), pods).id;
        let sets = [
            set("n", vec![]),
            set("m", vec![]),
            set("n", vec![pod("a", &[])]),
            set("n", vec![pod("a", &[("x", "1")])]),
            set("n", vec![pod("a", &[("x", "2")])]),
            set("n", vec![pod("a", &[("y", "1")])]),
            set("n", vec![pod("a", &[("x", "1")]), pod("b", &[])]),
        ];
        for (index, id) in sets.iter().enumerate() {
            assert!(is_set_name(&id.name()), "{id}");
            assert!(sets[..index].iter().all(|other| other != id), "{index}");
        }
        assert_eq!(set("n", vec![pod("a", &[])]), sets[2], "the same content, the same set");
    }

    #[test]
    fn only_names_of_sets() {
        for name in ["", "4", "4-", "x-0123456789abcdef", "4-0123456789abcdeg", "4-0123"] {
            assert!(!is_set_name(name), "{name}");
        }
    }
}
