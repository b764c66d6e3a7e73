//! When a question that failed may be asked again: time is cut into slots, each twice as long as the one before, with one
//! call at a random moment of each.
//!
//! A fleet that lost its Vault therefore asks rarely, evenly, and a bounded number of times, whatever the dice say: the
//! moments are drawn over the whole slot ("full jitter"), and the next slot begins where this one ends, not where the call
//! was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Length of the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The first one after a failure.
    pub(crate) first: Duration,
    /// None is longer.
    pub(crate) longest: Duration,
}

impl Pace {
    /// A Vault that restarts is back at once; one that is away for hours is asked every five minutes.
    pub(crate) const STANDARD: Pace =
        Pace { first: Duration::from_secs(1), longest: Duration::from_secs(300) };
}

/// The slots of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    pace: Pace,
    /// The slot that follows the last failure; `None` when the last call went well.
    slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    begin: Instant,
    length: Duration,
    /// The moment of its call.
    call: Instant,
}

impl Slots {
    pub(crate) fn new(pace: Pace) -> Slots {
        Slots { pace, slot: None }
    }

    /// The moment before which nothing is asked; `None` when it has come.
    pub(crate) fn not_before(&self, now: Instant) -> Option<Instant> {
        self.slot.map(|slot| slot.call).filter(|call| *call > now)
    }

    /// The call of this slot was made and failed. `retry_after` is how long the server wants to be left alone, `draw` a
    /// random number from 0 to 1.
    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>, draw: f64) {
        let (end, length) = match self.slot {
            None => (now, self.pace.first),
            Some(slot) => (slot.begin + slot.length, slot.length.saturating_mul(2)),
        };
        let length = length.min(self.pace.longest);
        let begin = end.max(now + retry_after.unwrap_or_default());
        let call = begin + length.mul_f64(draw.clamp(0.0, 1.0));
        self.slot = Some(Slot { begin, length, call });
    }

    /// A call went well.
    pub(crate) fn succeeded(&mut self) {
        self.slot = None;
    }

    /// Whether the last call failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.slot.is_some()
    }
}

/// The slots of questions that Vault refuses one by one, so that a wrong one does not hold up the others.
#[derive(Debug)]
pub(crate) struct Questions {
    pace: Pace,
    failing: BTreeMap<String, (Slots, String)>,
}

/// More questions than any node has: beyond it the one that waits the least is forgotten.
const MAX_QUESTIONS: usize = 1000;

impl Questions {
    pub(crate) fn new(pace: Pace) -> Questions {
        Questions { pace, failing: BTreeMap::new() }
    }

    /// Until when `question` waits, and what Vault said to it last.
    pub(crate) fn not_before(&self, question: &str, now: Instant) -> Option<(Instant, &str)> {
        let (slots, because) = self.failing.get(question)?;
        slots.not_before(now).map(|until| (until, because.as_str()))
    }

    /// `question` was refused.
    pub(crate) fn failed(&mut self, question: &str, because: String, now: Instant, draw: f64) {
        if self.failing.len() >= MAX_QUESTIONS && !self.failing.contains_key(question) {
            let soonest = self.failing.iter().min_by_key(|(_, (slots, _))| slots.not_before(now));
            if let Some(name) = soonest.map(|(name, _)| name.clone()) {
                self.failing.remove(&name);
            }
        }
        let entry = self
            .failing
            .entry(question.to_owned())
            .or_insert_with(|| (Slots::new(self.pace), String::new()));
        entry.0.failed(now, None, draw);
        entry.1 = because;
    }

