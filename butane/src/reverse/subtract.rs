//! What is left of a config when the part that sugar stands for is taken away: merged below what is left, the part
//! gives the whole again.

use crate::schema::{Key, Kind, Type};
use crate::tree::{Tree, Value};
use crate::version::Target;

/// `whole` without `part`; both are mappings of type `ty` with Ignition's names. `None` when nothing is left.
pub(super) fn subtract(
    whole: &Tree,
    part: &Tree,
    ty: &'static Type,
    target: &'static Target,
) -> Option<Tree> {
    let mut left = Vec::new();
    for (name, value) in whole.entries() {
        let Some(field) = ty.ignition_field(name, target) else { continue };
        let value = match part.get(name) {
            Some(part) => without(value, part, field.kind, target),
            None => Some(value.clone()),
        };
        left.extend(value.map(|value| (*name, value)));
    }
    if left.is_empty() {
        return None;
    }
    // What tells the item apart, and what can never be the part's alone.
    for (name, value) in whole.entries() {
        let Some(field) = ty.ignition_field(name, target) else { continue };
        let is_kept = is_key(name, ty.key)
            || matches!(field.kind, Kind::RequiredText | Kind::FilledText | Kind::Number);
        if is_kept && !left.iter().any(|(other, _)| other == name) {
            left.push((*name, value.clone()));
        }
    }
    Some(Tree::map_at(&whole.origin, left))
}

fn is_key(name: &str, key: Key) -> bool {
    match key {
        Key::None => false,
        Key::Field(field) => field == name,
        Key::Partition => matches!(name, "number" | "label"),
    }
}

fn without(whole: &Tree, part: &Tree, kind: Kind, target: &'static Target) -> Option<Tree> {
    let items = match kind {
        Kind::Map(ty) => return subtract(whole, part, ty, target),
        Kind::Texts(_) | Kind::Maps(_, _) if !kind.refuses_repeats() => {
            let (items, prefix) = (whole.list(), part.list());
            let begins = items.len() >= prefix.len()
                && items.iter().zip(prefix).all(|(item, prefix)| item.says_same(prefix));
            if begins { items[prefix.len()..].to_vec() } else { items.to_vec() }
        }
        Kind::Maps(ty, _) => whole
            .list()
            .iter()
            .filter_map(|item| {
                let key = ty.key.of(item);
                match part.list().iter().find(|other| key.is_some() && ty.key.of(other) == key) {
                    Some(other) => subtract(item, other, ty, target),
                    None => Some(item.clone()),
                }
            })
            .collect(),
        Kind::Texts(_) => {
            let is_new = |item: &&Tree| !part.list().iter().any(|other| other.says_same(item));
            whole.list().iter().filter(is_new).cloned().collect()
        }
        _ => return (!whole.says_same(part)).then(|| whole.clone()),
    };
    (!items.is_empty()).then(|| Tree { origin: whole.origin.clone(), value: Value::List(items) })
}
