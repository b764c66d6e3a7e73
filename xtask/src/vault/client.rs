//! One Vault server, as its operator talks to it: JSON over TLS, bounded in size and time.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Method, redirect};
use serde_json::{Map, Value as Json};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// A server that needs longer has hung. Signing a root with an RSA key takes seconds.
const LIMIT: Duration = Duration::from_secs(30);
/// For the first question to each address.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// No answer that is asked for here is nearly as large.
const MAX_BYTES: usize = 4 << 20;

/// A Vault token. It is never shown.
#[derive(Clone)]
pub(super) struct Token(Zeroizing<String>);

impl Token {
    /// The text without the white space around it; `None` when it cannot be one.
    pub(super) fn new(text: Zeroizing<String>) -> Option<Token> {
        let word = text.trim();
        let is_fine = !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic());
        is_fine.then(|| Token(Zeroizing::new(word.to_owned())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("`{address}` does not answer")]
    Unreachable { address: String, source: reqwest::Error },
    #[error("`{address}` is sealed; unseal it first")]
    Sealed { address: String },
    #[error("`{address}` was never initialised; do that first (`bao operator init`)")]
    Uninitialised { address: String },
    #[error("`{address}` stands by and no server leads")]
    NoLeader { address: String },
    #[error("the token may not {method} `{path}`, or is no longer valid")]
    Denied { method: &'static str, path: String },
    #[error("Vault refuses to {method} `{path}` ({status}): {errors}")]
    Refused { method: &'static str, path: String, status: u16, errors: String },
    #[error("what Vault answers to {method} `{path}` makes no sense: {what}")]
    Senseless { method: &'static str, path: String, what: String },
    #[error("cannot make a client for `{address}`")]
    Client { address: String, source: reqwest::Error },
    #[error("cannot start what waits for answers")]
    Runtime(#[source] std::io::Error),
}

/// Everything that is asked goes to one server, with one token.
pub(super) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    address: String,
    token: HeaderValue,
}

impl Client {
    /// A client for the server at `address`, whose certificate `ca_pem` has to vouch for. The server has to be ready.
    ///
    /// # Errors
    /// When it does not answer, or says that it is not ready.
    pub(super) fn connect(address: &str, ca_pem: &str, token: &Token) -> Result<Client, CallError> {
        // A second call finds the first one's work done.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = address.trim_end_matches('/').to_owned();
        let failed = |source| CallError::Client { address: address.clone(), source };
        let anchors = Certificate::from_pem_bundle(ca_pem.as_bytes()).map_err(failed)?;
        let http = reqwest::Client::builder()
            .tls_certs_only(anchors)
            .https_only(true)
            // A token is not sent to where an answer points.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(LIMIT)
            .build()
            .map_err(failed)?;
        let mut header =
            HeaderValue::from_str(&token.0).expect("the characters of a token were looked at");
        header.set_sensitive(true);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CallError::Runtime)?;
        let client = Client { runtime, http, address, token: header };
        let health = client.http.get(format!("{}/v1/sys/health", client.address));
        let (status, _) = client.send(health, "GET", "sys/health")?;
        let address = || client.address.clone();
        match status {
            501 => Err(CallError::Uninitialised { address: address() }),
            503 => Err(CallError::Sealed { address: address() }),
            200 | 429 | 472 | 473 => Ok(client),
            _ => Err(CallError::Senseless {
                method: "GET",
                path: "sys/health".to_owned(),
                what: format!("status {status}"),
            }),
        }
    }

    /// The server that is asked.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Reads; `None` when there is nothing.
    ///
    /// # Errors
    /// When the answer is anything else.
    pub(super) fn read(&self, path: &str) -> Result<Option<Map<String, Json>>, CallError> {
        match self.call("GET", path, None, None) {
            Ok(answer) => Ok(Some(data(answer))),
            Err(CallError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names below a path, sorted; none when there is nothing.
    ///
    /// # Errors
    /// When the answer is anything else.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, CallError> {
        let data = match self.call("LIST", path, None, None) {
            Ok(answer) => data(answer),
            Err(CallError::Refused { status: 404, .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let keys = data.get("keys").and_then(Json::as_array).into_iter().flatten();
        let mut names: Vec<String> = keys.filter_map(Json::as_str).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Writes, and gives what Vault has to say.
    ///
    /// # Errors
    /// When Vault refuses.
    pub(super) fn write(&self, path: &str, body: &Json) -> Result<Map<String, Json>, CallError> {
        self.call("POST", path, Some(body), None).map(data)
    }

    /// Writes, and gives the wrapping (`wrap_info`) of what Vault has to say, which lasts so many seconds.
    ///
    /// # Errors
    /// When Vault refuses.
    pub(super) fn write_wrapped(
        &self,
        path: &str,
        body: &Json,
        seconds: u64,
    ) -> Result<Map<String, Json>, CallError> {
        let mut answer = self.call("POST", path, Some(body), Some(seconds))?;
        match answer.get_mut("wrap_info").map(Json::take) {
            Some(Json::Object(wrapping)) => Ok(wrapping),
            _ => Err(CallError::Senseless {
                method: "POST",
                path: path.to_owned(),
                what: "it is not wrapped".to_owned(),
            }),
        }
    }

    /// Deletes.
    ///
    /// # Errors
    /// When Vault refuses.
    pub(super) fn delete(&self, path: &str) -> Result<(), CallError> {
        self.call("DELETE", path, None, None).map(drop)
    }

    fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Json>,
        wrap_seconds: Option<u64>,
    ) -> Result<Map<String, Json>, CallError> {
        let verb = Method::from_bytes(method.as_bytes()).expect("methods are words");
        let mut request = self.http.request(verb, format!("{}/v1/{path}", self.address));
        request = request.header("X-Vault-Token", self.token.clone());
        request = request.header("X-Vault-Request", "true");
        if let Some(seconds) = wrap_seconds {
            request = request.header("X-Vault-Wrap-TTL", format!("{seconds}s"));
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let (status, bytes) = self.send(request, method, path)?;
        let text = || serde_json::from_slice::<Json>(&bytes);
        if (200..300).contains(&status) {
            if bytes.is_empty() {
                return Ok(Map::new());
            }
            return match text() {
                Ok(Json::Object(answer)) => Ok(answer),
                _ => Err(CallError::Senseless {
                    method,
                    path: path.to_owned(),
                    what: "it is no JSON object".to_owned(),
                }),
            };
        }
        let errors = text().map(|answer| words(&answer["errors"])).unwrap_or_default();
        let address = || self.address.clone();
        Err(match status {
            403 => CallError::Denied { method, path: path.to_owned() },
            503 if errors.contains("sealed") => CallError::Sealed { address: address() },
            500 | 503 if errors.contains("active cluster node not found") => {
                CallError::NoLeader { address: address() }
            }
            _ => CallError::Refused { method, path: path.to_owned(), status, errors },
        })
    }

    fn send(
        &self,
        request: reqwest::RequestBuilder,
        method: &'static str,
        path: &str,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), CallError> {
        let unreachable = |source| CallError::Unreachable { address: self.address.clone(), source };
        self.runtime.block_on(async {
            let mut answer = request.send().await.map_err(unreachable)?;
            let status = answer.status().as_u16();
            let mut bytes = Zeroizing::new(Vec::new());
            while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
                if bytes.len() + chunk.len() > MAX_BYTES {
                    let what = format!("it is longer than {MAX_BYTES} bytes");
                    return Err(CallError::Senseless { method, path: path.to_owned(), what });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok((status, bytes))
        })
    }
}

fn data(mut answer: Map<String, Json>) -> Map<String, Json> {
    match answer.get_mut("data").map(Json::take) {
        Some(Json::Object(data)) => data,
        _ => Map::new(),
    }
}

/// Vault's errors as one line. They may have several.
fn words(errors: &Json) -> String {
    let texts = errors.as_array().into_iter().flatten().filter_map(Json::as_str);
    let lines = texts.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    let all = lines.collect::<Vec<_>>().join("; ");
    all.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(500).collect()
}
