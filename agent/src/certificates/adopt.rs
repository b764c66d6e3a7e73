//! A certificate that lies in its folder while its record is gone: it goes on serving. What a record holds and a folder does
//! not is asked of Vault again.

use basalt_model::node::Certificate;
use zeroize::Zeroizing;

use super::key::Key;
use super::leaf::{Leaf, blocks, parsed};
use super::record::{Issued, Record};
use super::secret::Secret;
use crate::host::{Host, look};

/// The record of what lies in the folder; `None` when there is no certificate with its key, or only a placeholder.
///
/// Nobody knows what it was asked for, so a new one is signed as soon as there is a Vault.
pub(crate) fn found(host: &Host, certificate: &Certificate) -> Option<Record> {
    let read = |name: &str| {
        let path = host.real(&format!("{}/{name}", certificate.directory));
        let text = Zeroizing::new(look::read_behind(&path).ok()?);
        String::from_utf8(text.to_vec()).ok().map(Secret::new)
    };
    let trust = read("ca.pem").map(|it| it.reveal().to_owned()).filter(|it| !it.is_empty())?;
    let separate = || Some((read("certificate.pem")?, read("key.pem")?));
    let combined = || {
        let both = read("combined.pem")?;
        let at = both.reveal().find("-----BEGIN PRIVATE KEY-----")?;
        let (chain, key) = both.reveal().split_at(at);
        Some((Secret::new(chain.to_owned()), Secret::new(key.to_owned())))
    };
    let (chain, key) = separate().or_else(combined)?;
    let ders = blocks(chain.reveal()).ok()?;
    let leaf = parsed(ders.first()?).ok()?;
    let is_pair = leaf.public_key().raw == Key::from_pem(&key).ok()?.public_der();
    if !is_pair || Leaf::of_certificate(&leaf).placeholder {
        return None;
    }
    let mut pems = chain.reveal().split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned);
    let (certificate, chain) = (pems.next()?, pems.collect::<Vec<_>>());
    let issuer = chain.first().unwrap_or(&trust).clone();
    let pkcs12 = None;
    let issued = Issued {
        key,
        certificate,
        chain,
        issuer,
        trust,
        pkcs12,
        asked: String::new(),
        signed_at: 0,
    };
    let mut record = Record::new(issued);
    record.prove();
    Some(record)
}
