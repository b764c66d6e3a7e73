//! What is known of a running lab: a file that its keeper writes and holds a lock on.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use e2e::cache;
use e2e::showcase::Operator;
use serde::{Deserialize, Serialize};

/// A lab that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The process that holds it.
    pub(super) keeper: i32,
    /// When it began to start, in seconds since 1970.
    pub(super) started_unix_seconds: u64,
    /// How long it took to start, in seconds.
    pub(super) start_seconds: u64,
    /// Its nodes.
    pub(super) nodes: Vec<NodeState>,
    /// What else runs: its name, and where it answers.
    pub(super) services: Vec<Service>,
    /// The place of whoever runs all that.
    pub(super) operator: Operator,
}

/// A node of the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeState {
    pub(super) name: String,
    /// Its pid 1, as this machine numbers it.
    pub(super) init: i32,
    /// Its addresses, with the lengths of their networks.
    pub(super) addresses: Vec<String>,
    /// Its cgroup.
    pub(super) cgroup: PathBuf,
}

/// Something beside the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) address: String,
}

/// The lock that a keeper holds for as long as it lives.
pub(super) struct Held {
    _lock: File,
}

/// The process that holds the lab, if one does: also while it starts or ends.
///
/// # Errors
/// When it cannot be found out.
pub(super) fn keeper() -> Result<Option<i32>> {
    let Ok(mut lock) = File::open(path("lab.lock")) else { return Ok(None) };
    match lock.try_lock_shared() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).context("cannot look at the lab"),
    }
    let mut pid = String::new();
    lock.read_to_string(&mut pid)?;
    pid.trim().parse().context("a lab has just begun to start; try again").map(Some)
}

impl State {
    /// The lab that runs, if one does.
    ///
    /// # Errors
    /// When it cannot be found out, and while a lab is starting.
    pub(super) fn read() -> Result<Option<State>> {
        if keeper()?.is_none() {
            return Ok(None);
        }
        let text = fs::read(path("lab.json"))
            .context("a lab is starting, or ending; `cargo xtask lab down` ends it")?;
        serde_json::from_slice(&text).context("the lab's state cannot be read").map(Some)
    }

    /// Takes the place of the one lab.
    ///
    /// # Errors
    /// When another one is there.
    pub(super) fn hold() -> Result<Held> {
        fs::create_dir_all(cache::folder())?;
        let lock = File::options().create(true).append(true).open(path("lab.lock"))?;
        lock.try_lock().context("another lab runs: `cargo xtask lab down` ends it")?;
        let _ = fs::remove_file(path("lab.json"));
        lock.set_len(0)?;
        write!(&lock, "{}", std::process::id())?;
        Ok(Held { _lock: lock })
    }

    /// Lets others know.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        fs::write(path("lab.json.new"), text)?;
        Ok(fs::rename(path("lab.json.new"), path("lab.json"))?)
    }

    /// Where the keeper says what went wrong.
    pub(super) fn log_path() -> PathBuf {
        path("lab.log")
    }

    /// The log, emptied.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn log() -> Result<File> {
        fs::create_dir_all(cache::folder())?;
        File::create(State::log_path()).context("cannot write the lab's log")
    }

    /// The names of its machines' cgroups, less what begins each.
    pub(super) fn machines(&self) -> impl Iterator<Item = String> + '_ {
        self.nodes.iter().filter_map(|node| {
            let group = node.cgroup.file_name()?.to_str()?;
            group.strip_prefix("basalt-").map(str::to_owned)
        })
    }

    /// How long it has been there, for people.
    pub(super) fn since(&self) -> String {
        let start = UNIX_EPOCH + Duration::from_secs(self.started_unix_seconds);
        let age = SystemTime::now().duration_since(start).unwrap_or_default();
        format!("{} min", age.as_secs() / 60)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = fs::remove_file(path("lab.json"));
    }
}

fn path(name: &str) -> PathBuf {
    cache::folder().join(name)
}
