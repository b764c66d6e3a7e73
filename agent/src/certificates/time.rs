//! Moments and spans, in whole seconds, and how people read them. Pure.

use std::time::{Duration, SystemTime};

/// Seconds since the Unix epoch.
pub(crate) type UnixSeconds = i64;

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The moment in seconds; before the epoch it is negative.
pub(crate) fn seconds(time: SystemTime) -> UnixSeconds {
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

/// The moment as `2026-11-21T17:00:00Z`.
pub(crate) fn moment(time: UnixSeconds) -> String {
    let after = Duration::from_secs(time.max(0).cast_unsigned());
    // Four digits of a year are all that the notation has.
    let last = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + after.min(last)).to_string()
}

/// A span as `3 d 4 h`: its two largest units.
pub(crate) fn span(seconds: i64) -> String {
    let left = seconds.max(0);
    match (left / DAY, left % DAY / HOUR, left % HOUR / MINUTE, left % MINUTE) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, _) => format!("{minutes} min"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_them() {
        for (seconds, expected) in [
            (-5, "0 s"),
            (59, "59 s"),
            (61, "1 min"),
            (3600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
            (360 * HOUR, "15 d 0 h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_795_000_000), "2026-11-18T11:06:40Z");
        assert_eq!(moment(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(seconds(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), -5);
    }
}
