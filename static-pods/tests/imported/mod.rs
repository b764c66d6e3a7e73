//! What becomes of texts, for tests of imports.

#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses its part")]

use basalt_model::report::Severity;
use basalt_static_pods::import::{Fate, Imported, Reference, Source, Unread, import};
use basalt_static_pods::lint::{self, Rules};

/// Stands for a folder.
pub(crate) const FOLDER: &str = "(a folder)";

/// What becomes of texts that refer to one another.
pub(crate) fn imported(files: &[(&str, &str)], given: &[&str]) -> Imported {
    let find = |wanted: &str| files.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text);
    let sources: Vec<Source<'_>> =
        given.iter().map(|name| Source { name, text: find(name).unwrap() }).collect();
    let mut read = |reference: Reference<'_>| {
        let (folder, _) = reference.from.rsplit_once('/').unwrap_or_default();
        let path = format!("{folder}/{}", reference.path);
        match find(path.trim_start_matches('/')) {
            Some(FOLDER) => Err(Unread::Folder),
            found => found.map(str::to_owned).ok_or(Unread::Absent),
        }
    };
    import(&sources, &mut read)
}

pub(crate) fn names(imported: &Imported) -> Vec<&str> {
    imported.pods.iter().map(|pod| pod.name.as_str()).collect()
}

/// The notes about one file, as they are shown, but for those of what is carried.
pub(crate) fn said(imported: &Imported, file: &str) -> Vec<String> {
    let notes = imported.notes.iter().filter(|note| note.file == file);
    let notes = notes.filter(|note| note.fate != Fate::Carried);
    notes.map(|note| note.to_string().replace("\n  remedy", "")).collect()
}

/// The kubelet takes all pods, together.
pub(crate) fn linted(imported: &Imported) {
    let names: Vec<String> = imported.pods.iter().map(|pod| format!("{}.yaml", pod.name)).collect();
    let files: Vec<lint::File<'_>> = names
        .iter()
        .zip(&imported.pods)
        .map(|(name, pod)| lint::File { name, bytes: pod.manifest.as_bytes() })
        .collect();
    let findings = lint::lint(&files, Rules::Kubelet);
    let errors: Vec<_> = findings.iter().filter(|f| f.severity() == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
