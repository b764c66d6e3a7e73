//! Rules one by one, then the law: wherever the agent is interrupted, the node ends in a right state.

use std::time::Duration;

use super::*;
use crate::hand_off::gates::gate;
use crate::hand_off::proof::NodeSeen;
use crate::hand_off::testing::{bootstrapping, joining};

const JOIN: Wish = Wish::Join { asked_unix_seconds: None };

fn moment(seconds: u64) -> Moment {
    Moment { boot: "b".to_owned(), seconds }
}

fn standalone() -> Record {
    Record::new(Stage::Standalone, None)
}

fn containers() -> BTreeMap<String, String> {
    BTreeMap::from([("kube-system/haproxy-n1/haproxy".to_owned(), "1".to_owned())])
}

fn seen() -> Seen {
    Seen {
        now: moment(1000),
        unix_seconds: 5000,
        files: BTreeMap::new(),
        kubelet: Some("first".to_owned()),
        containers: Ok(containers()),
        gates: vec![gate("pods", Ok("fine".to_owned()))],
        proof: None,
        left: None,
        stale: Vec::new(),
        silence: None,
    }
}

fn good_proof(containers: BTreeMap<String, String>) -> ProofSeen {
    ProofSeen {
        containers: Ok(containers),
        node: Ok(NodeSeen {
            is_ready: true,
            message: String::new(),
            heartbeat_unix_seconds: u64::MAX,
        }),
        mirrors_missing: Ok(Vec::new()),
        shortcomings: Vec::new(),
        good_for: Some(Duration::from_secs(60)),
    }
}

