//! Where secrets may stand, by the tables of [`schema`](crate::schema).

use super::marks::Marks;
use crate::schema::{Kind, Lowering, Secrecy, Type};
use crate::tree::{Findings, Tree, Value};
use crate::version::Target;

/// Goes through a config with Butane's names and makes [`Value::Broken`] of every value with a variable in it that may
/// not be there, so that no later rule repeats it: a secret where everyone can read it, and what is no secret in a
/// field that holds one.
pub(crate) fn refuse_misplaced(
    tree: &mut Tree,
    ty: &'static Type,
    target: &'static Target,
    marks: &Marks,
    findings: &mut Findings,
) {
    if !marks.is_empty() {
        Walk { target, marks, findings }.value(tree, Kind::Map(ty), Secrecy::Public);
    }
}

struct Walk<'w> {
    target: &'static Target,
    marks: &'w Marks,
    findings: &'w mut Findings,
}

impl Walk<'_> {
    fn value(&mut self, tree: &mut Tree, kind: Kind, secrecy: Secrecy) {
        match (&mut tree.value, kind) {
            (Value::Map(entries), Kind::Map(ty) | Kind::Maps(ty, _)) => {
                for (name, value) in entries {
                    let field = ty.of(self.target).find(|field| field.name == Some(name));
                    let field = field.expect("what was decoded is in the tables");
                    let is_resource = matches!(ty.lowering, Lowering::Resource);
                    let secrecy = match (field.secrecy, secrecy) {
                        // Where a key is fetched from is not the key, and may be one's own affair all the same.
                        (Secrecy::Public, Secrecy::Secret) if is_resource && *name != "inline" => {
                            Secrecy::Either
                        }
                        (Secrecy::Public, above) => above,
                        (own, _) => own,
                    };
                    self.value(value, field.kind, secrecy);
                }
            }
            (Value::List(items), kind) => {
                items.iter_mut().for_each(|item| self.value(item, kind, secrecy));
            }
            (Value::Labels(labels), _) => {
                labels.iter_mut().for_each(|(_, label)| self.value(label, Kind::Text, secrecy));
            }
            (Value::Text(_) | Value::Integer(_) | Value::Flag(_), _) => self.judge(tree, secrecy),
            (Value::Map(_) | Value::Data(_) | Value::Broken, _) => {}
        }
    }

    fn judge(&mut self, tree: &mut Tree, secrecy: Secrecy) {
        let Some(mark) = self.marks.at(&tree.origin.file, tree.origin.place) else { return };
        let (message, hint) = if mark.is_secret && secrecy == Secrecy::Public {
            (
                "a secret would be seen by everyone here",
                "secrets can stand in password hashes, keys, contents and headers",
            )
        } else if mark.is_public && secrecy == Secrecy::Secret {
            (
                "this holds a secret, and a variable in it is not declared as one",
                "declare it with `secret: true`",
            )
        } else {
            return;
        };
        self.findings.error(&tree.origin, message).hint(hint);
        tree.value = Value::Broken;
    }
}
