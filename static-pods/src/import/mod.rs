//! The way from Podman: takes the texts of quadlets, of units that run podman and of compose files, gives pods, touches
//! nothing.
//!
//! Each format is read into drafts of containers (`draft`) by way of the options of `podman run`, which have one table
//! (`options`): quadlet keys (`keys`, `quadlet`) and fields of compose files (`compose`) are names for them, and a unit's
//! command line (`run`, `service`) has them as they are. Drafts become manifests in `pod` and `container`. What becomes
//! of every key and option is said in a [`Note`], so that nothing is lost in silence.
//!
//! A standalone node has no network plugin: every pod shares the host's network, and what that changes is noted.

mod amounts;
mod compose;
mod container;
mod draft;
mod environment;
mod files;
mod health;
mod interpolate;
mod keys;
mod notes;
mod options;
mod pod;
mod quadlet;
mod run;
mod secrets;
mod service;
mod snippet;
mod specifiers;
mod systemd;
mod unit;
mod values;
mod volumes;

use std::io;

use serde_json::Value;

pub use compose::compose_files;
pub use notes::{Fate, Note};
pub use secrets::SECRETS;
pub use snippet::Snippet;
pub use values::VOLUMES;

use crate::lint;
use draft::PodDraft;
use notes::{At, Notes};

/// One text to import.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// The file as the person named it. What it is follows from the last part: `web.container`, `compose.yaml`; drop-ins
    /// are in folders beside it, `web.container.d/10-more.conf`. Compose files of one folder are one project, where later
    /// ones are merged over earlier ones and those called `…override.yaml` over all others; a `.env` that names the files of
    /// its project (`COMPOSE_FILE`) makes those the project instead.
    pub name: &'t str,
    /// What is in it.
    pub text: &'t str,
}

/// A file that a text refers to, as of `EnvironmentFile=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'r> {
    /// The text that refers to it.
    pub from: &'r str,
    /// The path as it is written there: absolute, or relative to the folder of that text.
    pub path: &'r str,
}

/// Why a file that a text refers to was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is a folder.
    #[error("it is a folder")]
    Folder,
    /// Nothing has that name.
    #[error("there is no such file")]
    Absent,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        match error.kind() {
            io::ErrorKind::IsADirectory => Unread::Folder,
            io::ErrorKind::NotFound => Unread::Absent,
            _ => Unread::Other(error.to_string()),
        }
    }
}

/// One pod, as a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedPod {
    /// Also the stem of the manifest's file name.
    pub name: String,
    /// The manifest, YAML text with a final newline. The kubelet takes it by the rules of [`lint`].
    pub manifest: String,
    /// The files that it mounts from the pod's own folder, sorted by name.
    pub files: Vec<CarriedFile>,
}

/// A text that goes with a pod, as a config file of the cluster.yaml. Holds no secret as far as anybody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedFile {
    /// Unique in the pod.
    pub name: String,
    /// What is in it.
    pub contents: String,
    /// The mode that the node gives to it.
    pub mode: u32,
}

/// What texts became.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Sorted by name.
    pub pods: Vec<ImportedPod>,
    /// What the cluster.yaml has to say about them.
    pub snippet: Snippet,
    /// What became of every setting, by file and place.
    pub notes: Vec<Note>,
}

impl Imported {
    /// Whether a text could not be understood: what was made of it must not be used.
    pub fn is_refused(&self) -> bool {
        self.notes.iter().any(|note| note.fate == Fate::Invalid)
    }
}

/// Imports `sources`, which are looked at together: a container is put into the pod of another file, and a volume is
/// looked up. `read` answers with the text of a file that one of them refers to, or with why there is none.
pub fn import(
    sources: &[Source<'_>],
    read: &mut dyn FnMut(Reference<'_>) -> Result<String, Unread>,
) -> Imported {
    let mut notes = Notes::default();
    let mut drafts = Vec::new();
    let (units, rest): (Vec<_>, Vec<_>) =
        sources.iter().copied().partition(|source| unit::is_unit(source.name));
    let units = files::units(&units, &mut notes);
    drafts.extend(quadlet::pods(&units, read, &mut notes));
    drafts.extend(service::pods(&units, read, &mut notes));
    drafts.extend(compose::pods(&rest, read, &mut notes));
    let (pods, snippet) = finished(drafts, &mut notes);
    Imported { pods, snippet, notes: notes.sorted() }
}

/// The manifests, without those that the kubelet would not take.
fn finished(drafts: Vec<PodDraft>, notes: &mut Notes) -> (Vec<ImportedPod>, Snippet) {
    let mut snippet = Snippet::default();
    let mut made: Vec<(At, ImportedPod)> = Vec::new();
    let mut drafts = drafts;
    drafts.sort_by(|a, b| a.name.cmp(&b.name));
    for draft in drafts {
        let at = draft.at.clone();
        let Some(pod::Made { name, manifest, secrets, mut files }) = pod::manifest(draft, notes)
        else {
            continue;
        };
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if made.iter().any(|(_, pod)| pod.name == name) {
            let message = format!("another pod is called `{name}`, too: this one is left out");
            notes.broken(&at, message, "give one of them another name");
            continue;
        }
        let manifest = print(&manifest);
        let pod = ImportedPod { name, manifest, files };
        if is_taken(&made, &pod, &at, notes) {
            snippet.add(&pod, secrets);
            made.push((at, pod));
        }
    }
    (made.into_iter().map(|(_, pod)| pod).collect(), snippet)
}

fn print(manifest: &Value) -> String {
    basalt_model::yaml::print::print(manifest)
}

/// Whether the kubelet takes `pod` beside those made before.
fn is_taken(made: &[(At, ImportedPod)], pod: &ImportedPod, at: &At, notes: &mut Notes) -> bool {
    let names: Vec<String> = made
        .iter()
        .map(|(_, pod)| pod)
        .chain([pod])
        .map(|pod| format!("{}.yaml", pod.name))
        .collect();
    let texts = made.iter().map(|(_, pod)| pod).chain([pod]).map(|pod| pod.manifest.as_bytes());
    let files: Vec<_> =
        names.iter().zip(texts).map(|(name, bytes)| lint::File { name, bytes }).collect();
    let findings = lint::lint(&files, lint::Rules::Kubelet);
    let mut is_taken = true;
    for finding in findings {
        if finding.severity() == basalt_model::report::Severity::Error {
            let lint::LintFinding { path, message, rule, .. } = &finding;
            let message = format!(
                "the pod `{}` is left out, the kubelet would not take it: {path}: {message} [{rule}]",
                pod.name
            );
            notes.broken(at, message, &finding.remedy);
            is_taken = false;
        }
    }
    is_taken
}

#[cfg(test)]
mod coverage;
