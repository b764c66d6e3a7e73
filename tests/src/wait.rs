//! Waiting for a state, with a time limit. Never for a pause: a pause is too long on one machine and too short on the
//! next.

use std::thread;
use std::time::{Duration, Instant};

/// How often a state is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// The state did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s for {what}", limit.as_secs_f32())]
pub struct TimedOut {
    what: String,
    limit: Duration,
}

/// Calls `look` until it gives something, at most for `limit`; `what` is waited for, as the end of "waited for …".
/// `look` is called at least once, and once more when time is up: a machine that stood still is not too late.
///
/// # Errors
/// [`TimedOut`] names `what`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + limit;
    loop {
        let is_last = Instant::now() >= end;
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if is_last {
            return Err(TimedOut { what: what.to_owned(), limit });
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_time_is_given() {
        let mut looks = 0;
        let seen = until("three looks", Duration::from_secs(10), || {
            looks += 1;
            (looks == 3).then_some("seen")
        });
        assert_eq!(seen.unwrap(), "seen");
    }

    #[test]
    fn what_does_not_come_is_named() {
        let mut looks = 0;
        let seen = until("the moon", Duration::from_millis(50), || {
            looks += 1;
            None::<()>
        });
        assert_eq!(seen.unwrap_err().to_string(), "waited 0.05 s for the moon");
        assert!(looks >= 2);
    }
}
