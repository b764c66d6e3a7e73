//! Our tables of fields against the reference's types: every field of any version, in every version.

use std::collections::BTreeSet;
use std::fmt::Write;

use basalt_model::report::Report;
use basalt_model::yaml::{self, Value, Yaml};
use camino::Utf8Path;

use crate::compare::{differences, ours};
use crate::corpus::configs;
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

/// Adds the paths of all keys below `yaml`, lists left out: `storage.files.path`.
fn paths(yaml: &Yaml, above: &str, found: &mut BTreeSet<String>) {
    match &yaml.resolved().value {
        Value::Scalar(_) | Value::Alias(_) => {}
        Value::List(items) => items.iter().for_each(|item| paths(item, above, found)),
        Value::Map(entries) => {
            for (key, value) in entries {
                let Some(key) = key.as_scalar() else { continue };
                let path = format!("{above}{}", key.text);
                paths(value, &format!("{path}."), found);
                found.insert(path);
            }
        }
    }
}

fn missing(
    fields: &[Field],
    above: &str,
    found: &BTreeSet<String>,
    missing_here: &mut Vec<String>,
) {
    for field in fields {
        let path = format!("{above}{}", field.name);
        missing(&field.fields, &format!("{path}."), found, missing_here);
        if !found.contains(&path) {
            missing_here.push(path);
        }
    }
}

#[test]
fn every_field_is_in_the_corpus() {
    let Some(reference) = Reference::find() else { return };
    let mut found = BTreeSet::new();
    for (text, _) in [configs("good").1, configs("bad").1].concat() {
        let stream = yaml::parse(text.as_bytes(), &mut Report::new(""));
        if let Some(root) = stream.and_then(|stream| stream.first) {
            paths(&root, "", &mut found);
        }
    }
    let mut fields = Vec::new();
    reference.specifications().iter().for_each(|each| unite(&mut fields, &each.fields));
    let mut missing_here = Vec::new();
    missing(&fields, "", &found, &mut missing_here);
    assert!(missing_here.is_empty(), "no config has these: {missing_here:#?}");
}
