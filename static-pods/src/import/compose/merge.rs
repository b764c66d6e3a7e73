//! How values of one compose file are put over those of another.
//!
//! Rules: <https://github.com/compose-spec/compose-spec/blob/main/13-merge.md>, and compose-go where it is silent.

use super::super::notes::Notes;
use super::tree::{Entry, Mark, Node, Value};

/// How two values of one field become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Mappings by key, lists one behind the other, of anything else the later one.
    Plain,
    /// The later one.
    Replace,
    /// `NAME=VALUE` by name, however they are written.
    Pairs,
    /// A list, of which a text is one item.
    Sequence,
    /// A mapping, of which a list has the keys.
    Names,
}

/// The rule for a path, `services.web.command`.
fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"] => Rule::Replace,
        ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "annotations" | "environment" | "labels" | "sysctls"] => Rule::Pairs,
        ["services", _, "deploy", "labels"] => Rule::Pairs,
        ["networks" | "volumes" | "secrets" | "configs", _, "labels"] => Rule::Pairs,
        [
            "services",
            _,
            "dns" | "dns_opt" | "dns_search" | "env_file" | "extra_hosts" | "label_file" | "tmpfs",
        ] => Rule::Sequence,
        ["services", _, "depends_on" | "models" | "networks"] => Rule::Names,
        ["services", _, "ulimits", _] => Rule::Plain,
        _ => Rule::Plain,
    }
}

/// `over` put over `base`, both at `path`. What stays of neither is noted.
pub(super) fn merged(base: Node, over: Node, path: &[&str], notes: &mut Notes) -> Node {
    if over.mark.is_some() {
        replaced(&base, path, notes);
        return over;
    }
    if base.mark == Some(Mark::Reset) {
        return over;
    }
    let rule = rule(path);
    let (spot, mark) = (base.spot.clone(), base.mark);
    let value = match rule {
        Rule::Replace => {
            replaced(&base, path, notes);
            return over;
        }
        Rule::Pairs => Value::Map(entries(pairs(base), pairs(over), path, notes)),
        Rule::Names => Value::Map(entries(names(base), names(over), path, notes)),
        Rule::Sequence => Value::List(items(sequence(base), sequence(over), path, notes)),
        Rule::Plain => match (base.value, over.value) {
            (base, Value::Null) => base,
            (Value::Map(base), Value::Map(over)) => Value::Map(entries(base, over, path, notes)),
            (Value::List(base), Value::List(over)) => Value::List(items(base, over, path, notes)),
            (Value::Null | Value::Text(_), value) => {
                notes.carried(&spot.at(&path.join(".")), REPLACED);
                return Node { value, ..over };
            }
            // A limit may be a number for both, or a mapping.
            (_, value) if matches!(path, ["services", _, "ulimits", _]) => {
                notes.carried(&spot.at(&path.join(".")), REPLACED);
                return Node { value, ..over };
            }
            (base, _) => {
                let message = format!(
                    "it is of another kind than what it is merged over, {}:{}",
                    spot.origin.file, spot.place
                );
                let remedy = "write both alike, or put `!override` before the later one";
                notes.invalid(&over.spot.at(&path.join(".")), message, Some(remedy));
                base
            }
        },
    };
    Node { spot, mark, value }
}

const REPLACED: &str = "a later file, or the service that extends it, says what holds";
const ADDED: &str = "merged with what stands in the other place";

fn replaced(base: &Node, path: &[&str], notes: &mut Notes) {
    notes.carried(&base.spot.at(&path.join(".")), REPLACED);
}

fn entries(base: Vec<Entry>, over: Vec<Entry>, path: &[&str], notes: &mut Notes) -> Vec<Entry> {
    let mut made = base;
    for entry in over {
        let path: Vec<&str> = path.iter().copied().chain([entry.key.as_str()]).collect();
        let setting = path.join(".");
        let Some(known) = made.iter_mut().find(|known| known.key == entry.key) else {
            made.push(entry);
            continue;
        };
        let was = Entry { spot: known.spot.clone(), key: String::new(), node: known.node.clone() };
        let node = merged(was.node, entry.node.clone(), &path, notes);
        // What is replaced stands where its successor does.
        if std::ptr::eq(&*node.spot.origin, &*entry.node.spot.origin)
            && node.spot.place == entry.node.spot.place
        {
            notes.carried(&known.spot.at(&setting), REPLACED);
            known.spot = entry.spot.clone();
        } else {
            notes.carried(&entry.spot.at(&setting), ADDED);
        }
        known.node = node;
    }
    made
}

