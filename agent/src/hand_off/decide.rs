//! What to do next about the hand-off: pure, from the record, what is wanted and what was seen.
//!
//! Whatever interrupts the agent, the next decision starts from the record and the files as they are, and repeats what
//! may not have been finished.

use std::collections::BTreeMap;

use basalt_model::node::{HandOff, Kubernetes, Node};

use super::files::{self, REMOVED};
use super::gates::Gate;
use super::moves::{Move, Then};
use super::proof::{self, ProofSeen, Verdict};
use super::record::{Failed, Order, Ordered, RECORD_PATH, Record, Return, Stage, Switch};
use super::rotation::Stale;
use crate::generation::record::Moment;
use crate::host::look::sha256;
use crate::host::systemd::KUBELET_UNIT;

/// Seconds before the second try; each further one waits twice as long.
const FIRST_PAUSE: u64 = 15;
/// Seconds that no try waits longer than.
const LONGEST_PAUSE: u64 = 1800;

/// What the node is to be, as far as the cluster goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A node of the cluster. Asked for at this time, when somebody asked.
    Join { asked_unix_seconds: Option<u64> },
    /// Standalone, for this reason.
    StandAlone(String),
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) now: Moment,
    pub(crate) unix_seconds: u64,
    /// The files of the joined form that are there, by path, as SHA-256.
    pub(crate) files: BTreeMap<String, String>,
    /// The run of the kubelet; absent while none runs.
    pub(crate) kubelet: Option<String>,
    /// The containers of static pods that run: the id, by `namespace/pod/container`.
    pub(crate) containers: Result<BTreeMap<String, String>, String>,
    /// The gates, where they matter.
    pub(crate) gates: Vec<Gate>,
    /// What there is of a proof, where it matters.
    pub(crate) proof: Option<ProofSeen>,
    /// What the kubelet has not taken notice of, where it matters.
    pub(crate) stale: Vec<Stale>,
    /// Why the API server says nothing, where it matters.
    pub(crate) silence: Option<String>,
    /// The cluster's pods that are left, where it matters; or why nobody knows.
    pub(crate) left: Option<Result<Vec<String>, String>>,
}

/// What to do, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// In order; the first that fails ends it.
    pub(crate) moves: Vec<Move>,
    /// Why there is nothing more to do at the moment, one line each.
    pub(crate) waits_for: Vec<String>,
    /// What a person should know of, one line each.
    pub(crate) remarks: Vec<String>,
}

/// What the node is to be.
pub(crate) fn wish(kubernetes: Option<&Kubernetes>, order: Option<Ordered>, stage: &Stage) -> Wish {
    let Some(kubernetes) = kubernetes else {
        return Wish::StandAlone("node.json names no cluster to join".to_owned());
    };
    match (order, kubernetes.hand_off) {
        (Some(Ordered { order: Order::Leave, .. }), _) => {
            Wish::StandAlone("somebody made it leave (`basalt-agent leave`)".to_owned())
        }
        (Some(Ordered { order: Order::Join, unix_seconds }), _) => {
            Wish::Join { asked_unix_seconds: Some(unix_seconds) }
        }
        (None, HandOff::Automatic) => Wish::Join { asked_unix_seconds: None },
        (None, HandOff::Manual) => match stage {
            Stage::Standalone | Stage::Returning { .. } => {
                Wish::StandAlone("it joins by hand: `basalt-agent join`".to_owned())
            }
            // Somebody had it join before.
            Stage::Switching(_)
            | Stage::Proving { .. }
            | Stage::Joined { .. }
            | Stage::Draining { .. } => Wish::Join { asked_unix_seconds: None },
        },
    }
}

/// Whether the gates matter: before a switch, and nowhere else.
pub(crate) fn needs_gates(node: &Node, record: &Record, wish: &Wish, seen: &Seen) -> bool {
    let Wish::Join { .. } = wish else { return false };
    match &record.stage {
        Stage::Standalone => pause_left(record, wish, seen).is_none(),
        Stage::Joined { .. } => wanted(node) != seen.files,
        Stage::Switching(_)
        | Stage::Proving { .. }
        | Stage::Draining { .. }
        | Stage::Returning { .. } => false,
    }
}

