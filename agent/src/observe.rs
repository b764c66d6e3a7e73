//! What the node is: looks once at everything a round depends on, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use basalt_model::node::NODE_JSON_PATH;
use basalt_static_pods::CONFIG_DIRECTORY;
use camino::Utf8Path;

use crate::desired::{Desired, Inputs, TextSeen};
use crate::host::files::is_temporary_name;
use crate::host::generations::SetsSeen;
use crate::host::ledger::{self, BROKEN_LEDGER_PATH, LEDGER_PATH, LedgerSeen};
use crate::host::look::{self, Entry, ReadAs};
use crate::host::restarts;
use crate::host::{ACCEPTED_NODE_PATH, Host, Owner, STATE_DIRECTORY};

/// Folders inside the config folder go no deeper than this; what lies deeper is not looked at.
const MAX_DEPTH: usize = 8;

/// The host as it was seen, by host path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Everything that was found: the static pod directory with its entries, the config folder with everything below
    /// it, the state directory, and every manifest the ledger names. What is not in here was not there.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// What could not be looked at, and why.
    pub(crate) hidden: BTreeMap<String, String>,
    /// Temporary files of ours that an interrupted agent left behind.
    pub(crate) leftovers: Vec<String>,
    /// The names of the folders that hold pod sets, or were to.
    pub(crate) generations: BTreeSet<String>,
    /// By pod, the UID of a run that has to end, see [`restarts`].
    pub(crate) restarts: BTreeMap<String, String>,
    /// Who should own what the agent writes.
    pub(crate) owner: Owner,
    /// Whether pod config files are to have a SELinux label.
    pub(crate) labels: bool,
}

impl Observed {
    /// What is at `path`.
    pub(crate) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The entries right inside `directory`: name, path, entry.
    pub(crate) fn inside<'a>(
        &'a self,
        directory: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Entry)> {
        self.entries.iter().filter_map(move |(path, entry)| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?;
            (!name.contains('/')).then_some((name, path.as_str(), entry))
        })
    }

    /// The entries below `directory`, at any depth.
    pub(crate) fn below<'a>(
        &'a self,
        directory: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.entries.iter().filter_map(move |(path, entry)| {
            let rest = path.strip_prefix(directory)?.strip_prefix('/')?;
            (!rest.is_empty()).then_some((path.as_str(), entry))
        })
    }
}

/// Reads what the decision is made from.
pub(crate) fn inputs(host: &Host) -> Inputs {
    Inputs {
        node_json: text(host, NODE_JSON_PATH),
        accepted_node: text(host, ACCEPTED_NODE_PATH),
        ledger: ledger::load(&host.path(LEDGER_PATH)),
    }
}

fn text(host: &Host, path: &str) -> TextSeen {
    match look::read(&host.path(path)) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => TextSeen::Text(text),
            Err(error) => TextSeen::Unreadable(error.utf8_error().to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => TextSeen::Missing,
        Err(error) => TextSeen::Unreadable(error.to_string()),
    }
}

/// Looks at the host. `desired` says which directory the kubelet reads; without it there is little to look at.
pub(crate) fn observe(
    host: &Host,
    ledger: &LedgerSeen,
    sets: &SetsSeen,
    desired: Option<&Desired>,
) -> Observed {
    let mut looking = Looking {
        host,
        seen: Observed {
            entries: BTreeMap::new(),
            hidden: BTreeMap::new(),
            leftovers: Vec::new(),
            generations: BTreeSet::new(),
            restarts: restarts::pending(host),
            owner: host.owner,
            labels: host.labels,
        },
    };
    looking.look_at(STATE_DIRECTORY, ReadAs::Bytes);
    looking.leftovers_in(STATE_DIRECTORY);
    looking.seen.generations = sets.by_name.keys().cloned().collect();
    looking.look_at(BROKEN_LEDGER_PATH, ReadAs::Bytes);
    looking.tree(CONFIG_DIRECTORY, 0);
    if let Some(desired) = desired {
        looking.manifests(desired.node.kubelet.static_pod_directory.as_str());
    }
    if let Some(ledger) = ledger.known() {
        for path in &ledger.manifests {
            looking.look_at(path, ReadAs::PodManifest);
        }
    }
    looking.seen
}

struct Looking<'a> {
    host: &'a Host,
    seen: Observed,
}

impl Looking<'_> {
    fn look_at(&mut self, path: &str, read_as: ReadAs) {
        if self.seen.entries.contains_key(path) {
            return;
        }
        match look::entry(self.host, &self.host.path(path), read_as) {
            Ok(Some(entry)) => {
                self.seen.entries.insert(path.to_owned(), entry);
            }
            Ok(None) => {}
            Err(error) => self.hide(path, &error),
        }
    }

    /// The static pod directory. It may be a symbolic link; then it is what the link leads to that counts.
    fn manifests(&mut self, directory: &str) {
        let real = match self.host.real(directory).canonicalize_utf8() {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.hide(directory, &error),
        };
        match look::entry(self.host, &real, ReadAs::Bytes) {
            Ok(Some(entry)) => self.seen.entries.insert(directory.to_owned(), entry),
            Ok(None) => return,
            Err(error) => return self.hide(directory, &error),
        };
        self.list(&real, directory, ReadAs::PodManifest);
    }

    fn tree(&mut self, directory: &str, depth: usize) {
        self.look_at(directory, ReadAs::Bytes);
        if !matches!(self.seen.entry(directory), Some(Entry::Directory { .. })) {
            return;
        }
        let real = self.host.path(directory);
        for below in self.list(&real, directory, ReadAs::Bytes) {
            if depth < MAX_DEPTH {
                self.tree(&below, depth + 1);
            }
        }
    }

    /// Adds the entries of one directory and returns those that are directories themselves.
    fn list(&mut self, real: &Utf8Path, directory: &str, read_as: ReadAs) -> Vec<String> {
        let listing = match look::listing(self.host, real, read_as) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Vec::new(),
            Err(error) => {
                self.hide(directory, &error);
                return Vec::new();
            }
        };
        let mut directories = Vec::new();
        for (name, entry) in listing {
            let path = format!("{directory}/{name}");
            if is_temporary_name(&name) {
                self.seen.leftovers.push(path);
                continue;
            }
            // The kubelet does not read dotfiles: they are other people's business.
            if read_as == ReadAs::PodManifest && name.starts_with('.') {
                continue;
            }
            if matches!(entry, Entry::Directory { .. }) {
                directories.push(path.clone());
            }
            self.seen.entries.insert(path, entry);
        }
        directories
    }

    /// Left-overs alone: nothing else in there is compared with anything.
    fn leftovers_in(&mut self, directory: &str) {
        let Ok(entries) = self.host.real(directory).read_dir_utf8() else { return };
        for entry in entries.flatten().filter(|entry| is_temporary_name(entry.file_name())) {
            self.seen.leftovers.push(format!("{directory}/{}", entry.file_name()));
        }
    }

    fn hide(&mut self, path: &str, error: &io::Error) {
        self.seen.hidden.insert(path.to_owned(), error.to_string());
    }
}
