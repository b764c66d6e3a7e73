//! One question to whichever server can answer it, no sooner than its slot.

use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use rustify::endpoint::Endpoint;

use super::DateSeen;
use super::answer::{self, Verdict, judge};
use super::endpoints::HealthQuestion;
use super::error::{Fault, ServerFault, VaultError};
use super::servers::{Health, Role, Servers};
use super::slots::{Pace, Questions, Slots};
use super::transport::{Anchor, Answer, ClientCertificate, Limits, Request, Transport};
use crate::secret::Secret;

/// Asks Vault.
pub(super) struct Client {
    anchor: Anchor,
    limits: Limits,
    transport: Transport,
    pub(super) servers: Servers,
    /// For Vault as a whole.
    slots: Slots,
    /// For questions that Vault refuses one by one.
    questions: Questions,
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) latency: Option<Duration>,
    pub(super) date: Option<DateSeen>,
    /// What the last failure was, until something goes well.
    pub(super) last_error: Option<LastError>,
}

/// A failure as status tells it.
#[derive(Clone, Debug)]
pub(super) struct LastError {
    pub(super) text: String,
    pub(super) hint: Option<&'static str>,
}

impl LastError {
    pub(super) fn of(error: &VaultError) -> LastError {
        LastError { text: error.to_string(), hint: error.hint() }
    }
}

/// One question.
pub(super) struct Ask<'a, E> {
    pub(super) endpoint: &'a E,
    /// Shown in messages, and by this a question is known when it comes again: method and path, without a secret.
    pub(super) question: String,
    /// Sent along.
    pub(super) token: Option<&'a Secret>,
    /// What else the request holds that nobody may see.
    pub(super) secrets: &'a [&'a Secret],
    /// What waits when it is refused.
    pub(super) scope: Scope,
    /// Whether it may be sent to a second server when the first one left it open.
    pub(super) again: Again,
}

/// What waits when a question is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// This question alone.
    Question,
    /// Everything: without this answer nothing else can be asked.
    Everything,
}

/// Whether a question may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It changes nothing, or nothing that matters.
    Harmless,
    /// It uses something up.
    Never,
}

impl Client {
    pub(super) fn new(
        addresses: &[String],
        anchor: Anchor,
        limits: Limits,
        pace: Pace,
    ) -> Result<Client, String> {
        let transport = Transport::new(&anchor, None, limits)?;
        Ok(Client {
            anchor,
            limits,
            transport,
            servers: Servers::new(addresses),
            slots: Slots::new(pace),
            questions: Questions::new(pace),
            calls: 0,
            failures: 0,
            latency: None,
            date: None,
            last_error: None,
        })
    }

    /// From now on every connection shows this certificate, or none.
    pub(super) fn show(&mut self, certificate: Option<&ClientCertificate>) -> Result<(), String> {
        self.transport = Transport::new(&self.anchor, certificate, self.limits)?;
        Ok(())
    }

