//! Asks the questions: connects, shakes hands, runs commands in containers, looks at files. Changes nothing, and waits for
//! each answer only so long.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::questions::{How, Outside, Question};
use super::{Answer, outside};
use crate::host::cri::Cri;
use crate::host::{Host, look};

/// How long a connection or a handshake may take; on one network it takes milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A proxy without a living server closes what it has accepted, at once.
const CLOSED_AT_ONCE: Duration = Duration::from_millis(200);
/// So much of what a command says is evidence.
const MOST_OUTPUT: usize = 200;

/// What asking needs.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) host: Host,
    pub(crate) cri: Option<Cri>,
    /// The running containers of each pod, by pod and name.
    pub(crate) containers: BTreeMap<(String, String), String>,
}

impl Asker {
    /// Asks one question.
    pub(crate) async fn ask(&self, question: &Question) -> (Answer, String) {
        let here = self.ask_here(&question.how).await;
        let Some(Outside { source, witnesses, path }) = &question.outside else { return here };
        match here {
            (Answer::Good, evidence) => {
                outside::verdict(evidence, &outside::ask(*source, witnesses, path).await)
            }
            (answer, evidence) => (answer, format!("{evidence}; this node holds the address")),
        }
    }

    async fn ask_here(&self, how: &How) -> (Answer, String) {
        let answer = match how {
            How::Http { address, path, limit_seconds, highest_status } => {
                let limit = Duration::from_secs(*limit_seconds);
                limited(limit, http(*address, path, *highest_status)).await
            }
            How::Tcp { address } => tcp(*address).await,
            How::Tls { address, certificate } => {
                limited(CONNECT_LIMIT, self.tls(*address, certificate.as_deref())).await
            }
            How::Exec { pod, container, command, limit_seconds } => {
                return self.exec(pod, container, command, *limit_seconds).await;
            }
            How::File { path } => self.file(path),
        };
        match answer {
            Ok(evidence) => (Answer::Good, evidence),
            Err(evidence) => (Answer::Bad, evidence),
        }
    }

    async fn tls(&self, address: SocketAddr, certificate: Option<&str>) -> Result<String, String> {
        let wanted = match certificate {
            None => None,
            Some(path) => {
                // With its key.
                let read = look::read_behind(&self.host.real(path)).map(Zeroizing::new);
                let bytes = read.map_err(|error| format!("{path}: {error}"))?;
                let first = CertificateDer::from_pem_slice(&bytes)
                    .map_err(|error| format!("{path}: {error}"))?;
                Some((path, first.into_owned()))
            }
        };
        let shown = shown_certificate(address).await?;
        match (wanted, shown) {
            (Some((path, wanted)), Some(shown)) if wanted != shown => {
                Err(format!("{address} shows another certificate than the one in {path}"))
            }
            _ => Ok(format!("TLS handshake with {address}")),
        }
    }

    async fn exec(
        &self,
        pod: &str,
        container: &str,
        command: &[String],
        limit_seconds: u64,
    ) -> (Answer, String) {
        let key = (pod.to_owned(), container.to_owned());
        let (Some(cri), Some(id)) = (&self.cri, self.containers.get(&key)) else {
            return (Answer::Bad, format!("container {container} does not run"));
        };
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match cri.exec(id, &words, Duration::from_secs(limit_seconds)).await {
            Ok(done) if done.exit_code == 0 => (Answer::Good, "its command succeeds".to_owned()),
            Ok(done) => {
                let said = if done.stdout.trim().is_empty() { done.stderr } else { done.stdout };
                let said: String = said.trim().chars().take(MOST_OUTPUT).collect();
                let said = said.lines().collect::<Vec<_>>().join(" / ");
                (Answer::Bad, format!("its command ends with status {}: {said}", done.exit_code))
            }
            Err(error) => (Answer::Unknown, error.to_string()),
        }
    }

    /// Not what is in it, which is a secret; that there is something.
    fn file(&self, path: &str) -> Result<String, String> {
        match self.host.real(path).metadata() {
            Ok(seen) if seen.is_file() && seen.len() > 0 => {
                Ok(format!("{path} has {} bytes", seen.len()))
            }
            Ok(seen) if seen.is_file() => Err(format!("{path} is empty")),
            Ok(_) => Err(format!("{path} is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{path} is not there"))
            }
            Err(error) => Err(format!("{path}: {error}")),
        }
    }
}

async fn limited(
    limit: Duration,
    asking: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    match timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// The certificate that a TLS handshake shows; absent where none is shown.
pub(crate) async fn shown_certificate(
    address: SocketAddr,
) -> Result<Option<CertificateDer<'static>>, String> {
    let stream = connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(any_certificate_config()));
    let name = ServerName::from(address.ip());
    let tls = (connector.connect(name, stream).await)
        .map_err(|error| format!("no TLS handshake with {address}: {error}"))?;
    let chain = tls.get_ref().1.peer_certificates();
    Ok(chain.and_then(|chain| chain.first()).cloned().map(CertificateDer::into_owned))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let failed = |reason: String| format!("cannot connect to {address}: {reason}");
    match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", CONNECT_LIMIT.as_secs()))),
    }
}

