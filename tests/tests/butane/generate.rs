//! Configs from the reference's fields and our [pools]: mostly good, with a few twists each.

use crate::case::{Case, Source};
use crate::odd;
use crate::pools::{self, Pool};
use crate::random::Random;
use crate::reference::{Field, Kind, Specification, Wanted};
use crate::yaml::{Node, Style};

/// What a mapping is useless without.
const NEEDED: &[&str] = &[
    "path",
    "name",
    "device",
    "devices",
    "level",
    "target",
    "url",
    "thumbprint",
    "pin",
    "config",
    "metadata",
    "labels",
    "number",
];

/// Fields of which one is enough.
const EXCLUSIVE: &[&[&str]] = &[&["source", "inline", "local"], &["contents", "contents_local"]];

/// Makes the config of this seed.
pub(crate) fn case(specifications: &[Specification], seed: u64) -> Case {
    let mut random = Random::new(seed);
    let specification = random.pick(specifications);
    let twist = *random.pick(&[0, 0, 0, 1, 1, 2, 4, 8, 15]);
    let focus = 1 + random.below(3);
    let mut generator =
        Generator { random, specifications, twist, anchors: 0, sections: Vec::new() };
    for _ in 0..focus {
        let section = generator.section(specification);
        generator.sections.push(section);
    }
    let mut entries = vec![
        ("variant".to_owned(), Node::Scalar(specification.variant.clone())),
        ("version".to_owned(), Node::Scalar(specification.version.clone())),
    ];
    for field in &specification.fields {
        if matches!(field.name.as_str(), "variant" | "version") {
            continue;
        }
        let is_needed = field.name == "metadata" && !generator.is_twist();
        if is_needed || generator.is_in_focus(&field.name) {
            let node = generator.value(field, &field.name);
            entries.push((field.name.clone(), node));
        }
    }
    let random = &mut generator.random;
    if random.percent(10) {
        let at = random.below(entries.len());
        let entry = entries.remove(at);
        entries.push(entry);
    }
    let style = Style {
        indent: *random.pick(&[2, 2, 2, 4, 3]),
        indents_lists: random.percent(70),
        flow_from: *random.pick(&[usize::MAX, usize::MAX, usize::MAX, 2, 3, 4]),
        carriage_returns: random.percent(3),
    };
    let wanted = if random.percent(60) { Wanted::Variant } else { Wanted::Ignition };
    Case { source: Source::Tree(Node::Map(entries), style), wanted }
}

struct Generator<'s> {
    random: Random,
    specifications: &'s [Specification],
    /// How likely a value is not what is wanted, in percent.
    twist: usize,
    anchors: usize,
    /// What the config is about: paths of one or two names.
    sections: Vec<String>,
}

