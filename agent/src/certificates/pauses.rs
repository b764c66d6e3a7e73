//! How long something that failed is left alone: twice as long each time, with full jitter, so that many nodes that failed
//! together do not come back together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};

/// What is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Writing files.
    Put,
    /// Telling the consumers, and looking at what they serve.
    Prove,
    /// Having a certificate signed.
    Issue,
}

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(600);

/// The pauses of all certificates.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<(String, Work), Pause>);

#[derive(Debug)]
struct Pause {
    failures: u32,
    until: Instant,
}

impl Pauses {
    /// Whether it may be tried now.
    pub(super) fn may(&self, name: &str, work: Work) -> bool {
        self.0.get(&(name.to_owned(), work)).is_none_or(|pause| pause.until <= Instant::now())
    }

    /// It failed. `until` is when it may be tried again, when that is known.
    pub(super) fn begin(&mut self, name: &str, work: Work, until: Option<Instant>) {
        let pause = self.0.entry((name.to_owned(), work));
        let pause = pause.or_insert_with(|| Pause { failures: 0, until: Instant::now() });
        pause.until =
            until.unwrap_or_else(|| Instant::now() + random_part(longest(pause.failures)));
        pause.failures = pause.failures.saturating_add(1);
    }

    /// It went well.
    pub(super) fn end(&mut self, name: &str, work: Work) {
        // A pause that began meanwhile is one for a reason.
        if self.may(name, work) {
            self.0.remove(&(name.to_owned(), work));
        }
    }

    /// When the next pause ends.
    pub(super) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        self.0.values().map(|pause| pause.until).filter(|until| *until > now).min()
    }
}

/// The longest pause after so many failures before.
fn longest(failures: u32) -> Duration {
    FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST)
}

/// From half of a second up to all of it.
fn random_part(longest: Duration) -> Duration {
    let mut bytes = [0_u8; 4];
    SystemRandom::new().fill(&mut bytes).expect("getrandom(2) gives as much as asked");
    let part = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    longest.mul_f64(part).max(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_and_end() {
        let seconds: Vec<u64> = [0, 1, 2, 8, 9, 40].map(|it| longest(it).as_secs()).to_vec();
        assert_eq!(seconds, [2, 4, 8, 512, 600, 600]);
        let mut pauses = Pauses::default();
        assert!(pauses.may("a", Work::Issue) && pauses.next().is_none());
        pauses.begin("a", Work::Issue, None);
        assert!(
            !pauses.may("a", Work::Issue)
                && pauses.may("a", Work::Prove)
                && pauses.may("b", Work::Issue)
        );
        assert!(pauses.next().unwrap() <= Instant::now() + Duration::from_secs(2));
        pauses.end("a", Work::Issue);
        assert!(!pauses.may("a", Work::Issue), "one that has just begun does not end");
        pauses.begin("a", Work::Issue, Some(Instant::now()));
        pauses.end("a", Work::Issue);
        assert!(pauses.0.is_empty());
    }
}
