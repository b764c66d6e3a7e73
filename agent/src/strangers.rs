//! Strangers: what is in the agent's directories without being the agent's. Pure.
//!
//! The kubelet runs every file of its static pod directory whose name has no dot in front, `haproxy.yaml.bak` too, and
//! of two files that name one pod it runs the one whose name sorts last. So a stranger there is never harmless, but some
//! are worse than others.

use std::fmt;

use basalt_static_pods::CONFIG_DIRECTORY;

use crate::desired::Desired;
use crate::host::ledger::Ledger;
use crate::host::look::{Contents, Entry};
use crate::host::manifests::{PodIdentity, pod_identity};
use crate::observe::Observed;

/// Something that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// Host path.
    pub(crate) path: String,
    /// Whether the kubelet sees it.
    pub(crate) in_manifest_directory: bool,
    /// What it is, with its article.
    pub(crate) kind: &'static str,
    /// The pod it names, if it reads as one.
    pub(crate) pod: Option<PodIdentity>,
    pub(crate) danger: Danger,
}

/// What a stranger does to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Danger {
    /// Nothing: the kubelet does not read it, or makes no pod of it.
    None,
    /// It runs as a pod that nobody asked for.
    Runs,
    /// It names a pod of ours, or carries its uid: the kubelet runs one of the two.
    TakesPlaceOf { pod: String },
    /// It makes the kubelet read no manifest any more.
    StopsKubelet,
}

impl Danger {
    /// Whether it harms the pods this node is to run.
    pub(crate) fn is_harmful(&self) -> bool {
        match self {
            Danger::None | Danger::Runs => false,
            Danger::TakesPlaceOf { .. } | Danger::StopsKubelet => true,
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} that the agent did not write", self.kind)?;
        match &self.danger {
            Danger::None if self.in_manifest_directory => {
                f.write_str("; the kubelet makes no pod of it")
            }
            Danger::None => Ok(()),
            Danger::Runs => match &self.pod {
                Some(pod) => write!(f, "; the kubelet runs it as pod {pod}"),
                None => f.write_str("; the kubelet tries to run it"),
            },
            Danger::TakesPlaceOf { pod } => {
                write!(
                    f,
                    "; it names the same pod as `{pod}.yaml`, and the kubelet runs only one of the two"
                )
            }
            Danger::StopsKubelet => {
                f.write_str("; the kubelet reads no manifest while it is there")
            }
        }
    }
}

/// Finds the strangers. `own` names all files of the agent, those that are about to go included.
pub(crate) fn strangers(desired: &Desired, own: &Ledger, observed: &Observed) -> Vec<Stranger> {
    let ours: Vec<(String, PodIdentity)> = (desired.pods.iter())
        .filter_map(|pod| Some((pod.name.to_string(), pod_identity(&pod.manifest)?)))
        .collect();
    let directory = desired.node.kubelet.static_pod_directory.as_str();
    let mut found: Vec<Stranger> = observed
        .inside(directory)
        .filter(|(_, path, _)| !own.names(path))
        .map(|(_, path, entry)| in_manifest_directory(path, entry, &ours))
        .collect();
    let in_config_folder = observed
        .below(CONFIG_DIRECTORY)
        .filter(|(path, entry)| !matches!(entry, Entry::Directory { .. }) && !own.names(path))
        // A link in the place of one of our folders is drift, and on its way out.
        .filter(|(path, _)| {
            !own.config_files.iter().any(|file| file.starts_with(&format!("{path}/")))
        })
        .map(|(path, entry)| Stranger {
            path: path.to_owned(),
            in_manifest_directory: false,
            kind: entry.kind(),
            pod: None,
            danger: Danger::None,
        });
    found.extend(in_config_folder);
    found
}

fn in_manifest_directory(path: &str, entry: &Entry, ours: &[(String, PodIdentity)]) -> Stranger {
    // The kubelet follows links.
    let reached = match entry {
        Entry::Symlink { leads_to } => leads_to.as_deref(),
        other => Some(other),
    };
    let (pod, danger) = match reached {
        Some(Entry::File(file)) => {
            let danger = match (&file.pod, &file.contents) {
                (Some(pod), _) => match ours.iter().find(|(_, own)| is_same_pod(own, pod)) {
                    Some((name, _)) => Danger::TakesPlaceOf { pod: name.clone() },
                    None => Danger::Runs,
                },
                // What the agent may not read the kubelet may.
                (None, Contents::Unknown(_)) => Danger::Runs,
                (None, Contents::Digest(_)) => Danger::None,
            };
            (file.pod.clone(), danger)
        }
        Some(Entry::Fifo) => (None, Danger::StopsKubelet),
        Some(Entry::Directory { .. } | Entry::Special | Entry::Symlink { .. }) | None => {
            (None, Danger::None)
        }
    };
    Stranger { path: path.to_owned(), in_manifest_directory: true, kind: entry.kind(), pod, danger }
}

fn is_same_pod(ours: &PodIdentity, theirs: &PodIdentity) -> bool {
    let same_name = (&ours.namespace, &ours.name) == (&theirs.namespace, &theirs.name);
    same_name || (ours.uid.is_some() && ours.uid == theirs.uid)
}
