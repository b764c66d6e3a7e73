//! `storage.trees`: folders of the build machine, copied as they are.
//!
//! Files are 0755 or 0644, as they are executable or not; symbolic links keep their target; folders are made by what is
//! in them. From fcos 1.7.0 a tree may give all of it an owner and modes, and then has folders of its own. An entry that the config has for the same path is filled in when it says nothing of contents.

use std::fs::{self, FileType};
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::nodes::{DIRECTORIES, FILES, LINKS, Nodes};
use crate::local;
use crate::lower::{Context, sort};
use crate::resource::embed_file;
use crate::tree::{Tree, Value};

/// Puts the contents of all trees into `config`, behind what it has already.
pub(super) fn expand(written: &Tree, mut config: Tree, context: &mut Context) -> Tree {
    let Some(storage) = written.get("storage") else { return config };
    let trees = storage.items("trees");
    if trees.is_empty() {
        return config;
    }
    let mut nodes = Nodes::of(&mut config, &storage.origin);
    for tree in trees {
        let Some(local) = tree.some_text("local") else { continue };
        match local::folder(context.files_dir, local) {
            Ok(folder) => {
                let path = tree.some_text("path").unwrap_or("/");
                let link = local::link(context.files_dir, local);
                let mut walk = Walk { tree, nodes: &mut nodes, context };
                match link {
                    Some(link) => walk.root_link(&link, path),
                    None => walk.folder(folder, path),
                }
            }
            Err(error) => local::report(&error, &tree.origin, context.findings),
        }
    }
    config
}

struct Walk<'w, 't, 'c> {
    tree: &'w Tree,
    nodes: &'w mut Nodes<'t>,
    context: &'w mut Context<'c>,
}

