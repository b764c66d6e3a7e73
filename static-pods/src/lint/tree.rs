//! A manifest as the kubelet sees it before it knows that it is a pod: JSON values, each with its place in the text.

use std::fmt;

use basalt_model::report::Place;
use serde_json::Value as Json;

use crate::objects::number;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What stands at a place.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Flag(bool),
    /// As JSON writes it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In source order; keys may repeat, and the last of them counts.
    Map(Vec<Entry>),
}

/// A key of a mapping, with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// The value without places. Of keys that repeat, the last counts.
    pub(super) fn into_json(self) -> Json {
        match self.value {
            Value::Null => Json::Null,
            Value::Flag(flag) => Json::Bool(flag),
            // A number beyond what JSON readers hold stays the text that it is.
            Value::Number(text) => number(&text).map_or(Json::String(text), Json::Number),
            Value::Text(text) => Json::String(text),
            Value::List(items) => items.into_iter().map(Node::into_json).collect(),
            Value::Map(entries) => {
                entries.into_iter().map(|entry| (entry.key, entry.value.into_json())).collect()
            }
        }
    }
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> String {
        match self {
            Value::Null => "nothing".to_owned(),
            Value::Flag(flag) => format!("the boolean `{flag}`"),
            Value::Number(number) => format!("the number `{}`", beginning(number)),
            Value::Text(text) => format!("the text `{}`", beginning(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// As much of a text as a message may repeat.
pub(super) fn beginning(text: &str) -> String {
    const MOST: usize = 60;
    let shown: String = text.chars().take(MOST).collect();
    let rest = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("{}{rest}", shown.escape_debug())
}

/// A field of a manifest, whether it is there or not.
///
/// What has the wrong kind reads as absent: decoding has already said so.
#[derive(Clone, Debug)]
pub(super) struct At<'t> {
    node: Option<&'t Node>,
    /// Of the value; of what it would belong to when it is not there.
    pub(super) place: Place,
    /// `spec.containers[0].image`.
    pub(super) path: String,
}

impl<'t> At<'t> {
    /// The whole document.
    pub(super) fn root(node: &'t Node) -> At<'t> {
        At { node: Some(node), place: node.place, path: String::new() }
    }

    /// The field `name` of a mapping.
    pub(super) fn get(&self, name: &str) -> At<'t> {
        let entry = self.map().iter().rev().find(|entry| entry.key == name);
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        match entry {
            Some(entry) => {
                // Of nothing, only the key can be shown.
                let is_nothing = matches!(entry.value.value, Value::Null);
                let place = if is_nothing { entry.place } else { entry.value.place };
                At { node: Some(&entry.value), place, path }
            }
            None => At { node: None, place: self.place, path },
        }
    }

    /// The field at the end of `names`.
    pub(super) fn follow<const N: usize>(&self, names: [&str; N]) -> At<'t> {
        names.iter().fold(self.clone(), |at, name| at.get(name))
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<At<'t>> {
        let Some(Value::List(items)) = self.value() else { return Vec::new() };
        let item = |(index, node): (usize, &'t Node)| At {
            node: Some(node),
            place: node.place,
            path: format!("{}[{index}]", self.path),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The entries of a mapping whose keys are data, the last of each key.
    pub(super) fn entries(&self) -> Vec<(&'t str, At<'t>)> {
        let map = self.map();
        let is_last =
            |index: usize| !map[index + 1..].iter().any(|later| later.key == map[index].key);
        let entry = |entry: &'t Entry| {
            let path = format!("{}[{}]", self.path, entry.key);
            (entry.key.as_str(), At { node: Some(&entry.value), place: entry.place, path })
        };
        (0..map.len()).filter(|index| is_last(*index)).map(|index| entry(&map[index])).collect()
    }

    /// All entries of a mapping, also those that a later one replaces.
    pub(super) fn map(&self) -> &'t [Entry] {
        match self.value() {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        }
    }

    pub(super) fn value(&self) -> Option<&'t Value> {
        self.node.map(|node| &node.value)
    }

    /// Whether there is a value other than null.
    pub(super) fn is_set(&self) -> bool {
        self.value().is_some_and(|value| !matches!(value, Value::Null))
    }

    /// The text; empty when there is none, as in the kubelet.
    pub(super) fn text(&self) -> &'t str {
        match self.value() {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The integer, when there is one.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.value() {
            Some(Value::Number(number)) => number.parse().ok(),
            _ => None,
        }
    }

    /// The boolean, when there is one.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.value() {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// Whether the boolean is there and true.
    pub(super) fn is_true(&self) -> bool {
        self.flag() == Some(true)
    }

    /// The texts of a list of texts.
    pub(super) fn texts(&self) -> Vec<&'t str> {
        self.items().iter().map(At::text).collect()
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}
