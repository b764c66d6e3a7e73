//! What a Pod may say, read off the linter's table: a test holds that against the kubelet's own types.

use std::collections::HashMap;
use std::sync::LazyLock;

use basalt_static_pods::lint::fields::FIELDS;

/// What a field takes, as the table writes it: `text`, `list of Container`.
pub(crate) type Kind = &'static str;

/// A field of a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub kind: Kind,
}

/// The fields of the type `name`; `None` when it is no type with fields.
pub(crate) fn fields_of(name: &str) -> Option<&'static [Field]> {
    static TYPES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
        let mut types: HashMap<&'static str, Vec<Field>> = HashMap::new();
        let mut current = "";
        for line in FIELDS.lines() {
            match line.strip_prefix("  ").and_then(|field| field.split_once(' ')) {
                Some((name, kind)) => types.entry(current).or_default().push(Field { name, kind }),
                None => {
                    current = line;
                    types.entry(current).or_default();
                }
            }
        }
        types
    });
    TYPES.get(name).map(Vec::as_slice)
}

/// What is in a list or a map of this kind.
pub(crate) fn inner(kind: Kind) -> Option<Kind> {
    kind.strip_prefix("list of ").or_else(|| kind.strip_prefix("map of "))
}
