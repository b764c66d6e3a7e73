//! Merging what a MachineConfig has beside the Ignition config. Kubernetes has no rules for that; these are Ignition's
//! in spirit: what comes later wins, and lists have nothing twice.

use crate::merge::{Change, ChangeKind};
use crate::tree::{Tree, Value};

/// Merges two trees with Butane's names.
pub(super) fn merge(parent: Tree, child: Tree, path: &str, changes: &mut Vec<Change>) -> Tree {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let is_same = parent.says_same(&child);
    match (parent.value, child.value) {
        (Value::Map(parents), Value::Map(children)) => {
            let mut merged = parents;
            for (name, child) in children {
                match merged.iter().position(|(known, _)| *known == name) {
                    Some(index) => {
                        let (_, parent) = merged.remove(index);
                        let value = merge(parent, child, &below(name), changes);
                        merged.insert(index, (name, value));
                    }
                    None => merged.push((name, child)),
                }
            }
            Tree { origin: child.origin, value: Value::Map(merged) }
        }
        (Value::Labels(parents), Value::Labels(children)) => {
            let mut merged = parents;
            for (name, child) in children {
                match merged.iter().position(|(known, _)| *known == name) {
                    Some(index) => {
                        let (name, parent) = merged.remove(index);
                        let value = merge(parent, child, &format!("{path}[{name}]"), changes);
                        merged.insert(index, (name, value));
                    }
                    None => merged.push((name, child)),
                }
            }
            Tree { origin: child.origin, value: Value::Labels(merged) }
        }
        (Value::List(mut items), Value::List(children)) => {
            for child in children {
                if !items.iter().any(|item| item.says_same(&child)) {
                    items.push(child);
                }
            }
            Tree { origin: child.origin, value: Value::List(items) }
        }
        (value, child_value) => {
            let parent = Tree { origin: parent.origin, value };
            let child = Tree { origin: child.origin, value: child_value };
            if !is_same {
                let mut change = Change {
                    path: path.to_owned(),
                    item_path: path.to_owned(),
                    kind: ChangeKind::Replaced,
                    is_secret: false,
                    parent: parent.origin.clone(),
                    child: child.origin.clone(),
                    values: (None, None),
                };
                change.say(&parent, &child);
                changes.push(change);
            }
            child
        }
    }
}
