//! One HTTP request to one server of Vault, and its answer within bounds.
//!
//! Nothing here trusts the other end before its certificate is by Vault's own CA, and little after: an answer has a largest
//! size and a longest time, a redirect is never followed, and no proxy of the environment stands between.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::error::Fault;
use crate::secret::Secret;

/// Vault's own header for its tokens.
const TOKEN_HEADER: &str = "x-vault-token";
/// Vault can be told to answer only requests with it, against request forgery.
const REQUEST_HEADER: &str = "x-vault-request";
/// The API's version, before every path.
const API: &str = "/v1";
/// How long a connection without work is kept for the next question.
const KEEP_CONNECTION: Duration = Duration::from_secs(20);
/// A server that names a longer pause is taken for this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// What is repeated of texts by others, in characters.
const MAX_FOREIGN_TEXT: usize = 300;

/// How much time and memory an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until there is a connection.
    pub(crate) connect: Duration,
    /// Between two pieces of an answer.
    pub(crate) idle: Duration,
    /// For the whole answer.
    pub(crate) total: Duration,
    /// Size of the body.
    pub(crate) body_bytes: usize,
}

impl Limits {
    /// A signature takes Vault milliseconds, and the largest answer is a chain of certificates.
    pub(crate) const STANDARD: Limits = Limits {
        connect: Duration::from_secs(3),
        idle: Duration::from_secs(10),
        total: Duration::from_secs(20),
        body_bytes: 1 << 20,
    };
}

/// What Vault's servers are held against.
#[derive(Clone, Debug)]
pub(crate) struct Anchor(Arc<RootCertStore>);

impl Anchor {
    /// Takes one or more certificates in PEM.
    ///
    /// # Errors
    /// When there is none, or one is not usable as a trust anchor.
    pub(crate) fn from_pem(pem: &str) -> Result<Anchor, String> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            store.add(certificate).map_err(|error| error.to_string())?;
        }
        match store.is_empty() {
            true => Err("it holds no certificate".to_owned()),
            false => Ok(Anchor(Arc::new(store))),
        }
    }
}

/// By which the node shows who it is.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate {
    /// The certificate and its chain in PEM.
    pub(crate) chain_pem: String,
    /// Its private key in PEM.
    pub(crate) key_pem: Secret,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// Whether it is declared as JSON.
    pub(crate) is_json: bool,
    /// How long the server wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// The server's clock.
    pub(crate) date: Option<SystemTime>,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
}

/// What a request carries besides its address.
pub(crate) type Request = hyper::Request<Vec<u8>>;

/// Connections to Vault's servers under one client certificate, or none.
pub(crate) struct Transport {
    client: reqwest::Client,
    limits: Limits,
}

impl Transport {
    /// # Errors
    /// When the client certificate cannot be used; the reason.
    pub(crate) fn new(
        anchor: &Anchor,
        certificate: Option<&ClientCertificate>,
        limits: Limits,
    ) -> Result<Transport, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_root_certificates(anchor.0.clone());
        let config = match certificate {
            None => config.with_no_client_auth(),
            Some(certificate) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect();
                let chain = chain.map_err(|error| error.to_string())?;
                let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose().as_bytes())
                    // Its own text could repeat what it read.
                    .map_err(|_| "no private key in PEM".to_owned())?;
                config.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
            }
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(limits.connect)
            .read_timeout(limits.idle)
            .timeout(limits.total)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(KEEP_CONNECTION)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Transport { client, limits })
    }

    /// Sends one request and takes the whole answer.
    ///
    /// # Errors
    /// When there is none that Vault could have given. Any status is an answer.
    pub(crate) async fn send(
        &self,
        request: Request,
        token: Option<&Secret>,
    ) -> Result<Answer, Fault> {
        let request = dress(request, token)?;
        let mut response =
            self.client.execute(request).await.map_err(|error| self.fault(&error))?;
        let headers = response.headers();
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Zeroizing::default(),
            is_json: is_json(headers),
            retry_after: text(headers, RETRY_AFTER.as_str()).and_then(pause),
            date: text(headers, DATE.as_str()).and_then(http_date),
            location: text(headers, LOCATION.as_str()).map(foreign_text),
        };
        let too_large = || Fault::Garbled(format!("more than {} bytes", self.limits.body_bytes));
        let length = response.content_length().unwrap_or(0);
        if length > self.limits.body_bytes as u64 {
            return Err(too_large());
        }
        let mut body = Buffer::default();
        while let Some(piece) = response.chunk().await.map_err(|error| self.fault(&error))? {
            if body.0.len() + piece.len() > self.limits.body_bytes {
                return Err(too_large());
            }
            body.push(&piece);
        }
        answer.body = body.0;
        Ok(answer)
    }

    fn fault(&self, error: &reqwest::Error) -> Fault {
        if error.is_timeout() && error.is_connect() {
            let limit = self.limits.connect.as_secs_f32();
            return Fault::Unreachable(format!("no connection within {limit} s"));
        }
        if error.is_timeout() {
            return Fault::Unreachable("no answer in time".to_owned());
        }
        if let Some(error) = error.source().and_then(of_tls) {
            return tls_fault(error);
        }
        let mut innermost: &dyn Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let reason = innermost.to_string();
        match error.is_body() || error.is_decode() {
            true => Fault::Garbled(foreign_text(&reason)),
            false => Fault::Unreachable(foreign_text(&reason)),
        }
    }
}

