//! The machine the agent works on: takes host paths, touches the files below one root directory and the system bus.
//!
//! Everywhere else paths are written as the node sees them (`/etc/basalt/node.json`); only this module turns them
//! into paths of the running process, through [`Host::path`] and [`Host::real`]. So the whole agent runs on any
//! directory, and stays inside it.

pub(crate) mod boot;
pub(crate) mod cri;
pub(crate) mod facts;
pub(crate) mod files;
pub(crate) mod generations;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod look;
pub(crate) mod manifests;
pub(crate) mod reserve;
pub(crate) mod restarts;
mod root;
pub(crate) mod runs;
pub(crate) mod service;
pub(crate) mod systemd;
pub(crate) mod users;
pub(crate) mod watch;

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FileType, Gid, Uid};

use self::root::{LastPart, resolve};

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
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let owner = Owner { user: stat.st_uid, group: stat.st_gid };
        let mut host = Host { root, owner, labels: false };
        host.labels = host.real(SELINUX_ENFORCE_PATH).exists();
        Ok(host)
    }

    /// Whether it is the machine the process runs on, and so has its network.
    pub(crate) fn is_this_machine(&self) -> bool {
        self.root == "/"
    }

    /// The path of the running process for a path of the host. The last part may be a symbolic link, and must not be
    /// followed by the caller; for what it leads to there is [`real`](Self::real).
    pub(crate) fn path(&self, host_path: &str) -> Utf8PathBuf {
        resolve(&self.root, host_path, LastPart::Kept)
    }

    /// The path of the running process for what a path of the host leads to.
    pub(crate) fn real(&self, host_path: &str) -> Utf8PathBuf {
        resolve(&self.root, host_path, LastPart::Followed)
    }

    /// The host's own name for a path of the running process, for messages.
    pub(crate) fn shown(&self, path: &Utf8Path) -> Utf8PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(below) => Utf8Path::new("/").join(below),
            Err(_) => path.to_owned(),
        }
    }

    /// What the path of the running process leads to on the host; the path itself when it is not below the root.
    pub(crate) fn behind(&self, path: &Utf8Path) -> Utf8PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(below) => self.real(below.as_str()),
            Err(_) => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_a_directory() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(keep.path()).unwrap();
        Host::at(root).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let kind = |path: &str| Host::at(&root.join(path)).unwrap_err().kind();
        assert_eq!(kind("file"), io::ErrorKind::NotADirectory);
        assert_eq!(kind("gone"), io::ErrorKind::NotFound);
    }
}
