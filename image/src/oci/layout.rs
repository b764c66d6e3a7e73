//! Reads an OCI layout folder: finds one image in it and gives its documents and blobs.
//!
//! Format: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::io::digest::Digest;
use crate::io::limit::LimitReader;
use crate::oci::entry::Architecture;

/// The media type of an image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image's config.
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// The annotation by which tools find an image in `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The file that marks a layout folder, and its content.
pub const MARKER: (&str, &str) = ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);

/// The largest index, manifest or config that is read; it is held in memory. Registries allow the same.
pub const MAX_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;

/// How deep an index may hold indexes.
const MAX_INDEX_DEPTH: usize = 4;

/// What points at a blob.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// The blob's digest, which is also its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What tells it from its neighbours in an index.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    pub(crate) artifact_type: Option<String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// A layout could not be read, or holds no such image.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// No marker file.
    #[error("`{folder}` is not an OCI layout folder: it has no file `oci-layout`")]
    NotALayout {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// A layout of another version.
    #[error("`{folder}` is an OCI layout of version {version}; only 1.0.0 is known")]
    Version {
        /// The folder.
        folder: Utf8PathBuf,
        /// What its marker says.
        version: String,
    },
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document is not what it should be.
    #[error("`{path}` is not a valid {what}")]
    Document {
        /// The file.
        path: Utf8PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        source: serde_json::Error,
    },
    /// A blob does not have the content that its name promises.
    #[error(
        "the blob `{path}` is damaged: it has {found_size} bytes and the digest {found}, \
         but {size} bytes and {digest} are expected"
    )]
    Damaged {
        /// The blob's file.
        path: Utf8PathBuf,
        /// The digest in the descriptor.
        digest: Digest,
        /// The size in the descriptor.
        size: u64,
        /// The digest of the file.
        found: Digest,
        /// The size of the file.
        found_size: u64,
    },
    /// No image for what was asked.
    #[error("`{folder}` has no image {wanted}; it has {offered}")]
    NoImage {
        /// The folder.
        folder: Utf8PathBuf,
        /// What was asked for.
        wanted: String,
        /// What is there.
        offered: String,
    },
    /// More than one image for what was asked.
    #[error("`{folder}` has several images {wanted}: {offered}")]
    Ambiguous {
        /// The folder.
        folder: Utf8PathBuf,
        /// What was asked for.
        wanted: String,
        /// What is there.
        offered: String,
    },
}

impl LayoutError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotALayout { .. } | Self::Version { .. } => {
                Some("make one with `skopeo copy docker://REGISTRY/IMAGE oci:FOLDER:NAME`")
            }
            Self::Damaged { .. } | Self::Document { .. } => Some("fetch the image again"),
            Self::NoImage { .. } => Some("fetch the image for this architecture"),
            Self::Ambiguous { .. } => Some("name the one that is meant by its reference"),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the copy is not complete: fetch the image again")
            }
            Self::Read { .. } => None,
        }
    }
}

/// An OCI layout folder.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: Utf8PathBuf,
}

