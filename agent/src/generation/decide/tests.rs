//! The decision, rule by rule, and the law that holds for all of them: wherever the agent or the power fails, the node
//! ends up with one whole set that was proven, or with the newest one when none ever was.

use proptest::prelude::*;

use super::*;
use crate::probe::{Answer, Health, Level, Probe};

fn id(generation: u64) -> PodSetId {
    PodSetId { generation, digest: format!("{generation:064}") }
}

fn rules() -> Rules {
    Rules {
        deadline: Duration::from_secs(120),
        settle: Duration::from_secs(10),
        boots: 3,
        proof: Proof::Probes,
    }
}

fn present() -> ImageSeen {
    ImageSeen::Present { id: "i".into(), digests: BTreeSet::new(), pinned: true }
}

fn health(of: u64, good_seconds: Option<u64>) -> Option<Health> {
    let answer = if good_seconds.is_some() { Answer::Good } else { Answer::Bad };
    let probe = Probe {
        level: Level::Function,
        subject: "haproxy".into(),
        name: "readiness".into(),
        answer,
        evidence: "answers 503".into(),
        asked_unix_seconds: 0,
    };
    let good_milliseconds = good_seconds.map(|seconds| seconds * 1000);
    Some(Health { of: id(of), probes: vec![probe], good_milliseconds })
}

/// What is seen of a pod while the runtime is away.
fn unanswered() -> Probe {
    Probe {
        level: Level::Process,
        subject: "haproxy".into(),
        name: "containers".into(),
        answer: Answer::Unknown,
        evidence: "the runtime does not answer".into(),
        asked_unix_seconds: 0,
    }
}

/// A situation to begin from: generation 5 offered, 4 committed, images there, nothing asked yet.
#[derive(Clone)]
struct Case {
    candidate: u64,
    record: Generations,
    kept: Vec<u64>,
    evidence: Evidence,
    lacking: Vec<String>,
    now: Moment,
    rules: Rules,
}

impl Case {
    fn new() -> Case {
        let evidence = Evidence {
            images: BTreeMap::from([("image".to_owned(), present())]),
            ..Evidence::default()
        };
        Case {
            candidate: 5,
            record: Generations { committed: Some(id(4)), ..Generations::default() },
            kept: vec![4],
            evidence,
            lacking: Vec::new(),
            now: Moment { boot: "one".into(), seconds: 1000 },
            rules: rules(),
        }
    }

    /// Generation 5 on trial since second 1000 of boot one.
    fn on_trial() -> Case {
        let mut case = Case::new();
        case.record = case.decide().record;
        case.kept = vec![4, 5];
        case
    }

    fn decide(&self) -> Verdict {
        let candidate = id(self.candidate);
        let images = BTreeSet::from(["image".to_owned()]);
        let kept = self.kept.iter().map(|generation| id(*generation)).collect();
        decide(&Situation {
            candidate: &candidate,
            images: &images,
            record: &self.record,
            kept: &kept,
            evidence: &self.evidence,
            lacking: &self.lacking,
            now: &self.now,
            unix_seconds: 7,
            rules: &self.rules,
        })
    }

    /// The course, the target, and committed, tried and rejected by the record.
    #[track_caller]
    fn check(&self, course: &Course, target: Option<u64>, record: [Option<u64>; 3]) -> Verdict {
        let verdict = self.decide();
        assert_eq!(verdict.course, *course);
        assert_eq!(verdict.target.as_ref().map(|id| id.generation), target);
        let of = |id: Option<&PodSetId>| id.map(|id| id.generation);
        let next = &verdict.record;
        let seen = [
            of(next.committed.as_ref()),
            of(next.trial.as_ref().map(|trial| &trial.id)),
            of(next.rejected.as_ref().map(|rejected| &rejected.id)),
        ];
        assert_eq!(seen, record, "committed, on trial, rejected");
        verdict
    }
}

