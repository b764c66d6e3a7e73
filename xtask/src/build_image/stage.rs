//! The folder in which a new result grows, beside the one whose place it takes when it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::syncfs;

use super::dist::{Artefact, Document, Kind, MANIFEST, MANIFEST_SCHEMA, Manifest, digest_of};

/// In the name of every such folder, so that what a killed run left behind is known for what it is.
const MARK: &str = ".basalt-";

/// The new result; removed when it is dropped.
pub(super) struct Stage {
    pub(super) folder: Utf8PathBuf,
    _guard: tempfile::TempDir,
    /// Held as long as the run lives: a folder without it was left behind.
    _lock: Option<File>,
}

impl Stage {
    /// Makes an empty folder beside `dist`, and removes those that killed runs have left there.
    ///
    /// # Errors
    /// When the parent cannot be written to.
    pub(super) fn new(dist: &Utf8Path) -> Result<Stage> {
        let (Some(parent), Some(name)) = (dist.parent(), dist.file_name()) else {
            bail!("`{dist}` has no name")
        };
        let prefix = format!(".{name}{MARK}");
        // A folder without its lock yet must not look like one that was left behind.
        let turn = lock(parent);
        if turn.is_some() {
            sweep(parent, &prefix);
        }
        let guard = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a folder in `{parent}`"))?;
        let folder = Utf8PathBuf::try_from(guard.path().to_owned())?;
        let lock = lock(&folder);
        drop(turn);
        // The result is read by a web server and by other people; `tempdir` makes it private.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        Ok(Stage { folder, _guard: guard, _lock: lock })
    }

    /// Writes one file below the folder. It is on the disk when the folder has taken its place.
    pub(super) fn write(
        &self,
        path: &str,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<()> {
        let full = self.folder.join(path);
        let write = || {
            fs::create_dir_all(full.parent().unwrap_or(&self.folder))?;
            fill(&mut File::create_new(&full)?)
        };
        write().with_context(|| format!("cannot write `{path}`"))
    }

    /// Lists every file, and writes the list.
    pub(super) fn manifest(
        &self,
        documents: &[Document],
        archive: &str,
        digest: &str,
        inputs: Option<String>,
    ) -> Result<Manifest> {
        let documents: BTreeMap<&str, &Document> =
            documents.iter().map(|document| (document.path.as_str(), document)).collect();
        let mut artefacts = Vec::new();
        for path in files_below(&self.folder)? {
            let document = documents.get(path.as_str());
            let kind = match document {
                Some(document) => document.kind,
                None if path == archive => Kind::OciArchive,
                None if path.ends_with("/oci-layout") => Kind::OciLayout,
                None if path.contains("/blobs/") => Kind::OciBlob,
                None => Kind::OciIndex,
            };
            let (sha256, size) = digest_of(&self.folder.join(&path))?;
            let stands_for_image = matches!(kind, Kind::OciLayout | Kind::OciArchive);
            let digest = stands_for_image.then(|| digest.to_owned());
            let node = document.and_then(|document| document.node.clone());
            artefacts.push(Artefact { path, kind, node, sha256, size, digest });
        }
        let manifest = Manifest { schema: MANIFEST_SCHEMA, inputs, checked: None, artefacts };
        let text = manifest.to_json()?;
        self.write(MANIFEST, |file| file.write_all(&text))?;
        Ok(manifest)
    }

    /// Puts the folder where `dist` is, in one step; what was there goes away with the guard.
    pub(super) fn take_the_place_of(self, dist: &Utf8Path) -> Result<()> {
        // One call for thousands of small files: to wait for the disk after each takes longer than all the rest.
        syncfs(File::open(&self.folder)?).context("cannot bring the result to the disk")?;
        let flags = if dist.exists() {
            RenameFlags::RENAME_EXCHANGE
        } else {
            RenameFlags::RENAME_NOREPLACE
        };
        renameat2(AT_FDCWD, self.folder.as_std_path(), AT_FDCWD, dist.as_std_path(), flags)
            .with_context(|| format!("cannot put the result in the place of `{dist}`"))?;
        if let Some(parent) = dist.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

/// Takes the lock of a folder. `None`: somebody has it, or the file system has no locks.
fn try_lock(folder: &Utf8Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().ok().map(|()| file)
}

/// Waits for the lock of a folder. `None`: the file system has no locks.
fn lock(folder: &Utf8Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.lock().ok().map(|()| file)
}

/// Removes the folders in `parent` that nobody is filling any more. What cannot be removed is left to the next run.
fn sweep(parent: &Utf8Path, prefix: &str) {
    let Ok(entries) = parent.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        let is_stage = entry.file_name().starts_with(prefix)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_stage && let Some(_lock) = try_lock(entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The files below `folder`, relative to it, sorted as bytes.
fn files_below(folder: &Utf8Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(current) = pending.pop() {
        for entry in current.read_dir_utf8()? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.into_path());
            } else {
                files.push(entry.path().strip_prefix(folder)?.to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_a_living_one_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let parent = Utf8Path::from_path(parent.path()).unwrap();
        let left = parent.join(".dist.basalt-killed");
        fs::create_dir_all(left.join("image")).unwrap();
        for other in [".dist.backup", ".other.basalt-x"] {
            fs::create_dir(parent.join(other)).unwrap();
        }
        let living = Stage::new(&parent.join("dist")).unwrap();
        assert!(!left.exists());
        let second = Stage::new(&parent.join("dist")).unwrap();
        assert!(living.folder.is_dir() && second.folder.is_dir());
        assert!(parent.join(".dist.backup").is_dir() && parent.join(".other.basalt-x").is_dir());
    }
}
