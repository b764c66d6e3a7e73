//! The files directory: what a config may take from the build machine, and nothing outside of it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};

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
    let metadata = fs::metadata(&file);
    let metadata = metadata.map_err(|error| LocalError::Io { path: path.to_owned(), error })?;
    found(file, path, &metadata)
}

/// The file `file` with its `metadata`, which messages call `path`. Anything but a regular file is refused before it is
/// opened: a named pipe would never end.
pub(crate) fn found(
    file: Utf8PathBuf,
    path: &str,
    metadata: &Metadata,
) -> Result<Found, LocalError> {
    let path = path.to_owned();
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" };
        return Err(LocalError::NoFile { path, found });
    }
    match metadata.len() {
        bytes if bytes > MAX_FILE_BYTES => Err(LocalError::TooLarge { path, bytes }),
        bytes => Ok(Found { file, path, bytes }),
    }
}

/// Reads a file that was found. It may have grown since, and grow while it is read: not past [`MAX_FILE_BYTES`].
pub(crate) fn contents(found: &Found) -> Result<Vec<u8>, LocalError> {
    let io = |error| LocalError::Io { path: found.path.clone(), error };
    let mut contents = Vec::with_capacity(usize::try_from(found.bytes).unwrap_or(0) + 1);
    let file = File::open(&found.file).map_err(io)?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut contents).map_err(io)? as u64;
    if bytes > MAX_FILE_BYTES {
        return Err(LocalError::TooLarge { path: found.path.clone(), bytes });
    }
    Ok(contents)
}

/// The folder at `path` below `files_dir`, without symbolic links in its name.
pub(crate) fn folder(files_dir: Option<&Utf8Path>, path: &str) -> Result<Utf8PathBuf, LocalError> {
    let folder = locate(files_dir, path)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(LocalError::NoFolder(path.to_owned()))
}

/// Where `path` is: cleaned, then with all symbolic links followed, and below `files_dir` both times.
fn locate(files_dir: Option<&Utf8Path>, path: &str) -> Result<Utf8PathBuf, LocalError> {
    let files_dir = files_dir.ok_or(LocalError::NoFilesDir)?;
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| LocalError::Outside(path.to_owned()))?;
            }
            part => parts.push(part),
        }
    }
    let io = |error| LocalError::Io { path: path.to_owned(), error };
    let base = files_dir.canonicalize_utf8().map_err(io)?;
    let found = base.join(parts.join("/")).canonicalize_utf8().map_err(io)?;
    if !found.starts_with(&base) {
        return Err(LocalError::LinkOutside(path.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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
}