impl Generator<'_> {
    fn is_twist(&mut self) -> bool {
        let twist = self.twist;
        self.random.percent(twist)
    }

    /// A part of the config to write about.
    fn section(&mut self, specification: &Specification) -> String {
        let field = self.random.pick(&specification.fields);
        if matches!(field.name.as_str(), "variant" | "version") {
            return "storage.files".to_owned();
        }
        // Storage is where most fields are.
        let field = match self.random.percent(40) {
            true => specification.fields.iter().find(|f| f.name == "storage").unwrap_or(field),
            false => field,
        };
        match field.kind {
            Kind::Map => format!("{}.{}", field.name, self.random.pick(&field.fields).name),
            _ => field.name.clone(),
        }
    }

    fn is_in_focus(&self, path: &str) -> bool {
        let depth = path.matches('.').count();
        self.sections.iter().any(|section| match depth {
            0 => section.split('.').next() == Some(path),
            1 => section == path,
            _ => true,
        })
    }

    fn value(&mut self, field: &Field, path: &str) -> Node {
        if self.is_twist() && self.random.percent(25) {
            return Node::Scalar((*self.random.pick(odd::COLLECTIONS)).to_owned());
        }
        match field.kind {
            Kind::Text => self.text(&pools::text(path), path),
            Kind::Integer => self.scalar(&pools::number(path), odd::NUMBERS),
            Kind::Flag => match self.is_twist() {
                true => Node::Scalar((*self.random.pick(odd::FLAGS)).to_owned()),
                false => {
                    Node::Scalar(if self.random.percent(70) { "true" } else { "false" }.into())
                }
            },
            Kind::Map => self.map(&field.fields, path),
            Kind::Maps => {
                let count = *self.random.pick(&[1, 1, 2, 2, 3, 4]);
                let items = (0..count).map(|_| self.map(&field.fields, path)).collect();
                self.odd_list(items)
            }
            Kind::Texts => {
                let count = 1 + self.random.below(3);
                let pool = pools::item(path);
                let mut items: Vec<Node> =
                    (0..count).map(|_| self.scalar(&pool, odd::TEXTS)).collect();
                // Behind one of these the reference counts wrong.
                items.retain(|item| !is_null(item));
                self.odd_list(items)
            }
            Kind::TextsByName => {
                let mut entries = Vec::new();
                if !self.is_twist() {
                    let role = "machineconfiguration.openshift.io/role";
                    entries.push((role.to_owned(), Node::Scalar("worker".to_owned())));
                }
                if self.random.percent(20) {
                    let value = (*self.random.pick(odd::TEXTS)).to_owned();
                    entries.push(("other".to_owned(), Node::Scalar(value)));
                }
                Node::Map(entries)
            }
        }
    }

    fn text(&mut self, pool: &Pool, path: &str) -> Node {
        if self.random.percent(10) && (path.ends_with("inline") || path.ends_with("contents")) {
            let text = "[Unit]\nDescription=a\n\n[Service]\nExecStart=/bin/true\n";
            return Node::Block(text.to_owned());
        }
        self.scalar(pool, odd::TEXTS)
    }

    fn scalar(&mut self, pool: &Pool, odd: &[&str]) -> Node {
        let literal = match (self.is_twist(), self.random.percent(self.twist * 2)) {
            (true, _) if self.random.percent(50) => self.random.pick(odd),
            (true, _) | (_, true) => self.random.pick(pool.bad),
            _ => self.random.pick(pool.good),
        };
        let literal = (*literal).to_owned();
        if self.is_twist() && self.random.percent(15) {
            return self.anchored(Node::Scalar(literal));
        }
        Node::Scalar(literal)
    }

    /// With an anchor, or an alias to the last one in its place.
    fn anchored(&mut self, node: Node) -> Node {
        if self.anchors > 0 && self.random.percent(60) {
            let anchor = 1 + self.random.below(self.anchors);
            return Node::Scalar(format!("*a{anchor}"));
        }
        self.anchors += 1;
        Node::Prefixed(format!("&a{}", self.anchors), Box::new(node))
    }

    fn odd_list(&mut self, mut items: Vec<Node>) -> Node {
        if !items.is_empty() && self.is_twist() && self.random.percent(15) {
            items.push(items[0].clone());
        }
        Node::List(items)
    }

    fn map(&mut self, fields: &[Field], path: &str) -> Node {
        let mut entries = Vec::new();
        let sources: Vec<&Field> = self.exclusive(fields);
        for field in fields {
            let inner = format!("{path}.{}", field.name);
            let is_top = inner.matches('.').count() < 2;
            let wants = match () {
                // Without these a MachineConfig is refused before anything else is looked at.
                () if path == "metadata" => !self.is_twist(),
                () if is_top => self.is_in_focus(&inner),
                () if EXCLUSIVE.iter().any(|group| group.contains(&field.name.as_str())) => {
                    sources.iter().any(|source| source.name == field.name)
                        && (fields.len() > 8 || self.random.percent(90))
                }
                () if NEEDED.contains(&field.name.as_str()) => !self.is_twist(),
                () => {
                    let share = if fields.len() > 8 { 25 } else { 40 };
                    self.random.percent(share)
                }
            };
            if wants {
                let node = self.value(field, &inner);
                entries.push((field.name.clone(), node));
            }
        }
        self.odd_keys(&mut entries, fields);
        // What is at hand has another hash than the pool's, and that is all that would be found.
        let is_at_hand = entries.iter().any(|(key, _)| matches!(key.as_str(), "inline" | "local"));
        if is_at_hand && !self.is_twist() {
            entries.retain(|(key, _)| key != "verification");
        }
        let node = Node::Map(entries);
        if self.is_twist() && self.random.percent(10) {
            return self.anchored(node);
        }
        node
    }

    /// One field of each exclusive group, or seldom several.
    fn exclusive<'f>(&mut self, fields: &'f [Field]) -> Vec<&'f Field> {
        let mut chosen = Vec::new();
        for group in EXCLUSIVE {
            let members: Vec<&Field> =
                fields.iter().filter(|f| group.contains(&f.name.as_str())).collect();
            match members.is_empty() {
                true => {}
                false if self.is_twist() => chosen.extend(members),
                false => chosen.push(*self.random.pick(&members)),
            }
        }
        chosen
    }

    fn odd_keys(&mut self, entries: &mut Vec<(String, Node)>, fields: &[Field]) {
        if !self.is_twist() || !self.random.percent(30) {
            return;
        }
        let key = match self.random.below(6) {
            0 => "unknown".to_owned(),
            1 => camel_case(&self.random.pick(fields).name),
            2 if !entries.is_empty() => self.random.pick(entries).0.clone(),
            3 => "<<".to_owned(),
            4 => (*self.random.pick(&["5", "~", "true", "\"a b\"", "? a", "", "[a]"])).to_owned(),
            _ => {
                let specification = self.random.pick(self.specifications);
                let field = self.random.pick(&specification.fields);
                field.fields.first().unwrap_or(field).name.clone()
            }
        };
        let value = match key.as_str() {
            "<<" => {
                let field = self.random.pick(fields);
                match field.kind {
                    Kind::Text => format!("{{{}: x}}", field.name),
                    _ => "{}".to_owned(),
                }
            }
            _ => (*self.random.pick(&["x", "{a: b}", "[1]", "null", "true"])).to_owned(),
        };
        let at = self.random.below(entries.len() + 1);
        entries.insert(at, (key, Node::Scalar(value)));
    }
}

fn is_null(node: &Node) -> bool {
    match node {
        Node::Scalar(scalar) => matches!(scalar.as_str(), "" | "~" | "null"),
        Node::Prefixed(_, inner) => is_null(inner),
        Node::Block(_) | Node::Map(_) | Node::List(_) => false,
    }
}

/// `wipe_table` as people who know Ignition write it.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        camel + &head.to_ascii_uppercase() + tail
    })
}
