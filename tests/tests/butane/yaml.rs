//! YAML to be made: a tree of values as they are written, which prints in many styles.

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A scalar, quotes and tags and all.
    Scalar(String),
    /// A text over several lines, in `|` style.
    Block(String),
    /// With an anchor or a tag in front of a collection.
    Prefixed(String, Box<Node>),
    /// Keys as they are written.
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

/// How a tree is printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Style {
    /// Spaces that a mapping is indented by.
    pub indent: usize,
    /// Whether a list below a key is indented.
    pub indents_lists: bool,
    /// The deepest collections in `{}` and `[]`, from this depth on.
    pub flow_from: usize,
    /// Lines end in CR LF.
    pub carriage_returns: bool,
}

impl Style {
    pub(crate) const PLAIN: Style =
        Style { indent: 2, indents_lists: true, flow_from: usize::MAX, carriage_returns: false };
}

/// Prints a document.
pub(crate) fn print(root: &Node, style: &Style) -> String {
    let mut text = String::new();
    match root {
        Node::Map(entries) if !entries.is_empty() => map(entries, 0, 0, style, &mut text),
        other => {
            value(other, 0, 0, style, &mut text);
            text.remove(0);
        }
    }
    if style.carriage_returns {
        text = text.replace('\n', "\r\n");
    }
    text
}

/// The entries, one a line; the first without indentation.
fn map(entries: &[(String, Node)], indent: usize, depth: usize, style: &Style, text: &mut String) {
    for (index, (key, node)) in entries.iter().enumerate() {
        if index > 0 {
            *text += &" ".repeat(indent);
        }
        *text += key;
        *text += ":";
        value(node, indent, depth, style, text);
    }
}

/// What follows a key's colon or an item's hyphen, to the end of the line.
fn value(node: &Node, indent: usize, depth: usize, style: &Style, text: &mut String) {
    match node {
        Node::Scalar(scalar) if scalar.is_empty() => *text += "\n",
        Node::Scalar(scalar) => *text += &format!(" {scalar}\n"),
        Node::Block(lines) => block(lines, indent + style.indent, text),
        Node::Prefixed(prefix, inner) => {
            *text += &format!(" {prefix}");
            value(inner, indent, depth, style, text);
        }
        Node::Map(_) | Node::List(_) if depth >= style.flow_from || is_empty(node) => {
            *text += &format!(" {}\n", flow(node));
        }
        Node::Map(entries) => {
            let inner = indent + style.indent;
            *text += &format!("\n{}", " ".repeat(inner));
            map(entries, inner, depth + 1, style, text);
        }
        Node::List(items) => {
            *text += "\n";
            list(
                items,
                indent + if style.indents_lists { style.indent } else { 0 },
                depth,
                style,
                text,
            );
        }
    }
}

fn list(items: &[Node], indent: usize, depth: usize, style: &Style, text: &mut String) {
    for item in items {
        *text += &format!("{}-", " ".repeat(indent));
        match item {
            Node::Map(entries) if !entries.is_empty() && depth + 1 < style.flow_from => {
                *text += " ";
                map(entries, indent + 2, depth + 2, style, text);
            }
            // Below a hyphen, what would stand at the hyphen's column has to be further in.
            other => {
                value(other, indent + 2, depth + 1, &Style { indents_lists: true, ..*style }, text)
            }
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match node {
        Node::Map(entries) => entries.is_empty(),
        Node::List(items) => items.is_empty(),
        Node::Scalar(_) | Node::Block(_) | Node::Prefixed(_, _) => false,
    }
}

fn block(lines: &str, indent: usize, text: &mut String) {
    *text += if lines.ends_with('\n') { " |\n" } else { " |-\n" };
    for line in lines.lines() {
        match line {
            "" => *text += "\n",
            line => *text += &format!("{}{line}\n", " ".repeat(indent)),
        }
    }
}

fn flow(node: &Node) -> String {
    match node {
        Node::Scalar(scalar) if scalar.is_empty() => "null".to_owned(),
        Node::Scalar(scalar) => scalar.clone(),
        Node::Block(lines) => format!("{lines:?}"),
        Node::Prefixed(prefix, inner) => format!("{prefix} {}", flow(inner)),
        Node::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| format!("{key}: {}", flow(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Node::List(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
    }
}
