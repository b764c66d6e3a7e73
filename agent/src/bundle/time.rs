//! Times as the API server writes them.

use std::time::{Duration, SystemTime};

/// Now, as a Lease has it: `2026-11-21T17:00:00.000000Z`.
pub(crate) fn rfc3339_micros() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

/// A moment in seconds since the Unix epoch, as text.
pub(crate) fn rfc3339(unix_seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Reads such a text; nothing when it is none.
pub(crate) fn unix_seconds_of(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(rfc3339(1_795_280_420), "2026-11-21T17:00:20Z");
        assert_eq!(unix_seconds_of("2026-11-21T17:00:20Z"), Some(1_795_280_420));
        assert_eq!(unix_seconds_of("tomorrow"), None);
    }
}
