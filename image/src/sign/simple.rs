//! Simple signing, as cosign wrote it up to its version 2 and containers/image reads it: a payload of JSON, and the
//! signature over its bytes in an annotation.
//!
//! Format: <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>

use serde::Deserialize;
use serde_json::json;

use crate::io::digest::Digest;
use crate::sign::{KeyError, PrivateKey, PublicKey, SignatureError};

/// The media type of a payload.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of a payload's descriptor with the signature over it, in base64.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

const TYPE: &str = "cosign container image signature";

/// A payload and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// JSON.
    pub payload: Vec<u8>,
    /// In ASN.1.
    pub signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    // Who trusts a key with a repository compares it; a bundle is named by digest, so that it says nothing more.
    #[serde(rename = "identity")]
    _identity: serde_json::Value,
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

/// Signs a manifest that will be found as `reference`: containers/image compares that with what was asked for.
pub(super) fn sign(
    key: &PrivateKey,
    manifest: &Digest,
    reference: &str,
) -> Result<Signed, KeyError> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": manifest},
            "type": TYPE,
        },
        "optional": null,
    });
    let payload = payload.to_string().into_bytes();
    let signature = key.sign(&payload)?;
    Ok(Signed { payload, signature })
}

pub(super) fn verify(
    signed: &Signed,
    keys: &[PublicKey],
    manifest: &Digest,
) -> Result<(), SignatureError> {
    if !keys.iter().any(|key| key.has_signed(&signed.payload, &signed.signature)) {
        // What it says is not worth a look, but for the message: it may be of another manifest altogether.
        return Err(SignatureError::Key);
    }
    let Payload { critical } = serde_json::from_slice(&signed.payload)
        .map_err(|error| SignatureError::Form(error.to_string()))?;
    if critical.r#type != TYPE {
        return Err(SignatureError::Form("it is a signature of something else".to_owned()));
    }
    match critical.image.digest == *manifest {
        true => Ok(()),
        false => Err(SignatureError::Other(critical.image.digest.to_string())),
    }
}