/// Decides.
pub(crate) fn decide(node: &Node, record: &Record, wish: &Wish, seen: &Seen) -> Decision {
    match (&record.stage, wish) {
        (Stage::Standalone, Wish::StandAlone(_)) if !seen.files.is_empty() => {
            go_back(record, Return::Left)
        }
        (Stage::Standalone, Wish::StandAlone(reason)) => waiting(vec![reason.clone()]),
        (Stage::Standalone, Wish::Join { .. }) => match pause_left(record, wish, seen) {
            Some(seconds) => waiting(vec![format!("the next try is in {seconds} s")]),
            None => through_gates(node, record, seen),
        },
        (Stage::Switching(_) | Stage::Proving { .. }, Wish::StandAlone(_)) => {
            go_back(record, Return::Left)
        }
        (Stage::Switching(switch), Wish::Join { .. }) => match overdue(node, switch, seen) {
            Some(reasons) => go_back(record, Return::Failed { reasons }),
            None => switch_over(node, record, renewed(switch, seen), seen),
        },
        (Stage::Proving { switch, kubelet }, Wish::Join { .. }) => {
            proving(node, record, switch, kubelet, seen)
        }
        (Stage::Joined { .. }, Wish::StandAlone(_)) => {
            let stage = Stage::Draining { since: seen.now.clone() };
            let record = record.at(stage).closed(true);
            of_moves(vec![Move::Record { path: RECORD_PATH.to_owned(), record }])
        }
        (Stage::Joined { files, .. }, Wish::Join { .. }) => joined(node, record, files, seen),
        (Stage::Draining { .. }, Wish::Join { .. }) => of_moves(vec![
            uncordon(node),
            recording(&record.clone().closed(false), joined_with(seen)),
        ]),
        (Stage::Draining { since }, Wish::StandAlone(_)) => draining(node, record, since, seen),
        (Stage::Returning { why, kubelet: None }, _) => go_back(record, why.clone()),
        (Stage::Returning { why, kubelet: Some(kubelet) }, _) => {
            returning(record, why, kubelet, seen)
        }
    }
}

fn through_gates(node: &Node, record: &Record, seen: &Seen) -> Decision {
    let closed = closed(&seen.gates);
    if !closed.is_empty() || seen.gates.is_empty() {
        return waiting(closed);
    }
    let containers = match &seen.containers {
        Ok(containers) => containers.clone(),
        Err(reason) => return waiting(vec![format!("nobody knows what runs: {reason}")]),
    };
    let switch =
        Switch { since: seen.now.clone(), since_unix_seconds: seen.unix_seconds, containers };
    switch_over(node, record, switch, seen)
}

/// The gates that keep the node back, one line each.
pub(crate) fn closed(gates: &[Gate]) -> Vec<String> {
    let closed = gates.iter().filter(|gate| !gate.holds);
    closed.map(|gate| format!("{}: {}", gate.name, gate.evidence)).collect()
}

/// The whole way into the cluster.
fn switch_over(node: &Node, record: &Record, switch: Switch, seen: &Seen) -> Decision {
    let Some(kubernetes) = &node.kubernetes else { return Decision::default() };
    let mut moves = vec![recording(record, Stage::Switching(switch.clone()))];
    let wanted = files::joined(node, kubernetes);
    // What another way of proving oneself needed.
    let is_wanted = |path: &str| wanted.iter().any(|file| file.path == path);
    let spare = REMOVED.into_iter().filter(|path| {
        *path != files::KUBECONFIG_PATH && seen.files.contains_key(*path) && !is_wanted(path)
    });
    moves.extend(spare.map(|path| Move::RemoveFile { path: path.to_owned() }));
    moves.extend(wanted.into_iter().map(|file| Move::WriteFile {
        path: file.path.to_owned(),
        mode: file.mode,
        contents: file.contents,
    }));
    moves.push(Move::NoteKubelet { path: RECORD_PATH.to_owned(), then: Then::Prove(switch) });
    moves.push(restart());
    of_moves(moves)
}

