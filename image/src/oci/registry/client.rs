//! The protocol of registries, as far as pulling and pushing need it.

use std::error::Error;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;

use crate::io::digest::Digest;
use crate::oci::layout::{Descriptor, INDEX_TYPE, MANIFEST_TYPE, MAX_DOCUMENT_BYTES};
use crate::oci::registry::credentials::Credentials;
use crate::oci::registry::reference::{Reference, Version};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often one request is sent on: storage of a registry is one step away, or two.
const MAX_REDIRECTS: usize = 5;
/// How much of a refusal is read, for the message.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;

/// What a client has to know besides the reference.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Certificates of authorities in PEM that are trusted besides those of the system.
    pub authorities: Option<Vec<u8>>,
    /// `None` to come as nobody.
    pub credentials: Option<Credentials>,
}

/// One repository of a registry.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    reference: Reference,
    credentials: Option<Credentials>,
    /// What the registry wants to see, once it has said so.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The trusted certificates cannot be used.
    #[error("the certificates of authorities cannot be read")]
    Authorities(#[source] reqwest::Error),
    /// There are no trusted certificates where some were given.
    #[error("there is no certificate in what was given as those of authorities")]
    NoAuthorities,
    /// No client can be made.
    #[error("no client for HTTPS can be made")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("no answer from the registry `{registry}`")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It refuses.
    #[error("the registry `{registry}` refuses {what}: {status}{detail}")]
    Refused {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// The status.
        status: StatusCode,
        /// What it says about that.
        detail: String,
    },
    /// It does not have that.
    #[error("the registry `{registry}` does not have {what}")]
    Missing {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// An answer that the protocol does not know.
    #[error("the registry `{registry}` answers {what} with {why}")]
    Protocol {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Other bytes than those asked for.
    #[error("{what} came with {size} bytes and the digest {found}")]
    Damaged {
        /// What was asked for.
        what: String,
        /// How much came.
        size: usize,
        /// Its digest.
        found: Digest,
    },
    /// More bytes than anyone needs.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// What is accepted.
        limit: u64,
    },
    /// What was pulled is no bundle.
    #[error(transparent)]
    Artefact(#[from] crate::bundle::ArtefactError),
}

impl RegistryError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { status, .. }
                if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
            {
                Some("log in with `podman login` or `skopeo login`")
            }
            Self::Unreachable { source, .. } if is_unknown_authority(source) => {
                Some("an authority of your own is named with `--certificate-authority`")
            }
            Self::Unreachable { .. } => {
                Some("see whether the registry runs, and where the variable HTTPS_PROXY leads")
            }
            Self::Artefact(error) => error.hint(),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// Prepares a client for the repository of `reference`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(reference: &Reference, access: Access) -> Result<Self, RegistryError> {
        // Only the first one of a process counts; it is the same one everywhere in this workspace.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("basalt/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = access.authorities {
            let authorities =
                Certificate::from_pem_bundle(&pem).map_err(RegistryError::Authorities)?;
            if authorities.is_empty() {
                return Err(RegistryError::NoAuthorities);
            }
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self {
            http: builder.build().map_err(RegistryError::Client)?,
            reference: reference.clone(),
            credentials: access.credentials,
            authorization: Mutex::new(None),
        })
    }

    /// The reference that it was made for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Reads a manifest by tag or digest; `None` when there is none. By digest, it is what was asked for.
    ///
    /// # Errors
    /// When the registry does not answer, or with something else.
    pub async fn manifest(&self, version: &Version) -> Result<Option<Vec<u8>>, RegistryError> {
        let name = version_text(version);
        let what = format!("the manifest `{name}`");
        let url = self.url(&format!("manifests/{name}"));
        let types = format!("{MANIFEST_TYPE}, {INDEX_TYPE}");
        let response =
            self.send(&what, || self.http.get(url.clone()).header(ACCEPT, &types)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = self.body(&what, response, MAX_DOCUMENT_BYTES).await?;
        let found = Digest::of(&bytes);
        match version {
            Version::Digest(digest) if *digest != found => {
                Err(RegistryError::Damaged { what, size: bytes.len(), found })
            }
            Version::Digest(_) | Version::Tag(_) => Ok(Some(bytes)),
        }
    }

    /// Reads the list of what refers to a manifest; `None` when the registry keeps none.
    ///
    /// # Errors
    /// When the registry does not answer, or with something else.
    pub async fn referrers(&self, subject: &Digest) -> Result<Option<Vec<u8>>, RegistryError> {
        let what = format!("what refers to {subject}");
        let url = self.url(&format!("referrers/{subject}"));
        let response = self.send(&what, || self.http.get(url.clone())).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.body(&what, response, MAX_DOCUMENT_BYTES).await.map(Some)
    }

    /// Reads a blob, which is what its descriptor says.
    ///
    /// # Errors
    /// When it is missing, longer than `limit`, or damaged.
    pub async fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let what = format!("the blob {}", blob.digest);
        let url = self.url(&format!("blobs/{}", blob.digest));
        let response = self.send(&what, || self.http.get(url.clone())).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::Missing { registry: self.registry(), what });
        }
        let bytes = self.body(&what, response, limit.min(blob.size)).await?;
        let found = Digest::of(&bytes);
        match (found, bytes.len() as u64) == (blob.digest, blob.size) {
            true => Ok(bytes),
            false => Err(RegistryError::Damaged { what, size: bytes.len(), found }),
        }
    }

    /// Uploads a blob, unless it is there.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push_blob(&self, bytes: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(bytes);
        let what = format!("the blob {digest}");
        let url = self.url(&format!("blobs/{digest}"));
        if self.send(&what, || self.http.head(url.clone())).await?.status() == StatusCode::OK {
            return Ok(());
        }
        let url = self.url("blobs/uploads/");
        let what = format!("the upload of {digest}");
        let response = self.send(&what, || self.http.post(url.clone())).await?;
        let response = self.expect(&what, response, StatusCode::ACCEPTED).await?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| response.url().join(location).ok());
        let mut target = target.ok_or_else(|| RegistryError::Protocol {
            registry: self.registry(),
            what: what.clone(),
            why: "no place to upload to".to_owned(),
        })?;
        target.query_pairs_mut().append_pair("digest", &digest.to_string());
        let put = || {
            let request = self.http.put(target.clone());
            request.header(CONTENT_TYPE, "application/octet-stream").body(bytes.to_vec())
        };
        let response = self.send(&what, put).await?;
        self.expect(&what, response, StatusCode::CREATED).await.map(drop)
    }

    /// Uploads a manifest under a tag or its digest. Says whether the registry lists it by itself under what it refers
    /// to.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push_manifest(
        &self,
        version: &Version,
        bytes: &[u8],
        media_type: &str,
    ) -> Result<bool, RegistryError> {
        let name = version_text(version);
        let what = format!("the manifest `{name}`");
        let url = self.url(&format!("manifests/{name}"));
        let put = || {
            let request = self.http.request(Method::PUT, url.clone());
            request.header(CONTENT_TYPE, media_type).body(bytes.to_vec())
        };
        let response = self.send(&what, put).await?;
        let response = self.expect(&what, response, StatusCode::CREATED).await?;
        Ok(response.headers().contains_key("OCI-Subject"))
    }

    /// Sends a request, and again with what the registry wants to see when it asks for that.
    async fn send(
        &self,
        what: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let response = self.send_once(request()).await?;
        let response = match response.status() {
            // Only the registry itself is told who asks: it may have sent the request elsewhere.
            StatusCode::UNAUTHORIZED if is_same_host(response.url(), &self.url("")) => {
                let challenge = response.headers().get(WWW_AUTHENTICATE);
                let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let challenge = challenge.unwrap_or_default();
                match self.authorize(&challenge).await? {
                    true => self.send_once(request()).await?,
                    false => response,
                }
            }
            _ => response,
        };
        match response.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(response),
            status => Err(self.refusal(what, status, response).await),
        }
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Response, RegistryError> {
        let mut request = request.build().map_err(|source| self.unreachable(source))?;
        let authorization = self.authorization.lock().expect("no one panics with it").clone();
        // An upload may go to a host of storage, which has nothing to do with these credentials.
        if is_same_host(request.url(), &self.url(""))
            && let Some(value) = authorization
        {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.http.execute(request).await.map_err(|source| self.unreachable(source))
    }

    /// Answers a challenge. Says whether there is something new to try.
    ///
    /// Format: <https://distribution.github.io/distribution/spec/auth/token/>
    async fn authorize(&self, challenge: &str) -> Result<bool, RegistryError> {
        let scheme = challenge.split(' ').next().unwrap_or_default();
        let value = if scheme.eq_ignore_ascii_case("basic") {
            let Some(credentials) = &self.credentials else { return Ok(false) };
            let request = self.http.get(self.url(""));
            let request = request.basic_auth(&credentials.user, Some(&*credentials.password));
            let request = request.build().map_err(|source| self.unreachable(source))?;
            request.headers().get(AUTHORIZATION).cloned()
        } else if scheme.eq_ignore_ascii_case("bearer") {
            self.token(challenge).await?
        } else {
            None
        };
        let mut known = self.authorization.lock().expect("no one panics with it");
        if value.is_none() || *known == value {
            return Ok(false);
        }
        *known = value;
        Ok(true)
    }

    async fn token(&self, challenge: &str) -> Result<Option<HeaderValue>, RegistryError> {
        let what = "a request for a token";
        let protocol = |why: &str| RegistryError::Protocol {
            registry: self.registry(),
            what: what.to_owned(),
            why: why.to_owned(),
        };
        let realm = parameter(challenge, "realm").and_then(|realm| Url::parse(&realm).ok());
        let mut url = realm.ok_or_else(|| protocol("no address to get one from"))?;
        let scope = parameter(challenge, "scope")
            .unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        if let Some(service) = parameter(challenge, "service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        url.query_pairs_mut().append_pair("scope", &scope);
        let mut request = self.http.get(url);
        if let Some(credentials) = &self.credentials {
            request = request.basic_auth(&credentials.user, Some(&*credentials.password));
        }
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(self.refusal(what, status, response).await);
        }
        let bytes = self.body(what, response, MAX_REFUSAL_BYTES).await?;
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|_| protocol("something else"))?;
        let token = token.token.or(token.access_token).ok_or_else(|| protocol("no token"))?;
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| protocol("no token"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn expect(
        &self,
        what: &str,
        response: Response,
        wanted: StatusCode,
    ) -> Result<Response, RegistryError> {
        match response.status() {
            status if status == wanted => Ok(response),
            status => Err(self.refusal(what, status, response).await),
        }
    }

    async fn refusal(&self, what: &str, status: StatusCode, response: Response) -> RegistryError {
        let body = self.body(what, response, MAX_REFUSAL_BYTES).await.unwrap_or_default();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
        let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
        let detail = if message.is_empty() { message } else { format!(", {message}") };
        let (registry, what) = (self.registry(), what.to_owned());
        RegistryError::Refused { registry, what, status, detail }
    }

    /// The body of an answer, of which at most `limit` bytes are accepted.
    async fn body(
        &self,
        what: &str,
        mut response: Response,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(RegistryError::TooLarge { what: what.to_owned(), limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn unreachable(&self, source: reqwest::Error) -> RegistryError {
        // An upload's address may carry a secret of its own.
        RegistryError::Unreachable { registry: self.registry(), source: source.without_url() }
    }

    fn registry(&self) -> String {
        self.reference.registry.clone()
    }

    fn url(&self, rest: &str) -> Url {
        let Reference { registry, repository, .. } = &self.reference;
        let text = format!("https://{registry}/v2/{repository}/{rest}");
        Url::parse(&text).expect("a reference holds nothing that an address does not")
    }
}

fn version_text(version: &Version) -> String {
    match version {
        Version::Tag(tag) => tag.clone(),
        Version::Digest(digest) => digest.to_string(),
    }
}

/// Whether a connection failed because of the server's certificate.
fn is_unknown_authority(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An error of input or output gives as its source that of what it holds, and may hold another one.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

fn is_same_host(a: &Url, b: &Url) -> bool {
    (a.host(), a.port_or_known_default()) == (b.host(), b.port_or_known_default())
}

/// A parameter of a challenge, `key="value"`.
fn parameter(challenge: &str, key: &str) -> Option<String> {
    let mut rest = challenge.split_once(' ')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start_matches([',', ' ']);
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if name.eq_ignore_ascii_case(key) {
            return Some(value.to_owned());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let challenge = r#"Bearer realm="https://auth.example/token",service=a.example, scope="repository:a:pull,push""#;
        let is = |key: &str, value: Option<&str>| {
            assert_eq!(parameter(challenge, key).as_deref(), value, "{key}");
        };
        is("realm", Some("https://auth.example/token"));
        is("service", Some("a.example"));
        is("scope", Some("repository:a:pull,push"));
        is("error", None);
        assert_eq!(parameter("Basic", "realm"), None);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_lies_deep() {
        let unknown = rustls::CertificateError::UnknownIssuer;
        let of_tls = io::Error::other(rustls::Error::InvalidCertificate(unknown));
        assert!(is_unknown_authority(&io::Error::other(of_tls)));
        assert!(!is_unknown_authority(&io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(!is_unknown_authority(&io::Error::other(rustls::Error::DecryptError)));
    }

    #[test]
    fn a_file_without_a_certificate_is_no_authority() {
        let reference: Reference = "registry.lab.example/a:1".parse().unwrap();
        let access = Access { authorities: Some(b"no certificate".to_vec()), credentials: None };
        let refused = Client::new(&reference, access).err();
        assert!(matches!(refused, Some(RegistryError::NoAuthorities)), "{refused:?}");
    }

    #[test]
    fn hosts() {
        let is_same =
            |a: &str, b: &str| is_same_host(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(is_same("https://a.example/x", "https://a.example:443/y"));
        assert!(!is_same("https://a.example/x", "https://a.example:5000/x"));
        assert!(!is_same("https://a.example/x", "https://b.a.example/x"));
    }
}