async fn tcp(address: SocketAddr) -> Result<String, String> {
    let mut stream = connect(address).await?;
    // Whoever speaks first, or waits to be spoken to, is a server.
    match timeout(CLOSED_AT_ONCE, stream.read(&mut [0; 1])).await {
        Ok(Ok(0)) => Err(format!("{address} closes the connection at once")),
        Ok(Err(error)) => Err(format!("{address} breaks the connection: {error}")),
        Ok(Ok(_)) | Err(_) => Ok(format!("{address} answers")),
    }
}

async fn http(address: SocketAddr, path: &str, highest: u16) -> Result<String, String> {
    let url = format!("http://{address}{path}");
    let status = status_of(connect(address).await?, &url, address, path).await?;
    let evidence = format!("{url} answers {status}");
    if (200..=highest).contains(&status) { Ok(evidence) } else { Err(evidence) }
}

/// The status that answers `GET` of `path` on `stream`.
pub(super) async fn status_of(
    stream: TcpStream,
    url: &str,
    address: SocketAddr,
    path: &str,
) -> Result<u16, String> {
    let failed = |error: hyper::Error| match error.source() {
        Some(cause) => format!("{url}: {error}: {cause}"),
        None => format!("{url}: {error}"),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = hyper::Request::get(path)
        .header("Host", address.to_string())
        .header("Connection", "close")
        .header("User-Agent", concat!("basalt-agent/", env!("CARGO_PKG_VERSION")))
        .body(String::new())
        .map_err(|error| format!("{url}: {error}"))?;
    let mut sending = std::pin::pin!(sender.send_request(request));
    // The connection moves only while it is polled. When it ends, the answer may have come with its last bytes.
    let response = tokio::select! {
        response = &mut sending => response,
        closed = connection => match closed {
            Ok(()) => sending.await,
            Err(error) => Err(error),
        },
    };
    Ok(response.map_err(failed)?.status().as_u16())
}

/// A client that takes every certificate: who may be asked is known by address, and what matters is that the other side
/// can prove the certificate it shows.
pub(crate) fn any_certificate_config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the protocol versions it was built with")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::scratch_host;

    /// Answers one connection with these bytes and closes it.
    async fn server(answer: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if let Some(answer) = answer {
                if answer.starts_with("HTTP") {
                    let _ = stream.read(&mut [0; 4096]).await.unwrap();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                return;
            }
            // Says nothing and waits.
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        });
        address
    }

    async fn ask(how: How) -> (Answer, String) {
        let (_keep, host) = scratch_host();
        Asker { host, cri: None, containers: BTreeMap::new() }.ask_here(&how).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn http_answers() {
        let get = |address| How::Http {
            address,
            path: "/x".into(),
            limit_seconds: 1,
            highest_status: 399,
        };
        let fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        let busy = "HTTP/1.0 503 Busy\r\n\r\n";
        for (answer, expected, evidence) in [
            (Some(fine), Answer::Good, " answers 200"),
            (Some(busy), Answer::Bad, " answers 503"),
            (Some("SSH-2.0-x\r\n"), Answer::Bad, "invalid HTTP version parsed"),
            (Some(""), Answer::Bad, "connection"),
            (None, Answer::Bad, "no answer within 1 s"),
        ] {
            let seen = ask(get(server(answer).await)).await;
            assert!(seen.0 == expected && seen.1.contains(evidence), "{seen:?}, not {evidence}");
        }
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let seen = ask(get(gone)).await;
        assert!(seen.0 == Answer::Bad && seen.1.contains("refused"), "{seen:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn connections() {
        for (answer, expected) in
            [(None, Answer::Good), (Some("220 mail"), Answer::Good), (Some(""), Answer::Bad)]
        {
            let seen = ask(How::Tcp { address: server(answer).await }).await;
            assert_eq!(seen.0, expected, "{seen:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_tls() {
        let address = server(Some("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
        let seen = ask(How::Tls { address, certificate: None }).await;
        assert!(seen.0 == Answer::Bad && seen.1.contains("no TLS handshake"), "{seen:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn files() {
        let (_keep, host) = scratch_host();
        let asker = Asker { host, cri: None, containers: BTreeMap::new() };
        let file = |path: &str| How::File { path: path.to_owned() };
        std::fs::write(asker.host.path("/full"), "secret").unwrap();
        std::fs::write(asker.host.path("/empty"), "").unwrap();
        std::fs::create_dir(asker.host.path("/folder")).unwrap();
        for (path, expected, evidence) in [
            ("/full", Answer::Good, "/full has 6 bytes"),
            ("/empty", Answer::Bad, "/empty is empty"),
            ("/folder", Answer::Bad, "/folder is no file"),
            ("/gone", Answer::Bad, "/gone is not there"),
        ] {
            assert_eq!(asker.ask_here(&file(path)).await, (expected, evidence.to_owned()));
        }
    }
}
