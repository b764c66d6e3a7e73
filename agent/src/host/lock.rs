//! One `basalt-agent run` at a time: a lock that the kernel drops with the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::files::{Attributes, ensure_directory};
use super::{Host, RUN_DIRECTORY};

/// The file that is locked; its contents mean nothing.
const LOCK_PATH: &str = "/run/basalt/agent.lock";

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// What keeps the lock from being taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has it.
    #[error("another `basalt-agent run` is at work{}", by(*.pid))]
    Held { pid: Option<i32> },
    /// The lock file cannot be used.
    #[error("cannot lock `{LOCK_PATH}`")]
    Io(#[source] io::Error),
}

impl LockError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            LockError::Held { .. } => {
                "one agent reconciles a node: use `systemctl restart basalt-agent` to start it anew"
            }
            LockError::Io(_) => "`run` is meant to be started by systemd, as root",
        }
    }
}

fn by(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// Takes the lock of this host.
///
/// # Errors
/// At once, without waiting, when another process has it.
pub(crate) fn acquire(host: &Host) -> Result<Lock, LockError> {
    let attributes = Attributes { mode: 0o755, owner: host.owner, label: None };
    ensure_directory(&host.real(RUN_DIRECTORY), attributes).map_err(LockError::Io)?;
    // For the owner alone: whoever may read the file may lock it against us.
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(host.real(LOCK_PATH))
        .map_err(LockError::Io)?;
    // A record lock rather than flock(2): others can ask who holds it without taking it for a moment themselves, which
    // might keep a starting service from running. It would go with any other descriptor of the file that this process
    // closes, so nothing else in `run` opens it.
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(LockError::Held { pid: holder_of(&file).ok().flatten() })
        }
        Err(error) => Err(LockError::Io(error.into())),
    }
}

/// The process that holds the lock: `None` when no agent runs. The number is 0 when the holder lives in another
/// process namespace.
///
/// # Errors
/// When the lock file is there but may not be read.
pub(crate) fn holder(host: &Host) -> io::Result<Option<i32>> {
    match File::open(host.real(LOCK_PATH)) {
        Ok(file) => holder_of(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn holder_of(file: &File) -> io::Result<Option<i32>> {
    let question = Flock {
        start: 0,
        length: 0,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let answer = fcntl_getlk(file, &question)?;
    Ok(answer.map(|lock| lock.pid.map_or(0, |pid| pid.as_raw_nonzero().get())))
}
