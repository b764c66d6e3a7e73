//! Logging in, each way.

use std::time::Instant;

use basalt_model::names::AbsolutePath;
use basalt_model::node::VaultAuth;
use rustify::endpoint::Endpoint;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::Vault;
use super::answer::{self, Auth, Envelope};
use super::client::{Again, Ask, Scope, draw};
use super::endpoints::{CertLogin, TokenSeen};
use super::error::{Fault, VaultError};
use super::token::Token;
use super::transport::{Answer, ClientCertificate};
use crate::host::look;
use crate::secret::{Secret, read_file};

impl Vault {
    /// Logs in as `node.json` says.
    pub(super) async fn log_in(&mut self) -> Result<Token, VaultError> {
        match self.auth.clone() {
            VaultAuth::Node(identity) => self.log_in_as_node(&identity).await,
            VaultAuth::AppRole { mount, role_id, secret_id_file } => {
                let secret_id = self.secret_in(&secret_id_file)?;
                let auth = self.app_role_login(&mount, &role_id, &secret_id).await?;
                Ok(self.logged_in(auth))
            }
            VaultAuth::Cert { mount, role, certificate_file, key_file } => {
                let key_pem = self.secret_in(&key_file)?;
                let chain_pem = self.certificate_in(&certificate_file)?;
                self.show(&ClientCertificate { chain_pem, key_pem }, certificate_file.as_str())?;
                let auth = self.cert_login(&mount, role.as_deref()).await?;
                Ok(self.logged_in(auth))
            }
            VaultAuth::Jwt { mount, role, token_file } => {
                let jwt = self.secret_in(&token_file)?;
                let request =
                    JWTLoginRequest { mount, jwt: jwt.expose().to_owned(), role: Some(role) };
                let question = format!("POST auth/{}/login", request.mount);
                let auth = self.login(request, question, &[&jwt], Again::Harmless).await?;
                Ok(self.logged_in(auth))
            }
            VaultAuth::Token { token_file } => {
                let client_token = self.secret_in(&token_file)?;
                let TokenSeen { ttl, renewable } = self.token_seen(&client_token).await?;
                let renewable = renewable.unwrap_or(false);
                let auth = Auth { client_token, lease_duration: ttl, renewable };
                Ok(self.logged_in(auth))
            }
        }
    }

    /// A login went well.
    pub(super) fn logged_in(&mut self, auth: Auth) -> Token {
        self.logins += 1;
        tracing::info!(ttl_seconds = auth.lease_duration, "logged in to Vault");
        Token::new(auth, Instant::now(), draw())
    }

    pub(super) async fn app_role_login(
        &mut self,
        mount: &str,
        role_id: &str,
        secret_id: &Secret,
    ) -> Result<Auth, VaultError> {
        let request = LoginWithApproleRequest {
            mount: mount.to_owned(),
            role_id: role_id.to_owned(),
            secret_id: secret_id.expose().to_owned(),
        };
        let question = format!("POST auth/{mount}/login");
        // A secret id may be good for a number of logins only.
        self.login(request, question, &[secret_id], Again::Never).await
    }

    /// By the certificate that connections show.
    pub(super) async fn cert_login(
        &mut self,
        mount: &str,
        role: Option<&str>,
    ) -> Result<Auth, VaultError> {
        let question = format!("POST auth/{mount}/login");
        self.login(CertLogin { mount, role }, question, &[], Again::Harmless).await
    }

    /// What Vault knows of a token.
    pub(super) async fn token_seen(&mut self, token: &Secret) -> Result<TokenSeen, VaultError> {
        let ask = Ask {
            endpoint: &LookupTokenSelfRequest {},
            question: "GET auth/token/lookup-self".to_owned(),
            token: Some(token),
            secrets: &[],
            scope: Scope::Everything,
            again: Again::Harmless,
        };
        self.client.ask(&ask, data).await
    }

    async fn login<E: Endpoint>(
        &mut self,
        endpoint: E,
        question: String,
        secrets: &[&Secret],
        again: Again,
    ) -> Result<Auth, VaultError> {
        let scope = Scope::Everything;
        let ask = Ask { endpoint: &endpoint, question, token: None, secrets, scope, again };
        self.client.ask(&ask, auth).await
    }

    /// Every connection from now on shows `certificate`.
    pub(super) fn show(
        &mut self,
        certificate: &ClientCertificate,
        path: &str,
    ) -> Result<(), VaultError> {
        let unfit = |reason| VaultError::ClientCertificate { path: path.to_owned(), reason };
        self.client.show(Some(certificate)).map_err(unfit)
    }

    /// Connections from now on show no certificate.
    pub(super) fn show_nothing(&mut self) -> Result<(), VaultError> {
        let unfit = |reason| VaultError::ClientCertificate { path: "none".to_owned(), reason };
        self.client.show(None).map_err(unfit)
    }

    fn secret_in(&self, path: &AbsolutePath) -> Result<Secret, VaultError> {
        Ok(read_file(&self.host.real(path.as_str()), path.as_str())?)
    }

    fn certificate_in(&self, path: &AbsolutePath) -> Result<String, VaultError> {
        let unfit =
            |reason: String| VaultError::ClientCertificate { path: path.to_string(), reason };
        let bytes =
            look::read_behind(&self.host.real(path.as_str())).map_err(|e| unfit(e.to_string()))?;
        String::from_utf8(bytes).map_err(|_| unfit("it is no text".to_owned()))
    }
}

/// The content of an answer to a question.
pub(super) fn data<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Fault> {
    let Envelope { data, .. } = answer::read::<Envelope<T>>(answer)?;
    data.ok_or_else(|| Fault::Garbled("the answer has no `data`".to_owned()))
}

/// The content of an answer to a login.
pub(super) fn auth(answer: &Answer) -> Result<Auth, Fault> {
    let Envelope { auth, .. } = answer::read::<Envelope<serde::de::IgnoredAny>>(answer)?;
    let auth = auth.filter(|auth| !auth.client_token.is_empty());
    auth.ok_or_else(|| Fault::Garbled("the answer has no `auth`".to_owned()))
}
