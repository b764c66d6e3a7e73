//! The pod sets that are kept on disk, so that the last good one can return without anybody's help.
//!
//! Each set is a folder of its own below [`GENERATIONS_DIRECTORY`]: `node.json`, `manifests/POD.yaml`, the config files
//! below `files/` as they lie below `/etc/basalt/pods`, and `index.json`, which names all of them with their modes. It
//! is written under another name, synced, and renamed, so that it is there whole or not at all; when it is read, its
//! content has to have the digest in its name.

use std::collections::BTreeMap;
use std::io;

use basalt_model::names::{AbsolutePath, PodName};
use basalt_static_pods::{CONFIG_DIRECTORY, ConfigFile, StaticPod};
use camino::Utf8Path;
use rustix::fs::{CWD, renameat};
use serde::{Deserialize, Serialize};

use super::files::{
    Attributes, ensure_directory, is_temporary_name, replace, sync_directory, temporary_name,
};
use super::{Host, look};
use crate::generation::{PodSet, PodSetId, is_set_name};

/// Where the sets are.
pub(crate) const GENERATIONS_DIRECTORY: &str = "/var/lib/basalt/generations";
/// The `schema` value this build writes and reads.
const INDEX_SCHEMA: u32 = 1;
/// A set is read by the agent alone; a copy of a config file is nobody's config.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The document `index.json` of a set.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    schema: u32,
    id: PodSetId,
    /// Sorted by name.
    pods: Vec<IndexPod>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexPod {
    name: PodName,
    /// Sorted by path.
    files: Vec<IndexFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexFile {
    path: AbsolutePath,
    /// Permission bits the file has in its place, in octal.
    mode: String,
}

/// The sets as they are found: by the name of its folder, each set or what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetsSeen {
    pub(crate) by_name: BTreeMap<String, Result<PodSet, String>>,
}

impl SetsSeen {
    /// Those that are whole.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &PodSet> {
        self.by_name.values().flatten()
    }
}

/// The folder of one set.
pub(crate) fn path_of(id: &PodSetId) -> String {
    format!("{GENERATIONS_DIRECTORY}/{}", id.name())
}

/// Looks at every set. Left-overs of an interrupted agent
/// are among the wrong ones; what else lies there is not looked at.
///
/// # Errors
/// When the folder of the sets cannot be read; a missing one is empty.
pub(crate) fn scan(host: &Host) -> io::Result<SetsSeen> {
    let mut sets = SetsSeen::default();
    let entries = match host.path(GENERATIONS_DIRECTORY).read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sets),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if is_set_name(name) {
            sets.by_name.insert(name.to_owned(), read(entry.path(), name));
        } else if is_temporary_name(name) {
            sets.by_name.insert(name.to_owned(), Err("it was not finished".to_owned()));
        }
    }
    Ok(sets)
}

/// Reads one set and proves that it is what its name says.
fn read(folder: &Utf8Path, name: &str) -> Result<PodSet, String> {
    let text = |path: &str| {
        look::read(&folder.join(path))
            .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
            .map_err(|error| format!("{path}: {error}"))
    };
    let index: Index = serde_json::from_str(&text("index.json")?)
        .map_err(|error| format!("index.json: {error}"))?;
    if index.schema != INDEX_SCHEMA {
        return Err(format!("index.json: `schema` is {}, not {INDEX_SCHEMA}", index.schema));
    }
    let mut pods = Vec::new();
    for pod in index.pods {
        let mut files = Vec::new();
        for IndexFile { path, mode } in pod.files {
            let mode = u32::from_str_radix(&mode, 8).map_err(|error| format!("mode: {error}"))?;
            let contents =
                text(&copy_of(&path).ok_or_else(|| format!("{path} is no config file"))?)?;
            files.push(ConfigFile { path, contents, mode });
        }
        let manifest = text(&format!("manifests/{}.yaml", pod.name))?;
        pods.push(StaticPod { name: pod.name, manifest, files });
    }
    let set = PodSet::new(index.id.generation, text("node.json")?, pods);
    match set.id == index.id && set.id.name() == name {
        true => Ok(set),
        false => Err("its content is not what it was".to_owned()),
    }
}

/// Where in a set's folder the copy of a config file lies.
fn copy_of(path: &AbsolutePath) -> Option<String> {
    let below = path.as_str().strip_prefix(CONFIG_DIRECTORY)?.strip_prefix('/')?;
    Some(format!("files/{below}"))
}

