//! What a round is about: pure, from the inventory, what `node.json` asks for, and the time.

use std::time::Duration;

use basalt_model::node::BundleOwner;

use super::inventory::{Inventory, Release, Stored};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Pause between rounds when all is well.
    pub(crate) interval: Duration,
    /// How long everything has to be well before a bundle is committed.
    pub(crate) settle: Duration,
    /// How long a bundle may take to become well, before the last committed one returns.
    pub(crate) budget: Duration,
    /// How long a holder of the Lease is left alone.
    pub(crate) lease: Duration,
}

/// What a round is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// A person has stopped everything, until then.
    Paused { until: String },
    /// It was given away: look, and say what is seen.
    Watch { manager: String },
    /// Nothing that was asked for can be done; what is committed is kept.
    Refuse { keep: Option<Release>, reason: String },
    /// A bundle that was not tried yet.
    Begin(Release),
    /// The bundle that is being applied.
    Continue { release: Release, since: u64 },
    /// It did not become well in time, and goes.
    Return { to: Release, from: Release },
    /// It did not become well in time, and there is no way back.
    Stalled { release: Release, reason: &'static str },
    /// What is committed.
    Keep(Release),
}

/// Decides. `wanted` is what `node.json` asks for, or why that is not known; `now` in seconds since the Unix epoch.
pub(crate) fn decide(
    stored: Option<&Stored>,
    wanted: Result<&Release, &str>,
    is_paused: bool,
    owner: BundleOwner,
    now: u64,
    rules: &Rules,
) -> Course {
    if let Some(until) = stored.and_then(|stored| stored.paused.clone()) {
        return Course::Paused { until };
    }
    if is_paused {
        return Course::Paused { until: "cluster.yaml says otherwise".to_owned() };
    }
    let nothing = Inventory::default();
    let inventory = stored.map_or(&nothing, |stored| &stored.inventory);
    let committed = inventory.committed.as_ref();
    if let Some(manager) = &inventory.handed_to {
        let is_wanted_back =
            owner == BundleOwner::Agent && stored.is_some_and(|stored| stored.is_wanted_back);
        if !is_wanted_back {
            return Course::Watch { manager: manager.clone() };
        }
    }
    let refuse = |reason: String| Course::Refuse { keep: committed.cloned(), reason };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(reason) => return refuse(reason.to_owned()),
    };
    // A trial that goes on is brought to its end first, whatever is asked for: what it left half done is known here.
    if let Some(trial) = &inventory.trial {
        let is_over = now >= trial.began.saturating_add(rules.budget.as_secs());
        let release = trial.release.clone();
        // A correction does not wait for the end of what it corrects; what was given up is none.
        let is_given_up = inventory.rejected.as_ref().is_some_and(|it| it.release == *wanted);
        if is_newer(wanted, &release) && !is_given_up {
            return Course::Begin(wanted.clone());
        }
        return match committed {
            _ if !is_over || trial.is_return => Course::Continue { release, since: trial.began },
            _ if trial.is_one_way => Course::Stalled {
                release,
                reason: "it has changed which versions of a kind are stored, so no earlier bundle can return",
            },
            None => Course::Stalled { release, reason: "no bundle was committed before it" },
            Some(committed) => Course::Return { to: committed.clone(), from: release },
        };
    }
    match committed {
        None => Course::Begin(wanted.clone()),
        Some(committed) if committed == wanted => Course::Keep(committed.clone()),
        Some(committed) if committed.generation == wanted.generation => refuse(format!(
            "generation {} was committed with other content, {}",
            wanted.generation,
            committed.digest(),
        )),
        Some(committed) if committed.generation > wanted.generation => refuse(format!(
            "generation {} is older than {}, which is committed",
            wanted.generation, committed.generation,
        )),
        Some(_) => match &inventory.rejected {
            Some(rejected) if rejected.release == *wanted => refuse(format!(
                "generation {} was given up: {}",
                wanted.generation, rejected.reason
            )),
            _ => Course::Begin(wanted.clone()),
        },
    }
}

fn is_newer(release: &Release, than: &Release) -> bool {
    release.generation > than.generation
}

#[cfg(test)]
mod tests {
    use super::super::inventory::{FOREVER, Rejected, Trial};
    use super::*;

    const RULES: Rules = Rules {
        interval: Duration::from_secs(15),
        settle: Duration::from_secs(60),
        budget: Duration::from_secs(600),
        lease: Duration::from_secs(30),
    };

    fn release(generation: u64) -> Release {
        Release { generation, reference: format!("registry.example/b@sha256:{generation:064}") }
    }

    fn stored(change: impl FnOnce(&mut Stored)) -> Stored {
        let inventory = Inventory { committed: Some(release(3)), ..Inventory::default() };
        let mut stored = Stored {
            inventory,
            resource_version: "1".to_owned(),
            paused: None,
            is_wanted_back: false,
        };
        change(&mut stored);
        stored
    }

