//! What belongs into `ca.pem`, and when a leaf of a new issuer may be taken into use: [`crate::trust`], asked about a record.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::leaf::{blocks, parsed};
use super::record::{Issued, Record};
use crate::host::look::sha256;
use crate::trust::{self, Fingerprint, Issuer, Progress, Seen, Verdict};

/// The bundle of a first certificate: what signed it, and every issuer of its PKI.
pub(super) fn first_bundle(issuing_ca: &str, known: &[String]) -> String {
    let bundle = issuers([issuing_ca]);
    let listed = (!known.is_empty()).then(|| issuers(known.iter().map(String::as_str)));
    let in_use = bundle.keys().cloned().collect();
    trust::bundle(&Seen { listed, bundle, proved: BTreeSet::new(), in_use }).pem()
}

/// Brings the bundle in use up to date; whether that changes it. `known` is what Vault lists; empty when it does not say.
pub(super) fn refresh(record: &mut Record, known: &[String]) -> bool {
    let renewed = trust::bundle(&seen(record, known)).pem();
    let is_changed = renewed != record.current.trust;
    if is_changed {
        record.current.trust = renewed;
    }
    is_changed
}

/// Whether the consumers here trust the issuer of the leaf that waits. If not, its bundle is what they need first.
pub(super) fn may_activate(record: &Record) -> bool {
    let Some(next) = &record.next else { return true };
    if record.current.is_placeholder() {
        return true;
    }
    let of_next = issuers([next.issued.issuer.as_str()]);
    let seen = seen(record, &[]);
    let is_trusted = |(fingerprint, issuer): (&Fingerprint, &Issuer)| {
        trust::may_activate(&seen, fingerprint, &issuer.name) == Verdict::Go
    };
    of_next.iter().all(is_trusted)
}

/// Lets the set that waits trust whom the set in use trusts: peers change at another time. What nobody needs any more is
/// dropped when the new one is proved.
pub(super) fn overlap(record: &mut Record) {
    if record.current.is_placeholder() {
        return;
    }
    if let Some(next) = &mut record.next {
        next.issued.trust = joined(&record.current.trust, &next.issued.trust);
    }
}

/// Two bundles as one.
pub(super) fn joined(one: &str, other: &str) -> String {
    let (bundle, in_use) = (issuers([one, other]), BTreeSet::new());
    trust::bundle(&Seen { listed: None, bundle, proved: BTreeSet::new(), in_use }).pem()
}

/// How far this node is with each issuer.
pub(super) fn progress(record: &Record, known: &[String]) -> Progress {
    trust::progress(&seen(record, known))
}

/// What is said of a record to others: the issuers that those who are here trust for sure, and the issuers of what is in
/// use or waits to be.
pub(super) fn said(record: &Record) -> (BTreeSet<Fingerprint>, BTreeSet<Fingerprint>) {
    let seen = seen(record, &[]);
    (seen.proved, seen.in_use)
}

/// The fingerprints of the certificates in a PEM text, in its order.
pub(super) fn fingerprints(pem: &str) -> Vec<Fingerprint> {
    blocks(pem).unwrap_or_default().iter().map(|der| sha256(der)).collect()
}

fn seen(record: &Record, known: &[String]) -> Seen {
    let is_real = |issued: &&Issued| !issued.is_placeholder();
    let bundle = issuers([record.current.trust.as_str()]);
    // While the set is not proved, what the one before it brought into use still is.
    let proved = match (record.proved, &record.previous) {
        (true, _) => bundle.keys().cloned().collect(),
        (false, Some(previous)) => issuers([previous.trust.as_str()]).into_keys().collect(),
        (false, None) => BTreeSet::new(),
    };
    let next = record.next.as_ref().map(|next| &next.issued);
    let leaves = [Some(&record.current), record.previous.as_ref(), next];
    let leaves = leaves.into_iter().flatten().filter(is_real);
    let in_use = issuers(leaves.map(|issued| issued.issuer.as_str())).into_keys().collect();
    let listed = (!known.is_empty()).then(|| issuers(known.iter().map(String::as_str)));
    Seen { listed, bundle, proved, in_use }
}

/// The certificates of PEM texts by fingerprint. What is broken is left out.
fn issuers<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<Fingerprint, Issuer> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut issuers = BTreeMap::new();
    for pem in texts.into_iter().flat_map(|text| text.split_inclusive(END)) {
        let pem = pem.trim();
        let Some(der) = blocks(pem).ok().and_then(|mut ders| ders.pop()) else { continue };
        let Ok(certificate) = parsed(&der) else { continue };
        let names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let name = names.last().map_or_else(|| certificate.subject().to_string(), str::to_owned);
        issuers.insert(sha256(&der), Issuer { pem: format!("{pem}\n"), name });
    }
    issuers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::Ca;

    #[test]
    fn a_first_bundle_has_every_issuer_once() {
        let [old, new] = ["old", "new"].map(Ca::new);
        let known = [new.pem.clone(), old.pem.trim_end().to_owned()];
        let both = first_bundle(&old.pem, &known);
        assert_eq!(both.matches("BEGIN").count(), 2);
        assert!(both.contains(old.pem.trim()) && both.contains(new.pem.trim()));
        assert_eq!(first_bundle(&new.pem, &[]), format!("{}\n", new.pem.trim()));
    }
}
