//! What to do next about one certificate: takes what is kept, what is seen and what time it is, gives one course. Pure.

use basalt_model::node::Certificate;

use super::directory::Seen;
use super::leaf::Leaf;
use super::placeholder;
use super::record::{Record, Waiting};
use super::schedule::{self, Place, Schedule, Terms};
use super::time::{HOUR, UnixSeconds};

/// However short its life, a certificate is left alone for so long, or for half of what is left of its life.
const REST: i64 = 30;

/// What is known about one certificate.
pub(crate) struct View<'a> {
    pub(crate) wanted: &'a Certificate,
    /// What the node asks of Vault, see [`super::record::asked`].
    pub(crate) asked: &'a str,
    /// `None` when there is none yet, or a broken one that has to be made again.
    pub(crate) record: Option<&'a Record>,
    /// How its folder compares with the record.
    pub(crate) folder: &'a Seen,
    /// Absent while the clock is not known to be right.
    pub(crate) now: Option<UnixSeconds>,
    pub(crate) place: Place,
    /// Somebody asks for a new one.
    pub(crate) rotate: bool,
    /// The pause after a failure to have one signed is over.
    pub(crate) may_issue: bool,
    /// The pause after a failure to prove one is over.
    pub(crate) may_prove: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Make a placeholder.
    MakePlaceholder,
    /// Make the folder hold what the record says.
    Put(String),
    /// Tell the consumers, and have them show the certificate.
    Prove,
    /// Take the one that waits into use.
    Activate,
    /// Have a new one signed.
    Issue(Reason),
    /// Nothing, until then; for ever when absent. Other things may happen sooner.
    Wait { until: Option<UnixSeconds> },
}

/// Why a new one is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is none.
    First,
    /// The node wants another one: names, key, usages or issuer.
    Changed,
    /// Somebody asked for it.
    Asked,
    /// It is time.
    Due,
    /// It ran out.
    Expired,
}

impl Reason {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Reason::First => "there is none yet",
            Reason::Changed => "the node wants another one",
            Reason::Asked => "somebody asked for it",
            Reason::Due => "it is time to renew it",
            Reason::Expired => "the last one ran out",
        }
    }
}

/// The terms of a certificate that is in use.
pub(crate) fn terms(wanted: &Certificate, leaf: &Leaf) -> Terms {
    Terms {
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        asked: i64::from(wanted.ttl_hours) * HOUR,
        survive: i64::from(wanted.survive_outage_hours) * HOUR,
    }
}

/// Decides.
pub(crate) fn decide(view: &View<'_>) -> Course {
    let Some(record) = view.record else {
        return match (placeholder::is_for(view.wanted), view.may_issue) {
            (true, _) => Course::MakePlaceholder,
            (false, true) => Course::Issue(Reason::First),
            (false, false) => Course::Wait { until: None },
        };
    };
    if let Seen::Differs(what) = view.folder {
        return Course::Put(what.clone());
    }
    let leaf = record.current.leaf().ok();
    let expired = |leaf: &Leaf| view.now.is_some_and(|now| leaf.not_after <= now);
    let is_placeholder = record.current.is_placeholder();
    let is_useless = is_placeholder || leaf.as_ref().is_none_or(expired);

    // One that is not what is wanted by now is replaced, and one that somebody wants replaced as well.
    let is_good = |it: &&Waiting| it.issued.asked == view.asked && !view.rotate;
    let waiting = record.next.as_ref().filter(is_good);
    if waiting.is_some() && is_useless {
        return Course::Activate;
    }
    // Before it is followed by another one: what it brought into use, such as a new issuer, is what that one needs.
    if !record.proved && !is_placeholder && view.may_prove {
        return Course::Prove;
    }
    if let Some(waiting) = waiting {
        let at = activates_at(record, view.wanted);
        let is_due = match view.now {
            Some(now) => at <= now,
            // Without a window it is at once.
            None => view.wanted.activation.is_none(),
        };
        return match waiting.at_once || is_due {
            true => Course::Activate,
            false => Course::Wait { until: Some(at) },
        };
    }
    let schedule = leaf.as_ref().map(|leaf| Schedule::of(terms(view.wanted, leaf), view.place));
    let renew_at = schedule.filter(|_| !is_placeholder).map(|it| it.renew_at);
    let renew_at = renew_at.zip(leaf.as_ref()).map(|(at, leaf)| at.max(rested(record, leaf)));
    let reason = if is_placeholder || leaf.is_none() {
        Some(Reason::First)
    } else if record.current.asked != view.asked {
        Some(Reason::Changed)
    } else if view.rotate {
        Some(Reason::Asked)
    } else if is_useless {
        Some(Reason::Expired)
    } else {
        renew_at.zip(view.now).and_then(|(at, now)| (at <= now).then_some(Reason::Due))
    };
    match reason {
        Some(reason) if view.may_issue => Course::Issue(reason),
        Some(_) => Course::Wait { until: None },
        None => Course::Wait { until: renew_at },
    }
}

