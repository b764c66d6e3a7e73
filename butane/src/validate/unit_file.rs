//! The syntax of unit files, as far as go-systemd sees it: Ignition refuses what that cannot read.
//!
//! Text before the first section is skipped, lines end at `\n`, and a line that is longer than systemd once took is
//! refused if the reader happens to have that much of it in its buffer. All of this is what Ignition does at boot, so
//! it is what has to be said before.

/// What matters of a unit file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitFile {
    /// Whether there is an option in `[Install]`.
    pub has_install: bool,
}

/// Go's `bufio.Reader` holds this much.
const BUFFER_BYTES: usize = 4096;

/// systemd's old limit for a line.
const LINE_BYTES: usize = 2048;

/// Reads a unit file. The error says what is wrong with it.
pub(crate) fn check(text: &str) -> Result<UnitFile, &'static str> {
    let mut reader = Reader { bytes: text.as_bytes(), position: 0, filled: 0 };
    let mut step = Step::Outside;
    let mut has_install = false;
    loop {
        reader.check_line()?;
        step = match step {
            Step::Outside => match reader.rune() {
                None => break,
                Some(b'[') => Step::SectionName,
                Some(b'#' | b';') => Step::Comment { is_inside: None },
                Some(_) => Step::Outside,
            },
            Step::Inside { is_install } => match reader.rune() {
                None => break,
                Some(b'[') => Step::SectionName,
                Some(b'#' | b';') => Step::Comment { is_inside: Some(is_install) },
                Some(byte) if reader.is_space(byte) => Step::Inside { is_install },
                Some(_) => {
                    reader.back();
                    Step::Name { is_install }
                }
            },
            Step::SectionName => {
                let (name, is_closed) = reader.until(b']');
                if !is_closed {
                    return Err("a section's name is not closed with `]`");
                }
                Step::SectionEnd { is_install: name == b"Install]" }
            }
            Step::SectionEnd { is_install } => {
                let (line, _) = reader.line();
                if !line.trim_ascii().is_empty() {
                    return Err("there is text behind a section's name");
                }
                Step::Inside { is_install }
            }
            Step::Comment { is_inside } => {
                loop {
                    let (line, _) = reader.line();
                    let line = line.strip_suffix(b" ").unwrap_or(line);
                    if !line.ends_with(b"\\") {
                        break;
                    }
                }
                match is_inside {
                    None => Step::Outside,
                    Some(is_install) => Step::Inside { is_install },
                }
            }
            Step::Name { is_install } => {
                loop {
                    match reader.rune() {
                        Some(b'=') => break,
                        None | Some(b'\n' | b'\r') => return Err("a line of an option has no `=`"),
                        Some(_) => {}
                    }
                }
                Step::Value { is_install }
            }
            Step::Value { is_install } => {
                let (line, _) = reader.line();
                if !line.trim_ascii().is_empty() && line.ends_with(b"\\") {
                    Step::Value { is_install }
                } else {
                    has_install |= is_install;
                    Step::Inside { is_install }
                }
            }
        };
    }
    Ok(UnitFile { has_install })
}

/// The lexer's states; the check of a line's length is made between two of them.
#[derive(Clone, Copy)]
enum Step {
    /// Before the first section.
    Outside,
    /// Between the options of a section.
    Inside {
        is_install: bool,
    },
    SectionName,
    SectionEnd {
        is_install: bool,
    },
    Comment {
        is_inside: Option<bool>,
    },
    Name {
        is_install: bool,
    },
    Value {
        is_install: bool,
    },
}

/// A text, and how much of it a `bufio.Reader` over it would hold.
struct Reader<'t> {
    bytes: &'t [u8],
    position: usize,
    /// End of the buffered bytes.
    filled: usize,
}

impl<'t> Reader<'t> {
    fn fill(&mut self) {
        self.filled = self.bytes.len().min(self.position + BUFFER_BYTES);
    }

