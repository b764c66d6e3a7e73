//! Objects and index → the bytes of an artefact: pure, and the same every time.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use crate::bundle::content::{self, ContentFile};
use crate::bundle::{
    BUNDLE_INDEX_TYPE, CONFIG_TYPE, CONTENT_TITLE, CONTENT_TYPE, INDEX_TITLE, Index, Parts,
};
use crate::io::digest::Digest;
use crate::oci::document::{CREATED, MAX_TIME, TITLE};
use crate::oci::layout::MANIFEST_TYPE;

/// The annotation with where an artefact was made from; Flux shows it.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The annotation with which version of the source; Flux shows it.
pub const REVISION: &str = "org.opencontainers.image.revision";

/// What is said about an artefact as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its time in seconds since the Unix epoch.
    pub created: u64,
    /// Where it was made from, a URL.
    pub source: String,
    /// Which version of that, `main@sha1:…`.
    pub revision: String,
}

/// An artefact in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The digest of the manifest, by which the artefact is pulled.
    pub manifest: Digest,
    /// Its blobs.
    pub parts: Parts,
}

/// Makes an artefact of files that are [sorted](content::sort), and their index.
pub fn build(files: &[ContentFile], index: &Index, about: &About) -> Built {
    let content = content::pack(files);
    let mut index_bytes = serde_json::to_vec_pretty(index).expect("an index has only text keys");
    index_bytes.push(b'\n');
    let created = UNIX_EPOCH + Duration::from_secs(about.created.min(MAX_TIME));
    let created = humantime::format_rfc3339_seconds(created).to_string();
    let (content_digest, index_digest) = (Digest::of(&content), Digest::of(&index_bytes));
    // Of this form because Flux's tools read it as the config of an image, with as many layers as there are.
    let config = json!({
        "architecture": "",
        "os": "",
        "created": created,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [content_digest, index_digest]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": [
            {
                "mediaType": CONTENT_TYPE,
                "digest": content_digest,
                "size": content.len(),
                "annotations": {TITLE: CONTENT_TITLE},
            },
            {
                "mediaType": BUNDLE_INDEX_TYPE,
                "digest": index_digest,
                "size": index_bytes.len(),
                "annotations": {TITLE: INDEX_TITLE},
            },
        ],
        "annotations": {
            CREATED: created,
            REVISION: about.revision,
            SOURCE: about.source,
        },
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = Digest::of(&manifest);
    Built { manifest: digest, parts: Parts { manifest, config, content, index: index_bytes } }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::bundle::index::tests::index;

    #[test]
    fn the_manifest_is_what_flux_and_oras_read() {
        let files = [ContentFile { path: "00-crds/a.yaml".into(), text: "kind: A\n".into() }];
        let about = About {
            created: 0,
            source: "https://git.example/bundle".into(),
            revision: "main@sha1:0".into(),
        };
        let built = build(&files, &index(), &about);
        assert_eq!(built, build(&files, &index(), &about));
        let manifest: serde_json::Value = serde_json::from_slice(&built.parts.manifest).unwrap();
        expect![[r#"
            {
              "schemaVersion": 2,
              "mediaType": "application/vnd.oci.image.manifest.v1+json",
              "config": {
                "mediaType": "application/vnd.cncf.flux.config.v1+json",
                "digest": "sha256:57e9c9431d4703c9ca71266f8221db8f20835510b5ab7edb24c934ee1eff2e1f",
                "size": 260
              },
              "layers": [
                {
                  "mediaType": "application/vnd.cncf.flux.content.v1.tar+gzip",
                  "digest": "sha256:af8e3b06df8c93b669163ebea11f0863be17c1c4ea88d8d8a52b9414a8a0a48f",
                  "size": 103,
                  "annotations": {
                    "org.opencontainers.image.title": "bundle.tar.gz"
                  }
                },
                {
                  "mediaType": "application/vnd.basalt.bundle.index.v1+json",
                  "digest": "sha256:469bc6f763115fc1c2f3e5f084dda90018846ba1ccc6b1590c5e07f3765d1f9e",
                  "size": 262,
                  "annotations": {
                    "org.opencontainers.image.title": "index.json"
                  }
                }
              ],
              "annotations": {
                "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
                "org.opencontainers.image.revision": "main@sha1:0",
                "org.opencontainers.image.source": "https://git.example/bundle"
              }
            }"#]].assert_eq(&serde_json::to_string_pretty(&manifest).unwrap());
    }
}
