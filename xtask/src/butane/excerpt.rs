//! Lines of a text around the places of findings, and what is shown of each.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::visible::push;

/// Lines that are shown before and after the one with the finding.
pub(super) const CONTEXT: u32 = 2;

/// The most columns of a line that are shown.
const MOST: usize = 160;
/// A line is shown from its start when the finding is this near to it.
const NEAR: usize = 120;
/// Otherwise from this many columns before the finding.
const BEFORE: usize = 60;

/// The lines of a text that are wanted.
pub(super) struct Lines<'t>(BTreeMap<u32, Line<'t>>);

/// One line without its break.
pub(super) struct Line<'t> {
    text: &'t str,
    is_ascii: bool,
    /// A column that was asked for, from 0, and its byte: findings come in order, and a line may have millions of
    /// characters.
    reached: Cell<(usize, usize)>,
}

/// What is shown of a line, and which part of that is the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) text: String,
    /// Columns before the value.
    pub(super) indent: usize,
    /// Columns of the value up to the next space.
    pub(super) width: usize,
}

impl<'t> Lines<'t> {
    /// Keeps the lines around each of `lines`, which count from 1.
    pub(super) fn around(text: &'t str, lines: impl Iterator<Item = u32>) -> Lines<'t> {
        let wanted: BTreeSet<u32> = lines
            .flat_map(|line| line.saturating_sub(CONTEXT)..=line.saturating_add(CONTEXT))
            .collect();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut kept = BTreeMap::new();
        let last = wanted.last().copied().unwrap_or(0);
        for (text, number) in split(text).zip(1..=last) {
            if wanted.contains(&number) {
                let line = Line { text, is_ascii: text.is_ascii(), reached: Cell::new((0, 0)) };
                kept.insert(number, line);
            }
        }
        Lines(kept)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Line<'t>> {
        self.0.get(&number)
    }
}

/// The lines as YAML breaks them (YAML 1.1, 4.2): a text that ends in a break has an empty line behind it.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) else {
            rest = None;
            return Some(text);
        };
        let (line, behind) = text.split_at(end);
        let behind = behind.strip_prefix("\r\n").unwrap_or_else(|| {
            let mut characters = behind.chars();
            characters.next();
            characters.as_str()
        });
        rest = Some(behind);
        Some(line)
    })
}

impl Line<'_> {
    /// The line with the value at `column`, which counts from 1. `None`: the line has no such column.
    pub(super) fn show(&self, column: u32) -> Option<Shown> {
        let offset = self.offset(column)?;
        let (text, value) = self.text.split_at(offset);
        let mut from = offset;
        let mut columns = 0;
        let mut is_near = true;
        for (index, character) in text.char_indices().rev() {
            columns += push(&mut String::new(), character);
            if columns <= BEFORE {
                from = index;
            }
            if columns > NEAR {
                is_near = false;
                break;
            }
        }
        if is_near {
            from = 0;
        }
        let mut shown = Shown { text: String::new(), indent: 0, width: 0 };
        if from > 0 {
            shown.text.push('…');
            shown.indent += 1;
        }
        for character in self.text[from..offset].chars() {
            shown.indent += push(&mut shown.text, character);
        }
        let mut columns = shown.indent;
        let mut is_value = true;
        for character in value.chars() {
            if columns >= MOST {
                shown.text.push('…');
                break;
            }
            is_value &= !character.is_whitespace();
            let width = push(&mut shown.text, character);
            columns += width;
            shown.width += if is_value { width } else { 0 };
        }
        shown.width = shown.width.max(1);
        Some(shown)
    }

    /// The line from its start.
    pub(super) fn start(&self) -> String {
        self.show(1).map_or_else(String::new, |shown| shown.text)
    }

    /// The byte at which a column starts.
    fn offset(&self, column: u32) -> Option<usize> {
        let wanted = usize::try_from(column).ok()?.checked_sub(1)?;
        if self.is_ascii {
            return (wanted < self.text.len()).then_some(wanted);
        }
        let (column, byte) = match self.reached.get() {
            (column, byte) if column <= wanted => (column, byte),
            _ => (0, 0),
        };
        let (skipped, _) = self.text[byte..].char_indices().nth(wanted - column)?;
        self.reached.set((wanted, byte + skipped));
        Some(byte + skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line { text, is_ascii: text.is_ascii(), reached: Cell::new((0, 0)) }
    }

    #[track_caller]
    fn check(text: &str, column: u32, shown: &str, indent: usize, width: usize) {
        let expected = Shown { text: shown.to_owned(), indent, width };
        assert_eq!(line(text).show(column), Some(expected));
    }

    #[test]
    fn values() {
        check("a: b c", 4, "a: b c", 3, 1);
        check("mode: 644", 7, "mode: 644", 6, 3);
        check("\ta:\tb", 5, "    a:    b", 10, 1);
        check("漢字: é", 5, "漢字: é", 6, 1);
        check("a: 漢字 b", 4, "a: 漢字 b", 3, 4);
        check("a: \u{1b}[31m", 4, "a: ␛[31m", 3, 5);
        // A value that is not there is still pointed at.
        check("a:  ", 4, "a:  ", 3, 1);
        assert_eq!(line("abc").show(4), None);
        assert_eq!(line("äbc").show(4), None);
        assert_eq!(line("").show(1), None);
    }

    #[test]
    fn columns_may_be_asked_for_in_any_order() {
        let line = line("äöü abc");
        for column in [5, 1, 7, 2] {
            let indent = column as usize - 1;
            assert_eq!(line.show(column).map(|shown| shown.indent), Some(indent));
        }
    }

    #[test]
    fn long_lines_have_a_window() {
        let long = format!("{}VALUE {}", "a".repeat(1000), "b".repeat(1000));
        let shown = line(&long).show(1001).unwrap();
        assert_eq!(shown.text, format!("…{}VALUE {}…", "a".repeat(60), "b".repeat(93)));
        assert_eq!((shown.indent, shown.width), (61, 5));
        let shown = line(&long).show(101).unwrap();
        assert_eq!((shown.indent, shown.width), (100, 60));
        assert_eq!(line(&long).start(), format!("{}…", "a".repeat(160)));
        let wide = "漢".repeat(500);
        let shown = line(&wide).show(400).unwrap();
        assert_eq!((shown.indent, shown.width), (61, 100));
    }

    #[test]
    fn lines_are_counted_as_yaml_counts_them() {
        let text = "\u{feff}1\n2\r\n3\r4\u{85}5\u{2028}6\n";
        let lines = Lines::around(text, [1, 4, 7].into_iter());
        let found: Vec<_> = (1..=8).filter_map(|number| Some(lines.get(number)?.text)).collect();
        assert_eq!(found, ["1", "2", "3", "4", "5", "6", ""]);
    }
}
