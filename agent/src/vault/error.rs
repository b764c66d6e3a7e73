//! What goes wrong between the node and Vault, told apart by what a person can do about it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::identity::IdentityError;
use crate::secret::SecretFileError;

/// A question to Vault stays without its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// The node has no Vault.
    #[error("`node.json` names no Vault")]
    None,
    /// The trust anchor of Vault's servers cannot be used.
    #[error("the trust anchor `{name}` for Vault cannot be used: {reason}")]
    Anchor { name: String, reason: String },
    /// An address of `node.json` is none.
    #[error("`{address}` is no address of a Vault: {reason}")]
    Address { address: String, reason: String },
    /// The same question failed a moment ago; asking again so soon is what kills a Vault that comes back.
    #[error("waiting {} s before Vault is asked again: {because}", seconds(*until))]
    Waiting { until: Instant, because: String },
    /// No server gave an answer that counts.
    #[error("no Vault server can be used: {}", Faults(.faults))]
    NoServer { faults: Vec<ServerFault> },
    /// Status 403.
    #[error("Vault denies `{what}`{}", Messages(.messages))]
    Denied { what: String, messages: Vec<String> },
    /// Any other refusal: the request itself is wrong in Vault's eyes.
    #[error("Vault refuses `{what}` with status {status}{}", Messages(.messages))]
    Refused { what: String, status: u16, messages: Vec<String> },
    /// The file with the credential.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The certificate and key that the node logs in with.
    #[error("the client certificate `{path}` cannot be used: {reason}")]
    ClientCertificate { path: String, reason: String },
    /// The node's lasting identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What is wrong with one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFault {
    /// `https://host:port`.
    pub(crate) address: String,
    /// What it is.
    pub(crate) fault: Fault,
}

/// Why a server cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection, or no answer in time.
    Unreachable(String),
    /// The certificate it shows is not by the trust anchor, or not for this address, or not of this time.
    Untrusted(String),
    /// It does not take the certificate by which the node logs in.
    ClientCertificate(String),
    /// It waits for its unseal keys.
    Sealed,
    /// It has never been set up.
    Uninitialised,
    /// It is a standby that knows of no active server, or a disaster recovery secondary.
    Standby,
    /// It asks to be left alone: status 429, or 503 with `Retry-After`.
    Limited { retry_after: Option<Duration> },
    /// It sends the caller elsewhere, which is never followed.
    Redirects { to: String },
    /// Status 5xx.
    Failing { status: u16, messages: Vec<String> },
    /// Too large, of a wrong type, not what Vault says: no answer of a Vault.
    Garbled(String),
}

impl VaultError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Anchor { .. } => Some("put the CA of Vault's servers under `trust_anchors`"),
            Self::Address { .. } => Some("`vault.addresses` takes `https://host:port`"),
            Self::Waiting { .. } => None,
            Self::NoServer { faults } => {
                let worst = faults.iter().max_by_key(|each| each.fault.weight());
                worst.map(|each| each.fault.hint())
            }
            Self::Denied { .. } | Self::Refused { .. } => {
                Some("compare it with what Vault allows this node: `cargo xtask vault plan`")
            }
            Self::File(error) => Some(error.hint()),
            Self::ClientCertificate { .. } => {
                Some("it has to be PEM: the certificate with its chain, and the private key")
            }
            Self::Identity(error) => Some(error.hint()),
        }
    }

    /// How long Vault asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let Self::NoServer { faults } = self else { return None };
        let wishes = faults.iter().filter_map(|each| match each.fault {
            Fault::Limited { retry_after } => retry_after,
            _ => None,
        });
        wishes.max()
    }
}

