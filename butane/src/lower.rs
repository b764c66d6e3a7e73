//! Butane's tree → Ignition's tree: other names, contents as data URLs. What is empty stays until it is printed, so that
//! rules can point at it.

use camino::Utf8Path;

use crate::contents;
use crate::resource;
use crate::schema::{Kind, Lowering, Type};
use crate::tree::{Findings, Tree, Value};
use crate::version::Target;

/// What lowering needs besides the tree.
pub(crate) struct Context<'a> {
    /// The folder that `local` paths are below; without it none are read.
    pub files_dir: Option<&'a Utf8Path>,
    /// What the config is lowered to.
    pub target: &'static Target,
    pub findings: &'a mut Findings,
}

/// Lowers a mapping of type `ty`. Fields come out sorted by name; sugar is left out.
pub(crate) fn lower(tree: &Tree, ty: &'static Type, context: &mut Context) -> Tree {
    if !matches!(tree.value, Value::Map(_)) {
        return tree.clone();
    }
    let mut entries = Vec::new();
    for field in ty.of(context.target) {
        let (Some(name), Some(ignition)) = (field.name, field.ignition) else { continue };
        match tree.get(name) {
            Some(value) => entries.push((ignition, lower_value(value, field.kind, context))),
            None if matches!(field.kind, Kind::RequiredText) => {
                entries.push((ignition, Tree::text_at(&tree.origin.below(name), "")));
            }
            None => {}
        }
    }
    let mut lowered = Tree::map_at(&tree.origin, entries);
    match ty.lowering {
        Lowering::Plain => {}
        Lowering::Resource => resource::fill(tree, &mut lowered, context),
        Lowering::Unit => contents::fill_unit(tree, &mut lowered, context),
        Lowering::User => contents::fill_keys(tree, &mut lowered, context),
    }
    sort(&mut lowered);
    lowered
}

/// Puts the fields of a mapping into the order in which they are printed.
pub(crate) fn sort(tree: &mut Tree) {
    if let Value::Map(entries) = &mut tree.value {
        entries.sort_by_key(|(name, _)| *name);
    }
}

fn lower_value(value: &Tree, kind: Kind, context: &mut Context) -> Tree {
    match (kind, &value.value) {
        (Kind::Map(ty), _) => lower(value, ty, context),
        (Kind::Maps(ty, _), Value::List(items)) => {
            let items = items.iter().map(|item| lower(item, ty, context)).collect();
            Tree::list_at(&value.origin, items)
        }
        _ => value.clone(),
    }
}