/// A body that is cleared wherever it was: when it grows it moves, and the old place is cleared too.
#[derive(Default)]
struct Buffer(Zeroizing<Vec<u8>>);

impl Buffer {
    fn push(&mut self, piece: &[u8]) {
        let needed = self.0.len() + piece.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(piece);
    }
}

/// The request as it is sent: below the API's path, with the token.
fn dress(request: Request, token: Option<&Secret>) -> Result<reqwest::Request, Fault> {
    // Nothing that comes from `node.json` can be wrong here any more; a bad path is the caller's.
    let unfit = |what: &str| Fault::Garbled(format!("the request has an unfit {what}"));
    let (parts, body) = request.into_parts();
    let mut url = reqwest::Url::parse(&parts.uri.to_string()).map_err(|_| unfit("address"))?;
    url.set_path(&format!("{API}{}", url.path()));
    let mut dressed = reqwest::Request::new(parts.method, url);
    let headers = dressed.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(REQUEST_HEADER, HeaderValue::from_static("true"));
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token.expose()).map_err(|_| unfit("token"))?;
        value.set_sensitive(true);
        headers.insert(TOKEN_HEADER, value);
    }
    if !body.is_empty() {
        // The body may hold a secret; it is cleared when it was sent.
        *dressed.body_mut() = Some(Bytes::from_owner(Zeroizing::new(body)).into());
    }
    Ok(dressed)
}

/// The error of TLS behind another one. An I/O error holds it without naming it as its source, and may be held by one.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let held = held.and_then(|held| of_tls(held));
    held.or_else(|| error.source().and_then(of_tls))
}

fn tls_fault(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InvalidCertificate(reason) => Fault::Untrusted(match reason {
            // A signature by another key of an authority with the same name is none by the anchor either.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "it is not by the trust anchor".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired by this node's clock".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet by this node's clock".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name".to_owned()
            }
            other => foreign_text(&other.to_string()),
        }),
        rustls::Error::AlertReceived(alert) => {
            Fault::ClientCertificate(format!("TLS alert {alert:?}"))
        }
        other => Fault::Garbled(foreign_text(&other.to_string())),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let declared = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
fn pause(text: &str) -> Option<Duration> {
    let pause = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(text)?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// A date as every server of today writes it (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    use k8s_openapi::jiff;
    let seconds = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_second();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?))
}

/// A text by others, short and without control characters, fit for a log.
pub(super) fn foreign_text(text: &str) -> String {
    let mut short: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(MAX_FOREIGN_TEXT)
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_and_dates() {
        assert_eq!(pause(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(pause("0"), Some(Duration::ZERO));
        assert_eq!(pause("99999999999999"), Some(LONGEST_PAUSE));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(pause(text), None, "{text}");
        }
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(date));
        assert_eq!(http_date("Thu, 01 Jan 1960 00:00:00 GMT"), None);
    }

    #[test]
    fn foreign_texts_are_fit_for_a_log() {
        assert_eq!(foreign_text("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(foreign_text(&"ä".repeat(1000)).chars().count(), MAX_FOREIGN_TEXT + 1);
    }

    #[test]
    fn an_anchor_is_at_least_one_certificate() {
        for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            Anchor::from_pem(pem).unwrap_err();
        }
    }

    #[test]
    fn a_token_never_shows_in_a_request() {
        let request = hyper::Request::builder()
            .uri("https://a.example:8200/sys/health")
            .body(Vec::new())
            .unwrap();
        let token = Secret::new("s.secret".to_owned());
        let dressed = dress(request, Some(&token)).unwrap();
        assert_eq!(dressed.url().as_str(), "https://a.example:8200/v1/sys/health");
        assert_eq!(dressed.headers()[TOKEN_HEADER], "s.secret");
        assert!(!format!("{dressed:?}").contains("s.secret"));
    }
}
