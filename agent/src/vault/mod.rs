//! The node's conversation with the core Vault: takes questions, gives answers or the reason why there is none; touches the
//! network and, through [`crate::identity`], the files of the node's identity.
//!
//! Reading order: [`slots`] (when a question may be asked), [`servers`] (which server is asked), [`transport`] (one request),
//! [`answer`] (what it means), [`client`] (the four together), [`token`] and [`login`] (the session), [`enrol`] (the lasting
//! identity). [`slots`], [`servers`], [`answer`] and [`token`] are pure.

mod answer;
mod client;
mod endpoints;
mod enrol;
pub(crate) mod error;
mod login;
pub(crate) mod report;
mod servers;
mod slots;
#[cfg(test)]
mod tests;
mod token;
mod transport;

use std::time::{Duration, Instant, SystemTime};

use basalt_model::names::Host as HostName;
use basalt_model::node::{Node, VaultAuth};
use rustify::endpoint::Endpoint;
use vaultrs::api::kv2::requests::ReadSecretRequest;
use vaultrs::api::kv2::responses::ReadSecretResponse;
use vaultrs::api::pki::requests::{
    ListIssuersRequest, ReadIssuerCertificateRequest, SignCertificateRequest,
};
use vaultrs::api::token::requests::RenewTokenSelfRequest;

use self::client::{Again, Ask, Client, LastError, Scope, draw};
use self::endpoints::{ReadPath, WriteKv};
use self::enrol::Held;
use self::error::Fault;
pub(crate) use self::error::VaultError;
use self::login::{auth, data};
pub(crate) use self::report::VaultReport;
use self::slots::Pace;
use self::token::Token;
use self::transport::{Anchor, Answer, Limits};
use crate::host::Host;
use crate::secret::{Secret, SecretMap};

/// After a 403 the agent logs in anew, since its token may have been revoked; but not more often than this, since a policy
/// that lacks something says 403 as well.
const LOG_IN_AGAIN: Duration = Duration::from_secs(600);
/// How often the agent looks for something to log in with, when there is nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A PKI has a handful of issuers, each with a certificate of a few kilobytes.
const MOST_ISSUERS: usize = 64;
const LARGEST_ISSUER: usize = 16 << 10;
/// No deadline is further away than this: the clock by which it was worked out may be set.
const LOOK_AT_LEAST: Duration = Duration::from_secs(3600);

/// The node's conversation with Vault: one per node, since it owns the session, the identity and the pauses after failures.
pub(crate) struct Vault {
    host: Host,
    node_name: String,
    auth: VaultAuth,
    client: Client,
    token: Option<Token>,
    /// When a 403 last made the agent give its token up.
    gave_up_at: Option<Instant>,
    /// When maintenance failed without asking anybody.
    found_nothing_at: Option<Instant>,
    held: Held,
    logins: u64,
}

/// A certificate to be signed: `MOUNT/sign/ROLE`.
#[derive(Clone, Debug)]
pub(crate) struct SignRequest {
    /// Mount path of the PKI.
    pub(crate) mount: String,
    /// The role that signs.
    pub(crate) role: String,
    /// The certificate signing request (RFC 2986) in PEM.
    pub(crate) csr_pem: String,
    /// Subject common name.
    pub(crate) common_name: String,
    /// Subject alternative names.
    pub(crate) alt_names: Vec<HostName>,
    /// Wanted life in hours.
    pub(crate) ttl_hours: u32,
    /// Whether the common name is kept out of the subject alternative names.
    pub(crate) exclude_cn_from_sans: bool,
}

impl SignRequest {
    /// What it is known by. Two certificates may have one role: they do not wait for each other.
    fn question(&self) -> String {
        let mount = self.mount.trim_matches('/');
        format!("POST {mount}/sign/{} for `{}`", self.role, self.common_name)
    }
}

/// A signed certificate, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The certificate alone.
    pub(crate) certificate: String,
    /// Its intermediates, the issuer first, without the root.
    pub(crate) chain: Vec<String>,
    /// The certificate of the one that signed.
    pub(crate) issuing_ca: String,
}

/// The time as a server of Vault said it in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateSeen {
    /// What its `Date` header said.
    pub(crate) date: SystemTime,
    /// When that was.
    pub(crate) at: Instant,
}

/// How Vault is spoken to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    pub(crate) limits: Limits,
    pub(crate) pace: Pace,
}

impl Manners {
    pub(crate) const STANDARD: Manners = Manners { limits: Limits::STANDARD, pace: Pace::STANDARD };
}