impl Layout {
    /// Opens the layout in `folder`.
    ///
    /// # Errors
    /// When there is none, or one of another version.
    pub fn open(folder: &Utf8Path) -> Result<Self, LayoutError> {
        let layout = Self { folder: folder.to_owned() };
        let path = folder.join(MARKER.0);
        let bytes = match read_limited(&path) {
            Ok(bytes) => bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(LayoutError::NotALayout { folder: layout.folder });
            }
            Err(source) => return Err(LayoutError::Read { path, source }),
        };
        let marker: Marker = parse(&path, "layout marker", &bytes)?;
        match marker.image_layout_version.as_str() {
            "1.0.0" => Ok(layout),
            _ => Err(LayoutError::Version {
                folder: layout.folder,
                version: marker.image_layout_version,
            }),
        }
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &Digest) -> Utf8PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    /// Finds the manifest of the one Linux image for `architecture`, below the name `reference` when one is given.
    /// Entries that are artifacts and no images, such as disk images and attestations, are passed over.
    ///
    /// # Errors
    /// When there is no such image, or more than one.
    pub fn find(
        &self,
        reference: Option<&str>,
        architecture: Architecture,
    ) -> Result<Descriptor, LayoutError> {
        let path = self.folder.join("index.json");
        let bytes = read_limited(&path)
            .map_err(|source| LayoutError::Read { path: path.clone(), source })?;
        let index: Index = parse(&path, "image index", &bytes)?;
        let is_meant = |entry: &&Descriptor| {
            reference.is_none_or(|name| entry.annotations.get(REF_NAME).is_some_and(|n| n == name))
        };
        let mut found = Vec::new();
        let meant: Vec<Descriptor> = index.manifests.iter().filter(is_meant).cloned().collect();
        self.images(&meant, architecture, MAX_INDEX_DEPTH, &mut found)?;
        // One image may be listed under several names.
        found.sort_by_key(|entry| entry.digest);
        found.dedup_by_key(|entry| entry.digest);
        let wanted = || match reference {
            Some(name) => format!("`{name}` for linux/{architecture}"),
            None => format!("for linux/{architecture}"),
        };
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(LayoutError::NoImage {
                folder: self.folder.clone(),
                wanted: wanted(),
                offered: offers(&index.manifests),
            }),
            _ => Err(LayoutError::Ambiguous {
                folder: self.folder.clone(),
                wanted: wanted(),
                offered: offers(&found),
            }),
        }
    }

    fn images(
        &self,
        entries: &[Descriptor],
        architecture: Architecture,
        depth: usize,
        found: &mut Vec<Descriptor>,
    ) -> Result<(), LayoutError> {
        for entry in entries {
            let is_for_us = entry.platform.as_ref().is_none_or(|platform| {
                platform.os == "linux" && platform.architecture == architecture.as_str()
            });
            if !is_for_us || entry.artifact_type.is_some() {
                continue;
            }
            match entry.media_type.as_str() {
                MANIFEST_TYPE => found.push(entry.clone()),
                INDEX_TYPE if depth > 0 => {
                    let bytes = self.document(entry)?;
                    let index: Index = parse(&self.blob(&entry.digest), "image index", &bytes)?;
                    self.images(&index.manifests, architecture, depth - 1, found)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a manifest, index or config and checks it against its descriptor.
    ///
    /// # Errors
    /// When it cannot be read, is damaged or is longer than [`MAX_DOCUMENT_BYTES`].
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        let path = self.blob(&descriptor.digest);
        let bytes = read_limited(&path)
            .map_err(|source| LayoutError::Read { path: path.clone(), source })?;
        descriptor.check(&path, Digest::of(&bytes), bytes.len() as u64)?;
        Ok(bytes)
    }
}

impl Descriptor {
    /// Compares what was read from `path` with what this descriptor promises.
    ///
    /// # Errors
    /// [`LayoutError::Damaged`].
    pub fn check(
        &self,
        path: &Utf8Path,
        found: Digest,
        found_size: u64,
    ) -> Result<(), LayoutError> {
        if (found, found_size) == (self.digest, self.size) {
            return Ok(());
        }
        let (path, digest, size) = (path.to_owned(), self.digest, self.size);
        Err(LayoutError::Damaged { path, digest, size, found, found_size })
    }
}

/// Reads a JSON document that came from `path`.
///
/// # Errors
/// [`LayoutError::Document`], which calls the document `what`.
pub fn parse<T: DeserializeOwned>(
    path: &Utf8Path,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Document {
        path: path.to_owned(),
        what,
        source,
    })
}

fn read_limited(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    LimitReader::new(File::open(path)?, MAX_DOCUMENT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries of an index, for an error message.
fn offers(entries: &[Descriptor]) -> String {
    let name = |entry: &Descriptor| {
        let mut words = Vec::new();
        words.extend(entry.annotations.get(REF_NAME).map(|name| format!("`{name}`")));
        words.extend(entry.platform.as_ref().map(|p| format!("{}/{}", p.os, p.architecture)));
        words.extend(entry.artifact_type.as_ref().map(|kind| format!("of type {kind}")));
        if words.is_empty() {
            words.push(entry.digest.to_string());
        }
        if !matches!(entry.media_type.as_str(), MANIFEST_TYPE | INDEX_TYPE) {
            words.push(format!("({})", entry.media_type));
        }
        words.join(" ")
    };
    match entries.iter().map(name).collect::<Vec<_>>().as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    /// A layout whose `index.json` lists `entries`, each of them with a digest and size.
    struct Fixture {
        _guard: tempfile::TempDir,
        layout: Layout,
    }

    impl Fixture {
        fn new() -> Self {
            let guard = tempfile::tempdir().unwrap();
            let folder = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
            fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
            fs::write(folder.join(MARKER.0), MARKER.1).unwrap();
            let layout = Layout::open(&folder).unwrap();
            Self { _guard: guard, layout }
        }

        /// Stores a document and gives a descriptor of it, with some more fields.
        fn blob(&self, media_type: &str, document: &Value, more: Value) -> Value {
            let bytes = document.to_string().into_bytes();
            let digest = Digest::of(&bytes);
            fs::write(self.layout.blob(&digest), &bytes).unwrap();
            let mut descriptor =
                json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
            for (key, value) in more.as_object().unwrap() {
                descriptor[key] = value.clone();
            }
            descriptor
        }

        #[track_caller]
        fn check(
            &self,
            entries: &[&Value],
            reference: Option<&str>,
            expected: Result<&Value, &str>,
        ) {
            let index = json!({"schemaVersion": 2, "manifests": entries});
            fs::write(self.layout.folder.join("index.json"), index.to_string()).unwrap();
            let found = self.layout.find(reference, Architecture::Amd64);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.digest.to_string(), expected["digest"].as_str().unwrap())
                }
                (Err(error), Err(expected)) => {
                    let text = error.to_string();
                    let text = text.split_once("` has ").unwrap().1;
                    assert_eq!(text, expected);
                }
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }

    #[test]
    fn finds_the_one_image_that_is_meant() {
        let fixture = Fixture::new();
        let amd = json!({"platform": {"os": "linux", "architecture": "amd64"}});
        let arm = json!({"platform": {"os": "linux", "architecture": "arm64"}});
        let disk =
            json!({"artifactType": "application/vnd.diskimage.raw", "platform": amd["platform"]});
        let named = |name: &str| json!({"annotations": {REF_NAME: name}});
        let one = fixture.blob(MANIFEST_TYPE, &json!(1), amd);
        let two = fixture.blob(MANIFEST_TYPE, &json!(2), arm);
        let artifact = fixture.blob(MANIFEST_TYPE, &json!(3), disk);
        let a = fixture.blob(MANIFEST_TYPE, &json!(4), named("a"));
        let b = fixture.blob(MANIFEST_TYPE, &json!(5), named("b"));
        let mut also_a = a.clone();
        also_a["annotations"][REF_NAME] = json!("also");
        let index = json!({"manifests": [two, artifact, one]});
        let index = fixture.blob(INDEX_TYPE, &index, named("i"));
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let docker = fixture.blob(docker, &json!(6), named("d"));

        fixture.check(&[&a], None, Ok(&a));
        fixture.check(&[&a, &also_a], None, Ok(&a));
        fixture.check(&[&a, &b], Some("b"), Ok(&b));
        fixture.check(&[&two, &one, &artifact], None, Ok(&one));
        fixture.check(&[&a, &index], Some("i"), Ok(&one));
        fixture.check(&[&a, &b], None, Err("several images for linux/amd64: `a`, `b`"));
        fixture.check(&[&a], Some("c"), Err("no image `c` for linux/amd64; it has `a`"));
        fixture.check(&[&two], None, Err("no image for linux/amd64; it has linux/arm64"));
        fixture.check(
            &[&docker],
            None,
            Err("no image for linux/amd64; it has `d` (application/vnd.docker.distribution.manifest.v2+json)"),
        );
        fixture.check(&[], None, Err("no image for linux/amd64; it has none"));
    }

    #[test]
    fn damaged_documents_are_named() {
        let fixture = Fixture::new();
        let one = fixture.blob(MANIFEST_TYPE, &json!(1), json!({}));
        let descriptor: Descriptor = serde_json::from_value(one).unwrap();
        let path = fixture.layout.blob(&descriptor.digest);
        fs::write(&path, "12").unwrap();
        let error = fixture.layout.document(&descriptor).unwrap_err();
        let found = Digest::of(b"12");
        assert_eq!(
            error.to_string(),
            format!(
                "the blob `{path}` is damaged: it has 2 bytes and the digest {found}, but 1 bytes and {} are expected",
                descriptor.digest
            )
        );
        fs::remove_file(&path).unwrap();
        let error = fixture.layout.document(&descriptor).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read `{path}`"));
    }

    #[test]
    fn other_folders_are_refused() {
        let error = Layout::open(Utf8Path::new("/proc")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/proc` is not an OCI layout folder: it has no file `oci-layout`"
        );
        let fixture = Fixture::new();
        let folder = &fixture.layout.folder;
        fs::write(folder.join(MARKER.0), r#"{"imageLayoutVersion":"2"}"#).unwrap();
        let error = Layout::open(folder).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{folder}` is an OCI layout of version 2; only 1.0.0 is known")
        );
    }
}
