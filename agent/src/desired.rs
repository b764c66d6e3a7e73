//! What the node is to be: takes what is on disk, gives the node to obey and its pods. Pure.
//!
//! `node.json` is not obeyed blindly. Another machine's is refused, an older generation is refused, and so is other content under the generation that
//! was accepted already; whenever `node.json` cannot be obeyed, the copy of the last accepted one is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use basalt_model::node::{NODE_JSON_PATH, Node, NodeJsonError};
use basalt_static_pods::{CONFIG_DIRECTORY, StaticPod};
use serde::Serialize;

use crate::generation::pins::Pins;
use crate::generation::record::Generations;
use crate::generation::{PodSet, PodSetId};
use crate::host::ACCEPTED_NODE_PATH;
use crate::host::ledger::{Accepted, LedgerSeen};
use crate::host::look::sha256;
use crate::host::manifests::pod_identity;
use crate::probe::Lingering;

/// What the decision is made from.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// [`NODE_JSON_PATH`].
    pub(crate) node_json: TextSeen,
    /// [`ACCEPTED_NODE_PATH`].
    pub(crate) accepted_node: TextSeen,
    /// The ledger.
    pub(crate) ledger: LedgerSeen,
}

/// A text file as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextSeen {
    Missing,
    Unreadable(String),
    Text(String),
}

/// What the node is to be, and whether `node.json` is why.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// What to obey; `None` when nothing on disk can be.
    pub(crate) desired: Option<Desired>,
    /// Why `node.json` is not obeyed.
    pub(crate) problem: Option<Problem>,
    /// What was accepted before.
    pub(crate) accepted: Option<Accepted>,
}

/// A node that is to be, with everything that follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) node: Node,
    /// The text the node was read from; becomes the accepted copy.
    pub(crate) text: String,
    /// Sorted by name.
    pub(crate) pods: Vec<StaticPod>,
    pub(crate) acceptance: Acceptance,
    pub(crate) record: Record,
}

/// What is to be on record before the node is made what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// What is accepted: not always what the node is to be, since a set that failed its trial stays accepted.
    pub(crate) accepted: Accepted,
    /// The text that is accepted.
    pub(crate) text: String,
    pub(crate) generations: Generations,
    /// The set that has to be kept on disk first.
    pub(crate) keep: Option<PodSet>,
    /// What the record says that it did not say before.
    pub(crate) turn: Option<Turn>,
    /// The pod that is stuck, and for which the kubelet is started anew.
    pub(crate) stuck: Option<Lingering>,
    /// What is to be done about the pins of images.
    pub(crate) pins: Pins,
}

/// A turn in the life of a pod set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "turn", rename_all = "kebab-case")]
pub(crate) enum Turn {
    /// Its trial begins.
    Begin { set: PodSetId },
    /// It is proven.
    Commit { set: PodSetId },
    /// It failed; another one returns.
    Return { from: PodSetId, to: PodSetId, reasons: Vec<String> },
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Turn::Begin { set } => write!(f, "begin the trial of generation {set}"),
            Turn::Commit { set } => write!(f, "commit generation {set}"),
            Turn::Return { from, to, reasons } => {
                let reasons = reasons.join("; ");
                write!(f, "return from generation {from} to generation {to}: {reasons}")
            }
        }
    }
}

impl Desired {
    /// What a node is to be when nothing is known of generations yet.
    pub(crate) fn new(
        node: Node,
        text: String,
        pods: Vec<StaticPod>,
        acceptance: Acceptance,
    ) -> Desired {
        let accepted = Accepted { generation: node.generation, sha256: sha256(text.as_bytes()) };
        let record = Record {
            accepted,
            text: text.clone(),
            generations: Generations::default(),
            keep: None,
            turn: None,
            stuck: None,
            pins: Pins::default(),
        };
        Desired { node, text, pods, acceptance, record }
    }

    /// Its pod set.
    pub(crate) fn set(&self) -> PodSet {
        PodSet::new(self.node.generation, self.text.clone(), self.pods.clone())
    }
}

/// Where a desired node stands with the generation rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// It is the accepted one, on record.
    Recorded,
    /// It is to be accepted, and recorded before anything else is done.
    New,
    /// The record cannot be read, so nobody knows. Good enough to look at, not to act on.
    Unverified,
}

