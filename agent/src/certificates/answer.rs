//! Whether what Vault signed is what was asked for. Looked at before anything of it is written. Pure.

use std::collections::BTreeSet;

use basalt_model::node::{Certificate, KeyUsage};
use x509_parser::prelude::X509Certificate;

use super::key::{Key, KeyError};
use super::leaf::{Leaf, LeafError, blocks, parsed};
use super::secret::Secret;
use super::time::{MINUTE, UnixSeconds, moment};

/// Clocks of Vault and node may be so far apart, in seconds.
const SKEW: i64 = 5 * MINUTE;
/// A chain longer than this is no chain that somebody made on purpose.
const LONGEST_CHAIN: usize = 10;

/// What Vault answered to a request to sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    /// The certificate, in PEM.
    pub(crate) certificate: &'a str,
    /// Those that lead from its issuer to the root, in PEM; with or without the root.
    pub(crate) chain: &'a [String],
    /// The certificate of the issuer, in PEM.
    pub(crate) issuing_ca: &'a str,
}

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("Vault answered with {what} that cannot be used")]
    Unreadable { what: &'static str, source: LeafError },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("Vault signed another key than the one it was asked to sign")]
    OtherKey,
    #[error("Vault's answer has {0} certificates in its chain")]
    LongChain(usize),
    #[error("the signature of `{subject}` is not by `{issuer}`, which Vault names as its issuer")]
    Signature { subject: String, issuer: String },
    #[error("the certificate is for `{}` instead of `{wanted}`", seen.as_deref().unwrap_or("nobody"))]
    CommonName { seen: Option<String>, wanted: String },
    #[error("the certificate lacks the names {}", .0.join(", "))]
    Names(Vec<String>),
    #[error("the certificate may not be used as that of a {0}")]
    Usage(&'static str),
    #[error("the certificate is that of an authority")]
    Authority,
    #[error("the certificate would be valid from {} until {}", moment(*.0), moment(*.1))]
    Empty(UnixSeconds, UnixSeconds),
    #[error("the certificate is not valid before {}, and it is {}", moment(*.0), moment(*.1))]
    Future(UnixSeconds, UnixSeconds),
    #[error("the certificate ran out at {}, and it is {}", moment(*.0), moment(*.1))]
    Past(UnixSeconds, UnixSeconds),
}

impl AnswerError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            AnswerError::Unreadable { .. }
            | AnswerError::OtherKey
            | AnswerError::LongChain(_)
            | AnswerError::Signature { .. } => {
                "look at the issuers of the PKI mount, and at what stands between the node and Vault"
            }
            AnswerError::Key(_) => "look at the agent's log",
            AnswerError::CommonName { .. } | AnswerError::Names(_) => {
                "let the PKI role use the names of the request (`use_csr_common_name`, `use_csr_sans`)"
            }
            AnswerError::Usage(_) | AnswerError::Authority => {
                "set `server_flag`, `client_flag` and `key_usage` of the PKI role"
            }
            AnswerError::Empty(..) | AnswerError::Future(..) | AnswerError::Past(..) => {
                "compare the clocks of Vault and of this node"
            }
        }
    }
}

/// Judges the answer to a request made with `key`. `now` is absent while the clock of the node is not known to be right.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn check(
    answer: Answer<'_>,
    key: &Secret,
    wanted: &Certificate,
    now: Option<UnixSeconds>,
) -> Result<Leaf, AnswerError> {
    let unreadable = |what| move |source| AnswerError::Unreadable { what, source };
    let only = |pem: &str, what| -> Result<Vec<u8>, AnswerError> {
        let mut found = blocks(pem).map_err(unreadable(what))?;
        let last = found.pop().filter(|_| found.is_empty());
        let message = || LeafError("it is not exactly one".to_owned());
        last.ok_or_else(|| AnswerError::Unreadable { what, source: message() })
    };
    let der = only(answer.certificate, "a certificate")?;
    let certificate = parsed(&der).map_err(unreadable("a certificate"))?;
    let leaf = Leaf::of_certificate(&certificate);
    if certificate.public_key().raw != Key::from_pem(key)?.public_der() {
        return Err(AnswerError::OtherKey);
    }
    let issuer = only(answer.issuing_ca, "an issuer")?;
    let mut chain = vec![issuer];
    for pem in answer.chain {
        for link in blocks(pem).map_err(unreadable("a chain"))? {
            // Vault's chain begins with the issuer.
            if !chain.contains(&link) {
                chain.push(link);
            }
        }
    }
    if chain.len() > LONGEST_CHAIN {
        return Err(AnswerError::LongChain(chain.len()));
    }
    let links: Vec<X509Certificate<'_>> = (chain.iter())
        .map(|der| parsed(der).map_err(unreadable("a chain")))
        .collect::<Result<_, _>>()?;
    let mut below = &certificate;
    for above in &links {
        signed_by(below, above)?;
        below = above;
    }
    is_as_wanted(&certificate, &leaf, wanted)?;
    is_valid(&leaf, now)?;
    Ok(leaf)
}

