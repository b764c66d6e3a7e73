//! The folder of a certificate, in which all files change at once.
//!
//! ```text
//! DIRECTORY/..0123456789abcdef.0/certificate.pem …   one whole set; the name follows from what is in it
//! DIRECTORY/..data -> ..0123456789abcdef.0           the set in use
//! DIRECTORY/certificate.pem -> ..data/certificate.pem
//! ```
//!
//! This is how the kubelet lays out secrets (`AtomicWriter`): one rename of `..data` changes every file, also for pods that
//! have the folder mounted. A set is written under a name of its own, which nobody looks at, and is whole and on the disk
//! before it gets that name; so whoever opens a file finds the old set or the new one, whatever ends when.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

use basalt_model::node::Certificate;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, renameat, symlinkat};
use sha2::{Digest as _, Sha256};

use super::layout::{NAMES, SetFile};
use crate::fault;
use crate::host::files::{self, Attributes, LABEL_ATTRIBUTE, POD_CONFIG_LABEL};
use crate::host::users::{self, Unknown};
use crate::host::{Host, Owner};

/// The link to the set in use, and the name under which the next one is made.
const DATA: &str = "..data";
const DATA_BEING_MADE: &str = "..data_tmp";
/// The set that is being written.
const BEING_WRITTEN: &str = "..new";
/// What is not secret may be read by anybody.
const PUBLIC_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// What keeps a set from being in its place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error(transparent)]
    Owner(#[from] Unknown),
    #[error("cannot write the files of certificate `{name}` in `{directory}`")]
    Write { name: String, directory: String, source: io::Error },
}

impl DirectoryError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            DirectoryError::Owner(unknown) => unknown.hint(),
            DirectoryError::Write { .. } => {
                "free space, move what is in the way, or let `ReadWritePaths=` of basalt-agent.service name the folder"
            }
        }
    }
}

/// How a folder compares with the set that it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the set, whole.
    Whole,
    /// It is not; the first thing that differs.
    Differs(String),
}

/// One certificate's folder and what its files are to have.
pub(crate) struct Directory<'a> {
    certificate: &'a Certificate,
    path: Utf8PathBuf,
    owner: Owner,
    host: &'a Host,
}

impl<'a> Directory<'a> {
    /// # Errors
    /// When the node does not know the owner of the files.
    pub(crate) fn of(host: &'a Host, certificate: &'a Certificate) -> Result<Self, DirectoryError> {
        let owner = users::resolve(host, &certificate.owner, &certificate.group)?;
        let path = host.real(certificate.directory.as_str());
        Ok(Directory { certificate, path, owner, host })
    }

    /// Compares the folder with `set`, down to the last byte, owner, mode and label.
    pub(crate) fn look(&self, set: &[SetFile]) -> Seen {
        match self.difference(set) {
            Ok(None) => Seen::Whole,
            Ok(Some(what)) => Seen::Differs(what),
            Err(error) => Seen::Differs(error.to_string()),
        }
    }

