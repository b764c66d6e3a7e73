//! Butane's tree → text.

use basalt_model::yaml::print::{Node, print_node};

use crate::schema::config::CONFIG;
use crate::schema::{Kind, Type};
use crate::tree::{Tree, Value};
use crate::version::Target;

/// What a reader looks for first in a mapping. Everything else is in the order of the tables.
const FIRST: [&str; 7] = ["variant", "version", "metadata", "name", "path", "device", "label"];

/// Prints a config with Butane's names.
pub(super) fn print(written: &Tree, target: &'static Target) -> String {
    print_node(&map(written, &CONFIG, target))
}

fn map(tree: &Tree, ty: &'static Type, target: &'static Target) -> Node {
    let rank = |name: &str| {
        let first = FIRST.iter().position(|known| *known == name).unwrap_or(FIRST.len());
        (first, ty.fields.iter().position(|field| field.name == Some(name)))
    };
    let mut entries: Vec<&(&'static str, Tree)> = tree.entries().iter().collect();
    entries.sort_by_key(|(name, _)| rank(name));
    let entries = entries.into_iter().filter_map(|(name, value)| {
        let field = ty.of(target).find(|field| field.name == Some(*name))?;
        Some(((*name).to_owned(), node(name, value, field.kind, target)))
    });
    Node::Map(entries.collect())
}

fn node(name: &str, tree: &Tree, kind: Kind, target: &'static Target) -> Node {
    match (&tree.value, kind) {
        (_, Kind::Map(ty)) => map(tree, ty, target),
        (Value::List(items), Kind::Maps(ty, _)) => {
            Node::List(items.iter().map(|item| map(item, ty, target)).collect())
        }
        (Value::List(items), _) => {
            Node::List(items.iter().map(|item| node(name, item, Kind::Text, target)).collect())
        }
        (Value::Labels(labels), _) => Node::Map(
            labels
                .iter()
                .map(|(key, value)| (key.clone(), node(key, value, Kind::Text, target)))
                .collect(),
        ),
        (Value::Integer(number), _) => match u32::try_from(*number) {
            Ok(bits) if name.ends_with("mode") => Node::octal(bits),
            _ => Node::Plain(number.to_string()),
        },
        // Three numbers are text in every YAML, and nobody quotes a version.
        (Value::Text(text), _) if name == "version" => Node::Plain(text.clone()),
        (Value::Flag(flag), _) => Node::Plain(flag.to_string()),
        (Value::Text(text), _) => Node::Text(text.clone()),
        (Value::Map(_) | Value::Data(_) | Value::Broken, _) => {
            unreachable!("a config without errors has what the tables say, and contents as text")
        }
    }
}
