//! What the operating system image holds, in its own words: `image.json`, which the build bakes in.

use std::collections::BTreeSet;
use std::io;

use basalt_image::io::digest::Digest;
use basalt_model::names::{ImageReference, Sha256};
use basalt_model::node::{IMAGE_BILL_PATH, PRELOAD_DIRECTORY};
use serde::Deserialize;

use crate::host::{Host, look};

/// The `schema` value this build reads.
const SCHEMA: u32 = 1;

/// A bill that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BillError {
    #[error("cannot read it")]
    Read(#[source] io::Error),
    #[error("it is not a bill")]
    Json(#[source] serde_json::Error),
    #[error("its `schema` is {0}, this agent reads {SCHEMA}")]
    Schema(u32),
}

/// The part of the bill that matters here. It may say more: it is written by the build, for others too.
#[derive(Deserialize)]
struct Bill {
    schema: u32,
    #[serde(default)]
    preload: Vec<Baked>,
}

/// A baked-in image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Baked {
    /// The name pods use.
    pub(super) reference: ImageReference,
    /// Digest of the archive.
    pub(super) sha256: Sha256,
}

impl Baked {
    /// The archive on the node.
    pub(super) fn path(&self) -> String {
        format!("{PRELOAD_DIRECTORY}/{}.tar", self.sha256)
    }

    /// The digest that pods ask for.
    pub(super) fn digest(&self) -> Digest {
        self.reference.digest().parse().expect("a reference ends with a SHA-256 digest")
    }

    /// The names it has in the store. Kubelet and containerd look for `repository@digest` when a pod's reference has a
    /// digest, with a tag or without, and for `repository:tag` otherwise.
    pub(super) fn names(&self) -> Vec<String> {
        let by_digest = format!("{}@{}", self.reference.repository(), self.reference.digest());
        let mut names = vec![by_digest];
        if self.reference.name() != self.reference.repository() {
            names.push(self.reference.name().to_owned());
        }
        names
    }

    /// Whether all its names are among `ready`.
    pub(super) fn is_in(&self, ready: &BTreeSet<String>) -> bool {
        self.names().iter().all(|name| ready.contains(name))
    }
}

/// The baked-in images of the host. A host that is made of no such image has none.
pub(super) fn read(host: &Host) -> Result<Vec<Baked>, BillError> {
    match look::read_behind(&host.real(IMAGE_BILL_PATH)) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(BillError::Read(error)),
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Baked>, BillError> {
    let bill: Bill = serde_json::from_slice(bytes).map_err(BillError::Json)?;
    if bill.schema != SCHEMA {
        return Err(BillError::Schema(bill.schema));
    }
    Ok(bill.preload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_pods_ask_for() {
        let hex = "1".repeat(64);
        let text = format!(
            r#"{{"schema": 1, "cluster": "lab", "files": [], "preload": [
                {{"reference": "r.example:5000/a/b:2@sha256:{hex}", "sha256": "{hex}"}},
                {{"reference": "r.example/c@sha256:{hex}", "sha256": "{hex}"}}]}}"#
        );
        let baked = parse(text.as_bytes()).unwrap();
        let by_digest = format!("r.example:5000/a/b@sha256:{hex}");
        assert_eq!(baked[0].names(), [by_digest.as_str(), "r.example:5000/a/b:2"]);
        assert_eq!(baked[1].names(), [format!("r.example/c@sha256:{hex}")]);
        assert_eq!(baked[0].path(), format!("/usr/share/basalt/images/{hex}.tar"));
        assert!(!baked[0].is_in(&BTreeSet::from([by_digest.clone()])));
        assert!(baked[0].is_in(&BTreeSet::from([by_digest, "r.example:5000/a/b:2".to_owned()])));
    }

    #[test]
    fn what_is_no_bill_is_refused() {
        for (text, expected) in [
            ("", "it is not a bill"),
            (r#"{"schema": 2}"#, "its `schema` is 2, this agent reads 1"),
            (
                r#"{"schema": 1, "preload": [{"reference": "a", "sha256": "b"}]}"#,
                "it is not a bill",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
