//! Looks at single files and directories without ever hanging on them or changing anything.

use std::collections::BTreeMap;
use std::io::{self, Read};

use camino::Utf8Path;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, getxattr, openat, statat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::files::LABEL_ATTRIBUTE;
use super::manifests::{PodIdentity, pod_identity};
use super::{Host, Owner};

/// A larger file is neither hashed nor read: nothing the agent writes comes near it, and the kubelet itself reads no
/// more of a manifest.
pub(crate) const MAX_FILE_BYTES: u64 = 10 << 20;

/// What is seen at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A regular file.
    File(FileSeen),
    /// A directory; its entries are entries of their own.
    Directory { mode: u32, owner: Owner, label: Option<String> },
    /// A symbolic link, and what it leads to, when that is there.
    Symlink { leads_to: Option<Box<Entry>> },
    /// A named pipe. Reading one would wait for a writer, so nothing opens it.
    Fifo,
    /// A socket or a device.
    Special,
}

/// A regular file as it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSeen {
    pub(crate) contents: Contents,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) owner: Owner,
    /// SELinux label, when the host has labels and the file has one.
    pub(crate) label: Option<String>,
    /// The pod that the kubelet would run from this file, when it reads as one.
    pub(crate) pod: Option<PodIdentity>,
}

/// What is known about a file's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Their SHA-256 digest in hex.
    Digest(String),
    /// Not readable, or too large to be read; the reason.
    Unknown(String),
}

/// Whether files are also read as pod manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadAs {
    Bytes,
    PodManifest,
}

impl Entry {
    /// The kind in one or two words, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Entry::File(_) => "a file",
            Entry::Directory { .. } => "a directory",
            Entry::Symlink { .. } => "a symbolic link",
            Entry::Fifo => "a named pipe",
            Entry::Special => "a socket or device",
        }
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Looks at one path; `Ok(None)` when nothing is there.
///
/// # Errors
/// When the path cannot even be looked at. Contents that cannot be read are part of the answer.
pub(crate) fn entry(host: &Host, path: &Utf8Path, read_as: ReadAs) -> io::Result<Option<Entry>> {
    let stat = match statat(CWD, path.as_std_path(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(error) => return missing_is_none(error.into()),
    };
    let owner = Owner { user: stat.st_uid, group: stat.st_gid };
    let mode = stat.st_mode & 0o7777;
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Entry::File(file(path, mode, owner, read_as)),
        FileType::Directory => Entry::Directory { mode, owner, label: label(path) },
        FileType::Symlink => Entry::Symlink { leads_to: behind(host, path, read_as).map(Box::new) },
        FileType::Fifo => Entry::Fifo,
        _ => Entry::Special,
    }))
}

/// Lists the names in a directory and looks at each. A symbolic link that leads to the directory is followed. Names
/// that are no UTF-8 appear with replacement characters: they can be reported, and nothing else.
///
/// # Errors
/// When `path` is missing or cannot be read as a directory, or one of its entries cannot be looked at.
pub(crate) fn listing(
    host: &Host,
    path: &Utf8Path,
    read_as: ReadAs,
) -> io::Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    for found in path.as_std_path().read_dir()? {
        let name = found?.file_name().to_string_lossy().into_owned();
        // Gone since it was listed is as good as never there.
        if let Some(seen) = entry(host, &path.join(&name), read_as)? {
            entries.insert(name, seen);
        } else if name.contains('\u{FFFD}') {
            entries.insert(name, Entry::Special);
        }
    }
    Ok(entries)
}

/// What the link leads to, in the end.
fn behind(host: &Host, path: &Utf8Path, read_as: ReadAs) -> Option<Entry> {
    let real = host.behind(path).canonicalize_utf8().ok()?;
    let stat = statat(CWD, real.as_std_path(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let owner = Owner { user: stat.st_uid, group: stat.st_gid };
    let mode = stat.st_mode & 0o7777;
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Entry::File(file(&real, mode, owner, read_as)),
        FileType::Directory => Entry::Directory { mode, owner, label: None },
        FileType::Fifo => Entry::Fifo,
        _ => Entry::Special,
    })
}

