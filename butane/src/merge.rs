//! Merging Ignition configs by Ignition's own rules, with a note of everything that changes hands.
//!
//! The child wins: a value that it has takes the place of the parent's. Items of a list are the same when their
//! [`Key`](crate::schema::Key)s are, and are merged field by field; the parent's come first. A path that the child uses
//! as another kind of thing is the child's alone.
//!
//! Rules: <https://github.com/coreos/ignition/blob/main/config/merge/merge.go>

use std::collections::{HashMap, HashSet};

use crate::lower::sort;
use crate::schema::{Field, Kind, Type};
use crate::tree::{Origin, Tree, Value};

/// The child changed something of the parent.
#[derive(Debug)]
pub(crate) struct Change {
    /// Ignition's names from the top down, without positions in lists: `storage.files.mode`.
    pub path: String,
    pub kind: ChangeKind,
    /// What the parent has there, or would have.
    pub parent: Origin,
    /// What the child says.
    pub child: Origin,
}

/// How something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// The parent says something else.
    Replaced,
    /// The parent has the item, and says nothing of this.
    Added,
}

/// Merges `child` into `parent`; both are mappings of type `ty` with Ignition's names.
pub(crate) fn merge(
    parent: Tree,
    child: Tree,
    ty: &'static Type,
    changes: &mut Vec<Change>,
) -> Tree {
    Merger { changes }.map(parent, child, ty, "", true)
}

struct Merger<'c> {
    changes: &'c mut Vec<Change>,
}

impl Merger<'_> {
    /// Sections, of which there is one each, are `is_section`; items of lists and what is in them are not.
    fn map(
        &mut self,
        parent: Tree,
        child: Tree,
        ty: &'static Type,
        path: &str,
        is_section: bool,
    ) -> Tree {
        let origin = child.origin.clone();
        let keys = ChildKeys::of(&child, ty);
        let parent_origin = parent.origin.clone();
        let (mut parent, mut child) = (fields(parent), fields(child));
        let mut merged = Vec::new();
        for field in ty.fields {
            let Some(name) = field.ignition else { continue };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let value = match (parent.remove(name), child.remove(name)) {
                (Some(parent), Some(child)) => {
                    self.both(parent, child, field, &path, is_section, |item| {
                        keys.other(name, item)
                    })
                }
                // The parent's list may still lose items to the child's other lists.
                (Some(parent), None) => match self.required_by_child(field) {
                    true => None,
                    false => self.parent_alone(parent, field, &path, |item| keys.other(name, item)),
                },
                (None, Some(child)) => {
                    if !is_section {
                        self.note(&path, ChangeKind::Added, &parent_origin, &child.origin);
                    }
                    Some(child)
                }
                (None, None) => None,
            };
            merged.extend(value.map(|value| (name, value)));
        }
        let mut merged = Tree::map_at(&origin, merged);
        sort(&mut merged);
        merged
    }

    /// Values that cannot be absent are always the child's.
    fn required_by_child(&self, field: &Field) -> bool {
        matches!(field.kind, Kind::RequiredText | Kind::FilledText | Kind::Number)
    }

    fn both(
        &mut self,
        parent: Tree,
        child: Tree,
        field: &'static Field,
        path: &str,
        is_section: bool,
        other: impl Fn(&str) -> Option<Origin>,
    ) -> Option<Tree> {
        match field.kind {
            Kind::Map(ty) => Some(self.map(parent, child, ty, path, is_section)),
            Kind::Texts(_) | Kind::Maps(_, _) if !field.kind.refuses_repeats() => {
                let (origin, mut items) = (child.origin.clone(), items(parent));
                items.extend(self::items(child));
                Some(Tree::list_at(&origin, items))
            }
            Kind::Texts(_) | Kind::Maps(_, _) => {
                Some(self.lists(parent, child, field, path, other))
            }
            _ => {
                if !parent.says_same(&child) {
                    self.note(path, ChangeKind::Replaced, &parent.origin, &child.origin);
                }
                Some(child)
            }
        }
    }

    fn parent_alone(
        &mut self,
        parent: Tree,
        field: &'static Field,
        path: &str,
        other: impl Fn(&str) -> Option<Origin>,
    ) -> Option<Tree> {
        if !field.kind.refuses_repeats() {
            return Some(parent);
        }
        let nothing = Tree::list_at(&parent.origin, Vec::new());
        let merged = self.lists(parent, nothing, field, path, other);
        Some(merged).filter(|list| !list.list().is_empty())
    }

    fn lists(
        &mut self,
        parent: Tree,
        child: Tree,
        field: &'static Field,
        path: &str,
        other: impl Fn(&str) -> Option<Origin>,
    ) -> Tree {
        let origin = child.origin.clone();
        let mut children: Vec<Option<Tree>> = items(child).into_iter().map(Some).collect();
        // As in Ignition the last one of equal keys counts; configs that are merged have no equal keys.
        let positions: HashMap<String, usize> = children
            .iter()
            .enumerate()
            .filter_map(|(index, item)| Some((key(item.as_ref()?, field), index)))
            .collect();
        let mut parents = HashSet::new();
        let mut merged = Vec::new();
        for parent in items(parent) {
            let key = key(&parent, field);
            parents.insert(key.clone());
            if let Some(origin) = other(&key) {
                self.note(path, ChangeKind::Replaced, &parent.origin, &origin);
                continue;
            }
            let child = positions.get(&key).and_then(|index| children[*index].take());
            merged.extend(match (child, field.kind) {
                (None, _) => Some(parent),
                // A header without a value takes the parent's away.
                (Some(child), Kind::Maps(_, _))
                    if field.ignition == Some("httpHeaders") && child.get("value").is_none() =>
                {
                    self.note(path, ChangeKind::Replaced, &parent.origin, &child.origin);
                    None
                }
                (Some(child), Kind::Maps(ty, _)) => Some(self.map(parent, child, ty, path, false)),
                (Some(child), _) => Some(child),
            });
        }
        let new =
            children.into_iter().flatten().filter(|item| !parents.contains(&key(item, field)));
        merged.extend(new);
        Tree::list_at(&origin, merged)
    }

    fn note(&mut self, path: &str, kind: ChangeKind, parent: &Origin, child: &Origin) {
        let (parent, child) = (parent.clone(), child.clone());
        self.changes.push(Change { path: path.to_owned(), kind, parent, child });
    }
}

