//! The values of a compose file: aliases and merge keys followed, variables put in.

use std::collections::BTreeMap;
use std::rc::Rc;

use basalt_model::report::{Place, Report};
use basalt_model::yaml::{self, Yaml};

use super::super::interpolate::{Wrong, interpolated};
use super::super::notes::{At, Notes};
use super::super::secrets::is_secret;

/// A file, and where the paths in it begin.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// As it is shown.
    pub(super) file: String,
    /// The file that a person named, by whose folder relative paths are found.
    pub(super) from: String,
    /// What goes before relative paths: where the file is, seen from that folder.
    pub(super) base: String,
}

/// A place in a file.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) origin: Rc<Origin>,
    pub(super) place: Place,
}

impl Spot {
    pub(super) fn at(&self, setting: &str) -> At {
        At { file: self.origin.file.clone(), place: self.place, setting: setting.to_owned() }
    }
}

/// What a value does to those that it is merged over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// `!reset`: neither that value nor this one is there.
    Reset,
    /// `!override`: only this one is there.
    Override,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) spot: Spot,
    pub(super) mark: Option<Mark>,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    /// Any scalar, as it is written.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) spot: Spot,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The entries of a mapping; nothing of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// The items of a list; anything else but nothing is one by itself.
    pub(super) fn items(&self) -> Vec<&Node> {
        match &self.value {
            Value::List(items) => items.iter().collect(),
            Value::Null => Vec::new(),
            Value::Text(_) | Value::Map(_) => vec![self],
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The text of the member `key`.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }
}

/// Reads a compose file. What is wrong with it is noted.
pub(super) fn read(
    origin: &Rc<Origin>,
    text: &str,
    variables: &BTreeMap<String, String>,
    notes: &mut Notes,
) -> Option<Node> {
    let mut report = Report::new(&origin.file);
    let stream = yaml::parse(text.as_bytes(), &mut report);
    for finding in report.into_findings() {
        let at = At { file: finding.file, place: finding.place, setting: finding.path };
        notes.invalid(&at, finding.message, finding.hint.as_deref());
    }
    let stream = stream?;
    if let Some(place) = stream.second {
        let at = At { place, ..At::start_of(&origin.file) };
        notes.invalid(&at, "a second document begins here", Some("give it as a file of its own"));
    }
    let mut reader = Reader { origin, variables, notes };
    Some(reader.node(&stream.first?, ""))
}

/// The variables with secrets replaced by a reference to themselves.
pub(super) fn hidden(variables: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let hide = |(name, value): (String, String)| {
        let value = if is_secret(&name, &value) { reference(&name) } else { value };
        (name, value)
    };
    variables.into_iter().map(hide).collect()
}

/// Whether the value of a variable is a reference to itself, see [`hidden`].
pub(super) fn is_hidden(name: &str, value: &str) -> bool {
    value == reference(name)
}

fn reference(name: &str) -> String {
    format!("${{{name}}}")
}

struct Reader<'r> {
    origin: &'r Rc<Origin>,
    variables: &'r BTreeMap<String, String>,
    notes: &'r mut Notes,
}

