//! `cargo xtask bundle diff`: what a new bundle would change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use basalt_model::yaml::{Value, Yaml};
use camino::Utf8PathBuf;
use serde::Serialize;

use super::input::{About, Input};
use super::lint::{self, Checked};
use super::objects::{self, Key, Object, at, items, text};
use crate::output::{Format, explained, print, say};
use crate::visible::visible;

/// The two differ.
const DIFFERENT: u8 = 1;
/// They cannot be compared.
const TROUBLE: u8 = 2;

/// Compare two bundles.
///
/// Says which objects come, go and change, and which of their fields; which move to another wave; which versions of a
/// definition are lost; and which images come and go.
///
/// Exit status, as of diff: 0 when they are the same, 1 when they differ, 2 when one cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The old bundle: a folder, an OCI layout or an archive.
    #[arg(value_name = "OLD")]
    old: Utf8PathBuf,

    /// The new one.
    #[arg(value_name = "NEW")]
    new: Utf8PathBuf,

    /// How to print what is different.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// What is different; also the document of `--output json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Difference {
    schema: u32,
    /// Old and new, where they differ.
    generation: Option<(u64, u64)>,
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<Changed>,
    /// Objects that are applied in another wave.
    moved: Vec<Moved>,
    /// Versions of definitions that are no longer served, or no longer there.
    lost_versions: Vec<LostVersion>,
    images_added: Vec<String>,
    images_removed: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Changed {
    object: String,
    /// `spec.replicas`.
    fields: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Moved {
    object: String,
    old: String,
    new: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct LostVersion {
    definition: String,
    version: String,
    /// Whether objects may be stored in it: then they have to be moved before.
    was_stored: bool,
}

impl Difference {
    fn is_none(&self) -> bool {
        *self == Difference { schema: 1, ..Difference::default() }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match compare(arguments) {
        Ok(code) => Ok(code),
        Err(error) => {
            say(explained(&error));
            Ok(ExitCode::from(TROUBLE))
        }
    }
}

fn compare(arguments: &Arguments) -> Result<ExitCode> {
    let old = read(&arguments.old)?;
    let new = read(&arguments.new)?;
    let difference = difference(&old, &new);
    match arguments.output {
        Format::Text => print(shown(&difference))?,
        Format::Json => print(format_args!("{}\n", serde_json::to_string_pretty(&difference)?))?,
    }
    Ok(if difference.is_none() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// One side.
struct Side {
    generation: Option<u64>,
    objects: BTreeMap<Key, Object>,
    images: BTreeSet<String>,
}

fn read(path: &camino::Utf8Path) -> Result<Side> {
    let input = Input::read(path)?;
    let checked = lint::check(&input);
    let unreadable = checked.rows.iter().filter(|row| {
        matches!(row.rule, "yaml" | "settings")
            && row.severity == basalt_model::report::Severity::Error
    });
    if let Some(row) = unreadable.into_iter().next() {
        anyhow::bail!("{}:{}: {}; `bundle lint` shows all", row.file, row.place, row.message);
    }
    Ok(side(&input, checked))
}

fn side(input: &Input, checked: Checked) -> Side {
    let mut images = checked.images;
    let generation = match (&input.about, &checked.settings) {
        (About::Artefact(index), _) => {
            images.extend(index.images.iter().cloned());
            Some(index.generation)
        }
        (About::Folder(_), Some(settings)) => {
            images.extend(settings.images.iter().map(|image| image.value.clone()));
            Some(settings.generation.value)
        }
        (About::Folder(_), None) => None,
    };
    let objects = checked.objects.into_iter().map(|object| (object.key(), object)).collect();
    Side { generation, objects, images }
}

fn difference(old: &Side, new: &Side) -> Difference {
    let mut found = Difference { schema: 1, ..Difference::default() };
    if let (Some(a), Some(b)) = (old.generation, new.generation) {
        found.generation = (a != b).then_some((a, b));
    }
    for (key, object) in &old.objects {
        let name = object.id.to_string();
        let versions = definition_versions(object);
        let Some(now) = new.objects.get(key) else {
            found.removed.push(name.clone());
            found.lost_versions.extend(lost(object, versions, &BTreeMap::new()));
            continue;
        };
        let mut fields = Vec::new();
        changes(&object.yaml, &now.yaml, "", &mut fields);
        if !fields.is_empty() {
            found.changed.push(Changed { object: name.clone(), fields });
        }
        if object.wave != now.wave {
            let (old, new) = (object.wave.clone(), now.wave.clone());
            found.moved.push(Moved { object: name, old, new });
        }
        found.lost_versions.extend(lost(object, versions, &definition_versions(now)));
    }
    let added = new.objects.iter().filter(|(key, _)| !old.objects.contains_key(key));
    found.added = added.map(|(_, object)| object.id.to_string()).collect();
    found.images_added = new.images.difference(&old.images).cloned().collect();
    found.images_removed = old.images.difference(&new.images).cloned().collect();
    found
}

/// The served versions of a definition, and whether each is the stored one.
fn definition_versions(object: &Object) -> BTreeMap<String, bool> {
    if object.id.kind != "CustomResourceDefinition" {
        return BTreeMap::new();
    }
    let versions = at(&object.yaml, &["spec", "versions"]).map_or(&[][..], items);
    let served = versions.iter().filter(|version| text(version, &["served"]) == Some("true"));
    served
        .filter_map(|version| {
            let is_stored = text(version, &["storage"]) == Some("true");
            Some((text(version, &["name"])?.to_owned(), is_stored))
        })
        .collect()
}

fn lost(
    object: &Object,
    old: BTreeMap<String, bool>,
    new: &BTreeMap<String, bool>,
) -> Vec<LostVersion> {
    let definition = object.id.name.clone();
    old.into_iter()
        .filter(|(version, _)| !new.contains_key(version))
        .map(|(version, was_stored)| LostVersion {
            definition: definition.clone(),
            version,
            was_stored,
        })
        .collect()
}

/// The paths of all fields that are not the same. Items of a list are told by their `name` where all have one.
fn changes(old: &Yaml, new: &Yaml, path: &str, fields: &mut Vec<String>) {
    match (&old.resolved().value, &new.resolved().value) {
        (Value::Map(a), Value::Map(b)) => {
            let (a, b) = (by_key(a), by_key(b));
            let keys: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
            for key in keys {
                let path = objects::join(path, key);
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => changes(a, b, &path, fields),
                    _ => fields.push(path),
                }
            }
        }
        (Value::List(a), Value::List(b)) => match (by_name(a), by_name(b)) {
            (Some(a), Some(b)) => {
                let names: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
                for name in names {
                    let path = format!("{path}[{name}]");
                    match (a.get(name), b.get(name)) {
                        (Some(a), Some(b)) => changes(a, b, &path, fields),
                        _ => fields.push(path),
                    }
                }
            }
            _ => {
                for index in 0..a.len().max(b.len()) {
                    let path = format!("{path}[{index}]");
                    match (a.get(index), b.get(index)) {
                        (Some(a), Some(b)) => changes(a, b, &path, fields),
                        _ => fields.push(path),
                    }
                }
            }
        },
        (Value::Scalar(a), Value::Scalar(b)) => {
            use basalt_model::yaml::ScalarStyle::Plain;
            // `1` and `"1"` are not the same value; `'a'` and `"a"` are.
            if a.text != b.text || is_special(a) != is_special(b) {
                fields.push(path.to_owned());
            }
            fn is_special(scalar: &basalt_model::yaml::Scalar) -> bool {
                use basalt_model::yaml::scalar::{as_bool, as_integer, is_null};
                let is_number = || scalar.text.parse::<f64>().is_ok();
                scalar.style == Plain
                    && (is_null(scalar)
                        || as_bool(scalar).is_some()
                        || as_integer(scalar).is_some()
                        || is_number())
            }
        }
        _ => fields.push(path.to_owned()),
    }
}

fn by_key(entries: &[(Yaml, Yaml)]) -> BTreeMap<&str, &Yaml> {
    entries
        .iter()
        .filter_map(|(key, value)| Some((key.as_scalar()?.text.as_str(), value)))
        .collect()
}

fn by_name(list: &[Yaml]) -> Option<BTreeMap<&str, &Yaml>> {
    let named: BTreeMap<&str, &Yaml> =
        list.iter().map(|item| Some((text(item, &["name"])?, item))).collect::<Option<_>>()?;
    (named.len() == list.len()).then_some(named)
}

fn shown(difference: &Difference) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        writeln!(out, "{}", visible(&text.to_string())).expect("memory takes all");
    };
    if let Some((old, new)) = difference.generation {
        line(format_args!("generation {old} → {new}"));
    }
    for object in &difference.removed {
        line(format_args!("- {object}"));
    }
    for object in &difference.added {
        line(format_args!("+ {object}"));
    }
    for Changed { object, fields } in &difference.changed {
        line(format_args!("~ {object}"));
        for field in fields {
            line(format_args!("    {field}"));
        }
    }
    for Moved { object, old, new } in &difference.moved {
        line(format_args!("> {object}: wave {old} → {new}"));
    }
    for LostVersion { definition, version, was_stored } in &difference.lost_versions {
        let stored = if *was_stored { ", in which objects are stored" } else { "" };
        line(format_args!("! {definition} loses the version {version}{stored}"));
    }
    for image in &difference.images_removed {
        line(format_args!("- image {image}"));
    }
    for image in &difference.images_added {
        line(format_args!("+ image {image}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use basalt_image::bundle::ContentFile;

    use super::*;

    fn read(generation: u64, files: &[(&str, &str)]) -> Side {
        let file = |(path, text): &(&str, &str)| ContentFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        let input = Input {
            path: "b".into(),
            files: files.iter().map(file).collect(),
            about: About::Folder(format!("generation: {generation}\n").into_bytes()),
            strangers: Vec::new(),
        };
        let checked = lint::check(&input);
        side(&input, checked)
    }

    const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: as.b.example}\nspec:\n  group: b.example\n  names: {kind: A, plural: as}\n  scope: Cluster\n  versions:\n  - {name: v1alpha1, served: true, storage: true}\n  - {name: v1, served: true, storage: false}\n";

    #[test]
    fn all_that_is_different() {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\n";
        let with = |rest: &str| format!("{map}{rest}");
        let (one, two) =
            (with("data: {a: 'x', b: \"1\"}\n"), with("data: {a: \"x\", b: \"2\", c: z}\n"));
        let old = read(1, &[("00-a/d.yaml", DEFINITION), ("10-b/a.yaml", &one)]);
        let new = DEFINITION.replace("v1alpha1, served: true", "v1alpha1, served: false");
        let other = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
        let new = read(2, &[("00-a/d.yaml", &new), ("00-a/n.yaml", other), ("20-b/a.yaml", &two)]);
        expect_test::expect![[r#"
            generation 1 → 2
            + v1 Namespace ns
            ~ v1 ConfigMap default/a
                data.b
                data.c
            ~ apiextensions.k8s.io/v1 CustomResourceDefinition as.b.example
                spec.versions[v1alpha1].served
            > v1 ConfigMap default/a: wave 10-b → 20-b
            ! as.b.example loses the version v1alpha1, in which objects are stored
        "#]]
        .assert_eq(&shown(&difference(&old, &new)));
        assert!(difference(&old, &old).is_none());
    }
}
