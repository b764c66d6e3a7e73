//! The token that a login gives, and when it is renewed: pure.

use std::time::{Duration, Instant};

use super::answer::Auth;
use crate::secret::Secret;

/// A token is renewed at this part of its life.
const RENEW_AT: f64 = 2.0 / 3.0;
/// And this part of that earlier at most, so that nodes which started together do not ask together.
const SPREAD: f64 = 0.2;

/// A server that names a longer life is taken for this one.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// One that would have to be renewed more often is used to its end instead.
const SHORTEST_RENEWAL: Duration = Duration::from_secs(5);

/// What Vault gave for a login.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    /// `None` for one that never ends.
    life: Option<Life>,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    length: Duration,
    end: Instant,
    /// `None` when it cannot be renewed.
    renew_at: Option<Instant>,
}

impl Token {
    /// `draw` is a random number from 0 to 1.
    pub(super) fn new(auth: Auth, now: Instant, draw: f64) -> Token {
        let Auth { client_token, lease_duration, renewable } = auth;
        let length = Duration::from_secs(lease_duration).min(LONGEST_LIFE);
        let pause = length.mul_f64(RENEW_AT * (1.0 - SPREAD * draw));
        let is_renewed = renewable && pause >= SHORTEST_RENEWAL;
        let life = (lease_duration > 0).then(|| Life {
            length,
            end: now + length,
            renew_at: is_renewed.then(|| now + pause),
        });
        Token { secret: client_token, life }
    }

    /// The token as it is after a renewal. Near its largest life Vault gives less each time: then that is the last one, or
    /// the renewals would follow each other faster and faster.
    pub(super) fn renewed(&self, auth: Auth, now: Instant, draw: f64) -> Token {
        let mut token = Token::new(auth, now, draw);
        if let (Some(before), Some(after)) = (self.life, &mut token.life)
            && after.length < before.length / 2
        {
            after.renew_at = None;
        }
        token
    }

    /// How long it is still good for; `None` for one that never ends.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.life.map(|life| life.end.saturating_duration_since(now))
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.left(now) == Some(Duration::ZERO)
    }

    /// Whether it is time to renew it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.renew_at().is_some_and(|at| at <= now)
    }

    /// When it is renewed.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.life.and_then(|life| life.renew_at)
    }

    /// When there is something to do about it: it is renewed, or a new login is made when it has ended.
    pub(super) fn next(&self) -> Option<Instant> {
        self.life.map(|life| life.renew_at.unwrap_or(life.end))
    }

    /// Vault would not renew it any more; it is used to its end.
    pub(super) fn cannot_be_renewed(&mut self) {
        if let Some(life) = &mut self.life {
            life.renew_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(lease_duration: u64, renewable: bool, now: Instant, draw: f64) -> Token {
        Token::new(Auth { client_token: Secret::default(), lease_duration, renewable }, now, draw)
    }

    #[test]
    fn a_token_is_renewed_before_two_thirds_of_its_life() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        for (draw, expected) in [(0.0, 600), (0.5, 540), (1.0, 480)] {
            let token = token(900, true, now, draw);
            let at = token.renew_at().unwrap().duration_since(now);
            assert_eq!(at.as_secs_f64().round() as u64, expected);
            assert!(!token.is_due(now + at - seconds(1)) && token.is_due(now + at));
            assert!(!token.is_over(now + seconds(899)) && token.is_over(now + seconds(900)));
        }
        let fixed = token(900, false, now, 0.0);
        assert!(!fixed.is_due(now + seconds(899)));
        assert_eq!(fixed.next(), Some(now + seconds(900)));
        assert_eq!(token(7, true, now, 0.0).renew_at(), None);
        let root = token(0, false, now, 0.0);
        assert_eq!((root.left(now), root.next(), root.is_over(now)), (None, None, false));
    }

    #[test]
    fn the_last_renewals_do_not_follow_each_other_faster_and_faster() {
        let now = Instant::now();
        let first = token(900, true, now, 0.0);
        let again = |lease_duration| {
            let auth = Auth { client_token: Secret::default(), lease_duration, renewable: true };
            first.renewed(auth, now, 0.0).renew_at()
        };
        assert!(again(900).is_some() && again(450).is_some());
        assert_eq!(again(449), None);
    }
}
