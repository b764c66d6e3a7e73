//! Data URLs as Ignition's library reads them (github.com/vincent-petithory/dataurl, RFC 2397).

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

use crate::data::Data;
use crate::tree::{Tree, Value};

/// Go's decoder wants the padding and takes any bits behind the last byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// How many bytes are decoded at a time; whole groups of base64.
const CHUNK_BYTES: usize = 64 * 1024;

/// What keeps the bytes of a data URL from being poured out.
#[derive(Debug)]
pub(crate) enum PourError {
    /// What is wrong with the URL.
    Url(&'static str),
    /// What they were poured into does not take them.
    Sink,
}

/// The bytes that `url` stands for. The error says what is wrong with it.
pub(crate) fn decode(url: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    match pour(url, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(PourError::Url(fault)) => Err(fault),
        Err(PourError::Sink) => unreachable!("memory takes every byte"),
    }
}

/// Writes the bytes of a `source` to `sink`, when they are in the config. `None` is a source that is elsewhere.
pub(crate) fn pour_source(source: &Tree, sink: &mut impl Write) -> Option<Result<(), PourError>> {
    match &source.value {
        Value::Data(Data::Packed(packed)) => {
            Some(sink.write_all(packed.bytes()).map_err(|_| PourError::Sink))
        }
        Value::Text(url) if url.starts_with("data:") => Some(pour(url, sink)),
        _ => None,
    }
}

/// Writes the bytes that `url` stands for to `sink`, piece by piece.
pub(crate) fn pour(url: &str, sink: &mut impl Write) -> Result<(), PourError> {
    let rest = url.strip_prefix("data:");
    let rest = rest.ok_or(PourError::Url("it does not start with `data:`"))?;
    let (head, data) = split(rest).map_err(PourError::Url)?;
    if head.is_base64 {
        return pour_base64(data, sink);
    }
    if data.chars().any(|character| !is_url_character(character)) {
        return Err(PourError::Url("the data has a character that has to be escaped"));
    }
    pour_escaped(data, sink)
}

fn pour_base64(data: &str, sink: &mut impl Write) -> Result<(), PourError> {
    const FAULT: PourError = PourError::Url("the data is not base64");
    let mut encoded = data.bytes().filter(|byte| *byte != b'\n').peekable();
    let (mut chunk, mut decoded) = (Vec::with_capacity(CHUNK_BYTES), Vec::new());
    while encoded.peek().is_some() {
        chunk.clear();
        chunk.extend(encoded.by_ref().take(CHUNK_BYTES));
        // Padding ends the data, not a chunk of it.
        if encoded.peek().is_some() && chunk.ends_with(b"=") {
            return Err(FAULT);
        }
        decoded.clear();
        BASE64.decode_vec(&chunk, &mut decoded).map_err(|_| FAULT)?;
        sink.write_all(&decoded).map_err(|_| PourError::Sink)?;
    }
    Ok(())
}

struct Head {
    is_base64: bool,
}

/// Media type and parameters, which end at a comma, and the data.
fn split(text: &str) -> Result<(Head, &str), &'static str> {
    const NO_COMMA: &str = "there is no comma before the data";
    let type_end = text.find([',', ';']).ok_or(NO_COMMA)?;
    media_type(&text[..type_end])?;
    let mut rest = &text[type_end..];
    loop {
        if let Some(data) = rest.strip_prefix(',') {
            return Ok((Head { is_base64: false }, data));
        }
        rest = rest.strip_prefix(';').ok_or("there is text behind a parameter")?;
        let name_end = rest.find([',', '=']).ok_or(NO_COMMA)?;
        let name = &rest[..name_end];
        if name.is_empty() || !name.chars().all(is_token_character) {
            return Err("a parameter's name is not valid");
        }
        if let Some(data) = rest[name_end..].strip_prefix(',') {
            return match name {
                "base64" => Ok((Head { is_base64: true }, data)),
                _ => Err("the last parameter has no value, and is not `base64`"),
            };
        }
        rest = value(&rest[name_end + 1..])?;
    }
}

