//! The files directory: what a config may take from the build machine, and nothing outside of it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::tree::{Findings, Origin};

/// The largest file that is put into a config, in bytes. Ignition keeps the whole config in memory, several times.
pub(crate) const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// What keeps a local path from being read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error("a local path needs a files directory to be below")]
    NoFilesDir,
    #[error("`{0}` leads out of the files directory")]
    Outside(String),
    #[error("`{0}` leads out of the files directory by a symbolic link")]
    LinkOutside(String),
    #[error("`{path}` is {found}, not a file")]
    NoFile { path: String, found: &'static str },
    #[error("`{0}` is not a folder")]
    NoFolder(String),
    #[error("`{path}` has {bytes} bytes; at most {MAX_FILE_BYTES} fit into a config")]
    TooLarge { path: String, bytes: u64 },
    #[error("cannot read `{path}` below the files directory: {error}")]
    Io { path: String, error: io::Error },
}

impl LocalError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFilesDir => Some("name one with `--files-dir`"),
            Self::Outside(_) | Self::LinkOutside(_) => {
                Some("put a copy of it below the files directory")
            }
            Self::NoFile { .. } | Self::NoFolder(_) | Self::Io { .. } => None,
            Self::TooLarge { .. } => Some("let the machine fetch it, with `source`"),
        }
    }
}

/// Reports at `origin` why a local path was not read.
pub(crate) fn report(error: &LocalError, origin: &Origin, findings: &mut Findings) {
    let finding = findings.error(origin, error.to_string());
    if let Some(hint) = error.hint() {
        finding.hint(hint);
    }
}

/// What findings call the file at `path` below `files_dir`.
pub(crate) fn name(files_dir: &Utf8Path, path: &str) -> Utf8PathBuf {
    files_dir.join(clean(path).unwrap_or_else(|| path.to_owned()))
}

/// A file of the build machine that was found, and not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    file: Utf8PathBuf,
    /// What messages call it.
    path: String,
    /// When it was found.
    pub bytes: u64,
}

/// Reads the file at `path` below `files_dir`.
pub(crate) fn read(files_dir: Option<&Utf8Path>, path: &str) -> Result<Vec<u8>, LocalError> {
    contents(&find(files_dir, path)?)
}

/// Finds the file at `path` below `files_dir`.
pub(crate) fn find(files_dir: Option<&Utf8Path>, path: &str) -> Result<Found, LocalError> {
    let file = locate(files_dir, path)?;
    let metadata = fs::symlink_metadata(&file);
    let metadata = metadata.map_err(|error| LocalError::Io { path: path.to_owned(), error })?;
    found(file, path, &metadata)
}

/// The file `file`, which has no symbolic links in its name, with its `metadata`; messages call it `path`. Anything but a
/// regular file is refused before it is opened: a named pipe would never end, and devices do things when they are
/// opened.
pub(crate) fn found(
    file: Utf8PathBuf,
    path: &str,
    metadata: &Metadata,
) -> Result<Found, LocalError> {
    let path = path.to_owned();
    check_kind(metadata, &path)?;
    match metadata.len() {
        bytes if bytes > MAX_FILE_BYTES => Err(LocalError::TooLarge { path, bytes }),
        bytes => Ok(Found { file, path, bytes }),
    }
}

fn check_kind(metadata: &Metadata, path: &str) -> Result<(), LocalError> {
    let found = match metadata.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a symbolic link",
        _ => "a device, pipe or socket",
    };
    Err(LocalError::NoFile { path: path.to_owned(), found })
}

/// Reads a file that was found. It may have become something else since, which is refused, or have grown, and grow while
/// it is read: not past [`MAX_FILE_BYTES`].
pub(crate) fn contents(found: &Found) -> Result<Vec<u8>, LocalError> {
    let io = |error| LocalError::Io { path: found.path.clone(), error };
    let file = open_in_place(&found.file).map_err(io)?;
    check_kind(&file.metadata().map_err(io)?, &found.path)?;
    let mut contents = Vec::with_capacity(usize::try_from(found.bytes).unwrap_or(0) + 1);
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut contents).map_err(io)? as u64;
    if bytes > MAX_FILE_BYTES {
        return Err(LocalError::TooLarge { path: found.path.clone(), bytes });
    }
    Ok(contents)
}

/// Opens a file without following any symbolic link. The path was looked at before: a link that has come between is
/// somebody's try to lead us out of the files directory.
fn open_in_place(file: &Utf8Path) -> io::Result<File> {
    // What has become a pipe since must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    match openat2(CWD, file.as_std_path(), flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Linux before 5.6, and sandboxes that have not heard of the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            Ok(open(file.as_std_path(), flags | OFlags::NOFOLLOW, Mode::empty())?.into())
        }
        opened => Ok(opened?.into()),
    }
}

/// The folder at `path` below `files_dir`, without symbolic links in its name.
pub(crate) fn folder(files_dir: Option<&Utf8Path>, path: &str) -> Result<Utf8PathBuf, LocalError> {
    let folder = locate(files_dir, path)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(LocalError::NoFolder(path.to_owned()))
}

/// The symbolic link at `path` below `files_dir`, when there is one and not what it leads to. The files directory
/// itself may be one.
pub(crate) fn link(files_dir: Option<&Utf8Path>, path: &str) -> Option<Utf8PathBuf> {
    let clean = clean(path).filter(|path| !path.is_empty())?;
    let link = files_dir?.join(clean);
    link.is_symlink().then_some(link)
}

