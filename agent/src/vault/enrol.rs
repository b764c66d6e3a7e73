//! The node's lasting identity as Vault sees it: the first login, every later one, and its renewal.

use std::time::{Duration, Instant, SystemTime};

use basalt_model::node::{NodeIdentity, WRAPPED_SECRET_ID_PATH};
use vaultrs::api::sys::requests::{UnwrapRequest, WrappingLookupRequest};
use vaultrs::api::sys::responses::WrappingLookupResponse;

use super::answer::Auth;
use super::client::{Again, Ask, Scope};
use super::endpoints::SecretIdSeen;
use super::error::VaultError;
use super::login::data;
use super::report::IdentityReport;
use super::token::Token;
use super::transport::ClientCertificate;
use super::{SignRequest, Vault};
use crate::causes::chain;
use crate::identity::IdentityError;
use crate::identity::certificate::{KeyAndRequest, Validity, check_signed, make_key, validity};
use crate::identity::enrolment::{Record, Refusal, Stage, Step, next};
use crate::identity::seal::{Sealed, Sealer, Vise};
use crate::identity::store::{self, Stored};
use crate::secret::{Secret, SecretFileError, read_file};

/// The names under which secrets are sealed; part of the seal.
const KEY_NAME: &str = "basalt-identity-key";
pub(super) const SECRET_ID_NAME: &str = "basalt-enrolment-secret-id";
pub(super) const TOKEN_NAME: &str = "basalt-enrolment-token";
/// By these words Vault says that a wrapping token is of no use.
const USED_UP: &str = "wrapping token is not valid or does not exist";
/// No deadline is further away.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// An identity that Vault makes so short that half of it is over at once is not renewed more often than this.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// The identity as the agent holds it.
#[derive(Default)]
pub(super) struct Held {
    current: Option<Current>,
    /// Vault refused it; the reason.
    refused: Option<String>,
    /// It is there and cannot be opened.
    unreadable: Option<String>,
    /// The first login cannot be finished.
    failed: Option<String>,
    /// Why secrets lie in the clear.
    in_the_clear: Option<String>,
    /// Vault refused to sign with the token of the first login: is that one still good?
    is_doubtful: bool,
    /// When the identity was renewed, or that was tried.
    tried_at: Option<Instant>,
}

struct Current {
    certificate: ClientCertificate,
    validity: Validity,
    sealed_by: Sealer,
}

