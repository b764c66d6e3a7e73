//! Private keys, made on this node, and the requests to sign them.

use std::convert::Infallible;

use basalt_model::node::{Certificate, KeyKind, KeyUsage};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData as _,
};
use ring::rand::SecureRandom as _;
use rsa::pkcs8::EncodePrivateKey as _;
use rsa::rand_core::{TryCryptoRng, TryRng};
use tokio::sync::oneshot;
use zeroize::Zeroize as _;

use super::secret::Secret;

/// A new key and the request to sign it.
#[derive(Debug)]
pub(crate) struct Request {
    /// PKCS#8 (RFC 5958) in PEM.
    pub(crate) key: Secret,
    /// PKCS#10 (RFC 2986) in PEM.
    pub(crate) csr: String,
}

/// What keeps a key or a request from being made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot make an RSA key")]
    Rsa(#[source] rsa::Error),
    #[error("cannot write down an RSA key")]
    Encode(#[source] rsa::pkcs8::Error),
    #[error("cannot make a key or a signing request")]
    Make(#[from] rcgen::Error),
    #[error("the private key is no PKCS#8 in PEM")]
    NoKey,
    #[error("the thread that makes keys has ended before its work")]
    Ended,
}

/// A key pair that is wiped when dropped.
pub(crate) struct Key(KeyPair);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Key {
    pub(crate) fn new(kind: KeyKind) -> Result<Key, KeyError> {
        let rsa = |bits| -> Result<Key, KeyError> {
            let key = rsa::RsaPrivateKey::new(&mut Kernel, bits).map_err(KeyError::Rsa)?;
            let der = key.to_pkcs8_der().map_err(KeyError::Encode)?;
            let der = rustls::pki_types::PrivatePkcs8KeyDer::from(der.as_bytes());
            Ok(Key(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)?))
        };
        match kind {
            KeyKind::EcdsaP256 => Ok(Key(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)),
            KeyKind::EcdsaP384 => Ok(Key(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?)),
            KeyKind::Rsa2048 => rsa(2048),
            KeyKind::Rsa3072 => rsa(3072),
            KeyKind::Rsa4096 => rsa(4096),
        }
    }

    /// Reads what [`Key::pem`] gives.
    pub(crate) fn from_pem(pem: &Secret) -> Result<Key, KeyError> {
        Ok(Key(KeyPair::from_pem(pem.reveal()).map_err(|_| KeyError::NoKey)?))
    }

    pub(crate) fn pem(&self) -> Secret {
        Secret::new(self.0.serialize_pem())
    }

    /// The DER of PKCS#8.
    pub(crate) fn der(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// The DER of its SubjectPublicKeyInfo, which its certificate carries.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// The kind, as far as the key shows it.
    #[cfg(test)]
    pub(crate) fn is(&self, kind: KeyKind) -> bool {
        let algorithm = self.0.algorithm();
        let bits = || self.0.public_key_raw().len();
        match kind {
            KeyKind::EcdsaP256 => *algorithm == PKCS_ECDSA_P256_SHA256,
            KeyKind::EcdsaP384 => *algorithm == PKCS_ECDSA_P384_SHA384,
            // A modulus of so many bytes, and less than 30 more around it.
            KeyKind::Rsa2048 => *algorithm == PKCS_RSA_SHA256 && (256..300).contains(&bits()),
            KeyKind::Rsa3072 => *algorithm == PKCS_RSA_SHA256 && (384..430).contains(&bits()),
            KeyKind::Rsa4096 => *algorithm == PKCS_RSA_SHA256 && (512..560).contains(&bits()),
        }
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

/// The randomness of the kernel, as the `rsa` crate asks for it.
struct Kernel;

impl TryRng for Kernel {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        ring::rand::SystemRandom::new().fill(bytes).expect("getrandom(2) gives as much as asked");
        Ok(())
    }
}

impl TryCryptoRng for Kernel {}

/// Makes a key and a request for `certificate`, on a thread of its own: RSA keys take seconds.
///
/// # Errors
/// When there is no randomness, or a name is none.
pub(crate) async fn request(certificate: &Certificate) -> Result<Request, KeyError> {
    let (sender, receiver) = oneshot::channel();
    let certificate = certificate.clone();
    // Not tokio's blocking threads: the end of the service would wait for them.
    std::thread::spawn(move || {
        // Whoever asked may be gone.
        let _ = sender.send(request_now(&certificate));
    });
    receiver.await.map_err(|_| KeyError::Ended)?
}

fn request_now(certificate: &Certificate) -> Result<Request, KeyError> {
    let key = Key::new(certificate.key)?;
    let csr = parameters(certificate)?.serialize_request(key.pair())?.pem()?;
    Ok(Request { key: key.pem(), csr })
}

/// What the request asks for, which is also what a placeholder carries.
pub(super) fn parameters(certificate: &Certificate) -> Result<CertificateParams, KeyError> {
    let names = certificate.subject_alternative_names.iter();
    let mut parameters =
        CertificateParams::new(names.map(ToString::to_string).collect::<Vec<_>>())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, certificate.common_name.as_str());
    parameters.distinguished_name = subject;
    let purpose = |usage: &KeyUsage| match usage {
        KeyUsage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        KeyUsage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    };
    parameters.extended_key_usages = certificate.usages.iter().map(purpose).collect();
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::certificate;

    /// RSA keys of full size take minutes in a debug build; the programs' tests make them.
    const KINDS: [KeyKind; 2] = [KeyKind::EcdsaP256, KeyKind::EcdsaP384];

    #[test]
    fn a_key_is_what_it_was_asked_to_be_and_read_back() {
        for kind in KINDS {
            let key = Key::new(kind).unwrap();
            let again = Key::from_pem(&key.pem()).unwrap();
            assert_eq!(again.public_der(), key.public_der());
            for other in KINDS {
                assert_eq!(again.is(other), other == kind, "{kind:?} {other:?}");
            }
            assert!(!format!("{:?}", key.pem()).contains("PRIVATE"));
            assert_ne!(Key::new(kind).unwrap().public_der(), key.public_der());
        }
        assert!(Key::from_pem(&Secret::new("nothing".to_owned())).is_err());
    }

    #[test]
    fn an_rsa_key_of_its_size() {
        // The smallest, of which a debug build makes one in seconds.
        let key = Key::new(KeyKind::Rsa2048).unwrap();
        assert!(key.is(KeyKind::Rsa2048) && !key.is(KeyKind::Rsa3072));
        assert!(Key::from_pem(&key.pem()).unwrap().is(KeyKind::Rsa2048));
        assert!(parameters(&certificate("a")).unwrap().serialize_request(key.pair()).is_ok());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_names_what_is_wanted() {
        let certificate = certificate("ingress");
        let made = request(&certificate).await.unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.csr.as_bytes()).unwrap();
        assert_eq!(pem.label, "CERTIFICATE REQUEST");
        let (_, csr) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents)
                .unwrap();
        csr.verify_signature().unwrap();
        assert_eq!(csr.certification_request_info.subject.to_string(), "CN=ingress.lab.example");
        let key = Key::from_pem(&made.key).unwrap();
        assert_eq!(csr.certification_request_info.subject_pki.raw, key.public_der());
        let text = format!("{:?}", csr.requested_extensions().unwrap().collect::<Vec<_>>());
        assert!(
            text.contains("ingress.lab.example") && text.contains("server_auth: true"),
            "{text}"
        );
    }

    use x509_parser::prelude::FromDer as _;
}