fn reasons(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

const BAD: &str = "function probe of haproxy (readiness): answers 503";

#[test]
fn the_committed_set_is_held_however_it_feels() {
    let mut case = Case { candidate: 4, ..Case::new() };
    case.evidence.health = health(4, None);
    case.check(&Course::Hold, Some(4), [Some(4), None, None]);
    // node.json went back to it while another one was on trial.
    let case = Case { candidate: 4, ..Case::on_trial() };
    case.check(&Course::Hold, Some(4), [Some(4), None, None]);
}

#[test]
fn a_set_waits_for_what_the_host_lacks() {
    let mut case = Case { lacking: reasons(&["no /srv/data"]), ..Case::new() };
    let wait = Course::Wait { reasons: reasons(&["no /srv/data"]) };
    case.check(&wait, Some(4), [Some(4), None, None]);
    case.lacking.clear();
    case.check(&Course::Begin, Some(5), [Some(4), Some(5), None]);
    // Where nothing is to be protected it is tried, and it is told what it lacks.
    case.lacking = reasons(&["no /srv/data"]);
    case.record = Generations::default();
    case.kept.clear();
    case.record = case.check(&Course::Begin, Some(5), [None, Some(5), None]).record;
    let Course::Watch { reasons, .. } = case.decide().course else { panic!() };
    assert!(reasons.contains(&"no /srv/data".to_owned()), "{reasons:?}");
}

#[test]
fn a_set_waits_for_its_images() {
    let mut case = Case::new();
    let wait = |reason: &str| Course::Wait { reasons: reasons(&[reason]) };
    case.evidence.images.insert("image".into(), ImageSeen::Missing);
    let missing = wait("image image is not on this node");
    case.check(&missing, Some(4), [Some(4), None, None]);
    case.evidence.images.insert("image".into(), ImageSeen::Unknown { reason: "away".into() });
    let unknown = wait("cannot find out whether image image is on this node: away");
    case.check(&unknown, Some(4), [Some(4), None, None]);
    case.evidence.images.clear();
    let unasked = wait("image image was not asked for yet");
    case.check(&unasked, Some(4), [Some(4), None, None]);
    // The copy of the committed set is lost: what is there stays as it is.
    case.kept.clear();
    case.check(&unasked, None, [Some(4), None, None]);
    // One that was on trial makes way for the committed set.
    let mut case = Case { candidate: 6, ..Case::on_trial() };
    case.evidence.images.clear();
    case.check(&unasked, Some(4), [Some(4), None, None]);
    // Nothing was ever committed: nothing to protect.
    case.record = Generations::default();
    case.check(&Course::Begin, Some(6), [None, Some(6), None]);
}

#[test]
fn a_trial_begins_and_is_watched() {
    let verdict = Case::new().check(&Course::Begin, Some(5), [Some(4), Some(5), None]);
    let trial = verdict.record.trial.unwrap();
    assert_eq!((trial.boots, &trial.begun), (1, &Case::new().now));

    let mut case = Case::on_trial();
    let watch = |seconds_left, line: Option<&str>| Course::Watch {
        seconds_left,
        reasons: line.map(str::to_owned).into_iter().collect(),
    };
    let unproven = [Some(4), Some(5), None];
    case.check(&watch(120, Some("no probe was asked yet")), Some(5), unproven);
    case.now.seconds += 50;
    case.evidence.health = health(5, None);
    case.check(&watch(70, Some(BAD)), Some(5), unproven);
    case.evidence.health = health(5, Some(9));
    case.check(&watch(70, None), Some(5), unproven);
    // What is known about another set proves nothing.
    case.evidence.health = health(4, Some(60));
    case.check(&watch(70, Some("no probe was asked yet")), Some(5), unproven);
    case.evidence.health = health(5, Some(10));
    case.check(&Course::Commit, Some(5), [Some(5), None, None]);
}

#[test]
fn the_last_good_set_returns() {
    let mut case = Case::on_trial();
    case.now.seconds += 120;
    case.evidence.health = health(5, None);
    let back = |lines: &[&str]| Course::Return { to: id(4), reasons: reasons(lines) };
    let verdict = case.check(&back(&[BAD]), Some(4), [Some(4), None, Some(5)]);
    assert_eq!(verdict.record.rejected.as_ref().unwrap().reasons, [BAD]);
    assert_eq!(verdict.record.kept, [id(5)], "the test begins without a list");
    // Not looked at yet, or good but not for long enough: that takes no longer than the settle time.
    let unproven = [Some(4), Some(5), None];
    let watch = |lines: &[&str]| Course::Watch { seconds_left: 0, reasons: reasons(lines) };
    case.evidence.health = None;
    case.check(&watch(&["no probe was asked yet"]), Some(5), unproven);
    case.evidence.health = health(5, Some(9));
    case.check(&watch(&[]), Some(5), unproven);
    // Without the runtime nobody knows.
    case.evidence.health = health(5, None);
    case.evidence.health.as_mut().unwrap().probes.push(unanswered());
    let blind = "process probe of haproxy (containers): the runtime does not answer";
    case.check(&watch(&[BAD, blind]), Some(5), unproven);
    // Good in the last moment.
    case.evidence.health = health(5, Some(10));
    case.check(&Course::Commit, Some(5), [Some(5), None, None]);

    // It is not tried again, until something else is offered.
    case.record = verdict.record;
    let rejected = Course::Rejected { reasons: reasons(&[BAD]) };
    case.check(&rejected, Some(4), [Some(4), None, Some(5)]);
    case.kept = vec![5];
    case.check(&rejected, None, [Some(4), None, Some(5)]);
    case.candidate = 6;
    case.check(&Course::Begin, Some(6), [Some(4), Some(6), Some(5)]);
    case.candidate = 4;
    case.check(&Course::Hold, Some(4), [Some(4), None, Some(5)]);
}

#[test]
fn without_a_way_back_the_new_set_stays() {
    let mut case = Case::on_trial();
    case.now.seconds += 120;
    case.evidence.health = health(5, None);
    let stay = Course::Stay { reasons: reasons(&[BAD]) };
    case.kept = vec![5];
    case.check(&stay, Some(5), [Some(4), Some(5), None]);
    case.kept = vec![4, 5];
    case.record.committed = None;
    case.check(&stay, Some(5), [None, Some(5), None]);
    // And is committed when it gets well after all.
    case.evidence.health = health(5, Some(10));
    case.check(&Course::Commit, Some(5), [Some(5), None, None]);
}

#[test]
fn a_trial_goes_on_after_a_power_cut_but_not_for_ever() {
    let mut case = Case::on_trial();
    case.evidence.health = health(5, None);
    for (boot, boots) in [("two", 2), ("three", 3)] {
        case.now = Moment { boot: boot.into(), seconds: 20 };
        let watch = Course::Watch { seconds_left: 120, reasons: reasons(&[BAD]) };
        let verdict = case.check(&watch, Some(5), [Some(4), Some(5), None]);
        assert_eq!(verdict.record.trial.as_ref().unwrap().boots, boots);
        case.record = verdict.record;
        // The agent alone was started anew.
        assert_eq!(case.decide().record, case.record);
    }
    case.now.boot = "four".into();
    let back = Course::Return { to: id(4), reasons: reasons(&["not proven in 3 boots", BAD]) };
    case.check(&back, Some(4), [Some(4), None, Some(5)]);
    // A boot that has no name counts as none.
    case.now.boot = String::new();
    let watch = Course::Watch { seconds_left: 120, reasons: reasons(&[BAD]) };
    case.check(&watch, Some(5), [Some(4), Some(5), None]);
}

#[test]
fn without_proof_a_set_is_committed_at_once() {
    let mut case = Case::new();
    case.rules.proof = Proof::None;
    case.evidence = Evidence::default();
    case.check(&Course::Commit, Some(5), [Some(5), None, None]);
}

/// What a power cut leaves: the record, the copies, and which set each of three files is of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Disk {
    record: Generations,
    kept: BTreeSet<PodSetId>,
    files: [Option<PodSetId>; 3],
}

