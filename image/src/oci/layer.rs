//! Writes one layer: a tar stream by its plan, hashed, compressed and hashed again, in one pass.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use camino::Utf8PathBuf;
use flate2::{Compression, GzBuilder, write::GzEncoder};

use crate::io::digest::{Digest, DigestReader, DigestWriter};
use crate::io::tar::{TarError, TarWriter};
use crate::oci::entry::Source;
use crate::oci::rules::{Item, LayerPlan};

/// Level of compression, of 1 to 9. Level 4 of zlib-rs makes a layer of programs 2 % larger than level 6 in 80 % of the
/// time. The bytes depend on it and on the version of the compressor, which the lock file pins; the diff id does not.
pub const GZIP_LEVEL: u32 = 4;

/// Bytes held in memory while one layer is written, whatever its size: the copy buffer, the compressor's window and
/// tables, and the output buffer. The bytes of [`Source::Bytes`] are held by the caller.
pub const LAYER_MEMORY_BYTES: usize = 1024 * 1024;

/// The media type of the layers that [`write()`] makes. Every tool on the way to a node takes gzip.
pub const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The "unknown" operating system of the gzip header, so that its bytes do not tell where it was made (RFC 1952).
const GZIP_OS_UNKNOWN: u8 = 255;

/// What a written layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the tar stream.
    pub diff_id: Digest,
    /// The digest of the compressed stream, the name of the blob.
    pub digest: Digest,
    /// The size of the compressed stream in bytes.
    pub size: u64,
}

/// A layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A source could not be opened or is not a regular file.
    #[error("component `{component}`: cannot read `{source_path}` for `{path}`")]
    Open {
        /// The component's name.
        component: String,
        /// The path in the image.
        path: String,
        /// The file on the build machine.
        source_path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file's content is not what was asked for.
    #[error("component `{component}`: `{path}` has the digest {found}, but {expected} is expected")]
    Digest {
        /// The component's name.
        component: String,
        /// The path in the image.
        path: String,
        /// The digest that the specification of the image names.
        expected: Digest,
        /// The digest of the content.
        found: Digest,
    },
    /// An entry could not be written.
    #[error("component `{component}`: cannot write `{path}` into the layer")]
    Entry {
        /// The component's name.
        component: String,
        /// The path in the image.
        path: String,
        /// Why.
        source: TarError,
    },
    /// The end of the layer could not be written.
    #[error("component `{component}`: cannot write the layer")]
    Write {
        /// The component's name.
        component: String,
        /// Why.
        source: io::Error,
    },
}

impl LayerError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => Some("check the path; build or fetch the file first"),
            Self::Digest { .. } => Some(
                "fetch the file again, or correct its sha256 after checking where it comes from",
            ),
            Self::Entry { source: TarError::Changed { .. }, .. } => {
                Some("something writes to the file; wait for it to end and build again")
            }
            Self::Entry { .. } | Self::Write { .. } => None,
        }
    }
}

/// Writes the layer `plan` to `out`; every entry has `mtime`, in seconds since the Unix epoch. Memory use stays below
/// [`LAYER_MEMORY_BYTES`].
///
/// # Errors
/// When a source cannot be read, changes while it is read or has another digest, or `out` fails. What `out` has then is
/// of no use.
pub fn write(plan: &LayerPlan<'_>, mtime: u64, out: impl Write) -> Result<Layer, LayerError> {
    let compressed = DigestWriter::new(BufWriter::new(out));
    let gzip: GzEncoder<_> = GzBuilder::new()
        .mtime(0)
        .operating_system(GZIP_OS_UNKNOWN)
        .write(compressed, Compression::new(GZIP_LEVEL));
    let mut tar = TarWriter::new(DigestWriter::new(gzip), mtime);
    for (path, item) in &plan.items {
        write_item(&mut tar, plan.component, path, item)?;
    }
    let failed = |source| LayerError::Write { component: plan.component.to_owned(), source };
    let tar = tar.finish().map_err(|error| failed(io::Error::other(error)))?;
    let (gzip, diff_id, _) = tar.finish();
    let (mut out, digest, size) = gzip.finish().map_err(failed)?.finish();
    out.flush().map_err(failed)?;
    Ok(Layer { diff_id, digest, size })
}