fn lines(decision: &Decision) -> Vec<String> {
    decision.moves.iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_whose_gates_hold_is_switched() {
    let decision = decide(&joining(), &standalone(), &JOIN, &seen());
    assert_eq!(
        lines(&decision),
        [
            "record the switch and the containers that run",
            "write /etc/kubernetes/kubelet.kubeconfig",
            "write /etc/kubernetes/joined.env",
            "write /etc/kubernetes/kubelet.conf.d/20-joined.conf",
            "record which kubelet is to be replaced",
            "restart the kubelet; running pods stay",
        ]
    );
    let Move::Record { record, .. } = &decision.moves[0] else { panic!() };
    let Stage::Switching(switch) = &record.stage else { panic!() };
    assert_eq!(switch.containers, containers());
}

#[test]
fn one_closed_gate_keeps_the_node_back() {
    let mut seen = seen();
    seen.gates.push(gate("API server", Err("away".to_owned())));
    let decision = decide(&joining(), &standalone(), &JOIN, &seen);
    assert_eq!(
        (decision.moves.len(), decision.waits_for),
        (0, vec!["API server: away".to_owned()])
    );
    // Not looked at is not open.
    seen.gates.clear();
    assert_eq!(decide(&joining(), &standalone(), &JOIN, &seen).moves, []);
    let unknown = Seen { containers: Err("away".to_owned()), ..self::seen() };
    assert_eq!(decide(&joining(), &standalone(), &JOIN, &unknown).moves, []);
}

#[test]
fn what_is_wanted_follows_from_the_last_order() {
    let automatic = joining().kubernetes.unwrap();
    let manual = Kubernetes { hand_off: HandOff::Manual, ..automatic.clone() };
    let order = |order| Some(Ordered { order, unix_seconds: 7 });
    let joined = Stage::Joined { since_unix_seconds: 0, files: BTreeMap::new() };
    let asked = Wish::Join { asked_unix_seconds: Some(7) };
    let is_out = |wish| matches!(wish, Wish::StandAlone(_));
    assert!(is_out(wish(None, order(Order::Join), &joined)));
    assert_eq!(wish(Some(&automatic), None, &Stage::Standalone), JOIN);
    assert!(is_out(wish(Some(&manual), None, &Stage::Standalone)));
    assert_eq!(wish(Some(&manual), None, &joined), JOIN);
    for kubernetes in [&automatic, &manual] {
        assert_eq!(wish(Some(kubernetes), order(Order::Join), &Stage::Standalone), asked);
        assert!(is_out(wish(Some(kubernetes), order(Order::Leave), &joined)));
    }
}

#[test]
fn tries_are_further_and_further_apart() {
    let failed = |times| Failed {
        times,
        at_unix_seconds: 4990,
        at: moment(990),
        reasons: vec!["why".to_owned()],
    };
    let left = |times, wish: &Wish, now: Moment| {
        let record = Record::new(Stage::Standalone, Some(failed(times)));
        pause_left(&record, wish, &Seen { now, ..seen() })
    };
    assert_eq!(left(1, &JOIN, moment(1000)), Some(5));
    assert_eq!(left(1, &JOIN, moment(1005)), None);
    assert_eq!(left(2, &JOIN, moment(1000)), Some(20));
    assert_eq!(left(50, &JOIN, moment(1000)), Some(LONGEST_PAUSE - 10));
    // Who asks does not wait; who asked before does.
    assert_eq!(left(9, &Wish::Join { asked_unix_seconds: Some(4990) }, moment(1000)), None);
    assert!(left(9, &Wish::Join { asked_unix_seconds: Some(4989) }, moment(1000)).is_some());
    let booted = Moment { boot: "c".to_owned(), seconds: 10 };
    assert_eq!(left(1, &JOIN, booted), Some(5));
}

#[test]
fn a_node_that_does_not_prove_itself_goes_back() {
    let node = joining();
    let switch = Switch { since: moment(1000), since_unix_seconds: 5000, containers: containers() };
    let record = Record::new(Stage::Proving { switch, kubelet: "first".to_owned() }, None);
    let at = |seconds, kubelet: &str, proof: Option<ProofSeen>| {
        let kubelet = Some(kubelet.to_owned());
        decide(&node, &record, &JOIN, &Seen { now: moment(seconds), kubelet, proof, ..seen() })
    };
    // The kubelet has not been started anew.
    assert_eq!(lines(&at(1001, "first", None)), ["restart the kubelet; running pods stay"]);
    let mut bad = good_proof(containers());
    bad.node = Err("unreachable".to_owned());
    let waiting = at(1119, "second", Some(bad.clone()));
    assert_eq!(
        (lines(&waiting).len(), waiting.waits_for),
        (0, vec!["its node object: unreachable".to_owned()])
    );
    let back = [
        "record the way back",
        "remove /etc/kubernetes/kubelet.conf.d/20-joined.conf",
        "remove /etc/kubernetes/joined.env",
        "remove /etc/kubernetes/kubelet.kubeconfig",
        "remove /etc/kubernetes/kubelet.bootstrap.kubeconfig",
        "record which kubelet is to be replaced",
        "restart the kubelet; running pods stay",
    ];
    let late = at(1120, "second", Some(bad));
    assert_eq!(lines(&late), back);
    let Move::Record { record, .. } = &late.moves[0] else { panic!() };
    let Stage::Returning { why: Return::Failed { reasons }, .. } = &record.stage else { panic!() };
    let expected = ["the node has not proved itself within 120 s", "its node object: unreachable"];
    assert_eq!(reasons, &expected);
    // A lost pod ends it at once, and so does an order to leave.
    assert_eq!(lines(&at(1001, "second", Some(good_proof(BTreeMap::new())))), back);
    let out = Wish::StandAlone("somebody".to_owned());
    let left = decide(&node, &late_record(&late), &out, &seen());
    assert_eq!(lines(&left), back);
}

fn late_record(decision: &Decision) -> Record {
    let Move::Record { record, .. } = &decision.moves[0] else { panic!() };
    record.clone()
}

#[test]
fn drift_is_named() {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    assert_eq!(drift(&map(&[("a", "1")]), &map(&[("a", "1")])), None);
    assert_eq!(
        drift(&map(&[("a", "1"), ("b", "1")]), &map(&[("a", "2"), ("c", "1")])).unwrap(),
        "the kubelet's configuration: a was changed, b is gone, c was added"
    );
    let record =
        Record::new(Stage::Joined { since_unix_seconds: 0, files: wanted(&joining()) }, None);
    let mut seen = Seen { files: wanted(&joining()), ..seen() };
    assert_eq!(decide(&joining(), &record, &JOIN, &seen), Decision::default());
    seen.files.insert(files::CONFIG_PATH.to_owned(), "other".to_owned());
    let decision = decide(&joining(), &record, &JOIN, &seen);
    assert_eq!(decision.remarks.len(), 1, "{:?}", decision.remarks);
    assert!(decision.remarks[0].contains("20-joined.conf was changed"));
    assert!(!decision.moves.is_empty());
}

#[test]
fn a_kubelet_that_takes_no_notice_is_started_anew() {
    let node = joining();
    let stage = Stage::Joined { since_unix_seconds: 0, files: wanted(&node) };
    let record = Record::new(stage, None);
    let of = |seconds| {
        let what = "its new serving certificate".to_owned();
        let stale = vec![Stale { what, seconds, limit_seconds: 30 }];
        decide(&node, &record, &JOIN, &Seen { files: wanted(&node), stale, ..seen() })
    };
    assert_eq!(of(29), Decision::default());
    assert_eq!(lines(&of(30)), ["restart the kubelet; running pods stay"]);
    assert_eq!(
        of(30).remarks,
        ["the kubelet has not taken notice of its new serving certificate for 30 s"]
    );
}

#[test]
fn a_node_that_leaves_is_emptied_first() {
    let node = joining();
    let out = Wish::StandAlone("somebody".to_owned());
    let joined = Record::new(Stage::Joined { since_unix_seconds: 0, files: wanted(&node) }, None);
    let decision = decide(&node, &joined, &out, &seen());
    assert_eq!(lines(&decision), ["record that the node is emptied"]);
    let draining = Record::new(Stage::Draining { since: moment(1000) }, None);
    let at = |seconds, left| {
        decide(&node, &draining, &out, &Seen { now: moment(seconds), left: Some(left), ..seen() })
    };
    assert_eq!(
        lines(&at(1001, Ok(vec!["a/b".to_owned()]))),
        ["ask the cluster's pods on n1 to end"]
    );
    assert_eq!(lines(&at(1001, Ok(Vec::new())))[0], "record the way back");
    assert_eq!(lines(&at(1001, Err("away".to_owned()))).len(), 0);
    assert_eq!(lines(&at(1300, Err("away".to_owned())))[0], "record the way back");
    assert_eq!(lines(&at(1300, Ok(vec!["a/b".to_owned()])))[0], "record the way back");
    // Somebody thought better of it.
    let back = decide(&node, &draining, &JOIN, &seen());
    assert_eq!(lines(&back)[0], "let the cluster place pods on n1 again");
}

/// A machine as the moves see it.
#[derive(Clone)]
struct Machine {
    node: Node,
    /// The files of the joined form.
    wanted: BTreeMap<String, String>,
    record: Option<Record>,
    files: BTreeMap<String, String>,
    /// The run of the kubelet, and the files it was started with.
    kubelet: (u32, BTreeMap<String, String>),
    containers: BTreeMap<String, String>,
    clock: u64,
    /// Whether a kubelet that joins gets anywhere.
    api_answers: bool,
    /// Whether the cluster places no pods here.
    is_closed: bool,
}

impl Machine {
    fn new(node: Node, api_answers: bool) -> Machine {
        let (record, files) = (None, BTreeMap::new());
        let kubelet = (1, BTreeMap::new());
        let wanted = wanted(&node);
        Machine {
            node,
            wanted,
            record,
            files,
            kubelet,
            containers: containers(),
            clock: 1000,
            api_answers,
            is_closed: false,
        }
    }

    fn record(&self) -> Record {
        self.record.clone().unwrap_or_else(standalone)
    }

    fn seen(&self) -> Seen {
        let is_joined = self.kubelet.1 == self.wanted;
        let mut proof = good_proof(self.containers.clone());
        if !(is_joined && self.api_answers) {
            proof.node = Err("it is not there yet".to_owned());
        }
        let mut seen = seen();
        (seen.now, seen.unix_seconds) = (moment(self.clock), 4000 + self.clock);
        seen.files = self.files.clone();
        seen.kubelet = Some(self.kubelet.0.to_string());
        seen.containers = Ok(self.containers.clone());
        seen.proof = Some(proof);
        seen.left = Some(Ok(if self.is_closed { Vec::new() } else { vec!["a/b".to_owned()] }));
        seen
    }

    fn act(&mut self, it: &Move) {
        match it {
            Move::Record { record, .. } => self.record = Some(record.clone()),
            Move::NoteKubelet { then, .. } => {
                let stage = then.stage(self.kubelet.0.to_string());
                self.record = Some(self.record().at(stage));
            }
            Move::WriteFile { path, contents, .. } => {
                self.files.insert(path.clone(), sha256(contents.as_bytes()));
            }
            Move::RemoveFile { path } => {
                self.files.remove(path);
            }
            Move::RestartKubelet { .. } => self.restart(),
            Move::Drain { .. } => self.is_closed = true,
            Move::Uncordon { .. } => self.is_closed = false,
        }
    }

    fn restart(&mut self) {
        // The configuration without the flag ends the kubelet: no order of moves may come by that.
        let (has_flag, has_config) = (
            self.files.contains_key(files::FLAGS_PATH),
            self.files.contains_key(files::CONFIG_PATH),
        );
        assert!(has_flag || !has_config, "a kubelet that does not start");
        self.kubelet = (self.kubelet.0 + 1, self.files.clone());
    }

    /// Goes on until nothing is left to do, at most for so many moves. Gives how many there were.
    fn run(&mut self, wish: &Wish, most: usize) -> usize {
        let mut done = 0;
        for _ in 0..40 {
            let decision = decide(&self.node, &self.record(), wish, &self.seen());
            for it in &decision.moves {
                if done == most {
                    return done;
                }
                self.act(it);
                done += 1;
            }
            self.clock += 10;
        }
        done
    }

    #[track_caller]
    fn is_right(&self, wish: &Wish) {
        let stage = self.record().stage;
        match wish {
            Wish::Join { .. } if self.api_answers => {
                assert!(matches!(stage, Stage::Joined { .. }), "{stage:?}");
                assert_eq!(self.files, self.wanted);
                assert!(!self.is_closed);
            }
            Wish::Join { .. } => {
                // In the middle of a try, or between two.
                let Some(failed) = self.record().failed else { panic!("{stage:?}") };
                assert!(failed.times >= 1);
            }
            Wish::StandAlone(_) => {
                assert_eq!(stage, Stage::Standalone);
                assert_eq!(self.files, BTreeMap::new());
            }
        }
        if !matches!(stage, Stage::Proving { .. } | Stage::Switching(_) | Stage::Returning { .. }) {
            assert_eq!(self.kubelet.1, self.files, "the kubelet knows the files as they are");
        }
    }
}

/// Interrupted after each single move, with and without a kubelet that is started anew by somebody else at that moment.
#[test]
fn an_interruption_anywhere_ends_in_a_right_state() {
    let out = Wish::StandAlone("somebody".to_owned());
    let mut points = 0;
    for node in [joining(), bootstrapping()] {
        for api_answers in [true, false] {
            for (first, second) in [(&JOIN, &JOIN), (&JOIN, &out)] {
                let whole = Machine::new(node.clone(), api_answers).run(first, usize::MAX);
                for most in 0..=whole.min(40) {
                    for kubelet_crashes in [false, true] {
                        let mut machine = Machine::new(node.clone(), api_answers);
                        machine.run(first, most);
                        if kubelet_crashes {
                            machine.restart();
                        }
                        machine.run(second, usize::MAX);
                        machine.is_right(second);
                        points += 1;
                    }
                }
            }
        }
    }
    assert!(points > 100, "{points}");
}

#[test]
fn a_node_that_comes_back_is_open_again() {
    let mut machine = Machine::new(joining(), true);
    machine.run(&JOIN, usize::MAX);
    machine.run(&Wish::StandAlone("somebody".to_owned()), usize::MAX);
    assert!(machine.is_closed && machine.record().stage == Stage::Standalone);
    // Not before it has proved itself, however often that takes.
    machine.api_answers = false;
    machine.run(&JOIN, usize::MAX);
    assert!(machine.is_closed);
    machine.api_answers = true;
    machine.run(&JOIN, usize::MAX);
    machine.is_right(&JOIN);
}

#[test]
fn a_settled_node_is_left_alone() {
    let mut machine = Machine::new(joining(), true);
    assert!(machine.run(&JOIN, usize::MAX) > 6);
    assert_eq!(machine.run(&JOIN, usize::MAX), 0);
    let mut machine = Machine::new(joining(), true);
    assert_eq!(machine.run(&Wish::StandAlone("by hand".to_owned()), usize::MAX), 0);
}