/// One step on the disk, as the plan orders them.
#[derive(Clone, Debug)]
enum Write {
    Copy(PodSetId),
    Record(Generations),
    File(usize, PodSetId),
    Forget(PodSetId),
}

impl Disk {
    /// The steps that a verdict comes to.
    fn plan(&self, candidate: &PodSetId, verdict: &Verdict) -> Vec<Write> {
        let mut writes = Vec::new();
        let Some(target) = &verdict.target else { return writes };
        if target == candidate && !self.kept.contains(target) {
            writes.push(Write::Copy(target.clone()));
        }
        if self.record != verdict.record {
            writes.push(Write::Record(verdict.record.clone()));
        }
        let stale = (0..3).filter(|file| self.files[*file].as_ref() != Some(target));
        writes.extend(stale.map(|file| Write::File(file, target.clone())));
        let forgotten = self.kept.iter().filter(|id| !verdict.record.kept.contains(id));
        writes.extend(forgotten.map(|id| Write::Forget(id.clone())));
        writes
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Copy(id) => drop(self.kept.insert(id.clone())),
            Write::Record(record) => self.record = record.clone(),
            Write::File(file, id) => {
                // Whoever starts now knows which set it is to complete.
                let record = &self.record;
                let in_force = record.trial.as_ref().map(|trial| &trial.id);
                assert_eq!(Some(id), in_force.or(record.committed.as_ref()), "not on record");
                self.files[*file] = Some(id.clone());
            }
            Write::Forget(id) => drop(self.kept.remove(id)),
        }
    }

    /// The set that all files are of.
    fn whole(&self) -> Option<&PodSetId> {
        let [first, ..] = &self.files;
        self.files.iter().all(|file| file == first).then_some(first.as_ref()?)
    }
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Event {
    /// A new generation is offered; whether its pods get well.
    Offer { healthy: bool },
    /// A round that is cut off after so many steps.
    Round { steps: usize },
    /// Time passes.
    Pass { seconds: u64 },
    /// The agent ends and starts: what it has seen is forgotten.
    Restart,
    /// The power fails and returns.
    Reboot,
    /// The runtime is away, or back.
    Runtime { answers: bool },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => any::<bool>().prop_map(|healthy| Event::Offer { healthy }),
        6 => (0usize..9).prop_map(|steps| Event::Round { steps }),
        3 => (1u64..150).prop_map(|seconds| Event::Pass { seconds }),
        1 => Just(Event::Restart),
        1 => Just(Event::Reboot),
        1 => any::<bool>().prop_map(|answers| Event::Runtime { answers }),
    ];
    prop::collection::vec(event, 0..60)
}