fn write_item(
    tar: &mut TarWriter<impl Write>,
    component: &str,
    path: &str,
    item: &Item<'_>,
) -> Result<(), LayerError> {
    let failed =
        |source| LayerError::Entry { component: component.into(), path: path.into(), source };
    let (mode, source, expected) = match *item {
        Item::Directory { mode } => return tar.directory(path, mode).map_err(failed),
        Item::Symlink { target } => return tar.symlink(path, target).map_err(failed),
        Item::File { mode, source, sha256 } => (mode, source, sha256),
    };
    let found = match source {
        Source::Bytes(bytes) => {
            let mut content = DigestReader::new(bytes.as_slice());
            tar.file(path, mode, bytes.len() as u64, &mut content).map_err(failed)?;
            content.finish().0
        }
        Source::Path(source_path) => {
            let (file, size) = open(source_path).map_err(|source| LayerError::Open {
                component: component.into(),
                path: path.into(),
                source_path: source_path.clone(),
                source,
            })?;
            match expected {
                // Without a digest to compare, the file's own hash would be thrown away.
                None => return tar.file(path, mode, size, file).map_err(failed),
                Some(_) => {
                    let mut content = DigestReader::new(file);
                    tar.file(path, mode, size, &mut content).map_err(failed)?;
                    content.finish().0
                }
            }
        }
    };
    match expected {
        Some(&expected) if expected != found => Err(LayerError::Digest {
            component: component.into(),
            path: path.into(),
            expected,
            found,
        }),
        Some(_) | None => Ok(()),
    }
}

