//! Questions that `vaultrs` has not, or not as servers understand them.

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use serde::Deserialize;

use crate::secret::Secret;

/// `GET sys/health`, with one status for all servers that answer questions. Its body is read by hand, since it comes with
/// every status and differs between Vault and OpenBao.
pub(super) struct HealthQuestion;

impl Endpoint for HealthQuestion {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        "/sys/health".to_owned()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(Some("standbyok=true&perfstandbyok=true".to_owned()))
    }
}

/// `GET` of any path below the API.
pub(super) struct ReadPath {
    pub(super) path: String,
}

impl Endpoint for ReadPath {
    type Response = serde_json::Map<String, serde_json::Value>;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("/{}", self.path.trim_matches('/'))
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}

/// `POST MOUNT/data/PATH`: a new version of a secret in a KV engine of version 2.
pub(super) struct WriteKv<'a> {
    pub(super) mount: &'a str,
    pub(super) path: &'a str,
    pub(super) data: &'a serde_json::Value,
}

impl Endpoint for WriteKv<'_> {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("/{}/data/{}", self.mount, self.path)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(Some(serde_json::json!({ "data": self.data }).to_string().into_bytes()))
    }
}

/// `POST auth/MOUNT/login` of the TLS certificate method. Servers know the role as `name`; `vaultrs` 0.8 says `cert_name`,
/// which they pass over, and then every role is tried.
pub(super) struct CertLogin<'a> {
    pub(super) mount: &'a str,
    pub(super) role: Option<&'a str>,
}

impl Endpoint for CertLogin<'_> {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("/auth/{}/login", self.mount)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        let body = match self.role {
            Some(role) => serde_json::json!({ "name": role }),
            None => serde_json::json!({}),
        };
        Ok(Some(body.to_string().into_bytes()))
    }
}

/// What `auth/token/lookup-self` says, as far as it counts. The rest repeats the token.
#[derive(Deserialize)]
pub(super) struct TokenSeen {
    /// In seconds; 0 for one that never ends.
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) renewable: Option<bool>,
}

/// What was wrapped.
#[derive(Deserialize)]
pub(super) struct SecretIdSeen {
    pub(super) secret_id: Secret,
}