    fn check_line(&self) -> Result<(), &'static str> {
        let buffered = &self.bytes[self.position..self.filled];
        match buffered.get(..LINE_BYTES) {
            Some(line) if !line.iter().any(|byte| b"\r\n".contains(byte)) => {
                Err("a line has more than 2048 bytes")
            }
            _ => Ok(()),
        }
    }

    /// The next character's first byte.
    fn rune(&mut self) -> Option<u8> {
        let length = self.rune_length()?;
        if self.position + length > self.filled {
            self.fill();
        }
        let byte = self.bytes[self.position];
        self.position += length;
        Some(byte)
    }

    fn rune_length(&self) -> Option<usize> {
        let first = *self.bytes.get(self.position)?;
        Some(match first {
            0..=0x7f => 1,
            0x80..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        })
    }

    /// Takes the last character back.
    fn back(&mut self) {
        self.position -= 1;
        while self.bytes[self.position] & 0xc0 == 0x80 {
            self.position -= 1;
        }
    }

    /// Whether the character that begins with `byte`, just read, is white space.
    fn is_space(&self, byte: u8) -> bool {
        if byte < 0x80 {
            return byte.is_ascii_whitespace() || byte == 0x0b;
        }
        let mut start = self.position - 1;
        while self.bytes[start] & 0xc0 == 0x80 {
            start -= 1;
        }
        let character = std::str::from_utf8(&self.bytes[start..self.position]).ok();
        character.and_then(|text| text.chars().next()).is_some_and(char::is_whitespace)
    }

    /// Everything up to and with `end`, and whether that was found.
    fn until(&mut self, end: u8) -> (&'t [u8], bool) {
        let start = self.position;
        loop {
            let buffered = &self.bytes[self.position..self.filled];
            if let Some(index) = buffered.iter().position(|byte| *byte == end) {
                self.position += index + 1;
                return (&self.bytes[start..self.position], true);
            }
            if buffered.len() >= BUFFER_BYTES {
                self.position = self.filled;
            } else if self.filled == self.bytes.len() {
                self.position = self.filled;
                return (&self.bytes[start..], false);
            }
            self.fill();
        }
    }

    /// The rest of the line without its end.
    fn line(&mut self) -> (&'t [u8], bool) {
        let (line, is_ended) = self.until(b'\n');
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (line.strip_suffix(b"\n").unwrap_or(line), is_ended)
    }
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(text: &str, expected: Result<bool, &str>) {
        assert_eq!(super::check(text).map(|file| file.has_install), expected, "{text:?}");
    }

    #[test]
    fn syntax() {
        check("", Ok(false));
        check("skipped = text\n[Unit]\nA=b\n", Ok(false));
        check(
            "[Unit]\n# [Install\n; a\\\nno option here\n\nA=b\\\n  c\n[Install]\nWantedBy=x",
            Ok(true),
        );
        check("[Install]\n", Ok(false));
        check("[Install]\r\nWantedBy=a\r\n", Ok(true));
        check("[Unit]\n\u{2003}Ä=ö", Ok(false));
        check("[Unit", Err("a section's name is not closed with `]`"));
        check("[Unit] x\n", Err("there is text behind a section's name"));
        check("[Unit]\nA\n", Err("a line of an option has no `=`"));
        check("[Unit]\nA", Err("a line of an option has no `=`"));
        check("[Unit]\nÄ", Err("a line of an option has no `=`"));
    }

    #[test]
    fn long_lines() {
        let long = format!("[Unit]\nA={}\n", "x".repeat(3000));
        check(&long, Err("a line has more than 2048 bytes"));
        check(&format!("[Unit]\nA={}\n", "x".repeat(2000)), Ok(false));
        // Behind 4096 bytes without a line's end the buffer starts anew.
        check(
            &format!("[Unit]\nA=b\n{}", "#".repeat(9000)),
            Err("a line has more than 2048 bytes"),
        );
    }
}