/// Both lists, without what is there already; an item takes the place of the one that stands for the same thing.
fn items(base: Vec<Node>, over: Vec<Node>, path: &[&str], notes: &mut Notes) -> Vec<Node> {
    let mut made = base;
    for item in over {
        let key = key(path, &item);
        let is_same = |known: &Node| {
            is_equal(known, &item) || (key.is_some() && key == self::key(path, known))
        };
        match made.iter_mut().find(|known| is_same(known)) {
            Some(known) => {
                notes.carried(&known.spot.at(&path.join(".")), REPLACED);
                *known = item;
            }
            None => made.push(item),
        }
    }
    made
}

/// What only one item of a list may have.
fn key(path: &[&str], item: &Node) -> Option<String> {
    let ["services", _, field] = path else { return None };
    let target = || item.text_of("target").map(str::to_owned);
    let text = item.text();
    match (*field, text) {
        ("volumes", Some(text)) => {
            let mut parts = text.split(':');
            let first = parts.next()?;
            Some(parts.next().unwrap_or(first).trim_end_matches('/').to_owned())
        }
        ("devices", Some(text)) => text.split(':').take(2).last().map(str::to_owned),
        ("volumes" | "devices", None) => target(),
        ("secrets" | "configs", _) => {
            let folder = if *field == "secrets" { "/run/secrets" } else { "" };
            let name = || Some(format!("{folder}/{}", text.or_else(|| item.text_of("source"))?));
            target().or_else(name)
        }
        ("env_file", _) => text.or_else(|| item.text_of("path")).map(str::to_owned),
        ("tmpfs" | "dns" | "dns_opt" | "dns_search" | "links", Some(text)) => {
            text.split('=').next().map(str::to_owned)
        }
        _ => None,
    }
}

fn is_equal(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Null, Value::Null) => true,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let has = |entry: &Entry| {
                b.iter().any(|other| other.key == entry.key && is_equal(&entry.node, &other.node))
            };
            a.len() == b.len() && a.iter().all(has)
        }
        _ => false,
    }
}

fn pairs(node: Node) -> Vec<Entry> {
    match node.value {
        Value::Map(entries) => entries,
        Value::List(items) => {
            let mut made: Vec<Entry> = Vec::new();
            for item in items {
                let text = item.text().unwrap_or_default();
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
                    None => (text.to_owned(), Value::Null),
                };
                made.retain(|known| known.key != key);
                let spot = item.spot.clone();
                made.push(Entry { key, spot, node: Node { value, ..item } });
            }
            made
        }
        Value::Null | Value::Text(_) => Vec::new(),
    }
}

fn names(node: Node) -> Vec<Entry> {
    match node.value {
        Value::Map(entries) => entries,
        Value::List(items) => items.into_iter().filter_map(name).collect(),
        Value::Text(_) => name(node).into_iter().collect(),
        Value::Null => Vec::new(),
    }
}

fn name(node: Node) -> Option<Entry> {
    let key = node.text()?.to_owned();
    Some(Entry { key, spot: node.spot.clone(), node: Node { value: Value::Null, ..node } })
}

fn sequence(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        Value::Text(_) => vec![node],
        Value::Null => Vec::new(),
        Value::Map(entries) => entries
            .into_iter()
            .flat_map(|entry| {
                let values = match entry.node.value {
                    Value::List(items) => items,
                    value => vec![Node { value, ..entry.node }],
                };
                values.into_iter().map(move |node| {
                    let text = match node.text() {
                        Some(text) => format!("{}={text}", entry.key),
                        None => entry.key.clone(),
                    };
                    Node { value: Value::Text(text), spot: entry.spot.clone(), ..node }
                })
            })
            .collect(),
    }
}

/// The value without what `!reset` left out.
pub(super) fn without_resets(node: Node) -> Node {
    let value = match node.value {
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .filter(|entry| entry.node.mark != Some(Mark::Reset))
                .map(|entry| Entry { node: without_resets(entry.node), ..entry })
                .collect(),
        ),
        Value::List(items) => Value::List(items.into_iter().map(without_resets).collect()),
        value => value,
    };
    Node { value, ..node }
}