fn file(path: &Utf8Path, mode: u32, owner: Owner, read_as: ReadAs) -> FileSeen {
    let (contents, pod) = match read(path) {
        Ok(bytes) => {
            let pod = match read_as {
                ReadAs::Bytes => None,
                ReadAs::PodManifest => std::str::from_utf8(&bytes).ok().and_then(pod_identity),
            };
            (Contents::Digest(sha256(&bytes)), pod)
        }
        Err(error) => (Contents::Unknown(error.to_string()), None),
    };
    FileSeen { contents, mode, owner, label: label(path), pod }
}

/// Reads a regular file of limited size. The file may have been swapped since it was looked at, so the open one is
/// looked at again, and opening does not wait for anything.
pub(crate) fn read(path: &Utf8Path) -> io::Result<Vec<u8>> {
    read_with(path, OFlags::NOFOLLOW)
}

/// As [`read`], through symbolic links: for files that others lay out, such as a certificate's, whose name is a link to the
/// set in use. Give it what [`Host::real`](super::Host::real) found, which follows them below another root.
pub(crate) fn read_behind(path: &Utf8Path) -> io::Result<Vec<u8>> {
    read_with(path, OFlags::empty())
}

fn read_with(path: &Utf8Path, more: OFlags) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let not_a_file = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    let opened = match openat(CWD, path.as_std_path(), flags, Mode::empty()) {
        // A symbolic link; a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(not_a_file()),
        opened => opened?,
    };
    if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::RegularFile {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(opened).take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn label(path: &Utf8Path) -> Option<String> {
    // No label is longer in practice; a longer one would read as none, and be set again.
    let mut value = [0u8; 512];
    let length = getxattr(path.as_std_path(), LABEL_ATTRIBUTE, &mut value).ok()?;
    let text = std::str::from_utf8(&value[..length]).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

fn missing_is_none<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    #[test]
    fn a_link_is_read_through_only_on_request() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        std::fs::create_dir(root.join("..1")).unwrap();
        std::fs::write(root.join("..1/a.pem"), "text").unwrap();
        for (target, link) in [("..1", "..data"), ("..data/a.pem", "a.pem"), ("..1", "folder")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        // The machine's own root is where links are left to the kernel.
        let host = Host::at("/".into()).unwrap();
        let path = host.real(root.join("a.pem").as_str());
        assert_eq!(read_behind(&path).unwrap(), b"text");
        assert!(read(&path).is_err());
        assert!(read_behind(&root.join("folder")).is_err());
    }

    #[test]
    fn sees_each_kind_and_hangs_on_none() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(keep.path().to_owned()).unwrap();
        let at = |name: &str| root.join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe").as_std_path(), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for (target, link) in
            [("file", "to-file"), ("pipe", "to-pipe"), ("nowhere", "dangling"), ("loop", "loop")]
        {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let big = std::fs::File::create(at("big")).unwrap();
        big.set_len(MAX_FILE_BYTES + 1).unwrap();

        let host = Host::at(&root).unwrap();
        let seen = listing(&host, &root, ReadAs::PodManifest).unwrap();
        let kinds: Vec<_> = seen.iter().map(|(name, seen)| (name.as_str(), seen.kind())).collect();
        assert_eq!(
            kinds,
            [
                ("big", "a file"),
                ("dangling", "a symbolic link"),
                ("directory", "a directory"),
                ("file", "a file"),
                ("loop", "a symbolic link"),
                ("pipe", "a named pipe"),
                ("to-file", "a symbolic link"),
                ("to-pipe", "a symbolic link"),
            ]
        );
        let leads_to = |name: &str| match &seen[name] {
            Entry::Symlink { leads_to } => leads_to.as_deref().map(Entry::kind),
            other => panic!("{other:?}"),
        };
        assert_eq!(leads_to("dangling"), None);
        assert_eq!(leads_to("loop"), None);
        assert_eq!(leads_to("to-file"), Some("a file"));
        assert_eq!(leads_to("to-pipe"), Some("a named pipe"));
        let contents = |name: &str| match &seen[name] {
            Entry::File(file) => file.contents.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(contents("file"), Contents::Digest(sha256(b"text")));
        assert_eq!(contents("big"), Contents::Unknown("larger than 10 MiB".into()));
        assert_eq!(entry(&host, &at("missing"), ReadAs::Bytes).unwrap(), None);
        assert_eq!(entry(&host, &at("file/below"), ReadAs::Bytes).unwrap(), None);
    }
}