fn signed_by(below: &X509Certificate<'_>, above: &X509Certificate<'_>) -> Result<(), AnswerError> {
    let is_named = below.issuer().as_raw() == above.subject().as_raw();
    match is_named && below.verify_signature(Some(above.public_key())).is_ok() {
        true => Ok(()),
        false => Err(AnswerError::Signature {
            subject: below.subject().to_string(),
            issuer: above.subject().to_string(),
        }),
    }
}

fn is_as_wanted(
    certificate: &X509Certificate<'_>,
    leaf: &Leaf,
    wanted: &Certificate,
) -> Result<(), AnswerError> {
    let same_name = |seen: &String| seen.eq_ignore_ascii_case(&wanted.common_name);
    if !leaf.common_name.as_ref().is_some_and(same_name) {
        let (seen, wanted) = (leaf.common_name.clone(), wanted.common_name.clone());
        return Err(AnswerError::CommonName { seen, wanted });
    }
    let missing: Vec<String> = wanted_names(wanted).difference(&leaf.names).cloned().collect();
    if !missing.is_empty() {
        return Err(AnswerError::Names(missing));
    }
    if certificate.is_ca() {
        return Err(AnswerError::Authority);
    }
    // Without the extension every use is allowed (RFC 5280, 4.2.1.12).
    let allowed = certificate.extended_key_usage().ok().flatten();
    for usage in &wanted.usages {
        let (name, is_allowed) = match usage {
            KeyUsage::Server => ("server", allowed.as_ref().is_none_or(|it| it.value.server_auth)),
            KeyUsage::Client => ("client", allowed.as_ref().is_none_or(|it| it.value.client_auth)),
        };
        if !is_allowed {
            return Err(AnswerError::Usage(name));
        }
    }
    let usage = certificate.key_usage().ok().flatten();
    if !usage.is_none_or(|it| it.value.digital_signature()) {
        return Err(AnswerError::Usage("peer that signs its handshake"));
    }
    Ok(())
}

/// The subject alternative names that are wanted, as [`Leaf`] writes them.
pub(crate) fn wanted_names(wanted: &Certificate) -> BTreeSet<String> {
    let names = wanted.subject_alternative_names.iter();
    let shown = |name: &basalt_model::names::Host| match name.ip() {
        Some(ip) => ip.to_string(),
        None => name.to_string().to_ascii_lowercase(),
    };
    names.map(shown).collect()
}

