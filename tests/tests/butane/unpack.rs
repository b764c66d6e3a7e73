//! Data URLs as the bytes they stand for: two compilers may write the same bytes differently.

use std::io::Read;

use serde_json::Value;

/// Replaces each data URL and its compression by the bytes they stand for. Whether there is a `compression` stays.
pub(crate) fn unpack(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unpack),
        Value::Object(entries) => {
            entries.values_mut().for_each(unpack);
            let source = entries.get("source").and_then(Value::as_str).unwrap_or_default();
            let Some(mut bytes) = decode(source) else { return };
            if let Some(compression) = entries.get_mut("compression") {
                let mut unzipped = Vec::new();
                if *compression == "gzip"
                    && flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unzipped).is_ok()
                {
                    *compression = "".into();
                    bytes = unzipped;
                }
            }
            let text = bytes.escape_ascii().to_string();
            entries.insert("source".into(), format!("the bytes `{text}`").into());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The bytes of a data URL as compilers write them: without a media type.
fn decode(url: &str) -> Option<Vec<u8>> {
    if let Some(encoded) = url.strip_prefix("data:;base64,") {
        return base64(encoded);
    }
    let mut bytes = Vec::new();
    let mut rest = url.strip_prefix("data:,")?.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let byte = if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte };
        bytes.push(byte);
    }
    Some(bytes)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in four {
            let digit = DIGITS.iter().position(|digit| digit == byte)?;
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        bits <<= 6 * (4 - four.len());
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}
