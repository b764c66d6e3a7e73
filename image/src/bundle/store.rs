//! Where a bundle lies on disk: an OCI layout folder, or the same packed into one file. Its signatures lie beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bundle::content::MAX_CONTENT_BYTES;
use crate::bundle::{Artefact, ArtefactError, Built, CONFIG_TYPE, Parts, descriptors, parse};
use crate::io::atomic::{self, PlaceError};
use crate::io::digest::Digest;
use crate::io::limit::LimitReader;
use crate::io::tar::TarWriter;
use crate::oci::layout::{
    Descriptor, INDEX_TYPE, Layout, LayoutError, MANIFEST_TYPE, MARKER, MAX_DOCUMENT_BYTES,
    REF_NAME,
};
use crate::sign::document::{self, Documents, Subject};
use crate::sign::{self, MAX_SIGNATURES, Signature, simple};

/// The largest archive that is read, in bytes; it is held in memory.
const MAX_ARCHIVE_BYTES: u64 = 64 << 20;

/// The ending of archives.
pub const ARCHIVE_ENDING: &str = ".tar";

/// A bundle with its signatures, as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The bundle, checked.
    pub artefact: Artefact,
    /// Its blobs.
    pub parts: Parts,
    /// Its signatures. Nothing is known of them until [`sign::verify`] says so.
    pub signatures: Vec<Signature>,
}

/// A bundle could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An archive without the documents of a layout, or with documents that are none.
    #[error("`{path}` is not an OCI archive: {why}")]
    NotAnArchive {
        /// The file.
        path: Utf8PathBuf,
        /// What is missing.
        why: String,
    },
    /// No bundle, or not the one that was asked for.
    #[error("`{path}` does not hold {wanted}")]
    NoBundle {
        /// The folder or file.
        path: Utf8PathBuf,
        /// What was asked for.
        wanted: String,
    },
    /// Several bundles, and none was asked for.
    #[error("`{path}` holds several bundles: {offered}")]
    Ambiguous {
        /// The folder or file.
        path: Utf8PathBuf,
        /// Their digests.
        offered: String,
    },
    /// It breaks a rule of bundles.
    #[error("the bundle in `{path}` cannot be used")]
    Artefact {
        /// The folder or file.
        path: Utf8PathBuf,
        /// Why.
        source: ArtefactError,
    },
    /// Something else is in the place of the output.
    #[error("`{path}` is not empty and not an OCI layout, so it is not replaced")]
    Occupied {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// The output could not be put in its place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The output could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The folder or file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StoreError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Artefact { source, .. } => source.hint(),
            Self::Layout(LayoutError::NotALayout { .. } | LayoutError::Version { .. })
            | Self::NoBundle { .. }
            | Self::NotAnArchive { .. } => Some("make one with `cargo xtask bundle build`"),
            Self::Layout(error) => error.hint(),
            Self::Ambiguous { .. } => Some("name the one that is meant by its digest"),
            Self::Occupied { .. } => Some("name another folder"),
            Self::Read { .. } | Self::Place(_) | Self::Write { .. } => None,
        }
    }
}

/// A layout folder or archive, open for reading.
#[derive(Debug)]
pub struct Store {
    path: Utf8PathBuf,
    entries: Vec<Descriptor>,
    blobs: Blobs,
}

#[derive(Debug)]
enum Blobs {
    Folder(Layout),
    Archive(BTreeMap<Digest, Vec<u8>>),
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
}

/// Reads the bundle with this digest, or the only one there is.
///
/// # Errors
/// When there is none, or it cannot be used.
pub fn open(path: &Utf8Path, digest: Option<&Digest>) -> Result<Opened, StoreError> {
    Store::open(path)?.bundle(digest)
}

impl Store {
    /// Opens a layout folder, or a file that [`crate::oci::archive()`] or another tool packed.
    ///
    /// # Errors
    /// When it is neither.
    pub fn open(path: &Utf8Path) -> Result<Self, StoreError> {
        let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let (index, blobs) = match is_file {
            true => read_archive(path)?,
            false => {
                let layout = Layout::open(path)?;
                let file = path.join("index.json");
                (read_limited(&file, MAX_DOCUMENT_BYTES)?, Blobs::Folder(layout))
            }
        };
        let index: Index = serde_json::from_slice(&index).map_err(|error| {
            let why = format!("its `index.json` is not an image index: {error}");
            StoreError::NotAnArchive { path: path.to_owned(), why }
        })?;
        Ok(Self { path: path.to_owned(), entries: index.manifests, blobs })
    }

