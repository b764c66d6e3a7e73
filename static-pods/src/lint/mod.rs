//! The linter: takes the files of a manifest folder, gives findings, touches nothing.
//!
//! It reads each file the way the kubelet's file source does (`read`, `json`, `tree`), holds it against the fields that
//! a Pod has (`fields`, `decode`), against Kubernetes' own validation (`pod`, `metadata`, `container`, …), and against
//! what the kubelet then does with the pod, or cannot do (`start`). Then it looks at the files together (`folder`).
//! Rules are those of Kubernetes 1.36; `CHECKLIST.md` has the rule for each function of its validation.

mod basalt;
mod capability;
mod container;
mod decode;
mod env;
pub mod fields;
mod folder;
mod foreign;
mod host;
mod image;
mod json;
mod metadata;
mod mounts;
pub(crate) mod names;
mod pod;
pub mod policy;
mod probe;
mod quantity;
mod read;
mod resources;
mod scheduling;
mod secret;
mod security;
mod start;
mod sysctl;
mod tree;
mod volumes;

use std::collections::BTreeSet;
use std::fmt;

use basalt_model::node::Node;
use basalt_model::report::{Place, Severity};

pub use policy::{Asked, Host, Policy};
pub(crate) use quantity::Quantity;
use tree::At;

use crate::{CONFIG_DIRECTORY, TRUST_DIRECTORY};

/// One file of the manifest folder.
#[derive(Clone, Copy, Debug)]
pub struct File<'t> {
    /// As the person named it. What counts in the folder is its last part.
    pub name: &'t str,
    /// What is in it.
    pub bytes: &'t [u8],
}

/// Which rules are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules<'p> {
    /// What the kubelet takes and can start.
    Kubelet,
    /// And what Basalt wants besides: images by digest, a numeric priority, no more power than needed, and what the
    /// host has.
    Basalt(&'p Policy),
}

/// What the kubelet would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It refuses the file.
    Refused,
    /// It refuses the pod at admission.
    NotAdmitted,
    /// It ends.
    Ends,
    /// It stops reading manifests.
    Hangs,
    /// It drops or changes what is written.
    Dropped,
    /// It takes the pod and can never start it, or never finds it ready.
    NeverStarts,
    /// It depends on the host.
    Host,
    /// It takes the pod, which likely does not do what was meant.
    Questionable,
    /// It would take the pod; Basalt does not.
    Unsafe,
    /// It may take the file, of which more has to be read than is read here.
    Unread,
}

