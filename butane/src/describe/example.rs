//! A small config that has a field.

use basalt_model::report::Report;
use basalt_model::yaml::print::{Node, print_node};
use basalt_model::yaml::{ScalarStyle, Value as YamlValue, Yaml, parse};

use super::facts::{self, CHOICES, EXAMPLES_BELOW};
use super::place::{Step, Way};
use crate::schema::{Kind, Type};

/// The example as YAML, without variant and version.
pub(super) fn example(way: &Way) -> String {
    let name = way.last().map_or("", Step::name);
    let is_below = |ty: &str| way.steps.iter().any(|step| step.ty.name == ty);
    let particular = EXAMPLES_BELOW.iter().find(|(ty, field, _)| *field == name && is_below(ty));
    print_node(&below(&way.steps, particular.map(|(_, _, example)| *example)))
}

/// The mapping that the first step is in, with nothing but what leads to the last.
fn below(steps: &[Step], particular: Option<&str>) -> Node {
    let Some((step, rest)) = steps.split_first() else { return Node::Map(Vec::new()) };
    let name = step.name();
    let fact = facts::of(step.ty, name);
    let names: Vec<&str> = steps.iter().map(Step::name).collect();
    let base = || self::entries(facts::base(step.ty, &names));
    let is_last = rest.is_empty();
    let mut entries = if is_last { self::entries(fact.with) } else { Vec::new() };
    for (other, value) in base() {
        let is_there = other == name || entries.iter().any(|(known, _)| *known == other);
        if !is_there && !exclude(step.ty, name, &other) {
            entries.push((other, value));
        }
    }
    let value = match step.row().kind {
        Kind::Map(_) if !is_last => below(rest, particular),
        Kind::Maps(_, _) if !is_last => Node::List(vec![below(rest, particular)]),
        kind => particular.map_or_else(|| leaf(step, kind), node),
    };
    // What tells the item apart comes first, then what is explained.
    let own = base().iter().position(|(known, _)| known == name);
    entries.insert(if own == Some(0) { 0 } else { entries.len() }, (name.to_owned(), value));
    Node::Map(entries)
}

fn leaf(step: &Step, kind: Kind) -> Node {
    let name = step.name();
    let fact = facts::of(step.ty, name);
    if !fact.example.is_empty() {
        return node(fact.example);
    }
    let base = entries(facts::base(step.ty, &[name])).into_iter().find(|(known, _)| known == name);
    match (base, kind) {
        (Some((_, value)), _) => value,
        (None, Kind::Map(ty)) => small(ty),
        (None, Kind::Maps(ty, _)) => Node::List(vec![small(ty)]),
        (None, Kind::Flag) => Node::Plain("true".to_owned()),
        (None, Kind::Integer | Kind::Number) => Node::Plain("1".to_owned()),
        (None, Kind::Texts(_)) => Node::List(vec![Node::Text("example".to_owned())]),
        (None, _) => Node::Text("example".to_owned()),
    }
}

/// A small item, or what a section's first field is about.
fn small(ty: &'static Type) -> Node {
    let base = entries(facts::base(ty, &[]));
    if !base.is_empty() {
        return Node::Map(base);
    }
    let first = ty.fields.iter().find_map(|field| {
        let rows = ty.fields.iter().filter(|other| other.name == field.name).collect();
        field.name.map(|_| Step { ty, rows })
    });
    below(first.as_slice(), None)
}

fn exclude(ty: &Type, name: &str, other: &str) -> bool {
    CHOICES
        .iter()
        .filter(|choice| choice.ty == ty.name)
        .any(|choice| choice.fields.contains(&name) && choice.fields.contains(&other))
}

fn entries(yaml: &str) -> Vec<(String, Node)> {
    match node(yaml) {
        Node::Map(entries) => entries,
        _ => Vec::new(),
    }
}

/// The tables' own YAML. Plain scalars are printed as they are written there.
fn node(yaml: &str) -> Node {
    fn of(yaml: &Yaml) -> Node {
        match &yaml.resolved().value {
            YamlValue::Scalar(scalar) if scalar.style == ScalarStyle::Plain => {
                Node::Plain(scalar.text.clone())
            }
            YamlValue::Scalar(scalar) => Node::Text(scalar.text.clone()),
            YamlValue::List(items) => Node::List(items.iter().map(of).collect()),
            YamlValue::Map(entries) => Node::Map(
                entries
                    .iter()
                    .filter_map(|(key, value)| Some((key.as_scalar()?.text.clone(), of(value))))
                    .collect(),
            ),
            YamlValue::Alias(_) => Node::Map(Vec::new()),
        }
    }
    let stream = parse(yaml.as_bytes(), &mut Report::new(""));
    stream.and_then(|stream| stream.first).map_or(Node::Map(Vec::new()), |yaml| of(&yaml))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::compile::{Options, Output, Warnings, compile};
    use crate::schema::config::CONFIG;

    /// Every field below `way`.
    fn ways(ty: &'static Type, way: &Way, found: &mut Vec<Way>) {
        for field in ty.fields {
            let Some(name) = field.name else { continue };
            let mut below = way.clone();
            let rows = ty.fields.iter().filter(|row| row.name == Some(name)).collect();
            below.steps.push(Step { ty, rows });
            if let Some(ty) = below.inner() {
                ways(ty, &below, found);
            }
            found.push(below);
        }
    }

    #[test]
    fn every_example_compiles() {
        let folder = tempfile::tempdir().unwrap();
        let files_dir = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir(files_dir.join("tree")).unwrap();
        std::fs::write(files_dir.join("base.ign"), r#"{"ignition": {"version": "3.4.0"}}"#)
            .unwrap();
        for name in ["hello.txt", "tree/hello.txt", "ca.pem"] {
            std::fs::write(files_dir.join(name), "hello\n").unwrap();
        }
        std::fs::write(files_dir.join("hello.service"), "[Service]\nExecStart=/bin/true\n")
            .unwrap();
        let mut found = Vec::new();
        ways(&CONFIG, &Way { steps: Vec::new() }, &mut found);
        assert!(found.len() > 200, "{}", found.len());
        for way in
            found.iter().filter(|way| !["variant", "version"].contains(&way.to_string().as_str()))
        {
            let target = way.targets().last().expect("some target has it");
            let target = way
                .targets()
                .find(|other| other.variant == "fcos" && other.fcos == Some(8))
                .unwrap_or(target);
            let mut text = format!("variant: {}\nversion: {}\n", target.variant, target.version);
            if target.variant == "openshift" && way.steps[0].name() != "metadata" {
                text += "metadata: {name: a, labels: {machineconfiguration.openshift.io/role: worker}}\n";
            }
            text += &example(way);
            let options = Options {
                files_dir: Some(files_dir),
                warnings: Warnings::Allowed,
                output: Output::Variant,
            };
            let (compiled, report) = compile("example.bu", text.as_bytes(), &options);
            assert!(compiled.is_some(), "{way}:\n{text}\n{report}");
            assert!(!report.to_string().contains("has no `"), "{way}:\n{text}\n{report}");
        }
    }
}
