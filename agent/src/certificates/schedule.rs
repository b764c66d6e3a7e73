//! When a certificate is renewed, and when a renewed one is taken into use. Pure.
//!
//! A certificate says for how long Vault may be away. So it is renewed while at least that much of its life is left: at its
//! *floor* at the latest. Nodes that were given theirs at the same moment must not come back at the same moment, so each
//! one comes at a point of its own in the second half of the time up to the floor. The point follows from the identity of
//! the machine: it is the same after a restart, and no clock or chance moves it.

use basalt_model::node::ActivationWindow;
use sha2::{Digest as _, Sha256};

use super::time::{DAY, MINUTE, UnixSeconds, span};

/// A certificate that lives shorter than was asked by no more than this is what was asked: Vault counts from the moment it
/// is asked, and lets certificates begin half a minute earlier.
const TOLERANCE: i64 = 5 * MINUTE;
/// This part of a certificate's life, its last tenth, is never waited into for an activation window.
const MARGIN_DIVISOR: i64 = 10;

/// What the schedule follows from. All spans in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) not_before: UnixSeconds,
    pub(crate) not_after: UnixSeconds,
    /// The life that Vault was asked for.
    pub(crate) asked: i64,
    /// How long Vault may be away.
    pub(crate) survive: i64,
}

/// When a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The moment for this node.
    pub(crate) renew_at: UnixSeconds,
    /// The floor: the last moment for any node.
    pub(crate) renew_by: UnixSeconds,
    /// How long Vault may be away from then on.
    pub(crate) survives: i64,
}

impl Schedule {
    /// Works it out. `place` is the node's place among all, see [`place`].
    pub(crate) fn of(terms: Terms, place: Place) -> Schedule {
        let life = (terms.not_after - terms.not_before).max(0);
        let survives = survives(terms, life);
        let renew_by = terms.not_after - survives;
        // Half of the time up to the floor, in which the nodes come one after the other.
        let spread = (life - survives) / 2;
        Schedule { renew_at: renew_by - place.of(spread), renew_by, survives }
    }
}

impl Terms {
    /// What to tell people when Vault gave a shorter life than it was asked for.
    pub(crate) fn remark(&self) -> Option<String> {
        let life = (self.not_after - self.not_before).max(0);
        let survives = survives(*self, life);
        let is_short = life + TOLERANCE < self.asked;
        is_short.then(|| {
            let kept = match survives < self.survive {
                true => format!(
                    "it survives {} without Vault instead of {}",
                    span(survives),
                    span(self.survive)
                ),
                false => format!("it survives {} without Vault all the same", span(survives)),
            };
            format!("Vault gave a life of {} instead of {}; {kept}", span(life), span(self.asked))
        })
    }
}

/// How long Vault may be away. With less life than was asked for, what was promised is kept as far as half of the life goes;
/// beyond that, the promise shrinks as the life did. Otherwise a short life would be one renewal after the other.
fn survives(terms: Terms, life: i64) -> i64 {
    let promised = terms.survive.clamp(0, life);
    if life + TOLERANCE >= terms.asked {
        return promised;
    }
    let share = i128::from(terms.survive) * i128::from(life) / i128::from(terms.asked.max(1));
    let share = i64::try_from(share).unwrap_or(life);
    promised.min(share.max(life / 2))
}

/// A node's place among all that renew, from 0 up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place(u32);

impl Place {
    fn of(self, spread: i64) -> i64 {
        let part = i128::from(spread) * i128::from(self.0) / i128::from(u32::MAX);
        i64::try_from(part).expect("it is no more than the whole")
    }
}