/// Why `node.json` is not obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// There is no such file.
    #[error("`{NODE_JSON_PATH}` is missing")]
    Missing,
    /// It is there and cannot be read.
    #[error("`{NODE_JSON_PATH}` cannot be read: {reason}")]
    Unreadable { reason: String },
    /// It cannot be used; the text has the place.
    #[error("{fault}")]
    Invalid { fault: String },
    /// Its pods cannot be made.
    #[error(
        "no static pods can be made from `{NODE_JSON_PATH}`, generation {generation}: {reason}"
    )]
    Unrenderable { generation: u64, reason: String },
    /// It is another machine's.
    #[error(
        "`{NODE_JSON_PATH}` is of `{offered}`, and this is `{accepted}`: another machine's node is not obeyed"
    )]
    OtherNode { offered: String, accepted: String },
    /// The generation went back.
    #[error(
        "`{NODE_JSON_PATH}` has generation {offered}, older than the accepted generation {accepted}"
    )]
    Older { offered: u64, accepted: u64 },
    /// The generation stayed, the content did not.
    #[error(
        "`{NODE_JSON_PATH}` has the accepted generation {generation} with other content: \
         accepted sha256 {accepted}, offered sha256 {offered}"
    )]
    OtherContent { generation: u64, accepted: String, offered: String },
    /// What was accepted cannot be found out.
    #[error("the accepted generation cannot be found out: {reason}")]
    NoRecord { reason: String },
}

impl Problem {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Problem::Missing | Problem::Invalid { .. } | Problem::Unrenderable { .. } => {
                format!("write a valid `{NODE_JSON_PATH}`, made by `cargo xtask build-image`")
            }
            Problem::Unreadable { .. } => {
                format!("make `{NODE_JSON_PATH}` a regular file that root can read")
            }
            Problem::OtherNode { accepted, .. } => format!(
                "put the node.json of `{accepted}` there; a machine that is to become another is installed anew"
            ),
            Problem::Older { accepted, .. } => format!(
                "to go back to an earlier state, raise `generation` in cluster.yaml above \
                 {accepted} and build again"
            ),
            Problem::OtherContent { generation, .. } => format!(
                "raise `generation` in cluster.yaml to {} or more and build again",
                generation.saturating_add(1)
            ),
            Problem::NoRecord { .. } => {
                "make /var/lib/basalt readable for the agent; it changes nothing until then"
                    .to_owned()
            }
        }
    }
}

/// Decides what the node is to be. `render` makes the pods of a node.
pub(crate) fn decide<E: std::fmt::Display>(
    inputs: &Inputs,
    render: impl Fn(&Node) -> Result<Vec<StaticPod>, E>,
) -> Decision {
    let copy = match &inputs.accepted_node {
        TextSeen::Text(text) => Node::from_json(ACCEPTED_NODE_PATH, text).ok().map(|n| (n, text)),
        TextSeen::Missing | TextSeen::Unreadable(_) => None,
    };
    let (accepted, copy) = on_record(&inputs.ledger, copy);
    let pods = |node: &Node| {
        render(node).map_err(|error| error.to_string()).and_then(|pods| check(&pods).map(|()| pods))
    };

    let offered = read(&inputs.node_json)
        .and_then(|(node, text)| judge(node, text, accepted.as_ref(), copy.as_ref(), inputs))
        .and_then(|mut desired| match pods(&desired.node) {
            Ok(rendered) => {
                desired.pods = rendered;
                Ok(desired)
            }
            Err(reason) => {
                Err(Problem::Unrenderable { generation: desired.node.generation, reason })
            }
        });
    match offered {
        Ok(desired) => Decision { desired: Some(desired), problem: None, accepted },
        Err(problem) => {
            let desired = copy.and_then(|(node, text)| {
                let pods = pods(&node).ok()?;
                let acceptance = recorded(&node, &text, &inputs.ledger);
                Some(Desired::new(node, text, pods, acceptance))
            });
            Decision { desired, problem: Some(problem), accepted }
        }
    }
}

