//! TLS handshakes with those who serve a certificate: what they show, and whether it verifies.
//!
//! A reload takes a moment, so a listener is asked again for some seconds until it shows the new certificate. One that
//! was silent before and is silent after does not speak against the certificate: nobody listens there yet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use basalt_model::node::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Skipped;
use super::consumers::Listener;
use super::set::{CertificateSet, Serial};
use crate::host::Host;
use crate::probe::ask::any_certificate_config;
use crate::wire::links;

/// How long a listener may go on showing the old certificate.
const PROOF_LIMIT: Duration = Duration::from_secs(8);
/// How long one may take to listen again that was started anew.
const START_LIMIT: Duration = Duration::from_secs(15);
/// How long one connection with its handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two handshakes with one listener.
const PAUSE: Duration = Duration::from_millis(100);
/// A listener is asked by so many of a certificate's names at most.
const MOST_NAMES: usize = 8;
/// A socket's path that is longer cannot be connected to (unix(7)).
const MOST_SOCKET_BYTES: usize = 107;
/// What a connection begins with where a listener wants the PROXY protocol: a check that has nobody behind it.
/// <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// A listener that shows the new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// Its address, or the path of its socket.
    pub(crate) listener: String,
    /// What it showed before anybody was told; absent when it was silent.
    pub(crate) old_serial: Option<Serial>,
    /// What it shows now.
    pub(crate) serial: Serial,
    /// Handshakes until then.
    pub(crate) tries: u32,
}

/// A listener that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotProved {
    pub(crate) listener: String,
    /// What it serves, or why nothing.
    pub(crate) reason: String,
    /// What it showed before anybody was told.
    pub(crate) old_serial: Option<Serial>,
    /// What it showed last.
    pub(crate) served: Option<Serial>,
}

/// What listeners are given time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// They were told, and read what has changed.
    Told,
    /// At least one of them was started anew.
    Started,
}

/// Proves one certificate.
pub(super) struct Prover<'a> {
    host: &'a Host,
    names: Vec<ServerName<'static>>,
    new: &'a CertificateSet,
    /// What each listener showed before; absent when it was silent.
    before: BTreeMap<String, Serial>,
    old: Option<&'a CertificateSet>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(
        host: &'a Host,
        certificate: &Certificate,
        old: Option<&'a CertificateSet>,
        new: &'a CertificateSet,
    ) -> Prover<'a> {
        Prover { host, names: asked_names(certificate), new, before: BTreeMap::new(), old }
    }

    /// Notes what the listeners show while nobody has been told.
    pub(super) async fn look_before(&mut self, listeners: &[Listener]) {
        let own = self.own_addresses();
        for listener in
            listeners.iter().filter(|it| why_not(self.host, it, own.as_deref()).is_none())
        {
            let shown = handshake(self.host, listener, self.names.first()).await;
            let serial = shown.ok().and_then(|chain| Serial::of(chain.first()?));
            if let Some(serial) = serial {
                self.before.insert(listener.to_string(), serial);
            }
        }
    }

    /// Shakes hands until every listener shows the new certificate.
    pub(super) async fn prove(
        &self,
        listeners: &[Listener],
        patience: Patience,
    ) -> Result<(Vec<Proof>, Vec<Skipped>), NotProved> {
        let own = self.own_addresses();
        let (mut proofs, mut skipped) = (Vec::new(), Vec::new());
        // One time for all: they were told at one moment.
        let limit = match patience {
            Patience::Told => PROOF_LIMIT,
            Patience::Started => START_LIMIT,
        };
        let deadline = Instant::now() + limit;
        for at in listeners {
            if let Some(reason) = why_not(self.host, at, own.as_deref()) {
                skipped.push(Skipped { what: at.to_string(), reason });
                continue;
            }
            match self.prove_one(at, deadline).await {
                Ok(proof) => proofs.push(proof),
                Err(failed) if failed.served.is_none() && failed.old_serial.is_none() => {
                    let reason = format!("{}, as before", failed.reason);
                    skipped.push(Skipped { what: at.to_string(), reason });
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok((proofs, skipped))
    }

    async fn prove_one(&self, at: &Listener, deadline: Instant) -> Result<Proof, NotProved> {
        let listener = at.to_string();
        let old_serial = self.before.get(&listener).cloned();
        let mut tries = 0;
        loop {
            tries += 1;
            let (reason, served) = match self.look(at).await {
                Ok(()) => {
                    let serial = self.new.serial.clone();
                    return Ok(Proof { listener, old_serial, serial, tries });
                }
                Err(fault) => fault,
            };
            // Who was silent before is not waited for: it may never have been there.
            let is_silent = served.is_none() && old_serial.is_none();
            if is_silent && tries > 3 || Instant::now() + PAUSE >= deadline {
                return Err(NotProved { listener, reason, old_serial, served });
            }
            sleep(PAUSE).await;
        }
    }

    /// By each name once. The reason of a failure, and what was shown.
    async fn look(&self, at: &Listener) -> Result<(), (String, Option<Serial>)> {
        for name in &self.names {
            let chain = match handshake(self.host, at, Some(name)).await {
                Ok(chain) => chain,
                Err(reason) => return Err((reason, None)),
            };
            let Some(leaf) = chain.first() else {
                return Err(("it shows no certificate".to_owned(), None));
            };
            let served = Serial::of(leaf);
            if leaf != self.new.leaf() {
                return Err((self.other(served.as_ref(), leaf), served));
            }
            if let Err(reason) = verify(&chain, self.new) {
                return Err((reason, served));
            }
        }
        Ok(())
    }

    fn other(&self, served: Option<&Serial>, leaf: &CertificateDer<'_>) -> String {
        let what = match (served, self.old) {
            (_, Some(old)) if old.leaf() == leaf => "still the old certificate".to_owned(),
            (Some(serial), _) => format!("another certificate with the serial number {serial}"),
            (None, _) => "something that is no certificate".to_owned(),
        };
        format!("it shows {what} instead of {}", self.new.serial)
    }

    /// The addresses of this machine. `None`: another one's tree, which has none.
    fn own_addresses(&self) -> Option<Vec<IpAddr>> {
        let found = self.host.is_this_machine().then(links::addresses)?;
        // When nobody knows, all are tried: a refusal says as much.
        found.ok().map(|all| all.into_iter().map(|(_, address)| address).collect())
    }
}

/// Why a listener cannot be asked from here.
fn why_not(host: &Host, at: &Listener, own: Option<&[IpAddr]>) -> Option<String> {
    match at {
        Listener::Tcp { address, .. } if address.ip().is_loopback() => None,
        Listener::Tcp { address, .. } => match own {
            Some(own) if !own.contains(&address.ip()) => {
                Some("the address is not on this node now".to_owned())
            }
            Some(_) => None,
            None if host.is_this_machine() => None,
            None => Some("this machine has not the node's addresses".to_owned()),
        },
        Listener::Unix(path) => {
            let real = host.real(path);
            let is_long = real.as_str().len() > MOST_SOCKET_BYTES;
            is_long.then(|| "the path of its socket is too long from here".to_owned())
        }
    }
}

/// The names that clients ask by; an address is no name in a handshake, so that one stands for itself alone.
fn asked_names(certificate: &Certificate) -> Vec<ServerName<'static>> {
    let alternative = certificate.subject_alternative_names.iter();
    let mut names: Vec<ServerName<'static>> = alternative
        .filter(|name| name.as_str().parse::<IpAddr>().is_err())
        .filter_map(|name| ServerName::try_from(name.to_string()).ok())
        .take(MOST_NAMES)
        .collect();
    if names.is_empty() {
        let common = ServerName::try_from(certificate.common_name.clone());
        names.push(common.unwrap_or(ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into())));
    }
    names
}

