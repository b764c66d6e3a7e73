//! Paths of the host that a compose file gives relative to its project, which nodes do not have.
//!
//! A text goes with the pod, as a config does. A folder becomes one of the node's own, as a volume does, since what a
//! program keeps there is not made anew for each node.

use basalt_model::names::FileName;

use super::super::draft::{Draft, Mount, MountSource};
use super::super::environment::Read;
use super::super::notes::{At, Notes};
use super::super::secrets::{self, file_name};
use super::super::values::Mounted;
use super::super::{CarriedFile, Reference, Unread};
use super::configs::{MODE, VAULT};
use super::tree::Origin;

/// Where the folders of projects are on the host.
const PROJECTS: &str = "/var/lib/basalt/project";

/// Whether compose looks for the path beside the file.
pub(super) fn is_relative(path: &str) -> bool {
    path == "." || path == ".." || path.starts_with("./") || path.starts_with("../")
}

/// Mounts what is at `path` of the project; `mount` says where and how, whatever its source is.
pub(super) fn mount(
    draft: &mut Draft,
    (origin, path): (&Origin, &str),
    (mount, options): Mounted,
    at: &At,
    read: &mut Read<'_>,
    notes: &mut Notes,
) {
    let (from, path) = origin.reference(path);
    let options: Vec<&String> =
        options.iter().filter(|option| !["z", "Z"].contains(&option.as_str())).collect();
    if !options.is_empty() {
        let message = format!(
            "mounted, without {}: a pod has no such options",
            basalt_model::decode::list(&options)
        );
        notes.lost(at, message, "see to owner, mode and options on the node");
    }
    match read(Reference { from: &from, path: &path }) {
        Ok(text) => file(draft, &path, text, mount, at, notes),
        Err(Unread::Folder) => folder(draft, &path, mount, at, notes),
        Err(Unread::Absent) => notes.broken(
            at,
            format!("`{path}` is not mounted: nothing lies there, seen from the compose file"),
            "put the file or the folder there and import once more, or mount an absolute path of the nodes",
        ),
        Err(error @ Unread::Other(_)) => {
            let message = format!("`{path}` is not mounted: it cannot go with the pod ({error})");
            notes.broken(
                at,
                message,
                "put the file on the nodes with `files` of the cluster.yaml's image or with their Butane config, and \
                 mount it by its absolute path there",
            );
        }
    }
}

fn file(draft: &mut Draft, path: &str, text: String, mount: Mount, at: &At, notes: &mut Notes) {
    let last = path.rsplit('/').next().unwrap_or_default();
    if secrets::is_in(&text) {
        let file = file_name(&format!("{}-{last}", draft.name));
        draft.mount_secret(&file, &mount.target);
        let message = "the file holds a secret: it is left out, and a file that vault-agent writes takes its place";
        notes.broken(at, message, VAULT);
        return;
    }
    // Two files of one name are mounted from two folders.
    let is_other =
        |name: &str| draft.files.iter().any(|file| file.name == name && file.contents != text);
    let name = std::iter::once(last.to_owned())
        .chain((2..).map(|number| format!("{number}-{last}")))
        .find(|name| !is_other(name))
        .unwrap_or_default();
    if name.parse::<FileName>().is_err() {
        let message = format!("`{last}` cannot be the name of a file of a pod");
        notes.broken(at, message, "call the file by letters, digits, `.`, `_` and `-`");
        return;
    }
    if mount.read_only {
        notes.carried(at, "as a file of the pod");
    } else {
        notes.changed(
            at,
            "as a file of the pod, which the program can read and not write",
            "where it has to write, put the file on the nodes with their Butane config, and mount it by its absolute \
             path there",
        );
    }
    if !draft.files.iter().any(|file| file.name == name) {
        draft.files.push(CarriedFile { name: name.clone(), contents: text, mode: MODE });
    }
    draft.mount(Mount { source: MountSource::Carried(name), read_only: true, ..mount });
}

fn folder(draft: &mut Draft, path: &str, mount: Mount, at: &At, notes: &mut Notes) {
    let Some(below) = below(path) else {
        notes.broken(
            at,
            format!("`{path}` is not mounted: it lies outside of the project, which the nodes do not have"),
            "put it on the nodes with their Butane config, and mount it by its absolute path there",
        );
        return;
    };
    let path = format!("{PROJECTS}{below}");
    let message = format!(
        "as the folder `{path}` of the host: the nodes do not have the folder of the project"
    );
    notes.changed(
        at,
        message,
        "put what the program needs there with the nodes' Butane config, or move the data there; a new folder is empty \
         and root's",
    );
    draft.mount(Mount { source: MountSource::Host(path, "DirectoryOrCreate"), ..mount });
}

/// `/a/b` of `./a/../a/b`; `None` when it leads out.
fn below(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.iter().map(|part| format!("/{part}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn folders_of_a_project() {
        for (path, expected) in [
            ("./data", Some("/data")),
            (".", Some("")),
            ("sub/../data//x/", Some("/data/x")),
            ("../data", None),
            ("a/../../data", None),
        ] {
            assert_eq!(super::below(path).as_deref(), expected, "{path}");
        }
    }
}
