//! The JSON of an Ignition config, printed from the tree: the data URLs of large contents are never whole in memory.

use std::io::{self, Write};

use crate::compile::Layout;
use crate::data::Data;
use crate::schema::{Field, Kind, Type};
use crate::tree::{Tree, Value};
use crate::version::Target;

/// Prints a mapping of type `ty` without the fields that say nothing, and with a final newline.
pub(crate) fn print(
    tree: &Tree,
    ty: &'static Type,
    target: &'static Target,
    layout: Layout,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut printer = Printer { out, target, layout, depth: 0 };
    printer.map(tree, ty)?;
    printer.out.write_all(b"\n")
}

struct Printer<'p, W> {
    out: &'p mut W,
    target: &'static Target,
    layout: Layout,
    depth: usize,
}

impl<W: Write> Printer<'_, W> {
    fn map(&mut self, tree: &Tree, ty: &'static Type) -> io::Result<()> {
        self.out.write_all(b"{")?;
        self.depth += 1;
        let mut is_first = true;
        for (name, value) in tree.entries() {
            let Some(field) = ty.ignition_field(name, self.target) else { continue };
            if is_left_out(value, field, self.target) {
                continue;
            }
            self.next(&mut is_first)?;
            self.text(name)?;
            self.out.write_all(match self.layout {
                Layout::Compact => b":",
                Layout::Pretty => b": ",
            })?;
            match field.kind {
                Kind::Map(ty) => self.map(value, ty)?,
                Kind::Maps(ty, _) => self.list(value, |printer, item| printer.map(item, ty))?,
                Kind::Texts(_) => self.list(value, Printer::scalar)?,
                _ => self.scalar(value)?,
            }
        }
        self.depth -= 1;
        self.close(is_first, b"}")
    }

    fn list(
        &mut self,
        tree: &Tree,
        print: impl Fn(&mut Self, &Tree) -> io::Result<()>,
    ) -> io::Result<()> {
        self.out.write_all(b"[")?;
        self.depth += 1;
        let mut is_first = true;
        for item in tree.list() {
            self.next(&mut is_first)?;
            print(self, item)?;
        }
        self.depth -= 1;
        self.close(is_first, b"]")
    }

    /// What stands before an entry or item.
    fn next(&mut self, is_first: &mut bool) -> io::Result<()> {
        if !std::mem::replace(is_first, false) {
            self.out.write_all(b",")?;
        }
        self.line()
    }

    fn close(&mut self, is_empty: bool, bracket: &[u8]) -> io::Result<()> {
        if !is_empty {
            self.line()?;
        }
        self.out.write_all(bracket)
    }

    fn line(&mut self) -> io::Result<()> {
        if self.layout == Layout::Pretty {
            self.out.write_all(b"\n")?;
            (0..self.depth).try_for_each(|_| self.out.write_all(b"  "))?;
        }
        Ok(())
    }

    fn scalar(&mut self, tree: &Tree) -> io::Result<()> {
        match &tree.value {
            Value::Text(text) => self.text(text),
            Value::Data(Data::Packed(packed)) => {
                self.out.write_all(b"\"")?;
                packed.write_url(self.out)?;
                self.out.write_all(b"\"")
            }
            Value::Integer(number) => write!(self.out, "{number}"),
            Value::Flag(flag) => write!(self.out, "{flag}"),
            Value::List(_)
            | Value::Map(_)
            | Value::Labels(_)
            | Value::Data(Data::Waiting(_))
            | Value::Broken => unreachable!(
                "the tables hold what a config has, and one with broken values has errors"
            ),
        }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(b"\"")?;
        let mut rest = text;
        while let Some((index, character)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
            self.out.write_all(&rest.as_bytes()[..index])?;
            match character {
                '"' => self.out.write_all(b"\\\"")?,
                '\\' => self.out.write_all(b"\\\\")?,
                '\n' => self.out.write_all(b"\\n")?,
                '\r' => self.out.write_all(b"\\r")?,
                '\t' => self.out.write_all(b"\\t")?,
                '\u{8}' => self.out.write_all(b"\\b")?,
                '\u{c}' => self.out.write_all(b"\\f")?,
                character => write!(self.out, "\\u{:04x}", u32::from(character))?,
            }
            rest = &rest[index + character.len_utf8()..];
        }
        self.out.write_all(rest.as_bytes())?;
        self.out.write_all(b"\"")
    }
}

/// What JSON itself has to escape, and what Go's encoder does besides: what could end a script in HTML, and two line ends
/// that JavaScript does not know in text.
fn is_escaped(character: char) -> bool {
    matches!(character, '\0'..='\u{1f}' | '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// Whether a field is left out: an empty mapping, an empty list, and what is the same as none.
fn is_left_out(tree: &Tree, field: &Field, target: &'static Target) -> bool {
    match (&tree.value, field.kind) {
        (Value::Map(entries), Kind::Map(ty)) if !field.kept_when_empty => {
            entries.iter().all(|(name, value)| {
                ty.ignition_field(name, target)
                    .is_none_or(|field| is_left_out(value, field, target))
            })
        }
        (Value::List(items), _) => items.is_empty(),
        (Value::Integer(number), Kind::Number) => *number == 0,
        (Value::Text(text), Kind::FilledText) => text.is_empty(),
        _ => false,
    }
}
