//! Merging Ignition configs by Ignition's own rules, with a note of everything that changes hands.
//!
//! The child wins: a value that it has takes the place of the parent's. Items of a list are the same when their
//! [`Key`](crate::schema::Key)s are, and are merged field by field; the parent's come first. A path that the child uses
//! as another kind of thing is the child's alone.
//!
//! Rules: <https://github.com/coreos/ignition/blob/main/config/merge/merge.go>

use std::collections::{HashMap, HashSet};

use crate::lower::sort;
use crate::schema::{Field, Kind, Secrecy, Type};
use crate::tree::{Origin, Tree, Value};
use crate::version::Target;

/// The child changed something of the parent.
#[derive(Debug)]
pub(crate) struct Change {
    /// Ignition's names from the top down, without positions in lists: `storage.files.mode`.
    pub path: String,
    /// The same with the keys of items: `storage.files[/etc/motd].mode`.
    pub item_path: String,
    pub kind: ChangeKind,
    /// Whether the tables say that a secret is held here.
    pub is_secret: bool,
    /// What the parent has there, or would have.
    pub parent: Origin,
    /// What the child says.
    pub child: Origin,
    /// What the parent and the child say, where that is one short value.
    pub values: (Option<Value>, Option<Value>),
}

impl Change {
    /// The longest text in [`Change::values`], in bytes: data URLs can have any size.
    const MOST: usize = 120;

    /// Puts down what both say.
    pub(crate) fn say(&mut self, parent: &Tree, child: &Tree) {
        let short = |tree: &Tree| match &tree.value {
            Value::Text(text) if text.len() > Change::MOST => None,
            Value::Text(_) | Value::Integer(_) | Value::Flag(_) => Some(tree.value.clone()),
            Value::List(_) | Value::Map(_) | Value::Labels(_) | Value::Data(_) | Value::Broken => {
                None
            }
        };
        self.values = (short(parent), short(child));
    }
}

/// How something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// The parent says something else.
    Replaced,
    /// The child has something in the place of the whole item.
    Removed,
    /// The parent has the item, and says nothing of this.
    Added,
}

/// Merges `child` into `parent`; both are mappings of type `ty` with Ignition's names, in the specification of `target`.
pub(crate) fn merge(
    parent: Tree,
    child: Tree,
    ty: &'static Type,
    target: &'static Target,
    changes: &mut Vec<Change>,
) -> Tree {
    Merger { target, changes }.map(parent, child, ty, &At::Top, true)
}

/// Where in the config the merging is. Most of it is never asked for, so it is put into words for a note only.
#[derive(Clone, Copy)]
enum At<'a> {
    Top,
    Field(&'a At<'a>, &'static Field),
    Item(&'a At<'a>, &'a str),
}

impl At<'_> {
    fn path(&self, has_items: bool) -> String {
        match self {
            At::Top => String::new(),
            At::Field(above, field) => {
                let mut path = above.path(has_items);
                if !path.is_empty() {
                    path.push('.');
                }
                path + field.ignition.unwrap_or_default()
            }
            At::Item(above, key) => {
                let path = above.path(has_items);
                if has_items { format!("{path}[{}]", beginning(key)) } else { path }
            }
        }
    }

    fn is_secret(&self) -> bool {
        match self {
            At::Top => false,
            At::Field(above, field) => field.secrecy == Secrecy::Secret || above.is_secret(),
            At::Item(above, _) => above.is_secret(),
        }
    }
}

/// As much of a key as a path has room for: that of an embedded config is all of its contents.
fn beginning(key: &str) -> String {
    const MOST: usize = 60;
    match key.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}

struct Merger<'c> {
    target: &'static Target,
    changes: &'c mut Vec<Change>,
}