    fn trial(generation: u64) -> Trial {
        Trial { release: release(generation), began: 1000, is_return: false, is_one_way: false }
    }

    #[track_caller]
    fn check(stored: Option<&Stored>, wanted: u64, now: u64, expected: Course) {
        let course = decide(stored, Ok(&release(wanted)), false, BundleOwner::Agent, now, &RULES);
        assert_eq!(course, expected);
    }

    fn refuse(reason: &str) -> Course {
        Course::Refuse { keep: Some(release(3)), reason: reason.to_owned() }
    }

    #[test]
    fn what_was_committed() {
        check(None, 4, 0, Course::Begin(release(4)));
        let three = stored(|_| {});
        check(Some(&three), 3, 0, Course::Keep(release(3)));
        check(Some(&three), 4, 0, Course::Begin(release(4)));
        check(Some(&three), 2, 0, refuse("generation 2 is older than 3, which is committed"));
        let other = stored(|it| {
            it.inventory.committed =
                Some(Release { reference: "r@sha256:ab".into(), generation: 3 });
        });
        let course = decide(Some(&other), Ok(&release(3)), false, BundleOwner::Agent, 0, &RULES);
        assert!(
            matches!(course, Course::Refuse { reason, .. } if reason.contains("other content"))
        );
        let course =
            decide(Some(&three), Err("no signature"), false, BundleOwner::Agent, 0, &RULES);
        assert_eq!(course, refuse("no signature"));
    }

    #[test]
    fn trials() {
        let on_trial = stored(|it| it.inventory.trial = Some(trial(4)));
        let going_on = Course::Continue { release: release(4), since: 1000 };
        check(Some(&on_trial), 4, 1000, going_on.clone());
        check(Some(&on_trial), 4, 1599, going_on.clone());
        let back = Course::Return { to: release(3), from: release(4) };
        check(Some(&on_trial), 4, 1600, back.clone());
        check(Some(&on_trial), 5, 1700, Course::Begin(release(5)));
        check(Some(&on_trial), 3, 1100, going_on);
        check(Some(&on_trial), 3, 1600, back);

        let returning = stored(|it| {
            it.inventory.trial = Some(Trial { is_return: true, ..trial(3) });
            it.inventory.rejected =
                Some(Rejected { release: release(4), reason: "not well".to_owned() });
        });
        check(Some(&returning), 4, 9999, Course::Continue { release: release(3), since: 1000 });
        check(Some(&returning), 5, 9999, Course::Begin(release(5)));
    }

    #[test]
    fn no_way_back() {
        let first = stored(|it| {
            it.inventory.committed = None;
            it.inventory.trial = Some(trial(1));
        });
        let reason = "no bundle was committed before it";
        check(Some(&first), 1, 1600, Course::Stalled { release: release(1), reason });
        let one_way =
            stored(|it| it.inventory.trial = Some(Trial { is_one_way: true, ..trial(4) }));
        let course =
            decide(Some(&one_way), Ok(&release(4)), false, BundleOwner::Agent, 1600, &RULES);
        assert!(matches!(course, Course::Stalled { .. }));
    }

    #[test]
    fn what_was_given_up_is_not_tried_again() {
        let given_up = stored(|it| {
            it.inventory.rejected =
                Some(Rejected { release: release(4), reason: "not well".to_owned() });
        });
        check(Some(&given_up), 4, 0, refuse("generation 4 was given up: not well"));
        check(Some(&given_up), 5, 0, Course::Begin(release(5)));
        check(Some(&given_up), 3, 0, Course::Keep(release(3)));
    }

    #[test]
    fn pauses_and_owners() {
        let paused = stored(|it| it.paused = Some(FOREVER.to_owned()));
        check(Some(&paused), 4, 0, Course::Paused { until: FOREVER.to_owned() });
        let course = decide(None, Ok(&release(4)), true, BundleOwner::Agent, 0, &RULES);
        assert!(matches!(course, Course::Paused { .. }));
        let given = stored(|it| it.inventory.handed_to = Some("flux".to_owned()));
        let watch = Course::Watch { manager: "flux".to_owned() };
        check(Some(&given), 4, 0, watch.clone());
        let wanted_back = stored(|it| {
            it.inventory.handed_to = Some("flux".to_owned());
            it.is_wanted_back = true;
        });
        check(Some(&wanted_back), 4, 0, Course::Begin(release(4)));
        let course =
            decide(Some(&wanted_back), Ok(&release(4)), false, BundleOwner::Flux, 0, &RULES);
        assert_eq!(course, watch, "cluster.yaml has the last word");
    }
}
