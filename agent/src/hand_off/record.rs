//! The record: what about a hand-off cannot be observed again. Written before each change it speaks of.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::generation::record::Moment;
use crate::host::files::{self, Attributes};
use crate::host::{Host, look};
use crate::plan::STATE_MODE;

/// Where the record is.
pub(crate) const RECORD_PATH: &str = "/var/lib/basalt/hand-off.json";
/// Where the last order of a person is.
pub(crate) const ORDER_PATH: &str = "/var/lib/basalt/hand-off-order.json";
/// The `schema` value this build writes and reads.
const SCHEMA: u32 = 1;
/// What is told of one failure; the journal has the rest.
const MOST_REASONS: usize = 10;

/// The document at [`RECORD_PATH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Form of this document; always [`SCHEMA`].
    schema: u32,
    /// Where the node stands, or what it is in the middle of.
    pub(crate) stage: Stage,
    /// The switches that failed since the last one that did not.
    pub(crate) failed: Option<Failed>,
    /// Whether the node was closed for the cluster's pods when it left: whoever joins again opens it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_closed: bool,
}

/// Where the node stands, or what it is in the middle of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Stage {
    /// The kubelet stands by itself.
    Standalone,
    /// The files of the joined form are being written; the kubelet does not know them yet.
    Switching(Switch),
    /// They are in place. The kubelet has to be another process than `kubelet` to know them, and to prove itself.
    Proving {
        #[serde(flatten)]
        switch: Switch,
        /// The run of the kubelet that knows nothing of them.
        kubelet: String,
    },
    /// The node has proved itself as a node of the cluster.
    Joined {
        /// When, in seconds since the Unix epoch.
        since_unix_seconds: u64,
        /// The files of the joined form, by path, as SHA-256.
        files: BTreeMap<String, String>,
    },
    /// The pods of the cluster are asked to end, since the node is to leave.
    Draining { since: Moment },
    /// The files of the joined form are being removed.
    Returning {
        why: Return,
        /// The run of the kubelet that still knows them; absent until they are gone.
        kubelet: Option<String>,
    },
}

/// What a switch is measured by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switch {
    /// When it began, by a clock that nobody sets.
    pub(crate) since: Moment,
    /// When it began, in seconds since the Unix epoch, to tell what the API server knows from what it remembers.
    pub(crate) since_unix_seconds: u64,
    /// The containers that ran before: the id, by `namespace/pod/container`.
    pub(crate) containers: BTreeMap<String, String>,
}

/// Why a node goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(crate) enum Return {
    /// It has not proved itself.
    Failed { reasons: Vec<String> },
    /// It is to leave the cluster.
    Left,
}

/// Switches that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// How many in a row.
    pub(crate) times: u32,
    /// When the last one was given up, in seconds since the Unix epoch.
    pub(crate) at_unix_seconds: u64,
    /// The same by a clock that nobody sets.
    pub(crate) at: Moment,
    /// Why, one line each.
    pub(crate) reasons: Vec<String>,
}

/// What a person asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Join, also where nodes join by hand, and at once.
    Join,
    /// Leave, and stay away.
    Leave,
}

/// The document at [`ORDER_PATH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ordered {
    pub(crate) order: Order,
    /// When, in seconds since the Unix epoch.
    pub(crate) unix_seconds: u64,
}

impl Record {
    pub(crate) fn new(stage: Stage, failed: Option<Failed>) -> Record {
        Record { schema: SCHEMA, stage, failed, is_closed: false }
    }

    /// The same, with the node closed for the cluster's pods, or open.
    pub(crate) fn closed(self, is_closed: bool) -> Record {
        Record { is_closed, ..self }
    }

    /// The same at another stage.
    pub(crate) fn at(&self, stage: Stage) -> Record {
        Record { stage, ..self.clone() }
    }

    /// The document: the same bytes for the same record.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a record has string keys only");
        text.push('\n');
        text
    }

    fn parse(text: &str) -> Result<Record, String> {
        let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match record.schema {
            SCHEMA => Ok(record),
            other => Err(format!("`schema` is {other}, this agent reads {SCHEMA}")),
        }
    }
}

impl Failed {
    /// Counts one more.
    pub(crate) fn next(
        before: Option<&Failed>,
        at_unix_seconds: u64,
        at: Moment,
        mut reasons: Vec<String>,
    ) -> Failed {
        reasons.truncate(MOST_REASONS);
        let times = before.map_or(0, |failed| failed.times).saturating_add(1);
        Failed { times, at_unix_seconds, at, reasons }
    }
}

/// The record, when there is one.
///
/// # Errors
/// When it is there and cannot be read: nothing is changed then, since nobody knows what this node is in the middle of.
pub(crate) fn load(host: &Host) -> Result<Option<Record>, String> {
    let text = match look::read(&host.path(RECORD_PATH)) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| format!("{RECORD_PATH}: {error}"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {RECORD_PATH}: {error}")),
    };
    Record::parse(&text).map(Some).map_err(|error| format!("{RECORD_PATH}: {error}"))
}

/// What a person asked for last. One that cannot be read is as good as none.
pub(crate) fn order(host: &Host) -> Option<Ordered> {
    let bytes = look::read(&host.path(ORDER_PATH)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Leaves an order for the service.
///
/// # Errors
/// When it cannot be written: whoever asks has to be root.
pub(crate) fn give_order(host: &Host, order: Ordered) -> io::Result<()> {
    let text = serde_json::to_string(&order).expect("an order has string keys only");
    let attributes = Attributes { mode: STATE_MODE, owner: host.owner, label: None };
    files::replace(&host.path(ORDER_PATH), text.as_bytes(), attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    #[test]
    fn what_is_written_is_read_back() {
        let since = Moment { boot: "b".into(), seconds: 5 };
        let containers = BTreeMap::from([("a/b/c".to_owned(), "id".to_owned())]);
        let switch = Switch { since: since.clone(), since_unix_seconds: 7, containers };
        let failed = Failed::next(None, 3, since.clone(), vec!["why".into(); 20]);
        assert_eq!((failed.times, failed.reasons.len()), (1, MOST_REASONS));
        for stage in [
            Stage::Standalone,
            Stage::Switching(switch.clone()),
            Stage::Proving { switch, kubelet: "k".into() },
            Stage::Joined { since_unix_seconds: 1, files: BTreeMap::new() },
            Stage::Draining { since },
            Stage::Returning { why: Return::Left, kubelet: None },
        ] {
            let record = Record::new(stage, Some(failed.clone()));
            assert_eq!(Record::parse(&record.to_json()), Ok(record));
        }
        assert!(Record::parse("{}").is_err());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_no_missing_one() {
        let (_keep, host) = scratch_host();
        assert_eq!(load(&host), Ok(None));
        std::fs::create_dir_all(host.path("/var/lib/basalt")).unwrap();
        std::fs::write(host.path(RECORD_PATH), "{").unwrap();
        assert!(load(&host).is_err());
        let ordered = Ordered { order: Order::Leave, unix_seconds: 5 };
        give_order(&host, ordered).unwrap();
        assert_eq!(order(&host), Some(ordered));
    }
}
