//! The smallest config that still differs in the same way.

use crate::generate::Case;
use crate::yaml::{Node, Style};

/// Shrinks `case` as long as `still_differs` finds one of the candidates it is given; it returns the first such.
pub(crate) fn minimise(mut case: Case, still_differs: impl Fn(&[Case]) -> Option<usize>) -> Case {
    loop {
        let candidates = candidates(&case);
        match still_differs(&candidates) {
            Some(index) => case = candidates[index].clone(),
            None => return case,
        }
    }
}

/// Everything that is one step smaller, big steps first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut found: Vec<Case> = Vec::new();
    let styles = [
        Style::PLAIN,
        Style { carriage_returns: false, ..case.style },
        Style { flow_from: usize::MAX, ..case.style },
    ];
    for style in styles {
        if style != case.style && found.iter().all(|known| known.style != style) {
            found.push(Case { style, ..case.clone() });
        }
    }
    let smaller = smaller(&case.root);
    found.extend(smaller.into_iter().map(|root| Case { root, ..*case }));
    found
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
