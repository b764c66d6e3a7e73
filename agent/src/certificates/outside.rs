//! Whom the engine talks to: Vault, the consumers of certificates, and the clock.

use std::time::{Duration, Instant};

use basalt_model::node::{Certificate, Node};

use super::record::Issued;
use super::time::UnixSeconds;
use crate::causes::chain;

/// A request to sign, with where to send it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) certificate: &'a Certificate,
    /// Mount path of the PKI.
    pub(crate) mount: &'a str,
    /// The role that signs.
    pub(crate) role: &'a str,
    /// The request in PEM.
    pub(crate) csr: &'a str,
}

/// What Vault signed, all in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) certificate: String,
    /// The intermediates, the issuer first.
    pub(crate) chain: Vec<String>,
    pub(crate) issuing_ca: String,
}

/// Something that did not work, in words for people. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
    /// It need not be tried again before; the engine finds a pause of its own when absent.
    pub(crate) retry_at: Option<Instant>,
}

impl Trouble {
    /// An error with everything behind it.
    pub(crate) fn of(error: &dyn std::error::Error, hint: Option<&str>) -> Trouble {
        Trouble { text: chain(error), hint: hint.map(str::to_owned), retry_at: None }
    }
}

/// Whom the engine talks to. The engine asks one thing at a time.
pub(crate) trait Outside {
    /// What time it is, when that is known for sure.
    fn now(&mut self) -> Option<UnixSeconds>;

    /// The node has changed.
    fn obey(&mut self, node: &Node);

    /// Has a certificate signed.
    async fn sign(&mut self, order: Order<'_>) -> Result<Signed, Trouble>;

    /// Every issuer of a PKI, in PEM.
    async fn issuers(&mut self, mount: &str) -> Result<Vec<String>, Trouble>;

    /// Tells the consumers of a certificate that lies in its folder, and has them show it. What came of it, in words.
    async fn activate(
        &mut self,
        certificate: &Certificate,
        old: Option<&Issued>,
        new: &Issued,
    ) -> Result<String, Trouble>;

    /// Waits until something outside calls for another look, such as a clock that was set; at most for so long.
    async fn pause(&mut self, limit: Duration);
}