impl Vault {
    /// Prepares the conversation; nothing is asked yet.
    ///
    /// # Errors
    /// When `node` has no Vault, or its addresses or trust anchor are none.
    pub(crate) fn new(host: &Host, node: &Node) -> Result<Vault, VaultError> {
        Vault::with_manners(host, node, Manners::STANDARD)
    }

    fn with_manners(host: &Host, node: &Node, manners: Manners) -> Result<Vault, VaultError> {
        let vault = node.vault.as_ref().ok_or(VaultError::None)?;
        let unfit = |reason: String| VaultError::Anchor { name: vault.ca.to_string(), reason };
        let anchor = node.trust_anchors.get(&vault.ca);
        let pem =
            anchor.ok_or_else(|| unfit("`trust_anchors` has none of this name".to_owned()))?;
        for address in &vault.addresses {
            let unfit = |reason: &str| VaultError::Address {
                address: address.clone(),
                reason: reason.to_owned(),
            };
            let url = reqwest::Url::parse(address).map_err(|error| unfit(&error.to_string()))?;
            match (url.scheme(), url.has_host()) {
                ("https", true) => {}
                _ => return Err(unfit("it has to be `https://host:port`")),
            }
        }
        let anchor = Anchor::from_pem(pem).map_err(unfit)?;
        let client = Client::new(&vault.addresses, anchor, manners.limits, manners.pace);
        Ok(Vault {
            host: host.clone(),
            node_name: node.name.to_string(),
            auth: vault.auth.clone(),
            client: client.map_err(unfit)?,
            token: None,
            gave_up_at: None,
            found_nothing_at: None,
            held: Held::default(),
            logins: 0,
        })
    }

    /// Has a certificate signed.
    pub(crate) async fn sign(&mut self, request: &SignRequest) -> Result<Signed, VaultError> {
        let token = self.token().await?;
        let signed = self.sign_with(request, &token, Scope::Question).await;
        self.heed(signed)
    }

    /// The data at any path.
    pub(crate) async fn read(&mut self, path: &str) -> Result<SecretMap, VaultError> {
        let path = path.trim_matches('/').to_owned();
        let question = format!("GET {path}");
        self.ask(&ReadPath { path }, question, |answer| data(answer).map(SecretMap::new)).await
    }

    /// The newest version of a secret in a KV engine of version 2.
    pub(crate) async fn kv(&mut self, mount: &str, path: &str) -> Result<SecretMap, VaultError> {
        let (mount, path) = (mount.trim_matches('/'), path.trim_matches('/'));
        let question = format!("GET {mount}/data/{path}");
        let (mount, path) = (mount.to_owned(), path.to_owned());
        let request = ReadSecretRequest { mount, path, version: None };
        let read = |answer: &Answer| match data::<ReadSecretResponse>(answer)?.data {
            serde_json::Value::Object(map) => Ok(SecretMap::new(map)),
            _ => Err(Fault::Garbled("the secret is no object".to_owned())),
        };
        self.ask(&request, question, read).await
    }

    /// Writes a new version of an entry, which is no secret, in a KV engine of version 2.
    pub(crate) async fn write_kv(
        &mut self,
        mount: &str,
        path: &str,
        data: &serde_json::Value,
    ) -> Result<(), VaultError> {
        let (mount, path) = (mount.trim_matches('/'), path.trim_matches('/'));
        let question = format!("POST {mount}/data/{path}");
        self.ask(&WriteKv { mount, path, data }, question, |_| Ok(())).await
    }

    /// The certificates of all issuers of a PKI, in PEM, sorted.
    pub(crate) async fn issuers(&mut self, pki_mount: &str) -> Result<Vec<String>, VaultError> {
        #[derive(serde::Deserialize)]
        struct Issuers {
            keys: Vec<String>,
        }
        #[derive(serde::Deserialize)]
        struct Issuer {
            certificate: String,
        }
        let mount = pki_mount.trim_matches('/').to_owned();
        let question = format!("LIST {mount}/issuers");
        let list = ListIssuersRequest { mount: mount.clone() };
        let few = |answer: &Answer| match data::<Issuers>(answer)? {
            Issuers { keys } if keys.len() > MOST_ISSUERS => {
                Err(Fault::Garbled(format!("it lists more than {MOST_ISSUERS} issuers")))
            }
            Issuers { keys } if !keys.iter().all(|key| is_plain(key)) => {
                Err(Fault::Garbled("it lists an issuer whose name is none".to_owned()))
            }
            issuers => Ok(issuers),
        };
        let Issuers { keys } = self.ask(&list, question, few).await?;
        let mut certificates = Vec::new();
        for issuer in keys {
            let question = format!("GET {mount}/issuer/{issuer}/json");
            let request = ReadIssuerCertificateRequest { mount: mount.clone(), issuer };
            let small = |answer: &Answer| match data::<Issuer>(answer)? {
                Issuer { certificate } if certificate.len() > LARGEST_ISSUER => Err(
                    Fault::Garbled(format!("it has an issuer of more than {LARGEST_ISSUER} bytes")),
                ),
                issuer => Ok(issuer),
            };
            let Issuer { certificate } = self.ask(&request, question, small).await?;
            certificates.push(certificate.trim().to_owned() + "\n");
        }
        certificates.sort();
        certificates.dedup();
        Ok(certificates)
    }

