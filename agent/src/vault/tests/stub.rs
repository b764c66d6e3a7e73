//! A TLS server that answers as a test says, and remembers what it was asked and when.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::vault_server::Authority;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Healthy, by `sys/health`.
pub(super) const HEALTHY: &str = r#"{"initialized":true,"sealed":false,"standby":false}"#;
/// What a token is, by `auth/token/lookup-self`.
pub(super) const TOKEN: &str = r#"{"data":{"ttl":3600,"renewable":true}}"#;

/// One request, as far as tests look at it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) method: String,
    /// Below `/v1/`, without the query.
    pub(super) path: String,
}

/// What the server does with a request.
pub(super) enum Reply {
    /// Answers with JSON.
    Json(u16, String),
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Sends the first bytes, then the second ones again and again with a pause between.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

impl Reply {
    /// An answer with other headers than a Vault's.
    pub(super) fn with(status: u16, headers: &str, body: &str) -> Reply {
        let length = body.len();
        Reply::Raw(
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
                .into_bytes(),
        )
    }

    fn bytes(self) -> (Vec<u8>, Option<(Vec<u8>, Duration)>) {
        match self {
            Reply::Json(status, body) => {
                let headers = "content-type: application/json\r\nconnection: close\r\n";
                Reply::with(status, headers, &body).bytes()
            }
            Reply::Raw(bytes) => (bytes, None),
            Reply::Drip(first, drop, pause) => (first, Some((drop, pause))),
        }
    }
}

/// The server; it runs until the test process ends.
pub(super) struct Stub {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// A server of `authority` that does what `answer` says to method and path.
    pub(super) fn start(
        authority: &Authority,
        answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
    ) -> Stub {
        Stub::for_name(authority, "127.0.0.1", answer)
    }

    /// Its certificate is for `name`.
    pub(super) fn for_name(
        authority: &Authority,
        name: &str,
        answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
    ) -> Stub {
        let (certificate, key) = authority.issue(&[name.to_owned()]).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, answer) = (TlsAcceptor::from(Arc::new(config)), Arc::new(answer));
        let log = asked.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, answer, log) = (acceptor.clone(), answer.clone(), log.clone());
                    tokio::spawn(async move {
                        let Ok(mut stream) = acceptor.accept(stream).await else { return };
                        let Some((method, path)) = request(&mut stream).await else { return };
                        let asked = Asked { at: Instant::now(), method, path };
                        log.lock().unwrap().push(asked.clone());
                        let (first, drops) = answer(&asked.method, &asked.path).bytes();
                        let mut goes_on = stream.write_all(&first).await.is_ok();
                        while let (true, Some((drop, pause))) = (goes_on, &drops) {
                            tokio::time::sleep(*pause).await;
                            goes_on = stream.write_all(drop).await.is_ok();
                            goes_on &= stream.flush().await.is_ok();
                        }
                        let _ = stream.shutdown().await;
                    });
                }
            });
        });
        Stub { address, asked }
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<(String, String)> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        seen.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let mut words = head.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let path = path.split('?').next()?.trim_start_matches("/v1/");
        return Some((method.to_owned(), path.to_owned()));
    }
}