impl Merger<'_> {
    /// Sections, of which there is one each, are `is_section`; items of lists and what is in them are not.
    fn map(
        &mut self,
        parent: Tree,
        child: Tree,
        ty: &'static Type,
        at: &At,
        is_section: bool,
    ) -> Tree {
        let origin = child.origin.clone();
        let keys = ChildKeys::of(&child, ty, self.target);
        let parent_origin = parent.origin.clone();
        let (mut parent, mut child) = (fields(parent), fields(child));
        let mut merged = Vec::new();
        for field in ty.of(self.target) {
            let Some(name) = field.ignition else { continue };
            let at = &At::Field(at, field);
            let value = match (parent.remove(name), child.remove(name)) {
                (Some(parent), Some(child)) => {
                    self.both(parent, child, field, at, is_section, |item| keys.other(name, item))
                }
                // The parent's list may still lose items to the child's other lists.
                (Some(parent), None) => match self.required_by_child(field) {
                    true => None,
                    false => self.parent_alone(parent, field, at, |item| keys.other(name, item)),
                },
                (None, Some(child)) => {
                    if !is_section {
                        self.note(at, ChangeKind::Added, &parent_origin, &child.origin);
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
        at: &At,
        is_section: bool,
        other: impl Fn(&str) -> Option<Origin>,
    ) -> Option<Tree> {
        match field.kind {
            Kind::Map(ty) => Some(self.map(parent, child, ty, at, is_section)),
            Kind::Texts(_) | Kind::Maps(_, _) if !field.kind.refuses_repeats() => {
                let (origin, mut items) = (child.origin.clone(), items(parent));
                items.extend(self::items(child));
                Some(Tree::list_at(&origin, items))
            }
            Kind::Texts(_) | Kind::Maps(_, _) => Some(self.lists(parent, child, field, at, other)),
            _ => {
                if !parent.says_same(&child) {
                    self.note(at, ChangeKind::Replaced, &parent.origin, &child.origin);
                    if let Some(change) = self.changes.last_mut() {
                        change.say(&parent, &child);
                    }
                }
                Some(child)
            }
        }
    }

    fn parent_alone(
        &mut self,
        parent: Tree,
        field: &'static Field,
        at: &At,
        other: impl Fn(&str) -> Option<Origin>,
    ) -> Option<Tree> {
        if !field.kind.refuses_repeats() {
            return Some(parent);
        }
        let nothing = Tree::list_at(&parent.origin, Vec::new());
        let merged = self.lists(parent, nothing, field, at, other);
        Some(merged).filter(|list| !list.list().is_empty())
    }

    fn lists(
        &mut self,
        parent: Tree,
        child: Tree,
        field: &'static Field,
        at: &At,
        other: impl Fn(&str) -> Option<Origin>,
    ) -> Tree {
        let origin = child.origin.clone();
        let mut children: Vec<Option<Tree>> = items(child).into_iter().map(Some).collect();
        // As in Ignition the last one of equal keys counts; configs that are merged have no equal keys.
        let positions: HashMap<String, usize> = children
            .iter()
            .enumerate()
            .filter_map(|(index, item)| Some((key(item.as_ref()?, field)?, index)))
            .collect();
        let mut parents = HashSet::new();
        let mut merged = Vec::new();
        for parent in items(parent) {
            let Some(key) = key(&parent, field) else {
                merged.push(parent);
                continue;
            };
            parents.insert(key.clone());
            let at = &At::Item(at, &key);
            if let Some(origin) = other(&key) {
                self.note(at, ChangeKind::Removed, &parent.origin, &origin);
                continue;
            }
            let child = positions.get(&key).and_then(|index| children[*index].take());
            merged.extend(match (child, field.kind) {
                (None, _) => Some(parent),
                // A header without a value takes the parent's away.
                (Some(child), Kind::Maps(_, _))
                    if field.ignition == Some("httpHeaders") && child.get("value").is_none() =>
                {
                    self.note(at, ChangeKind::Removed, &parent.origin, &child.origin);
                    None
                }
                (Some(child), Kind::Maps(ty, _)) => Some(self.map(parent, child, ty, at, false)),
                (Some(child), _) => Some(child),
            });
        }
        let new = children
            .into_iter()
            .flatten()
            .filter(|item| key(item, field).is_none_or(|key| !parents.contains(&key)));
        merged.extend(new);
        Tree::list_at(&origin, merged)
    }

    fn note(&mut self, at: &At, kind: ChangeKind, parent: &Origin, child: &Origin) {
        self.changes.push(Change {
            path: at.path(false),
            item_path: at.path(true),
            kind,
            is_secret: at.is_secret(),
            parent: parent.clone(),
            child: child.clone(),
            values: (None, None),
        });
    }
}

/// Where the child has which key, over lists that share their keys.
struct ChildKeys {
    /// Key space and key → the list and the item.
    places: HashMap<(&'static str, String), (&'static str, Origin)>,
    ty: &'static Type,
}

impl ChildKeys {
    fn of(child: &Tree, ty: &'static Type, target: &'static Target) -> ChildKeys {
        let mut places = HashMap::new();
        for group in ty.shared {
            for name in group.iter() {
                let Some(field) = ty.ignition_field(name, target) else { continue };
                for item in child.items(name) {
                    if let Some(key) = key(item, field) {
                        places.insert((group[0], key), (*name, item.origin.clone()));
                    }
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

/// The key of an item of the list `field`; absent when it could not be read.
pub(crate) fn key(item: &Tree, field: &Field) -> Option<String> {
    match field.kind {
        Kind::Maps(ty, _) => ty.key.of(item),
        _ => item.as_text().map(str::to_owned),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Lowered, Options, Output, Warnings, finish};
    use crate::compose::lower_first;
    use crate::schema::config::CONFIG;
    use crate::tree::Findings;

    /// Merges two configs; gives the JSON without its head, and what changed: `path kind parent child`.
    fn merged(parent: &str, child: &str) -> (String, Vec<String>) {
        let mut findings = Findings::new("a.bu");
        let options =
            Options { files_dir: None, warnings: Warnings::Refused, output: Output::Ignition };
        let mut tree = |text: &str| {
            let text = format!("variant: fcos\nversion: 1.4.0\n{text}");
            lower_first("a.bu", &text, &options, &mut findings).unwrap()
        };
        let (parent, child) = (tree(parent), tree(child));
        let mut changes = Vec::new();
        let merged =
            merge(parent.config.clone(), child.config, &CONFIG, parent.target, &mut changes);
        let changes = changes
            .iter()
            .filter(|change| change.path != "ignition.version")
            .map(|change| format!("{} {:?} {}", change.path, change.kind, change.child.place));
        let changes = changes.collect();
        let (config, report) =
            finish(Some(Lowered { config: merged, ..parent }), findings, &options);
        let json = config.unwrap_or_else(|| panic!("{report}")).ignition().to_json();
        (json.trim().replace(r#"{"ignition":{"version":"3.3.0"},"#, "{"), changes)
    }

    #[track_caller]
    fn check(parent: &str, child: &str, expected: &str, changes: &[&str]) {
        let (json, found) = merged(parent, child);
        assert_eq!(json, expected);
        assert_eq!(found, changes);
    }

    #[test]
    fn items_of_one_key_are_merged_field_by_field() {
        check(
            "systemd: {units: [{name: b.service, enabled: true}, {name: a.service}]}",
            "systemd: {units: [{name: c.service}, {name: b.service, enabled: false, mask: true}]}",
            r#"{"systemd":{"units":[{"enabled":false,"mask":true,"name":"b.service"},{"name":"a.service"},{"name":"c.service"}]}}"#,
            &["systemd.units.enabled Replaced 3:65", "systemd.units.mask Added 3:78"],
        );
        check(
            "passwd: {users: [{name: core, groups: [a, b]}]}",
            "passwd: {users: [{name: core, groups: [b, c]}]}",
            r#"{"passwd":{"users":[{"groups":["a","b","c"],"name":"core"}]}}"#,
            &[],
        );
    }

    #[test]
    fn a_path_belongs_to_one_kind_of_thing() {
        check(
            "storage: {files: [{path: /a}, {path: /b}]}",
            "storage: {links: [{path: /a, target: /c}]}",
            r#"{"storage":{"files":[{"path":"/b"}],"links":[{"path":"/a","target":"/c"}]}}"#,
            &["storage.files Removed 3:19"],
        );
    }

    #[test]
    fn lists_without_keys_follow_each_other() {
        check(
            "storage: {files: [{path: /a, append: [{source: 'data:,x'}]}]}",
            "storage: {files: [{path: /a, append: [{source: 'data:,x'}]}]}",
            r#"{"storage":{"files":[{"append":[{"source":"data:,x"},{"source":"data:,x"}],"path":"/a"}]}}"#,
            &[],
        );
    }

    #[test]
    fn a_header_without_a_value_takes_one_away() {
        let file = |header: &str| {
            format!(
                "storage: {{files: [{{path: /a, contents: {{source: 'https://a', http_headers: [{header}]}}}}]}}"
            )
        };
        check(
            &file("{name: a, value: b}, {name: c, value: d}"),
            &file("{name: a}"),
            r#"{"storage":{"files":[{"contents":{"httpHeaders":[{"name":"c","value":"d"}],"source":"https://a"},"path":"/a"}]}}"#,
            &["storage.files.contents.httpHeaders Removed 3:77"],
        );
    }

    #[test]
    fn partitions_are_told_apart_by_number_or_label() {
        let disk = |partition: &str| {
            format!(
                "storage: {{disks: [{{device: /dev/vda, wipe_table: true, partitions: [{partition}]}}]}}"
            )
        };
        check(
            &disk("{number: 1, label: a}, {label: b}"),
            &disk("{number: 1, label: c}, {label: b, size_mib: 1}"),
            r#"{"storage":{"disks":[{"device":"/dev/vda","partitions":[{"label":"c","number":1},{"label":"b","sizeMiB":1}],"wipeTable":true}]}}"#,
            &[
                "storage.disks.partitions.label Replaced 3:88",
                "storage.disks.partitions.sizeMiB Added 3:113",
            ],
        );
    }
}
