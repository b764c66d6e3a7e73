//! What is left for others: `/run/basalt/images.json`, as of the last look.

use std::io;

use serde::{Deserialize, Serialize};

use super::bill::Baked;
use crate::host::files::{Attributes, replace};
use crate::host::service::unix_seconds;
use crate::host::{Host, look};

/// Where it is.
pub(super) const PATH: &str = "/run/basalt/images.json";

/// The `schema` value of this build.
const SCHEMA: u32 = 1;

/// The document at [`PATH`], which `basalt-agent images import --output json` prints as well. Fields may be added without a
/// new schema number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    schema: u32,
    /// When it was looked, in seconds since the Unix epoch.
    pub(crate) looked_unix_seconds: u64,
    /// One row for each image that is to be on the node.
    pub(crate) images: Vec<Row>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name without digest.
    pub(crate) name: String,
    /// Its digest, where one is wanted.
    pub(crate) digest: Option<String>,
    /// How it went.
    #[serde(flatten)]
    pub(crate) state: RowState,
}

/// How it went with one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum RowState {
    /// It was there.
    Present,
    /// It was missing, and is there now.
    Imported,
    /// It is missing.
    Failed {
        /// Why.
        reason: String,
        /// What a person can do about it.
        hint: String,
    },
}

impl Report {
    pub(super) fn new(images: Vec<Row>) -> Report {
        Report { schema: SCHEMA, looked_unix_seconds: unix_seconds(), images }
    }

    /// Whether an image is missing.
    pub(crate) fn has_failures(&self) -> bool {
        self.images.iter().any(|row| matches!(row.state, RowState::Failed { .. }))
    }

    pub(super) fn publish(&self, host: &Host) -> io::Result<()> {
        let text = serde_json::to_string(self).expect("a report has string keys only");
        let attributes = Attributes { mode: 0o644, owner: host.owner, label: None };
        replace(&host.path(PATH), text.as_bytes(), attributes)
    }

    /// The report of the last look in this boot.
    pub(super) fn read(host: &Host) -> Option<Report> {
        let bytes = look::read(&host.path(PATH)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|report: &Report| report.schema == SCHEMA)
    }
}

impl Row {
    pub(super) fn of(image: &Baked, state: RowState) -> Row {
        let name = image.reference.name().to_owned();
        Row { name, digest: Some(image.reference.digest().to_owned()), state }
    }
}
