//! Decides what to change: takes what is desired and what is observed, gives steps. Pure.
//!
//! Steps are in the order in which they are safe, whenever the agent is interrupted: first the record, then the manifests
//! that go, then what comes, each config file before the manifest that mounts it, and the config files that go last.
//! How one pod follows another is in [`manifests`], how a pod takes a new config while it runs in [`reloads`].

mod manifests;
mod reloads;
mod step;

use std::collections::BTreeSet;

use basalt_static_pods::{CONFIG_DIRECTORY, ConfigFile, StaticPod};

use crate::desired::{Acceptance, Desired};
use crate::host::files::POD_CONFIG_LABEL;
use crate::host::generations::{self, GENERATIONS_DIRECTORY};
use crate::host::ledger::{BROKEN_LEDGER_PATH, LEDGER_PATH, Ledger, LedgerSeen};
use crate::host::look::{Contents, Entry, FileSeen, sha256};
use crate::host::systemd::KUBELET_UNIT;
use crate::host::{ACCEPTED_NODE_PATH, QUARANTINE_DIRECTORY, STATE_DIRECTORY};
use crate::observe::Observed;
use crate::settings::Strangers;
use crate::strangers::{Stranger, strangers};
pub(crate) use step::{Departure, DirectoryRole, LedgerMoment, ReloadedFile, Step, Why};

/// Manifests are for the kubelet alone, which runs as root (CIS Kubernetes Benchmark, worker node configuration files).
pub(crate) const MANIFEST_MODE: u32 = 0o600;
/// The accepted node and the ledger.
pub(crate) const STATE_MODE: u32 = 0o600;
/// The state directory. Certificates live in it too, and the programs that read them are not all root.
pub(crate) const STATE_DIRECTORY_MODE: u32 = 0o755;
/// The quarantine.
pub(crate) const QUARANTINE_MODE: u32 = 0o700;
/// The folders of pod config files; containers that do not run as root have to pass.
pub(crate) const CONFIG_DIRECTORY_MODE: u32 = 0o755;
/// The static pod directory, when it has to be made.
pub(crate) const MANIFEST_DIRECTORY_MODE: u32 = 0o755;
/// Nobody but the owner may put a file where root acts on it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What one round does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order in which they are carried out.
    pub(crate) steps: Vec<Step>,
    /// What is in the agent's directories without being the agent's.
    pub(crate) strangers: Vec<Stranger>,
}

/// The host path of a pod's manifest.
pub(crate) fn manifest_path(desired: &Desired, pod: &StaticPod) -> String {
    format!("{}/{}.yaml", desired.node.kubelet.static_pod_directory, pod.name)
}

/// Decides what to change.
pub(crate) fn plan(
    desired: &Desired,
    ledger: &LedgerSeen,
    observed: &Observed,
    policy: Strangers,
) -> Plan {
    let planning = Planning::new(desired, ledger, observed);
    let strangers = strangers(desired, &planning.own, observed);
    let mut steps = planning.record();
    steps.extend(planning.pins());
    steps.extend(planning.kubelet_restart());
    steps.extend(planning.quarantine(&strangers, policy));
    steps.extend(planning.manifest_removals());
    steps.extend(planning.writes());
    steps.extend(planning.config_removals());
    steps.extend(planning.unpins());
    steps.extend(planning.settled_record());
    steps.extend(planning.forgotten());
    Plan { steps, strangers }
}

struct Planning<'a> {
    desired: &'a Desired,
    ledger: &'a LedgerSeen,
    observed: &'a Observed,
    /// What the ledger is to name in the end.
    settled: Ledger,
    /// What it has to name as long as something that is to go may still be there.
    own: Ledger,
}

