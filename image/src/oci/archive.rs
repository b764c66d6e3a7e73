//! Packs an OCI layout folder into one file: the `oci-archive` that skopeo, podman and coreos-assembler read.

use std::fs::{self, File};
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};

use crate::io::digest::{Digest, DigestReader};
use crate::io::tar::{TarError, TarWriter};
use crate::oci::layout::{Layout, LayoutError, MARKER};

/// A layout could not be packed. What was written by then is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The folder is no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of blobs holds something else.
    #[error("`{path}` is not a blob: its name is not a SHA-256 digest")]
    Stranger {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A blob is not what its name says.
    #[error("the blob `{path}` is damaged: it has the digest {found}")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// Its digest.
        found: Digest,
    },
    /// An entry could not be written.
    #[error("cannot write `{path}` into the archive")]
    Entry {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: TarError,
    },
    /// The end of the archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

impl ArchiveError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Layout(error) => error.hint(),
            Self::Stranger { .. } | Self::Damaged { .. } => Some("compose the image again"),
            Self::Read { .. } | Self::Entry { .. } | Self::Write(_) => None,
        }
    }
}

/// Writes the layout in `folder` as a tar stream to `out`, sorted by path, owner 0, time 0. Every blob is checked
/// while it is read; memory use stays below [`COPY_BUFFER_BYTES`](crate::io::tar::COPY_BUFFER_BYTES) and some.
///
/// # Errors
/// See [`ArchiveError`].
pub fn archive(folder: &Utf8Path, out: impl Write) -> Result<(), ArchiveError> {
    Layout::open(folder)?;
    let mut tar = TarWriter::new(out, 0);
    for path in ["blobs", "blobs/sha256"] {
        tar.directory(path, 0o755)
            .map_err(|source| ArchiveError::Entry { path: folder.join(path), source })?;
    }
    for digest in blobs(&folder.join("blobs/sha256"))? {
        let name = format!("blobs/sha256/{}", digest.hex());
        let found = append(&mut tar, folder, &name)?;
        if found != digest {
            return Err(ArchiveError::Damaged { path: folder.join(name), found });
        }
    }
    for name in ["index.json", MARKER.0] {
        append(&mut tar, folder, name)?;
    }
    let failed = |error| ArchiveError::Write(io::Error::other(error));
    tar.finish().map_err(failed)?.flush().map_err(ArchiveError::Write)
}

fn append(
    tar: &mut TarWriter<impl Write>,
    folder: &Utf8Path,
    name: &str,
) -> Result<Digest, ArchiveError> {
    let path = folder.join(name);
    let read_error = |source| ArchiveError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(read_error)?;
    let size = file.metadata().map_err(read_error)?.len();
    let mut content = DigestReader::new(file);
    tar.file(name, 0o644, size, &mut content)
        .map_err(|source| ArchiveError::Entry { path: path.clone(), source })?;
    Ok(content.finish().0)
}

/// The blobs in a folder, sorted by name.
fn blobs(folder: &Utf8Path) -> Result<Vec<Digest>, ArchiveError> {
    let read_error = |source| ArchiveError::Read { path: folder.to_owned(), source };
    let mut blobs = Vec::new();
    for entry in fs::read_dir(folder).map_err(read_error)? {
        let name = entry.map_err(read_error)?.file_name();
        let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
        let path = || folder.join(name.to_string_lossy().as_ref());
        blobs.push(digest.ok_or_else(|| ArchiveError::Stranger { path: path() })?);
    }
    blobs.sort();
    Ok(blobs)
}