/// Where the child has which key, over lists that share their keys.
struct ChildKeys {
    /// Key space and key → the list and the item.
    places: HashMap<(&'static str, String), (&'static str, Origin)>,
    ty: &'static Type,
}

impl ChildKeys {
    fn of(child: &Tree, ty: &'static Type) -> ChildKeys {
        let mut places = HashMap::new();
        for group in ty.shared {
            for name in group.iter() {
                let Some(field) = ty.ignition_field(name) else { continue };
                for item in child.items(name) {
                    places.insert((group[0], key(item, field)), (*name, item.origin.clone()));
                }
            }
        }
        ChildKeys { places, ty }
    }

    /// The item with this key in another list than `name`.
    fn other(&self, name: &'static str, key: &str) -> Option<Origin> {
        let space = self.ty.shared.iter().find(|group| group.contains(&name))?[0];
        let (list, origin) = self.places.get(&(space, key.to_owned()))?;
        (*list != name).then(|| origin.clone())
    }
}

/// The key of an item of the list `field`.
pub(crate) fn key(item: &Tree, field: &Field) -> String {
    match field.kind {
        Kind::Maps(ty, _) => ty.key.of(item),
        _ => item.as_text().unwrap_or_default().to_owned(),
    }
}

fn fields(tree: Tree) -> HashMap<&'static str, Tree> {
    match tree.value {
        Value::Map(entries) => entries.into_iter().collect(),
        _ => HashMap::new(),
    }
}

fn items(tree: Tree) -> Vec<Tree> {
    match tree.value {
        Value::List(items) => items,
        _ => Vec::new(),
    }
}
