//! What a layer may hold, and in which order: takes components and the base's names, gives plans of layers or all
//! findings at once.
//!
//! The rules keep an image bootable. ostree takes a layer that puts a file at `lib/x` although the base's `lib` is a
//! link, and makes `lib` a directory with that one file: no tool complains and no node starts. So a path is allowed
//! only where it is known to be kept, and never across a link.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::io::digest::Digest;
use crate::oci::entry::{Component, EntryKind, Source};
use crate::oci::tree::{Node, Tree, parents};

/// Where files may go; see [`Rule::Outside`].
pub const ALLOWED: [&str; 5] = ["usr/bin", "usr/lib", "usr/libexec", "usr/share", "etc"];

/// The mode of a directory that nobody asked for by name.
pub const PARENT_MODE: u32 = 0o755;

/// The longest path and the longest name in it that Linux takes, in bytes (PATH_MAX without the final NUL, NAME_MAX).
pub const MAX_PATH_BYTES: usize = 4095;
/// See [`MAX_PATH_BYTES`].
pub const MAX_NAME_BYTES: usize = 255;

/// One layer, ready to be written: sorted by path bytes, so that each directory comes before what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlan<'a> {
    /// The component's name.
    pub component: &'a str,
    /// What the layer holds.
    pub items: BTreeMap<&'a str, Item<'a>>,
}

/// What a layer holds at one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A directory that the base does not have.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// The text of the link.
        target: &'a str,
    },
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Its content.
        source: &'a Source,
        /// What the content has to hash to.
        sha256: Option<&'a Digest>,
    },
}

/// A place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which component.
    pub component: String,
    /// At which path, where it is about one.
    pub path: Option<String>,
    /// Which rule.
    pub rule: Rule,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component `{}`: ", self.component)?;
        if let Some(path) = &self.path {
            write!(f, "`{}`: ", path.escape_debug())?;
        }
        write!(f, "{}; {}", self.rule, self.rule.hint())
    }
}

/// Who has the path that an entry clashes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The base image.
    Base,
    /// The component of this name.
    Component(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("the base"),
            Self::Component(name) => write!(f, "component `{name}`"),
        }
    }
}

/// A rule, with what breaks it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // Each message says what its fields are.
pub enum Rule {
    #[error("not a name of lower-case letters, digits, `-` and `.`")]
    ComponentName,
    #[error("another component has this name")]
    ComponentTwice,
    #[error("it has no entries, and an empty layer is of no use")]
    Empty,
    #[error(
        "the path is not relative and plain (it has a leading or final `/`, `//`, `.` or `..`)"
    )]
    NotPlain,
    #[error("the path holds a control character")]
    Control,
    #[error(
        "the path is longer than {MAX_PATH_BYTES} bytes, or a name in it than {MAX_NAME_BYTES}"
    )]
    TooLong,
    #[error("a name that begins with `.wh.` removes a file of the base instead of adding one")]
    Whiteout,
    #[error("not below usr/bin, usr/lib, usr/libexec, usr/share or etc")]
    Outside { hint: &'static str },
    #[error("the mode {mode:o} has bits other than permissions, setuid, setgid and sticky")]
    Mode { mode: u32 },
    #[error("the link's target is empty or holds a control character")]
    Target,
    #[error("the path is listed twice")]
    Twice,
    #[error("{other} has the same path")]
    SamePath { other: Owner },
    #[error("`{parent}` is a symbolic link of {owner}, and this would replace it by a directory")]
    BelowLink { parent: String, owner: Owner },
    #[error("`{parent}` is a file of {owner}")]
    BelowFile { parent: String, owner: Owner },
    #[error("it is a directory of the base, which a file or link would replace with all it holds")]
    OverDirectory,
    #[error("it is a file or link of the base, which a directory would replace")]
    DirectoryOver,
    #[error("the base has this directory with mode {base:04o}, and nodes keep that mode")]
    DirectoryMode { base: u32 },
    #[error("{other} has this directory with mode {mode:04o}")]
    DirectoryModes { other: Owner, mode: u32 },
}

impl Rule {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ComponentName => "rename it",
            Self::ComponentTwice => "rename one, or put their entries together",
            Self::Empty => "leave the component out",
            Self::NotPlain => "write it as `usr/bin/name`",
            Self::Control => "rename the file",
            Self::TooLong => "shorten it",
            Self::Whiteout => "rename the file; removing files of the base is not supported",
            Self::Outside { hint } => hint,
            Self::Mode { .. } => "give four octal digits, as 0755",
            Self::Target => "give the path the link leads to",
            Self::Twice | Self::SamePath { .. } => "remove one of the two",
            Self::BelowLink { .. } => "use the path the link leads to",
            Self::BelowFile { .. } => "choose another folder",
            Self::OverDirectory => "choose another name",
            Self::DirectoryOver => "choose another name, or leave the entry out",
            Self::DirectoryMode { .. } => "leave the entry out",
            Self::DirectoryModes { .. } => "give both the same mode",
        }
    }
}

