//! The text of a systemd unit: sections, keys, continued lines, specifiers and quoting.
//!
//! Rules: systemd.syntax(7), systemd.unit(5) "Specifiers", systemd.service(5) "Command lines".

use basalt_model::report::Place;

use super::notes::{At, Notes};

/// One `Key=value`, with continuations joined by a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Setting {
    pub(super) fn at(&self) -> At {
        let setting = format!("{}.{}", self.section, self.key);
        At { file: self.file.clone(), place: self.place, setting }
    }
}

/// All settings of a text in their order. What is no setting is noted and passed over.
pub(super) fn parse(file: &str, text: &str, notes: &mut Notes) -> Vec<Setting> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut settings = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = (1u32..).zip(text.lines());
    while let Some((line, first)) = lines.next() {
        let start = first.trim_start();
        let column = first.chars().count() - start.chars().count() + 1;
        let place = Place { line, column: u32::try_from(column).unwrap_or(u32::MAX) };
        let at = At { file: file.to_owned(), place, setting: String::new() };
        if is_comment(start) || start.is_empty() {
            continue;
        }
        let mut whole = start.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole.push(' ');
            match lines.next() {
                // Comments between the parts of a continued line are left out.
                Some((_, next)) if is_comment(next.trim_start()) => whole.push('\\'),
                Some((_, next)) => whole.push_str(next),
                None => break,
            }
        }
        let whole = whole.trim_end();
        if let Some(header) = whole.strip_prefix('[') {
            match header.strip_suffix(']') {
                Some(name) => section = Some(name.to_owned()),
                None => notes.invalid(&at, "a section's name is not closed with `]`", None),
            }
        } else if let Some((key, value)) = whole.split_once('=') {
            let Some(section) = &section else {
                notes.invalid(&at, "a setting stands before the first section", None);
                continue;
            };
            settings.push(Setting {
                file: file.to_owned(),
                place,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        } else {
            notes.invalid(&at, "the line has no `=`", None);
        }
    }
    settings
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// Splits a value into words by systemd's rules: single and double quotes, C-style escapes.
///
/// # Errors
/// Says what is wrong with the value.
pub(super) fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => {
                let escaped = escape(&mut characters)?;
                word.get_or_insert_default().push(escaped);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            // Quotes count where a word begins.
            ('"' | '\'', None) if word.is_none() => {
                quote = Some(character);
                word = Some(String::new());
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

fn escape(characters: &mut std::iter::Peekable<std::str::Chars>) -> Result<char, &'static str> {
    const BROKEN: &str = "a backslash is followed by no escape that systemd knows";
    let character = characters.next().ok_or(BROKEN)?;
    let (first, digits, radix) = match character {
        'a' => return Ok('\x07'),
        'b' => return Ok('\x08'),
        'f' => return Ok('\x0c'),
        'n' => return Ok('\n'),
        'r' => return Ok('\r'),
        't' => return Ok('\t'),
        'v' => return Ok('\x0b'),
        's' => return Ok(' '),
        '\\' | '"' | '\'' => return Ok(character),
        'x' => (None, 2, 16),
        'u' => (None, 4, 16),
        'U' => (None, 8, 16),
        '0'..='7' => (Some(character), 2, 8),
        _ => return Err(BROKEN),
    };
    let mut text = String::from_iter(first);
    text.extend(characters.by_ref().take(digits));
    let value = u32::from_str_radix(&text, radix).ok().and_then(char::from_u32);
    value.filter(|value| *value != '\0').ok_or(BROKEN)
}

/// Resolves the specifiers that the unit's own name answers: `name` is `web@1.service`.
///
/// # Errors
/// The specifier that only the host it runs on can answer.
pub(super) fn specifiers(text: &str, name: &str) -> Result<String, String> {
    let (stem, _) = name.rsplit_once('.').unwrap_or((name, ""));
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(name),
            Some('N') => out.push_str(stem),
            Some('p') => out.push_str(prefix),
            Some('i') => out.push_str(instance),
            Some('I') => out.push_str(&unescaped(instance)),
            Some('P') => out.push_str(&unescaped(prefix)),
            Some('j') => out.push_str(prefix.rsplit('-').next().unwrap_or(prefix)),
            // The system's manager, which is the one that a node has.
            Some('t') => out.push_str("/run"),
            Some('S') => out.push_str("/var/lib"),
            Some('C') => out.push_str("/var/cache"),
            Some('L') => out.push_str("/var/log"),
            Some('E') => out.push_str("/etc"),
            Some('h') => out.push_str("/root"),
            Some('T') => out.push_str("/tmp"),
            Some('V') => out.push_str("/var/tmp"),
            Some('u') | Some('g') => out.push_str("root"),
            Some('U') | Some('G') => out.push('0'),
            Some('s') => out.push_str("/bin/sh"),
            Some(other) => return Err(format!("%{other}")),
            None => return Err("%".to_owned()),
        }
    }
    Ok(out)
}

/// Undoes systemd-escape(1): `-` is `/`, `\xNN` a byte.
fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let byte = rest.strip_prefix("\\x").and_then(|hex| hex.get(..2));
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                let shown = if character == '-' { '/' } else { character };
                out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_continued_lines() {
        let text = "# no\n[A]\nK = a \\\n  # between\n  b\n\nK=\n;x\n[B]\nL=c=d\nbad\n";
        let mut notes = Notes::default();
        let settings = parse("f", text, &mut notes);
        let seen: Vec<_> = settings
            .iter()
            .map(|s| (s.place.line, s.section.as_str(), s.key.as_str(), s.value.as_str()))
            .map(|(line, section, key, value)| {
                let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
                format!("{line} {section}.{key}={value}")
            })
            .collect();
        assert_eq!(seen, ["3 A.K=a b", "7 A.K=", "10 B.L=c=d"]);
        assert_eq!(notes.0.len(), 1);
        assert_eq!(notes.0[0].to_string(), "f:11:1: error: the line has no `=`");
    }

    #[test]
    fn quoting() {
        for (text, expected) in [
            ("a b", Ok(vec!["a", "b"])),
            (r#""a b" 'c "d"' e"f"#, Ok(vec!["a b", "c \"d\"", "e\"f"])),
            (r"a\tb \x41 \101", Ok(vec!["a\tb", "A", "A"])),
            (r#""" x"#, Ok(vec!["", "x"])),
            (r#""a"#, Err("a quote is not closed")),
            (r"\q", Err("a backslash is followed by no escape that systemd knows")),
        ] {
            let words = words(text);
            let words = words.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(words.map_err(|error| *error), expected, "{text}");
        }
    }

    #[test]
    fn specifiers_of_the_name() {
        for (text, expected) in [
            ("%i %p %n %N", Ok("a-b web web@a-b.service web@a-b")),
            ("%I 100%% %t/x", Ok("a/b 100% /run/x")),
            ("%H", Err("%H")),
            ("50%", Err("%")),
        ] {
            let made = specifiers(text, "web@a-b.service");
            let made = made.as_ref().map(String::as_str).map_err(String::as_str);
            assert_eq!(made, expected, "{text}");
        }
    }
}