/// Where `path` is: cleaned, then with all symbolic links followed, and below `files_dir` both times.
fn locate(files_dir: Option<&Utf8Path>, path: &str) -> Result<Utf8PathBuf, LocalError> {
    let files_dir = files_dir.ok_or(LocalError::NoFilesDir)?;
    let clean = clean(path).ok_or_else(|| LocalError::Outside(path.to_owned()))?;
    let io = |error| LocalError::Io { path: path.to_owned(), error };
    let base = files_dir.canonicalize_utf8().map_err(io)?;
    let found = base.join(clean).canonicalize_utf8().map_err(io)?;
    if !found.starts_with(&base) {
        return Err(LocalError::LinkOutside(path.to_owned()));
    }
    Ok(found)
}

/// A path below the files directory in its simplest form; `None` leads out of it.
fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::FileType;

    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap();
        let inside = base.join("inside");
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::write(inside.join("a/f"), "text").unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        symlink("../secret", inside.join("out")).unwrap();
        symlink("a/f", inside.join("in")).unwrap();
        symlink("..", inside.join("up")).unwrap();

        let read = |path: &str| {
            super::read(Some(&inside), path)
                .map(|bytes| String::from_utf8(bytes).unwrap())
                .map_err(|error| error.to_string())
        };
        for path in ["a/f", "/a/f", "a/b/../f", "./a//f", "in"] {
            assert_eq!(read(path), Ok("text".to_owned()), "{path}");
        }
        assert_eq!(read("../secret"), Err("`../secret` leads out of the files directory".into()));
        assert_eq!(
            read("a/../../inside/a/f"),
            Err("`a/../../inside/a/f` leads out of the files directory".into())
        );
        for path in ["out", "up/secret"] {
            let expected = format!("`{path}` leads out of the files directory by a symbolic link");
            assert_eq!(read(path), Err(expected));
        }
        assert_eq!(read("a"), Err("`a` is a folder, not a file".into()));
        assert!(read("absent").unwrap_err().contains("No such file"));
        assert!(matches!(super::read(None, "a/f"), Err(LocalError::NoFilesDir)));
    }

    #[test]
    fn a_files_directory_may_be_a_link_itself() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap();
        fs::create_dir_all(base.join("real/sub")).unwrap();
        fs::write(base.join("real/sub/f"), "text").unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        symlink("real", base.join("files")).unwrap();
        symlink(base.join("real/sub/f"), base.join("real/in")).unwrap();
        symlink("../secret", base.join("real/out")).unwrap();
        let files = base.join("files");
        for path in ["sub/f", "in"] {
            assert_eq!(read(Some(&files), path).unwrap(), b"text", "{path}");
        }
        assert!(matches!(read(Some(&files), "out"), Err(LocalError::LinkOutside(_))));
        assert!(matches!(read(Some(&files), "../secret"), Err(LocalError::Outside(_))));
        assert_eq!(super::folder(Some(&files), "sub").unwrap(), base.join("real/sub"));
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap();
        // To open it for reading would wait for somebody who writes.
        rustix::fs::mknodat(CWD, base.join("pipe").as_std_path(), FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let _socket = UnixListener::bind(base.join("socket")).unwrap();
        symlink("pipe", base.join("link")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        for path in ["pipe", "socket", "link"] {
            let error = read(Some(base), path).unwrap_err().to_string();
            assert_eq!(error, format!("`{path}` is a device, pipe or socket, not a file"));
        }
        let error = read(Some(base), "loop").unwrap_err().to_string();
        assert!(error.contains("Too many levels of symbolic links"), "{error}");
        assert!(open_in_place(&base.join("pipe")).is_ok(), "it does not wait");
    }

    /// The path was good when it was looked at, and has become a link since.
    #[test]
    fn links_that_come_between_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        fs::create_dir(base.join("real")).unwrap();
        fs::write(base.join("real/f"), "secret").unwrap();
        symlink("real", base.join("was-a-folder")).unwrap();
        symlink("real/f", base.join("was-a-file")).unwrap();
        assert!(open_in_place(&base.join("real/f")).is_ok());
        for path in ["was-a-folder/f", "was-a-file"] {
            let error = open_in_place(&base.join(path)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()), "{path}");
        }
        let link = base.join("was-a-file");
        let metadata = fs::symlink_metadata(&link).unwrap();
        let error = found(link, "f", &metadata).unwrap_err().to_string();
        assert_eq!(error, "`f` is a symbolic link, not a file");
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap();
        fs::write(base.join("f"), "text").unwrap();
        fs::set_permissions(base.join("f"), fs::Permissions::from_mode(0o000)).unwrap();
        // The other one is closed to root too: nothing is at address 0.
        let mut files = vec![(Utf8Path::new("/proc/self"), "mem")];
        if !rustix::process::geteuid().is_root() {
            files.push((base, "f"));
        }
        for (folder, file) in files {
            let error = read(Some(folder), file).unwrap_err().to_string();
            let start = format!("cannot read `{file}` below the files directory: ");
            assert!(error.starts_with(&start), "{error}");
        }
        let error = read(Some(&base.join("absent")), "f").unwrap_err().to_string();
        assert!(error.starts_with("cannot read `f` below the files directory:"), "{error}");
    }
}
