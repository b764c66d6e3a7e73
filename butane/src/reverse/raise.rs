//! Ignition's tree → Butane's tree: other names. The opposite of `lower`, without sugar.

use crate::machine_config::FIELDS;
use crate::schema::{Kind, Type};
use crate::tree::{Findings, Origin, Tree, Value};
use crate::version::Target;

/// What stands at the top of every config.
pub(super) fn header(origin: &Origin, target: &Target) -> Vec<(&'static str, Tree)> {
    vec![
        ("variant", Tree::text_at(origin, target.variant)),
        ("version", Tree::text_at(origin, target.version)),
    ]
}

/// What stands at the top of a config for OpenShift, from a MachineConfig.
pub(super) fn machine_config(
    decoded: &Tree,
    target: &Target,
    findings: &mut Findings,
) -> Vec<(&'static str, Tree)> {
    let mut header = header(&decoded.origin, target);
    match decoded.get("metadata") {
        Some(metadata) => header.push(("metadata", metadata.clone())),
        None => {
            findings.error(&decoded.place_of("metadata"), "the MachineConfig has no name");
        }
    }
    let Some(spec) = decoded.get("spec") else { return header };
    let section: Vec<(&'static str, Tree)> = FIELDS
        .into_iter()
        .filter_map(|(name, ignition)| Some((name, spec.get(ignition)?.clone())))
        .filter(|(_, value)| !matches!(&value.value, Value::List(items) if items.is_empty()))
        .collect();
    if !section.is_empty() {
        header.push(("openshift", Tree::map_at(&spec.origin, section)));
    }
    header
}

/// Gives a mapping of type `ty` Butane's names, and leaves out what says nothing.
pub(super) fn raise(tree: &Tree, ty: &'static Type, target: &'static Target) -> Tree {
    let entries = tree.entries().iter().filter_map(|(name, value)| {
        let field = ty.ignition_field(name, target)?;
        let raised = match field.kind {
            Kind::Map(ty) => raise(value, ty, target),
            Kind::Maps(ty, _) => Tree::list_at(
                &value.origin,
                value.list().iter().map(|item| raise(item, ty, target)).collect(),
            ),
            _ => value.clone(),
        };
        let is_kept = field.kept_when_empty || !says_nothing(&raised, field.kind);
        is_kept.then_some((field.name?, raised))
    });
    Tree::map_at(&tree.origin, entries.collect())
}

/// What is not printed in an Ignition config.
pub(super) fn says_nothing(tree: &Tree, kind: Kind) -> bool {
    match (&tree.value, kind) {
        (Value::Map(entries), _) => entries.is_empty(),
        (Value::List(items), _) => items.is_empty(),
        (Value::Integer(number), Kind::Number) => *number == 0,
        (Value::Text(text), Kind::RequiredText | Kind::FilledText) => text.is_empty(),
        _ => false,
    }
}
