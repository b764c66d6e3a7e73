//! Folders of running tests, inside the cache.
//!
//! A test that is killed cannot clean up after itself. So each folder holds a lock for as long as its process lives,
//! and whoever makes a new folder removes the ones without a living owner: their mount, their cgroup, their files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};

use crate::{cache, cgroup, needs};

/// A folder of the running test; removed with everything in it when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    /// Held by living owners.
    _lock: File,
}

impl Scratch {
    /// Makes an empty folder, and removes those that killed tests left behind.
    ///
    /// # Errors
    /// When the cache cannot be written to.
    pub(crate) fn new() -> Result<Self> {
        let all = cache::folder().join("scratch");
        fs::create_dir_all(&all).with_context(|| format!("cannot make `{}`", all.display()))?;
        // A folder without its lock yet must not look like one without an owner.
        let _turn = cache::lock("scratch")?;
        for entry in fs::read_dir(&all)?.flatten() {
            sweep(&entry.path());
        }
        let folder = tempfile::Builder::new().prefix("lab-").tempdir_in(&all)?.keep();
        let lock = lock_file(&folder)?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// Its path; absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Its name, unique among all scratch folders: for things outside that belong to it.
    pub(crate) fn name(&self) -> &str {
        let name = self.folder.file_name().and_then(|name| name.to_str());
        name.expect("tempfile makes names of ASCII characters")
    }

    /// Where a file system for this folder may be mounted; it is unmounted with the folder.
    pub(crate) fn mount_point(&self) -> PathBuf {
        mount_point(&self.folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            // The next run tries again.
            needs::say(&format!("cannot remove `{}`: {error}", self.folder.display()));
        }
    }
}

fn lock_file(folder: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(folder.join("lock"))
}

fn mount_point(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// Removes what tests and labs without a living owner left behind, and gives what could not be removed: the mount, the
/// cgroups or the files of a folder, by the folder's path.
///
/// # Errors
/// When the cache cannot be looked at.
pub fn sweep_abandoned() -> Result<Vec<PathBuf>> {
    let all = cache::folder().join("scratch");
    if !all.exists() {
        return Ok(Vec::new());
    }
    let _turn = cache::lock("scratch")?;
    let folders: Vec<PathBuf> = fs::read_dir(&all)?.flatten().map(|entry| entry.path()).collect();
    folders.iter().for_each(|folder| sweep(folder));
    let is_left = |folder: &PathBuf| folder.exists() && !is_owned(folder);
    Ok(folders.into_iter().filter(is_left).collect())
}

/// Removes `folder` when nobody owns it any more. What cannot be removed now is left to the next run.
fn sweep(folder: &Path) {
    if is_owned(folder) {
        return;
    }
    if let Some(name) = folder.file_name().and_then(|name| name.to_str()) {
        let _ = cgroup::remove_by_name(name);
    }
    let _ = remove(folder);
}

fn is_owned(folder: &Path) -> bool {
    lock_file(folder).is_ok_and(|lock| lock.try_lock().is_err())
}

fn remove(folder: &Path) -> io::Result<()> {
    // Detached, so that a file somebody still has open does not keep it: nothing new can be opened through it.
    // An error means that nothing is mounted there, as with trees that are copies.
    let _ = umount2(&mount_point(folder), MntFlags::MNT_DETACH);
    fs::remove_dir_all(folder)
}
