//! Whether the node's clock may be believed: takes what several witnesses say, gives a verdict, touches nothing.
//!
//! A certificate is called expired, or not yet valid, only while the verdict is [`ClockState::Good`]. Witnesses are the
//! [`floor`] (it cannot be earlier than what already lies on the node), the kernel's own word that somebody keeps the clock
//! in time (chrony; asked in [`kernel`]), and the `Date` of Vault's last answer. [`steps`] wakes whoever waits when the clock
//! is set.

pub(crate) mod floor;
pub(crate) mod kernel;
pub(crate) mod steps;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub(crate) use self::floor::Floor;

/// How far the clock may be from Vault's. Certificates live for hours at least; the way to Vault and back, and a `Date`
/// without fractions, take seconds.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(120);
/// For how long an answer of Vault is a witness: as long as a clock without help stays within the tolerance, and to spare.
pub(crate) const VAULT_DATE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What time it is; the system's clock, or a test's.
pub(crate) trait Clock {
    /// Seconds since the Unix epoch; negative before it.
    fn unix_seconds(&self) -> i64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn unix_seconds(&self) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => seconds(after),
            Err(before) => -seconds(before.duration()),
        }
    }
}

/// The `Date` of an answer of Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VaultDate {
    /// What it said, in seconds since the Unix epoch.
    pub(crate) unix_seconds: i64,
    /// How long ago that was, by a clock that nobody sets.
    pub(crate) age: Duration,
}

/// What the witnesses say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witnesses {
    /// The node's clock.
    pub(crate) now: i64,
    pub(crate) floor: Floor,
    /// Whether the kernel's clock is kept in time; `None` when nobody can say.
    pub(crate) is_synchronised: Option<bool>,
    /// Vault's word; absent until it has answered since the start.
    pub(crate) vault: Option<VaultDate>,
}

/// Whether the clock may be believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum ClockState {
    /// It may.
    Good {
        /// Who says so.
        by: String,
    },
    /// It may not, or not yet: nothing is called expired.
    Unsure {
        /// Why.
        reason: String,
    },
}

impl ClockState {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, ClockState::Good { .. })
    }
}

/// Judges the clock. Pure.
pub(crate) fn judge(seen: &Witnesses) -> ClockState {
    let unsure = |reason: String| ClockState::Unsure { reason };
    let good = |by: &str| ClockState::Good { by: by.to_owned() };
    if seen.now < seen.floor.unix_seconds {
        return unsure(format!(
            "it is {} behind {}",
            spoken(seen.floor.unix_seconds - seen.now),
            seen.floor.source
        ));
    }
    let vault = seen.vault.filter(|vault| vault.age <= VAULT_DATE_LIFE);
    if let Some(vault) = vault {
        let age = i64::try_from(vault.age.as_secs()).unwrap_or(i64::MAX);
        let off = seen.now.saturating_sub(vault.unix_seconds.saturating_add(age));
        if off.unsigned_abs() <= TOLERANCE.as_secs() {
            return good("Vault");
        }
        let side = if off > 0 { "ahead of" } else { "behind" };
        return unsure(format!("it is {} {side} Vault's", spoken(off)));
    }
    match seen.is_synchronised {
        Some(true) => good("the kernel, which a time server keeps in time"),
        Some(false) => unsure("no time server has been reached, and Vault has not answered".into()),
        None => {
            unsure("nobody can say whether it is synchronised, and Vault has not answered".into())
        }
    }
}

/// The time by which TLS certificates of others are held: what the clock says, but never before the floor. So a clock
/// that starts in 1970 does not keep the node from the time it would learn from Vault.
pub(crate) fn time_for_tls(now: i64, floor: &Floor) -> i64 {
    now.max(floor.unix_seconds)
}

/// What may be said of the end of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Within its life.
    Valid,
    /// Its life has not begun.
    NotYetValid,
    /// Its life is over.
    Expired,
    /// The clock says it is not within its life, and may be wrong.
    Unknown,
}

/// Holds a life against the clock. Pure.
pub(crate) fn standing(not_before: i64, not_after: i64, now: i64, clock: &ClockState) -> Standing {
    match clock {
        _ if (not_before..=not_after).contains(&now) => Standing::Valid,
        ClockState::Unsure { .. } => Standing::Unknown,
        // Issued this very moment by a clock a little ahead.
        ClockState::Good { .. } if now < not_before => {
            let ahead = (not_before - now).unsigned_abs();
            if ahead <= TOLERANCE.as_secs() { Standing::Valid } else { Standing::NotYetValid }
        }
        ClockState::Good { .. } => Standing::Expired,
    }
}

