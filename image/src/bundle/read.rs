//! The bytes of an artefact → objects and index, with everything checked: nothing that comes from here needs a second
//! look.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::bundle::content::{self, ContentError, ContentFile, MAX_CONTENT_BYTES};
use crate::bundle::index::{Index, IndexError};
use crate::bundle::{BUNDLE_INDEX_TYPE, CONFIG_TYPE, CONTENT_TYPE};
use crate::io::digest::Digest;
use crate::oci::layout::{Descriptor, MANIFEST_TYPE, MAX_DOCUMENT_BYTES};

/// A bundle, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// What the manifest says about the artefact: when and of what it was made.
    pub annotations: BTreeMap<String, String>,
    /// What an applier has to know besides the objects.
    pub index: Index,
    /// The files, in the order in which they are applied.
    pub content: Vec<ContentFile>,
}

/// The blobs of an artefact, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config.
    pub config: Vec<u8>,
    /// The layer with the objects.
    pub content: Vec<u8>,
    /// The layer with the index.
    pub index: Vec<u8>,
}

/// What a manifest says of the other blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The config.
    pub config: Descriptor,
    /// The layer with the objects.
    pub content: Descriptor,
    /// The layer with the index.
    pub index: Descriptor,
    /// What the manifest says about the artefact.
    pub annotations: BTreeMap<String, String>,
}

