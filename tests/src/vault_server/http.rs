//! Calls as the server's operator, or as anybody who has a token.

use std::fs::File;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use reqwest::{Certificate, Identity, Method};
use serde_json::Value as Json;

const LIMIT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status of the answer.
    pub status: u16,
    /// Its body; `null` when it has none.
    pub body: Json,
}

impl Answer {
    /// The body of an answer that is no refusal.
    ///
    /// # Errors
    /// When it is one: with Vault's own words.
    pub fn success(self) -> Result<Json> {
        if !(200..300).contains(&self.status) {
            bail!("Vault answered {}: {}", self.status, self.body["errors"]);
        }
        Ok(self.body)
    }
}

/// What is asked.
struct Question<'a> {
    identity: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    token: Option<&'a str>,
    body: Option<&'a Json>,
    wrap_ttl: Option<&'a str>,
}

/// Talks to one server.
pub(super) struct Client {
    namespace: Option<String>,
    address: SocketAddr,
    ca_pem: String,
}

impl Client {
    pub(super) fn new(namespace: Option<String>, address: SocketAddr, ca_pem: &str) -> Client {
        Client { namespace, address, ca_pem: ca_pem.to_owned() }
    }

    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Answer> {
        self.call_as(None, method, path, token, body)
    }

    /// With a client certificate, its chain and its key, all PEM.
    pub(super) fn call_as(
        &self,
        identity: Option<&str>,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Answer> {
        self.send(&Question { identity, method, path, token, body, wrap_ttl: None })
    }

    /// Writes nothing, and has the answer wrapped.
    pub(super) fn wrap(&self, path: &str, token: &str, ttl: &str) -> Result<Answer> {
        let nothing = serde_json::json!({});
        let (token, wrap_ttl, body) = (Some(token), Some(ttl), Some(&nothing));
        self.send(&Question { identity: None, method: "POST", path, token, body, wrap_ttl })
    }

    fn send(&self, question: &Question<'_>) -> Result<Answer> {
        // A thread of its own for each: it may enter a namespace and never has to leave it, and the test may have a
        // runtime already.
        thread::scope(|scope| {
            let call = scope.spawn(|| {
                if let Some(namespace) = &self.namespace {
                    setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
                }
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(self.ask(question))
            });
            call.join().map_err(|_| anyhow::anyhow!("the call panicked"))?
        })
        .with_context(|| format!("cannot {} `{}`", question.method, question.path))
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Answer> {
        let Question { identity, method, path, token, body, wrap_ttl } = *question;
        // Somebody else may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .tls_certs_only([Certificate::from_pem(self.ca_pem.as_bytes())?])
            .no_proxy()
            .timeout(LIMIT);
        if let Some(identity) = identity {
            client = client.identity(Identity::from_pem(identity.as_bytes())?);
        }
        let client = client.build()?;
        let url = format!("https://{}/v1/{path}", self.address);
        let mut request = client.request(Method::from_bytes(method.as_bytes())?, url);
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(ttl) = wrap_ttl {
            request = request.header("X-Vault-Wrap-TTL", ttl);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = if text.is_empty() { Json::Null } else { serde_json::from_str(&text)? };
        Ok(Answer { status, body })
    }
}
