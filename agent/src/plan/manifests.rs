//! How one run of a static pod follows another.
//!
//! A manifest that changes is removed, the end of its pod is confirmed, and only then the new one is written: the reasons
//! are in [`crate::replace`]. Nothing is written for a pod, even when its manifest is not there, before it is certain that
//! no run of it is left: the agent may have been interrupted between removing and writing.
//!
//! Pods are replaced one after the other. Whoever draws traffic to another pod that is replaced leaves first and returns
//! last ([`leaves_before`]).

use std::collections::BTreeMap;

use basalt_static_pods::StaticPod;

use super::{Departure, MANIFEST_MODE, Planning, Step, Why, manifest_path};
use crate::host::look::{Entry, FileSeen};
use crate::host::runs::LocalPod;
use crate::replace::uid::{stamp, uid};
use crate::replace::{leaves_before, rank};

/// The namespace of pods whose manifest cannot be read any more.
const NAMESPACE: &str = "kube-system";

/// What is to be done about one wanted manifest.
enum Fate {
    /// It is in place.
    Stays,
    /// It cannot be looked at, so nothing is done.
    Hidden,
    /// Its text is in place, its attributes are not: the kubelet does not notice when it is written again.
    Dressed(Why),
    /// What is in its place goes first.
    Replaced(Why),
    /// Nothing is in its place.
    Absent(Why),
}

