//! Contents in the config itself: `inline` and `local` become a data URL (RFC 2397) in `source`.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::local;
use crate::lower::Context;
use crate::tree::{Tree, Value};

const GZIP: &str = "gzip";

/// Fills in `source` and `compression` of a lowered resource from `inline` or `local` of the one that was written.
pub(crate) fn fill(written: &Tree, lowered: &mut Tree, context: &mut Context) {
    // When several are set, the rules have reported it; the last one that the reference looks at wins.
    if let Some(path) = written.get("local") {
        match path.as_text().map(|text| local::read(context.files_dir, text)) {
            Some(Ok(contents)) => embed(path, &contents, lowered),
            Some(Err(error)) => {
                let finding = context.findings.error(&path.origin, error.to_string());
                if let Some(hint) = error.hint() {
                    finding.hint(hint);
                }
                lowered.set("source", Tree { origin: path.origin.clone(), value: Value::Broken });
            }
            None => lowered.set("source", path.clone()),
        }
    }
    if let Some(inline) = written.get("inline") {
        match inline.as_text() {
            Some(text) => embed(inline, text.as_bytes(), lowered),
            None => lowered.set("source", inline.clone()),
        }
    }
}

/// Puts `contents`, which came from the field `from`, into a lowered resource.
pub(crate) fn embed(from: &Tree, contents: &[u8], lowered: &mut Tree) {
    let data = data_url(contents, lowered.some_text("compression").is_some());
    lowered.set("source", Tree::text_at(&from.origin, data.url));
    if let Some(compression) = data.compression {
        lowered.set("compression", Tree::text_at(&from.origin, compression));
    }
}

/// Contents as a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DataUrl {
    pub url: String,
    /// What `compression` has to say; absent when the person has said it.
    pub compression: Option<&'static str>,
}

/// The shortest of three forms: percent-escaped, base64, and base64 of gzip. What `is_compressed` already is not
/// compressed again.
///
/// `compression` is set to the empty text rather than left away: a config that is merged into another one must not
/// inherit the other's.
pub(crate) fn data_url(contents: &[u8], is_compressed: bool) -> DataUrl {
    let escaped_length =
        1 + contents.iter().map(|byte| if is_unreserved(*byte) { 1 } else { 3 }).sum::<usize>();
    let base64_length = BASE64_PREFIX.len() + encoded_length(contents.len());
    let mut shortest = escaped_length.min(base64_length);
    let mut compression = (!is_compressed).then_some("");
    let mut zipped = None;
    if !is_compressed {
        let candidate = gzip(contents);
        let length = BASE64_PREFIX.len() + encoded_length(candidate.len());
        if length + GZIP.len() < shortest {
            shortest = length;
            compression = Some(GZIP);
            zipped = Some(candidate);
        }
    }
    let mut url = String::with_capacity("data:".len() + shortest);
    url.push_str("data:");
    match zipped {
        Some(zipped) => {
            url.push_str(BASE64_PREFIX);
            BASE64_STANDARD.encode_string(zipped, &mut url);
        }
        None if base64_length < escaped_length => {
            url.push_str(BASE64_PREFIX);
            BASE64_STANDARD.encode_string(contents, &mut url);
        }
        None => {
            url.push(',');
            escape(contents, &mut url);
        }
    }
    DataUrl { url, compression }
}

const BASE64_PREFIX: &str = ";base64,";

fn encoded_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// The unreserved characters of RFC 2396.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

fn escape(contents: &[u8], url: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in contents {
        if is_unreserved(byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.push(char::from(DIGITS[usize::from(byte >> 4)]));
            url.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The same bytes every time: no name, no time of day.
fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(contents).and_then(|()| encoder.finish()).expect("memory takes every byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(contents: &str, is_compressed: bool, url: &str, compression: Option<&str>) {
        let data = data_url(contents.as_bytes(), is_compressed);
        assert_eq!((data.url.as_str(), data.compression), (url, compression));
    }

    #[test]
    fn the_shortest_form() {
        check("", false, "data:,", Some(""));
        check("a b", false, "data:,a%20b", Some(""));
        check("é", false, "data:,%C3%A9", Some(""));
        check("[[[[[[", false, "data:;base64,W1tbW1tb", Some(""));
        // As long in both forms: escaping wins.
        check("[[[[[", false, "data:,%5B%5B%5B%5B%5B", Some(""));
        check(&"[".repeat(60), true, &format!("data:;base64,{}", "W1tb".repeat(20)), None);
        let data = data_url("a".repeat(1000).as_bytes(), false);
        assert!(data.url.len() < 80 && data.url.starts_with("data:;base64,H4sI"), "{data:?}");
        assert_eq!(data.compression, Some("gzip"));
    }
}
