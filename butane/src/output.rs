//! The Ignition config that comes out, and its JSON.

use ignition_config::Config;
use serde_json::{Map, Value as Json};

use crate::tree::{Tree, Value};

/// A compiled config: it has passed all rules.
#[derive(Clone, Debug)]
pub struct IgnitionConfig {
    tree: Tree,
}

impl IgnitionConfig {
    /// `tree` has Ignition's names and no broken values.
    pub(crate) fn new(tree: Tree) -> IgnitionConfig {
        IgnitionConfig { tree }
    }

    /// The config as values of the `ignition-config` crate, for the specification it is written to.
    pub fn typed(&self) -> Config {
        let (config, unused) = Config::parse_str(&self.to_json()).expect(
            "the tables hold what the specification has, and required fields are always set",
        );
        debug_assert!(unused.is_empty(), "{unused:?}");
        config
    }

    /// JSON in one line, with a final newline: what a machine gets.
    pub fn to_json(&self) -> String {
        finish(serde_json::to_string(&json(&self.tree)))
    }

    /// JSON with two spaces of indentation and a final newline: what a person reviews.
    pub fn to_json_pretty(&self) -> String {
        finish(serde_json::to_string_pretty(&json(&self.tree)))
    }
}

fn json(tree: &Tree) -> Json {
    match &tree.value {
        Value::Text(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Flag(flag) => Json::Bool(*flag),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), json(value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::Broken => unreachable!("a config with broken values has errors"),
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
