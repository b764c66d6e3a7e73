//! The names in a base image: what a new layer has to respect.
//!
//! Only headers are kept, and of those only what lies below `usr` and `etc` (a layer of ours holds nothing else) and
//! symbolic links (a hard link may name one). That is some 100 bytes a file of the base.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// What a path of the base is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory with these permission bits.
    Directory(u32),
    /// A regular file, or anything else that is neither directory nor link.
    File,
    /// A symbolic link to this target.
    Symlink(String),
}

/// The paths of an image, without `/` at either end. ostree's `usr/etc` is listed as the `etc` it becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// The headers of one layer, in the order of the tar stream.
#[derive(Debug, Default)]
pub struct Listing {
    added: Vec<(String, Added)>,
    removed: Vec<String>,
    emptied: Vec<String>,
}

#[derive(Debug)]
enum Added {
    Node(Node),
    HardLink(String),
}

impl Listing {
    /// Reads the tar stream `layer` to the end of its entries. Names that are not UTF-8 are left out: no path of ours
    /// can meet them.
    ///
    /// # Errors
    /// When `layer` cannot be read or is not a tar stream.
    pub fn read(layer: impl Read) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut archive = tar::Archive::new(layer);
        for entry in archive.entries()? {
            let entry = entry?;
            let Some(path) = normalise(&entry.path_bytes()) else { continue };
            let kind = entry.header().entry_type();
            let link = || {
                let bytes = entry.link_name_bytes().unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                listing.emptied.push(folder.to_owned());
            } else if let Some(hidden) = name.strip_prefix(".wh.") {
                listing.removed.push(join(folder, hidden));
            } else if kind.is_dir() {
                let mode = entry.header().mode()? & 0o7777;
                listing.add(path, Added::Node(Node::Directory(mode)));
            } else if kind.is_symlink() {
                let target = link();
                listing.add(path, Added::Node(Node::Symlink(target)));
            } else if kind.is_hard_link() {
                let target = link();
                listing.add(path, Added::HardLink(target));
            } else {
                listing.add(path, Added::Node(Node::File));
            }
        }
        Ok(listing)
    }

    fn add(&mut self, path: String, added: Added) {
        let matters = |path: &str| matches!(path.split('/').next(), Some("usr" | "etc"));
        if matches!(added, Added::Node(Node::Symlink(_))) || matters(&path) {
            self.added.push((path, added));
        }
    }
}

impl Tree {
    /// What is at `path`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Lays the next layer over this tree. Whiteouts hide what lower layers have, wherever they stand in the stream.
    ///
    /// Format: <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
    pub fn apply(&mut self, layer: Listing) {
        for path in layer.emptied {
            self.remove_below(&path);
        }
        for path in layer.removed {
            self.remove(&path);
        }
        for (path, added) in layer.added {
            let node = match added {
                Added::Node(node) => node,
                Added::HardLink(target) => {
                    let target = normalise(target.as_bytes()).and_then(|t| self.get(&t).cloned());
                    target.unwrap_or(Node::File)
                }
            };
            if !matches!(node, Node::Directory(_)) {
                self.remove(&path);
            }
            for parent in parents(&path) {
                if !self.nodes.contains_key(parent) {
                    self.nodes.insert(parent.to_owned(), Node::Directory(0o755));
                }
            }
            self.nodes.insert(path, node);
        }
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, path: &str) {
        let first = format!("{path}/");
        let below: Vec<String> = self
            .nodes
            .range(first.clone()..)
            .take_while(|(name, _)| name.starts_with(&first))
            .map(|(name, _)| name.clone())
            .collect();
        for name in below {
            self.nodes.remove(&name);
        }
    }
}

/// The directories above `path`, outermost first.
pub fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

/// The path as [`Tree`] lists it; `None` for the root itself and for what no path of ours can meet.
fn normalise(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let parts = match parts.as_slice() {
        ["usr", "etc", ..] => &parts[1..],
        parts => parts,
    };
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{EntryType, Header};

    /// A tar stream of entries: a path, and a link target or nothing. A final `/` makes a directory, `=` before the
    /// target a hard link.
    fn layer(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, target) in entries {
            let mut header = Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o750);
            let kind = match target.bytes().next() {
                None if path.ends_with('/') => EntryType::Directory,
                None => EntryType::Regular,
                Some(b'=') => EntryType::Link,
                Some(_) => EntryType::Symlink,
            };
            header.set_entry_type(kind);
            match kind {
                EntryType::Link | EntryType::Symlink => {
                    tar.append_link(&mut header, path, target.trim_start_matches('=')).unwrap()
                }
                _ => tar.append_data(&mut header, path, &b""[..]).unwrap(),
            }
        }
        tar.into_inner().unwrap()
    }

    /// The tree of some layers, one line a path.
    fn tree(layers: &[&[(&str, &str)]]) -> Vec<String> {
        let mut tree = Tree::default();
        for entries in layers {
            tree.apply(Listing::read(&layer(entries)[..]).unwrap());
        }
        let line = |(path, node): (&String, &Node)| match node {
            Node::Directory(mode) => format!("{path}/ {mode:o}"),
            Node::File => path.clone(),
            Node::Symlink(target) => format!("{path} -> {target}"),
        };
        tree.nodes.iter().map(line).collect()
    }

    #[test]
    fn keeps_what_matters() {
        let base = [
            ("./usr/", ""),
            ("usr/bin/bash", ""),
            ("bin", "usr/bin"),
            ("boot/vmlinuz", ""),
            ("usr/etc/hosts", ""),
            ("sysroot/o/1", "../target"),
            ("usr/lib/link", "=sysroot/o/1"),
            ("usr/lib/file", "=sysroot/o/2"),
        ];
        let expected = [
            "bin -> usr/bin",
            "etc/ 755",
            "etc/hosts",
            "sysroot/ 755",
            "sysroot/o/ 755",
            "sysroot/o/1 -> ../target",
            "usr/ 750",
            "usr/bin/ 755",
            "usr/bin/bash",
            "usr/lib/ 755",
            "usr/lib/file",
            "usr/lib/link -> ../target",
        ];
        assert_eq!(tree(&[&base]), expected);
    }

    #[test]
    fn later_layers_hide_earlier_ones() {
        let lower = [("usr/a/b/c", ""), ("usr/d/e", ""), ("usr/f/g", ""), ("usr/h", "")];
        let upper = [
            ("usr/a/b", ""),
            ("usr/d/new", ""),
            ("usr/d/.wh..wh..opq", ""),
            ("usr/.wh.f", ""),
            ("usr/h/", ""),
        ];
        let expected =
            ["usr/ 755", "usr/a/ 755", "usr/a/b", "usr/d/ 755", "usr/d/new", "usr/h/ 750"];
        assert_eq!(tree(&[&lower, &upper]), expected);
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        let mut bytes = layer(&[("usr/a", "")]);
        bytes[0] ^= 1;
        Listing::read(&bytes[..]).unwrap_err();
        Listing::read(&b"not a tar stream"[..]).unwrap_err();
    }
}
