//! `storage.trees`: folders of the build machine, copied as they are.
//!
//! Files are 0755 or 0644, whether or not they are executable; symbolic links keep their target; folders are made by
//! what is in them. An entry that the config has for the same path is filled in when it says nothing of contents.

use std::collections::HashMap;
use std::fs::{self, FileType};
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::local;
use crate::lower::{Context, sort};
use crate::resource::embed;
use crate::tree::{Origin, Tree, Value};

const FILES: &str = "files";
const LINKS: &str = "links";
const DIRECTORIES: &str = "directories";

/// Puts the contents of all trees into `config`, behind what it has already.
pub(super) fn expand(written: &Tree, mut config: Tree, context: &mut Context) -> Tree {
    let Some(storage) = written.get("storage") else { return config };
    let trees = storage.items("trees");
    if trees.is_empty() {
        return config;
    }
    if config.get("storage").is_none() {
        config.set("storage", Tree::map_at(&storage.origin, Vec::new()));
        sort(&mut config);
    }
    let target = config.get_mut("storage").expect("it was just made sure of");
    let mut nodes = Nodes::of(target);
    for tree in trees {
        let Some(local) = tree.some_text("local") else { continue };
        match local::folder(context.files_dir, local) {
            Ok(folder) => {
                let path = tree.some_text("path").unwrap_or("/");
                Walk { tree, nodes: &mut nodes, target, context }.folder(folder, path);
            }
            Err(error) => {
                let finding = context.findings.error(&tree.origin, error.to_string());
                if let Some(hint) = error.hint() {
                    finding.hint(hint);
                }
            }
        }
    }
    config
}

/// Which paths the config has, and where.
struct Nodes(HashMap<String, (&'static str, usize)>);

impl Nodes {
    fn of(storage: &Tree) -> Nodes {
        let mut nodes = HashMap::new();
        for list in [DIRECTORIES, LINKS, FILES] {
            for (index, node) in storage.items(list).iter().enumerate() {
                nodes.insert(node.text("path").unwrap_or_default().to_owned(), (list, index));
            }
        }
        Nodes(nodes)
    }
}

struct Walk<'w, 'c> {
    tree: &'w Tree,
    nodes: &'w mut Nodes,
    /// The `storage` section.
    target: &'w mut Tree,
    context: &'w mut Context<'c>,
}

impl Walk<'_, '_> {
    /// Depth first, names sorted as bytes. The stack holds what is still to be visited, next one last.
    fn folder(&mut self, folder: Utf8PathBuf, path: &str) {
        let mut stack = vec![(folder, clean(path))];
        while let Some((source, path)) = stack.pop() {
            let kind = match fs::symlink_metadata(&source) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    self.error(format!("cannot read `{source}`: {error}"));
                    continue;
                }
            };
            if !kind.is_dir() {
                self.node(&source, path, kind);
                continue;
            }
            match children(&source) {
                Ok(names) => stack.extend(
                    names.into_iter().rev().map(|name| (source.join(&name), join(&path, &name))),
                ),
                Err(error) => self.error(format!("cannot read the folder `{source}`: {error}")),
            }
        }
    }

    fn node(&mut self, source: &Utf8Path, path: String, kind: FileType) {
        if kind.is_file() {
            self.file(source, path);
        } else if kind.is_symlink() {
            self.link(source, path);
        } else {
            self.error(format!(
                "`{source}` is a device, pipe or socket; a tree has files, folders and links"
            ));
        }
    }

    fn file(&mut self, source: &Utf8Path, path: String) {
        let mode = match fs::metadata(source) {
            Ok(metadata) if metadata.permissions().mode() & 0o111 != 0 => 0o755,
            Ok(_) => 0o644,
            Err(error) => return self.error(format!("cannot read `{source}`: {error}")),
        };
        let contents = match local::read_file(source, source.as_str()) {
            Ok(contents) => contents,
            Err(error) => return self.error(error.to_string()),
        };
        let origin = self.tree.origin.clone();
        let is_filled =
            |file: &Tree| file.get("contents").is_some_and(|contents| !contents.lacks("source"));
        let Some(file) = self.entry(path, FILES, is_filled) else { return };
        if file.get("contents").is_none() {
            file.set("contents", Tree::map_at(&origin, Vec::new()));
        }
        let target = file.get_mut("contents").expect("it was just made sure of");
        embed(&Tree::map_at(&origin, Vec::new()), &contents, target);
        sort(target);
        if file.get("mode").is_none() {
            file.set("mode", Tree::integer_at(&origin, mode));
        }
        sort(file);
    }

    fn link(&mut self, source: &Utf8Path, path: String) {
        let target = match source.read_link_utf8() {
            Ok(target) => target,
            Err(error) => return self.error(format!("cannot read the link `{source}`: {error}")),
        };
        let origin = self.tree.origin.clone();
        let Some(link) = self.entry(path, LINKS, |link| !link.lacks("target")) else { return };
        link.set("target", Tree::text_at(&origin, target));
        sort(link);
    }

    /// The entry for `path` in `list`, a new one when there is none. `None` means that there is something else, or
    /// one that `is_filled`; that has been reported.
    fn entry(
        &mut self,
        path: String,
        list: &'static str,
        is_filled: impl Fn(&Tree) -> bool,
    ) -> Option<&mut Tree> {
        let origin = self.tree.origin.clone();
        let (found, index) = match self.nodes.0.get(&path) {
            Some(place) => *place,
            None => {
                let node = Tree::map_at(&origin, vec![("path", Tree::text_at(&origin, &path))]);
                let index = push(self.target, list, node, &origin);
                self.nodes.0.insert(path.clone(), (list, index));
                (list, index)
            }
        };
        // Of a list that could not be read there are no items; that has been reported.
        let is_usable = match self.target.items(list).get(index) {
            Some(node) => found == list && !is_filled(node),
            None if found == list => return None,
            None => false,
        };
        if !is_usable {
            let what = if found == list { "has contents already" } else { "is something else" };
            self.error(format!("`{path}` is in the tree too, and {what} in the config"));
            return None;
        }
        match &mut self.target.get_mut(list)?.value {
            Value::List(items) => items.get_mut(index),
            _ => None,
        }
    }

    fn error(&mut self, message: String) {
        self.context.findings.error(&self.tree.origin, message);
    }
}