/// What was accepted, and the copy of it when that is to be trusted.
///
/// The copy is written first and the ledger right after it. So a copy of a newer generation than the ledger's was about
/// to be accepted when the agent was interrupted; any other copy that the ledger does not know is no copy.
fn on_record(
    ledger: &LedgerSeen,
    copy: Option<(Node, &String)>,
) -> (Option<Accepted>, Option<(Node, String)>) {
    let copy = copy.map(|(node, text)| (node, text.clone()));
    let of_copy = copy.as_ref().map(|(node, text)| Accepted {
        generation: node.generation,
        sha256: sha256(text.as_bytes()),
    });
    match (ledger, of_copy) {
        (LedgerSeen::Known(ledger), Some(of_copy)) => {
            let usable = of_copy.sha256 == ledger.accepted.sha256
                || of_copy.generation > ledger.accepted.generation;
            match usable {
                true => (Some(of_copy), copy),
                false => (Some(ledger.accepted.clone()), None),
            }
        }
        (LedgerSeen::Known(ledger), None) => (Some(ledger.accepted.clone()), None),
        (LedgerSeen::Missing | LedgerSeen::Broken(_) | LedgerSeen::Unreadable(_), of_copy) => {
            (of_copy, copy)
        }
    }
}

fn read(node_json: &TextSeen) -> Result<(Node, String), Problem> {
    match node_json {
        TextSeen::Missing => Err(Problem::Missing),
        TextSeen::Unreadable(reason) => Err(Problem::Unreadable { reason: reason.clone() }),
        TextSeen::Text(text) => match Node::from_json(NODE_JSON_PATH, text) {
            Ok(node) => Ok((node, text.clone())),
            Err(error) => Err(invalid(&error)),
        },
    }
}

fn invalid(error: &NodeJsonError) -> Problem {
    Problem::Invalid { fault: error.to_string() }
}

/// The generation rule.
fn judge(
    node: Node,
    text: String,
    accepted: Option<&Accepted>,
    copy: Option<&(Node, String)>,
    inputs: &Inputs,
) -> Result<Desired, Problem> {
    let digest = sha256(text.as_bytes());
    let desired = |node, text, acceptance| Desired::new(node, text, Vec::new(), acceptance);
    // Two machines that hold one node's addresses would take each other's network down.
    if let Some((accepted, _)) = copy {
        let name = |node: &Node| format!("{}/{}", node.cluster, node.name);
        if name(&node) != name(accepted) {
            return Err(Problem::OtherNode { offered: name(&node), accepted: name(accepted) });
        }
    }
    if let Some(accepted) = accepted {
        if digest == accepted.sha256 {
            let acceptance = match copy {
                Some(_) => recorded(&node, &text, &inputs.ledger),
                // The copy is lost: accept the same thing once more.
                None => Acceptance::New,
            };
            return Ok(desired(node, text, acceptance));
        }
        if node.generation < accepted.generation {
            let (offered, accepted) = (node.generation, accepted.generation);
            return Err(Problem::Older { offered, accepted });
        }
        if node.generation == accepted.generation {
            return match copy {
                // Another layout of the same JSON is the same content.
                Some((copied, copied_text)) if *copied == node => {
                    let acceptance = recorded(copied, copied_text, &inputs.ledger);
                    let text = copied_text.clone();
                    Ok(desired(node, text, acceptance))
                }
                _ => Err(Problem::OtherContent {
                    generation: node.generation,
                    accepted: accepted.sha256.clone(),
                    offered: digest,
                }),
            };
        }
    }
    match &inputs.ledger {
        LedgerSeen::Missing | LedgerSeen::Known(_) | LedgerSeen::Broken(_) => {
            Ok(desired(node, text, Acceptance::New))
        }
        // With a copy there is an accepted state to keep; without one there is something to look at, at least.
        LedgerSeen::Unreadable(reason) if accepted.is_some() => {
            Err(Problem::NoRecord { reason: reason.clone() })
        }
        LedgerSeen::Unreadable(_) => Ok(desired(node, text, Acceptance::Unverified)),
    }
}

/// Where a node that may be obeyed stands with the ledger.
fn recorded(node: &Node, text: &str, ledger: &LedgerSeen) -> Acceptance {
    match ledger {
        LedgerSeen::Known(ledger)
            if ledger.accepted.generation == node.generation
                && ledger.accepted.sha256 == sha256(text.as_bytes()) =>
        {
            Acceptance::Recorded
        }
        LedgerSeen::Known(_) | LedgerSeen::Missing | LedgerSeen::Broken(_) => Acceptance::New,
        LedgerSeen::Unreadable(_) => Acceptance::Unverified,
    }
}

