//! What the applier says of its rounds: the picture that `bundle status` shows, and how long it waits after a failure.

use std::time::Duration;

use super::{Applier, Stop};
use crate::bundle::api::GRANT;
use crate::bundle::inventory::{self, Stored};
use crate::bundle::numbers::numbers;
use crate::bundle::preflight::Refusal;
use crate::bundle::report::{self, Problem, Row, State};
use crate::metrics;

/// The longest pause after rounds that failed.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// The longest while nobody answers: one that is refused a connection costs nobody much, and is back the sooner.
const MAX_AWAY_RETRY: Duration = Duration::from_secs(2);

impl Applier {
    pub(super) fn failed(&mut self, stop: Stop) -> Duration {
        let is_away = matches!(&stop, Stop::Api(error) if error.is_away());
        let is_overload = matches!(&stop, Stop::Api(error) if error.is_overload());
        if is_away || matches!(stop, Stop::Client(_)) {
            self.api = None;
        }
        if !matches!(stop, Stop::Lost) {
            tracing::debug!(error = %stop, "a round of the bundle ended early");
        }
        match stop {
            Stop::Lost => {
                self.is_fenced = false;
                self.say(State::Standby, "another agent has taken over".to_owned());
            }
            Stop::Api(error) if error.is_away() => {
                self.picture.away = Some(error.to_string());
                self.picture.away_hint = None;
                self.say(State::Away, error.to_string());
            }
            Stop::Client(error) => {
                let text = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                self.picture.away = Some(text.clone());
                self.picture.away_hint = Some(error.hint().to_owned());
                self.say(State::Away, text);
            }
            Stop::Refused(refusals) => {
                self.picture.problems = refusals.iter().map(problem_of).collect();
                let first = refusals.first().map(ToString::to_string).unwrap_or_default();
                self.say(State::Refused, first);
            }
            Stop::Object { key, message } => {
                self.settled_from = None;
                let problem = Problem {
                    object: Some(key.to_string()),
                    message: message.clone(),
                    ..Problem::default()
                };
                self.picture.problems = vec![problem];
                self.say(State::Applying, format!("cannot apply {key}: {message}"));
            }
            Stop::Forbidden { key, message } => {
                self.settled_from = None;
                let refusal = Refusal::Forbidden { key, message };
                self.picture.problems = vec![problem_of(&refusal)];
                self.say(State::Refused, refusal.to_string());
            }
            stop @ (Stop::Api(_) | Stop::Inventory(_)) => {
                let hint = match &stop {
                    Stop::Api(error) if error.is_unauthorized() => Some(GRANT.to_owned()),
                    _ => None,
                };
                self.picture.problems =
                    vec![Problem { message: stop.to_string(), hint, ..Problem::default() }];
                self.say(State::Refused, stop.to_string());
            }
        }
        let pause = self.retry();
        if is_away && !is_overload { pause.min(MAX_AWAY_RETRY) } else { pause }
    }

    /// How long to wait after one more failure.
    pub(super) fn retry(&mut self) -> Duration {
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(MAX_RETRY);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    pub(in crate::bundle) fn say(&mut self, state: State, message: String) {
        if self.picture.state != state {
            tracing::info!(state = ?state, %message, "bundle");
        }
        if !matches!(state, State::Applying | State::Returning | State::Stalled) {
            self.picture.wave = None;
        }
        self.picture.state = state;
        self.picture.message = message;
    }

    /// What the inventory says, for everybody.
    pub(super) fn describe(&mut self, stored: Option<&Stored>) {
        let inventory = stored.map(|stored| &stored.inventory);
        self.picture.committed = inventory.and_then(|it| it.committed.clone());
        self.picture.applying = inventory.and_then(|it| Some(it.trial.as_ref()?.release.clone()));
        self.picture.rejected = inventory.and_then(|it| it.rejected.clone());
        self.picture.contested = inventory.map(|it| it.contested.clone()).unwrap_or_default();
    }

    pub(super) fn standby(&mut self, stored: Option<&Stored>) {
        let entries = stored.map(|it| it.inventory.entries.as_slice()).unwrap_or_default();
        let row = |entry: &inventory::Entry| Row {
            key: entry.key.clone(),
            wave: entry.wave.to_string(),
            status: None,
            message: "is looked at by the node that applies".to_owned(),
        };
        self.picture.objects = entries.iter().map(row).collect();
        self.picture.problems.clear();
        // Whoever applies knows.
        self.picture.succeeded = None;
        let holder = self.picture.holder.clone().unwrap_or_default();
        self.say(State::Standby, format!("{holder} applies the bundle"));
    }

    pub(super) fn publish(&mut self) {
        self.picture.is_holder = self.lease.is_held();
        if self.published.as_ref() == Some(&self.picture) {
            return;
        }
        match report::publish(&self.host, &self.picture) {
            Ok(()) => self.published = Some(self.picture.clone()),
            Err(error) => tracing::debug!(%error, "cannot leave the picture of the bundle"),
        }
        if let Err(error) = metrics::publish_bundle(&self.host, numbers(&self.picture).as_ref()) {
            tracing::debug!(%error, "cannot leave metrics of the bundle for Prometheus");
        }
    }
}

pub(super) fn problem_of(refusal: &Refusal) -> Problem {
    Problem {
        message: refusal.to_string(),
        hint: Some(refusal.hint().to_owned()),
        ..Problem::default()
    }
}