    /// Renews token and identity when it is time, and earns the identity when there is none.
    ///
    /// # Errors
    /// All that a login can come to.
    pub(crate) async fn maintain(&mut self) -> Result<(), VaultError> {
        let maintained = self.maintain_session().await;
        let has_pause = self.client.not_before(Instant::now()).is_some();
        let found_nothing = maintained.is_err() && !has_pause;
        self.found_nothing_at = found_nothing.then(Instant::now);
        maintained
    }

    async fn maintain_session(&mut self) -> Result<(), VaultError> {
        let token = self.token().await?;
        if self.token.as_ref().is_some_and(|token| token.is_due(Instant::now())) {
            self.renew_token(&token).await?;
        }
        if let VaultAuth::Node(wanted) = self.auth.clone() {
            let token = self.token().await?;
            let renewed = self.renew_identity(&wanted, &token).await;
            self.heed(renewed)?;
        }
        Ok(())
    }

    /// When [`maintain`](Self::maintain) has something to do next.
    pub(crate) fn next_maintenance(&self) -> Instant {
        let now = Instant::now();
        if let Some(until) = self.client.not_before(now) {
            return until;
        }
        if let Some(at) = self.found_nothing_at {
            return at + LOOK_AGAIN;
        }
        let Some(token) = &self.token else { return now };
        let of_identity = self.identity_due().map(|left| now + left);
        let deadlines = [token.next(), of_identity, Some(now + LOOK_AT_LEAST)];
        deadlines.into_iter().flatten().min().unwrap_or(now)
    }

    /// The end of the pause after a failure of Vault as a whole; `None` when Vault may be asked now.
    #[cfg(test)]
    pub(crate) fn not_before_next_call(&self) -> Option<Instant> {
        self.client.not_before(Instant::now())
    }

    /// When this signature may be asked for again; `None` when it may be now.
    pub(crate) fn not_before_signing(&self, request: &SignRequest) -> Option<Instant> {
        self.client.not_before_asking(&request.question(), Instant::now())
    }

    /// The time by Vault's last answer.
    pub(crate) fn last_seen_date(&self) -> Option<DateSeen> {
        self.client.date
    }

    /// What status and metrics say.
    pub(crate) fn report(&self) -> VaultReport {
        let now = Instant::now();
        let whole_seconds = |until: Instant| until.saturating_duration_since(now).as_secs() + 1;
        let is_node = matches!(self.auth, VaultAuth::Node(_));
        let error = self.client.last_error.as_ref();
        VaultReport {
            servers: self.client.servers.report(),
            address: self.client.servers.last_good().map(str::to_owned),
            token_seconds: self
                .token
                .as_ref()
                .and_then(|token| token.left(now))
                .map(|left| left.as_secs()),
            identity: is_node.then(|| self.identity_report()),
            error: error.map(|error| error.text.clone()),
            hint: error.and_then(|error| error.hint).map(str::to_owned),
            next_call_seconds: self.client.not_before(now).map(whole_seconds),
            calls: self.client.calls,
            failures: self.client.failures,
            logins: self.logins,
            latency_milliseconds: self.client.latency.map(|latency| latency.as_millis() as u64),
        }
    }