/// Takes a parameter's value, gives what is behind it.
fn value(text: &str) -> Result<&str, &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).ok_or("there is no comma before the data")?;
        if end == 0 || !text[..end].chars().all(is_token_character) {
            return Err("a parameter's value is not valid");
        }
        return Ok(&text[end..]);
    };
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok(&quoted[index + 1..]),
            '\\' => drop(characters.next()),
            character if !character.is_ascii() => break,
            _ => {}
        }
    }
    Err("a parameter's quotes are not closed")
}

fn media_type(text: &str) -> Result<(), &'static str> {
    const KINDS: [&str; 7] =
        ["text", "image", "audio", "video", "application", "message", "multipart"];
    if text.is_empty() {
        return Ok(());
    }
    let (kind, subtype) = text.split_once('/').ok_or("the media type has no `/`")?;
    let is_own = kind.starts_with("x-") || kind.starts_with("X-");
    let is_known = is_own || KINDS.iter().any(|known| kind.starts_with(known));
    let is_token = |text: &str| !text.is_empty() && text.chars().all(is_token_character);
    (is_known && is_token(kind) && is_token(subtype))
        .then_some(())
        .ok_or("the media type is not valid")
}

/// RFC 2045 section 5.1.
fn is_token_character(character: char) -> bool {
    character.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(character)
}

fn is_url_character(character: char) -> bool {
    character.is_ascii_graphic() && !"<>#\"{}|\\^[]`".contains(character)
}

fn pour_escaped(data: &str, sink: &mut impl Write) -> Result<(), PourError> {
    let mut bytes = data.bytes();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES.min(data.len()));
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(PourError::Url("a `%` is not followed by two hex digits"));
            };
            chunk.push(u8::try_from(high * 16 + low).expect("two hex digits make a byte"));
        } else {
            chunk.push(byte);
        }
        if chunk.len() == CHUNK_BYTES {
            sink.write_all(&chunk).map_err(|_| PourError::Sink)?;
            chunk.clear();
        }
    }
    sink.write_all(&chunk).map_err(|_| PourError::Sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_urls() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let encoded = base64::prelude::BASE64_STANDARD.encode(&bytes);
        assert_eq!(decode(&format!("data:;base64,{encoded}")).unwrap(), bytes);
        let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(decode(&format!("data:,{escaped}")).unwrap(), bytes);
        // Padding in the middle, just where a chunk ends.
        let padded = format!("{}YQ=={}", "a".repeat(CHUNK_BYTES - 4), "a".repeat(8));
        assert!(decode(&format!("data:;base64,{padded}")).is_err());
    }

    #[test]
    fn urls() {
        for (url, expected) in [
            ("data:,", ""),
            ("data:,a%20b%2C", "a b,"),
            ("data:;base64,aGVsbG8=", "hello"),
            ("data:;base64,aGVs\nbG8=", "hello"),
            ("data:;base64,", ""),
            ("data:text/plain;charset=utf-8;base64,aGVsbG8=", "hello"),
            ("data:text/plain;a=\"b;c,\\\"\",x", "x"),
            ("data:x-own/thing,x", "x"),
            ("data:;a=b,x", "x"),
        ] {
            assert_eq!(decode(url).unwrap(), expected.as_bytes(), "{url}");
        }
        for url in [
            "data:",
            "data:x",
            "text:,",
            "data:text,x",
            "data:foo/bar,x",
            "data:;,x",
            "data:;utf8,x",
            "data:;base64,abc",
            "data:;base64,***",
            "data:,%zz",
            "data:,%2",
            "data:, ",
            "data:,é",
            "data:,<",
            "data:;a=,x",
            "data:;a=\"b,x",
            "data:te xt/plain,x",
            "data:text/,x",
        ] {
            assert!(decode(url).is_err(), "{url}");
        }
    }
}
