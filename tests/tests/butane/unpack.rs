//! What comes out of a compiler as a value, with data URLs as the bytes they stand for: two compilers may write the
//! same differently.

use std::io::Read;

use basalt_model::report::Report;
use basalt_model::yaml::{self, ScalarStyle, Yaml, scalar};
use serde_json::Value;

/// The value of an Ignition config in JSON, or of a MachineConfig in YAML.
pub(crate) fn value_of(text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let mut report = Report::new("output");
    let stream = yaml::parse(text.as_bytes(), &mut report).unwrap_or_else(|| panic!("{report}"));
    from_yaml(&stream.first.unwrap())
}

fn from_yaml(yaml: &Yaml) -> Value {
    match &yaml.value {
        yaml::Value::List(items) => items.iter().map(from_yaml).collect(),
        yaml::Value::Map(entries) => {
            let entry = |(key, value): &(Yaml, Yaml)| {
                (key.as_scalar().unwrap().text.clone(), from_yaml(value))
            };
            entries.iter().map(entry).collect()
        }
        yaml::Value::Scalar(text) if text.style != ScalarStyle::Plain => text.text.clone().into(),
        yaml::Value::Scalar(text) => match (scalar::as_integer(text), text.text.as_str()) {
            (Some(number), _) => i64::try_from(number).unwrap().into(),
            (None, "true") => true.into(),
            (None, "false") => false.into(),
            (None, "null") => Value::Null,
            (None, other) => other.into(),
        },
        yaml::Value::Alias(_) => panic!("compilers write no aliases"),
    }
}

/// Leaves null away, and replaces each data URL and its compression by the bytes they stand for. Whether there is a `compression` stays.
pub(crate) fn unpack(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unpack),
        Value::Object(entries) => {
            // To Ignition, null is nothing.
            entries.retain(|_, value| !value.is_null());
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