/// An artefact that is no bundle, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// The bytes are others than those asked for.
    #[error("{what} has the digest {found} and {size} bytes; {wanted} is expected")]
    Digest {
        /// Which part, with its article.
        what: &'static str,
        /// What came.
        found: Digest,
        /// How much of it.
        size: usize,
        /// What was asked for, in full.
        wanted: String,
    },
    /// The manifest is none.
    #[error("it has no manifest of an OCI artefact")]
    Manifest(#[source] serde_json::Error),
    /// Something else than a bundle.
    #[error("{what} is of the type `{found}`; of a bundle it is `{wanted}`")]
    Type {
        /// Which part, with its article.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// An artefact for Flux, with nothing of ours.
    #[error("it has {0} layers; a bundle has two, its content and its index")]
    Layers(usize),
    /// A part that nobody would download to the end.
    #[error("{what} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Which part, with its article.
        what: &'static str,
        /// What the manifest says of it.
        size: u64,
        /// What is accepted.
        limit: u64,
    },
    /// The index is none, or of another version.
    #[error("its index cannot be read")]
    Index(#[source] serde_json::Error),
    /// The index has a value that cannot be.
    #[error("its index cannot be used")]
    IndexValue(#[source] IndexError),
    /// The content breaks a rule.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Index and content are not of one build.
    #[error("its index says {said}, its content says {found}")]
    Waves {
        /// The waves of the index, with their files.
        said: String,
        /// Those of the content.
        found: String,
    },
}

impl ArtefactError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Digest { .. } => Some("fetch the bundle again, from a source that is trusted"),
            Self::Manifest(_) | Self::Type { .. } | Self::Layers(_) => {
                Some("make one with `cargo xtask bundle build`")
            }
            Self::Index(_) | Self::IndexValue(_) => {
                Some("a bundle of a newer version wants a newer program")
            }
            Self::TooLarge { .. } | Self::Content(_) | Self::Waves { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads a manifest: checks it against `digest`, and says what else belongs to the artefact, with sizes that may be
/// fetched.
///
/// # Errors
/// When it is another one, or not that of a bundle.
pub fn descriptors(digest: &Digest, manifest: &[u8]) -> Result<Descriptors, ArtefactError> {
    let found = Digest::of(manifest);
    if found != *digest {
        let (size, wanted) = (manifest.len(), digest.to_string());
        return Err(ArtefactError::Digest { what: "the manifest", found, size, wanted });
    }
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(ArtefactError::Manifest)?;
    if manifest.schema_version != 2 || manifest.media_type != MANIFEST_TYPE {
        let found = format!("{}, version {}", manifest.media_type, manifest.schema_version);
        return Err(ArtefactError::Type { what: "the manifest", found, wanted: MANIFEST_TYPE });
    }
    let Ok([content, index]) = <[Descriptor; 2]>::try_from(manifest.layers.clone()) else {
        return Err(ArtefactError::Layers(manifest.layers.len()));
    };
    let descriptors =
        Descriptors { config: manifest.config, content, index, annotations: manifest.annotations };
    let Descriptors { config, content, index, .. } = &descriptors;
    for (what, part, wanted, limit) in [
        ("the config", config, CONFIG_TYPE, MAX_DOCUMENT_BYTES),
        ("the first layer", content, CONTENT_TYPE, MAX_CONTENT_BYTES),
        ("the second layer", index, BUNDLE_INDEX_TYPE, MAX_DOCUMENT_BYTES),
    ] {
        if part.media_type != wanted {
            let found = part.media_type.clone();
            return Err(ArtefactError::Type { what, found, wanted });
        }
        if part.size > limit {
            return Err(ArtefactError::TooLarge { what, size: part.size, limit });
        }
    }
    Ok(descriptors)
}

/// Reads the artefact whose manifest has this digest.
///
/// # Errors
/// When a part is missing, damaged, swapped or breaks a rule.
pub fn parse(digest: &Digest, parts: &Parts) -> Result<Artefact, ArtefactError> {
    let descriptors = descriptors(digest, &parts.manifest)?;
    check("the config", &descriptors.config, &parts.config)?;
    check("the content", &descriptors.content, &parts.content)?;
    check("the index", &descriptors.index, &parts.index)?;
    let index: Index = serde_json::from_slice(&parts.index).map_err(ArtefactError::Index)?;
    index.check().map_err(ArtefactError::IndexValue)?;
    let content = content::unpack(&parts.content)?;
    let said: Vec<String> =
        index.waves.iter().map(|wave| format!("{} ({})", wave.name, wave.files)).collect();
    let mut found: Vec<(&str, usize)> = Vec::new();
    for file in &content {
        match found.last_mut() {
            Some((wave, files)) if *wave == file.wave() => *files += 1,
            Some(_) | None => found.push((file.wave(), 1)),
        }
    }
    let found: Vec<String> =
        found.iter().map(|(wave, files)| format!("{wave} ({files})")).collect();
    if said != found {
        let (said, found) = (said.join(", "), found.join(", "));
        return Err(ArtefactError::Waves { said, found });
    }
    Ok(Artefact { manifest: *digest, annotations: descriptors.annotations, index, content })
}

fn check(what: &'static str, wanted: &Descriptor, bytes: &[u8]) -> Result<(), ArtefactError> {
    let found = Digest::of(bytes);
    if (found, bytes.len() as u64) == (wanted.digest, wanted.size) {
        return Ok(());
    }
    let wanted = format!("{} with {} bytes", wanted.digest, wanted.size);
    Err(ArtefactError::Digest { what, found, size: bytes.len(), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::index::tests::index;
    use crate::bundle::{About, Built, build};

    fn file(path: &str, text: &str) -> ContentFile {
        ContentFile { path: path.into(), text: text.into() }
    }

    fn built(files: &[ContentFile]) -> Built {
        let about = About { created: 0, source: "s".into(), revision: "r".into() };
        build(files, &index(), &about)
    }

    #[test]
    fn is_read_as_built() {
        let files = [file("00-crds/a.yaml", "kind: A\n")];
        let built = built(&files);
        let artefact = parse(&built.manifest, &built.parts).unwrap();
        assert_eq!(artefact.content, files);
        assert_eq!(artefact.index, index());
        assert_eq!(artefact.annotations["org.opencontainers.image.source"], "s");
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Built), expected: &str) {
        let mut built = built(&[file("00-crds/a.yaml", "kind: A\n")]);
        change(&mut built);
        let message = parse(&built.manifest, &built.parts).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn swapped_and_altered_parts_are_refused() {
        let other = || built(&[file("00-crds/b.yaml", "kind: B\n")]).parts;
        check(|built| built.parts.manifest.push(b'\n'), "the manifest has the digest ");
        check(|built| built.parts.config.push(b'\n'), "the config has the digest ");
        check(|built| built.parts.content = other().content, "the content has the digest ");
        check(|built| built.parts.index.push(b'\n'), "the index has the digest ");
        check(|built| built.parts.manifest = other().manifest, "the manifest has the digest ");
    }

    /// A change of the manifest that is given its own digest.
    #[track_caller]
    fn check_manifest(change: impl FnOnce(&mut serde_json::Value), expected: &str) {
        check(
            |built| {
                let mut manifest = serde_json::from_slice(&built.parts.manifest).unwrap();
                change(&mut manifest);
                built.parts.manifest = manifest.to_string().into_bytes();
                built.manifest = Digest::of(&built.parts.manifest);
            },
            expected,
        );
    }

    #[test]
    fn other_artefacts_are_refused() {
        check_manifest(|m| drop(m["layers"].as_array_mut().unwrap().pop()), "it has 1 layers;");
        check_manifest(|m| m["layers"].as_array_mut().unwrap().reverse(), "the first layer is of");
        check_manifest(|m| m["config"]["mediaType"] = "x".into(), "the config is of the type `x`;");
        check_manifest(|m| m["layers"][0]["size"] = (1u64 << 40).into(), "the first layer has 10");
        check_manifest(|m| m["mediaType"] = "x".into(), "the manifest is of the type `x, version");
        check_manifest(|m| m["layers"] = "x".into(), "it has no manifest of an OCI artefact");
    }

    #[test]
    fn an_index_of_another_build_is_refused() {
        let files = [file("00-crds/a.yaml", "a"), file("00-crds/b.yaml", "b")];
        let built = built(&files);
        let message = parse(&built.manifest, &built.parts).unwrap_err().to_string();
        assert_eq!(message, "its index says 00-crds (1), its content says 00-crds (2)");
    }
}
