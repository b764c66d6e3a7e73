//! Manifests of the corpus, changed: as trees, as lines, and as bytes.

use basalt_model::report::Report;
use basalt_model::yaml::{ScalarStyle, Value, Yaml, parse_first};

use crate::generate::{self, scalar};
use crate::odd;
use crate::random::Random;
use crate::types::{Field, Kind, fields_of, inner};
use crate::yaml::Node;

/// The tree of a manifest; `None` when it is not one that could be written out again.
pub(crate) fn tree(text: &[u8]) -> Option<Node> {
    let mut report = Report::new("");
    parse_first(text, &mut report)?
        .first
        .map(|yaml| node(&yaml))
        .filter(|node| matches!(node, Node::Map(_)))
}

fn node(yaml: &Yaml) -> Node {
    match &yaml.resolved().value {
        Value::Scalar(scalar) if scalar.style == ScalarStyle::Plain => {
            let tag = yaml.tag.as_deref().and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
            Node::Scalar(match tag {
                Some(tag) => format!("!!{tag} {}", scalar.text),
                None => scalar.text.clone(),
            })
        }
        Value::Scalar(scalar) => Node::Scalar(serde_json::to_string(&scalar.text).unwrap()),
        Value::List(items) => Node::List(items.iter().map(node).collect()),
        Value::Map(entries) => {
            let entry = |(key, value): &(Yaml, Yaml)| match node(key) {
                Node::Scalar(key) => (key, node(value)),
                _ => ("a".to_owned(), node(value)),
            };
            Node::Map(entries.iter().map(entry).collect())
        }
        Value::Alias(_) => unreachable!("resolved"),
    }
}

/// Changes a few things in a tree.
pub(crate) fn alter(root: &mut Node, donors: &[Node], random: &mut Random) {
    for _ in 0..*random.pick(&[1, 1, 1, 2, 3]) {
        let count = count(root);
        let mut at = random.below(count);
        change(root, "Pod", &mut at, donors, random);
    }
}

fn count(node: &Node) -> usize {
    1 + match node {
        Node::Map(entries) => entries.iter().map(|(_, node)| count(node)).sum(),
        Node::List(items) => items.iter().map(count).sum(),
        Node::Prefixed(_, node) => count(node),
        Node::Scalar(_) | Node::Block(_) => 0,
    }
}

/// Changes the value that comes `at` places behind, of those in source order.
fn change(
    node: &mut Node,
    kind: Kind,
    at: &mut usize,
    donors: &[Node],
    random: &mut Random,
) -> bool {
    if *at == 0 {
        here(node, kind, donors, random);
        return true;
    }
    *at -= 1;
    match node {
        Node::Map(entries) => entries.iter_mut().any(|(key, node)| {
            let kind = kind_below(kind, key);
            change(node, kind, at, donors, random)
        }),
        Node::List(items) => {
            let kind = inner(kind).unwrap_or("any");
            items.iter_mut().any(|node| change(node, kind, at, donors, random))
        }
        Node::Prefixed(_, node) => change(node, kind, at, donors, random),
        Node::Scalar(_) | Node::Block(_) => false,
    }
}

fn kind_below(kind: Kind, key: &str) -> Kind {
    match fields_of(kind) {
        Some(fields) => fields.iter().find(|field| field.name == key).map_or("any", |f| f.kind),
        None => inner(kind).unwrap_or("any"),
    }
}

fn here(node: &mut Node, kind: Kind, donors: &[Node], random: &mut Random) {
    match node {
        Node::Map(entries) => match (random.below(8), fields_of(kind)) {
            (0, _) if !entries.is_empty() => drop(entries.remove(random.below(entries.len()))),
            (1, _) if !entries.is_empty() => {
                let again = entries[random.below(entries.len())].clone();
                entries.push(again);
            }
            (2, _) => entries.push(((*random.pick(odd::KEYS)).to_owned(), scalar("a"))),
            (3, Some(_)) => {
                // The same object of another manifest.
                let mut found = Vec::new();
                donors.iter().for_each(|donor| of_kind(donor, "Pod", kind, &mut found));
                if !found.is_empty() && kind != "Pod" {
                    *node = (*random.pick(&found)).clone();
                }
            }
            (4, _) => *node = scalar(random.pick(odd::COLLECTIONS)),
            (_, Some(fields)) if !fields.is_empty() && kind != "PodStatus" => {
                let field: &'static Field = random.pick(fields);
                let value = generate::value(kind, *field, random, 10);
                entries.retain(|(key, _)| key != field.name);
                entries.push((field.name.to_owned(), value));
            }
            _ => *node = scalar(random.pick(odd::COLLECTIONS)),
        },
        Node::List(items) => match random.below(4) {
            0 if !items.is_empty() => drop(items.remove(random.below(items.len()))),
            1 if !items.is_empty() => {
                let again = items[random.below(items.len())].clone();
                items.push(again);
            }
            2 => items.push(scalar(random.pick(odd::COLLECTIONS))),
            _ => *node = scalar(random.pick(odd::COLLECTIONS)),
        },
        Node::Scalar(_) | Node::Block(_) | Node::Prefixed(_, _) => {
            let pool = match kind {
                "integer32" | "integer64" | "number-or-text" => odd::NUMBERS,
                "flag" => odd::FLAGS,
                "quantity" => odd::QUANTITIES,
                _ => odd::TEXTS,
            };
            let pool = if random.percent(10) { odd::COLLECTIONS } else { pool };
            *node = scalar(random.pick(pool));
        }
    }
}

fn of_kind<'n>(node: &'n Node, kind: Kind, wanted: Kind, found: &mut Vec<&'n Node>) {
    if kind == wanted {
        found.push(node);
    }
    match node {
        Node::Map(entries) => {
            entries
                .iter()
                .for_each(|(key, node)| of_kind(node, kind_below(kind, key), wanted, found));
        }
        Node::List(items) => {
            let kind = inner(kind).unwrap_or("any");
            items.iter().for_each(|node| of_kind(node, kind, wanted, found));
        }
        Node::Scalar(_) | Node::Block(_) | Node::Prefixed(_, _) => {}
    }
}

/// Changes a few bytes of a text.
pub(crate) fn garble(text: &mut Vec<u8>, random: &mut Random) {
    const PIECES: &[&[u8]] = &[
        b"\n",
        b" ",
        b"  ",
        b"\t",
        b":",
        b": ",
        b"-",
        b"- ",
        b"#",
        b" #",
        b"\"",
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"&a ",
        b"*a",
        b"!",
        b"!!",
        b"|",
        b">",
        b"%",
        b"@",
        b"`",
        b"---\n",
        b"...\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"<<: ",
        b"? ",
        b"~",
        b"null",
        b"\\",
        b"0",
        b"1",
        b"-1",
        b"e",
        b".",
        b"\x7f",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbe",
        b"\xc2\xa0",
    ];
    for _ in 0..*random.pick(&[1, 1, 1, 2]) {
        let at = random.below(text.len() + 1);
        match random.below(3) {
            0 => {
                let end = (at + 1 + random.below(4)).min(text.len());
                text.drain(at..end);
            }
            1 => {
                let piece = *random.pick(PIECES);
                text.splice(at..at, piece.iter().copied());
            }
            _ => {
                let piece = *random.pick(PIECES);
                let end = (at + 1).min(text.len());
                text.splice(at..end, piece.iter().copied());
            }
        }
    }
}