    /// Reads the bundle with this digest, or the only one there is.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn bundle(&self, digest: Option<&Digest>) -> Result<Opened, StoreError> {
        let entry = self.find(digest)?;
        let digest = entry.digest;
        let refused = |source| StoreError::Artefact { path: self.path.clone(), source };
        let manifest = self.blob(&entry, MAX_DOCUMENT_BYTES)?;
        let found = descriptors(&digest, &manifest).map_err(refused)?;
        let parts = Parts {
            config: self.blob(&found.config, MAX_DOCUMENT_BYTES)?,
            content: self.blob(&found.content, MAX_CONTENT_BYTES)?,
            index: self.blob(&found.index, MAX_DOCUMENT_BYTES)?,
            manifest,
        };
        let artefact = parse(&digest, &parts).map_err(refused)?;
        Ok(Opened { artefact, parts, signatures: self.signatures(&digest)? })
    }

    fn find(&self, digest: Option<&Digest>) -> Result<Descriptor, StoreError> {
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in &self.entries {
            let is_meant = match digest {
                Some(digest) => entry.digest == *digest,
                None => entry.media_type == MANIFEST_TYPE && self.is_bundle(entry)?,
            };
            if is_meant && found.iter().all(|other| other.digest != entry.digest) {
                found.push(entry.clone());
            }
        }
        let path = self.path.clone();
        match &found[..] {
            [entry] => Ok(entry.clone()),
            [] => {
                let wanted = digest.map_or("a bundle".to_owned(), Digest::to_string);
                Err(StoreError::NoBundle { path, wanted })
            }
            several => {
                let digests: Vec<String> =
                    several.iter().map(|entry| entry.digest.to_string()).collect();
                Err(StoreError::Ambiguous { path, offered: digests.join(", ") })
            }
        }
    }

    fn is_bundle(&self, entry: &Descriptor) -> Result<bool, StoreError> {
        let bytes = self.blob(entry, MAX_DOCUMENT_BYTES)?;
        Ok(serde_json::from_slice::<Manifest>(&bytes)
            .is_ok_and(|manifest| manifest.config.media_type == CONFIG_TYPE))
    }

    /// The signatures over a manifest, in both forms. What is no signature is passed over.
    fn signatures(&self, subject: &Digest) -> Result<Vec<Signature>, StoreError> {
        let mut signatures = Vec::new();
        let tag = document::tag(subject);
        for entry in &self.entries {
            if entry.media_type != MANIFEST_TYPE || signatures.len() >= MAX_SIGNATURES {
                continue;
            }
            if entry.annotations.get(REF_NAME) == Some(&tag) {
                let manifest = self.blob(entry, MAX_DOCUMENT_BYTES)?;
                for (layer, signature) in document::payloads(&manifest).unwrap_or_default() {
                    let payload = self.blob(&layer, document::MAX_SIGNATURE_BYTES)?;
                    signatures.push(Signature::Simple(simple::Signed { payload, signature }));
                }
            } else if entry.artifact_type.as_deref() == Some(sign::bundle::MEDIA_TYPE) {
                let manifest = self.blob(entry, MAX_DOCUMENT_BYTES)?;
                if let Ok(Some(layer)) = document::bundle_of(&manifest, subject) {
                    let bytes = self.blob(&layer, document::MAX_SIGNATURE_BYTES)?;
                    signatures.push(Signature::Bundle(bytes));
                }
            }
        }
        Ok(signatures)
    }

    /// Reads a blob of at most `limit` bytes, and checks it against its descriptor.
    fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, StoreError> {
        let digest = &descriptor.digest;
        let (path, bytes) = match &self.blobs {
            Blobs::Folder(layout) => {
                let path = layout.blob(digest);
                let bytes = read_limited(&path, limit)?;
                (path, bytes)
            }
            Blobs::Archive(blobs) => {
                let bytes = blobs.get(digest).cloned().ok_or_else(|| {
                    let why = format!("it lists {digest} and does not hold it");
                    StoreError::NotAnArchive { path: self.path.clone(), why }
                })?;
                (self.path.clone(), bytes)
            }
        };
        descriptor.check(&path, Digest::of(&bytes), bytes.len() as u64)?;
        Ok(bytes)
    }
}