    /// The end of the pause for everything.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        self.slots.not_before(now)
    }

    /// The end of the pause for one question, or for everything.
    pub(super) fn not_before_asking(&self, question: &str, now: Instant) -> Option<Instant> {
        let of_question = self.questions.not_before(question, now).map(|(until, _)| until);
        self.slots.not_before(now).max(of_question)
    }

    /// Asks, and gives what `read` finds in the answer of the first server that has one.
    ///
    /// # Errors
    /// Nothing is sent before the slot that a failure opened.
    pub(super) async fn ask<E: Endpoint, T>(
        &mut self,
        ask: &Ask<'_, E>,
        read: impl Fn(&Answer) -> Result<T, Fault>,
    ) -> Result<T, VaultError> {
        let now = Instant::now();
        if let Some(until) = self.slots.not_before(now) {
            let because = self.last_error.as_ref().map(|error| error.text.clone());
            return Err(VaultError::Waiting { until, because: because.unwrap_or_default() });
        }
        if let Some((until, because)) = self.questions.not_before(&ask.question, now) {
            return Err(VaultError::Waiting { until, because: because.to_owned() });
        }
        let outcome = self.walk(ask, read).await;
        let (now, draw) = (Instant::now(), draw());
        match &outcome {
            Ok(_) => {
                self.slots.succeeded();
                self.questions.succeeded(&ask.question);
                self.last_error = None;
            }
            Err(error) => {
                let text = error.to_string();
                let of_all =
                    ask.scope == Scope::Everything || matches!(error, VaultError::NoServer { .. });
                match of_all {
                    true => self.slots.failed(now, error.retry_after(), draw),
                    false => {
                        // Vault as a whole is well: it has just answered.
                        self.slots.succeeded();
                        self.questions.failed(&ask.question, text.clone(), now, draw);
                    }
                }
                self.last_error = Some(LastError::of(error));
            }
        }
        outcome
    }

    /// One turn over the servers, each asked once at most.
    async fn walk<E: Endpoint, T>(
        &mut self,
        ask: &Ask<'_, E>,
        read: impl Fn(&Answer) -> Result<T, Fault>,
    ) -> Result<T, VaultError> {
        let mut faults = Vec::new();
        for index in self.servers.order() {
            if !self.servers.is_usable(index) {
                match self.health(index).await {
                    Ok(role) => self.is(index, role),
                    Err(fault) => {
                        faults.push(self.fails(index, fault));
                        continue;
                    }
                }
            }
            let started = Instant::now();
            let fault = match self.try_one(index, ask, &read).await {
                Ok(content) => {
                    self.latency = Some(started.elapsed());
                    self.servers.is_good(index);
                    return Ok(content);
                }
                Err(Verdict::Server(fault)) => fault,
                Err(Verdict::Denied(messages)) => {
                    self.failures += 1;
                    return Err(VaultError::Denied { what: ask.question.clone(), messages });
                }
                Err(Verdict::Refused { status, messages }) => {
                    self.failures += 1;
                    let what = ask.question.clone();
                    return Err(VaultError::Refused { what, status, messages });
                }
            };
            if let Fault::Limited { .. } = fault {
                // Limits count for the whole cluster, and a server that sets them is well.
                self.failures += 1;
                let address = self.servers.address(index).to_owned();
                faults.push(ServerFault { address, fault });
                break;
            }
            faults.push(self.fails(index, fault));
            if ask.again == Again::Never {
                break;
            }
        }
        Err(VaultError::NoServer { faults })
    }

    async fn try_one<E: Endpoint, T>(
        &mut self,
        index: usize,
        ask: &Ask<'_, E>,
        read: &impl Fn(&Answer) -> Result<T, Fault>,
    ) -> Result<T, Verdict> {
        let secrets: Vec<&Secret> = ask.token.iter().chain(ask.secrets).copied().collect();
        let request = self.request(index, ask.endpoint).map_err(Verdict::Server)?;
        let sent = self.send(index, &ask.question, request, ask.token).await;
        let answer = sent.map_err(Verdict::Server)?;
        judge(&answer, &secrets)?;
        read(&answer).map_err(Verdict::Server)
    }

    async fn health(&mut self, index: usize) -> Result<Role, Fault> {
        let request = self.request(index, &HealthQuestion)?;
        let answer = self.send(index, "GET sys/health", request, None).await?;
        // Each state has a status of its own and the same body.
        let has_body = matches!(answer.status, 200 | 429 | 472 | 473 | 501 | 503);
        let read = match has_body {
            true => answer::read::<Health>(&answer),
            false => Err(Fault::Garbled(format!("health with status {}", answer.status))),
        };
        match read {
            Ok(health) => health.standing(),
            Err(garbled) => Err(match judge(&answer, &[]) {
                Ok(()) => garbled,
                Err(Verdict::Server(fault)) => fault,
                Err(Verdict::Denied(messages)) => Fault::Failing { status: 403, messages },
                Err(Verdict::Refused { status, messages }) => Fault::Failing { status, messages },
            }),
        }
    }

    fn request(&self, index: usize, endpoint: &impl Endpoint) -> Result<Request, Fault> {
        // The error's own text could hold the request.
        endpoint
            .request(self.servers.address(index))
            .map_err(|_| Fault::Garbled("the request cannot be written".to_owned()))
    }

    async fn send(
        &mut self,
        index: usize,
        question: &str,
        request: Request,
        token: Option<&Secret>,
    ) -> Result<Answer, Fault> {
        self.calls += 1;
        let started = Instant::now();
        let sent = self.transport.send(request, token).await;
        let milliseconds = started.elapsed().as_millis() as u64;
        let address = self.servers.address(index);
        match &sent {
            Ok(answer) => {
                tracing::debug!(
                    address,
                    question,
                    status = answer.status,
                    milliseconds,
                    "asked Vault"
                );
                if let Some(date) = answer.date {
                    self.date = Some(DateSeen { date, at: Instant::now() });
                }
            }
            Err(fault) => {
                tracing::debug!(address, question, error = %fault, milliseconds, "asked Vault in vain");
            }
        }
        sent
    }

    fn is(&mut self, index: usize, role: Role) {
        if self.servers.is_back(index) {
            tracing::info!(address = self.servers.address(index), "the Vault server answers again");
        }
        self.servers.is(index, role);
    }

    fn fails(&mut self, index: usize, fault: Fault) -> ServerFault {
        self.failures += 1;
        if self.servers.is_news(index, &fault) {
            let address = self.servers.address(index);
            tracing::warn!(address, error = %fault, hint = fault.hint(), "cannot use a Vault server");
        }
        self.servers.fails(index, fault, Instant::now())
    }
}

/// A random number from 0 to 1.
pub(super) fn draw() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness there would be no TLS either; the middle of the slot is as good as any other moment.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