/// The whole way back.
fn go_back(record: &Record, why: Return) -> Decision {
    let stage = Stage::Returning { why: why.clone(), kubelet: None };
    let mut moves = vec![recording(record, stage)];
    moves.extend(REMOVED.map(|path| Move::RemoveFile { path: path.to_owned() }));
    moves.push(Move::NoteKubelet { path: RECORD_PATH.to_owned(), then: Then::StandAlone(why) });
    moves.push(restart());
    of_moves(moves)
}

fn proving(node: &Node, record: &Record, switch: &Switch, kubelet: &str, seen: &Seen) -> Decision {
    if seen.kubelet.as_deref() == Some(kubelet) {
        return of_moves(vec![restart()]);
    }
    let reasons = match &seen.proof {
        None => Vec::new(),
        Some(proof) => match proof::judge(switch, proof, !seen.now.is_other_boot(&switch.since)) {
            Verdict::Proved(remarks) => {
                let mut moves = Vec::from_iter(record.is_closed.then(|| uncordon(node)));
                moves.push(Move::Record {
                    path: RECORD_PATH.to_owned(),
                    record: Record::new(joined_with(seen), None),
                });
                return Decision { moves, remarks, ..Decision::default() };
            }
            Verdict::Lost(reasons) => return go_back(record, Return::Failed { reasons }),
            Verdict::NotYet(reasons) => reasons,
        },
    };
    if seen.now.is_other_boot(&switch.since) {
        // The machine was booted in between, and began anew.
        let switch = renewed(switch, seen);
        let stage = Stage::Proving { switch, kubelet: kubelet.to_owned() };
        let decision = of_moves(vec![recording(record, stage)]);
        return Decision { waits_for: reasons, ..decision };
    }
    match overdue(node, switch, seen) {
        Some(mut late) => {
            late.extend(reasons);
            go_back(record, Return::Failed { reasons: late })
        }
        None => waiting(reasons),
    }
}

fn joined(
    node: &Node,
    record: &Record,
    recorded: &BTreeMap<String, String>,
    seen: &Seen,
) -> Decision {
    let wanted = wanted(node);
    if wanted == seen.files {
        // Taken up by itself as a rule; a restart is for when it is proved not to be.
        let stuck: Vec<&Stale> = seen.stale.iter().filter(|it| it.is_stuck()).collect();
        let moves = if stuck.is_empty() { Vec::new() } else { vec![restart()] };
        let remarks = stuck.into_iter().map(ToString::to_string).collect();
        return Decision { moves, remarks, ..Decision::default() };
    }
    let drift = drift(recorded, &seen.files);
    let mut remarks: Vec<String> = drift.into_iter().collect();
    if wanted != *recorded {
        remarks.push("node.json asks for another configuration of the joined kubelet".to_owned());
    }
    Decision { remarks, ..through_gates(node, record, seen) }
}

/// What somebody did to the files of the joined form, when they are not what was written.
pub(crate) fn drift(
    recorded: &BTreeMap<String, String>,
    files: &BTreeMap<String, String>,
) -> Option<String> {
    let paths = recorded.keys().chain(files.keys());
    let differing = paths.filter(|path| recorded.get(*path) != files.get(*path));
    let named: Vec<String> = differing
        .map(|path| match (recorded.contains_key(path), files.contains_key(path)) {
            (true, true) => format!("{path} was changed"),
            (true, false) => format!("{path} is gone"),
            (false, _) => format!("{path} was added"),
        })
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    (!named.is_empty()).then(|| format!("the kubelet's configuration: {}", named.join(", ")))
}

