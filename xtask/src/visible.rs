//! Text of people and files as a terminal can show it: nothing in it moves the cursor or turns the line around.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// The most characters of a message, path or name that are shown: a config may have a key of megabytes.
const MOST: usize = 1000;

/// What is shown in place of a tab.
const TAB: &str = "    ";

/// The text with escapes for what is not seen: `\n`, `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) && text.len() <= MOST {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().min(MOST));
    for (index, character) in text.chars().enumerate() {
        if index == MOST {
            shown.push('…');
            break;
        }
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            character if is_unseen(character) => {
                write!(shown, "\\u{{{:x}}}", u32::from(character)).expect("memory takes all");
            }
            character => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Appends a character of a line to what is shown of it, and gives the columns that it takes. What is not seen gets a
/// sign of one column.
pub(crate) fn push(shown: &mut String, character: char) -> usize {
    let sign = match character {
        '\t' => {
            shown.push_str(TAB);
            return TAB.len();
        }
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('�'),
        '\u{7f}' => '␡',
        character if is_unseen(character) => '�',
        character => character,
    };
    shown.push(sign);
    sign.width().unwrap_or(1)
}

/// Control characters, line breaks, and those that change the direction of text or have no width and no shape.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, expected) in [
            ("plain é 漢", "plain é 漢"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred\u{7f}\u{9b}", "\\u{1b}[31mred\\u{7f}\\u{9b}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(visible(&"é".repeat(1001)), format!("{}…", "é".repeat(1000)));
    }

    #[test]
    fn columns() {
        for (character, expected, columns) in [
            ('a', "a", 1),
            ('\t', "    ", 4),
            ('漢', "漢", 2),
            ('\u{301}', "\u{301}", 0),
            ('\u{1b}', "␛", 1),
            ('\u{85}', "�", 1),
        ] {
            let mut shown = String::new();
            assert_eq!((push(&mut shown, character), shown.as_str()), (columns, expected));
        }
    }
}