/// The last guard before anything reaches the kubelet: pods that would overwrite each other's files, or files outside
/// the pod's own folder, are not written at all.
fn check(pods: &[StaticPod]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut identities = BTreeMap::new();
    for pod in pods {
        if !names.insert(&pod.name) {
            return Err(format!("two static pods are named `{}`", pod.name));
        }
        let Some(identity) = pod_identity(&pod.manifest) else {
            return Err(format!("the manifest of `{}` names no pod", pod.name));
        };
        if let Some(other) = identities.insert(identity.to_string(), &pod.name) {
            return Err(format!("the manifests of `{other}` and `{}` name one pod", pod.name));
        }
        let folder = format!("{CONFIG_DIRECTORY}/{}/", pod.name);
        let mut paths = BTreeSet::new();
        for file in &pod.files {
            let path = file.path.as_str();
            if !path.starts_with(&folder) {
                return Err(format!("config file `{path}` lies outside of `{folder}`"));
            }
            if !paths.insert(path) {
                return Err(format!("static pod `{}` has two files at `{path}`", pod.name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::host::ledger::Ledger;
    use crate::testing::{node_json, pod};

    fn text(text: &str) -> TextSeen {
        TextSeen::Text(text.to_owned())
    }

    fn ledger_of(text: &str) -> LedgerSeen {
        let generation = Node::from_json("", text).unwrap().generation;
        LedgerSeen::Known(Ledger::new(Accepted { generation, sha256: sha256(text.as_bytes()) }))
    }

    /// What a decision comes to: generation obeyed and its acceptance, and the problem's first words.
    type Verdict<'a> = (Option<(u64, Acceptance)>, &'a str);

    #[track_caller]
    fn check(node: TextSeen, copy: TextSeen, ledger: LedgerSeen, expected: Verdict<'_>) {
        let inputs = Inputs { node_json: node, accepted_node: copy, ledger };
        let decision = decide(&inputs, |node: &Node| match node.generation {
            13 => Err("unlucky"),
            _ => Ok(vec![pod("a", &[("a.cfg", "text")])]),
        });
        let obeyed = decision.desired.map(|d| (d.node.generation, d.acceptance));
        let problem = decision.problem.map(|p| p.to_string()).unwrap_or_default();
        assert_eq!(obeyed, expected.0, "{problem}");
        assert!(
            problem.starts_with(expected.1) && problem.is_empty() == expected.1.is_empty(),
            "{problem}"
        );
    }

    #[test]
    fn generation_rule() {
        use Acceptance::{New, Recorded, Unverified};
        use LedgerSeen::{Broken, Missing, Unreadable};
        let (four, five) = (node_json(4, "a"), node_json(5, "a"));
        let other = node_json(5, "b");
        let respaced = five.replace("\n", " ");
        let six = node_json(6, "a");
        let (unlucky, broken) = (node_json(13, "a"), "{\n  \"schema\": 1,\n  nope");
        let none = || TextSeen::Missing;
        let gone = || Unreadable("EIO".to_owned());
        let bad = || Broken("bad".to_owned());

        // First start.
        check(none(), none(), Missing, (None, "`/etc/basalt/node.json` is missing"));
        check(text(broken), none(), Missing, (None, "/etc/basalt/node.json:3:3: "));
        check(text(&five), none(), Missing, (Some((5, New)), ""));
        // Nothing changed, or only the layout of the text.
        check(text(&five), text(&five), ledger_of(&five), (Some((5, Recorded)), ""));
        check(text(&respaced), text(&five), ledger_of(&five), (Some((5, Recorded)), ""));
        // Newer, older, same number with other content.
        check(text(&five), text(&four), ledger_of(&four), (Some((5, New)), ""));
        let older =
            "`/etc/basalt/node.json` has generation 4, older than the accepted generation 5";
        check(text(&four), text(&five), ledger_of(&five), (Some((5, Recorded)), older));
        let same = "`/etc/basalt/node.json` has the accepted generation 5 with other content: ";
        check(text(&other), text(&five), ledger_of(&five), (Some((5, Recorded)), same));
        // Another machine's, in this cluster or another, whatever its generation; the first one is taken as it is.
        let renamed = six.replacen("\"name\": \"n1\"", "\"name\": \"n2\"", 1);
        let moved = six.replacen("\"cluster\": \"lab\"", "\"cluster\": \"other\"", 1);
        for (other, name) in [(&renamed, "lab/n2"), (&moved, "other/n1")] {
            let problem = format!("`/etc/basalt/node.json` is of `{name}`, and this is `lab/n1`: ");
            check(text(other), text(&five), ledger_of(&five), (Some((5, Recorded)), &problem));
            check(text(other), text(&five), Missing, (Some((5, New)), &problem));
            check(text(other), none(), Missing, (Some((6, New)), ""));
        }
        // A static pod directory that is not the agent's.
        let usr = six.replacen("/etc/kubernetes/manifests", "/usr", 1);
        let place = "/etc/basalt/node.json:";
        check(text(&usr), text(&five), ledger_of(&five), (Some((5, Recorded)), place));
        // Unusable: the accepted one stays.
        let place = "/etc/basalt/node.json:3:3: ";
        check(text(broken), text(&five), ledger_of(&five), (Some((5, Recorded)), place));
        check(
            none(),
            text(&five),
            ledger_of(&five),
            (Some((5, Recorded)), "`/etc/basalt/node.json` is missing"),
        );
        check(
            text(&unlucky),
            text(&five),
            ledger_of(&five),
            (Some((5, Recorded)), "no static pods can be made"),
        );
        check(text(&unlucky), none(), Missing, (None, "no static pods can be made"));
        // Interrupted between the copy and the ledger.
        check(text(&five), text(&five), ledger_of(&four), (Some((5, New)), ""));
        check(text(broken), text(&five), ledger_of(&four), (Some((5, New)), place));
        check(text(&other), text(&five), ledger_of(&four), (Some((5, New)), same));
        check(text(&five), text(&five), Missing, (Some((5, New)), ""));
        // A copy that is not the accepted one, is broken or lost.
        check(text(&five), text(&four), ledger_of(&five), (Some((5, New)), ""));
        check(text(broken), text(&other), ledger_of(&five), (None, place));
        check(text(&five), text(broken), ledger_of(&five), (Some((5, New)), ""));
        check(text(&four), none(), ledger_of(&five), (None, older));
        check(text(&respaced), none(), ledger_of(&five), (None, same));
        // A broken ledger: the copy is the record.
        check(text(&four), text(&five), bad(), (Some((5, New)), older));
        check(text(&five), text(&five), bad(), (Some((5, New)), ""));
        check(text(&five), none(), bad(), (Some((5, New)), ""));
        // A ledger that cannot be read: nothing new is accepted.
        check(text(&five), text(&five), gone(), (Some((5, Unverified)), ""));
        check(text(&five), text(&four), gone(), (Some((4, Unverified)), "the accepted generation"));
        check(text(&five), none(), gone(), (Some((5, Unverified)), ""));
    }

    #[test]
    fn pods_that_must_not_be_written() {
        let outside = |path: &str| {
            let mut pod = pod("a", &[("a.cfg", "")]);
            pod.files[0].path = path.parse().unwrap();
            super::check(&[pod]).unwrap_err()
        };
        assert_eq!(
            outside("/etc/basalt/pods/b/a.cfg"),
            "config file `/etc/basalt/pods/b/a.cfg` lies outside of `/etc/basalt/pods/a/`"
        );
        assert!(outside("/etc/passwd").contains("outside"));
        let twice = super::check(&[pod("a", &[]), pod("a", &[])]).unwrap_err();
        assert_eq!(twice, "two static pods are named `a`");
        let mut empty = pod("a", &[]);
        empty.manifest = "\n".to_owned();
        assert_eq!(super::check(&[empty]).unwrap_err(), "the manifest of `a` names no pod");
        let mut same = pod("b", &[]);
        same.manifest = pod("a", &[]).manifest;
        let same = super::check(&[pod("a", &[]), same]).unwrap_err();
        assert_eq!(same, "the manifests of `a` and `b` name one pod");
        super::check(&[pod("a", &[("x", ""), ("y/z", "")]), pod("b", &[])]).unwrap();
    }
}