/// A node on which everything may fail.
struct World {
    disk: Disk,
    offered: u64,
    healthy: Vec<bool>,
    now: Moment,
    /// For how long the files have been of one set, as far as the agent has seen.
    good_since: Option<(PodSetId, u64)>,
    runtime_answers: bool,
    boots: u64,
}

impl World {
    fn new() -> World {
        World {
            disk: Disk::default(),
            offered: 0,
            healthy: vec![true],
            now: Moment { boot: "0".into(), seconds: 0 },
            good_since: None,
            runtime_answers: true,
            boots: 0,
        }
    }

    fn is_healthy(&self, id: &PodSetId) -> bool {
        self.healthy[usize::try_from(id.generation).unwrap()]
    }

    fn look(&mut self) -> Evidence {
        let mut evidence = Evidence::default();
        let seen = match self.runtime_answers {
            true => present(),
            false => ImageSeen::Unknown { reason: "away".into() },
        };
        evidence.images.insert("image".into(), seen);
        let Some(whole) = self.disk.whole().cloned() else {
            self.good_since = None;
            return evidence;
        };
        if !self.runtime_answers || !self.is_healthy(&whole) {
            self.good_since = None;
            evidence.health = health(whole.generation, None);
            if !self.runtime_answers {
                evidence.health.as_mut().unwrap().probes.push(unanswered());
            }
            return evidence;
        }
        let since = match &self.good_since {
            Some((id, since)) if *id == whole => *since,
            _ => self.now.seconds,
        };
        self.good_since = Some((whole.clone(), since));
        evidence.health = health(whole.generation, Some(self.now.seconds - since));
        evidence
    }

