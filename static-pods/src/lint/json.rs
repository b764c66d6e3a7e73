//! JSON text → tree, as Go's `encoding/json` takes it: invalid UTF-8 and lone surrogates become U+FFFD, keys may repeat.

use basalt_model::report::Place;

use super::tree::{Entry, Node, Value};

/// Values are dropped and walked by recursion; no pod is nearly as deep.
const MAX_DEPTH: usize = 200;

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) place: Place,
    pub(super) message: String,
    /// Whether nothing is wrong but that more is nested than is read here.
    pub(super) is_bound: bool,
}

/// Reads one JSON value, with nothing but white space around it.
///
/// # Errors
/// Where the text stops being JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, Wrong> {
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader { rest: text.chars().peekable(), place: Place::START };
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    if reader.rest.peek().is_none() {
        return Ok(node);
    }
    let found = reader.found();
    Err(reader.wrong(format!("{found} stands behind the end")))
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    /// Of the next character.
    place: Place,
}

impl Reader<'_> {
    fn wrong(&self, message: impl Into<String>) -> Wrong {
        Wrong { place: self.place, message: message.into(), is_bound: false }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character == '\n' {
            self.place = Place { line: self.place.line.saturating_add(1), column: 1 };
        } else {
            self.place.column = self.place.column.saturating_add(1);
        }
        Some(character)
    }

    fn space(&mut self) {
        while matches!(self.rest.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.next();
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), Wrong> {
        if self.rest.peek() == Some(&wanted) {
            self.next();
            return Ok(());
        }
        let found = self.found();
        Err(self.wrong(format!("`{wanted}` is wanted here, not {found}")))
    }

    fn found(&mut self) -> String {
        match self.rest.peek() {
            Some(found) => format!("`{}`", found.escape_debug()),
            None => "the end of the file".to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Wrong> {
        if depth > MAX_DEPTH {
            let wrong = self.wrong(format!("nested deeper than {MAX_DEPTH} levels"));
            return Err(Wrong { is_bound: true, ..wrong });
        }
        let place = self.place;
        let value = match self.rest.peek() {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.text()?),
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            Some('a'..='z') => self.word()?,
            _ => {
                let found = self.found();
                return Err(self.wrong(format!("a value is wanted here, not {found}")));
            }
        };
        Ok(Node { place, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        self.expect('{')?;
        let mut entries = Vec::new();
        self.space();
        if self.rest.peek() == Some(&'}') {
            self.next();
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            let place = self.place;
            if self.rest.peek() != Some(&'"') {
                let found = self.found();
                return Err(self.wrong(format!("a key in `\"` is wanted here, not {found}")));
            }
            let key = self.text()?;
            self.space();
            self.expect(':')?;
            self.space();
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, place, value });
            self.space();
            if self.rest.peek() == Some(&',') {
                self.next();
            } else {
                self.expect('}')?;
                return Ok(Value::Map(entries));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Wrong> {
        self.expect('[')?;
        let mut items = Vec::new();
        self.space();
        if self.rest.peek() == Some(&']') {
            self.next();
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.rest.peek() == Some(&',') {
                self.next();
            } else {
                self.expect(']')?;
                return Ok(Value::List(items));
            }
        }
    }

    fn text(&mut self) -> Result<String, Wrong> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some('\0'..='\u{1f}') => return Err(self.wrong("a control character in a text")),
                Some(character) => text.push(character),
                None => return Err(self.wrong("a text without its closing `\"`")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Wrong> {
        Ok(match self.next() {
            Some(character @ ('"' | '\\' | '/')) => character,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return Ok(char::from_u32(first).unwrap_or('\u{fffd}'));
                }
                let mut ahead = self.rest.clone();
                if (ahead.next(), ahead.next()) != (Some('\\'), Some('u')) {
                    return Ok('\u{fffd}');
                }
                self.next();
                self.next();
                let second = self.hex()?;
                let low = second.wrapping_sub(0xdc00);
                let pair = 0x10000 + ((first - 0xd800) << 10) + low;
                if low < 0x400 { char::from_u32(pair).unwrap_or('\u{fffd}') } else { '\u{fffd}' }
            }
            _ => return Err(self.wrong("an escape that JSON does not have")),
        })
    }

    fn hex(&mut self) -> Result<u32, Wrong> {
        let mut number = 0;
        for _ in 0..4 {
            match self.next().and_then(|character| character.to_digit(16)) {
                Some(digit) => number = number * 16 + digit,
                None => return Err(self.wrong("`\\u` without four hexadecimal digits")),
            }
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<String, Wrong> {
        let mut number = String::new();
        if self.rest.peek() == Some(&'-') {
            number.extend(self.next());
        }
        if self.rest.peek() == Some(&'0') {
            number.extend(self.next());
        } else {
            self.digits(&mut number)?;
        }
        if self.rest.peek() == Some(&'.') {
            number.extend(self.next());
            self.digits(&mut number)?;
        }
        if matches!(self.rest.peek(), Some('e' | 'E')) {
            number.extend(self.next());
            if matches!(self.rest.peek(), Some('+' | '-')) {
                number.extend(self.next());
            }
            self.digits(&mut number)?;
        }
        Ok(number)
    }

    fn digits(&mut self, number: &mut String) -> Result<(), Wrong> {
        let before = number.len();
        while self.rest.peek().is_some_and(char::is_ascii_digit) {
            number.extend(self.next());
        }
        if number.len() > before { Ok(()) } else { Err(self.wrong("a number without digits")) }
    }

    fn word(&mut self) -> Result<Value, Wrong> {
        let start = self.place;
        let mut word = String::new();
        while self.rest.peek().is_some_and(char::is_ascii_alphabetic) {
            word.extend(self.next());
        }
        match word.as_str() {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            "null" => Ok(Value::Null),
            _ => {
                let message = format!("`{word}` is not JSON");
                Err(Wrong { place: start, message, is_bound: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let wrong = parse(text.as_bytes()).unwrap_err();
        assert_eq!(format!("{}: {}", wrong.place, wrong.message), expected);
    }

    #[test]
    fn what_is_not_json() {
        refused("{\"a\": 1,}", "1:9: a key in `\"` is wanted here, not `}`");
        refused("{\"a\": 01}", "1:8: `}` is wanted here, not `1`");
        refused("{\n  a: 1}", "2:3: a key in `\"` is wanted here, not `a`");
        refused("{} {}", "1:4: `{` stands behind the end");
        refused("{\"a\": yes}", "1:7: `yes` is not JSON");
        refused("{\"a\": \"\\x\"}", "1:10: an escape that JSON does not have");
        refused("{\"a\"", "1:5: `:` is wanted here, not the end of the file");
    }

    #[test]
    fn texts() {
        let text = |json: &str| match parse(json.as_bytes()).unwrap().value {
            Value::Text(text) => text,
            _ => panic!("not a text"),
        };
        assert_eq!(text(r#""\ud83d\ude00 \ud83d \u00e9 \/""#), "😀 \u{fffd} é /");
    }
}