/// Keeps a set. A folder of the same name that is no longer whole is replaced.
///
/// # Errors
/// Nothing but a left-over, which the next try replaces, was added.
pub(crate) fn keep(host: &Host, set: &PodSet) -> io::Result<()> {
    let owner = host.owner;
    let directory = Attributes { mode: DIRECTORY_MODE, owner, label: None };
    let file = Attributes { mode: FILE_MODE, owner, label: None };
    let sets = host.path(GENERATIONS_DIRECTORY);
    let folder = sets.join(set.id.name());
    let beside = sets.join(temporary_name(&set.id.name()));
    ensure_directory(&sets, directory)?;
    remove_all(&beside)?;
    ensure_directory(&beside, directory)?;
    let write = |path: &str, contents: &str| {
        let path = beside.join(path);
        ensure_directory(path.parent().unwrap_or(&beside), directory)?;
        replace(&path, contents.as_bytes(), file)
    };
    write("node.json", &set.node)?;
    let mut index = Index { schema: INDEX_SCHEMA, id: set.id.clone(), pods: Vec::new() };
    for pod in &set.pods {
        write(&format!("manifests/{}.yaml", pod.name), &pod.manifest)?;
        let mut files = Vec::new();
        for config in &pod.files {
            let copy = copy_of(&config.path).ok_or(io::ErrorKind::InvalidInput)?;
            write(&copy, &config.contents)?;
            files.push(IndexFile {
                path: config.path.clone(),
                mode: format!("{:04o}", config.mode),
            });
        }
        index.pods.push(IndexPod { name: pod.name.clone(), files });
    }
    let index = serde_json::to_string_pretty(&index).expect("an index has string keys only");
    write("index.json", &(index + "\n"))?;
    remove_all(&folder)?;
    renameat(CWD, beside.as_std_path(), CWD, folder.as_std_path())?;
    sync_directory(&sets)
}

/// Forgets a set, by the path of its folder; a missing one is no error.
pub(crate) fn forget(host: &Host, path: &str) -> io::Result<()> {
    remove_all(&host.path(path))?;
    sync_directory(&host.path(GENERATIONS_DIRECTORY))
}

fn remove_all(path: &Utf8Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(seen) if seen.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node_json, pod, scratch_host};

    fn set() -> PodSet {
        let pods = vec![pod("a", &[("a.cfg", "1"), ("deep/b.cfg", "2")]), pod("b", &[])];
        PodSet::new(4, node_json(4, "lab"), pods)
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let (_keep, host) = scratch_host();
        assert_eq!(scan(&host).unwrap(), SetsSeen::default());
        let set = set();
        for _ in 0..2 {
            keep(&host, &set).unwrap();
            let expected = BTreeMap::from([(set.id.name(), Ok(set.clone()))]);
            assert_eq!(scan(&host).unwrap().by_name, expected);
        }
        forget(&host, &path_of(&set.id)).unwrap();
        forget(&host, &path_of(&set.id)).unwrap();
        assert_eq!(scan(&host).unwrap(), SetsSeen::default());
    }

    #[test]
    fn a_set_that_is_not_whole_is_none() {
        let (_keep, host) = scratch_host();
        let set = set();
        let folder = host.path(&path_of(&set.id));
        let damages: [&dyn Fn(); 6] = [
            &|| std::fs::remove_file(folder.join("index.json")).unwrap(),
            &|| std::fs::write(folder.join("index.json"), "{}").unwrap(),
            &|| std::fs::write(folder.join("node.json"), "{}").unwrap(),
            &|| std::fs::write(folder.join("manifests/a.yaml"), "").unwrap(),
            &|| std::fs::write(folder.join("files/a/deep/b.cfg"), "3").unwrap(),
            &|| {
                std::fs::remove_file(folder.join("node.json")).unwrap();
                let pipe = folder.join("node.json");
                let mode = rustix::fs::Mode::RUSR;
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(CWD, pipe.as_std_path(), kind, mode, 0).unwrap();
            },
        ];
        for (number, damage) in damages.iter().enumerate() {
            keep(&host, &set).unwrap();
            damage();
            let seen = scan(&host).unwrap().by_name;
            assert!(seen[&set.id.name()].is_err(), "damage {number}");
        }
        keep(&host, &set).unwrap();
        assert_eq!(
            scan(&host).unwrap().by_name[&set.id.name()],
            Ok(set),
            "keeping it again repairs it"
        );
    }

    #[test]
    fn an_interrupted_one_is_seen_as_such() {
        let (_keep, host) = scratch_host();
        let folder = format!("{GENERATIONS_DIRECTORY}/{}", temporary_name("4-0123456789abcdef"));
        std::fs::create_dir_all(host.path(&folder)).unwrap();
        std::fs::create_dir_all(host.path(GENERATIONS_DIRECTORY).join("notes")).unwrap();
        let seen = scan(&host).unwrap().by_name;
        assert_eq!(seen.len(), 1);
        forget(&host, &folder).unwrap();
        assert_eq!(scan(&host).unwrap(), SetsSeen::default());
    }
}
