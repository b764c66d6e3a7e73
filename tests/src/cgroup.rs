//! Cgroups of its own for each machine.
//!
//! systemd as pid 1 makes its tree of cgroups below the one it is started in. Without one of its own it would do so in
//! the root of the host's. On hosts whose controllers are still in hierarchies of version 1, the machine gets a group
//! in each of them as well: container runtimes look for them there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{needs, wait};

/// A cgroup below our own in every hierarchy; removed with all their children when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// The one of the unified hierarchy first.
    folders: Vec<PathBuf>,
}

/// The kernel lets go of a cgroup some time after its last process.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

impl Cgroup {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let mut made = Self { folders: Vec::new() };
        for folder in paths_of(name)? {
            fs::create_dir(&folder)
                .with_context(|| format!("cannot make the cgroup `{}`", folder.display()))?;
            made.folders.push(folder.clone());
            inherit_cpuset(&folder)
                .with_context(|| format!("cannot set up the cgroup `{}`", folder.display()))?;
        }
        Ok(made)
    }

    /// The one of the unified hierarchy.
    pub(crate) fn path(&self) -> &Path {
        &self.folders[0]
    }

    /// All of them.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.folders
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            let removed = wait::until("the cgroup to empty", REMOVE_LIMIT, || remove(folder).ok());
            if removed.is_err() {
                needs::say(&format!(
                    "cannot remove the cgroup `{}`: it has processes",
                    folder.display()
                ));
            }
        }
    }
}

/// Removes the cgroups that [`Cgroup::new`] would make; fails while one has processes.
pub(crate) fn remove_by_name(name: &str) -> Result<()> {
    for folder in paths_of(name)? {
        if folder.exists() {
            remove(&folder)?;
        }
    }
    Ok(())
}

/// Whether this process may make cgroups.
pub(crate) fn is_writable() -> bool {
    paths_of("x").is_ok_and(|paths| {
        paths[0]
            .parent()
            .is_some_and(|own| nix::unistd::access(own, nix::unistd::AccessFlags::W_OK).is_ok())
    })
}

fn paths_of(name: &str) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let unified = own_cgroup(&mounts, &own).context("no cgroup2 file system is mounted")?;
    let folders = std::iter::once(unified).chain(own_controllers(&mounts, &own));
    Ok(folders.map(|folder| folder.join(format!("basalt-{name}"))).collect())
}

/// Formats: proc_pid_mountinfo(5) and cgroups(7). On hosts with both versions, ours is the line with the empty
/// controller list.
fn own_cgroup(mountinfo: &str, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let (mount_point, _) = mounted(mountinfo, "cgroup2").next()?;
    Some(Path::new(mount_point).join(path))
}

/// Our group in each hierarchy of version 1. Its controllers, or its name, are among the options of its mount.
fn own_controllers(mountinfo: &str, own: &str) -> Vec<PathBuf> {
    let folder = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
        if controllers.is_empty() {
            return None;
        }
        let is_it = |options: &str| {
            controllers.split(',').all(|name| options.split(',').any(|option| option == name))
        };
        let (mount_point, _) = mounted(mountinfo, "cgroup").find(|(_, options)| is_it(options))?;
        Some(Path::new(mount_point).join(path))
    };
    own.lines().filter_map(folder).collect()
}

/// Mount points of a kind of file system with the options of the file system.
fn mounted<'a>(mountinfo: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    mountinfo.lines().filter_map(move |line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let is_it = after.next() == Some(kind);
        is_it.then_some((before.split(' ').nth(4)?, after.nth(1)?))
    })
}

/// A cpuset of version 1 starts empty and takes no process until it has processors and memory.
fn inherit_cpuset(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().unwrap_or(folder);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if folder.join("cgroup.clone_children").exists() && parent.join(file).exists() {
            fs::write(folder.join(file), fs::read(parent.join(file))?)?;
            fs::write(folder.join("cgroup.clone_children"), "1")?;
        }
    }
    Ok(())
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

    #[test]
    fn groups_of_version_1_are_found_by_their_controllers() {
        let mounts = "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:cpu,cpuacct:/x\n3:rdma:/\n1:name=systemd:/y\n0::/\n";
        let expected = ["/sys/fs/cgroup/cpu,cpuacct/x", "/sys/fs/cgroup/systemd/y"];
        assert_eq!(own_controllers(mounts, own), expected.map(PathBuf::from));
        assert_eq!(own_controllers("", "0::/\n"), [] as [PathBuf; 0]);
    }
}