impl Vault {
    /// Logs in with the identity, or earns it first.
    pub(super) async fn log_in_as_node(
        &mut self,
        wanted: &NodeIdentity,
    ) -> Result<Token, VaultError> {
        if self.held.current.is_none() {
            self.take_up().await?;
        }
        let can_begin_anew = || -> Result<bool, VaultError> {
            let (record, delivered) = (self.record(), self.delivered()?);
            let fingerprint = delivered.as_ref().map(Secret::fingerprint);
            let step = next(record.as_ref(), fingerprint.as_deref());
            Ok(!matches!(step, Step::Wait | Step::GiveUp(_)))
        };
        let is_refused = self.held.refused.is_some();
        if self.held.current.is_none() || (is_refused && can_begin_anew()?) {
            self.earn(wanted).await?;
        }
        let (mount, role) = (wanted.cert_mount.clone(), wanted.cert_role.clone());
        match self.cert_login(&mount, role.as_deref()).await {
            Ok(auth) => {
                self.held.refused = None;
                self.held.failed = None;
                self.clear_up();
                Ok(self.logged_in(auth))
            }
            Err(error @ (VaultError::Denied { .. } | VaultError::Refused { .. })) => {
                let message = error.to_string();
                let now = self.now();
                let end = self.held.current.as_ref().map(|current| current.validity.not_after);
                let error = IdentityError::Refused {
                    is_over: end.is_some_and(|end| end <= now),
                    message: message.clone(),
                };
                if self.held.refused.as_ref() != Some(&message) {
                    tracing::error!(error = %error, hint = error.hint(), "the node cannot log in");
                }
                self.held.refused = Some(message);
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes up the identity that is kept, if there is one.
    async fn take_up(&mut self) -> Result<(), VaultError> {
        let stored = match store::load(&self.host) {
            Ok(None) => return Ok(()),
            Ok(Some(stored)) => stored,
            Err(reason) => return self.cannot_take_up(reason),
        };
        let key_pem = match Vise::of(&self.host).open(KEY_NAME, &stored.key).await {
            Ok(key) => key,
            Err(error) => return self.cannot_take_up(chain(&error)),
        };
        let validity = match validity(&stored.certificate) {
            Ok(validity) => validity,
            Err(reason) => return self.cannot_take_up(reason),
        };
        let certificate = ClientCertificate { chain_pem: stored.certificate, key_pem };
        if let Err(error) = self.show(&certificate, store::IDENTITY_PATH) {
            return self.cannot_take_up(error.to_string());
        }
        self.held.unreadable = None;
        self.hold(Current { certificate, validity, sealed_by: stored.key.by })
    }

    /// Without the identity there may still be a new first login.
    fn cannot_take_up(&mut self, reason: String) -> Result<(), VaultError> {
        if self.held.unreadable.as_ref() != Some(&reason) {
            let path = store::IDENTITY_PATH;
            tracing::error!(path, error = reason, "the node's identity cannot be used");
        }
        self.held.unreadable = Some(reason);
        Ok(())
    }

    fn hold(&mut self, current: Current) -> Result<(), VaultError> {
        let ClientCertificate { chain_pem, key_pem } = &current.certificate;
        let laid_out = store::lay_out(&self.host, chain_pem, key_pem);
        self.held.current = Some(current);
        Ok(laid_out.map_err(IdentityError::LayOut)?)
    }

    /// The first login, from wherever it was interrupted. Ends with an identity that is kept and taken up.
    async fn earn(&mut self, wanted: &NodeIdentity) -> Result<(), VaultError> {
        self.show_nothing()?;
        loop {
            let delivered = self.delivered()?;
            let fingerprint = delivered.as_ref().map(Secret::fingerprint);
            let record = self.record();
            match (next(record.as_ref(), fingerprint.as_deref()), delivered) {
                (Step::Wait, _) | (Step::Look { .. }, None) => {
                    return Err(match &self.held.unreadable {
                        Some(reason) => {
                            let (path, reason) = (store::IDENTITY_PATH, reason.clone());
                            IdentityError::Unreadable { path, reason }
                        }
                        None => IdentityError::Missing,
                    }
                    .into());
                }
                (Step::GiveUp(refusal), _) => {
                    self.held.failed = Some(refusal.to_string());
                    return Err(IdentityError::Enrolment(refusal.clone()).into());
                }
                (Step::Look { again }, Some(token)) => self.unwrap(wanted, &token, again).await?,
                (Step::LogIn { secret_id }, _) => {
                    let (secret_id, record) = (secret_id.clone(), record.clone());
                    let token = record.map(|record| record.token).unwrap_or_default();
                    self.first_login(wanted, token, secret_id).await?;
                }
                (Step::Sign { secret_id, token }, _) => {
                    let (secret_id, sealed) = (secret_id.clone(), token.clone());
                    let token = record.as_ref().map(|record| record.token.clone());
                    let token = token.unwrap_or_default();
                    if self.first_signature(wanted, token, secret_id, sealed).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Unwraps the token that was delivered, exactly once, after a look at what it wraps.
    async fn unwrap(
        &mut self,
        wanted: &NodeIdentity,
        token: &Secret,
        again: bool,
    ) -> Result<(), VaultError> {
        let ask = Ask {
            endpoint: &WrappingLookupRequest { token: token.expose().to_owned() },
            question: "POST sys/wrapping/lookup".to_owned(),
            token: None,
            secrets: &[token],
            scope: Scope::Everything,
            again: Again::Harmless,
        };
        let looked = self.client.ask(&ask, data::<WrappingLookupResponse>).await;
        let seen = match looked {
            Ok(seen) => seen,
            Err(error) if is_used_up(&error) => {
                let reason = if again { Refusal::Interrupted } else { Refusal::Unknown };
                return self.refuse(token.fingerprint(), reason);
            }
            Err(error) => return Err(error),
        };
        let mount = wanted.app_role_mount.trim_matches('/');
        let expected = format!("auth/{mount}/role/{}/secret-id", wanted.app_role);
        if seen.creation_path != expected {
            let found = super::transport::foreign_text(&token.scrub(&seen.creation_path));
            return self.refuse(token.fingerprint(), Refusal::WrongPath { found, expected });
        }
        // From here on a token that Vault does not know may be one that this node has used.
        self.write_down(token.fingerprint(), Stage::Unwrapping)?;
        let ask = Ask {
            endpoint: &UnwrapRequest { token: None },
            question: "POST sys/wrapping/unwrap".to_owned(),
            token: Some(token),
            secrets: &[],
            scope: Scope::Everything,
            again: Again::Never,
        };
        let unwrapped = self.client.ask(&ask, data::<SecretIdSeen>).await;
        let secret_id = match unwrapped {
            Ok(seen) => seen.secret_id,
            Err(error) if is_used_up(&error) => {
                let reason = if again { Refusal::Interrupted } else { Refusal::Intercepted };
                return self.refuse(token.fingerprint(), reason);
            }
            Err(error) => return Err(error),
        };
        let secret_id = self.seal(SECRET_ID_NAME, &secret_id).await;
        self.write_down(token.fingerprint(), Stage::Unwrapped { secret_id })?;
        tracing::info!("unwrapped the secret for the node's first login");
        store::forget_delivered(&self.host).map_err(IdentityError::Keep)?;
        Ok(())
    }

    async fn first_login(
        &mut self,
        wanted: &NodeIdentity,
        token: String,
        secret_id: Sealed,
    ) -> Result<(), VaultError> {
        let Some(opened) = self.open(SECRET_ID_NAME, &secret_id).await else {
            return self.refuse(token, Refusal::Interrupted);
        };
        let login = self.app_role_login(&wanted.app_role_mount, &wanted.role_id, &opened).await;
        let auth = match login {
            Ok(auth) => auth,
            Err(VaultError::Refused { status: 400, messages, .. }) => {
                let message = messages.join("; ");
                return self.refuse(token, Refusal::SecretId { message });
            }
            Err(error) => return Err(error),
        };
        let Auth { client_token, .. } = auth;
        let sealed = self.seal(TOKEN_NAME, &client_token).await;
        self.held.is_doubtful = false;
        self.write_down(token, Stage::LoggedIn { secret_id, token: sealed })
    }

    /// Has the key signed and keeps the identity. `Ok(false)` when the token was no longer good.
    async fn first_signature(
        &mut self,
        wanted: &NodeIdentity,
        token: String,
        secret_id: Sealed,
        sealed: Sealed,
    ) -> Result<bool, VaultError> {
        let back = Stage::Unwrapped { secret_id };
        let Some(opened) = self.open(TOKEN_NAME, &sealed).await else {
            self.write_down(token, back)?;
            return Ok(false);
        };
        if self.held.is_doubtful {
            match self.token_seen(&opened).await {
                Ok(_) => {}
                Err(VaultError::Denied { .. }) => {
                    self.write_down(token, back)?;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let signed = self.sign_identity(wanted, &opened, Scope::Everything).await;
        if let Err(VaultError::Denied { .. }) = signed {
            self.held.is_doubtful = true;
        }
        let (made, chain_pem, validity) = signed?;
        let certificate = ClientCertificate { chain_pem, key_pem: made.key_pem };
        self.show(&certificate, store::IDENTITY_PATH)?;
        self.keep(certificate, validity).await?;
        self.clear_up();
        Ok(true)
    }

    /// Has a new key signed.
    async fn sign_identity(
        &mut self,
        wanted: &NodeIdentity,
        token: &Secret,
        scope: Scope,
    ) -> Result<(KeyAndRequest, String, Validity), VaultError> {
        let made = make_key(&self.node_name).map_err(IdentityError::Key)?;
        let request = SignRequest {
            mount: wanted.pki_mount.clone(),
            role: wanted.pki_role.clone(),
            csr_pem: made.csr_pem.clone(),
            common_name: self.node_name.clone(),
            alt_names: Vec::new(),
            ttl_hours: wanted.ttl_hours,
            exclude_cn_from_sans: true,
        };
        let signed = self.sign_with(&request, token, scope).await?;
        let validity = check_signed(&made, &signed.certificate).map_err(IdentityError::Signed)?;
        let chain: Vec<&str> =
            [&signed.certificate].into_iter().chain(&signed.chain).map(|pem| pem.trim()).collect();
        Ok((made, chain.join("\n") + "\n", validity))
    }

    /// Keeps an identity, and takes it up.
    async fn keep(
        &mut self,
        certificate: ClientCertificate,
        validity: Validity,
    ) -> Result<(), VaultError> {
        let key = self.seal(KEY_NAME, &certificate.key_pem).await;
        let sealed_by = key.by;
        let stored = Stored::new(certificate.chain_pem.clone(), key);
        store::keep(&self.host, &stored).map_err(IdentityError::Keep)?;
        let not_after = unix_seconds(validity.not_after);
        tracing::info!(not_after, sealed_by = sealed_by.name(), "the node has an identity");
        (self.held.refused, self.held.unreadable, self.held.failed) = (None, None, None);
        self.hold(Current { certificate, validity, sealed_by })
    }

    /// Renews the identity when half of its life is over. The new one logs in before it takes the place of the old one.
    pub(super) async fn renew_identity(
        &mut self,
        wanted: &NodeIdentity,
        token: &Secret,
    ) -> Result<(), VaultError> {
        let due = self.identity_due();
        let (Some(Duration::ZERO), Some(current)) = (due, &self.held.current) else {
            return Ok(());
        };
        self.held.tried_at = Some(Instant::now());
        let old = current.certificate.clone();
        let (made, chain_pem, validity) =
            self.sign_identity(wanted, token, Scope::Question).await?;
        let certificate = ClientCertificate { chain_pem, key_pem: made.key_pem };
        self.show(&certificate, store::IDENTITY_PATH)?;
        let (mount, role) = (wanted.cert_mount.clone(), wanted.cert_role.clone());
        let login = self.cert_login(&mount, role.as_deref()).await;
        match login {
            Ok(auth) => {
                self.keep(certificate, validity).await?;
                // Vault binds a token to the certificate of its login, which is now another one.
                self.token = Some(self.logged_in(auth));
                Ok(())
            }
            Err(error) => {
                self.show(&old, store::IDENTITY_PATH)?;
                tracing::warn!(error = %error, "the renewed identity does not log in; the old one stays");
                Err(error)
            }
        }
    }

    /// How long it takes until the identity is renewed.
    pub(super) fn identity_due(&self) -> Option<Duration> {
        let at = self.held.current.as_ref()?.validity.renew_at();
        let left = at.duration_since(self.now()).unwrap_or_default().min(NEVER);
        let pause = self.held.tried_at.map(|at| RENEWAL_PAUSE.saturating_sub(at.elapsed()));
        Some(left.max(pause.unwrap_or_default()))
    }

    /// The time, by Vault's clock when it has told: a node's own may be wrong after a boot.
    fn now(&self) -> SystemTime {
        match self.client.date {
            Some(seen) => seen.date + Instant::now().saturating_duration_since(seen.at),
            None => SystemTime::now(),
        }
    }

    /// What was written down. A record that cannot be read may have been about any token: each is looked at as if it had
    /// been tried before.
    fn record(&self) -> Option<Record> {
        match store::load_record(&self.host) {
            Ok(record) => record,
            Err(reason) => {
                tracing::warn!(path = store::ENROLMENT_PATH, error = reason, "unreadable record");
                let delivered = self.delivered().ok().flatten()?;
                Some(Record::new(delivered.fingerprint(), Stage::Unwrapping))
            }
        }
    }

    fn delivered(&self) -> Result<Option<Secret>, VaultError> {
        match read_file(&self.host.real(WRAPPED_SECRET_ID_PATH), WRAPPED_SECRET_ID_PATH) {
            Ok(token) => Ok(Some(token)),
            Err(SecretFileError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write_down(&self, token: String, stage: Stage) -> Result<(), VaultError> {
        let record = Record::new(token, stage);
        Ok(store::keep_record(&self.host, &record).map_err(IdentityError::Keep)?)
    }

    /// Writes down that this first login is over, and says so as loudly as it deserves.
    fn refuse(&mut self, token: String, reason: Refusal) -> Result<(), VaultError> {
        self.held.failed = Some(reason.to_string());
        tracing::error!(error = %reason, hint = reason.hint(), alarm = reason.is_alarm(), "no first login");
        self.write_down(token, Stage::Refused { reason: reason.clone() })?;
        Err(IdentityError::Enrolment(reason).into())
    }

    /// The identity is good: nothing of the first login is needed any more.
    fn clear_up(&mut self) {
        self.held.is_doubtful = false;
        let cleared =
            store::forget_delivered(&self.host).and_then(|()| store::forget_record(&self.host));
        if let Err(error) = cleared {
            tracing::warn!(%error, "cannot remove what is left of the first login");
        }
    }

    async fn seal(&mut self, name: &'static str, secret: &Secret) -> Sealed {
        let (sealed, reason) = Vise::of(&self.host).seal(name, secret).await;
        if let Some(reason) = &reason
            && self.held.in_the_clear.is_none()
        {
            tracing::warn!(error = reason, "secrets of the node's identity cannot be sealed");
        }
        self.held.in_the_clear = reason;
        sealed
    }

    async fn open(&self, name: &'static str, sealed: &Sealed) -> Option<Secret> {
        let opened = Vise::of(&self.host).open(name, sealed).await;
        opened
            .inspect_err(|error| {
                tracing::warn!(error = chain(error), "cannot open a sealed secret")
            })
            .ok()
    }

    /// As if half of the identity's life were over.
    #[cfg(test)]
    pub(super) fn age_identity(&mut self) {
        self.held.tried_at = None;
        let life = Duration::from_secs(3600);
        let current = self.held.current.as_mut().unwrap();
        let now = SystemTime::now();
        current.validity = Validity { not_before: now - 2 * life, not_after: now + life };
    }

    pub(super) fn identity_report(&self) -> IdentityReport {
        let held = &self.held;
        let state = match held {
            Held { current: Some(_), refused: Some(_), .. } => "refused",
            Held { current: Some(_), .. } => "good",
            Held { failed: Some(_), .. } => "failed",
            Held { unreadable: Some(_), .. } => "unreadable",
            Held { .. } => "missing",
        };
        let mut report = IdentityReport { state: state.to_owned(), ..IdentityReport::default() };
        let problems = [&held.refused, &held.failed, &held.unreadable];
        report.warnings = problems.into_iter().flatten().cloned().collect();
        if let Some(current) = &held.current {
            report.not_after_unix_seconds = Some(unix_seconds(current.validity.not_after));
            report.renew_at_unix_seconds = Some(unix_seconds(current.validity.renew_at()));
            report.sealed_by = Some(current.sealed_by.name().to_owned());
            if current.sealed_by == Sealer::File {
                let reason = held.in_the_clear.as_deref().unwrap_or("it could not be sealed");
                report.warnings.push(format!("the key lies in the clear in a file: {reason}"));
            }
        }
        report
    }
}

fn is_used_up(error: &VaultError) -> bool {
    matches!(error, VaultError::Refused { status: 400, messages, .. }
        if messages.iter().any(|message| message.contains(USED_UP)))
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
