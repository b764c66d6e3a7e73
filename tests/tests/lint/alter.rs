//! Manifests of the corpus, changed: as trees, as lines, and as bytes.

use basalt_model::report::Report;
use basalt_model::yaml::{ScalarStyle, Value, Yaml, parse_first};
use basalt_static_pods::lint::fields::{POD, Takes};

use crate::generate::{self, scalar};
use crate::odd;
use crate::random::Random;
use crate::types::{ROOT, below, inner};
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
        change(root, ROOT, &mut at, donors, random);
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
    takes: &'static Takes,
    at: &mut usize,
    donors: &[Node],
    random: &mut Random,
) -> bool {
    if *at == 0 {
        here(node, takes, donors, random);
        return true;
    }
    *at -= 1;
    match node {
        Node::Map(entries) => entries
            .iter_mut()
            .any(|(key, node)| change(node, below(takes, key), at, donors, random)),
        Node::List(items) => {
            let takes = inner(takes).unwrap_or(&Takes::Any);
            items.iter_mut().any(|node| change(node, takes, at, donors, random))
        }
        Node::Prefixed(_, node) => change(node, takes, at, donors, random),
        Node::Scalar(_) | Node::Block(_) => false,
    }
}

fn here(node: &mut Node, takes: &'static Takes, donors: &[Node], random: &mut Random) {
    match node {
        Node::Map(entries) => match (random.below(8), takes) {
            (0, _) if !entries.is_empty() => drop(entries.remove(random.below(entries.len()))),
            (1, _) if !entries.is_empty() => {
                let again = entries[random.below(entries.len())].clone();
                entries.push(again);
            }
            (2, _) => entries.push(((*random.pick(odd::KEYS)).to_owned(), scalar("a"))),
            (3, Takes::Object(_)) => {
                // The same object of another manifest.
                let mut found = Vec::new();
                donors.iter().for_each(|donor| of_type(donor, ROOT, takes, &mut found));
                if !found.is_empty() && takes != ROOT {
                    *node = (*random.pick(&found)).clone();
                }
            }
            (4, _) => *node = scalar(random.pick(odd::COLLECTIONS)),
            (_, Takes::Object(of)) if *of != "PodStatus" => {
                let field = random.pick(POD.fields_of(of));
                let value = generate::value(of, field, random, 10);
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
            let pool = odd::scalars(takes);
            let pool = if random.percent(10) { odd::COLLECTIONS } else { pool };
            *node = scalar(random.pick(pool));
        }
    }
}

fn of_type<'n>(node: &'n Node, takes: &'static Takes, wanted: &Takes, found: &mut Vec<&'n Node>) {
    if takes == wanted {
        found.push(node);
    }
    match node {
        Node::Map(entries) => {
            entries.iter().for_each(|(key, node)| of_type(node, below(takes, key), wanted, found));
        }
        Node::List(items) => {
            let takes = inner(takes).unwrap_or(&Takes::Any);
            items.iter().for_each(|node| of_type(node, takes, wanted, found));
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
        b"!!str <<: ",
        b"%YAML 1.1\n---\n",
        b"%YAML 1.2\n---\n",
        b"%TAG !e! tag:a\n---\n",
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
    // What stands before a document, and how its characters are written, is for its reader alone.
    if random.percent(3) {
        let before: [&[u8]; 5] = [
            b"%YAML 1.1\n---\n",
            b"%YAML 1.2\n---\n",
            b"# a\n%YAML 1.0\n---\n",
            b"%FOO a\n---\n",
            b"\xef\xbb\xbf",
        ];
        text.splice(0..0, random.pick(&before).iter().copied());
    }
    if random.percent(3) {
        let units: Vec<u16> = String::from_utf8_lossy(text).encode_utf16().collect();
        let is_little = random.percent(50);
        let bytes = |unit: &u16| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        *text = [0xfeff].iter().chain(&units).flat_map(bytes).collect();
        if random.percent(10) {
            text.pop();
        }
    }
}
