//! What is in a file with a certificate and its key.

use std::io;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::activate::KeyMatch;
use crate::host::{Host, look};

/// A certificate whose key is beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairSeen {
    pub(crate) common_name: String,
    pub(crate) organizations: Vec<String>,
    /// DNS names and IP addresses.
    pub(crate) alternative_names: Vec<String>,
    /// Seconds since the Unix epoch.
    pub(crate) not_before: u64,
    /// Seconds since the Unix epoch.
    pub(crate) not_after: u64,
    /// The certificate as it is shown in a handshake.
    pub(crate) der: Vec<u8>,
}

/// Reads the file; see [`parse`].
pub(crate) fn load(host: &Host, path: &str) -> Result<PairSeen, String> {
    match look::read_behind(&host.real(path)) {
        Ok(pem) => parse(&pem).map_err(|error| format!("{path}: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{path} is missing")),
        Err(error) => Err(format!("cannot read {path}: {error}")),
    }
}

/// Reads the first certificate and the key in a PEM text, which have to belong together.
pub(crate) fn parse(pem: &[u8]) -> Result<PairSeen, String> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|_| "it holds no certificate")?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "it holds no private key")?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|error| format!("its certificate: {error}"))?;
    match KeyMatch::of(&der, key) {
        KeyMatch::Own => {}
        KeyMatch::Other => return Err("its key is not the certificate's".to_owned()),
        KeyMatch::Unknown => return Err("its key is damaged or of an unknown kind".to_owned()),
    }
    let subject = certificate.subject();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value.as_str().unwrap_or_default().to_owned()
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Ok(PairSeen {
        common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect(),
        alternative_names: names.iter().filter_map(name).collect(),
        not_before: seconds(certificate.validity().not_before),
        not_after: seconds(certificate.validity().not_after),
        der: der.to_vec(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|it| std::net::IpAddr::from(it).to_string()),
            16 => {
                <[u8; 16]>::try_from(*bytes).ok().map(|it| std::net::IpAddr::from(it).to_string())
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["n1".to_owned(), "192.0.2.11".to_owned(), "2001:db8::1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:n1");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_beside_its_key() {
        let (certificate, key) = made();
        for pem in [format!("{certificate}{key}"), format!("{key}{certificate}")] {
            let seen = parse(pem.as_bytes()).unwrap();
            assert_eq!(seen.common_name, "system:node:n1");
            assert_eq!(seen.organizations, ["system:nodes"]);
            assert_eq!(seen.alternative_names, ["n1", "192.0.2.11", "2001:db8::1"]);
            assert_eq!(seen.not_after - seen.not_before, 86_400);
        }
    }

    #[test]
    fn what_is_no_pair_is_said_without_its_text() {
        let (certificate, key) = made();
        let (_, other) = made();
        let strange = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (pem, error) in [
            (String::new(), "it holds no certificate"),
            (certificate.clone(), "it holds no private key"),
            (key.clone(), "it holds no certificate"),
            (format!("{certificate}{other}"), "its key is not the certificate's"),
            (format!("{certificate}{strange}"), "its key is damaged or of an unknown kind"),
        ] {
            assert_eq!(parse(pem.as_bytes()).unwrap_err(), error);
        }
    }
}
