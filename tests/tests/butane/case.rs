//! A config to compile, and how it gets smaller.

use crate::reference::Wanted;
use crate::yaml::{Node, Style, print};

/// A config to compile.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub source: Source,
    pub wanted: Wanted,
}

/// What the text of a config is made from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Tree(Node, Style),
    Lines(Vec<String>),
}

impl Case {
    pub(crate) fn text(&self) -> String {
        match &self.source {
            Source::Tree(root, style) => print(root, style),
            Source::Lines(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
        }
    }

    /// The smallest case that can be reached as long as `still_differs` finds one of the candidates it is given; it
    /// returns the first such.
    pub(crate) fn minimised(mut self, still_differs: impl Fn(&[Case]) -> Option<usize>) -> Case {
        loop {
            let candidates = self.smaller();
            match still_differs(&candidates) {
                Some(index) => self = candidates[index].clone(),
                None => return self,
            }
        }
    }

    /// Everything that is one step smaller, big steps first.
    fn smaller(&self) -> Vec<Case> {
        let sources = match &self.source {
            Source::Tree(root, style) => {
                let styles = [
                    Style::PLAIN,
                    Style { carriage_returns: false, ..*style },
                    Style { flow_from: usize::MAX, ..*style },
                ];
                let styles = styles.into_iter().filter(|simpler| simpler != style);
                let mut sources: Vec<Source> =
                    styles.map(|style| Source::Tree(root.clone(), style)).collect();
                sources.extend(smaller(root).into_iter().map(|root| Source::Tree(root, *style)));
                sources
            }
            Source::Lines(lines) => (0..lines.len())
                .map(|index| {
                    let mut lines = lines.clone();
                    lines.remove(index);
                    Source::Lines(lines)
                })
                .collect(),
        };
        sources.into_iter().map(|source| Case { source, wanted: self.wanted }).collect()
    }
}

fn smaller(node: &Node) -> Vec<Node> {
    let mut found = Vec::new();
    match node {
        Node::Scalar(_) => {}
        Node::Block(text) => found.extend((text.len() > 1).then(|| Node::Scalar("x".to_owned()))),
        Node::Prefixed(prefix, inner) => {
            found.push((**inner).clone());
            let inner = smaller(inner).into_iter();
            found.extend(inner.map(|inner| Node::Prefixed(prefix.clone(), Box::new(inner))));
        }
        Node::Map(entries) => {
            for index in 0..entries.len() {
                let mut fewer = entries.clone();
                fewer.remove(index);
                found.push(Node::Map(fewer));
            }
            for (index, (_, node)) in entries.iter().enumerate() {
                for node in smaller(node) {
                    let mut entries = entries.clone();
                    entries[index].1 = node;
                    found.push(Node::Map(entries));
                }
            }
        }
        Node::List(items) => {
            for index in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(index);
                found.push(Node::List(fewer));
            }
            for (index, node) in items.iter().enumerate() {
                for node in smaller(node) {
                    let mut items = items.clone();
                    items[index] = node;
                    found.push(Node::List(items));
                }
            }
        }
    }
    found
}
