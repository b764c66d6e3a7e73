//! The text of a systemd unit: sections, keys, continued lines and quoting, with places.
//!
//! Rules: systemd.syntax(7), systemd.service(5) "Command lines".

use basalt_model::report::Place;

use super::notes::{At, Notes};

/// The kinds of units that are read, by the end of the file's name.
const KINDS: [&str; 8] =
    ["container", "pod", "volume", "network", "kube", "image", "build", "service"];

/// One `Key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: Text,
}

impl Setting {
    pub(super) fn at(&self) -> At {
        let setting = format!("{}.{}", self.section, self.key);
        At { file: self.file.clone(), place: self.place, setting }
    }

    /// The words of the value, each with its place; a value that has none is noted.
    pub(super) fn words(&self, notes: &mut Notes) -> Vec<(String, At)> {
        match words(&self.value.text) {
            Ok(words) => words
                .into_iter()
                .map(|word| {
                    let at = At { place: self.value.place(word.offset), ..self.at() };
                    (word.text, at)
                })
                .collect(),
            Err(error) => {
                notes.invalid(&self.at(), error, None);
                Vec::new()
            }
        }
    }
}

/// A value that may have been written in several lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Where the lines begin, as offsets into the text, and where they stand.
    lines: Vec<(usize, Place)>,
}

impl Text {
    /// A text in one line, at the start of it.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Text {
        Text { text: text.to_owned(), lines: Vec::new() }
    }

    fn push(&mut self, line: &str, place: Place) {
        self.lines.push((self.text.len(), place));
        self.text.push_str(line);
    }

    /// Where the character at `offset` stands.
    fn place(&self, offset: usize) -> Place {
        let line = self.lines.iter().rfind(|(start, _)| *start <= offset);
        let (start, place) = line.copied().unwrap_or((0, Place::START));
        let before = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        Place { column: place.column + u32::try_from(before).unwrap_or_default(), ..place }
    }
}

/// Whether the name is that of a unit or of a drop-in.
pub(super) fn is_unit(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind) || kind == "conf")
}

/// All settings of a text in their order. What is no setting is noted and passed over.
pub(super) fn parse(file: &str, text: &str, notes: &mut Notes) -> Vec<Setting> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut settings = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = (1u32..).zip(text.lines());
    while let Some((line, first)) = lines.next() {
        let (start, place) = trimmed(first, line);
        let at = At { file: file.to_owned(), place, setting: String::new() };
        if is_comment(start) || start.is_empty() {
            continue;
        }
        if let Some(header) = start.strip_prefix('[') {
            match header.trim_end().strip_suffix(']') {
                Some(name) => section = Some(name.to_owned()),
                None => notes.invalid(&at, "a section's name is not closed with `]`", None),
            }
            continue;
        }
        let Some((key, first)) = start.split_once('=') else {
            notes.invalid(&at, "the line has no `=`", None);
            continue;
        };
        let value = continued(first, columns_on(place, key, first), &mut lines);
        let Some(section) = &section else {
            notes.invalid(&at, "a setting stands before the first section", None);
            continue;
        };
        let (section, key) = (section.clone(), key.trim().to_owned());
        settings.push(Setting { file: file.to_owned(), place, section, key, value });
    }
    settings
}

/// A value, with the lines that continue it: a backslash at the end of a line is a space.
fn continued<'l>(
    first: &'l str,
    place: Place,
    lines: &mut impl Iterator<Item = (u32, &'l str)>,
) -> Text {
    let mut value = Text::default();
    let (mut part, mut place) = (first.trim_start(), place);
    loop {
        let Some(more) = part.strip_suffix('\\') else {
            value.push(part.trim_end(), place);
            return value;
        };
        value.push(more, place);
        value.text.push(' ');
        // Comments between the parts of a continued line are left out.
        let Some((line, next)) = lines.find(|(_, next)| !is_comment(next.trim_start())) else {
            return value;
        };
        (part, place) = trimmed(next, line);
    }
}

/// A line without the white space in front of it, and where it begins.
fn trimmed(text: &str, line: u32) -> (&str, Place) {
    let start = text.trim_start();
    let skipped = text.len() - start.len();
    let column = text.get(..skipped).map_or(0, |text| text.chars().count()) + 1;
    (start, Place { line, column: u32::try_from(column).unwrap_or(u32::MAX) })
}

/// Where a value stands behind its key.
fn columns_on(place: Place, key: &str, value: &str) -> Place {
    let blanks = value.chars().count() - value.trim_start().chars().count();
    let columns = key.chars().count() + 1 + blanks;
    Place { column: place.column + u32::try_from(columns).unwrap_or_default(), ..place }
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// A word of a value, and where it begins there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    offset: usize,
}

/// Splits a value into words by systemd's rules: single and double quotes, C-style escapes.
///
/// # Errors
/// Says what is wrong with the value.
pub(super) fn words(text: &str) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.char_indices().peekable();
    while let Some((offset, character)) = characters.next() {
        if quote.is_none() && character.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let text = &mut word.get_or_insert_with(|| Word { text: String::new(), offset }).text;
        match (character, quote) {
            ('\\', _) => text.push(escape(&mut characters.by_ref().map(|(_, c)| c))?),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => text.push(c),
            ('"' | '\'', None) => quote = Some(character),
            (c, None) => text.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

fn escape(characters: &mut impl Iterator<Item = char>) -> Result<char, &'static str> {
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
    text.extend(characters.take(digits));
    let value = u32::from_str_radix(&text, radix).ok().and_then(char::from_u32);
    value.filter(|value| *value != '\0').ok_or(BROKEN)
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
            .map(|setting| {
                let words = setting.words(&mut Notes::default());
                let words: Vec<_> =
                    words.iter().map(|(word, at)| format!("{word}@{}", at.place)).collect();
                format!("{} {}.{}={}", setting.place, setting.section, setting.key, words.join(" "))
            })
            .collect();
        assert_eq!(seen, ["3:1 A.K=a@3:5 b@5:3", "7:1 A.K=", "10:1 B.L=c=d@10:3"]);
        assert_eq!(notes.0.len(), 1);
        assert_eq!(notes.0[0].to_string(), "f:11:1: error: the line has no `=`");
    }

    #[test]
    fn quoting() {
        for (text, expected) in [
            ("a b", Ok(vec!["a", "b"])),
            (r#""a b" 'c "d"' e"f g""#, Ok(vec!["a b", "c \"d\"", "ef g"])),
            (r"a\tb \x41 \101", Ok(vec!["a\tb", "A", "A"])),
            (r#""" x"#, Ok(vec!["", "x"])),
            (r#""a"#, Err("a quote is not closed")),
            (r"\q", Err("a backslash is followed by no escape that systemd knows")),
        ] {
            let words = words(text);
            let words = words.as_ref().map(|words| words.iter().map(|w| w.text.as_str()).collect());
            assert_eq!(words.map_err(|error| *error), expected, "{text}");
        }
    }
}
