//! The files of one certificate as they lie in its folder.

use std::fmt;
use std::io;

use basalt_model::node::{Certificate, CertificateLayout};
use rustls::InconsistentKeys;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::host::{Host, look};

/// The file with the issuers that peers of a consumer are held against.
pub(crate) const CA_FILE: &str = "ca.pem";

/// A serial number in hex with colons, as Vault writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Serial(String);

impl Serial {
    /// The serial number of a DER certificate; `None` when it is none.
    pub(crate) fn of(der: &[u8]) -> Option<Serial> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Serial(certificate.raw_serial_as_string()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error("cannot read `{path}`: {source}")]
    Read { path: String, source: io::Error },
    #[error("`{path}` holds no certificate in PEM")]
    NoCertificate { path: String },
    #[error("`{path}` holds no private key in PEM")]
    NoKey { path: String },
    #[error("the private key in `{path}` is not its certificate's")]
    OtherKey { path: String },
}

/// One set of key, certificate, chain and issuers. The key is in `combined` alone.
#[derive(Clone)]
pub(crate) struct CertificateSet {
    /// The leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// What may sign it, from `ca.pem`.
    pub(crate) issuers: Vec<CertificateDer<'static>>,
    /// `ca.pem` as it lies there.
    pub(crate) ca_pem: Vec<u8>,
    /// `combined.pem`, when the certificate has that layout.
    pub(crate) combined: Option<Zeroizing<Vec<u8>>>,
    pub(crate) serial: Serial,
}

impl fmt::Debug for CertificateSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSet").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl CertificateSet {
    /// Reads the set of `certificate` from its folder on the host.
    ///
    /// # Errors
    /// [`SetError`] names the file, never what is in it.
    pub(crate) fn read(host: &Host, certificate: &Certificate) -> Result<CertificateSet, SetError> {
        let path = |name: &str| format!("{}/{name}", certificate.directory);
        let read = |name: &str| {
            let path = path(name);
            match look::read_behind(&host.real(&path)) {
                Ok(bytes) => Ok(Zeroizing::new(bytes)),
                Err(source) => Err(SetError::Read { path, source }),
            }
        };
        let has = |layout| certificate.layouts.contains(&layout);
        let combined = match has(CertificateLayout::Combined) {
            true => Some(read("combined.pem")?),
            false => None,
        };
        let (of_chain, chain) = match &combined {
            Some(combined) => ("combined.pem", combined.clone()),
            None => ("certificate.pem", read("certificate.pem")?),
        };
        let ca = read(CA_FILE)?;
        let chain = certificates(&chain);
        let issuers = certificates(&ca);
        let serial = chain.first().and_then(|leaf| Serial::of(leaf));
        let Some(serial) = serial else {
            return Err(SetError::NoCertificate { path: path(of_chain) });
        };
        if issuers.is_empty() {
            return Err(SetError::NoCertificate { path: path(CA_FILE) });
        }
        if let Some(combined) = &combined {
            let path = path("combined.pem");
            let key = PrivateKeyDer::from_pem_slice(combined);
            let key = key.map_err(|_| SetError::NoKey { path: path.clone() })?;
            match KeyMatch::of(&chain[0], key) {
                KeyMatch::Other => return Err(SetError::OtherKey { path }),
                // Of a kind that is unknown here, the consumer has to say so.
                KeyMatch::Own | KeyMatch::Unknown => {}
            }
        }
        Ok(CertificateSet { chain, issuers, ca_pem: ca.to_vec(), combined, serial })
    }

    /// The leaf.
    pub(crate) fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}

/// Whether a private key belongs to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyMatch {
    Own,
    Other,
    /// The key, or the certificate, is damaged or of a kind that is unknown here.
    Unknown,
}

impl KeyMatch {
    /// Holds the key against the certificate.
    pub(crate) fn of(
        certificate: &CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> KeyMatch {
        let Ok(key) = ring::default_provider().key_provider.load_private_key(key) else {
            return KeyMatch::Unknown;
        };
        match CertifiedKey::new(vec![certificate.clone()], key).keys_match() {
            Ok(()) => KeyMatch::Own,
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => KeyMatch::Other,
            Err(_) => KeyMatch::Unknown,
        }
    }
}

/// The certificates in PEM text; what else is in it is passed over.
pub(crate) fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::generate_simple_self_signed;

    use super::{CA_FILE, CertificateSet};
    use crate::certificates::testing::certificate;
    use crate::testing::scratch_host;

    #[track_caller]
    fn check(combined: &str, expected: Result<(), &str>) {
        let (_keep, host) = scratch_host();
        let certificate = certificate("ingress");
        let folder = host.real(certificate.directory.as_str());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("combined.pem"), combined).unwrap();
        fs::write(folder.join(CA_FILE), pair().0).unwrap();
        let read = CertificateSet::read(&host, &certificate).map(drop);
        let expected = expected.map_err(str::to_owned);
        assert_eq!(read.map_err(|error| error.to_string()), expected);
    }

    /// What is in it is of no kind that is known here.
    const STRANGE_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

    /// A certificate and its key.
    fn pair() -> (String, String) {
        let rcgen::CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["web.lab.example".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_set_is_a_certificate_with_its_own_key() {
        let ((certificate, key), (_, other_key)) = (pair(), pair());
        check(&format!("{certificate}{key}"), Ok(()));
        let other = "the private key in `/var/lib/basalt/certificates/ingress/combined.pem` is not its certificate's";
        check(&format!("{certificate}{other_key}"), Err(other));
        check(&format!("{certificate}{STRANGE_KEY}"), Ok(()));
        let none =
            "`/var/lib/basalt/certificates/ingress/combined.pem` holds no private key in PEM";
        check(&certificate, Err(none));
        let none =
            "`/var/lib/basalt/certificates/ingress/combined.pem` holds no certificate in PEM";
        check(&key, Err(none));
    }
}
