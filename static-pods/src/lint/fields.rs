//! What a Pod may say: the fields of every type, as the kubelet's own types have them.
//!
//! `fields.txt` beside this file is printed by the kubelet's types; a test compares the two.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The table, as it is printed.
pub const FIELDS: &str = include_str!("fields.txt");

/// The fields of a type, in the order of the specification.
pub(super) type Fields = Vec<(&'static str, Kind)>;

/// What a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer32,
    Integer64,
    Flag,
    Quantity,
    NumberOrText,
    Time,
    Any,
    Object(&'static str),
    List(Box<Kind>),
    Map(Box<Kind>),
}

/// The fields of the type `name`.
pub(super) fn fields_of(name: &str) -> &'static Fields {
    static TYPES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(types);
    TYPES.get(name).expect("the table has each type that it names")
}

fn types() -> HashMap<&'static str, Fields> {
    let mut types: HashMap<&'static str, Fields> = HashMap::new();
    let mut current = "";
    for line in FIELDS.lines() {
        match line.strip_prefix("  ").and_then(|field| field.split_once(' ')) {
            Some((name, of)) => types.entry(current).or_default().push((name, kind(of))),
            None => {
                current = line;
                types.entry(current).or_default();
            }
        }
    }
    types
}

fn kind(text: &'static str) -> Kind {
    if let Some(item) = text.strip_prefix("list of ") {
        return Kind::List(Box::new(kind(item)));
    }
    if let Some(value) = text.strip_prefix("map of ") {
        return Kind::Map(Box::new(kind(value)));
    }
    match text {
        "text" => Kind::Text,
        "integer32" => Kind::Integer32,
        "integer64" => Kind::Integer64,
        "flag" => Kind::Flag,
        "quantity" => Kind::Quantity,
        "number-or-text" => Kind::NumberOrText,
        "time" => Kind::Time,
        "any" => Kind::Any,
        name => Kind::Object(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_closed() {
        fn check(kind: &Kind) {
            match kind {
                Kind::Object(name) => drop(fields_of(name)),
                Kind::List(inner) | Kind::Map(inner) => check(inner),
                _ => {}
            }
        }
        for fields in types().values() {
            fields.iter().for_each(|(_, kind)| check(kind));
        }
        assert!(fields_of("Pod").contains(&("spec", Kind::Object("PodSpec"))));
    }
}