/// The first moment at which a certificate is renewed because it is time. Vault may give lives so short that they are due
/// when they begin, and would be asked for one after the other otherwise.
fn rested(record: &Record, leaf: &Leaf) -> UnixSeconds {
    let signed_at = record.current.signed_at;
    // The clock may have been wrong then.
    match (leaf.not_before..leaf.not_after).contains(&signed_at) {
        true => signed_at + REST.min((leaf.not_after - signed_at) / 2),
        false => UnixSeconds::MIN,
    }
}

/// When the one that waits is taken into use.
pub(crate) fn activates_at(record: &Record, wanted: &Certificate) -> UnixSeconds {
    let Some(waiting) = &record.next else { return UnixSeconds::MAX };
    let ready = waiting.issued.signed_at;
    match record.current.leaf() {
        Ok(leaf) if !record.current.is_placeholder() && !waiting.at_once => {
            let window = wanted.activation.as_ref();
            schedule::activate_at(window, ready, (leaf.not_before, leaf.not_after))
        }
        _ => ready,
    }
}

/// Whether the one before can do better than the current one, which could not be proved: it is real, and has not run out.
/// While the clock is not sure, it is believed to be good.
pub(crate) fn may_go_back(record: &Record, now: Option<UnixSeconds>) -> bool {
    let Some(previous) = &record.previous else { return false };
    let is_over = |leaf: Leaf| now.is_some_and(|now| leaf.not_after <= now);
    !previous.is_placeholder() && !previous.leaf().map_or(true, is_over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::key::Key;
    use crate::certificates::record::Issued;
    use crate::certificates::schedule::place;
    use crate::certificates::testing::{Ca, certificate};
    use crate::certificates::time::DAY;

    const ASKED: &str = "what is wanted";

    struct Case {
        ca: Ca,
        wanted: Certificate,
        record: Option<Record>,
        folder: Seen,
        now: Option<i64>,
        rotate: bool,
        may_issue: bool,
        may_prove: bool,
    }

    impl Case {
        /// A certificate in use, an hour after it was signed.
        fn new() -> Case {
            let (ca, wanted) = (Ca::new("lab"), certificate("ingress"));
            let mut record = Record::new(issued(&ca, &wanted));
            record.prove();
            let now = Some(ca.now + HOUR);
            let folder = Seen::Whole;
            Case {
                ca,
                wanted,
                record: Some(record),
                folder,
                now,
                rotate: false,
                may_issue: true,
                may_prove: true,
            }
        }

        fn with(change: impl FnOnce(&mut Case)) -> Course {
            let mut case = Case::new();
            change(&mut case);
            decide(&View {
                wanted: &case.wanted,
                asked: ASKED,
                record: case.record.as_ref(),
                folder: &case.folder,
                now: case.now,
                place: place("machine", "ingress"),
                rotate: case.rotate,
                may_issue: case.may_issue,
                may_prove: case.may_prove,
            })
        }

        fn record(&mut self) -> &mut Record {
            self.record.as_mut().unwrap()
        }

        fn wait_with_next(&mut self, window: Option<(&str, &str)>) {
            let next = Waiting { issued: issued(&self.ca, &self.wanted), at_once: false };
            self.record().next = Some(next);
            self.wanted.activation =
                window.map(|(from, until)| basalt_model::node::ActivationWindow {
                    from: from.parse().unwrap(),
                    until: until.parse().unwrap(),
                });
        }
    }

    fn issued(ca: &Ca, wanted: &Certificate) -> Issued {
        let key = Key::new(wanted.key).unwrap();
        Issued {
            key: key.pem(),
            certificate: ca.sign(wanted, &key, |_| {}),
            chain: vec![ca.pem.clone()],
            issuer: ca.pem.clone(),
            trust: ca.pem.clone(),
            pkcs12: None,
            asked: ASKED.to_owned(),
            signed_at: ca.now,
        }
    }

    fn placeholder_record(case: &Case) -> Option<Record> {
        Some(Record::new(placeholder::issue(&case.wanted, case.ca.now).unwrap()))
    }

    #[test]
    fn nothing_is_there() {
        assert_eq!(Case::with(|it| it.record = None), Course::MakePlaceholder);
        let client = |it: &mut Case| {
            it.record = None;
            it.wanted.usages = vec![basalt_model::node::KeyUsage::Client];
        };
        assert_eq!(Case::with(client), Course::Issue(Reason::First));
        let pause = |it: &mut Case| {
            client(it);
            it.may_issue = false;
        };
        assert_eq!(Case::with(pause), Course::Wait { until: None });
    }

    #[test]
    fn a_placeholder_is_replaced_whatever_the_time() {
        let replaced = Course::Issue(Reason::First);
        assert_eq!(Case::with(|it| it.record = placeholder_record(it)), replaced);
        assert_eq!(
            Case::with(|it| {
                it.record = placeholder_record(it);
                it.now = None;
            }),
            replaced
        );
        // Its folder comes first: haproxy may be about to start.
        let broken = |it: &mut Case| {
            it.record = placeholder_record(it);
            it.folder = Seen::Differs("gone".to_owned());
        };
        assert_eq!(Case::with(broken), Course::Put("gone".to_owned()));
    }

    #[test]
    fn it_waits_for_its_point_and_no_longer() {
        let Course::Wait { until: Some(at) } = Case::with(|_| {}) else { panic!("it waits") };
        let ca_now = |it: &Case| it.ca.now;
        assert_eq!(
            Case::with(|it| it.now = Some(ca_now(it) + 359 * HOUR)),
            Course::Issue(Reason::Due)
        );
        assert!(at > 0);
        assert_eq!(
            Case::with(|it| {
                it.now = Some(ca_now(it) + 359 * HOUR);
                it.may_issue = false;
            }),
            Course::Wait { until: None }
        );
        assert_eq!(Case::with(|it| it.rotate = true), Course::Issue(Reason::Asked));
        assert_eq!(
            Case::with(|it| it.record().current.asked = String::new()),
            Course::Issue(Reason::Changed)
        );
        assert_eq!(
            Case::with(|it| it.now = Some(ca_now(it) + 400 * DAY)),
            Course::Issue(Reason::Expired)
        );
    }

    /// A life of a minute of which half is over when it begins.
    #[test]
    fn one_that_is_due_at_once_is_left_alone_for_a_while() {
        let due = |later: i64, signed_later: i64| {
            Case::with(|it| {
                let (ca, wanted) = (&it.ca, &it.wanted);
                let key = Key::new(wanted.key).unwrap();
                let at = |seconds: i64| {
                    let since = std::time::Duration::from_secs(seconds.cast_unsigned());
                    rcgen::date_time_ymd(1970, 1, 1) + since
                };
                let short = ca.sign(wanted, &key, |leaf| {
                    leaf.not_before = at(ca.now - 30);
                    leaf.not_after = at(ca.now + 30);
                });
                let now = ca.now;
                it.record().current.certificate = short;
                it.record().current.signed_at = now + signed_later;
                it.now = Some(now + later);
            })
        };
        let Course::Wait { until: Some(until) } = due(1, 0) else { panic!("it waits") };
        assert_eq!(due(14, 0), Course::Wait { until: Some(until) });
        assert_eq!(due(15, 0), Course::Issue(Reason::Due));
        assert_eq!(due(1, DAY), Course::Issue(Reason::Due), "signed by a clock that was wrong");
    }

    #[test]
    fn an_unsure_clock_judges_nothing() {
        let Course::Wait { .. } = Case::with(|it| it.now = None) else { panic!("it waits") };
        assert_eq!(
            Case::with(|it| {
                it.now = None;
                it.rotate = true;
            }),
            Course::Issue(Reason::Asked)
        );
        assert_eq!(
            Case::with(|it| {
                it.now = None;
                it.wait_with_next(None);
            }),
            Course::Activate
        );
        // Whether the window is open cannot be told.
        let Course::Wait { .. } = Case::with(|it| {
            it.now = None;
            it.wait_with_next(Some(("00:00", "23:59")));
        }) else {
            panic!("it waits")
        };
    }

    #[test]
    fn one_that_waits_is_activated_in_its_window() {
        assert_eq!(Case::with(|it| it.wait_with_next(None)), Course::Activate);
        let window = |it: &mut Case, opens_in: i64| {
            // One hour long.
            let minute = (it.ca.now.rem_euclid(DAY) / 60 + opens_in).rem_euclid(1440);
            let time = |minute: i64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
            it.wait_with_next(Some((&time(minute), &time(minute + 60))));
        };
        let Course::Wait { until: Some(_) } = Case::with(|it| window(it, 600)) else {
            panic!("it waits")
        };
        assert_eq!(
            Case::with(|it| {
                window(it, 600);
                it.now = Some(it.ca.now + 601 * 60);
            }),
            Course::Activate
        );
        assert_eq!(
            Case::with(|it| {
                window(it, 600);
                it.record().next.as_mut().unwrap().at_once = true;
            }),
            Course::Activate
        );
        // It has run out: nothing is gained by waiting.
        assert_eq!(
            Case::with(|it| {
                window(it, 600);
                it.now = Some(it.ca.now + 400 * DAY);
            }),
            Course::Activate
        );
        assert_eq!(
            Case::with(|it| {
                window(it, 600);
                it.record().current = placeholder_record(it).unwrap().current;
            }),
            Course::Activate
        );
        // The node wants another one by now.
        let stale = |it: &mut Case| {
            window(it, 600);
            it.record().current.asked = String::new();
            it.record().next.as_mut().unwrap().issued.asked = String::new();
        };
        assert_eq!(Case::with(stale), Course::Issue(Reason::Changed));
    }

    #[test]
    fn an_unproved_one_is_proved_and_renewed_all_the_same() {
        assert_eq!(Case::with(|it| it.record().proved = false), Course::Prove);
        let Course::Wait { until: Some(_) } = Case::with(|it| {
            it.record().proved = false;
            it.may_prove = false;
        }) else {
            panic!("it waits")
        };
        let due = |it: &mut Case| {
            it.record().proved = false;
            it.may_prove = false;
            it.now = Some(it.ca.now + 359 * HOUR);
        };
        assert_eq!(Case::with(due), Course::Issue(Reason::Due));
    }

    #[test]
    fn there_is_a_way_back_to_a_good_one_only() {
        let mut case = Case::new();
        let now = case.now;
        let good = case.record().current.clone();
        assert!(!may_go_back(case.record(), now));
        case.record().previous = Some(good);
        assert!(may_go_back(case.record(), now) && may_go_back(case.record(), None));
        let late = Some(case.ca.now + 400 * DAY);
        assert!(!may_go_back(case.record(), late));
        case.record().previous = placeholder_record(&case).map(|it| it.current);
        assert!(!may_go_back(case.record(), now));
    }
}