impl Fault {
    /// The state in one word, for status and metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Untrusted(_) => "untrusted",
            Self::ClientCertificate(_) => "refuses_certificate",
            Self::Sealed => "sealed",
            Self::Uninitialised => "uninitialised",
            Self::Standby => "standby",
            Self::Limited { .. } => "limited",
            Self::Redirects { .. } => "redirects",
            Self::Failing { .. } => "failing",
            Self::Garbled(_) => "garbled",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => {
                "is the server up, and does the network between let TCP to its port through?"
            }
            Self::Untrusted(_) => {
                "compare the server's certificate with the trust anchor under `vault.ca`, and the node's clock with the time"
            }
            Self::ClientCertificate(_) => {
                "the server wants a client certificate that it knows: look at its `tls_client_ca_file`"
            }
            Self::Sealed => "unseal it: `vault operator unseal`",
            Self::Uninitialised => {
                "it was never set up, or its storage is empty: `vault operator init`, or restore a snapshot"
            }
            Self::Standby => {
                "no server is active: `vault operator raft list-peers` shows who is missing"
            }
            Self::Limited { .. } => "look at its rate limit quotas; the node waits as it is told",
            Self::Redirects { .. } => {
                "list every server of the cluster under `vault.addresses`, with its own address"
            }
            Self::Failing { .. } => "the server's own log says why",
            Self::Garbled(_) => {
                "is this address Vault's own? Something else answers there, or between"
            }
        }
    }

    /// The fault that tells most is the one that a hint is given for.
    fn weight(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 0,
            Self::Redirects { .. } => 1,
            Self::Standby => 2,
            Self::Failing { .. } => 3,
            Self::Limited { .. } => 4,
            Self::Garbled(_) => 5,
            Self::Uninitialised => 6,
            Self::Sealed => 7,
            Self::ClientCertificate(_) => 8,
            Self::Untrusted(_) => 9,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "cannot be reached: {reason}"),
            Self::Untrusted(reason) => write!(f, "shows a certificate that is refused: {reason}"),
            Self::ClientCertificate(reason) => {
                write!(f, "refuses the node's certificate: {reason}")
            }
            Self::Sealed => f.write_str("is sealed"),
            Self::Uninitialised => f.write_str("is not initialised"),
            Self::Standby => f.write_str("is a standby without an active server"),
            Self::Limited { retry_after: Some(pause) } => {
                write!(f, "asks to be left alone for {} s", pause.as_secs())
            }
            Self::Limited { retry_after: None } => f.write_str("asks to be left alone"),
            Self::Redirects { to } => {
                write!(f, "redirects to `{to}`, and redirects are not followed")
            }
            Self::Failing { status, messages } => {
                write!(f, "fails with status {status}{}", Messages(messages))
            }
            Self::Garbled(reason) => write!(f, "does not answer as a Vault does: {reason}"),
        }
    }
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.address, self.fault)
    }
}

struct Faults<'a>(&'a [ServerFault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

/// Vault's own messages behind a colon, when there are any.
struct Messages<'a>(&'a [String]);

impl fmt::Display for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.0.join("; ")),
        }
    }
}

fn seconds(until: Instant) -> u64 {
    let left = until.saturating_duration_since(Instant::now());
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_server(faults: &[(&str, Fault)]) -> VaultError {
        let fault = |(address, fault): &(&str, Fault)| ServerFault {
            address: address.to_string(),
            fault: fault.clone(),
        };
        VaultError::NoServer { faults: faults.iter().map(fault).collect() }
    }

    #[test]
    fn every_server_is_named_and_the_hint_is_for_the_one_that_tells_most() {
        let error = no_server(&[
            ("https://a.example:8200", Fault::Unreachable("connection refused".to_owned())),
            ("https://b.example:8200", Fault::Sealed),
        ]);
        assert_eq!(
            error.to_string(),
            "no Vault server can be used: `https://a.example:8200` cannot be reached: connection refused; \
             `https://b.example:8200` is sealed"
        );
        assert_eq!(error.hint(), Some(Fault::Sealed.hint()));
    }

    #[test]
    fn the_longest_wish_for_rest_counts() {
        let limited =
            |seconds: u64| Fault::Limited { retry_after: Some(Duration::from_secs(seconds)) };
        let error = no_server(&[("a", limited(3)), ("b", limited(7)), ("c", Fault::Sealed)]);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(no_server(&[("c", Fault::Sealed)]).retry_after(), None);
    }
}
