//! The Ignition config that comes out, and its JSON.

use ignition_config::Config;
use serde_json::{Map, Value as Json};

use crate::schema::config::CONFIG;
use crate::schema::{Kind, Type};
use crate::tree::{Tree, Value};
use crate::version::{Spec, Target};

/// A compiled config: it has passed all rules.
#[derive(Clone, Debug)]
pub struct IgnitionConfig {
    tree: Tree,
    target: &'static Target,
}

impl IgnitionConfig {
    /// `tree` has Ignition's names and no broken values.
    pub(crate) fn new(tree: Tree, target: &'static Target) -> IgnitionConfig {
        IgnitionConfig { tree, target }
    }

    /// The config as values of the `ignition-config` crate, for the specification it is written to; absent for an
    /// experimental one, which the crate does not know.
    pub fn typed(&self) -> Option<Config> {
        if self.target.spec == Spec::V3_7 {
            return None;
        }
        let (config, unused) = Config::parse_str(&self.to_json()).expect(
            "the tables hold what the specification has, and required fields are always set",
        );
        debug_assert!(unused.is_empty(), "{unused:?}");
        Some(config)
    }

    /// The version of the specification it is written to: `3.3.0`.
    pub fn version(&self) -> &'static str {
        self.target.spec.as_str()
    }

    /// The config with the places it comes from.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The config as a tree of JSON values.
    pub(crate) fn to_value(&self) -> Json {
        object(&self.tree, &CONFIG, self.target)
    }

    /// JSON in one line, with a final newline: what a machine gets.
    pub fn to_json(&self) -> String {
        finish(serde_json::to_string(&self.to_value()))
    }

    /// JSON with two spaces of indentation and a final newline: what a person reviews.
    pub fn to_json_pretty(&self) -> String {
        finish(serde_json::to_string_pretty(&self.to_value()))
    }
}

/// How long `json` is when it is printed in one line.
pub(crate) fn printed_bytes(json: &Json) -> usize {
    // The newline behind it is not part of it.
    finish(serde_json::to_string(json)).len() - 1
}

/// A mapping of type `ty`, without the fields that say nothing.
fn object(tree: &Tree, ty: &'static Type, target: &'static Target) -> Json {
    let entries = tree.entries().iter().filter_map(|(name, value)| {
        let field = ty.ignition_field(name, target)?;
        let kind = field.kind;
        let json = match kind {
            Kind::Map(ty) => object(value, ty, target),
            Kind::Maps(ty, _) => value.list().iter().map(|item| object(item, ty, target)).collect(),
            Kind::Texts(_) => value.list().iter().map(scalar).collect(),
            _ => scalar(value),
        };
        (field.kept_when_empty || !says_nothing(&json, kind)).then(|| ((*name).to_owned(), json))
    });
    Json::Object(entries.collect::<Map<_, _>>())
}

fn scalar(tree: &Tree) -> Json {
    match &tree.value {
        Value::Text(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Flag(flag) => Json::Bool(*flag),
        Value::List(_) | Value::Map(_) | Value::Labels(_) | Value::Broken => {
            unreachable!("the tables hold what a config has, and one with broken values has errors")
        }
    }
}

fn says_nothing(json: &Json, kind: Kind) -> bool {
    match (json, kind) {
        (Json::Object(fields), _) => fields.is_empty(),
        (Json::Array(items), _) => items.is_empty(),
        (Json::Number(number), Kind::Number) => number.as_i64() == Some(0),
        (Json::String(text), Kind::FilledText) => text.is_empty(),
        _ => false,
    }
}

/// Go's encoder escapes what could end a script in HTML, and two line ends that JavaScript does not know in text. All
/// of them occur only in texts, never between them.
fn finish(json: serde_json::Result<String>) -> String {
    let json = json.expect("a tree has text keys only");
    let mut escaped = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            character => escaped.push(character),
        }
    }
    escaped.push('\n');
    escaped
}
