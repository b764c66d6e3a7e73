//! An `oci-archive` on its way into a container runtime: what it holds, and the same archive under other names.
//!
//! Archives come from many tools, and each names what is inside in its own way: by tag alone, by nothing, in
//! annotations of its own. Pods ask for `name@digest`. So a runtime gets an archive through [`rename`], whose index
//! lists one image under exactly the names it is to have; every blob is as it was, hence every digest too.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::json;

use crate::io::digest::{Digest, DigestReader};
use crate::io::limit::LimitReader;
use crate::io::tar::{TarError, TarWriter};
use crate::oci::layout::{Descriptor, INDEX_TYPE, MARKER, MAX_DOCUMENT_BYTES};
use crate::oci::recognise::GZIP;

/// The annotation from which containerd takes the whole name of an image
/// (<https://github.com/containerd/containerd/blob/main/core/images/annotations.go>).
const NAME: &str = "io.containerd.image.name";

const INDEX: &str = "index.json";

/// Where a layout keeps its blobs.
const BLOBS: &str = "blobs/sha256/";

/// What an archive holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Digest of the archive file itself.
    pub archive: Digest,
    /// What `index.json` lists, in its order.
    pub images: Vec<Descriptor>,
    blobs: BTreeSet<Digest>,
}

/// An archive that no image can be taken from.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The bytes do not come, or are no tar stream.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The documents of an OCI layout are not in it.
    #[error("it is not an OCI archive: it has no `{missing}`")]
    NotOci {
        /// The first one that is missing.
        missing: &'static str,
    },
    /// Its index is not one.
    #[error("its `index.json` is not an image index")]
    Index(#[source] serde_json::Error),
    /// It holds other images.
    #[error("it does not hold {wanted}; its index lists {offered}")]
    NoImage {
        /// The digest that was asked for.
        wanted: Digest,
        /// The digests that are listed, for people.
        offered: String,
    },
    /// The index lists an image that is not there.
    #[error("it lists {0} and does not hold it")]
    NoBlob(Digest),
    /// The copy could not be written.
    #[error("cannot write the archive")]
    Write(#[source] TarError),
}

impl ImportError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotOci { .. } | Self::Index(_) => Some(
                "make one with `skopeo copy docker://REGISTRY/IMAGE oci-archive:FILE`; a docker-archive keeps no digest",
            ),
            Self::NoImage { .. } => Some(
                "name the image by a digest that the archive lists, or copy it with `skopeo copy --preserve-digests`",
            ),
            Self::NoBlob(_) => Some("make the archive again"),
            Self::Read(_) | Self::Write(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// Reads an archive from its first byte to its last. Memory use stays below
/// [`MAX_DOCUMENT_BYTES`] and some.
///
/// # Errors
/// When it is no OCI archive, or cannot be read.
pub fn contents(archive: impl Read) -> Result<Contents, ImportError> {
    let mut raw = DigestReader::new(archive);
    let mut index = None;
    let mut is_marked = false;
    let mut blobs = BTreeSet::new();
    for_each(&mut raw, |name, _, content| {
        if name == INDEX {
            let mut bytes = Vec::new();
            LimitReader::new(content, MAX_DOCUMENT_BYTES)
                .read_to_end(&mut bytes)
                .map_err(ImportError::Read)?;
            index = Some(bytes);
        } else if name == MARKER.0 {
            is_marked = true;
        } else if let Some(blob) = name.strip_prefix(BLOBS) {
            // What is not named after a digest is no blob, and nobody asks for it.
            blobs.extend(Digest::from_hex(blob).ok());
        }
        Ok(())
    })?;
    // What stands behind the end of the tar stream belongs to the file all the same.
    io::copy(&mut raw, &mut io::sink()).map_err(ImportError::Read)?;
    if !is_marked {
        return Err(ImportError::NotOci { missing: MARKER.0 });
    }
    let index = index.ok_or(ImportError::NotOci { missing: INDEX })?;
    let index: Index = serde_json::from_slice(&index).map_err(ImportError::Index)?;
    Ok(Contents { archive: raw.finish().0, images: index.manifests, blobs })
}

impl Contents {
    /// The blobs it holds, by their names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.blobs.iter().copied()
    }

    /// The image (or the index of images for several architectures) with this digest.
    ///
    /// # Errors
    /// When the archive does not have it.
    pub fn find(&self, digest: &Digest) -> Result<&Descriptor, ImportError> {
        let found = self.images.iter().find(|image| image.digest == *digest);
        let found = found.ok_or_else(|| {
            let offered: Vec<String> =
                self.images.iter().map(|image| image.digest.to_string()).collect();
            let offered =
                if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
            ImportError::NoImage { wanted: *digest, offered }
        })?;
        match self.blobs.contains(digest) {
            true => Ok(found),
            false => Err(ImportError::NoBlob(*digest)),
        }
    }
}

/// Copies `archive` to `out` with another index, which lists `image` once under each of `names`. Memory use stays below
/// a buffer's size.
///
/// # Errors
/// When one of the two ends fails.
pub fn rename(
    archive: impl Read,
    image: &Descriptor,
    names: &[String],
    out: impl Write,
) -> Result<(), ImportError> {
    let mut tar = TarWriter::new(out, 0);
    for_each(archive, |name, size, content| match name.strip_prefix(BLOBS) {
        Some(_) => tar.file(name, 0o644, size, content).map_err(ImportError::Write),
        None => Ok(()),
    })?;
    let manifests: Vec<serde_json::Value> = names
        .iter()
        .map(|name| {
            json!({
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": image.size,
                "annotations": {NAME: name},
            })
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
    for (name, text) in [(INDEX, index.to_string()), (MARKER.0, MARKER.1.to_owned())] {
        let write = tar.file(name, 0o644, text.len() as u64, text.as_bytes());
        write.map_err(ImportError::Write)?;
    }
    let mut out = tar.finish().map_err(ImportError::Write)?;
    out.flush().map_err(|error| ImportError::Write(TarError::Write(error)))
}

/// Calls `act` with every regular file: its name without a leading `./`, its size, its content.
fn for_each(
    archive: impl Read,
    mut act: impl FnMut(&str, u64, &mut dyn Read) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut archive = BufReader::new(archive);
    let is_gzip =
        io::BufRead::fill_buf(&mut archive).map_err(ImportError::Read)?.starts_with(&GZIP);
    let archive: Box<dyn Read + '_> =
        if is_gzip { Box::new(MultiGzDecoder::new(archive)) } else { Box::new(archive) };
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(ImportError::Read)? {
        let mut entry = entry.map_err(ImportError::Read)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        act(name.strip_prefix("./").unwrap_or(&name), size, &mut entry)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::oci::Architecture;
    use crate::pause::pause;

    fn names(archive: &[u8]) -> Vec<String> {
        let contents = contents(archive).unwrap();
        contents.images.iter().map(|image| image.annotations[NAME].clone()).collect()
    }

    #[test]
    fn an_archive_gets_other_names_and_keeps_its_digests() {
        let pause = pause(Architecture::Amd64).unwrap();
        let names_wanted = ["r.example/a:1".to_owned(), format!("r.example/a@{}", pause.manifest)];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&pause.archive).unwrap();
        for archive in [pause.archive.clone(), gzip.finish().unwrap()] {
            let before = contents(&archive[..]).unwrap();
            assert_eq!(before.archive, Digest::of(&archive));
            let image = before.find(&pause.manifest).unwrap();
            let mut renamed = Vec::new();
            rename(&archive[..], image, &names_wanted, &mut renamed).unwrap();
            assert_eq!(names(&renamed), names_wanted);
            let after = contents(&renamed[..]).unwrap();
            assert_eq!(after.blobs, before.blobs);
            after.find(&pause.manifest).unwrap();
        }
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        let mut tar = TarWriter::new(Vec::new(), 0);
        for (name, text) in files {
            tar.file(name, 0o644, text.len() as u64, text.as_bytes()).unwrap();
        }
        let tar = tar.finish().unwrap();
        let wanted = Digest::of(b"image");
        let error = contents(&tar[..]).and_then(|found| found.find(&wanted).cloned()).unwrap_err();
        let message = error.to_string().replace(&wanted.to_string(), "WANTED");
        assert_eq!(message, expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let digest = Digest::of(b"image");
        let list = |digest: &Digest| {
            format!(r#"{{"manifests": [{{"mediaType": "m", "digest": "{digest}", "size": 5}}]}}"#)
        };
        check(&[("manifest.json", "[]")], "it is not an OCI archive: it has no `oci-layout`");
        check(&[("oci-layout", "{}")], "it is not an OCI archive: it has no `index.json`");
        let marked = |index: &str, expected: &str| {
            check(&[("oci-layout", "{}"), ("index.json", index)], expected);
        };
        marked("[]", "its `index.json` is not an image index");
        marked(r#"{"manifests": []}"#, "it does not hold WANTED; its index lists nothing");
        let other = Digest::of(b"other");
        marked(&list(&other), &format!("it does not hold WANTED; its index lists {other}"));
        marked(&list(&digest), "it lists WANTED and does not hold it");
        assert!(matches!(contents(&[0x1f, 0x8b, 0][..]), Err(ImportError::Read(_))));
        let cut = pause(Architecture::Amd64).unwrap().archive;
        assert!(matches!(contents(&cut[..700]), Err(ImportError::Read(_))));
    }
}