fn read_limited(path: &Utf8Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    LimitReader::new(file, limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn read_archive(path: &Utf8Path) -> Result<(Vec<u8>, Blobs), StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let mut archive = tar::Archive::new(LimitReader::new(file, MAX_ARCHIVE_BYTES));
    let mut blobs = BTreeMap::new();
    let mut index = None;
    let mut is_marked = false;
    // What the reader of tar says of a header quotes it, which may be of any file.
    let torn = |source: io::Error| match source.kind() {
        io::ErrorKind::Other => StoreError::NotAnArchive {
            path: path.to_owned(),
            why: "it is no tar file, or a damaged one".to_owned(),
        },
        _ => failed(source),
    };
    for entry in archive.entries().map_err(torn)? {
        let mut entry = entry.map_err(torn)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name);
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(failed)?;
        let blob = name.strip_prefix("blobs/sha256/").and_then(|hex| Digest::from_hex(hex).ok());
        match (name, blob) {
            ("index.json", _) => index = Some(bytes),
            (name, _) if name == MARKER.0 => is_marked = true,
            (_, Some(digest)) => drop(blobs.insert(digest, bytes)),
            (_, None) => {}
        }
    }
    let missing = |what| StoreError::NotAnArchive {
        path: path.to_owned(),
        why: format!("it has no `{what}`"),
    };
    if !is_marked {
        return Err(missing(MARKER.0));
    }
    Ok((index.ok_or_else(|| missing("index.json"))?, Blobs::Archive(blobs)))
}

/// Writes a layout folder, or an archive where the path ends in `.tar`. What is there is replaced when it is a layout,
/// an archive, or empty.
///
/// # Errors
/// When the place is taken, or cannot be written to; it is then as it was.
pub fn write(path: &Utf8Path, built: &Built, signatures: &[Signature]) -> Result<(), StoreError> {
    let (blobs, index) = documents(built, signatures);
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    if path.as_str().ends_with(ARCHIVE_ENDING) {
        if path.is_dir() {
            return Err(StoreError::Occupied { path: path.to_owned() });
        }
        let bytes = pack(&blobs, &index);
        return atomic::replace_file(path, |file| file.write_all(&bytes).map_err(failed));
    }
    let is_free = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none() || path.join(MARKER.0).is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(StoreError::Occupied { path: path.to_owned() });
    }
    atomic::replace_folder(path, |folder| {
        let all = folder.join("blobs/sha256");
        fs::create_dir_all(&all).map_err(failed)?;
        for (digest, bytes) in &blobs {
            fs::write(all.join(digest.hex()), bytes).map_err(failed)?;
        }
        fs::write(folder.join("index.json"), &index).map_err(failed)?;
        fs::write(folder.join(MARKER.0), MARKER.1).map_err(failed)
    })
}

/// The blobs and `index.json` of a layout.
fn documents(built: &Built, signatures: &[Signature]) -> (BTreeMap<Digest, Vec<u8>>, String) {
    let Parts { manifest, config, content, index } = &built.parts;
    let mut blobs: BTreeMap<Digest, Vec<u8>> = [manifest, config, content, index]
        .map(|bytes| (Digest::of(bytes), bytes.clone()))
        .into_iter()
        .collect();
    let subject = Subject { digest: built.manifest, size: manifest.len() as u64 };
    let mut entries = vec![json!({
        "mediaType": MANIFEST_TYPE,
        "digest": built.manifest,
        "size": manifest.len(),
        "annotations": {REF_NAME: "bundle"},
    })];
    let mut add = |documents: Documents, tag: Option<String>| {
        let digest = Digest::of(&documents.manifest);
        let mut entry = json!({
            "mediaType": MANIFEST_TYPE,
            "digest": digest,
            "size": documents.manifest.len(),
        });
        if let Some(artifact_type) = documents.artifact_type {
            entry["artifactType"] = Value::from(artifact_type);
        }
        if let Some(tag) = tag {
            entry["annotations"] = json!({REF_NAME: tag});
        }
        entries.push(entry);
        let all = documents.blobs.into_iter().chain([documents.manifest]);
        blobs.extend(all.map(|bytes| (Digest::of(&bytes), bytes)));
    };
    if let Some(documents) = document::simple(signatures) {
        add(documents, Some(document::tag(&built.manifest)));
    }
    for documents in document::bundles(signatures, subject) {
        add(documents, None);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries});
    (blobs, index.to_string())
}

