//! The status of a node: what is wanted, what is seen, why they differ and what to do. Pure, but for [`status`] itself.

use serde::Serialize;

use crate::apply::Failure;
use crate::desired::Acceptance;
use crate::generation::report::GenerationsReport;
use crate::hand_off;
use crate::host::Host;
use crate::host::ledger::{BROKEN_LEDGER_PATH, LEDGER_PATH, LedgerSeen};
use crate::host::look::{Contents, Entry, sha256};
use crate::host::service::{self, ServiceReport, ServiceSeen, Waiting};
use crate::host::systemd::{self, KUBELET_UNIT, UnitSeen};
use crate::phase::Phase;
use crate::plan::{Departure, Step, Why, manifest_path};
use crate::probe::{Answer, Probe};
use crate::reconcile::{Survey, survey_as_reported};
use crate::{bundle, certificates, images, space};

/// The `schema` value of this build's [`Status`].
const STATUS_SCHEMA: u32 = 1;
/// What to do about something that the agent does by itself.
const BY_ITSELF: &str = "nothing while the agent runs; `basalt-agent plan` says what it will do";
/// What to do about a pod that takes long to end.
const OVERDUE: &str =
    "nothing: the agent waits for it, and restarts the kubelet once when it is long overdue";
/// The units that run what the agent writes.
const UNITS: [&str; 2] = ["containerd.service", KUBELET_UNIT];

/// The status of a node, as `basalt-agent status --output json` prints it.
///
/// Fields may be added without a new schema number; none is removed or given another meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    /// Form of this document; always [`STATUS_SCHEMA`].
    pub(crate) schema: u32,
    /// The node's name; absent while there is no node to obey.
    pub(crate) node: Option<String>,
    /// The cluster's name; absent while there is no node to obey.
    pub(crate) cluster: Option<String>,
    /// The generation that is obeyed; absent while there is no node to obey.
    pub(crate) generation: Option<u64>,
    /// Where the node stands.
    pub(crate) phase: Phase,
    /// The phase in one line for people.
    pub(crate) summary: String,
    /// Whether every item is as wanted: what `basalt-agent check` answers.
    pub(crate) fine: bool,
    /// The sets of pods: what is proven, what is tried, what the probes say.
    pub(crate) generations: GenerationsReport,
    /// The service on this node.
    pub(crate) service: Service,
    /// One row for each thing that is wanted, or that is there without being wanted. Sorted by kind and name.
    pub(crate) items: Vec<Item>,
}

/// The service as seen from outside, and what it reported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Service {
    /// Whether `basalt-agent run` is at work; absent when that cannot be found out.
    pub(crate) running: Option<bool>,
    /// Its process; 0 when that lives in another process namespace.
    pub(crate) pid: Option<i32>,
    /// What it reported after its last round.
    pub(crate) report: Option<ServiceReport>,
}

/// One thing that is wanted, or that is there without being wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Item {
    /// What sort of thing.
    pub(crate) kind: Kind,
    /// Its name, unique within its kind.
    pub(crate) name: String,
    /// How it compares.
    pub(crate) state: State,
    /// What is wanted, in short.
    pub(crate) wanted: String,
    /// What is seen, in short.
    pub(crate) seen: String,
    /// Why the state is not `ok`; there may be a remark when it is.
    pub(crate) reason: Option<String>,
    /// What a person can do about it.
    pub(crate) hint: Option<String>,
}

/// What sort of thing an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The service itself, or one of its settings files.
    Agent,
    /// `node.json`.
    Node,
    /// The record of what was accepted and written.
    Ledger,
    /// The manifest of a static pod.
    StaticPod,
    /// A config file of a static pod.
    ConfigFile,
    /// A probe of the pods' health.
    Probe,
    /// A directory of the agent; listed only when something is wrong with it.
    Directory,
    /// Something in the agent's directories that is not the agent's.
    Stranger,
    /// A temporary file that an interrupted agent left behind.
    Leftover,
    /// A systemd unit.
    Unit,
    /// The node's place in its cluster.
    HandOff,
    /// The operator bundle of the cluster, on a node that applies it.
    Bundle,
    /// A container image that is baked in, or that every pod needs.
    Image,
    /// A certificate that Vault signs for this node.
    Certificate,
    /// A file that is rendered from secrets in Vault.
    SecretFile,
    /// A server of Vault, or the node's session with it.
    Vault,
    /// Space on the node's disk; listed only when there is too little.
    Space,
}