    /// A token that is good, by logging in when there is none.
    async fn token(&mut self) -> Result<Secret, VaultError> {
        let now = Instant::now();
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_over(now)) {
            return Ok(token.secret.clone());
        }
        self.token = None;
        let token = self.log_in().await.inspect_err(|error| {
            if !matches!(error, VaultError::Waiting { .. }) {
                self.client.last_error = Some(LastError::of(error));
            }
        })?;
        let secret = token.secret.clone();
        self.token = Some(token);
        Ok(secret)
    }

    async fn renew_token(&mut self, token: &Secret) -> Result<(), VaultError> {
        let ask = Ask {
            endpoint: &RenewTokenSelfRequest { increment: None },
            question: "POST auth/token/renew-self".to_owned(),
            token: Some(token),
            secrets: &[],
            scope: Scope::Question,
            again: Again::Harmless,
        };
        match self.client.ask(&ask, auth).await {
            Ok(auth) => {
                let now = Instant::now();
                self.token = self.token.take().map(|token| token.renewed(auth, now, draw()));
                Ok(())
            }
            // It is not good any more: the next slot begins with a login.
            Err(error @ VaultError::Denied { .. }) => {
                self.token = None;
                Err(error)
            }
            Err(error @ VaultError::Refused { .. }) => {
                tracing::debug!(error = %error, "Vault does not renew the token");
                self.token.iter_mut().for_each(Token::cannot_be_renewed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn sign_with(
        &mut self,
        request: &SignRequest,
        token: &Secret,
        scope: Scope,
    ) -> Result<Signed, VaultError> {
        let SignRequest { mount, role, csr_pem, common_name, alt_names, .. } = request;
        let mount = mount.trim_matches('/');
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        for host in alt_names.iter().map(HostName::to_string) {
            match host.parse::<std::net::IpAddr>() {
                Ok(address) => addresses.push(address.to_string()),
                Err(_) => names.push(host),
            }
        }
        let joined = |names: Vec<String>| (!names.is_empty()).then(|| names.join(","));
        let endpoint = SignCertificateRequest {
            mount: mount.to_owned(),
            role: role.clone(),
            alt_names: joined(names),
            common_name: Some(common_name.clone()),
            csr: Some(csr_pem.clone()),
            exclude_cn_from_sans: Some(request.exclude_cn_from_sans),
            format: Some("pem".to_owned()),
            ip_sans: joined(addresses),
            ttl: Some(format!("{}h", request.ttl_hours)),
            ..SignCertificateRequest::default()
        };
        let ask = Ask {
            endpoint: &endpoint,
            question: request.question(),
            token: Some(token),
            secrets: &[],
            scope,
            again: Again::Harmless,
        };
        self.client.ask(&ask, signed).await
    }

    async fn ask<E: Endpoint, T>(
        &mut self,
        endpoint: &E,
        question: String,
        read: impl Fn(&Answer) -> Result<T, Fault>,
    ) -> Result<T, VaultError> {
        let token = self.token().await?;
        let (scope, again) = (Scope::Question, Again::Harmless);
        let ask = Ask { endpoint, question, token: Some(&token), secrets: &[], scope, again };
        let answer = self.client.ask(&ask, read).await;
        self.heed(answer)
    }

    /// A 403 may mean that the token was revoked: then the next slot begins with a login.
    fn heed<T>(&mut self, outcome: Result<T, VaultError>) -> Result<T, VaultError> {
        if let Err(VaultError::Denied { .. }) = outcome {
            let now = Instant::now();
            let is_time = self.gave_up_at.is_none_or(|at| now >= at + LOG_IN_AGAIN);
            if is_time && self.token.take().is_some() {
                self.gave_up_at = Some(now);
            }
        }
        outcome
    }
}

/// What a signature gives.
fn signed(answer: &Answer) -> Result<Signed, Fault> {
    #[derive(serde::Deserialize)]
    struct Content {
        certificate: String,
        issuing_ca: String,
        #[serde(default)]
        ca_chain: Option<Vec<String>>,
    }
    let Content { certificate, issuing_ca, ca_chain } = data(answer)?;
    let mut chain = ca_chain.unwrap_or_else(|| vec![issuing_ca.clone()]);
    chain.retain(|pem| !is_self_signed(pem));
    let line = |pem: String| pem.trim().to_owned() + "\n";
    Ok(Signed {
        certificate: line(certificate),
        chain: chain.into_iter().map(line).collect(),
        issuing_ca: line(issuing_ca),
    })
}

/// Whether it is fit for one part of a path.
fn is_plain(name: &str) -> bool {
    let is_fit = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    !name.is_empty() && name.chars().all(is_fit)
}

fn is_self_signed(pem: &str) -> bool {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    x509_parser::parse_x509_certificate(&der)
        .is_ok_and(|(_, certificate)| certificate.subject() == certificate.issuer())
}