    /// `question` got its answer.
    pub(crate) fn succeeded(&mut self, question: &str) {
        self.failing.remove(question);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace() -> impl Strategy<Value = Pace> {
        (1u64..5000, 1u64..400).prop_map(|(first, times)| Pace {
            first: Duration::from_millis(first),
            longest: Duration::from_millis(first * times),
        })
    }

    /// How many slots fit into `span`, however the calls fall.
    fn most_calls(pace: Pace, span: Duration) -> usize {
        let (mut end, mut length, mut count) = (Duration::ZERO, pace.first, 1);
        while end <= span {
            count += 1;
            end += length.min(pace.longest);
            length = length.saturating_mul(2);
        }
        count
    }

    proptest! {
        /// A caller as greedy as can be, at a server that always fails.
        #[test]
        fn at_most_one_call_per_slot(
            pace in pace(),
            draws in prop::collection::vec(0.0f64..=1.0, 1..60),
            late in prop::collection::vec(0u64..20_000, 60),
        ) {
            let start = Instant::now();
            let mut slots = Slots::new(pace);
            let mut now = start;
            let mut seen: Vec<(Instant, Instant)> = Vec::new();
            for (draw, late) in draws.iter().zip(late) {
                if let Some(slot) = slots.slot {
                    prop_assert!(slots.not_before(slot.call - Duration::from_nanos(1)).is_some());
                    prop_assert_eq!(slots.not_before(slot.call), None);
                    prop_assert!(slot.begin <= slot.call && slot.call <= slot.begin + slot.length);
                    prop_assert!(slot.length <= pace.longest);
                    seen.push((slot.begin, slot.begin + slot.length));
                    // The call is made when its moment has come, or later.
                    now = slot.call + Duration::from_millis(late);
                }
                slots.failed(now, None, *draw);
            }
            for pair in seen.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0, "slots do not overlap");
            }
        }

        #[test]
        fn the_number_of_calls_is_bounded(
            pace in pace(),
            draws in prop::collection::vec(0.0f64..=1.0, 400),
            seconds in 1u64..3600,
        ) {
            let (start, span) = (Instant::now(), Duration::from_secs(seconds));
            let mut slots = Slots::new(pace);
            let (mut now, mut calls) = (start, 0);
            for draw in draws {
                if now > start + span {
                    break;
                }
                calls += 1;
                slots.failed(now, None, draw);
                now = slots.not_before(now).unwrap_or(now);
            }
            prop_assert!(calls <= most_calls(pace, span), "{calls} calls in {span:?}");
        }

        #[test]
        fn a_wish_for_rest_is_honoured(
            pace in pace(),
            steps in prop::collection::vec((0.0f64..=1.0, prop::option::of(0u64..4000)), 1..40),
        ) {
            let mut now = Instant::now();
            let mut slots = Slots::new(pace);
            for (draw, wish) in steps {
                let wish = wish.map(Duration::from_secs);
                slots.failed(now, wish, draw);
                let next = slots.not_before(now).unwrap_or(now);
                prop_assert!(next >= now + wish.unwrap_or_default());
                now = next;
            }
        }
    }

    #[test]
    fn success_ends_the_waiting() {
        let now = Instant::now();
        let mut slots = Slots::new(Pace::STANDARD);
        assert_eq!(slots.not_before(now), None);
        for _ in 0..20 {
            slots.failed(now, None, 1.0);
        }
        assert!(slots.not_before(now + Duration::from_secs(300)).is_some());
        slots.succeeded();
        assert_eq!((slots.not_before(now), slots.is_failing()), (None, false));
        slots.failed(now, None, 1.0);
        assert_eq!(slots.not_before(now), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn one_wrong_question_holds_up_no_other() {
        let now = Instant::now();
        let mut questions = Questions::new(Pace::STANDARD);
        questions.failed("POST pki/sign/a", "no".to_owned(), now, 1.0);
        let waiting = questions.not_before("POST pki/sign/a", now);
        assert_eq!(waiting, Some((now + Duration::from_secs(1), "no")));
        assert_eq!(questions.not_before("POST pki/sign/b", now), None);
        questions.succeeded("POST pki/sign/a");
        assert_eq!(questions.not_before("POST pki/sign/a", now), None);
        for number in 0..2 * MAX_QUESTIONS {
            questions.failed(&number.to_string(), String::new(), now, 0.5);
        }
        assert_eq!(questions.failing.len(), MAX_QUESTIONS);
    }
}
