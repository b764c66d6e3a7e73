//! A cgroup of its own for each machine.
//!
//! systemd as pid 1 makes its tree of cgroups below the one it is started in. Without one of its own it would do so in
//! the root of the host's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// A cgroup of the unified hierarchy below our own; removed with all its children when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
}

/// The kernel lets go of a cgroup some time after its last process.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

impl Cgroup {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let folder = path_of(name)?;
        fs::create_dir(&folder)
            .with_context(|| format!("cannot make the cgroup `{}`", folder.display()))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let removed =
            wait::until("the cgroup to empty", REMOVE_LIMIT, || remove(&self.folder).ok());
        if removed.is_err() {
            eprintln!("cannot remove the cgroup `{}`: it has processes", self.folder.display());
        }
    }
}

/// Removes the cgroup that [`Cgroup::new`] would make; fails while it has processes.
pub(crate) fn remove_by_name(name: &str) -> Result<()> {
    let folder = path_of(name)?;
    if folder.exists() { remove(&folder).map_err(Into::into) } else { Ok(()) }
}

/// Whether this process may make cgroups.
pub(crate) fn is_writable() -> bool {
    path_of("x").is_ok_and(|path| {
        path.parent()
            .is_some_and(|own| nix::unistd::access(own, nix::unistd::AccessFlags::W_OK).is_ok())
    })
}

fn path_of(name: &str) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let folder = own_cgroup(&mounts, &own).context("no cgroup2 file system is mounted")?;
    Ok(folder.join(format!("basalt-{name}")))
}

/// Formats: proc_pid_mountinfo(5) and cgroups(7). On hosts with both versions, ours is the line with the empty
/// controller list.
fn own_cgroup(mountinfo: &str, own: &str) -> Option<PathBuf> {
    let mount_point = mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount_point).join(path))
}

/// Children first; a cgroup has only files of the kernel's, which go with it.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_on_all_kinds_of_hosts() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let found = own_cgroup(unified, "0::/user.slice/session-1.scope\n");
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/user.slice/session-1.scope")));
        let hybrid = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = own_cgroup(hybrid, "4:memory:/x\n1:cpu:/\n0::/\n");
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/unified/")));
        assert_eq!(own_cgroup("", "0::/\n"), None);
    }
}