/// How what is seen compares with what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// They are the same.
    Ok,
    /// They are not the same yet: the wanted state is new.
    Pending,
    /// They are no longer the same: something else changed what was there.
    Drift,
    /// They are not the same, and it does not go away by itself.
    Error,
    /// It cannot be found out.
    Unknown,
}

impl Item {
    /// Whether the item keeps the node from being as wanted. A stranger that harms nothing does not, and neither does
    /// what cannot be found out, unless it is what the node is to be.
    pub(crate) fn fails(&self) -> bool {
        match self.state {
            State::Ok => false,
            State::Unknown => self.kind == Kind::Node,
            State::Drift => self.kind != Kind::Stranger,
            State::Pending | State::Error => true,
        }
    }
}

/// Finds out the status of the host. Works with and without the service, and as any user; what may not be read is
/// `unknown`.
pub(crate) async fn status(host: &Host) -> Status {
    let survey = survey_as_reported(host);
    let service = service::observe(host);
    let units = UNITS.into_iter().zip(systemd::units(host, &UNITS).await).collect::<Vec<_>>();
    let mut status = compose(&survey, service, &units);
    space::add_to(&mut status, host);
    images::add_to(&mut status, host);
    certificates::add_to(&mut status);
    hand_off::status::add_to(&mut status, host, &survey);
    bundle::status::add_to(&mut status, host, &survey);
    status
}

/// Puts the status together.
pub(crate) fn compose(survey: &Survey, seen: ServiceSeen, units: &[(&str, UnitSeen)]) -> Status {
    let service = match seen.clone() {
        ServiceSeen::Stopped => Service { running: Some(false), pid: None, report: None },
        ServiceSeen::Running { pid, report } => {
            Service { running: Some(true), pid: Some(pid), report: report.map(|report| *report) }
        }
        ServiceSeen::Unknown(_) => Service { running: None, pid: None, report: None },
    };
    // A failure counts for as long as there is something left to do about it.
    let is_due = |failure: &&Failure| survey.plan.steps.iter().any(|s| s.path() == failure.path);
    let reported = service.report.iter().flat_map(|report| &report.failures);
    let failures: Vec<Failure> = reported.filter(is_due).cloned().collect();
    let phase = survey.phase(&failures);

    let waiting = service.report.as_ref().and_then(|report| report.waiting.as_ref());
    let composing = Composing { survey, waiting, failures: &failures };
    let mut items = composing.agent(&seen);
    items.push(composing.node());
    items.push(composing.ledger());
    items.extend(composing.pods());
    items.extend(composing.probes());
    items.extend(composing.left_over());
    items.extend(composing.strangers());
    items.extend(units.iter().map(|(name, unit)| unit_item(name, unit)));
    items.sort();

    let node = survey.target().map(|desired| &desired.node);
    Status {
        schema: STATUS_SCHEMA,
        node: node.map(|node| node.name.to_string()),
        cluster: node.map(|node| node.cluster.to_string()),
        generation: node.map(|node| node.generation),
        summary: phase.to_string(),
        fine: phase.is_serving() && !items.iter().any(Item::fails),
        phase,
        generations: survey.generations(),
        service,
        items,
    }
}

struct Composing<'a> {
    survey: &'a Survey,
    /// The pod that a round waits for.
    waiting: Option<&'a Waiting>,
    failures: &'a [Failure],
}