fn pack(blobs: &BTreeMap<Digest, Vec<u8>>, index: &str) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new(), 0);
    let blobs =
        blobs.iter().map(|(digest, bytes)| (format!("blobs/sha256/{}", digest.hex()), &bytes[..]));
    let documents =
        [("index.json", index), MARKER].map(|(name, text)| (name.to_owned(), text.as_bytes()));
    for (name, bytes) in blobs.chain(documents) {
        tar.file(&name, 0o644, bytes.len() as u64, bytes).expect("short names, and a vector");
    }
    tar.finish().expect("a vector takes all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::index::tests::index;
    use crate::bundle::{About, ContentFile, build};
    use crate::sign::{PrivateKey, VerifyError, sign, verify};

    fn built(text: &str) -> Built {
        let files = [ContentFile { path: "00-crds/a.yaml".into(), text: text.into() }];
        build(&files, &index(), &About { created: 0, source: "s".into(), revision: "r".into() })
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn folders_and_archives_hold_the_same() {
        let (_guard, path) = folder();
        let built = built("kind: A\n");
        let key = PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap();
        let signatures = sign(&key, &built.manifest, "registry.example/a:1").unwrap();
        for name in ["layout", "bundle.tar"] {
            write(&path.join(name), &built, &[]).unwrap();
            let opened = open(&path.join(name), None).unwrap();
            assert_eq!((opened.parts, opened.signatures), (built.parts.clone(), vec![]));
            write(&path.join(name), &built, &signatures).unwrap();
            let opened = open(&path.join(name), Some(&built.manifest)).unwrap();
            assert_eq!(opened.artefact.manifest, built.manifest);
            for signature in opened.signatures {
                verify(&[signature], &[key.public()], &built.manifest).unwrap();
            }
        }
        let packed = path.join("packed.tar");
        crate::oci::archive(&path.join("layout"), File::create(&packed).unwrap()).unwrap();
        assert_eq!(open(&packed, None).unwrap().signatures.len(), 2);
    }

    #[test]
    fn signatures_of_another_bundle_do_not_count() {
        let (_guard, path) = folder();
        let (one, other) = (built("kind: A\n"), built("kind: B\n"));
        let key = PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap();
        let signatures = sign(&key, &other.manifest, "registry.example/a:1").unwrap();
        write(&path.join("layout"), &one, &signatures).unwrap();
        let opened = open(&path.join("layout"), None).unwrap();
        let error = verify(&opened.signatures, &[key.public()], &one.manifest).unwrap_err();
        assert!(matches!(error, VerifyError::Refused { .. }), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (_guard, path) = folder();
        let layout = path.join("layout");
        let built = built("kind: A\n");
        write(&layout, &built, &[]).unwrap();
        let other = Digest::of(b"other");
        let error = open(&layout, Some(&other)).unwrap_err().to_string();
        assert_eq!(error, format!("`{layout}` does not hold {other}"));

        let content = layout.join("blobs/sha256").join(Digest::of(&built.parts.content).hex());
        fs::write(&content, "swapped").unwrap();
        let error = open(&layout, None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the blob `{content}` is damaged")), "{error}");

        fs::write(path.join("file.tar"), "no tar").unwrap();
        assert!(open(&path.join("file.tar"), None).is_err());
        let secret = "password: hunter2\n".repeat(100);
        fs::write(path.join("file.tar"), secret).unwrap();
        let error = open(&path.join("file.tar"), None).unwrap_err();
        assert!(matches!(error, StoreError::NotAnArchive { .. }), "{error:?}");
        assert!(matches!(open(&path, None), Err(StoreError::Layout(_))));
        assert!(matches!(write(&path, &built, &[]), Err(StoreError::Occupied { .. })));
    }
}