/// The place of one certificate of one machine: as good as random, and always the same.
pub(crate) fn place(machine: &str, certificate: &str) -> Place {
    let digest =
        Sha256::new().chain_update(machine).chain_update([0]).chain_update(certificate).finalize();
    Place(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// When a certificate that was signed at `ready` is taken into use: in its window, but never in the last tenth of the life
/// of the one in use, which began at `in_use.0` and ends at `in_use.1`.
pub(crate) fn activate_at(
    window: Option<&ActivationWindow>,
    ready: UnixSeconds,
    in_use: (UnixSeconds, UnixSeconds),
) -> UnixSeconds {
    let Some(window) = window else { return ready };
    let last = in_use.1 - (in_use.1 - in_use.0).max(0) / MARGIN_DIVISOR;
    opens_at(window, ready).min(last).max(ready)
}

/// The first moment from `from` on that is in the window.
fn opens_at(window: &ActivationWindow, from: UnixSeconds) -> UnixSeconds {
    let minute = |time: &basalt_model::names::TimeOfDay| i64::from(time.minutes()) * MINUTE;
    let (opens, closes) = (minute(&window.from), minute(&window.until));
    let time = from.rem_euclid(DAY);
    let is_open = match opens <= closes {
        true => (opens..closes).contains(&time),
        // It passes midnight.
        false => time >= opens || time < closes,
    };
    match is_open {
        true => from,
        false => from + (opens - time).rem_euclid(DAY),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::certificates::time::HOUR;

    fn terms(life: i64, asked: i64, survive: i64) -> Terms {
        Terms {
            not_before: 0,
            not_after: life * HOUR,
            asked: asked * HOUR,
            survive: survive * HOUR,
        }
    }

    #[test]
    fn the_floor_follows_from_the_outage() {
        for (life, asked, survive, floor, remark) in [
            (720, 720, 360, 360, None),
            (720, 720, 24, 696, None),
            (720, 720, 719, 1, None),
            // More than was asked for.
            (1000, 720, 360, 640, None),
            // Less: kept as far as half of the life goes.
            (
                600,
                720,
                200,
                400,
                Some(
                    "Vault gave a life of 25 d 0 h instead of 30 d 0 h; it survives 8 d 8 h without Vault all the same",
                ),
            ),
            (100, 720, 360, 50, Some("it survives 2 d 2 h without Vault instead of 15 d 0 h")),
            (100, 720, 700, 2, Some("it survives 4 d 1 h without Vault instead of 29 d 4 h")),
        ] {
            let terms = terms(life, asked, survive);
            let schedule = Schedule::of(terms, Place(0));
            assert_eq!(schedule.renew_by / HOUR, floor, "{life} {asked} {survive}");
            assert_eq!(schedule.renew_at, schedule.renew_by, "the last of all comes at the floor");
            assert_eq!(
                Schedule::of(terms, Place(u32::MAX)).renew_at,
                schedule.renew_by - (life * HOUR - schedule.survives) / 2
            );
            match (terms.remark(), remark) {
                (None, None) => {}
                (Some(seen), Some(wanted)) => assert!(seen.contains(wanted), "{seen}"),
                (seen, _) => panic!("{seen:?}"),
            }
        }
        // Half a minute less is what Vault always does.
        let half_a_minute_less = Terms { not_before: 30, ..terms(720, 720, 360) };
        assert_eq!(half_a_minute_less.remark(), None);
    }

    proptest! {
        #[test]
        fn never_past_the_floor(life in 0..100_000_i64, asked in 1..100_000_i64, survive in 0..100_000_i64, place in any::<u32>()) {
            let terms = terms(life, asked, survive);
            let schedule = Schedule::of(terms, Place(place));
            prop_assert!(schedule.renew_at <= schedule.renew_by);
            prop_assert!(0 <= schedule.renew_at && schedule.renew_by <= terms.not_after);
            prop_assert_eq!(schedule.renew_by + schedule.survives, terms.not_after);
            prop_assert!(schedule.survives <= terms.survive);
            if life >= asked {
                prop_assert_eq!(schedule.survives, terms.survive.min(terms.not_after));
            } else {
                prop_assert!(schedule.survives >= terms.survive.min(terms.not_after / 2));
            }
        }

        #[test]
        fn activated_in_the_window_or_at_the_last_moment(
            from in 0..1440_u16, until in 0..1440_u16, ready in 0..1_000_000_i64, life in 1..1_000_000_i64, begun in -1_000_000..0_i64
        ) {
            let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60).parse().unwrap();
            let window = ActivationWindow { from: time(from), until: time(until) };
            let in_use = (begun, begun + life);
            let at = activate_at(Some(&window), ready, in_use);
            let last = in_use.1 - life / 10;
            prop_assert!(at >= ready);
            prop_assert!(at <= last.max(ready));
            prop_assert!(at <= ready + DAY);
            if at != last && at != ready {
                prop_assert_eq!(opens_at(&window, at), at);
            }
        }
    }

    #[test]
    fn windows_open_every_day() {
        let window = |from: &str, until: &str| ActivationWindow {
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
        };
        let at = |hours: i64, minutes: i64| hours * HOUR + minutes * MINUTE;
        let life = (0, 30 * DAY);
        for (from, until, ready, expected) in [
            ("02:00", "04:00", at(1, 0), at(2, 0)),
            ("02:00", "04:00", at(3, 59), at(3, 59)),
            ("02:00", "04:00", at(4, 0), at(26, 0)),
            ("22:00", "02:00", at(1, 0), at(1, 0)),
            ("22:00", "02:00", at(2, 0), at(22, 0)),
            ("22:00", "02:00", at(23, 30), at(23, 30)),
        ] {
            assert_eq!(
                activate_at(Some(&window(from, until)), ready, life),
                expected,
                "{from} {until} {ready}"
            );
        }
        assert_eq!(activate_at(None, 7, life), 7);
        // The last tenth of a short life is not waited into.
        assert_eq!(
            activate_at(Some(&window("02:00", "04:00")), at(5, 0), (0, at(10, 0))),
            at(9, 0)
        );
        assert_eq!(activate_at(Some(&window("02:00", "04:00")), at(5, 0), (0, at(5, 0))), at(5, 0));
    }

    /// Ten thousand nodes that were installed in the same minute: the first renewals, and the load over years.
    #[test]
    fn a_fleet_spreads() {
        const NODES: usize = 10_000;
        const SLOTS: usize = 60;
        let places: Vec<Place> =
            (0..NODES).map(|node| place(&format!("{:032x}", node * 7919), "ingress")).collect();
        let terms_from = |start: i64| Terms {
            not_before: start,
            not_after: start + 720 * HOUR,
            asked: 720 * HOUR,
            survive: 360 * HOUR,
        };
        let ratio = |slots: &[u32]| {
            let mean = f64::from(slots.iter().sum::<u32>()) / slots.len() as f64;
            f64::from(*slots.iter().max().unwrap()) / mean
        };
        let mut first = vec![0_u32; SLOTS];
        let mut all: Vec<i64> = Vec::new();
        let end = 3 * 365 * DAY;
        for place in &places {
            let mut start = 0;
            let mut is_first = true;
            while start < end {
                let schedule = Schedule::of(terms_from(start), *place);
                assert!(schedule.renew_at <= schedule.renew_by, "past its floor");
                if is_first {
                    let window = 180 * HOUR;
                    let slot = (schedule.renew_at - (schedule.renew_by - window)) * SLOTS as i64
                        / (window + 1);
                    first[usize::try_from(slot).unwrap()] += 1;
                    is_first = false;
                }
                start = schedule.renew_at;
                all.push(start);
            }
        }
        // The wave of the first renewals is measured by itself.
        let from = 360 * HOUR;
        let slot_length = 12 * HOUR;
        let mut slots = vec![0_u32; usize::try_from((end - from) / slot_length).unwrap()];
        for renewal in all.iter().filter(|&&at| at >= from) {
            if let Some(slot) =
                slots.get_mut(usize::try_from((renewal - from) / slot_length).unwrap())
            {
                *slot += 1;
            }
        }
        println!(
            "{NODES} nodes issued in one moment, life 720 h, outage 360 h: peak/mean {:.2} over the 180 h of the first renewals (slots of 3 h), \
             {:.2} over the rest of 3 years (slots of 12 h), none past its floor, {:.2} renewals per node and month",
            ratio(&first),
            ratio(&slots),
            all.len() as f64 / NODES as f64 / 36.5
        );
        assert!(ratio(&first) <= 1.5, "{}", ratio(&first));
        assert!(ratio(&slots) <= 1.5, "{}", ratio(&slots));
    }
}
