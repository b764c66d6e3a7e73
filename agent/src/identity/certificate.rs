//! The key and the certificate of an identity: made here, signed by Vault, held against each other.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use crate::secret::Secret;

/// A new key, and the request to have it signed.
pub(crate) struct KeyAndRequest {
    /// PKCS#8 in PEM.
    pub(crate) key_pem: Secret,
    /// PKCS#10 in PEM.
    pub(crate) csr_pem: String,
    /// `subjectPublicKeyInfo` in DER.
    public_key: Vec<u8>,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Validity {
    /// An identity is renewed at half of its life: whatever keeps Vault away has the other half to end.
    pub(crate) fn renew_at(&self) -> SystemTime {
        self.not_before + self.not_after.duration_since(self.not_before).unwrap_or_default() / 2
    }
}

/// Makes an ECDSA key on P-256 for the node of this name.
///
/// # Errors
/// When the name is unfit for a certificate, or there is no randomness.
pub(crate) fn make_key(common_name: &str) -> Result<KeyAndRequest, String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
    let mut wanted =
        CertificateParams::new(Vec::<String>::new()).map_err(|error| error.to_string())?;
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, common_name);
    let request = wanted.serialize_request(&key).map_err(|error| error.to_string())?;
    Ok(KeyAndRequest {
        key_pem: Secret::new(key.serialize_pem()),
        csr_pem: request.pem().map_err(|error| error.to_string())?,
        public_key: rcgen::PublicKeyData::subject_public_key_info(&key),
    })
}

/// Looks at what Vault signed: it has to be for this key.
///
/// # Errors
/// The reason why it is not the certificate that was asked for.
pub(crate) fn check_signed(
    request: &KeyAndRequest,
    certificate_pem: &str,
) -> Result<Validity, String> {
    let (validity, public_key) = look(certificate_pem)?;
    match public_key == request.public_key {
        true => Ok(validity),
        false => Err("it is for another key".to_owned()),
    }
}

/// From when to when the first certificate in `pem` is good.
///
/// # Errors
/// When there is none.
pub(crate) fn validity(pem: &str) -> Result<Validity, String> {
    Ok(look(pem)?.0)
}

fn look(pem: &str) -> Result<(Validity, Vec<u8>), String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let (_, certificate) = parse_x509_certificate(&der).map_err(|error| error.to_string())?;
    let time = |seconds: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or_default())
    };
    let validity = Validity {
        not_before: time(certificate.validity().not_before.timestamp()),
        not_after: time(certificate.validity().not_after.timestamp()),
    };
    match validity.not_before < validity.not_after {
        true => Ok((validity, certificate.public_key().raw.to_vec())),
        false => Err("it is never valid".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_certificate_is_for_the_key_that_was_made() {
        let made = make_key("n1").unwrap();
        assert!(made.key_pem.expose().starts_with("-----BEGIN PRIVATE KEY-----"));
        let key = KeyPair::from_pem(made.key_pem.expose()).unwrap();
        let mut wanted = CertificateParams::new(Vec::<String>::new()).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2026, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2026, 1, 11);
        let validity = check_signed(&made, &wanted.self_signed(&key).unwrap().pem()).unwrap();
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        assert_eq!(validity.renew_at(), validity.not_before + days(5));
        let other = wanted.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        assert_eq!(check_signed(&made, &other).unwrap_err(), "it is for another key");
        (wanted.not_before, wanted.not_after) = (wanted.not_after, wanted.not_before);
        check_signed(&made, &wanted.self_signed(&key).unwrap().pem()).unwrap_err();
        for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            check_signed(&made, pem).unwrap_err();
        }
    }
}