    fn round(&mut self, most_steps: usize) -> Verdict {
        let evidence = self.look();
        let candidate = id(self.offered);
        let images = BTreeSet::from(["image".to_owned()]);
        let before = self.disk.record.clone();
        let verdict = decide(&Situation {
            candidate: &candidate,
            images: &images,
            record: &before,
            kept: &self.disk.kept,
            evidence: &evidence,
            lacking: &[],
            now: &self.now,
            unix_seconds: 0,
            rules: &rules(),
        });
        for write in self.disk.plan(&candidate, &verdict).iter().take(most_steps) {
            self.disk.write(write);
            self.check();
        }
        verdict
    }

    /// What holds at every moment, between any two steps.
    fn check(&self) {
        let record = &self.disk.record;
        if let Some(committed) = &record.committed {
            assert!(self.is_healthy(committed), "{committed} was committed and never got well");
            assert!(self.disk.kept.contains(committed), "the way back is gone");
        }
        if let Some(trial) = &record.trial {
            assert!(self.disk.kept.contains(&trial.id), "the set on trial has no copy");
        }
        assert!(record.kept.len() <= crate::generation::record::MOST_KEPT);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_fails_the_node_ends_with_one_good_set(events in events()) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Offer { healthy } => {
                    world.healthy.push(healthy);
                    world.offered += 1;
                }
                Event::Round { steps } => drop(world.round(steps)),
                Event::Pass { seconds } => world.now.seconds += seconds,
                Event::Restart => world.good_since = None,
                Event::Reboot => {
                    world.boots += 1;
                    world.now = Moment { boot: world.boots.to_string(), seconds: 0 };
                    world.good_since = None;
                    // The agent's first round comes before the kubelet: it makes one set of any mix.
                    let verdict = world.round(usize::MAX);
                    prop_assert_eq!(world.disk.whole(), verdict.target.as_ref());
                }
                Event::Runtime { answers } => world.runtime_answers = answers,
            }
        }
        // Left alone with a runtime, it comes to rest.
        world.runtime_answers = true;
        for _ in 0..200 {
            world.round(usize::MAX);
            world.now.seconds += 1;
        }
        let verdict = world.round(usize::MAX);
        let offered = id(world.offered);
        let record = &world.disk.record;
        // The one way for a good set to fail: power cuts that leave it no time.
        let had_no_time = match &verdict.course {
            Course::Rejected { reasons } => reasons[0] == "not proven in 3 boots",
            _ => false,
        };
        if world.is_healthy(&offered) && !had_no_time {
            prop_assert_eq!(verdict.course, Course::Hold);
            prop_assert_eq!(record.committed.as_ref(), Some(&offered));
            prop_assert_eq!(world.disk.whole(), Some(&offered));
        } else if let Some(committed) = &record.committed {
            let is_rejected = matches!(verdict.course, Course::Rejected { .. });
            prop_assert!(is_rejected, "{:?}", verdict.course);
            prop_assert_eq!(world.disk.whole(), Some(committed));
        } else {
            let stays = matches!(verdict.course, Course::Stay { .. });
            prop_assert!(stays, "{:?}", verdict.course);
            prop_assert_eq!(world.disk.whole(), Some(&offered));
        }
    }
}
