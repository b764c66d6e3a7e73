//! What stands in for a certificate until Vault signs one: self-signed, marked as such in its subject, with an empty trust
//! bundle. haproxy starts with it; no client takes it for anything.

use std::time::Duration;

use basalt_model::node::{Certificate, KeyKind, KeyUsage, Node};
use rcgen::{DistinguishedName, DnType, IsCa, date_time_ymd};

use super::directory::{Directory, DirectoryError};
use super::key::{Key, KeyError, parameters};
use super::leaf::PLACEHOLDER_ORGANIZATION;
use super::outside::Trouble;
use super::record::{self, Issued, Record, RecordError};
use super::time::{DAY, HOUR, UnixSeconds, seconds};
use super::{adopt, layout, vault_of};
use crate::host::Host;

/// It says of itself that it is for a day. Nobody renews it, and haproxy serves it until there is a better one.
const LIFE: i64 = DAY;

/// What keeps a placeholder from being made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceholderError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Whether the certificate may have one: only a server can do with it.
pub(crate) fn is_for(certificate: &Certificate) -> bool {
    certificate.usages.contains(&KeyUsage::Server)
}

/// Makes a placeholder for each certificate of `node` that has nothing at all yet. Done before manifests are written: a
/// haproxy without the files of its certificates does not start.
///
/// Returns those that could not be made, with the reason; the others are made nevertheless.
pub(crate) fn ensure_all(host: &Host, node: &Node) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    for certificate in vault_of(node).into_iter().flat_map(|vault| &vault.certificates) {
        let name = certificate.name.as_str();
        let is_new = matches!(record::load(host, name), Ok(None));
        if is_new
            && is_for(certificate)
            && adopt::found(host, certificate).is_none()
            && let Err(error) = make(host, certificate)
        {
            errors.push((certificate.name.to_string(), Trouble::of(&error, None).text));
        }
    }
    errors
}

/// Makes the placeholder of one certificate, and puts it in its place.
///
/// # Errors
/// Nothing is in its place.
pub(crate) fn make(host: &Host, certificate: &Certificate) -> Result<Record, PlaceholderError> {
    let now = seconds(std::time::SystemTime::now());
    let record = Record::new(issue(certificate, now)?);
    record::save(host, certificate.name.as_str(), &record)?;
    Directory::of(host, certificate)?.put(&layout::files(&record.current, certificate))?;
    tracing::info!(certificate = %certificate.name, "made a placeholder until Vault signs a certificate");
    Ok(record)
}

pub(super) fn issue(certificate: &Certificate, now: UnixSeconds) -> Result<Issued, KeyError> {
    let key = Key::new(KeyKind::EcdsaP256)?;
    let mut it = parameters(certificate)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, PLACEHOLDER_ORGANIZATION);
    subject.push(DnType::CommonName, certificate.common_name.as_str());
    it.distinguished_name = subject;
    it.is_ca = IsCa::ExplicitNoCa;
    let at =
        |time: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.max(0).cast_unsigned());
    (it.not_before, it.not_after) = (at(now - HOUR), at(now - HOUR + LIFE));
    let signed = it.self_signed(key.pair())?;
    let mut issued = Issued {
        key: key.pem(),
        certificate: signed.pem(),
        chain: Vec::new(),
        issuer: String::new(),
        trust: String::new(),
        pkcs12: None,
        asked: String::new(),
        signed_at: now,
    };
    if layout::lacks_pkcs12(&issued, certificate) {
        issued.pkcs12 = layout::Pkcs12::of(&issued).ok();
    }
    Ok(issued)
}