impl Composing<'_> {
    fn agent(&self, seen: &ServiceSeen) -> Vec<Item> {
        let item = |state, seen: String, reason: Option<&str>, hint: Option<&str>| Item {
            kind: Kind::Agent,
            name: "basalt-agent.service".to_owned(),
            state,
            wanted: "running".to_owned(),
            seen,
            reason: reason.map(str::to_owned),
            hint: hint.map(str::to_owned),
        };
        let mut items = vec![match seen {
            ServiceSeen::Running { report: Some(_), .. } => {
                item(State::Ok, "running".into(), None, None)
            }
            ServiceSeen::Running { report: None, .. } => {
                let reason = "it has not ended its first round";
                item(State::Pending, "starting".into(), Some(reason), Some("wait a moment"))
            }
            ServiceSeen::Stopped => {
                let hint = "`systemctl start basalt-agent`, then `journalctl -u basalt-agent`";
                item(
                    State::Error,
                    "not running".into(),
                    Some("no process holds its lock"),
                    Some(hint),
                )
            }
            ServiceSeen::Unknown(reason) => {
                item(State::Unknown, "unknown".into(), Some(reason), Some("ask again as root"))
            }
        }];
        items.extend(self.survey.settings.faults.iter().map(|fault| Item {
            kind: Kind::Agent,
            name: fault.split(':').next().unwrap_or(fault).to_owned(),
            state: State::Error,
            wanted: "usable settings".to_owned(),
            seen: "left out".to_owned(),
            reason: Some(fault.clone()),
            hint: Some("correct the file; the agent reads it again by itself".to_owned()),
        }));
        items
    }

    fn node(&self) -> Item {
        let decision = &self.survey.decision;
        let wanted = match (&decision.desired, &decision.accepted) {
            (Some(desired), _) => format!("generation {}", desired.node.generation),
            (None, Some(accepted)) => format!("generation {}", accepted.generation),
            (None, None) => "a first generation".to_owned(),
        };
        let accepted = match &decision.accepted {
            Some(accepted) => {
                format!("generation {}, sha256:{}", accepted.generation, accepted.sha256)
            }
            None => "nothing accepted yet".to_owned(),
        };
        let (state, reason, hint) = match (&decision.problem, &decision.desired) {
            (Some(problem), _) => (State::Error, Some(problem.to_string()), Some(problem.hint())),
            (None, Some(desired)) => match desired.acceptance {
                Acceptance::Recorded => (State::Ok, None, None),
                Acceptance::New => {
                    (State::Pending, Some("it is not accepted yet".to_owned()), None)
                }
                Acceptance::Unverified => (
                    State::Unknown,
                    Some("what was accepted cannot be found out".to_owned()),
                    Some("ask again as root".to_owned()),
                ),
            },
            (None, None) => (State::Unknown, None, None),
        };
        let name = "node.json".to_owned();
        Item { kind: Kind::Node, name, state, wanted, seen: accepted, reason, hint }
    }

    fn ledger(&self) -> Item {
        let survey = self.survey;
        let due = survey.plan.steps.iter().any(|step| matches!(step, Step::WriteLedger { .. }));
        let (state, seen, reason, hint) = match &survey.ledger {
            LedgerSeen::Known(_) if due => (
                State::Pending,
                "readable".to_owned(),
                Some("it has to be brought up to date".into()),
                None,
            ),
            LedgerSeen::Known(_) => {
                let set_aside = survey.observed.entry(BROKEN_LEDGER_PATH).is_some();
                let remark = set_aside.then(|| {
                    format!(
                        "an earlier one was broken and lies at {BROKEN_LEDGER_PATH}; files that only it named \
                         are reported as strangers"
                    )
                });
                let hint =
                    set_aside.then(|| "look at the strangers, then remove that file".to_owned());
                (State::Ok, "readable".to_owned(), remark, hint)
            }
            LedgerSeen::Missing => {
                let state = if due { State::Pending } else { State::Ok };
                (state, "missing".to_owned(), None, None)
            }
            LedgerSeen::Broken(reason) => (
                State::Error,
                "broken".to_owned(),
                Some(reason.clone()),
                Some("the agent makes a new one and removes no pod because of it".to_owned()),
            ),
            LedgerSeen::Unreadable(reason) => (
                State::Unknown,
                "unreadable".to_owned(),
                Some(reason.clone()),
                Some("ask again as root".into()),
            ),
        };
        let item = Item {
            kind: Kind::Ledger,
            name: LEDGER_PATH.to_owned(),
            state,
            wanted: "readable".to_owned(),
            seen,
            reason,
            hint,
        };
        self.with_failure(LEDGER_PATH, item)
    }

    fn pods(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let Some(desired) = self.survey.target() else { return items };
        for pod in &desired.pods {
            let path = manifest_path(desired, pod);
            items.push(self.file(Kind::StaticPod, pod.name.as_str(), &path, &pod.manifest));
            for file in &pod.files {
                let path = file.path.as_str();
                items.push(self.file(Kind::ConfigFile, path, path, &file.contents));
            }
        }
        items
    }

    fn file(&self, kind: Kind, name: &str, path: &str, contents: &str) -> Item {
        let why = self.survey.plan.steps.iter().find_map(|step| step.why_written(path));
        let seen = match self.survey.observed.entry(path) {
            None => "missing".to_owned(),
            Some(Entry::File(file)) => match &file.contents {
                Contents::Digest(digest) => format!("sha256:{digest}"),
                Contents::Unknown(_) => "unreadable".to_owned(),
            },
            Some(other) => other.kind().to_owned(),
        };
        let hidden = self.survey.observed.hidden.get(path).or_else(|| {
            let (directory, _) = path.rsplit_once('/')?;
            self.survey.observed.hidden.get(directory)
        });
        let unreadable = match self.survey.observed.entry(path) {
            Some(Entry::File(file)) => match &file.contents {
                Contents::Unknown(reason) => Some(reason),
                Contents::Digest(_) => None,
            },
            _ => None,
        };
        let (state, reason, hint) = match (hidden.or(unreadable), why) {
            (Some(reason), _) => {
                (State::Unknown, Some(reason.clone()), Some("ask again as root".to_owned()))
            }
            (None, None) => (State::Ok, None, None),
            (None, Some(_)) if self.waiting.is_some_and(|waiting| waiting.path == path) => {
                let left = self.waiting.map(|waiting| waiting.left.as_str()).unwrap_or_default();
                let reason = format!("its last run has not ended: {left}");
                (State::Pending, Some(reason), Some(OVERDUE.to_owned()))
            }
            (None, Some(why)) => {
                let state = if why.is_drift() { State::Drift } else { State::Pending };
                (state, Some(why.to_string()), Some(BY_ITSELF.to_owned()))
            }
        };
        let wanted = format!("sha256:{}", sha256(contents.as_bytes()));
        self.with_failure(
            path,
            Item { kind, name: name.to_owned(), state, wanted, seen, reason, hint },
        )
    }

    /// What the service found out about the set that the node is to have.
    fn probes(&self) -> Vec<Item> {
        let target = self.survey.choice.as_ref().and_then(|choice| choice.target.as_ref());
        let health = self.survey.evidence.health.as_ref();
        let Some((_, health)) = target.zip(health).filter(|((id, _), health)| *id == health.of)
        else {
            return Vec::new();
        };
        let record = self.survey.ledger.known().map(|ledger| &*ledger.generations);
        let is_on_trial = record.is_some_and(|record| record.trial.is_some());
        let item = |probe: &Probe| {
            let (state, seen) = match probe.answer {
                Answer::Good => (State::Ok, "good"),
                Answer::Bad if is_on_trial => (State::Pending, "bad"),
                Answer::Bad => (State::Error, "bad"),
                Answer::Unknown => (State::Unknown, "unknown"),
            };
            Item {
                kind: Kind::Probe,
                name: format!("{} {} {}", probe.subject, probe.level, probe.name),
                state,
                wanted: "good".to_owned(),
                seen: seen.to_owned(),
                reason: Some(probe.evidence.clone()),
                hint: None,
            }
        };
        health.probes.iter().map(item).collect()
    }

    /// What is there and is about to go, and directories that are not right.
    fn left_over(&self) -> Vec<Item> {
        let item =
            |kind, path: &str, state, wanted: &str, seen: &str, reason: Option<String>| Item {
                kind,
                name: path.to_owned(),
                state,
                wanted: wanted.to_owned(),
                seen: seen.to_owned(),
                reason,
                hint: Some(
                    "a running agent puts it right within seconds; see `basalt-agent plan`".into(),
                ),
            };
        let going = |kind, path: &str| {
            let reason = Some("the node is no longer to have it".to_owned());
            item(kind, path, State::Pending, "absent", "present", reason)
        };
        let of_step = |step: &Step| match step {
            Step::RemoveManifest { path, reason: Departure::Gone, .. } => {
                Some(going(Kind::StaticPod, path))
            }
            Step::PinImage { path } => {
                let reason = Some("the kubelet may clear it away".to_owned());
                Some(item(Kind::Image, path, State::Pending, "pinned", "not pinned", reason))
            }
            Step::RemoveConfigFile { path } => Some(going(Kind::ConfigFile, path)),
            Step::RemoveConfigDirectory { path } => Some(going(Kind::Directory, path)),
            Step::RemoveLeftover { path } => {
                let reason = Some("an agent was interrupted while it wrote".to_owned());
                Some(item(Kind::Leftover, path, State::Drift, "absent", "present", reason))
            }
            Step::EnsureDirectory { path, reason, .. } => {
                let state = if reason.is_drift() { State::Drift } else { State::Pending };
                let text = Some(reason.to_string());
                let seen = match reason {
                    Why::New | Why::Missing => "missing",
                    Why::Update
                    | Why::Changed
                    | Why::Adopt
                    | Why::Restart
                    | Why::Kind { .. }
                    | Why::Mode { .. }
                    | Why::Owner { .. }
                    | Why::Label { .. }
                    | Why::Unreadable { .. } => "different",
                };
                Some(item(Kind::Directory, path, state, "a directory", seen, text))
            }
            // Each of these has a row of its own.
            Step::WriteConfigFile { .. }
            | Step::WriteManifest { .. }
            | Step::RemoveManifest { .. }
            | Step::ConfirmStopped { .. }
            | Step::Reload { .. }
            | Step::Quarantine { .. }
            | Step::SetLedgerAside { .. }
            | Step::KeepNode { .. }
            | Step::KeepGeneration { .. }
            | Step::ForgetGeneration { .. }
            | Step::UnpinImage { .. }
            | Step::RestartKubelet { .. }
            | Step::WriteLedger { .. } => None,
        };
        let items = self.survey.plan.steps.iter().filter_map(of_step);
        let hidden = self.survey.observed.hidden.iter().map(|(path, reason)| Item {
            hint: Some("ask again as root".to_owned()),
            ..item(
                Kind::Directory,
                path,
                State::Unknown,
                "readable",
                "hidden",
                Some(reason.clone()),
            )
        });
        items.map(|item| self.with_failure(&item.name.clone(), item)).chain(hidden).collect()
    }

    fn strangers(&self) -> Vec<Item> {
        let item = |stranger: &crate::strangers::Stranger| Item {
            kind: Kind::Stranger,
            name: stranger.path.clone(),
            state: if stranger.danger.is_harmful() { State::Error } else { State::Drift },
            wanted: "absent".to_owned(),
            seen: stranger.kind.to_owned(),
            reason: Some(stranger.to_string()),
            hint: Some(match stranger.in_manifest_directory {
                true => "move it away, or set `manifests.strangers` to `quarantine`".to_owned(),
                false => "move it away; the folder is the agent's".to_owned(),
            }),
        };
        self.survey.plan.strangers.iter().map(item).collect()
    }

    fn with_failure(&self, path: &str, item: Item) -> Item {
        match self.failures.iter().find(|failure| failure.path == path) {
            None => item,
            Some(failure) => Item {
                state: State::Error,
                reason: Some(failure.message.clone()),
                hint: failure.hint.clone().or(item.hint.clone()),
                ..item
            },
        }
    }
}

fn unit_item(name: &str, unit: &UnitSeen) -> Item {
    let (state, seen, reason, hint) = match unit {
        UnitSeen::State { active, sub } => {
            let seen = format!("{active} ({sub})");
            let look = Some(format!("`systemctl status {name}`, then `journalctl -u {name}`"));
            match active.as_str() {
                "active" | "reloading" => (State::Ok, seen, None, None),
                "activating" => (State::Pending, seen, Some("it is starting".to_owned()), look),
                _ => (State::Error, seen, Some("it does not run".to_owned()), look),
            }
        }
        UnitSeen::NotFound => (
            State::Error,
            "no such unit".to_owned(),
            Some("systemd has no unit file of this name".to_owned()),
            Some("the image of the node has to bring it".to_owned()),
        ),
        UnitSeen::Unknown(reason) => {
            (State::Unknown, "unknown".to_owned(), Some(reason.clone()), None)
        }
    };
    let wanted = "active".to_owned();
    Item { kind: Kind::Unit, name: name.to_owned(), state, wanted, seen, reason, hint }
}
