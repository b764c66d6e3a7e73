//! The facts behind the numbers; plain data, so that whoever knows one can give it.

use basalt_model::node::Node;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::activate::certificates_in;
use crate::clock::ClockState;
use crate::host::{Host, look};

/// What is known about a node. What is absent is not known, and has no line in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// When these are the facts, in seconds since the Unix epoch.
    pub(crate) now: i64,
    pub(crate) node: String,
    /// The generation that the node has.
    pub(crate) generation: Option<u64>,
    /// Such as `serving`.
    pub(crate) phase: String,
    pub(crate) failures: u64,
    pub(crate) clock: Option<ClockState>,
    pub(crate) certificates: Vec<CertificateFacts>,
    pub(crate) issuers: Vec<IssuerFacts>,
    pub(crate) secret_files: Vec<SecretFileFacts>,
    pub(crate) vault: Option<VaultFacts>,
}

/// One certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CertificateFacts {
    pub(crate) name: String,
    /// The end of the one in its folder, in seconds since the Unix epoch.
    pub(crate) not_after: Option<i64>,
    pub(crate) renew_at: Option<i64>,
    /// Whether a placeholder stands in for it.
    pub(crate) is_placeholder: bool,
    /// Whether a handshake has shown it; absent when nobody has tried.
    pub(crate) is_proved: Option<bool>,
    /// Tries to renew it since the agent started, and how many of them failed.
    pub(crate) attempts: Option<u64>,
    pub(crate) failures: Option<u64>,
    /// Those that failed since the last that did not.
    pub(crate) failures_in_a_row: Option<u64>,
}

/// How far a node is with one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IssuerFacts {
    pub(crate) certificate: String,
    pub(crate) issuer: String,
    /// Such as `trusted`.
    pub(crate) stage: String,
}

/// One file with secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretFileFacts {
    pub(crate) name: String,
    /// When Vault last confirmed it, in seconds since the Unix epoch.
    pub(crate) confirmed_at: Option<i64>,
    pub(crate) failures_in_a_row: u64,
}

/// How the node stands with Vault.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct VaultFacts {
    pub(crate) servers: Vec<ServerFacts>,
    /// How long the last good answer took.
    pub(crate) latency_seconds: Option<f64>,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) logins: u64,
    /// The end of the node's identity, in seconds since the Unix epoch.
    pub(crate) identity_not_after: Option<i64>,
}

/// One server of Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    pub(crate) address: String,
    /// Such as `active` or `sealed`.
    pub(crate) state: String,
    /// Whether it answers questions.
    pub(crate) is_usable: bool,
}

/// What the folders of a node's certificates say. They say it without Vault, and without whoever renews them.
pub(crate) fn certificates(host: &Host, node: &Node) -> Vec<CertificateFacts> {
    let certificates = node.vault.iter().flat_map(|vault| &vault.certificates);
    let one = |certificate: &basalt_model::node::Certificate| {
        let read = |name: &str| {
            let path = host.real(&format!("{}/{name}", certificate.directory));
            Zeroizing::new(look::read_behind(&path).unwrap_or_default())
        };
        let leaf = ["certificate.pem", "combined.pem"]
            .into_iter()
            .find_map(|name| certificates_in(&read(name)).into_iter().next());
        let parsed = leaf.as_ref().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let parsed = parsed.map(|(_, parsed)| parsed);
        CertificateFacts {
            name: certificate.name.to_string(),
            not_after: parsed.as_ref().map(|leaf| leaf.validity().not_after.timestamp()),
            is_placeholder: parsed.is_some_and(|leaf| leaf.subject() == leaf.issuer()),
            ..CertificateFacts::default()
        }
    };
    certificates.map(one).collect()
}