/// Plans one layer a component, in the components' order. A layer depends on its component and the base alone, so a
/// change to one component leaves the other layers as they are; the one exception is a directory that a component lists
/// with a mode, which has that mode in every layer.
///
/// # Errors
/// Every broken rule, by component and path.
pub fn plan<'a>(
    components: &'a [Component],
    base: &Tree,
) -> Result<Vec<LayerPlan<'a>>, Vec<Finding>> {
    let mut findings = component_findings(components);
    let mut owners: BTreeMap<&str, (usize, &EntryKind)> = BTreeMap::new();
    for (index, component) in components.iter().enumerate() {
        let mut twice = BTreeSet::new();
        for entry in &component.entries {
            let path = entry.path.as_str();
            let mut found = |rule| findings.push(finding(component, Some(path), rule));
            if let Err(rule) = check_path(path).and_then(|()| check_kind(&entry.kind)) {
                found(rule);
                continue;
            }
            match owners.get(path) {
                None => {
                    owners.insert(path, (index, &entry.kind));
                }
                Some((other, _)) if *other == index => {
                    if twice.insert(path) {
                        found(Rule::Twice);
                    }
                }
                Some((other, kind)) => {
                    let other = Owner::Component(components[*other].name.clone());
                    match (kind, &entry.kind) {
                        (EntryKind::Directory { mode: a }, EntryKind::Directory { mode: b }) => {
                            if a != b {
                                found(Rule::DirectoryModes { other, mode: *a });
                            }
                        }
                        _ => found(Rule::SamePath { other }),
                    }
                }
            }
        }
    }
    for (path, (index, kind)) in &owners {
        let component = &components[*index];
        let clash = check_parents(path, &owners, components, base)
            .and_then(|()| check_base(kind, base.get(path)));
        if let Err(rule) = clash {
            findings.push(finding(component, Some(path), rule));
        }
    }
    if findings.is_empty() {
        Ok(components.iter().map(|component| layer_plan(component, &owners, base)).collect())
    } else {
        let place = |name: &str| components.iter().position(|component| component.name == name);
        findings
            .sort_by(|a, b| (place(&a.component), &a.path).cmp(&(place(&b.component), &b.path)));
        Err(findings)
    }
}

fn finding(component: &Component, path: Option<&str>, rule: Rule) -> Finding {
    Finding { component: component.name.clone(), path: path.map(str::to_owned), rule }
}

fn component_findings(components: &[Component]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut names = BTreeSet::new();
    for component in components {
        let name = component.name.as_bytes();
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let mut found = |rule| findings.push(finding(component, None, rule));
        if !name.iter().all(|&byte| is_letter(byte) || b"-.".contains(&byte))
            || !name.first().is_some_and(|&byte| is_letter(byte))
        {
            found(Rule::ComponentName);
        }
        if !names.insert(&component.name) {
            found(Rule::ComponentTwice);
        }
        if component.entries.is_empty() {
            found(Rule::Empty);
        }
    }
    findings
}

/// The rules about the text of a path.
fn check_path(path: &str) -> Result<(), Rule> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Rule::NotPlain);
    }
    if path.chars().any(char::is_control) {
        return Err(Rule::Control);
    }
    if path.len() > MAX_PATH_BYTES || path.split('/').any(|part| part.len() > MAX_NAME_BYTES) {
        return Err(Rule::TooLong);
    }
    if path.split('/').any(|part| part.starts_with(".wh.")) {
        return Err(Rule::Whiteout);
    }
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    match ALLOWED.into_iter().any(is_below) {
        true => Ok(()),
        false => Err(Rule::Outside { hint: outside_hint(path) }),
    }
}

