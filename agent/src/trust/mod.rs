//! How a node takes a new issuer without a gap: takes what Vault's mounts list and what is in use here, gives what belongs
//! into `ca.pem` and whether a leaf may be taken into use. Pure.
//!
//! The order is the same on every node: first the new issuer is trusted (its certificate is in `ca.pem`, and those who read
//! it were told), then leaves of it are taken into use, and when neither Vault lists the old issuer nor a leaf of it is in
//! use, the old one is dropped. So at every moment each side of a connection can verify the other, as long as the fleet
//! waits between the steps until all nodes are done; [`Progress`] is what it waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// An issuer, by the SHA-256 of its certificate in lower-case hex.
pub(crate) type Fingerprint = String;

/// An issuer as Vault lists it, or as it lies in a `ca.pem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issuer {
    /// Its certificate, PEM with a newline at its end.
    pub(crate) pem: String,
    /// For people: its common name.
    pub(crate) name: String,
}

/// What is known about the issuers of one certificate's mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the mount lists; absent while Vault cannot be asked.
    pub(crate) listed: Option<BTreeMap<Fingerprint, Issuer>>,
    /// What lies in the certificate's `ca.pem`.
    pub(crate) bundle: BTreeMap<Fingerprint, Issuer>,
    /// Of those, the ones that a proved activation has brought into use.
    pub(crate) proved: BTreeSet<Fingerprint>,
    /// The issuers of the leaves that are in use here, or wait to be, from this mount.
    pub(crate) in_use: BTreeSet<Fingerprint>,
}

/// What `ca.pem` is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// All of it, in the order of the fingerprints: the same set gives the same file.
    pub(crate) issuers: BTreeMap<Fingerprint, Issuer>,
    /// New in it.
    pub(crate) added: BTreeSet<Fingerprint>,
    /// No more in it.
    pub(crate) dropped: BTreeSet<Fingerprint>,
}

impl Bundle {
    /// The file: every certificate begins on a line of its own, or readers would fall over it.
    pub(crate) fn pem(&self) -> String {
        let mut text = String::new();
        for issuer in self.issuers.values() {
            text.push_str(issuer.pem.trim());
            text.push('\n');
        }
        text
    }

    /// Whether the file on the disk has to change.
    pub(crate) fn is_changed(&self) -> bool {
        !self.added.is_empty() || !self.dropped.is_empty()
    }
}

/// What belongs into `ca.pem`: everything that Vault lists, and what leaves in use here still need. While Vault cannot be
/// asked, or lists nothing, nothing is dropped.
pub(crate) fn bundle(seen: &Seen) -> Bundle {
    let listed = seen.listed.as_ref().filter(|listed| !listed.is_empty());
    let is_kept = |fingerprint: &Fingerprint| {
        listed.is_none_or(|listed| listed.contains_key(fingerprint))
            || seen.in_use.contains(fingerprint)
            // A leaf of the new issuer is not proved yet: the old one may have to come back.
            || !listed.is_some_and(|listed| listed.keys().any(|one| seen.proved.contains(one)))
    };
    let mut issuers: BTreeMap<Fingerprint, Issuer> = BTreeMap::new();
    for (fingerprint, issuer) in seen.bundle.iter().filter(|(fingerprint, _)| is_kept(fingerprint))
    {
        issuers.insert(fingerprint.clone(), issuer.clone());
    }
    for (fingerprint, issuer) in listed.into_iter().flatten() {
        issuers.insert(fingerprint.clone(), issuer.clone());
    }
    let of = |map: &BTreeMap<Fingerprint, Issuer>| -> BTreeSet<Fingerprint> {
        map.keys().cloned().collect()
    };
    let (before, after) = (of(&seen.bundle), of(&issuers));
    let added = after.difference(&before).cloned().collect();
    let dropped = before.difference(&after).cloned().collect();
    Bundle { issuers, added, dropped }
}

/// Whether a leaf may be taken into use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may.
    Go,
    /// Not yet: its issuer has to be trusted first, which activating the bundle with the old leaf brings about.
    TrustFirst {
        /// The issuer, for people.
        issuer: String,
    },
}

/// Judges a leaf of `issuer`, whose certificate Vault gave with it. The very first leaf of a folder has nobody to surprise.
pub(crate) fn may_activate(seen: &Seen, fingerprint: &str, name: &str) -> Verdict {
    let is_first = seen.in_use.is_empty() && seen.bundle.is_empty();
    match is_first || seen.proved.contains(fingerprint) {
        true => Verdict::Go,
        false => Verdict::TrustFirst { issuer: name.to_owned() },
    }
}

/// How far this node is with one issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// Vault lists it; it is not in `ca.pem`.
    Listed,
    /// It is in `ca.pem`, and nobody has proved that this is in use.
    Trusting,
    /// It is trusted.
    Trusted,
    /// A leaf of it is in use.
    Issuing,
    /// Vault does not list it any more; it stays for a leaf that is in use.
    Leaving,
}

/// How far this node is, by issuer; one that was dropped is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// By fingerprint.
    pub(crate) issuers: BTreeMap<Fingerprint, IssuerProgress>,
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IssuerProgress {
    /// Its common name.
    pub(crate) name: String,
    pub(crate) stage: Stage,
}

/// How far this node is. `seen` is how things are now.
pub(crate) fn progress(seen: &Seen) -> Progress {
    let mut issuers = BTreeMap::new();
    let all = seen.bundle.iter().chain(seen.listed.iter().flatten());
    for (fingerprint, issuer) in all {
        let is_listed = seen.listed.as_ref().is_none_or(|listed| listed.contains_key(fingerprint));
        let is_there = seen.bundle.contains_key(fingerprint);
        let stage = match (is_there, is_listed) {
            (false, _) => Stage::Listed,
            (true, false) => Stage::Leaving,
            (true, true) if seen.in_use.contains(fingerprint) => Stage::Issuing,
            (true, true) if seen.proved.contains(fingerprint) => Stage::Trusted,
            (true, true) => Stage::Trusting,
        };
        issuers.insert(fingerprint.clone(), IssuerProgress { name: issuer.name.clone(), stage });
    }
    Progress { issuers }
}

#[cfg(test)]
mod tests;