/// Seconds as a person would say them.
fn spoken(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    /// 2026-01-01.
    const BUILD: i64 = 1_767_225_600;

    fn witnesses(now: i64, is_synchronised: Option<bool>, vault: Option<(i64, u64)>) -> Witnesses {
        let floor = Floor { unix_seconds: BUILD, source: "the day of the image".into() };
        let date = |(unix_seconds, age)| VaultDate { unix_seconds, age: Duration::from_secs(age) };
        Witnesses { now, floor, is_synchronised, vault: vault.map(date) }
    }

    #[track_caller]
    fn check(now: i64, is_synchronised: Option<bool>, vault: Option<(i64, u64)>, expected: &str) {
        let found = match judge(&witnesses(now, is_synchronised, vault)) {
            ClockState::Good { by } => format!("good: {by}"),
            ClockState::Unsure { reason } => format!("unsure: {reason}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn verdicts() {
        let now = BUILD + 100 * DAY;
        // A machine that woke up in 2001, and one in 2040.
        let in_2001 = 978_307_200;
        for (synchronised, vault) in [(Some(true), None), (None, Some((in_2001, 0))), (None, None)]
        {
            check(
                in_2001,
                synchronised,
                vault,
                "unsure: it is 9131 days behind the day of the image",
            );
        }
        let in_2040 = 2_208_988_800;
        check(in_2040, None, Some((now, 0)), "unsure: it is 5013 days ahead of Vault's");
        check(in_2040, Some(true), Some((now, 0)), "unsure: it is 5013 days ahead of Vault's");

        check(now, None, Some((now, 0)), "good: Vault");
        check(now, Some(false), Some((now - 3600 + 60, 3600)), "good: Vault");
        check(now, Some(false), Some((now, 3600)), "unsure: it is 60 min behind Vault's");
        check(now, Some(false), Some((now - 120, 0)), "good: Vault");
        check(now, Some(false), Some((now - 121, 0)), "unsure: it is 2 min ahead of Vault's");
        let kernel = "good: the kernel, which a time server keeps in time";
        check(now, Some(true), None, kernel);
        // Too long ago to say anything.
        check(now, Some(true), Some((now - 3 * DAY, 0)), "unsure: it is 3 days ahead of Vault's");
        check(now, Some(true), Some((now - 3 * DAY, 2 * 86_400)), kernel);
        check(
            now,
            Some(false),
            None,
            "unsure: no time server has been reached, and Vault has not answered",
        );
        check(
            now,
            None,
            None,
            "unsure: nobody can say whether it is synchronised, and Vault has not answered",
        );
    }

    /// A clock that a test sets, as an operator would.
    struct Faked(std::cell::Cell<i64>);

    impl Clock for Faked {
        fn unix_seconds(&self) -> i64 {
            self.0.get()
        }
    }

    #[test]
    fn nothing_is_expired_by_a_clock_that_may_be_wrong() {
        let clock = Faked(std::cell::Cell::new(0));
        let (from, until) = (BUILD + 10 * DAY, BUILD + 40 * DAY);
        let life = |is_synchronised| {
            let now = clock.unix_seconds();
            standing(from, until, now, &judge(&witnesses(now, is_synchronised, None)))
        };
        for (now, is_synchronised, expected) in [
            (978_307_200, Some(true), Standing::Unknown),
            (2_208_988_800, Some(false), Standing::Unknown),
            (2_208_988_800, None, Standing::Unknown),
            (2_208_988_800, Some(true), Standing::Expired),
            (BUILD + DAY, Some(true), Standing::NotYetValid),
            (BUILD + DAY, None, Standing::Unknown),
            (from - 100, Some(true), Standing::Valid),
            (from + DAY, None, Standing::Valid),
            (until, Some(true), Standing::Valid),
            (until + 1, Some(true), Standing::Expired),
        ] {
            clock.0.set(now);
            assert_eq!(life(is_synchronised), expected, "{now} {is_synchronised:?}");
        }
        assert!(SystemClock.unix_seconds() > BUILD);
        let floor = witnesses(0, None, None).floor;
        assert_eq!((time_for_tls(0, &floor), time_for_tls(BUILD + 1, &floor)), (BUILD, BUILD + 1));
    }

    proptest::proptest! {
        /// Whatever the witnesses say: a clock before the floor is never believed, and without a believed clock nothing is
        /// called over or early.
        #[test]
        fn no_verdict_without_a_clock(now in -DAY..3_000_000_000_i64, synchronised: Option<bool>,
            vault: Option<(u32, u32)>, from in 0..3_000_000_000_i64, life in 0..400 * DAY) {
            let vault = vault.map(|(date, age)| (i64::from(date), u64::from(age)));
            let clock = judge(&witnesses(now, synchronised, vault));
            proptest::prop_assert!(now >= BUILD || !clock.is_good());
            let found = standing(from, from + life, now, &clock);
            if !clock.is_good() {
                proptest::prop_assert!(matches!(found, Standing::Valid | Standing::Unknown));
            }
        }
    }
}