impl Reader<'_> {
    fn node(&mut self, yaml: &Yaml, path: &str) -> Node {
        let place = yaml.place;
        let mark = match yaml.tag.as_deref().or(yaml.resolved().tag.as_deref()) {
            Some("!reset") => Some(Mark::Reset),
            Some("!override") => Some(Mark::Override),
            _ => None,
        };
        let value = match &yaml.resolved().value {
            yaml::Value::Scalar(_) if yaml.is_null() || mark == Some(Mark::Reset) => Value::Null,
            yaml::Value::Scalar(scalar) => Value::Text(self.text(&scalar.text, place, path)),
            yaml::Value::List(items) => {
                let item =
                    |(index, item): (usize, &Yaml)| self.node(item, &format!("{path}[{index}]"));
                let items = items.iter().enumerate().map(item);
                Value::List(items.filter(|item| item.mark != Some(Mark::Reset)).collect())
            }
            yaml::Value::Map(entries) => Value::Map(self.entries(entries, path)),
            yaml::Value::Alias(_) => Value::Null,
        };
        Node { spot: self.spot(place), mark, value }
    }

    /// Entries with those that `<<` merges in, which the mapping's own and earlier ones go before.
    fn entries(&mut self, entries: &[(Yaml, Yaml)], path: &str) -> Vec<Entry> {
        let mut made: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.as_scalar().map(|scalar| scalar.text.clone()) else {
                let at = self.at(key.place, path);
                self.notes.invalid(&at, "a key has to be text", None);
                continue;
            };
            if name != "<<" {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let node = self.node(value, &path);
                made.push(Entry { key: name, spot: self.spot(key.place), node });
                continue;
            }
            let sources: Vec<&Yaml> = match &value.resolved().value {
                yaml::Value::List(items) => items.iter().collect(),
                _ => vec![value],
            };
            for source in sources {
                match &source.resolved().value {
                    yaml::Value::Map(entries) => {
                        let found = self.entries(entries, path);
                        merged.extend(found);
                    }
                    _ => {
                        let at = self.at(source.place, path);
                        self.notes.invalid(&at, "only a mapping can be merged in", None);
                    }
                }
            }
        }
        for entry in merged {
            if !made.iter().any(|known| known.key == entry.key) {
                made.push(entry);
            }
        }
        made
    }

    fn text(&mut self, text: &str, place: Place, path: &str) -> String {
        // Extensions are read by nobody.
        if path.starts_with("x-") {
            return text.to_owned();
        }
        let (made, wrong) = interpolated(text, self.variables);
        for (name, value) in self.variables {
            // It stands for itself, see `hidden`.
            if is_hidden(name, value) && made.contains(value.as_str()) {
                self.notes.broken(
                    &self.at(place, path),
                    format!("the variable `{name}` is a secret, and is not put in"),
                    "let vault-agent write it into a file, and let the program read that",
                );
            }
        }
        for wrong in wrong {
            let at = self.at(place, path);
            match wrong {
                Wrong::Unset(name) => self.notes.broken(
                    &at,
                    format!("nothing that was given sets the variable `{name}`: it is left empty"),
                    "set it in `.env` beside the file, or write a default",
                ),
                Wrong::Required(name) => self.notes.invalid(
                    &at,
                    format!("the variable `{name}` has to be set"),
                    Some("set it in `.env` beside the file"),
                ),
                Wrong::Syntax => self.notes.invalid(
                    &at,
                    "a `$` begins no variable",
                    Some("write `$$` where a `$` is meant"),
                ),
            }
        }
        made
    }

    fn spot(&self, place: Place) -> Spot {
        Spot { origin: Rc::clone(self.origin), place }
    }

    fn at(&self, place: Place, path: &str) -> At {
        self.spot(place).at(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Rc<Origin> {
        Rc::new(Origin { file: "f".to_owned(), from: "f".to_owned(), base: String::new() })
    }

    #[test]
    fn merge_keys() {
        let text = "x-a: &a {k: 1, l: 2}\nx-b: &b {l: 3, m: 4}\ns:\n  <<: [*a, *b]\n  k: 5\n";
        let mut notes = Notes::default();
        let root = read(&origin(), text, &BTreeMap::new(), &mut notes).unwrap();
        let merged = root.get("s").unwrap();
        let seen: Vec<_> =
            merged.entries().iter().map(|e| (e.key.as_str(), e.node.text().unwrap())).collect();
        assert_eq!(seen, [("k", "5"), ("l", "2"), ("m", "4")]);
        assert!(notes.0.is_empty(), "{:?}", notes.0);
    }

    #[test]
    fn what_is_wrong() {
        for (text, expected) in [
            ("a: [", "f:2:1: error: not YAML"),
            ("a: 1\n---\nb: 1\n", "a second document begins here"),
            ("a:\n  <<: 1\n", "only a mapping can be merged in"),
            ("a: ${B:?}\n", "the variable `B` has to be set"),
            ("a: 1\na: 2\n", "already set"),
        ] {
            let mut notes = Notes::default();
            read(&origin(), text, &BTreeMap::new(), &mut notes);
            let all = notes.0.iter().map(ToString::to_string).collect::<String>();
            assert!(all.contains(expected), "{text}: {all}");
        }
    }
}
