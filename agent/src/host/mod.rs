//! The machine the agent works on: takes host paths, touches the files below one root directory and the system bus.
//!
//! Everywhere else paths are written as the node sees them (`/etc/basalt/node.json`); only this module turns them
//! into paths of the running process, through [`Host::path`]. So the whole agent runs on any directory.

pub(crate) mod files;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod look;
pub(crate) mod manifests;
pub(crate) mod service;
pub(crate) mod systemd;
pub(crate) mod watch;

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Gid, Uid};

/// What the agent has to remember over a restart.
pub(crate) const STATE_DIRECTORY: &str = "/var/lib/basalt";
/// What lives as long as the boot: the lock and the service's report.
pub(crate) const RUN_DIRECTORY: &str = "/run/basalt";
/// Where strangers go with `manifests.strangers: quarantine`.
pub(crate) const QUARANTINE_DIRECTORY: &str = "/var/lib/basalt/quarantine";
/// The copy of the `node.json` that was accepted last.
pub(crate) const ACCEPTED_NODE_PATH: &str = "/var/lib/basalt/accepted-node.json";
/// Exists when the kernel enforces or logs by a SELinux policy.
const SELINUX_ENFORCE_PATH: &str = "/sys/fs/selinux/enforce";

/// User and group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Owner {
    pub(crate) fn uid(self) -> Uid {
        Uid::from_raw(self.user)
    }

    pub(crate) fn gid(self) -> Gid {
        Gid::from_raw(self.group)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

/// A machine, or a directory that stands for one.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    root: Utf8PathBuf,
    /// Who owns what the agent writes: the owner of the root directory. On a machine that is root.
    pub(crate) owner: Owner,
    /// Whether pod config files get a SELinux label.
    pub(crate) labels: bool,
}

impl Host {
    /// The host whose file system starts at `root`.
    ///
    /// # Errors
    /// When `root` is no directory that can be looked at.
    pub(crate) fn at(root: &Utf8Path) -> io::Result<Host> {
        let root = root.canonicalize_utf8()?;
        let stat = rustix::fs::stat(root.as_std_path())?;
        let owner = Owner { user: stat.st_uid, group: stat.st_gid };
        let mut host = Host { root, owner, labels: false };
        host.labels = host.path(SELINUX_ENFORCE_PATH).exists();
        Ok(host)
    }

    /// The path of the running process for a path of the host.
    pub(crate) fn path(&self, host_path: &str) -> Utf8PathBuf {
        self.root.join(host_path.trim_start_matches('/'))
    }
}