fn draining(node: &Node, record: &Record, since: &Moment, seen: &Seen) -> Decision {
    let limit = node.kubernetes.as_ref().map_or(0, |kubernetes| kubernetes.drain_seconds);
    let is_over = seen.now.is_other_boot(since) || seen.now.since(since) >= u64::from(limit);
    let drain = Move::Drain { path: node.name.to_string() };
    match &seen.left {
        Some(Ok(left)) if left.is_empty() => go_back(record, Return::Left),
        left if is_over => {
            let remarks = match left {
                Some(Ok(left)) => vec![format!("did not wait for {} any longer", left.join(", "))],
                Some(Err(reason)) => {
                    vec![format!("could not ask for the cluster's pods: {reason}")]
                }
                None => Vec::new(),
            };
            Decision { remarks, ..go_back(record, Return::Left) }
        }
        Some(Ok(left)) => {
            let waits_for = left.iter().map(|pod| format!("pod {pod} ends")).collect();
            Decision { moves: vec![drain], waits_for, ..Decision::default() }
        }
        Some(Err(reason)) => waiting(vec![format!("the API server: {reason}")]),
        None => of_moves(vec![drain]),
    }
}

fn returning(record: &Record, why: &Return, kubelet: &str, seen: &Seen) -> Decision {
    match &seen.kubelet {
        Some(running) if running == kubelet => of_moves(vec![restart()]),
        None => waiting(vec!["the kubelet runs again".to_owned()]),
        Some(_) => {
            let failed = match why {
                Return::Left => None,
                Return::Failed { reasons } => Some(Failed::next(
                    record.failed.as_ref(),
                    seen.unix_seconds,
                    seen.now.clone(),
                    reasons.clone(),
                )),
            };
            let record = Record::new(Stage::Standalone, failed).closed(record.is_closed);
            of_moves(vec![Move::Record { path: RECORD_PATH.to_owned(), record }])
        }
    }
}

/// Seconds until the next try is due; absent when it is.
fn pause_left(record: &Record, wish: &Wish, seen: &Seen) -> Option<u64> {
    let failed = record.failed.as_ref()?;
    if let Wish::Join { asked_unix_seconds: Some(asked) } = wish
        && *asked >= failed.at_unix_seconds
    {
        return None;
    }
    let doublings = failed.times.saturating_sub(1).min(16);
    let pause = (FIRST_PAUSE << doublings).min(LONGEST_PAUSE);
    let since = match seen.now.is_other_boot(&failed.at) {
        true => seen.now.seconds,
        false => seen.now.since(&failed.at),
    };
    pause.checked_sub(since).filter(|left| *left > 0)
}

/// Why a switch has taken too long, when it has.
fn overdue(node: &Node, switch: &Switch, seen: &Seen) -> Option<Vec<String>> {
    let limit = node.kubernetes.as_ref().map_or(0, |kubernetes| kubernetes.deadline_seconds);
    let is_over =
        !seen.now.is_other_boot(&switch.since) && seen.now.since(&switch.since) >= u64::from(limit);
    is_over.then(|| vec![format!("the node has not proved itself within {limit} s")])
}

/// The same switch, begun anew in this boot.
fn renewed(switch: &Switch, seen: &Seen) -> Switch {
    match seen.now.is_other_boot(&switch.since) {
        false => switch.clone(),
        true => Switch {
            since: seen.now.clone(),
            since_unix_seconds: seen.unix_seconds,
            containers: BTreeMap::new(),
        },
    }
}

/// The files of the joined form as they are to be, by path, as SHA-256.
fn wanted(node: &Node) -> BTreeMap<String, String> {
    let files = node.kubernetes.iter().flat_map(|kubernetes| files::joined(node, kubernetes));
    files.map(|file| (file.path.to_owned(), sha256(file.contents.as_bytes()))).collect()
}

fn joined_with(seen: &Seen) -> Stage {
    Stage::Joined { since_unix_seconds: seen.unix_seconds, files: seen.files.clone() }
}

fn recording(record: &Record, stage: Stage) -> Move {
    Move::Record { path: RECORD_PATH.to_owned(), record: record.at(stage) }
}

fn uncordon(node: &Node) -> Move {
    Move::Uncordon { path: node.name.to_string() }
}

fn restart() -> Move {
    Move::RestartKubelet { path: KUBELET_UNIT.to_owned() }
}

fn waiting(waits_for: Vec<String>) -> Decision {
    Decision { waits_for, ..Decision::default() }
}

fn of_moves(moves: Vec<Move>) -> Decision {
    Decision { moves, ..Decision::default() }
}

#[cfg(test)]
mod tests;
