//! What objects of Kubernetes' API may say: the fields of every type, as Kubernetes' own types have them.
//!
//! `fields.txt` beside this file is what a Pod may say; other tables of the same format say more. They are printed by
//! `tests/peers/kube-kinds`, and tests compare them with that.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Any text.
    Text,
    /// A text in base64.
    Bytes,
    /// An integer of 32 bits.
    Integer32,
    /// An integer of 64 bits.
    Integer64,
    /// A number, with a fraction or without.
    Number,
    /// `true` or `false`.
    Flag,
    /// A number with its unit, `64Mi`.
    Quantity,
    /// An integer of 32 bits or a text, such as the number or the name of a port.
    NumberOrText,
    /// A time as in RFC 3339.
    Time,
    /// Whatever there is.
    Any,
    /// An object of the type with this name.
    Object(&'static str),
    /// A list of such.
    List(Box<Takes>),
    /// A map of such, by texts.
    Map(Box<Takes>),
    /// One of two.
    Either(Box<Takes>, Box<Takes>),
}

/// A field of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in YAML.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
}

/// Kinds, and the types that they and their fields have.
#[derive(Debug, Default)]
pub struct Table {
    /// The types of kinds, by API version and kind.
    kinds: HashMap<(&'static str, &'static str), &'static str>,
    types: HashMap<&'static str, Vec<Field>>,
}

/// What a Pod may say.
pub static POD: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("fields.txt")));

impl Table {
    /// Reads a table: a line `kind v1 Pod TYPE` for each kind, and each type's name followed by its fields, one a line,
    /// set in by two spaces: `  containers list of Container`.
    ///
    /// # Panics
    /// When it names a type and does not have it, or has a line of another form. It is part of the program that reads
    /// it, so a test sees to that.
    pub fn parse(text: &'static str) -> Table {
        let mut table = Table::default();
        let mut current = "";
        for line in text.lines() {
            if let Some(field) = line.strip_prefix("  ") {
                let (name, of) = field.split_once(' ').expect("a field is told what it takes");
                let field = Field { name, takes: takes(of) };
                table.types.entry(current).or_default().push(field);
            } else if let Some(kind) = line.strip_prefix("kind ") {
                let cells: Vec<&str> = kind.split(' ').collect();
                let [api_version, kind, of] = cells[..] else {
                    unreachable!("every line of a kind has four cells: {line}")
                };
                table.kinds.insert((api_version, kind), of);
            } else {
                current = line;
                table.types.entry(current).or_default();
            }
        }
        table.kinds.values().for_each(|of| table.check(&Takes::Object(of)));
        table.types.values().flatten().for_each(|field| table.check(&field.takes));
        table
    }

    /// The name of the type of a kind; none where the table does not have the kind.
    pub fn type_of(&self, api_version: &str, kind: &str) -> Option<&'static str> {
        self.kinds.get(&(api_version, kind)).copied()
    }

    /// The fields of a type, in the order of the specification.
    ///
    /// # Panics
    /// When the table does not name the type.
    pub fn fields_of(&self, name: &str) -> &[Field] {
        self.types.get(name).expect("the table has each type that it names")
    }

    fn check(&self, takes: &Takes) {
        match takes {
            Takes::Object(name) => {
                self.fields_of(name);
            }
            Takes::List(inner) | Takes::Map(inner) => self.check(inner),
            Takes::Either(one, other) => {
                self.check(one);
                self.check(other);
            }
            _ => {}
        }
    }
}

fn takes(text: &'static str) -> Takes {
    if let Some(value) = text.strip_prefix("map of ") {
        return Takes::Map(Box::new(takes(value)));
    }
    if let Some((one, other)) = text.split_once(" | ") {
        return Takes::Either(Box::new(takes(one)), Box::new(takes(other)));
    }
    if let Some(item) = text.strip_prefix("list of ") {
        return Takes::List(Box::new(takes(item)));
    }
    match text {
        "text" => Takes::Text,
        "bytes" => Takes::Bytes,
        "integer32" => Takes::Integer32,
        "integer64" => Takes::Integer64,
        "number" => Takes::Number,
        "flag" => Takes::Flag,
        "quantity" => Takes::Quantity,
        "number-or-text" => Takes::NumberOrText,
        "time" => Takes::Time,
        "any" => Takes::Any,
        name => Takes::Object(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fields_take() {
        let of = |text| Box::new(takes(text));
        for (text, expected) in [
            ("bytes", Takes::Bytes),
            ("PodSpec", Takes::Object("PodSpec")),
            ("list of list of text", Takes::List(Box::new(Takes::List(of("text"))))),
            ("map of list of text", Takes::Map(of("list of text"))),
            ("list of text | flag", Takes::Either(of("list of text"), of("flag"))),
            ("map of flag | Schema", Takes::Map(Box::new(Takes::Either(of("flag"), of("Schema"))))),
        ] {
            assert_eq!(takes(text), expected, "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "the table has each type that it names")]
    fn a_table_has_each_type_that_it_names() {
        Table::parse("kind v1 Pod Pod\nPod\n  spec map of list of PodSpec");
    }

    /// `decode` looks for no others.
    #[test]
    fn what_fields_of_pods_take() {
        assert_eq!(POD.type_of("v1", "Pod"), Some("Pod"));
        let spec = Field { name: "spec", takes: Takes::Object("PodSpec") };
        assert!(POD.fields_of("Pod").contains(&spec));
        for field in POD.types.values().flatten() {
            let mut takes = &field.takes;
            while let Takes::List(inner) | Takes::Map(inner) = takes {
                takes = inner;
            }
            let is_other = matches!(takes, Takes::Bytes | Takes::Number | Takes::Either(..));
            assert!(!is_other, "{field:?}");
        }
    }
}
