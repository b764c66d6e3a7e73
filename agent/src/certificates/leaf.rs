//! What a certificate says: parsed from its PEM text, for the schedule, the checks and for people. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, Pem, X509Certificate};

use super::time::UnixSeconds;

/// The organization in the subject of a placeholder. No authority signs it, and nobody is to trust what carries it.
pub(crate) const PLACEHOLDER_ORGANIZATION: &str =
    "Basalt placeholder, not a certificate of the authority";

/// What a certificate says, as far as anybody asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaf {
    /// The distinguished name.
    pub(crate) subject: String,
    /// The common name in it, if there is exactly one.
    pub(crate) common_name: Option<String>,
    /// Subject alternative names: DNS names in lower case and IP addresses, sorted; of other kinds with the kind in front.
    pub(crate) names: BTreeSet<String>,
    /// Hex digits with colons, as Vault writes it.
    pub(crate) serial: String,
    /// The distinguished name of the issuer.
    pub(crate) issuer: String,
    pub(crate) not_before: UnixSeconds,
    pub(crate) not_after: UnixSeconds,
    /// Whether it is one of ours that only stands in for a real one.
    pub(crate) placeholder: bool,
}

/// Text that holds no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no X.509 certificate in PEM: {0}")]
pub(crate) struct LeafError(pub(crate) String);

impl Leaf {
    /// What the first certificate in `pem` says.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn of(pem: &str) -> Result<Leaf, LeafError> {
        let blocks = blocks(pem)?;
        let first = blocks.first().ok_or_else(|| LeafError("it is empty".to_owned()))?;
        Ok(Leaf::of_certificate(&parsed(first)?))
    }

    pub(super) fn of_certificate(certificate: &X509Certificate<'_>) -> Leaf {
        let subject = certificate.subject();
        let texts = |names: Vec<_>| -> Vec<String> {
            let text = |name: &x509_parser::x509::AttributeTypeAndValue<'_>| {
                name.as_str().ok().map(str::to_owned)
            };
            names.into_iter().filter_map(text).collect()
        };
        let mut common_names = texts(subject.iter_common_name().collect());
        let organizations = texts(subject.iter_organization().collect());
        let validity = certificate.validity();
        Leaf {
            subject: subject.to_string(),
            common_name: common_names.pop().filter(|_| common_names.is_empty()),
            names: names(certificate),
            serial: certificate.raw_serial_as_string(),
            issuer: certificate.issuer().to_string(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            placeholder: organizations.iter().any(|it| it == PLACEHOLDER_ORGANIZATION),
        }
    }

    /// How long it lives, in seconds.
    #[cfg(test)]
    pub(crate) fn life(&self) -> i64 {
        self.not_after - self.not_before
    }
}

/// The DER of each certificate in a PEM text, in order.
///
/// # Errors
/// When a block is broken, or holds something else.
pub(super) fn blocks(pem: &str) -> Result<Vec<Vec<u8>>, LeafError> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|error| LeafError(error.to_string()))?;
        if block.label != "CERTIFICATE" {
            return Err(LeafError(format!("a block is called `{}`", block.label)));
        }
        found.push(block.contents);
    }
    Ok(found)
}

/// Parses DER, and nothing behind it.
pub(super) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, LeafError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(LeafError("there is something behind it".to_owned())),
        Err(error) => Err(LeafError(error.to_string())),
    }
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let extensions = certificate.iter_extensions();
    let alternative = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    alternative.flatten().map(shown).collect()
}

fn shown(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => name.to_ascii_lowercase(),
        GeneralName::IPAddress(bytes) => match ip(bytes) {
            Some(ip) => ip.to_string(),
            None => format!("ip:{bytes:02x?}"),
        },
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(name) => format!("uri:{name}"),
        other => format!("other:{other}"),
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four: Result<[u8; 4], _> = bytes.try_into();
    let sixteen: Result<[u8; 16], _> = bytes.try_into();
    four.map(IpAddr::from).or(sixteen.map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::Ca;

    #[test]
    fn what_it_says() {
        let ca = Ca::new("lab");
        let signed = ca.leaf("n1.lab.example", &["n1.lab.example", "192.0.2.1", "2001:db8::1"]);
        let leaf = Leaf::of(&signed).unwrap();
        assert_eq!(leaf.common_name.as_deref(), Some("n1.lab.example"));
        assert_eq!(leaf.subject, "CN=n1.lab.example");
        assert_eq!(leaf.issuer, "CN=lab");
        let names: Vec<&str> = leaf.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["192.0.2.1", "2001:db8::1", "n1.lab.example"]);
        assert!(leaf.serial.contains(':') && !leaf.placeholder);
        assert!(leaf.life() > 0);
        // The first one counts.
        assert_eq!(Leaf::of(&format!("{signed}{}", ca.pem)).unwrap(), leaf);
    }

    #[test]
    fn what_is_no_certificate() {
        let ca = Ca::new("lab");
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let cut = &ca.pem[..ca.pem.len() / 2];
        for text in ["", "hello", cut, &key, &ca.pem.replace("MII", "MIA")] {
            assert!(Leaf::of(text).is_err(), "{text}");
        }
    }
}