/// Adds an item to a list of the `storage` section, and gives its position.
fn push(storage: &mut Tree, list: &'static str, node: Tree, origin: &Origin) -> usize {
    if storage.get(list).is_none() {
        storage.set(list, Tree::list_at(origin, Vec::new()));
        sort(storage);
    }
    match storage.get_mut(list).map(|list| &mut list.value) {
        Some(Value::List(items)) => {
            items.push(node);
            items.len() - 1
        }
        // What was written there is broken, and has been reported.
        _ => 0,
    }
}

/// The names in a folder, sorted as bytes.
fn children(folder: &Utf8Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir_utf8()? {
        names.push(entry?.file_name().to_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "/" => format!("/{name}"),
        "." => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

/// A path without empty parts and `.`, and with `..` worked out, as Go's `path.Clean` does it.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::{Options, Warnings, compile};

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/", "/a"),
            ("//a//./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("a/..", "."),
            ("../a", "../a"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_copied_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap();
        fs::create_dir_all(base.join("files/tree/sub")).unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        fs::write(base.join("files/tree/a"), "a").unwrap();
        symlink("..", base.join("files/out")).unwrap();
        symlink("../../../secret", base.join("files/tree/sub/link")).unwrap();
        let _socket = UnixListener::bind(base.join("files/tree/sub/socket")).unwrap();

        let files = base.join("files");
        let compile = |local: &str| {
            let text =
                format!("variant: fcos\nversion: 1.4.0\nstorage:\n  trees:\n  - local: {local}\n");
            let options = Options { files_dir: Some(&files), warnings: Warnings::Allowed };
            let (config, report) = compile("a.bu", text.as_bytes(), &options);
            (config.map(|config| config.to_json()), report.to_string())
        };
        let (_, report) = compile("tree");
        assert!(report.contains("tree/sub/socket` is a device, pipe or socket"), "{report}");
        let (_, report) = compile("out");
        assert!(report.contains("leads out of the files directory by a symbolic link"), "{report}");

        // A link in a tree is copied as a link: what it leads to is the machine's, and never read here.
        fs::remove_file(base.join("files/tree/sub/socket")).unwrap();
        let json = compile("tree").0.unwrap();
        assert!(json.contains(r#""target":"../../../secret""#), "{json}");
        assert!(!json.contains("data:,secret"), "{json}");
    }
}
