//! What other people have put into `dist/`, such as the kernel that is served beside the scripts: it stays.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::dist::{MANIFEST, read_manifest};

/// The files and folders of an earlier result that no build wrote.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    dist: Utf8PathBuf,
    /// Relative to `dist`, a folder before what is in it. Only folders that nothing of ours is in.
    folders: Vec<Utf8PathBuf>,
    /// Relative to `dist`: files, links, anything but folders.
    files: Vec<Utf8PathBuf>,
}

impl Foreign {
    /// Looks through `dist`. Of a folder that no build wrote nothing stays: it is replaced as a whole, or not at all.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(super) fn find(dist: &Utf8Path) -> Result<Foreign> {
        let mut foreign = Foreign { dist: dist.to_owned(), ..Foreign::default() };
        let Some(manifest) = read_manifest(dist) else { return Ok(foreign) };
        let ours: BTreeSet<&Utf8Path> = manifest
            .artefacts
            .iter()
            .map(|row| Utf8Path::new(&row.path))
            .chain([Utf8Path::new(MANIFEST)])
            .collect();
        let our_folders: BTreeSet<&Utf8Path> =
            ours.iter().flat_map(|path| path.ancestors().skip(1)).collect();
        let mut pending = vec![Utf8PathBuf::new()];
        while let Some(folder) = pending.pop() {
            let full = dist.join(&folder);
            let entries = full.read_dir_utf8().with_context(|| format!("cannot read `{full}`"))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot read `{full}`"))?;
                let path = folder.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    if !our_folders.contains(path.as_path()) {
                        foreign.folders.push(path.clone());
                    }
                    pending.push(path);
                } else if !ours.contains(path.as_path()) {
                    foreign.files.push(path);
                }
            }
        }
        foreign.folders.sort();
        foreign.files.sort();
        Ok(foreign)
    }

    /// Refuses names that a new result needs for itself; `ours` are its files.
    ///
    /// # Errors
    /// Names the first one.
    pub(super) fn check_names<'p>(&self, ours: impl IntoIterator<Item = &'p str>) -> Result<()> {
        let ours: BTreeSet<&Utf8Path> = ours.into_iter().map(Utf8Path::new).collect();
        let our_folders: BTreeSet<&Utf8Path> =
            ours.iter().flat_map(|path| path.ancestors().skip(1)).collect();
        let is_taken = |path: &&Utf8PathBuf| {
            let path = path.as_path();
            ours.contains(path) || path.ancestors().skip(1).any(|folder| ours.contains(folder))
        };
        let file =
            self.files.iter().find(|path| is_taken(path) || our_folders.contains(path.as_path()));
        if let Some(path) = file.or_else(|| self.folders.iter().find(is_taken)) {
            let dist = &self.dist;
            bail!(
                "`{dist}/{path}` was not written by this command, and stands where the new result has something; \
                 move it away, or let `--force` replace it"
            );
        }
        Ok(())
    }

    /// Gives everything a place in `stage` too, where nothing of ours has its name. It is then in both folders, so that
    /// nothing is lost when the run ends now.
    ///
    /// # Errors
    /// When something cannot be taken along.
    pub(super) fn carry_over(&self, stage: &Utf8Path) -> Result<()> {
        for folder in &self.folders {
            let failed = || format!("cannot keep the folder `{}/{folder}`", self.dist);
            let target = stage.join(folder);
            match fs::create_dir(&target) {
                Ok(()) => {
                    let mode = fs::metadata(self.dist.join(folder)).with_context(failed)?;
                    fs::set_permissions(&target, mode.permissions()).with_context(failed)?;
                }
                // Only `--force` comes here: something new has the name.
                Err(error) if gives_way(&error) => {}
                Err(error) => return Err(error).with_context(failed),
            }
        }
        for file in &self.files {
            match link_or_copy(&self.dist.join(file), &stage.join(file)) {
                Err(error) if !gives_way(&error) => {
                    return Err(error).with_context(|| {
                        format!(
                            "cannot keep `{}/{file}`, which was not written by this command; move it away",
                            self.dist
                        )
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Something new stands there, or in the place of a folder above.
fn gives_way(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory)
}

/// Gives `from` a second name, whatever it is; a copy where the file system or its owner does not allow that.
fn link_or_copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if !gives_way(&error) => {}
        done => return done,
    }
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !kind.is_file() {
        let message = "a device, pipe or socket cannot be copied";
        return Err(io::Error::new(ErrorKind::Unsupported, message));
    }
    fs::copy(from, to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(dist: &Utf8Path) -> Foreign {
        let manifest = r#"{"schema": 1, "artefacts": [{"path": "pxe/boot.ipxe", "kind": "ipxe",
            "node": null, "sha256": "", "size": 0}]}"#;
        fs::create_dir_all(dist.join("pxe")).unwrap();
        fs::write(dist.join("pxe/boot.ipxe"), "").unwrap();
        fs::write(dist.join(MANIFEST), manifest).unwrap();
        Foreign::find(dist).unwrap()
    }

    #[test]
    fn names_that_collide() {
        let folder = tempfile::tempdir().unwrap();
        let dist = Utf8Path::from_path(folder.path()).unwrap();
        fs::create_dir_all(dist.join("pxe/fcos")).unwrap();
        fs::write(dist.join("pxe/fcos/kernel"), "").unwrap();
        fs::write(dist.join("nodes"), "").unwrap();
        let foreign = foreign(dist);
        foreign.check_names(["pxe/boot.ipxe", "pxe/fcos/other", "a.ociarchive"]).unwrap();
        for (taken, named) in [
            ("pxe/fcos/kernel", "pxe/fcos/kernel"),
            ("pxe/fcos", "pxe/fcos/kernel"),
            ("nodes/n1/node.json", "nodes"),
        ] {
            let message = foreign.check_names([taken]).unwrap_err().to_string();
            assert!(message.contains(&format!("/{named}` was not written")), "{message}");
        }
    }

    #[test]
    fn all_kinds_of_files_are_kept() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dist, stage) = (old.path().join("dist"), Utf8Path::from_path(new.path()).unwrap());
        let dist = Utf8Path::from_path(&dist).unwrap();
        fs::create_dir_all(dist.join("pxe/fcos/empty")).unwrap();
        fs::write(dist.join("pxe/fcos/kernel"), "linux").unwrap();
        symlink("nowhere", dist.join("pxe/link")).unwrap();
        nix::unistd::mkfifo(dist.join("pipe").as_std_path(), nix::sys::stat::Mode::S_IRWXU)
            .unwrap();
        let foreign = foreign(dist);
        fs::create_dir(stage.join("pxe")).unwrap();
        foreign.carry_over(stage).unwrap();
        assert_eq!(fs::read_to_string(stage.join("pxe/fcos/kernel")).unwrap(), "linux");
        assert_eq!(fs::read_link(stage.join("pxe/link")).unwrap().to_str(), Some("nowhere"));
        assert!(stage.join("pxe/fcos/empty").is_dir() && stage.join("pipe").exists());
        assert!(!stage.join("pxe/boot.ipxe").exists() && !stage.join(MANIFEST).exists());
    }
}