    fn difference(&self, set: &[SetFile]) -> io::Result<Option<String>> {
        let link = match self.path.join(DATA).read_link_utf8() {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some("its files are missing".to_owned()));
            }
            Err(error) => return Ok(Some(format!("`{DATA}` is no link: {error}"))),
        };
        let is_ours = link.as_str().strip_prefix(&self.stem(set)).is_some_and(|rest| {
            rest.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok())
        });
        if !is_ours {
            return Ok(Some("another set is in its place".to_owned()));
        }
        if let Some(what) = self.set_difference(&self.path.join(&link), set)? {
            return Ok(Some(what));
        }
        for name in NAMES {
            let link = self.path.join(name).read_link_utf8().ok();
            let is_wanted = set.iter().any(|file| file.name == name);
            let leads = link.as_ref().is_some_and(|link| *link == target(name));
            if is_wanted && !leads {
                return Ok(Some(format!("`{name}` does not lead to the set")));
            }
            if !is_wanted && leads {
                return Ok(Some(format!("`{name}` is left over")));
            }
        }
        let stat = self.path.metadata()?;
        if stat.mode() & 0o7777 != FOLDER_MODE {
            return Ok(Some(format!("its folder has mode {:04o}", stat.mode() & 0o7777)));
        }
        Ok(None)
    }

    /// What differs in one set's own folder.
    fn set_difference(&self, folder: &Utf8Path, set: &[SetFile]) -> io::Result<Option<String>> {
        let mut found = BTreeSet::new();
        let entries = match folder.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) => return Ok(Some(format!("the set cannot be read: {error}"))),
        };
        for entry in entries {
            found.insert(entry?.file_name().to_owned());
        }
        for file in set {
            let (name, path) = (file.name, folder.join(file.name));
            if !found.remove(name) {
                return Ok(Some(format!("`{name}` is missing")));
            }
            let stat = path.symlink_metadata()?;
            if !stat.is_file() {
                return Ok(Some(format!("`{name}` is no file")));
            }
            let wanted = self.attributes(file);
            if stat.mode() & 0o7777 != wanted.mode {
                let (seen, wanted) = (stat.mode() & 0o7777, wanted.mode);
                return Ok(Some(format!(
                    "the mode of `{name}` is {seen:04o} instead of {wanted:04o}"
                )));
            }
            if (stat.uid(), stat.gid()) != (self.owner.user, self.owner.group) {
                let seen = Owner { user: stat.uid(), group: stat.gid() };
                return Ok(Some(format!(
                    "the owner of `{name}` is {seen} instead of {}",
                    self.owner
                )));
            }
            if wanted.label.is_some_and(|label| !has_label(&path, label)) {
                return Ok(Some(format!("the SELinux label of `{name}` differs")));
            }
            // Longer files are not read.
            let is_same = stat.len() == file.contents.len() as u64
                && zeroize::Zeroizing::new(std::fs::read(&path)?) == file.contents;
            if !is_same {
                return Ok(Some(format!("the contents of `{name}` differ")));
            }
        }
        let stranger = found.pop_first();
        Ok(stranger.map(|name| format!("`{name}` does not belong to the set")))
    }

    /// Makes the folder hold `set`, and leaves the sets before as they are, see [`Directory::prune`]. Safe to repeat.
    ///
    /// # Errors
    /// The set that was there is intact, and in use.
    pub(crate) fn put(&self, set: &[SetFile]) -> Result<(), DirectoryError> {
        self.try_put(set).map_err(|source| self.error(source))
    }

    fn try_put(&self, set: &[SetFile]) -> io::Result<()> {
        fault::point()?;
        files::ensure_directory(&self.path, self.folder_attributes())?;
        let name = self.write_set(set)?;
        // The links first, into nothing if need be: a set is not seen before the last of its files is.
        let leads = |name: &str| {
            self.path.join(name).read_link_utf8().is_ok_and(|seen| seen == target(name))
        };
        let is_wanted = |name: &str| set.iter().any(|file| file.name == name);
        for name in NAMES.into_iter().filter(|name| is_wanted(name) && !leads(name)) {
            self.link(target(name).as_str(), name)?;
        }
        let data = self.path.join(DATA).read_link_utf8();
        if data.ok().as_deref() != Some(Utf8Path::new(&name)) {
            self.link(&name, DATA)?;
        }
        for name in NAMES.into_iter().filter(|name| !is_wanted(name) && leads(name)) {
            fault::point()?;
            files::remove(&self.path.join(name))?;
        }
        fault::point()
    }

    /// Writes the set's own folder, unless it is there and right, and returns its name.
    fn write_set(&self, set: &[SetFile]) -> io::Result<String> {
        let stem = self.stem(set);
        let mut number = 0_u32;
        let name = loop {
            let name = format!("{stem}.{number}");
            let folder = self.path.join(&name);
            if folder.symlink_metadata().is_err() {
                break name;
            }
            if self.set_difference(&folder, set)?.is_none() {
                return Ok(name);
            }
            // Somebody spoiled it. It may be in use, so it is replaced and not repaired.
            number += 1;
        };
        let folder = self.path.join(BEING_WRITTEN);
        remove_all(&folder)?;
        fault::point()?;
        // Nobody looks into it until it is whole.
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        for file in set {
            fault::point()?;
            files::create(&folder.join(file.name), &file.contents, self.attributes(file))?;
        }
        fault::point()?;
        // Syncs the folder as well, and with it the names in it.
        files::ensure_directory(&folder, self.folder_attributes())?;
        fault::point()?;
        renameat(CWD, folder.as_std_path(), CWD, self.path.join(&name).as_std_path())?;
        fault::point()?;
        files::sync_directory(&self.path)?;
        Ok(name)
    }

    /// Makes `name` a link, in one step.
    fn link(&self, to: &str, name: &str) -> io::Result<()> {
        let being_made = self.path.join(DATA_BEING_MADE);
        fault::point()?;
        files::remove(&being_made)?;
        symlinkat(to, CWD, being_made.as_std_path())?;
        fault::point()?;
        renameat(CWD, being_made.as_std_path(), CWD, self.path.join(name).as_std_path())?;
        fault::point()?;
        files::sync_directory(&self.path)
    }

    /// Removes every set but the one in use, and what an interruption left behind.
    ///
    /// # Errors
    /// What is in use is intact.
    pub(crate) fn prune(&self) -> Result<(), DirectoryError> {
        self.try_prune().map_err(|source| self.error(source))
    }

    fn try_prune(&self) -> io::Result<()> {
        let in_use = self.path.join(DATA).read_link_utf8()?;
        let mut is_changed = false;
        for entry in self.path.read_dir_utf8()? {
            let entry = entry?;
            let name = entry.file_name();
            let is_set = is_set_name(name) && in_use != name;
            if is_set || [BEING_WRITTEN, DATA_BEING_MADE].contains(&name) {
                fault::point()?;
                remove_all(entry.path())?;
                is_changed = true;
            }
        }
        if is_changed {
            fault::point()?;
            files::sync_directory(&self.path)?;
        }
        Ok(())
    }

    fn attributes(&self, file: &SetFile) -> Attributes {
        let mode = if file.secret { self.certificate.mode.bits() } else { PUBLIC_MODE };
        Attributes { mode, owner: self.owner, label: self.label() }
    }

    fn folder_attributes(&self) -> Attributes {
        Attributes { mode: FOLDER_MODE, owner: self.host.owner, label: self.label() }
    }

    /// Pods read the files.
    fn label(&self) -> Option<&'static str> {
        self.host.labels.then_some(POD_CONFIG_LABEL)
    }

    /// The beginning of the name of the set's own folder. Mode and owner are in it, so that a change of them is a new set.
    fn stem(&self, set: &[SetFile]) -> String {
        let mut digest = Sha256::new();
        for file in set {
            let attributes = self.attributes(file);
            digest.update(format!(
                "{} {:o} {} {}\n",
                file.name,
                attributes.mode,
                self.owner,
                file.contents.len()
            ));
            digest.update(&*file.contents);
        }
        let digest = digest.finalize();
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("..{hex}")
    }

    fn error(&self, source: io::Error) -> DirectoryError {
        let name = self.certificate.name.to_string();
        DirectoryError::Write { name, directory: self.certificate.directory.to_string(), source }
    }
}

fn target(name: &str) -> Utf8PathBuf {
    Utf8Path::new(DATA).join(name)
}

fn is_set_name(name: &str) -> bool {
    let parts = name.strip_prefix("..").and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(hex, number)| {
        hex.len() == 16
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && number.parse::<u32>().is_ok()
    })
}

fn has_label(path: &Utf8Path, label: &str) -> bool {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path.as_std_path(), LABEL_ATTRIBUTE, &mut value);
    length.is_ok_and(|length| value[..length].strip_suffix(b"\0") == Some(label.as_bytes()))
}

fn remove_all(path: &Utf8Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(stat) if stat.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
