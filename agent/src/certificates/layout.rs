//! The files that a certificate becomes. Pure, but for the randomness in PKCS#12.

use basalt_model::node::{Certificate, CertificateLayout};
use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{Key, KeyError};
use super::leaf::{LeafError, blocks};
use super::record::Issued;
use super::secret::Secret;

/// Every name that a file of a certificate can have.
pub(crate) const NAMES: [&str; 6] =
    ["bundle.p12", "ca.pem", "certificate.pem", "combined.pem", "key.pem", "p12.password"];

/// One file of a set.
pub(crate) struct SetFile {
    pub(crate) name: &'static str,
    pub(crate) contents: Zeroizing<Vec<u8>>,
    /// Whether there is a key in it, or what opens one.
    pub(crate) secret: bool,
}

/// Key and certificates in one file, with the password that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pkcs12 {
    bytes: Vec<u8>,
    password: Secret,
}

/// Why a key and its certificates cannot become PKCS#12.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Pkcs12Error {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Certificate(#[from] LeafError),
    #[error("cannot make PKCS#12")]
    Make(#[from] p12_keystore::error::Error),
}

impl Pkcs12 {
    /// Makes it, with a random password. AES-256 and HMAC-SHA-256 (RFC 8018), which OpenSSL 1.1 and Java 8u301 read.
    pub(crate) fn of(issued: &Issued) -> Result<Pkcs12, Pkcs12Error> {
        let key = Key::from_pem(&issued.key)?;
        let mut certificates = Vec::new();
        for pem in std::iter::once(&issued.certificate).chain(&issued.chain) {
            for der in blocks(pem)? {
                certificates.push(p12_keystore::Certificate::from_der(&der)?);
            }
        }
        let chain =
            PrivateKeyChain::new(vec![1_u8], PrivateKey::from_der(key.der())?, certificates);
        let mut store = KeyStore::new();
        store.add_entry("basalt", KeyStoreEntry::PrivateKeyChain(chain));
        let password = password();
        let bytes = store.writer(password.reveal()).write()?;
        Ok(Pkcs12 { bytes, password })
    }
}

/// 32 random letters and digits: 190 bits.
fn password() -> Secret {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(32);
    while text.len() < 32 {
        let mut byte = [0_u8];
        SystemRandom::new().fill(&mut byte).expect("getrandom(2) gives as much as asked");
        // Each letter as likely as any other.
        if byte[0] < 248 {
            text.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Secret::new(text)
}

/// Whether the set lacks something that has to be made before it can be laid out.
pub(crate) fn lacks_pkcs12(issued: &Issued, certificate: &Certificate) -> bool {
    certificate.layouts.contains(&CertificateLayout::Pkcs12) && issued.pkcs12.is_none()
}

/// The files of a set, sorted by name. The PKCS#12 is left out while it is not made.
pub(crate) fn files(issued: &Issued, certificate: &Certificate) -> Vec<SetFile> {
    let has = |layout| certificate.layouts.contains(&layout);
    let mut files = Vec::new();
    let mut add = |name, secret, parts: &[&str]| {
        let length = parts.iter().map(|part| part.len() + 1).sum();
        let mut contents = Zeroizing::new(Vec::with_capacity(length));
        for part in parts {
            contents.extend_from_slice(part.as_bytes());
            // Vault leaves the end of the last line away.
            if !part.is_empty() && !part.ends_with('\n') {
                contents.push(b'\n');
            }
        }
        files.push(SetFile { name, contents, secret });
    };
    let chained: Vec<&str> =
        std::iter::once(&issued.certificate).chain(&issued.chain).map(String::as_str).collect();
    let key = issued.key.reveal();
    if !issued.trust.is_empty() {
        add("ca.pem", false, &[&issued.trust]);
    }
    if has(CertificateLayout::Separate) {
        add("certificate.pem", false, &chained);
        add("key.pem", true, &[key]);
    }
    if has(CertificateLayout::Combined) {
        add("combined.pem", true, &[&chained[..], &[key]].concat());
    }
    if let Some(pkcs12) = issued.pkcs12.as_ref().filter(|_| has(CertificateLayout::Pkcs12)) {
        // No line end: programs take the whole file for the password.
        let password = Zeroizing::new(pkcs12.password.reveal().as_bytes().to_vec());
        files.push(SetFile { name: "p12.password", contents: password, secret: true });
        let contents = Zeroizing::new(pkcs12.bytes.clone());
        files.push(SetFile { name: "bundle.p12", contents, secret: true });
    }
    files.sort_by_key(|file| file.name);
    files
}
