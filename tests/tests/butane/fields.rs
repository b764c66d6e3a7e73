//! Our tables of fields against the reference's types: every field of any version, in every version.

use std::fmt::Write;

use camino::Utf8Path;

use crate::compare::{differences, ours};
use crate::reference::{Field, Kind, Reference, Specification, Wanted};
use crate::yaml::{Node, Style, print};

/// What is written where a value belongs.
#[derive(Clone, Copy)]
enum Leaf {
    /// Null: the field is known or not, and that is all.
    Null,
    /// What no field of the kind takes.
    Wrong,
}

/// Adds the fields of `more` that `fields` does not have.
fn unite(fields: &mut Vec<Field>, more: &[Field]) {
    for field in more {
        match fields.iter_mut().find(|known| known.name == field.name) {
            Some(known) => unite(&mut known.fields, &field.fields),
            None => fields.push(field.clone()),
        }
    }
}

fn leaf(kind: Kind, leaf: Leaf) -> Node {
    Node::Scalar(match (leaf, kind) {
        (Leaf::Null, _) => String::new(),
        (Leaf::Wrong, Kind::Text | Kind::Integer | Kind::Flag) => "[]".to_owned(),
        (Leaf::Wrong, Kind::Map | Kind::Maps | Kind::Texts | Kind::TextsByName) => "x".to_owned(),
    })
}

/// A mapping with all of `fields`.
fn all(fields: &[Field], value: Leaf) -> Node {
    let entries = fields.iter().map(|field| {
        let node = match field.kind {
            Kind::Map => all(&field.fields, value),
            Kind::Maps => Node::List(vec![all(&field.fields, value)]),
            kind => leaf(kind, value),
        };
        (field.name.clone(), node)
    });
    Node::Map(entries.collect())
}

fn config(specification: &Specification, fields: &[Field], value: Leaf) -> (String, Wanted) {
    let Node::Map(mut entries) = all(fields, value) else { unreachable!("it was just made") };
    for (name, node) in &mut entries {
        match name.as_str() {
            "variant" => *node = Node::Scalar(specification.variant.clone()),
            "version" => *node = Node::Scalar(specification.version.clone()),
            _ => {}
        }
    }
    (print(&Node::Map(entries), &Style::PLAIN), Wanted::Variant)
}

#[test]
fn every_version_has_the_fields_that_the_reference_has() {
    let Some(reference) = Reference::find() else { return };
    let specifications = reference.specifications();
    let mut fields = Vec::new();
    specifications.iter().for_each(|each| unite(&mut fields, &each.fields));
    let mut configs = Vec::new();
    for specification in &specifications {
        configs.push(config(specification, &fields, Leaf::Null));
        configs.push(config(specification, &specification.fields, Leaf::Wrong));
    }
    let files = Utf8Path::new("/nonexistent");
    let mut faults = String::new();
    for ((text, wanted), theirs) in configs.iter().zip(reference.compile(&configs, files)) {
        let head: Vec<&str> = text.lines().take(2).collect();
        for difference in differences(ours(text, *wanted, files).as_ref(), &theirs) {
            writeln!(faults, "{}: {difference}", head.join(" ")).unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
