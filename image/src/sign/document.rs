//! The manifests that carry signatures: what is uploaded beside an image, and what is read back.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::io::digest::Digest;
use crate::oci::layout::{CONFIG_TYPE, Descriptor, MANIFEST_TYPE};
use crate::sign::{MAX_SIGNATURES, Signature, SignatureError, bundle, simple};

/// The media type of the config of an artefact that has none.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The content of such a config.
const EMPTY: &[u8] = b"{}";

/// The largest payload or bundle that is read.
pub const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

/// A manifest and the blobs that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The blobs; they go before the manifest.
    pub blobs: Vec<Vec<u8>>,
    /// The type of the artefact, where its index says one.
    pub artifact_type: Option<&'static str>,
}

/// A manifest that signatures are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The tag of the manifest with the simple signatures over `subject`.
pub fn tag(subject: &Digest) -> String {
    format!("sha256-{}.sig", subject.hex())
}

/// The tag of the index of all that refers to `subject`, for registries that keep no such list themselves.
///
/// Format: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>
pub fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The one manifest with all simple signatures; `None` when there are none.
pub fn simple(signatures: &[Signature]) -> Option<Documents> {
    let signed: Vec<&simple::Signed> = signatures
        .iter()
        .filter_map(|signature| match signature {
            Signature::Simple(signed) => Some(signed),
            Signature::Bundle(_) => None,
        })
        .collect();
    if signed.is_empty() {
        return None;
    }
    let digests: Vec<Digest> = signed.iter().map(|signed| Digest::of(&signed.payload)).collect();
    let config = json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    let config = config.to_string().into_bytes();
    let layers: Vec<Value> = signed
        .iter()
        .map(|signed| {
            json!({
                "mediaType": simple::MEDIA_TYPE,
                "digest": Digest::of(&signed.payload),
                "size": signed.payload.len(),
                "annotations": {simple::ANNOTATION: BASE64_STANDARD.encode(&signed.signature)},
            })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": layers,
    });
    let mut blobs = vec![config];
    for signed in signed {
        if !blobs.contains(&signed.payload) {
            blobs.push(signed.payload.clone());
        }
    }
    Some(Documents { manifest: manifest.to_string().into_bytes(), blobs, artifact_type: None })
}

/// A manifest for each Sigstore bundle, which refers to `subject`.
pub fn bundles(signatures: &[Signature], subject: Subject) -> Vec<Documents> {
    let bundles = signatures.iter().filter_map(|signature| match signature {
        Signature::Bundle(bytes) => Some(bytes),
        Signature::Simple(_) => None,
    });
    let document = |bytes: &Vec<u8>| {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": bundle::MEDIA_TYPE,
            "config": {
                "mediaType": EMPTY_TYPE,
                "digest": Digest::of(EMPTY),
                "size": EMPTY.len(),
            },
            "layers": [{
                "mediaType": bundle::MEDIA_TYPE,
                "digest": Digest::of(bytes),
                "size": bytes.len(),
            }],
            "subject": {
                "mediaType": MANIFEST_TYPE,
                "digest": subject.digest,
                "size": subject.size,
            },
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": bundle::PREDICATE,
            },
        });
        Documents {
            manifest: manifest.to_string().into_bytes(),
            blobs: vec![EMPTY.to_vec(), bytes.clone()],
            artifact_type: Some(bundle::MEDIA_TYPE),
        }
    };
    bundles.map(document).collect()
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

/// The payloads that a manifest of simple signatures names, each with the signature over it. What is none of ours, or
/// larger than anyone's, is passed over.
///
/// # Errors
/// When it is no manifest.
pub fn payloads(manifest: &[u8]) -> Result<Vec<(Descriptor, Vec<u8>)>, SignatureError> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| SignatureError::Form(error.to_string()))?;
    let signed = manifest.layers.into_iter().filter_map(|layer| {
        let signature = BASE64_STANDARD.decode(layer.annotations.get(simple::ANNOTATION)?).ok()?;
        let is_ours = layer.media_type == simple::MEDIA_TYPE && layer.size <= MAX_SIGNATURE_BYTES;
        is_ours.then_some((layer, signature))
    });
    Ok(signed.take(MAX_SIGNATURES).collect())
}

/// The Sigstore bundle that a manifest names; `None` when it has none, or one over something else.
///
/// # Errors
/// When it is no manifest.
pub fn bundle_of(manifest: &[u8], subject: &Digest) -> Result<Option<Descriptor>, SignatureError> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| SignatureError::Form(error.to_string()))?;
    if manifest.subject.is_none_or(|found| found.digest != *subject) {
        return Ok(None);
    }
    let is_ours = |layer: &Descriptor| {
        layer.media_type == bundle::MEDIA_TYPE && layer.size <= MAX_SIGNATURE_BYTES
    };
    Ok(manifest.layers.into_iter().find(is_ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{PrivateKey, sign, verify};

    #[test]
    fn signatures_survive_their_manifests() {
        let key = PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap();
        let subject = Subject { digest: Digest::of(b"manifest"), size: 8 };
        let signatures = sign(&key, &subject.digest, "registry.example/a:1").unwrap();

        let documents = simple(&signatures).unwrap();
        let read = payloads(&documents.manifest).unwrap();
        let [(layer, signature)] = &read[..] else { panic!("{read:?}") };
        let payload = documents.blobs.iter().find(|blob| Digest::of(blob) == layer.digest);
        let payload = payload.unwrap().clone();
        let read = Signature::Simple(simple::Signed { payload, signature: signature.clone() });
        assert_eq!(read, signatures[0]);

        let [documents] = &bundles(&signatures, subject)[..] else { panic!("one") };
        let layer = bundle_of(&documents.manifest, &subject.digest).unwrap().unwrap();
        let bytes = documents.blobs.iter().find(|blob| Digest::of(blob) == layer.digest);
        let read = Signature::Bundle(bytes.unwrap().clone());
        verify(&[read], &[key.public()], &subject.digest).unwrap();
        assert_eq!(bundle_of(&documents.manifest, &Digest::of(b"other")).unwrap(), None);
    }
}