impl Walk<'_, '_, '_> {
    /// Depth first, names sorted as bytes. The stack holds what is still to be visited, next one last.
    fn folder(&mut self, folder: Utf8PathBuf, path: &str) {
        let makes_folders = ["user", "group"].iter().any(|owner| self.owner(owner).is_some())
            || self.mode("dir_mode").is_some();
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
            if makes_folders {
                self.directory(&path);
            }
            match children(&source) {
                Ok(names) => stack.extend(
                    names.into_iter().rev().map(|name| (source.join(&name), join(&path, &name))),
                ),
                Err(error) => self.error(format!("cannot read the folder `{source}`: {error}")),
            }
        }
    }

    /// A tree that is a link is one link, as any link in a tree. That is what the reference makes of it.
    fn root_link(&mut self, link: &Utf8Path, path: &str) {
        let place = self.tree.place_of("local");
        self.context
            .findings
            .warning(&place, "the tree is a symbolic link, and a link is all that is copied")
            .hint("name the folder that it leads to");
        self.link(link, clean(path));
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

    fn directory(&mut self, path: &str) {
        if self.nodes.place(path).is_some() {
            self.error(format!("the folder `{path}` is in the tree too, and in the config"));
            return;
        }
        let mut node = self.new_node(path);
        node.set("mode", self.mode("dir_mode").unwrap_or_else(|| self.integer(0o755)));
        self.nodes.add(DIRECTORIES, node);
    }

    fn file(&mut self, source: &Utf8Path, path: String) {
        let found = fs::metadata(source)
            .map_err(|error| format!("cannot read `{source}`: {error}"))
            .and_then(|metadata| {
                let found = local::found(source.to_owned(), source.as_str(), &metadata);
                Ok((found.map_err(|error| error.to_string())?, metadata.permissions().mode()))
            });
        let (found, permissions) = match found {
            Ok(found) => found,
            Err(message) => return self.error(message),
        };
        let mode = if permissions & 0o111 != 0 { 0o755 } else { 0o644 };
        let mode = self.mode("file_mode").unwrap_or_else(|| self.integer(mode));
        let origin = self.tree.origin.clone();
        let target = self.context.target;
        let is_filled =
            |file: &Tree| file.get("contents").is_some_and(|contents| !contents.lacks("source"));
        let Some(file) = self.entry(path, FILES, is_filled) else { return };
        if file.get("contents").is_none() {
            file.set("contents", Tree::map_at(&origin, Vec::new()));
        }
        let filled = file.get_mut("contents").expect("it was just made sure of");
        embed_file(&origin, found, filled, target);
        sort(filled);
        if file.get("mode").is_none() {
            file.set("mode", mode);
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
        let place = match self.nodes.place(&path) {
            Some(place) => place,
            None => {
                let node = self.new_node(&path);
                self.nodes.add(list, node);
                // Of a list that could not be read there are no items; that has been reported.
                self.nodes.place(&path)?
            }
        };
        let is_usable =
            place.0 == list && self.nodes.get(place).is_some_and(|node| !is_filled(node));
        if !is_usable {
            let what = if place.0 == list { "has contents already" } else { "is something else" };
            self.error(format!("`{path}` is in the tree too, and {what} in the config"));
            return None;
        }
        self.nodes.get(place)
    }

    /// A node that the tree makes, with the owner that the tree gives to what it makes.
    fn new_node(&self, path: &str) -> Tree {
        let origin = &self.tree.origin;
        let mut entries = vec![("path", Tree::text_at(origin, path))];
        for name in ["group", "user"] {
            entries.extend(self.owner(name).map(|owner| (name, owner)));
        }
        Tree::map_at(origin, entries)
    }

    /// The owner of what the tree makes, when it has one.
    fn owner(&self, name: &str) -> Option<Tree> {
        let mut owner = self.tree.get(name).filter(|owner| !owner.entries().is_empty())?.clone();
        owner.origin = self.tree.origin.clone();
        if let Value::Map(entries) = &mut owner.value {
            entries.iter_mut().for_each(|(_, value)| value.origin = self.tree.origin.clone());
        }
        Some(owner)
    }

    /// A mode that the tree gives.
    fn mode(&self, name: &str) -> Option<Tree> {
        let mode = self.tree.get(name)?;
        Some(Tree { origin: self.tree.origin.clone(), value: mode.value.clone() })
    }

    fn integer(&self, number: i64) -> Tree {
        Tree::integer_at(&self.tree.origin, number)
    }

    fn error(&mut self, message: String) {
        self.context.findings.error(&self.tree.origin, message);
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
pub(super) fn clean(path: &str) -> String {
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

    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;
    use crate::{Options, Output, Warnings, compile};

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

    /// The JSON of a config that is one tree, and what is said of it.
    fn compile_tree(files: &Utf8Path, local: &str) -> (Option<String>, String) {
        let text = format!(
            "variant: fcos\nversion: 1.4.0\nstorage:\n  trees:\n  - local: {local}\n    path: /etc\n"
        );
        let options = Options {
            files_dir: Some(files),
            warnings: Warnings::Allowed,
            output: Output::Variant,
        };
        let (config, report) = compile("a.bu", text.as_bytes(), &options);
        (config.map(|config| config.ignition().to_json()), report.to_string())
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
        // To open it would wait for somebody who writes.
        let pipe = base.join("files/tree/pipe");
        mknodat(CWD, pipe.as_std_path(), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();

        let files = base.join("files");
        let (json, report) = compile_tree(&files, "tree");
        assert_eq!(json, None);
        for name in ["tree/pipe", "tree/sub/socket"] {
            assert!(report.contains(&format!("{name}` is a device, pipe or socket")), "{report}");
        }
        let (_, report) = compile_tree(&files, "out");
        assert!(report.contains("leads out of the files directory by a symbolic link"), "{report}");
        let (_, report) = compile_tree(&files, "out/files/tree");
        // It comes back in, and so it is below the files directory in the end.
        assert!(report.contains("a device, pipe or socket"), "{report}");

        // A link in a tree is copied as a link: what it leads to is the machine's, and never read here.
        fs::remove_file(base.join("files/tree/sub/socket")).unwrap();
        fs::remove_file(pipe).unwrap();
        let json = compile_tree(&files, "tree").0.unwrap();
        assert!(json.contains(r#""target":"../../../secret""#), "{json}");
        assert!(!json.contains("data:,secret"), "{json}");
    }

    #[test]
    fn trees_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let base = Utf8Path::from_path(folder.path()).unwrap();
        fs::create_dir_all(base.join("real/tree/sub")).unwrap();
        fs::write(base.join("real/tree/sub/a"), "a").unwrap();
        symlink("real", base.join("files")).unwrap();
        symlink("tree", base.join("real/link")).unwrap();
        symlink(".", base.join("real/tree/loop")).unwrap();
        symlink("absent", base.join("real/tree/sub/dangling")).unwrap();
        let files = base.join("files");

        // The files directory is a link; a link that leads nowhere, or in a circle, is a link like any other.
        let (json, report) = compile_tree(&files, "tree");
        assert_eq!(report, "");
        let json = json.unwrap();
        for part in [
            r#""path":"/etc/sub/a""#,
            r#"{"path":"/etc/loop","target":"."}"#,
            r#"{"path":"/etc/sub/dangling","target":"absent"}"#,
        ] {
            assert!(json.contains(part), "{part}: {json}");
        }
        // A folder on the way may be a link.
        let (json, _) = compile_tree(&files, "link/sub");
        assert!(json.unwrap().contains(r#""path":"/etc/a""#));
        // The last one is the tree, and so the tree is a link.
        let (json, report) = compile_tree(&files, "link/");
        assert!(report.contains("warning: $.storage.trees.0.local: the tree is a symbolic link"));
        let links = r#""storage":{"links":[{"path":"/etc","target":"tree"}]}"#;
        assert!(json.as_ref().is_some_and(|json| json.contains(links)), "{json:?}");
    }
}
