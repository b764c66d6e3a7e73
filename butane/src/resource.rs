//! Contents in the config itself: `inline` and `local` become a data URL (RFC 2397) in `source`.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::local;
use crate::lower::Context;
use crate::tree::{Tree, Value};
use crate::version::{Base, Target};

const GZIP: &str = "gzip";

/// Fills in `source` and `compression` of a lowered resource from `inline` or `local` of the one that was written.
pub(crate) fn fill(written: &Tree, lowered: &mut Tree, context: &mut Context) {
    // When several are set, the rules have reported it; the last one that the reference looks at wins.
    if let Some(path) = written.get("local") {
        match path.as_text().map(|text| local::read(context.files_dir, text)) {
            Some(Ok(contents)) => embed(path, &contents, lowered, context.target),
            Some(Err(error)) => {
                local::report(&error, &path.origin, context.findings);
                lowered.set("source", Tree { origin: path.origin.clone(), value: Value::Broken });
            }
            None => lowered.set("source", path.clone()),
        }
    }
    if let Some(inline) = written.get("inline") {
        match inline.as_text() {
            Some(text) => embed(inline, text.as_bytes(), lowered, context.target),
            None => lowered.set("source", inline.clone()),
        }
    }
}

/// Puts `contents`, which came from the field `from`, into a lowered resource.
pub(crate) fn embed(from: &Tree, contents: &[u8], lowered: &mut Tree, target: &Target) {
    let is_compressed = lowered.some_text("compression").is_some();
    let data = data_url(contents, Forms::of(target, is_compressed));
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

/// The forms among which the shortest is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms {
    /// Percent-escaped, whatever the length. `compression` is the person's.
    Escaped,
    /// Percent-escaped or base64. `compression` is the person's: what is compressed is not compressed again.
    Compressed,
    /// Percent-escaped or base64.
    Plain,
    /// Percent-escaped, base64, or base64 of gzip.
    All,
}

impl Forms {
    pub(crate) fn of(target: &Target, is_compressed: bool) -> Forms {
        if target.base == Base::V0_1 {
            Forms::Escaped
        } else if is_compressed {
            Forms::Compressed
        } else if target.openshift.is_some_and(|openshift| !openshift.compresses()) {
            Forms::Plain
        } else {
            Forms::All
        }
    }
}

/// The shortest of the forms.
///
/// `compression` is set to the empty text rather than left away: a config that is merged into another one must not
/// inherit the other's.
pub(crate) fn data_url(contents: &[u8], forms: Forms) -> DataUrl {
    let escaped_length =
        1 + contents.iter().map(|byte| if is_unreserved(*byte) { 1 } else { 3 }).sum::<usize>();
    let base64_length = match forms {
        Forms::Escaped => usize::MAX,
        Forms::Compressed | Forms::Plain | Forms::All => {
            BASE64_PREFIX.len() + encoded_length(contents.len())
        }
    };
    let mut shortest = escaped_length.min(base64_length);
    let mut compression = matches!(forms, Forms::Plain | Forms::All).then_some("");
    let mut zipped = None;
    if forms == Forms::All {
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
    fn check(contents: &str, forms: Forms, url: &str, compression: Option<&str>) {
        let data = data_url(contents.as_bytes(), forms);
        assert_eq!((data.url.as_str(), data.compression), (url, compression));
    }

    #[test]
    fn the_shortest_form() {
        check("", Forms::All, "data:,", Some(""));
        check("a b", Forms::All, "data:,a%20b", Some(""));
        check("é", Forms::All, "data:,%C3%A9", Some(""));
        check("[[[[[[", Forms::All, "data:;base64,W1tbW1tb", Some(""));
        // As long in both forms: escaping wins.
        check("[[[[[", Forms::All, "data:,%5B%5B%5B%5B%5B", Some(""));
        check(
            &"[".repeat(60),
            Forms::Compressed,
            &format!("data:;base64,{}", "W1tb".repeat(20)),
            None,
        );
        check("[[[[[[", Forms::Escaped, "data:,%5B%5B%5B%5B%5B%5B", None);
        check("[[[[[[", Forms::Plain, "data:;base64,W1tbW1tb", Some(""));
        assert!(data_url(&[b'a'; 1000], Forms::Plain).url.len() > 1000);
        let data = data_url("a".repeat(1000).as_bytes(), Forms::All);
        assert!(data.url.len() < 80 && data.url.starts_with("data:;base64,H4sI"), "{data:?}");
        assert_eq!(data.compression, Some("gzip"));
    }
}