/// What to do with a path that is not allowed, for the ones people try.
fn outside_hint(path: &str) -> &'static str {
    let mut parts = path.split('/');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("bin" | "sbin", _) | ("usr", "sbin" | "local") => "put programs into usr/bin",
        ("lib" | "lib64", _) | ("usr", "lib64") => "put libraries into usr/lib",
        ("usr", "etc") => "write etc/…, which becomes usr/etc on the node",
        ("var" | "srv" | "home" | "root" | "mnt" | "media", _) => {
            "nodes never get it by an update; let tmpfiles.d (usr/lib/tmpfiles.d) or StateDirectory= make it"
        }
        ("opt", _) => {
            "opt leads into var, which nodes never get by an update; CNI plugins go to usr/libexec/cni"
        }
        ("run" | "tmp" | "proc" | "sys" | "dev", _) => "nodes drop it; it is made at boot",
        ("boot", _) => "it is masked on nodes; kernel arguments belong into the Ignition config",
        _ => "choose a path below one of them",
    }
}

/// The rules about one entry alone.
fn check_kind(kind: &EntryKind) -> Result<(), Rule> {
    match kind {
        EntryKind::File { mode, .. } | EntryKind::Directory { mode } if mode & !0o7777 != 0 => {
            Err(Rule::Mode { mode: *mode })
        }
        EntryKind::Symlink { target }
            if target.is_empty()
                || target.len() > MAX_PATH_BYTES
                || target.chars().any(char::is_control) =>
        {
            Err(Rule::Target)
        }
        EntryKind::File { .. } | EntryKind::Directory { .. } | EntryKind::Symlink { .. } => Ok(()),
    }
}

/// Each directory above `path` has to be one, in the base and in every component.
fn check_parents(
    path: &str,
    owners: &BTreeMap<&str, (usize, &EntryKind)>,
    components: &[Component],
    base: &Tree,
) -> Result<(), Rule> {
    for parent in parents(path) {
        if let Some((index, kind)) = owners.get(parent) {
            let owner = || Owner::Component(components[*index].name.clone());
            let parent = parent.to_owned();
            match kind {
                EntryKind::Symlink { .. } => {
                    return Err(Rule::BelowLink { parent, owner: owner() });
                }
                EntryKind::File { .. } => return Err(Rule::BelowFile { parent, owner: owner() }),
                EntryKind::Directory { .. } => {}
            }
        }
        match base.get(parent) {
            Some(Node::Symlink(_)) => {
                return Err(Rule::BelowLink { parent: parent.to_owned(), owner: Owner::Base });
            }
            Some(Node::File) => {
                return Err(Rule::BelowFile { parent: parent.to_owned(), owner: Owner::Base });
            }
            Some(Node::Directory(_)) | None => {}
        }
    }
    Ok(())
}

/// An entry against what the base has at its path. Replacing a file by a file or link is what layers are for.
fn check_base(kind: &EntryKind, base: Option<&Node>) -> Result<(), Rule> {
    match (kind, base) {
        (EntryKind::Directory { mode }, Some(Node::Directory(base))) if mode != base => {
            Err(Rule::DirectoryMode { base: *base })
        }
        (EntryKind::Directory { .. }, Some(Node::File | Node::Symlink(_))) => {
            Err(Rule::DirectoryOver)
        }
        (EntryKind::File { .. } | EntryKind::Symlink { .. }, Some(Node::Directory(_))) => {
            Err(Rule::OverDirectory)
        }
        (EntryKind::Directory { .. }, Some(Node::Directory(_)) | None)
        | (
            EntryKind::File { .. } | EntryKind::Symlink { .. },
            Some(Node::File | Node::Symlink(_)) | None,
        ) => Ok(()),
    }
}

/// A layer of entries that keep the rules: theirs, and each directory above them that the base does not have, once.
fn layer_plan<'a>(
    component: &'a Component,
    owners: &BTreeMap<&'a str, (usize, &'a EntryKind)>,
    base: &Tree,
) -> LayerPlan<'a> {
    let mut items = BTreeMap::new();
    let is_missing = |path: &str| base.get(path).is_none();
    for entry in &component.entries {
        for parent in parents(&entry.path).filter(|parent| is_missing(parent)) {
            let mode = match owners.get(parent) {
                Some((_, EntryKind::Directory { mode })) => *mode,
                _ => PARENT_MODE,
            };
            items.insert(parent, Item::Directory { mode });
        }
        let path = entry.path.as_str();
        match &entry.kind {
            EntryKind::Directory { mode } if is_missing(path) => {
                items.insert(path, Item::Directory { mode: *mode });
            }
            EntryKind::Directory { .. } => {}
            EntryKind::Symlink { target } => {
                items.insert(path, Item::Symlink { target });
            }
            EntryKind::File { mode, source, sha256 } => {
                items.insert(path, Item::File { mode: *mode, source, sha256: sha256.as_ref() });
            }
        }
    }
    LayerPlan { component: &component.name, items }
}

#[cfg(test)]
mod tests;