/// Shakes hands once: the chain that the other side shows and holds the key of.
async fn handshake(
    host: &Host,
    at: &Listener,
    name: Option<&ServerName<'static>>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(name) = name.cloned() else { return Err("the certificate has no name".to_owned()) };
    let shaking = async {
        match at {
            Listener::Tcp { address, expects_proxy_header } => {
                let mut stream = TcpStream::connect(address)
                    .await
                    .map_err(|error| format!("no connection: {error}"))?;
                if *expects_proxy_header {
                    let sent = stream.write_all(PROXY_HEADER).await;
                    sent.map_err(|error| format!("it closes the connection: {error}"))?;
                }
                shake(stream, name).await
            }
            Listener::Unix(path) => {
                let stream = UnixStream::connect(host.real(path).as_std_path())
                    .await
                    .map_err(|error| format!("no connection: {error}"))?;
                shake(stream, name).await
            }
        }
    };
    match timeout(HANDSHAKE_LIMIT, shaking).await {
        Ok(shown) => shown,
        Err(_) => Err(format!("no handshake within {} s", HANDSHAKE_LIMIT.as_secs())),
    }
}

async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: ServerName<'static>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(any_certificate_config()));
    let tls = connector.connect(name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain.iter().map(|one| one.clone().into_owned()).collect())
}

/// Whether the chain leads from the leaf to an issuer in the new `ca.pem`. At a time within the leaf's own life: whether
/// it has run out is for those to say who know what time it is.
fn verify(chain: &[CertificateDer<'_>], new: &CertificateSet) -> Result<(), String> {
    let leaf = new.leaf();
    // Its own issuer, as a placeholder is.
    if new.issuers.iter().any(|issuer| issuer == leaf) {
        return Ok(());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(new.issuers.iter().cloned());
    let parsed = ParsedCertificate::try_from(leaf).map_err(|error| format!("the leaf: {error}"))?;
    let (_, read) =
        X509Certificate::from_der(leaf).map_err(|error| format!("the leaf: {error}"))?;
    let validity = read.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = UnixTime::now().as_secs().cast_signed().clamp(from, until.max(from));
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().unwrap_or(0)));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    rustls::client::verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        chain.get(1..).unwrap_or_default(),
        now,
        algorithms,
    )
    .map_err(|error| format!("it shows the new certificate, whose chain does not verify: {error}"))
}
