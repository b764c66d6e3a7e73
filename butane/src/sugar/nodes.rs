//! Which paths a config has: what sugar adds must not take one that is there.

use std::collections::HashMap;

use crate::lower::sort;
use crate::tree::{Origin, Tree, Value};

pub(super) const FILES: &str = "files";
pub(super) const LINKS: &str = "links";
pub(super) const DIRECTORIES: &str = "directories";

/// The `storage` section of a config, with an index of its paths.
pub(super) struct Nodes<'t> {
    storage: &'t mut Tree,
    /// Path → list and position.
    places: HashMap<String, (&'static str, usize)>,
}

impl Nodes<'_> {
    /// The nodes of `config`, whose `storage` section is made when there is none.
    pub(super) fn of<'t>(config: &'t mut Tree, origin: &Origin) -> Nodes<'t> {
        if config.get("storage").is_none() {
            config.set("storage", Tree::map_at(origin, Vec::new()));
            sort(config);
        }
        let storage = config.get_mut("storage").expect("it was just made sure of");
        let mut places = HashMap::new();
        for list in [DIRECTORIES, LINKS, FILES] {
            for (index, node) in storage.items(list).iter().enumerate() {
                places.insert(node.text("path").unwrap_or_default().to_owned(), (list, index));
            }
        }
        Nodes { storage, places }
    }

    /// Where a path is: list and position.
    pub(super) fn place(&self, path: &str) -> Option<(&'static str, usize)> {
        self.places.get(path).copied()
    }

    /// A node at a place; absent when the list could not be read.
    pub(super) fn get(&mut self, (list, index): (&str, usize)) -> Option<&mut Tree> {
        match &mut self.storage.get_mut(list)?.value {
            Value::List(items) => items.get_mut(index),
            _ => None,
        }
    }

    /// Adds a node, whose path is new, behind the others of `list`.
    pub(super) fn add(&mut self, list: &'static str, mut node: Tree) {
        if self.storage.get(list).is_none() {
            self.storage.set(list, Tree::list_at(&node.origin, Vec::new()));
            sort(self.storage);
        }
        sort(&mut node);
        // What was written there is broken otherwise, and has been reported.
        if let Some(Value::List(items)) = self.storage.get_mut(list).map(|list| &mut list.value) {
            let path = node.text("path").unwrap_or_default().to_owned();
            self.places.insert(path, (list, items.len()));
            items.push(node);
        }
    }
}