impl Planning<'_> {
    /// Removes the manifests that are to be gone, and waits for the end of their pods.
    pub(super) fn manifest_removals(&self) -> Vec<Step> {
        let gone = || {
            (self.own.manifests.difference(&self.settled.manifests))
                .filter(|path| self.observed.entry(path).is_some())
        };
        let removals = gone().map(|path| self.removal(path, Departure::Gone));
        removals.chain(gone().map(|path| self.confirmation(path, Some(Departure::Gone)))).collect()
    }

    /// Replaces and writes manifests.
    pub(super) fn manifest_writes(&self) -> Vec<Step> {
        let mut pods: Vec<(&StaticPod, String, Fate)> = (self.desired.pods.iter())
            .map(|pod| (pod, manifest_path(self.desired, pod)))
            .map(|(pod, path)| (pod, path.clone(), self.fate(pod, &path)))
            .collect();
        pods.sort_by_key(|(pod, _, _)| rank(&pod.name));

        let leaves = |pod: &StaticPod| {
            pods.iter().any(|(other, _, fate)| {
                matches!(fate, Fate::Replaced(_)) && leaves_before(&pod.name, &other.name)
            })
        };
        let (mut first, mut then) = (Vec::new(), Vec::new());
        for (pod, path, fate) in &pods {
            let stop = |steps: &mut Vec<Step>, departure| {
                steps.push(self.removal(path, departure));
                steps.push(self.confirmation(path, Some(departure)));
            };
            let why = match fate {
                Fate::Hidden | Fate::Stays => continue,
                Fate::Dressed(why) => {
                    then.push(self.write(pod, path, self.uid_on_disk(path), why));
                    continue;
                }
                Fate::Replaced(why) => {
                    stop(if leaves(pod) { &mut first } else { &mut then }, Departure::Replaced);
                    why.clone()
                }
                Fate::Absent(why) => {
                    then.push(self.confirmation(path, None));
                    why.clone()
                }
            };
            then.push(self.write(pod, path, None, &why));
        }
        first.append(&mut then);
        first
    }

    /// By pod, the number of the run that its next manifest starts: one more than the last for those whose manifest is
    /// removed in this round.
    pub(super) fn runs(&self) -> BTreeMap<String, u64> {
        let mut runs = self.ledger.known().map(|known| known.runs.clone()).unwrap_or_default();
        for pod in &self.desired.pods {
            runs.entry(pod.name.to_string()).or_insert(1);
        }
        let steps = self.manifest_removals().into_iter().chain(self.manifest_writes());
        for step in steps {
            if let Step::RemoveManifest { pod, .. } = step {
                *runs.entry(pod).or_insert(1) += 1;
            }
        }
        runs
    }

    /// Whether the manifest of `pod` is in place and stays there.
    pub(super) fn keeps_running(&self, pod: &StaticPod) -> bool {
        let path = manifest_path(self.desired, pod);
        matches!(self.fate(pod, &path), Fate::Stays | Fate::Dressed(_))
    }

    fn fate(&self, pod: &StaticPod, path: &str) -> Fate {
        // Whatever UID it has: it was given when the pod was started.
        let text = self.stamped(pod, self.uid_on_disk(path));
        let Some(why) = self.differs(path, &text, MANIFEST_MODE, None) else {
            return match self.observed.hidden.contains_key(path) {
                true => Fate::Hidden,
                false if self.is_to_restart(pod, path) => Fate::Replaced(Why::Restart),
                false => Fate::Stays,
            };
        };
        match why {
            Why::Mode { .. } | Why::Owner { .. } | Why::Label { .. } => Fate::Dressed(why),
            Why::New | Why::Missing => Fate::Absent(why),
            // Not for us to remove; writing tells what is wrong.
            Why::Kind { .. } if self.is_directory(path) => Fate::Absent(why),
            Why::Update
            | Why::Changed
            | Why::Adopt
            | Why::Restart
            | Why::Kind { .. }
            | Why::Unreadable { .. } => Fate::Replaced(why),
        }
    }

    /// Whether somebody asked for the end of the run that is there.
    fn is_to_restart(&self, pod: &StaticPod, path: &str) -> bool {
        let asked = self.observed.restarts.get(pod.name.as_str());
        asked.is_some_and(|uid| self.uid_on_disk(path) == Some(uid))
    }

    fn removal(&self, path: &str, reason: Departure) -> Step {
        Step::RemoveManifest { path: path.to_owned(), pod: stem(path).to_owned(), reason }
    }

    fn confirmation(&self, path: &str, departure: Option<Departure>) -> Step {
        let (pod, run) = (stem(path).to_owned(), self.run(path));
        Step::ConfirmStopped { path: path.to_owned(), pod, departure, run }
    }

    /// The pod of the manifest at `path`, as the runtime knows it.
    pub(super) fn run(&self, path: &str) -> LocalPod {
        let node = &self.desired.node.name;
        let seen = self.file(path).and_then(|file| file.pod.as_ref());
        LocalPod {
            namespace: seen.map_or(NAMESPACE, |pod| &pod.namespace).to_owned(),
            name: format!("{}-{node}", seen.map_or(stem(path), |pod| &pod.name)),
            uid: seen.and_then(|pod| pod.uid.clone()),
        }
    }

    fn write(&self, pod: &StaticPod, path: &str, keep: Option<&str>, reason: &Why) -> Step {
        let uid = match keep {
            Some(uid) => uid.to_owned(),
            None => {
                let run = self.own.runs.get(pod.name.as_str()).copied().unwrap_or(1);
                let node = self.desired.node.name.to_string();
                uid(&node, pod.name.as_str(), &pod.manifest, run)
            }
        };
        let contents = stamp(&pod.manifest, &uid);
        let (path, pod) = (path.to_owned(), pod.name.clone());
        Step::WriteManifest { path, pod, uid, contents, reason: reason.clone() }
    }

    fn stamped(&self, pod: &StaticPod, uid: Option<&str>) -> String {
        uid.map_or_else(|| pod.manifest.clone(), |uid| stamp(&pod.manifest, uid))
    }

    fn uid_on_disk(&self, path: &str) -> Option<&str> {
        self.file(path)?.pod.as_ref()?.uid.as_deref()
    }

    fn file(&self, path: &str) -> Option<&FileSeen> {
        match self.observed.entry(path) {
            Some(Entry::File(file)) => Some(file),
            _ => None,
        }
    }

    fn is_directory(&self, path: &str) -> bool {
        matches!(self.observed.entry(path), Some(Entry::Directory { .. }))
    }
}

/// The pod that a manifest of ours is named after.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".yaml").unwrap_or(name)
}
