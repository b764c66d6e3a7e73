//! Where secrets may stand, by the tables of [`schema`](crate::schema).

use super::marks::Marks;
use crate::schema::{Kind, Lowering, Secrecy, Type};
use crate::tree::{Findings, Tree, Value};

/// Goes through a config with Butane's names and makes [`Value::Broken`] of every value with a variable in it that may
/// not be there, so that no later rule repeats it: a secret where everyone can read it, and what is no secret in a
/// field that holds one.
pub(crate) fn refuse_misplaced(
    tree: &mut Tree,
    ty: &'static Type,
    marks: &Marks,
    findings: &mut Findings,
) {
    if marks.is_empty() {
        return;
    }
    walk(tree, Kind::Map(ty), Secrecy::Public, marks, findings);
}

fn walk(tree: &mut Tree, kind: Kind, secrecy: Secrecy, marks: &Marks, findings: &mut Findings) {
    match (&mut tree.value, kind) {
        (Value::Map(entries), Kind::Map(ty) | Kind::Maps(ty, _)) => {
            for (name, value) in entries {
                let Some(field) = ty.fields.iter().find(|field| field.name == Some(name)) else {
                    continue;
                };
                let is_resource = matches!(ty.lowering, Lowering::Resource);
                let secrecy = match (field.secrecy, secrecy) {
                    (Secrecy::Public, Secrecy::Secret) if is_resource && *name != "inline" => {
                        Secrecy::Either
                    }
                    (Secrecy::Public, above) => above,
                    (own, _) => own,
                };
                walk(value, field.kind, secrecy, marks, findings);
            }
        }
        (Value::List(items), kind) => {
            items.iter_mut().for_each(|item| walk(item, kind, secrecy, marks, findings));
        }
        (Value::Text(_) | Value::Integer(_) | Value::Flag(_), _) => {
            let Some(mark) = marks.at(&tree.origin.file, tree.origin.place) else { return };
            if mark.is_secret && secrecy == Secrecy::Public {
                findings
                    .error(&tree.origin, "a secret would be seen by everyone here")
                    .hint("secrets can stand in password hashes, keys, contents and headers");
            } else if mark.is_public && secrecy == Secrecy::Secret {
                findings
                    .error(
                        &tree.origin,
                        "this holds a secret, and a variable in it is not declared as one",
                    )
                    .hint("declare it with `secret: true`");
            } else {
                return;
            }
            tree.value = Value::Broken;
        }
        _ => {}
    }
}
