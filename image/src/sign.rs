//! Signatures over manifests, of bundles and images alike: takes a key and a digest, gives documents; touches nothing.
//!
//! A signature is published in both forms that are read today, and either is accepted. The first ([`simple`]) is a
//! manifest under the tag `sha256-HEX.sig`: skopeo, podman and rpm-ostree read no other. The second ([`bundle`]) is a
//! manifest that refers to what it signs: cosign 3 makes it, and Flux reads it. Read [`key`] first, then the two
//! forms, then [`verify`] and [`document`] (their manifests).

pub mod bundle;
pub mod document;
pub mod key;
pub mod simple;

pub use key::{KeyError, PrivateKey, PublicKey};

use crate::io::digest::Digest;

/// The most signatures over one manifest that are looked at.
pub const MAX_SIGNATURES: usize = 64;

/// A signature as it was found. Nothing is known of it until [`verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// A payload of simple signing, and the signature over it.
    Simple(simple::Signed),
    /// A Sigstore bundle.
    Bundle(Vec<u8>),
}

/// The form of a signature that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Of the tag `sha256-HEX.sig`.
    Simple,
    /// Of a manifest that refers to what it signs.
    Bundle,
}

/// No signature holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("{0} is not signed")]
    Unsigned(Digest),
    /// There are some, and none of them holds.
    #[error("no signature of {digest} holds: {}", reasons.join("; "))]
    Refused {
        /// What should be signed.
        digest: Digest,
        /// What is wrong with each signature.
        reasons: Vec<String>,
    },
}

impl VerifyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsigned(_) => Some("sign it with `cargo xtask bundle sign`, then push it again"),
            Self::Refused { .. } => Some("compare the public key with the one that signed"),
        }
    }
}

/// Signs a manifest in both forms. `reference` is the name under which it will be found, `registry.example/a:1`.
///
/// # Errors
/// When the key does not sign, for want of random numbers.
pub fn sign(
    key: &PrivateKey,
    manifest: &Digest,
    reference: &str,
) -> Result<[Signature; 2], KeyError> {
    Ok([
        Signature::Simple(simple::sign(key, manifest, reference)?),
        Signature::Bundle(bundle::sign(key, manifest)?),
    ])
}

/// Whether one of `signatures` over the manifest was made by one of `keys`.
///
/// # Errors
/// When none was; says what is wrong with each.
pub fn verify(
    signatures: &[Signature],
    keys: &[PublicKey],
    manifest: &Digest,
) -> Result<Form, VerifyError> {
    let mut reasons = Vec::new();
    for signature in signatures.iter().take(MAX_SIGNATURES) {
        let (form, verified) = match signature {
            Signature::Simple(signed) => (Form::Simple, simple::verify(signed, keys, manifest)),
            Signature::Bundle(bytes) => (Form::Bundle, bundle::verify(bytes, keys, manifest)),
        };
        match verified {
            Ok(()) => return Ok(form),
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    reasons.dedup();
    match signatures.is_empty() {
        true => Err(VerifyError::Unsigned(*manifest)),
        false => Err(VerifyError::Refused { digest: *manifest, reasons }),
    }
}

/// What is wrong with one signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Its documents are not what they should be.
    #[error("a signature is not of the form that it claims: {0}")]
    Form(String),
    /// It is over something else.
    #[error("a signature is over {0}")]
    Other(String),
    /// None of the keys made it.
    #[error("a signature is by another key")]
    Key,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap()
    }

    #[test]
    fn each_form_by_itself_is_enough() {
        let key = key();
        let digest = Digest::of(b"manifest");
        let signatures = sign(&key, &digest, "registry.example/a:1").unwrap();
        let keys = [self::key().public(), key.public()];
        for (signature, form) in signatures.iter().zip([Form::Simple, Form::Bundle]) {
            assert_eq!(verify(std::slice::from_ref(signature), &keys, &digest), Ok(form));
        }
    }

    #[track_caller]
    fn check(signatures: &[Signature], digest: &Digest, keys: &[PublicKey], expected: &str) {
        let message = verify(signatures, keys, digest).unwrap_err().to_string();
        assert_eq!(message.replace(&digest.to_string(), "DIGEST"), expected);
    }

    #[test]
    fn others_are_refused() {
        let key = key();
        let (digest, other) = (Digest::of(b"manifest"), Digest::of(b"other"));
        let signatures = sign(&key, &digest, "registry.example/a:1").unwrap();
        let keys = [key.public()];
        check(&[], &digest, &keys, "DIGEST is not signed");
        let by_other = "no signature of DIGEST holds: a signature is by another key";
        check(&signatures, &digest, &[self::key().public()], by_other);
        check(&signatures, &digest, &[], by_other);
        let over_other = format!("no signature of DIGEST holds: a signature is over {digest}");
        check(&signatures, &other, &keys, &over_other);

        let Signature::Simple(mut signed) = signatures[0].clone() else { panic!("the first") };
        let position = signed.payload.iter().position(|byte| *byte == b':').unwrap();
        signed.payload.insert(position, b' ');
        check(&[Signature::Simple(signed)], &digest, &keys, by_other);
        let Signature::Bundle(bytes) = &signatures[1] else { panic!("the second") };
        let mut bundle: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let statement = bundle["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
        bundle["dsseEnvelope"]["payload"] = statement.replacen('A', "B", 1).into();
        let altered = Signature::Bundle(bundle.to_string().into_bytes());
        assert!(verify(&[altered], &keys, &digest).is_err());
    }
}
