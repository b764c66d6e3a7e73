//! What goes into an image: components, each with its files, links and directories.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;

use crate::io::digest::Digest;

/// A part of the image that changes on its own, hence one layer: nodes fetch only the layers that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Unique within the image; lower-case letters, digits, `-` and `.`.
    pub name: String,
    /// In any order; the layer is sorted. Missing parent directories are added, owned by root with mode 0755.
    pub entries: Vec<Entry>,
}

/// One path of a layer. Its owner is root and its time the image's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root of the file system, as `usr/bin/basalt-agent`. What is allowed: see
    /// [`rules`](crate::oci::rules).
    pub path: String,
    /// What is there.
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
        /// Where the content comes from.
        source: Source,
        /// What the content has to hash to; checked while it is read.
        sha256: Option<Digest>,
    },
    /// A symbolic link.
    Symlink {
        /// The text of the link, absolute or relative.
        target: String,
    },
    /// A directory whose mode matters. Others need no entry.
    Directory {
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
    },
}

/// Where a file's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file on the build machine, read once, as a stream. Links are followed.
    Path(Utf8PathBuf),
}

impl Entry {
    /// A file without an expected digest.
    pub fn file(path: impl Into<String>, mode: u32, source: Source) -> Self {
        Self { path: path.into(), kind: EntryKind::File { mode, source, sha256: None } }
    }

    /// A file that has to have the digest `sha256`.
    pub fn pinned_file(path: impl Into<String>, mode: u32, source: Source, sha256: Digest) -> Self {
        let kind = EntryKind::File { mode, source, sha256: Some(sha256) };
        Self { path: path.into(), kind }
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), kind: EntryKind::Symlink { target: target.into() } }
    }

    /// A directory.
    pub fn directory(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), kind: EntryKind::Directory { mode } }
    }
}

/// A processor architecture that Fedora CoreOS is made for, by its name in OCI documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
    /// POWER, little-endian.
    Ppc64le,
    /// IBM Z.
    S390x,
}

impl Architecture {
    const ALL: [Self; 4] = [Self::Amd64, Self::Arm64, Self::Ppc64le, Self::S390x];

    /// The name in OCI documents (that of Go).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
        }
    }

    /// The name in Fedora's file names and in `uname -m`.
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no known architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an architecture of Fedora CoreOS (amd64, arm64, ppc64le or s390x)")]
pub struct NotAnArchitecture(pub String);

impl FromStr for Architecture {
    type Err = NotAnArchitecture;

    /// Takes both names, `amd64` and `x86_64`.
    fn from_str(text: &str) -> Result<Self, NotAnArchitecture> {
        let mut known = Self::ALL.into_iter();
        known
            .find(|known| known.as_str() == text || known.machine() == text)
            .ok_or_else(|| NotAnArchitecture(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures() {
        assert_eq!("amd64".parse(), Ok(Architecture::Amd64));
        assert_eq!("aarch64".parse(), Ok(Architecture::Arm64));
        assert_eq!("i386".parse::<Architecture>(), Err(NotAnArchitecture("i386".to_owned())));
    }
}