impl<'a> Planning<'a> {
    fn new(desired: &'a Desired, ledger: &'a LedgerSeen, observed: &'a Observed) -> Planning<'a> {
        let mut settled = Ledger::new(desired.record.accepted.clone());
        settled.generations = Box::new(desired.record.generations.clone());
        for pod in &desired.pods {
            settled.manifests.insert(manifest_path(desired, pod));
            let paths = pod.files.iter().map(|file| file.path.to_string());
            settled.config_files.extend(paths);
        }
        let mut own = settled.clone();
        if let Some(known) = ledger.known() {
            own.manifests.extend(known.manifests.iter().cloned());
            own.config_files.extend(known.config_files.iter().cloned());
        }
        let mut planning = Planning { desired, ledger, observed, settled, own };
        planning.own.reloads = planning.reloads();
        let runs = planning.runs();
        planning.own.generations.pinned.extend(desired.record.pins.ahead.iter().cloned());
        planning.settled.runs.clone_from(&runs);
        planning.own.runs = runs;
        planning
    }

    /// What is recorded before anything is touched.
    fn record(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = (self.observed.leftovers.iter())
            .map(|path| Step::RemoveLeftover { path: path.clone() })
            .collect();
        // Nobody can tell what the record lacks.
        if self.desired.acceptance == Acceptance::Unverified {
            return steps;
        }
        let is_new = self.desired.acceptance == Acceptance::New;
        steps.extend(self.directory(STATE_DIRECTORY, DirectoryRole::State));
        if let LedgerSeen::Broken(_) = self.ledger {
            steps.push(Step::SetLedgerAside { path: BROKEN_LEDGER_PATH.to_owned() });
        }
        let record = &self.desired.record;
        if is_new {
            steps.push(Step::KeepNode {
                path: ACCEPTED_NODE_PATH.to_owned(),
                generation: record.accepted.generation,
                sha256: record.accepted.sha256.clone(),
                text: record.text.clone(),
            });
        }
        // Before the record that speaks of it.
        if let Some(set) = &record.keep {
            let path = generations::path_of(&set.id);
            steps.push(Step::KeepGeneration { path, set: set.clone() });
        }
        if self.ledger.known() != Some(&self.own) {
            steps.push(self.write_ledger(LedgerMoment::Ahead, &self.own));
        }
        steps
    }

    fn quarantine(&self, strangers: &[Stranger], policy: Strangers) -> Vec<Step> {
        let mut moves: Vec<Step> = (strangers.iter().filter(|s| s.in_manifest_directory))
            .map(|stranger| Step::Quarantine {
                path: stranger.path.clone(),
                to: QUARANTINE_DIRECTORY.to_owned(),
            })
            .collect();
        if policy == Strangers::Report || moves.is_empty() {
            return Vec::new();
        }
        let directory = self.directory(QUARANTINE_DIRECTORY, DirectoryRole::Quarantine);
        moves.splice(0..0, directory);
        moves
    }

    /// The config files that are to go and are still there. A folder in the place of one is not it.
    fn going_config_files(&self) -> BTreeSet<&str> {
        let is_there = |path: &&String| {
            !matches!(self.observed.entry(path), None | Some(Entry::Directory { .. }))
        };
        (self.own.config_files.difference(&self.settled.config_files))
            .filter(is_there)
            .map(String::as_str)
            .collect()
    }

    /// The config files that go, then the folders that are empty without them.
    fn config_going(&self) -> Vec<Step> {
        let files = self.going_config_files();
        let folders = self.empty_folders(&files);
        let removal = |path: &str| Step::RemoveConfigFile { path: path.to_owned() };
        files.into_iter().map(removal).chain(folders).collect()
    }

    /// Whether something that goes stands where a wanted file or its folder belongs: it has to go first.
    fn is_in_the_way(&self, going: &str) -> bool {
        (self.settled.config_files.iter())
            .any(|wanted| wanted == going || is_below(wanted, going) || is_below(going, wanted))
    }

    fn config_removals(&self) -> Vec<Step> {
        self.config_going().into_iter().filter(|step| !self.is_in_the_way(step.path())).collect()
    }

    /// Folders of ours that hold nothing once `going` is gone, the deepest first.
    fn empty_folders(&self, going: &BTreeSet<&str>) -> Vec<Step> {
        let wanted = self.config_folders();
        let mut left: BTreeSet<&str> = BTreeSet::new();
        let mut empty = Vec::new();
        // Reverse order of paths: what is inside a folder comes before the folder.
        let below: Vec<(&str, &Entry)> = self.observed.below(CONFIG_DIRECTORY).collect();
        for (path, entry) in below.into_iter().rev() {
            let is_folder = matches!(entry, Entry::Directory { .. });
            let was_ours = || self.own.config_files.iter().any(|file| is_below(file, path));
            let goes = match is_folder {
                true => {
                    !left.iter().any(|file| is_below(file, path))
                        && !wanted.contains(path)
                        && was_ours()
                }
                false => going.contains(path),
            };
            match (goes, is_folder) {
                (true, true) => empty.push(Step::RemoveConfigDirectory { path: path.to_owned() }),
                (true, false) => {}
                (false, _) => {
                    left.insert(path);
                }
            }
        }
        empty
    }

    fn writes(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self
            .config_going()
            .into_iter()
            .filter(|step| self.is_in_the_way(step.path()))
            .collect();
        for folder in self.config_folders() {
            steps.extend(self.directory(&folder, DirectoryRole::Config));
        }
        for pod in &self.desired.pods {
            let writes: Vec<Step> =
                pod.files.iter().filter_map(|file| self.config_file(pod, file)).collect();
            match self.reload(pod, &writes) {
                Some(reload) => steps.push(reload),
                None => steps.extend(writes),
            }
        }
        let directory = self.desired.node.kubelet.static_pod_directory.as_str();
        steps.extend(self.directory(directory, DirectoryRole::Manifests));
        steps.extend(self.manifest_writes());
        steps
    }

    /// The ledger without what has been removed.
    fn settled_record(&self) -> Option<Step> {
        let is_due = self.own != self.settled && self.desired.acceptance != Acceptance::Unverified;
        is_due.then(|| self.write_ledger(LedgerMoment::Settled, &self.settled))
    }

    fn write_ledger(&self, when: LedgerMoment, ledger: &Ledger) -> Step {
        let turn = match when {
            LedgerMoment::Ahead => self.desired.record.turn.clone(),
            LedgerMoment::Settled => None,
        };
        Step::WriteLedger { path: LEDGER_PATH.to_owned(), when, turn, ledger: ledger.clone() }
    }

    fn pins(&self) -> impl Iterator<Item = Step> {
        self.desired.record.pins.pin.iter().map(|image| Step::PinImage { path: image.clone() })
    }

    fn unpins(&self) -> impl Iterator<Item = Step> {
        self.desired.record.pins.unpin.iter().map(|image| Step::UnpinImage { path: image.clone() })
    }

    /// After the record that it was done, so that it is not done twice.
    fn kubelet_restart(&self) -> Option<Step> {
        let stuck = self.desired.record.stuck.as_ref()?;
        Some(Step::RestartKubelet {
            path: KUBELET_UNIT.to_owned(),
            pod: stuck.pod.clone(),
            sandbox: stuck.sandbox.clone(),
            trouble: stuck.trouble,
        })
    }

    /// The copies of sets that the record does not name any more, and those that were not finished.
    fn forgotten(&self) -> Vec<Step> {
        if self.desired.acceptance == Acceptance::Unverified {
            return Vec::new();
        }
        let kept = &self.settled.generations.kept;
        let is_kept = |name: &str| kept.iter().any(|id| id.name() == name);
        let names = self.observed.generations.iter().filter(|name| !is_kept(name));
        names
            .map(|name| Step::ForgetGeneration { path: format!("{GENERATIONS_DIRECTORY}/{name}") })
            .collect()
    }

    fn config_file(&self, pod: &StaticPod, file: &ConfigFile) -> Option<Step> {
        let path = file.path.to_string();
        let label = self.observed.labels.then_some(POD_CONFIG_LABEL);
        let reason = self.differs(&path, &file.contents, file.mode, label)?;
        let contents = file.contents.clone();
        Some(Step::WriteConfigFile {
            path,
            pod: pod.name.clone(),
            mode: file.mode,
            contents,
            reason,
        })
    }

    /// Every folder a config file needs, parents first.
    fn config_folders(&self) -> BTreeSet<String> {
        let mut folders = BTreeSet::new();
        for file in self.desired.pods.iter().flat_map(|pod| &pod.files) {
            let mut path = file.path.as_str();
            while let Some((folder, _)) = path.rsplit_once('/')
                && (folder == CONFIG_DIRECTORY || is_below(folder, CONFIG_DIRECTORY))
            {
                folders.insert(folder.to_owned());
                path = folder;
            }
        }
        folders
    }

    fn directory(&self, path: &str, role: DirectoryRole) -> Option<Step> {
        if self.observed.hidden.contains_key(path) {
            return None;
        }
        let wanted_owner = self.observed.owner;
        let reason = match self.observed.entry(path) {
            // Never seen, since it matters only when something is moved there.
            None if role == DirectoryRole::Quarantine => Why::New,
            None => self.absent(path),
            Some(Entry::Directory { mode, owner, label }) => {
                let wanted = directory_mode(role);
                let mode_is_fine = match role {
                    // Made by other hands as a rule, and not always with the mode we would give it.
                    DirectoryRole::Manifests => mode & WRITABLE_BY_OTHERS == 0,
                    DirectoryRole::State | DirectoryRole::Quarantine | DirectoryRole::Config => {
                        *mode == wanted
                    }
                };
                let wants_label = role == DirectoryRole::Config && self.observed.labels;
                if *owner != wanted_owner {
                    Why::Owner { seen: owner.to_string(), wanted: wanted_owner.to_string() }
                } else if !mode_is_fine {
                    Why::Mode { seen: octal(*mode), wanted: octal(wanted) }
                } else if wants_label && label.as_deref() != Some(POD_CONFIG_LABEL) {
                    wrong_label(label.as_deref())
                } else {
                    return None;
                }
            }
            Some(other) => Why::Kind { seen: other.kind().to_owned() },
        };
        Some(Step::EnsureDirectory { path: path.to_owned(), role, reason })
    }

    /// Why the file at `path` has to be written, if it has to.
    fn differs(&self, path: &str, contents: &str, mode: u32, label: Option<&str>) -> Option<Why> {
        if self.observed.hidden.contains_key(path) {
            return None;
        }
        let file = match self.observed.entry(path) {
            None => return Some(self.absent(path)),
            Some(Entry::File(file)) => file,
            Some(other) => return Some(Why::Kind { seen: other.kind().to_owned() }),
        };
        let owner = self.observed.owner;
        match &file.contents {
            // Somebody who may not look at everything is not the one who repairs it.
            Contents::Unknown(_) if self.desired.acceptance == Acceptance::Unverified => None,
            Contents::Unknown(error) => Some(Why::Unreadable { error: error.clone() }),
            Contents::Digest(digest) if *digest != sha256(contents.as_bytes()) => {
                Some(self.changed(path))
            }
            Contents::Digest(_) => attributes_differ(file, mode, owner, label),
        }
    }

    fn absent(&self, path: &str) -> Why {
        match self.is_on_record(path) {
            true => Why::Missing,
            false => Why::New,
        }
    }

    fn changed(&self, path: &str) -> Why {
        match (self.is_on_record(path), self.desired.acceptance) {
            (false, _) => Why::Adopt,
            (true, Acceptance::New) => Why::Update,
            (true, Acceptance::Recorded | Acceptance::Unverified) => Why::Changed,
        }
    }

    /// Whether the agent wrote something at `path`, or below it, before this round.
    fn is_on_record(&self, path: &str) -> bool {
        let Some(known) = self.ledger.known() else { return false };
        let inside = |file: &String| is_below(file, path);
        known.names(path)
            || known.manifests.iter().any(inside)
            || known.config_files.iter().any(inside)
    }
}

fn attributes_differ(
    file: &FileSeen,
    mode: u32,
    owner: crate::host::Owner,
    label: Option<&str>,
) -> Option<Why> {
    if file.owner != owner {
        return Some(Why::Owner { seen: file.owner.to_string(), wanted: owner.to_string() });
    }
    if file.mode != mode {
        return Some(Why::Mode { seen: octal(file.mode), wanted: octal(mode) });
    }
    match label {
        Some(label) if file.label.as_deref() != Some(label) => {
            Some(wrong_label(file.label.as_deref()))
        }
        Some(_) | None => None,
    }
}

fn wrong_label(seen: Option<&str>) -> Why {
    Why::Label { seen: seen.unwrap_or("none").to_owned(), wanted: POD_CONFIG_LABEL.to_owned() }
}

/// The mode a directory gets.
pub(crate) fn directory_mode(role: DirectoryRole) -> u32 {
    match role {
        DirectoryRole::State => STATE_DIRECTORY_MODE,
        DirectoryRole::Quarantine => QUARANTINE_MODE,
        DirectoryRole::Manifests => MANIFEST_DIRECTORY_MODE,
        DirectoryRole::Config => CONFIG_DIRECTORY_MODE,
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
