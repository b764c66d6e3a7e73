//! Sigstore bundles, as cosign 3 writes them for a key: an envelope (DSSE) around a statement (in-toto) that names the
//! digest of what is signed.
//!
//! Formats: <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>,
//! <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>,
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;

use crate::io::digest::Digest;
use crate::sign::{KeyError, PrivateKey, PublicKey, SignatureError};

/// The media type of a bundle, and the type of the artefact that holds one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What a statement with nothing to say but "signed" is called.
pub const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

pub(super) fn sign(key: &PrivateKey, manifest: &Digest) -> Result<Vec<u8>, KeyError> {
    let statement = json!({
        "_type": STATEMENT,
        "subject": [{"digest": {"sha256": manifest.hex()}}],
        "predicateType": PREDICATE,
        "predicate": {},
    });
    let statement = statement.to_string().into_bytes();
    let signature = key.sign(&encoding(PAYLOAD_TYPE, &statement))?;
    let hint = BASE64_STANDARD.encode(digest(&SHA256, &key.public().to_der()));
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "dsseEnvelope": {
            "payload": BASE64_STANDARD.encode(&statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": BASE64_STANDARD.encode(signature)}],
        },
    });
    Ok(bundle.to_string().into_bytes())
}

pub(super) fn verify(
    bytes: &[u8],
    keys: &[PublicKey],
    manifest: &Digest,
) -> Result<(), SignatureError> {
    let form = |what: &str| SignatureError::Form(what.to_owned());
    let Bundle { media_type, dsse_envelope: envelope } =
        serde_json::from_slice(bytes).map_err(|error| SignatureError::Form(error.to_string()))?;
    if media_type != MEDIA_TYPE {
        return Err(SignatureError::Form(format!("it is of the type `{media_type}`")));
    }
    let not_base64 = |_| form("its envelope is not base64");
    let payload = BASE64_STANDARD.decode(&envelope.payload).map_err(not_base64)?;
    // A bundle has one signature, by its specification.
    let [EnvelopeSignature { sig }] = &envelope.signatures[..] else {
        return Err(form("its envelope has not one signature"));
    };
    let signature = BASE64_STANDARD.decode(sig).map_err(not_base64)?;
    let message = encoding(&envelope.payload_type, &payload);
    if !keys.iter().any(|key| key.has_signed(&message, &signature)) {
        return Err(SignatureError::Key);
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(form("its envelope holds no statement"));
    }
    let statement: Statement = serde_json::from_slice(&payload)
        .map_err(|error| SignatureError::Form(error.to_string()))?;
    // A statement of another kind, such as how something was built, is no consent to run it.
    if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
        return Err(form("its statement is of another kind"));
    }
    let hex = manifest.hex();
    match statement.subject.iter().any(|subject| subject.digest.sha256 == hex) {
        true => Ok(()),
        false => {
            let others: Vec<String> = statement
                .subject
                .iter()
                .map(|subject| format!("sha256:{}", subject.digest.sha256))
                .collect();
            Err(SignatureError::Other(others.join(", ")))
        }
    }
}

/// What is signed of an envelope: its pre-authentication encoding.
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoding("http://example.com/HelloWorld", b"hello world"), expected);
    }
}
