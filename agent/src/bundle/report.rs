//! What the applier says: a file that outlives the API server's bad days, and the agent's own restarts.

use std::io;

use basalt_kstatus::Status;
use serde::{Deserialize, Serialize};

use super::inventory::{Contested, Rejected, Release};
use super::object::Key;
use crate::host::files::{Attributes, replace};
use crate::host::{Host, look};

/// Where the picture is.
pub(crate) const PATH: &str = "/run/basalt/bundle.json";

/// Its version.
pub(crate) const SCHEMA: u32 = 1;

/// Everything that is known about the bundle; `basalt-agent bundle status --output json` prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Picture {
    /// The version of this document.
    pub(crate) schema: u32,
    /// The node that says so.
    pub(crate) node: String,
    /// When the picture was taken, in seconds since the Unix epoch.
    pub(crate) taken: u64,
    /// When the API server answered last, in seconds since the Unix epoch.
    pub(crate) answered: Option<u64>,
    /// Why it does not answer now.
    pub(crate) away: Option<String>,
    /// What a person can do about that, when it is not the server that is away.
    pub(crate) away_hint: Option<String>,
    /// The node that applies.
    pub(crate) holder: Option<String>,
    /// Whether it is this one, by its own reckoning.
    pub(crate) is_holder: bool,
    /// Where things stand.
    pub(crate) state: State,
    /// What that means, in words.
    pub(crate) message: String,
    /// What `node.json` asks for.
    pub(crate) wanted: Option<String>,
    pub(crate) committed: Option<Release>,
    /// From before the first of its objects was applied until all was committed, where this node has seen that.
    pub(crate) took_seconds: Option<u64>,
    /// When everything was last as committed, in seconds since the Unix epoch; at the node that applies.
    pub(crate) succeeded: Option<u64>,
    /// What this node has done since its agent started.
    pub(crate) counts: Counts,
    pub(crate) applying: Option<Release>,
    /// The wave that is waited for.
    pub(crate) wave: Option<String>,
    pub(crate) rejected: Option<Rejected>,
    /// What is in the way, and what to do about it.
    pub(crate) problems: Vec<Problem>,
    pub(crate) contested: Vec<Contested>,
    /// Objects of the bundle in the order in which they are applied; at nodes that do not apply, without status.
    pub(crate) objects: Vec<Row>,
}

/// Objects that were dealt with, each as often as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) applied: u64,
    pub(crate) failed: u64,
    pub(crate) pruned: u64,
}

impl Picture {
    /// Of an earlier agent, of which only the counts are over.
    pub(super) fn without_counts(self) -> Picture {
        Picture { counts: Counts::default(), ..self }
    }
}

/// Where things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// This node applies no bundle.
    #[default]
    None,
    /// Another node applies.
    Standby,
    /// The API server does not answer.
    Away,
    /// A person has stopped everything.
    Paused,
    /// What is wanted cannot be applied; what is committed is kept.
    Refused,
    /// Waves are being applied.
    Applying,
    /// All is applied, and watched for a while before it is committed.
    Settling,
    /// The last committed bundle comes back.
    Returning,
    /// A bundle did not become well, and there is no way back.
    Stalled,
    /// All is as committed.
    Committed,
    /// As committed, but not all is well.
    Degraded,
    /// Another manager has it.
    HandedOver,
}

/// Something in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The object, when it is about one.
    pub(crate) object: Option<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The last event about it.
    pub(crate) event: Option<String>,
    /// The end of its log.
    pub(crate) log: Option<String>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) wave: String,
    /// Absent where it is not looked at.
    pub(crate) status: Option<Status>,
    pub(crate) message: String,
}

/// Leaves the picture for others to read.
pub(crate) fn publish(host: &Host, picture: &Picture) -> std::io::Result<()> {
    let text = serde_json::to_string(picture).expect("a picture has text keys only");
    let attributes = Attributes { mode: 0o644, owner: host.owner, label: None };
    replace(&host.path(PATH), text.as_bytes(), attributes)
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPicture {
    #[error("there is no picture of the bundle yet")]
    Missing,
    #[error("cannot read `{PATH}`")]
    Read(#[source] io::Error),
    #[error("`{PATH}` is no picture of the bundle")]
    Broken(#[source] serde_json::Error),
    #[error("`{PATH}` is of schema {0}, and this agent reads schema {SCHEMA}")]
    Schema(u32),
}

impl NoPicture {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            NoPicture::Missing => "start the service: `systemctl start basalt-agent`",
            NoPicture::Read(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "ask as root"
            }
            NoPicture::Read(_) | NoPicture::Broken(_) | NoPicture::Schema(_) => {
                "have it written anew: `systemctl restart basalt-agent`"
            }
        }
    }
}

/// The picture that was left last.
///
/// # Errors
/// When there is none that this agent understands.
pub(crate) fn read(host: &Host) -> Result<Picture, NoPicture> {
    let bytes = look::read(&host.path(PATH)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NoPicture::Missing,
        _ => NoPicture::Read(error),
    })?;
    let picture: Picture = serde_json::from_slice(&bytes).map_err(NoPicture::Broken)?;
    // Every field may be missing, so that another version's would read as one where nothing is known.
    match picture.schema {
        SCHEMA => Ok(picture),
        other => Err(NoPicture::Schema(other)),
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    #[track_caller]
    fn check(text: Option<&str>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        if let Some(text) = text {
            std::fs::create_dir_all(folder.path().join("run/basalt")).unwrap();
            std::fs::write(folder.path().join("run/basalt/bundle.json"), text).unwrap();
        }
        let found = read(&host).map_or_else(|error| error.to_string(), |picture| picture.node);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        check(None, "there is no picture of the bundle yet");
        check(Some("{\"schema\": 1, \"node\": \"n1\"}"), "n1");
        for text in ["", "{\"schema\": 1, \"nod"] {
            check(Some(text), "`/run/basalt/bundle.json` is no picture of the bundle");
        }
        check(
            Some("{\"schema\": 2}"),
            "`/run/basalt/bundle.json` is of schema 2, and this agent reads schema 1",
        );
    }
}