fn open(path: &Utf8PathBuf) -> io::Result<(File, u64)> {
    // Opening a FIFO would block, so the type is looked at first.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::entry::{Component, Entry, EntryKind};
    use crate::oci::rules;
    use crate::oci::tree::Tree;
    use expect_test::expect;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    fn component(entries: Vec<Entry>) -> [Component; 1] {
        [Component { name: "test".into(), entries }]
    }

    fn build(components: &[Component]) -> Result<(Layer, Vec<u8>), LayerError> {
        let plans = rules::plan(components, &Tree::default()).unwrap();
        let mut bytes = Vec::new();
        write(&plans[0], 0, &mut bytes).map(|layer| (layer, bytes))
    }

    fn sample() -> [Component; 1] {
        component(vec![
            Entry::file("usr/bin/agent", 0o755, Source::Bytes(b"#!/bin/sh\n".to_vec())),
            Entry::symlink(
                "usr/lib/systemd/system/multi-user.target.wants/a.service",
                "../a.service",
            ),
            Entry::file("usr/lib/systemd/system/a.service", 0o644, Source::Bytes(vec![b'a'; 1000])),
            Entry::directory("etc/agent", 0o750),
            Entry::file(format!("usr/share/{}", "n".repeat(200)), 0o600, Source::Bytes(vec![])),
        ])
    }

    /// The bytes of a layer are a promise: a change here makes every node fetch every layer again. The digest of the
    /// compressed stream is not promised, since it changes with the compressor.
    #[test]
    fn golden_diff_id() {
        let (layer, _) = build(&sample()).unwrap();
        expect!["sha256:5067c12547da80f03fcf619ecae62833384d89992389bac6630e3b0a6177a4e2"]
            .assert_eq(&layer.diff_id.to_string());
    }

    #[test]
    fn gzip_header_and_digests() {
        let (layer, bytes) = build(&sample()).unwrap();
        // ID1 ID2 CM FLG, MTIME, then XFL and OS (RFC 1952 section 2.3).
        assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[9], GZIP_OS_UNKNOWN);
        assert_eq!((layer.digest, layer.size), (Digest::of(&bytes), bytes.len() as u64));
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(layer.diff_id, Digest::of(&tar));
    }

    #[test]
    fn expected_digests_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8PathBuf::from_path_buf(folder.path().join("in")).unwrap();
        std::fs::write(&file, "content").unwrap();
        let good = Digest::of(b"content");
        let bad = Digest::of(b"other");
        for source in [Source::Path(file), Source::Bytes(b"content".to_vec())] {
            let entry = |sha256| Entry::pinned_file("etc/in", 0o644, source.clone(), sha256);
            build(&component(vec![entry(good)])).unwrap();
            let error = build(&component(vec![entry(bad)])).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("component `test`: `etc/in` has the digest {good}, but {bad} is expected")
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn sources_that_are_no_files_are_refused() {
        for path in ["/dev/null", "/", "/does/not/exist"] {
            let entries = vec![Entry::file("etc/in", 0o644, Source::Path(path.into()))];
            let error = build(&component(entries)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("component `test`: cannot read `{path}` for `etc/in`")
            );
        }
    }

    /// The kernel gives the files below /proc a size of zero and content all the same.
    #[test]
    fn a_file_of_another_size_than_announced_is_refused() {
        let entries = vec![Entry::file("etc/in", 0o644, Source::Path("/proc/self/status".into()))];
        let error = build(&component(entries)).unwrap_err();
        assert_eq!(error.to_string(), "component `test`: cannot write `etc/in` into the layer");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("the file changed while it was read: 0 bytes"), "{source}");
    }

    fn paths() -> impl Strategy<Value = Vec<Entry>> {
        let path = "(usr/bin|usr/lib/a|etc)/[a-cΩ]{1,3}[0-9]{0,120}(/f[0-9])?";
        let kind = prop_oneof![
            (0..0o7777u32, proptest::collection::vec(any::<u8>(), 0..2000)).prop_map(
                |(mode, bytes)| {
                    EntryKind::File { mode, source: Source::Bytes(bytes), sha256: None }
                }
            ),
            "[a-z/.Ω]{1,150}".prop_map(|target| EntryKind::Symlink { target }),
            (0..0o7777u32).prop_map(|mode| EntryKind::Directory { mode }),
        ];
        let entries = proptest::collection::vec((path, kind), 1..12);
        entries.prop_map(|entries| {
            let mut kept: BTreeMap<String, EntryKind> = BTreeMap::new();
            for (path, kind) in entries {
                let clashes = kept.keys().any(|other| {
                    path.starts_with(&format!("{other}/")) || other.starts_with(&format!("{path}/"))
                });
                if !clashes {
                    kept.insert(path, kind);
                }
            }
            kept.into_iter().map(|(path, kind)| Entry { path, kind }).collect()
        })
    }

    /// What the `tar` crate finds in a compressed layer, without the directories that nobody asked for.
    fn read_back(bytes: &[u8], asked: &[Entry]) -> Vec<Entry> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
        let mut entries = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
            let mode = entry.header().mode().unwrap();
            let kind = match entry.header().entry_type() {
                tar::EntryType::Directory => EntryKind::Directory { mode },
                tar::EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap().into_owned();
                    EntryKind::Symlink { target: String::from_utf8(target).unwrap() }
                }
                _ => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    EntryKind::File { mode, source: Source::Bytes(bytes), sha256: None }
                }
            };
            let is_parent = kind == EntryKind::Directory { mode: rules::PARENT_MODE }
                && asked.iter().any(|other| other.path.starts_with(&format!("{path}/")));
            if !is_parent {
                entries.push(Entry { path, kind });
            }
        }
        entries
    }

    proptest! {
        #[test]
        fn reads_back_as_its_entries(entries in paths()) {
            let (_, bytes) = build(&component(entries.clone())).unwrap();
            let mut sorted = entries.clone();
            sorted.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
            prop_assert_eq!(read_back(&bytes, &entries), sorted);
        }

        #[test]
        fn order_of_entries_does_not_matter(
            (entries, shuffled) in paths().prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle()))
        ) {
            let (one, two) = (build(&component(entries)).unwrap(), build(&component(shuffled)).unwrap());
            prop_assert!(one == two);
        }
    }
}