impl Effect {
    /// How much a finding with this effect weighs.
    pub fn severity(self) -> Severity {
        match self {
            Effect::Host | Effect::Questionable => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// The effect as a sentence about the kubelet.
    pub fn sentence(self) -> &'static str {
        match self {
            Effect::Refused => {
                "the kubelet refuses the file: it starts no pod from it, and stops the one that runs from it"
            }
            Effect::NotAdmitted => "the kubelet takes the file and refuses the pod at admission",
            Effect::Ends => "the kubelet ends, and again at every start while the file is there",
            Effect::Hangs => "the kubelet stops reading manifests, in silence",
            Effect::Dropped => "the kubelet drops or changes this in silence",
            Effect::NeverStarts => {
                "the kubelet takes the pod, which never starts or never is ready"
            }
            Effect::Host => "the kubelet starts the pod only on a host that has this",
            Effect::Questionable => {
                "the kubelet takes this, which likely does not do what was meant"
            }
            Effect::Unsafe => "the kubelet takes this; Basalt wants more of a node's own pods",
            Effect::Unread => "the kubelet may take the file, of which nothing was checked here",
        }
    }
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintFinding {
    /// The rule, `unknown-field`.
    pub rule: &'static str,
    /// The file as the person named it.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// The field, `spec.containers[0].image`; empty for the whole file.
    pub path: String,
    /// What is wrong, as a sentence without a final stop.
    pub message: String,
    /// What the kubelet would do.
    pub effect: Effect,
    /// What to do about it.
    pub remedy: String,
}

impl LintFinding {
    /// How much it weighs.
    pub fn severity(&self) -> Severity {
        self.effect.severity()
    }
}

impl fmt::Display for LintFinding {
    /// `web.yaml:6:5: spec.containers[0].image: … [rule]`, with effect and remedy on lines of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.place)?;
        if self.severity() == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        let LintFinding { message, rule, effect, remedy, .. } = self;
        write!(f, "{message} [{rule}]\n  effect: {}\n  remedy: {remedy}", effect.sentence())
    }
}

/// Looks at the files of one node's manifest folder, each by itself and all together. Findings come by file, in the
/// order given, then by place.
pub fn lint(files: &[File<'_>], rules: Rules<'_>) -> Vec<LintFinding> {
    let mut findings = Vec::new();
    let mut pods = Vec::new();
    for file in files {
        let mut sink = Sink { file: file.name, findings: &mut findings };
        if folder::is_ignored(file.name, &mut sink) {
            continue;
        }
        let Some(node) = read::read(file.bytes, &mut sink) else { continue };
        let pod = At::root(&node);
        if decode::decode(&pod, &mut sink) {
            pod::check(&pod, &mut sink);
            if let Rules::Basalt(policy) = rules {
                basalt::check(&pod, policy, &mut sink);
            }
            pods.push((file.name, node));
        }
    }
    folder::check(&pods, rules, &mut findings);
    let position = |name: &str| files.iter().position(|file| file.name == name);
    findings.sort_by_key(|finding| (position(&finding.file), finding.place));
    findings
}

/// What stands in a text of objects, and what keeps it from being read.
pub(crate) struct Documents {
    pub(crate) values: Vec<serde_json::Value>,
    /// `file:1:2: what is wrong`
    pub(crate) problems: Vec<String>,
}

/// Reads all documents of a text; a key that is there twice is a problem here.
pub(crate) fn documents(name: &str, bytes: &[u8]) -> Documents {
    let mut findings = Vec::new();
    let nodes = read::read_all(bytes, &mut Sink { file: name, findings: &mut findings });
    let values = nodes.unwrap_or_default().into_iter().map(tree::Node::into_json).collect();
    let problem = |it: LintFinding| format!("{name}:{}: {}", it.place, it.message);
    Documents { values, problems: findings.into_iter().map(problem).collect() }
}

/// What the manifests ask of the host, for [`Policy::host`] to answer.
pub fn asked(files: &[File<'_>]) -> Asked {
    let mut asked = Asked::default();
    for file in files {
        let mut findings = Vec::new();
        let mut sink = Sink { file: file.name, findings: &mut findings };
        if let Some(node) = read::read(file.bytes, &mut sink) {
            host::ask(&At::root(&node), &mut asked);
        }
    }
    asked
}

/// The paths that are there as soon as a pod of `node` needs them, whatever its image has: what the agent lays down, and
/// what is made for a pod that asks for it so. The same goes for what is below them.
pub fn laid_down(node: &Node, asked: &Asked) -> BTreeSet<String> {
    let vault = node.vault.iter();
    let certificates = vault.clone().flat_map(|vault| &vault.certificates);
    let secrets = vault.flat_map(|vault| &vault.secrets);
    let templates = node.vault_agent.iter().flat_map(|agent| &agent.templates);
    let ours = [CONFIG_DIRECTORY, TRUST_DIRECTORY].map(str::to_owned);
    (ours.into_iter())
        .chain(certificates.map(|certificate| certificate.directory.to_string()))
        .chain(secrets.map(|secret| secret.destination.to_string()))
        .chain(templates.map(|template| template.destination.to_string()))
        .chain(asked.made.iter().cloned())
        .collect()
}

/// A finding about a file that is no file: the kubelet opens what is in its folder, and a pipe without a writer is
/// never opened.
pub fn pipe(name: &str) -> LintFinding {
    let mut findings = Vec::new();
    let mut sink = Sink { file: name, findings: &mut findings };
    sink.whole(Effect::Hangs, "named-pipe", "a named pipe in the manifest folder", "remove it");
    findings.remove(0)
}

/// Takes the findings about one file.
struct Sink<'f> {
    file: &'f str,
    findings: &'f mut Vec<LintFinding>,
}

impl Sink<'_> {
    /// Adds a finding about a field.
    fn add(
        &mut self,
        effect: Effect,
        rule: &'static str,
        at: &At<'_>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.at(effect, rule, at.place, &at.path, message, remedy);
    }

    /// Adds a finding that the kubelet refuses the file for.
    fn refused(
        &mut self,
        rule: &'static str,
        at: &At<'_>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Effect::Refused, rule, at, message, remedy);
    }

    /// Adds a finding about the whole file.
    fn whole(
        &mut self,
        effect: Effect,
        rule: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.at(effect, rule, Place::START, "", message, remedy);
    }

    /// Adds a finding about a place.
    fn at(
        &mut self,
        effect: Effect,
        rule: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(LintFinding {
            rule,
            file: self.file.to_owned(),
            place,
            path: path.to_owned(),
            message: message.into(),
            effect,
            remedy: remedy.into(),
        });
    }

    /// Wants a text to be one of `known`; the empty text is fine where `or_empty`.
    fn one_of(&mut self, rule: &'static str, at: &At<'_>, known: &[&str]) {
        if !known.contains(&at.text()) {
            // An empty text is the same as none, which nobody has to be told to write.
            let shown: Vec<&str> = known.iter().copied().filter(|one| !one.is_empty()).collect();
            let text = tree::beginning(at.text());
            let names = basalt_model::decode::list(&shown);
            let (message, remedy) = match shown[..] {
                [_] => (format!("`{text}` is not {names}"), format!("write {names}")),
                _ => (format!("`{text}` is none of {names}"), format!("write one of {names}")),
            };
            self.refused(rule, at, message, remedy);
        }
    }

    /// Wants a text that is there to be one of `known`.
    fn one_of_if_set(&mut self, rule: &'static str, at: &At<'_>, known: &[&str]) {
        if at.is_set() {
            self.one_of(rule, at, known);
        }
    }

    /// Wants a text not to be empty.
    fn required(&mut self, rule: &'static str, at: &At<'_>) -> bool {
        let is_there = !at.text().is_empty();
        if !is_there {
            let name = at.path.rsplit('.').next().unwrap_or_default();
            self.refused(rule, at, format!("`{name}` must be set"), format!("set `{name}`"));
        }
        is_there
    }

    /// Wants what `check` says is wrong with a text not to be so.
    fn named(&mut self, rule: &'static str, at: &At<'_>, wrong: Option<&'static str>) {
        if let Some(wrong) = wrong {
            let message = format!("`{}` {wrong}", tree::beginning(at.text()));
            self.refused(rule, at, message, "choose another name");
        }
    }

    /// Wants an integer that is there to be in a range.
    fn in_range(&mut self, rule: &'static str, at: &At<'_>, least: i64, most: i64) {
        if let Some(number) = at.integer().filter(|number| !(least..=most).contains(number)) {
            let wanted = match most {
                i64::MAX => format!("{least} or more"),
                _ => format!("between {least} and {most}"),
            };
            let message = format!("{number} is not {wanted}");
            self.refused(rule, at, message, format!("write a number that is {wanted}"));
        }
    }
}
