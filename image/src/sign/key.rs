//! Keys: ECDSA over P-256 with SHA-256, as PEM. The private one is PKCS #8, as `openssl genpkey` writes it, and the public
//! one is what `openssl pkey -pubout` and `cosign public-key` write.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use zeroize::Zeroizing;

/// The label of a private key.
const PRIVATE: &str = "PRIVATE KEY";
/// The label of a public key.
const PUBLIC: &str = "PUBLIC KEY";

/// A `SubjectPublicKeyInfo` of P-256 up to the point itself (RFC 5480 section 2).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An uncompressed point: `04`, then 32 bytes for each coordinate.
const POINT_BYTES: usize = 65;

/// Signs. It shows nothing of itself.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
}

/// Tells who signed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: Vec<u8>,
}

/// A key that cannot be used. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or of something else.
    #[error("it is not a PEM file with one `{wanted}`")]
    Pem {
        /// The label that is wanted.
        wanted: &'static str,
    },
    /// A private key that wants a passphrase.
    #[error("the private key is encrypted")]
    Encrypted,
    /// A private key in the older form.
    #[error("the private key is in the form of SEC 1")]
    Sec1,
    /// Of another kind.
    #[error("it is not an ECDSA key over the curve P-256")]
    Kind,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl KeyError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Pem { wanted: PUBLIC } => Some("write it with `openssl pkey -in KEY -pubout`"),
            Self::Pem { .. } | Self::Kind => Some(
                "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
            ),
            Self::Encrypted => Some("give the plain key, in a file that only its owner can read"),
            Self::Sec1 => Some("convert it with `openssl pkcs8 -topk8 -nocrypt`"),
            Self::Random => None,
        }
    }
}

impl PrivateKey {
    /// Makes a new key, as PEM.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Zeroizing<String>, KeyError> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let document = made.map_err(|_| KeyError::Random)?;
        Ok(Zeroizing::new(pem(PRIVATE, document.as_ref())))
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// When it holds no such key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("-----BEGIN EC PRIVATE KEY-----") {
            return Err(KeyError::Sec1);
        }
        if text.contains("-----BEGIN ENCRYPTED ") {
            return Err(KeyError::Encrypted);
        }
        let bytes = Zeroizing::new(from_pem(PRIVATE, text)?);
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bytes, &SystemRandom::new());
        Ok(Self { pair: pair.map_err(|_| KeyError::Kind)? })
    }

    /// The other half.
    pub fn public(&self) -> PublicKey {
        PublicKey { point: self.pair.public_key().as_ref().to_vec() }
    }

    /// Signs a message; the signature is in ASN.1.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| KeyError::Random)?.as_ref().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PublicKey {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// When it holds no such key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let bytes = from_pem(PUBLIC, text)?;
        match bytes.strip_prefix(&SPKI) {
            Some(point) if point.len() == POINT_BYTES && point[0] == 4 => {
                Ok(Self { point: point.to_vec() })
            }
            Some(_) | None => Err(KeyError::Kind),
        }
    }

    /// Writes a PEM file.
    pub fn to_pem(&self) -> String {
        pem(PUBLIC, &self.to_der())
    }

    /// The `SubjectPublicKeyInfo`.
    pub(super) fn to_der(&self) -> Vec<u8> {
        [&SPKI[..], &self.point].concat()
    }

    /// Whether the other half signed this message.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", BASE64_STANDARD.encode(&self.point))
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = Zeroizing::new(BASE64_STANDARD.encode(bytes));
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn from_pem(label: &'static str, text: &str) -> Result<Vec<u8>, KeyError> {
    let refused = KeyError::Pem { wanted: label };
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----")).ok_or(refused)?;
    let (body, rest) = rest.split_once(&format!("-----END {label}-----")).ok_or(refused)?;
    if rest.contains("-----BEGIN ") {
        return Err(refused);
    }
    let body: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    BASE64_STANDARD.decode(body.as_bytes()).map_err(|_| refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_files() {
        let pem = PrivateKey::generate().unwrap();
        let key = PrivateKey::from_pem(&pem).unwrap();
        let public = PublicKey::from_pem(&key.public().to_pem()).unwrap();
        assert_eq!(public, key.public());
        let signature = key.sign(b"message").unwrap();
        assert!(public.has_signed(b"message", &signature));
        assert!(!public.has_signed(b"massage", &signature));
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }

    #[test]
    fn other_files_are_refused() {
        let private = |text: &str| PrivateKey::from_pem(text).unwrap_err();
        assert_eq!(private(""), KeyError::Pem { wanted: PRIVATE });
        let sec1 = "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(private(sec1), KeyError::Sec1);
        let cosign = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
        assert_eq!(private(cosign), KeyError::Encrypted);
        let empty = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(private(empty), KeyError::Kind);
        let public = PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap().public();
        assert_eq!(private(&public.to_pem()), KeyError::Pem { wanted: PRIVATE });
        let twice = public.to_pem().repeat(2);
        assert_eq!(PublicKey::from_pem(&twice), Err(KeyError::Pem { wanted: PUBLIC }));
    }
}