fn is_valid(leaf: &Leaf, now: Option<UnixSeconds>) -> Result<(), AnswerError> {
    let (from, until) = (leaf.not_before, leaf.not_after);
    if until <= from {
        return Err(AnswerError::Empty(from, until));
    }
    match now {
        Some(now) if from > now + SKEW => Err(AnswerError::Future(from, now)),
        Some(now) if until <= now => Err(AnswerError::Past(until, now)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{ExtendedKeyUsagePurpose, IsCa};

    use super::*;
    use crate::certificates::testing::{Ca, certificate};

    /// Asks `ca` for the lab's certificate, with `change` made to what it signs, and judges the answer.
    fn judge(
        ca: &Ca,
        change: impl FnOnce(&mut rcgen::CertificateParams),
        spoil: impl FnOnce(&mut String, &mut Vec<String>, &mut String),
    ) -> Result<Leaf, String> {
        let wanted = certificate("ingress");
        let key = Key::new(wanted.key).unwrap();
        let mut pem = ca.sign(&wanted, &key, change);
        let (mut chain, mut issuer) = (vec![ca.pem.clone()], ca.pem.clone());
        spoil(&mut pem, &mut chain, &mut issuer);
        let answer = Answer { certificate: &pem, chain: &chain, issuing_ca: &issuer };
        let now = Some(ca.now);
        check(answer, &key.pem(), &wanted, now).map_err(|error| {
            anyhow::Error::from(error)
                .chain()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": ")
        })
    }

    #[test]
    fn a_good_answer() {
        let ca = Ca::new("lab");
        let leaf = judge(&ca, |_| {}, |_, _, _| {}).unwrap();
        assert_eq!(leaf.common_name.as_deref(), Some("ingress.lab.example"));
        // A chain may be empty, or go on to the root.
        judge(&ca, |_| {}, |_, chain, _| chain.clear()).unwrap();
        let below = ca.below("issuing");
        judge(&below, |_| {}, |_, chain, _| chain.push(ca.pem.clone())).unwrap();
    }

    #[test]
    fn answers_that_are_not_taken() {
        let ca = Ca::new("lab");
        let other = Ca::new("lab");
        #[track_caller]
        fn refused(result: Result<Leaf, String>, expected: &str) {
            let message = result.unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let unchanged = |_: &mut rcgen::CertificateParams| {};
        let whole = |_: &mut String, _: &mut Vec<String>, _: &mut String| {};
        refused(
            judge(&ca, unchanged, |_, _, issuer| *issuer = other.pem.clone()),
            "not by `CN=lab`",
        );
        refused(judge(&ca, unchanged, |_, chain, _| *chain = vec![other.pem.clone()]), "not by");
        refused(
            judge(&ca, unchanged, |pem, _, _| *pem = other.leaf("ingress.lab.example", &[])),
            "another key",
        );
        refused(
            judge(&ca, unchanged, |pem, _, _| pem.clear()),
            "a certificate that cannot be used",
        );
        refused(judge(&ca, unchanged, |pem, _, _| *pem = pem.repeat(2)), "not exactly one");
        refused(
            judge(&ca, unchanged, |_, chain, _| chain[0].push_str("-----BEGIN X-----")),
            "chain",
        );
        refused(
            judge(&ca, |it| it.subject_alt_names.truncate(1), whole),
            "lacks the names 192.0.2.10",
        );
        refused(judge(&ca, |it| it.distinguished_name = Default::default(), whole), "for `nobody`");
        refused(
            judge(&ca, |it| it.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained), whole),
            "authority",
        );
        refused(
            judge(
                &ca,
                |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
                whole,
            ),
            "that of a server",
        );
        refused(
            judge(&ca, |it| it.key_usages = vec![rcgen::KeyUsagePurpose::KeyEncipherment], whole),
            "signs its handshake",
        );
        let day = std::time::Duration::from_secs(24 * 3600);
        refused(judge(&ca, |it| it.not_before += day, whole), "is not valid before");
        refused(judge(&ca, |it| it.not_after = it.not_before - day, whole), "would be valid from");
        refused(
            judge(
                &ca,
                |it| {
                    it.not_after = it.not_before;
                    it.not_before -= day;
                },
                whole,
            ),
            "ran out at",
        );
    }

    #[test]
    fn an_unsure_clock_judges_no_time() {
        let ca = Ca::new("lab");
        let wanted = certificate("ingress");
        let key = Key::new(wanted.key).unwrap();
        let day = std::time::Duration::from_secs(24 * 3600);
        let pem = ca.sign(&wanted, &key, |it| it.not_before += day);
        let answer = Answer { certificate: &pem, chain: &[], issuing_ca: &ca.pem };
        assert!(check(answer, &key.pem(), &wanted, Some(ca.now)).is_err());
        assert!(check(answer, &key.pem(), &wanted, None).is_ok());
    }
}
