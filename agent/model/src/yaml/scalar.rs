//! What a plain scalar means, by the rules of YAML 1.1 as Go's yaml.v3 applies them: Butane and the kubelet read so.

use super::{Scalar, ScalarStyle};

/// Empty, `~`, `null`, `Null` or `NULL` without quotes.
pub fn is_null(scalar: &Scalar) -> bool {
    scalar.style == ScalarStyle::Plain
        && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
}

/// A boolean where one is wanted: `true`, `false`, and YAML 1.1's `y n yes no on off`, in lower case, upper case or
/// with a capital.
pub fn as_bool(scalar: &Scalar) -> Option<bool> {
    if scalar.style != ScalarStyle::Plain {
        return None;
    }
    match scalar.text.as_str() {
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// An integer where one is wanted: decimal, `0x…`, `0b…`, `0o…` and YAML 1.1's `0…` for octal, with `_` between
/// digits. `08` is decimal 8, as a leading zero makes no octal number of it.
pub fn as_integer(scalar: &Scalar) -> Option<i128> {
    if scalar.style != ScalarStyle::Plain {
        return None;
    }
    let (sign, digits) = match scalar.text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, scalar.text.strip_prefix('+').unwrap_or(&scalar.text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let parse = |text: &str, radix| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        is_number.then(|| i128::from_str_radix(text, radix).ok()).flatten()
    };
    let prefixed =
        |prefix: &str, radix| digits.strip_prefix(prefix).and_then(|rest| parse(rest, radix));
    let value = prefixed("0x", 16)
        .or_else(|| prefixed("0X", 16))
        .or_else(|| prefixed("0b", 2))
        .or_else(|| prefixed("0B", 2))
        .or_else(|| prefixed("0o", 8))
        .or_else(|| prefixed("0O", 8))
        .or_else(|| prefixed("0", 8))
        .or_else(|| parse(&digits, 10))?;
    Some(sign * value)
}

/// Whether a person who writes decimal numbers would read another number than [`as_integer`]: `010` is 8.
pub fn is_surprising_integer(scalar: &Scalar) -> bool {
    let digits = scalar.text.trim_start_matches(['-', '+']).replace('_', "");
    let is_octal = digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit());
    let as_read = as_integer(scalar).map(i128::abs);
    is_octal && digits.starts_with('0') && as_read != digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), style: ScalarStyle::Plain }
    }

    #[test]
    fn integers() {
        let rows: [(&str, Option<i128>); 15] = [
            ("0", Some(0)),
            ("12", Some(12)),
            ("-7", Some(-7)),
            ("+7", Some(7)),
            ("0644", Some(0o644)),
            ("0o644", Some(0o644)),
            ("0x1a4", Some(0x1a4)),
            ("0b101", Some(5)),
            ("4_20", Some(420)),
            ("08", Some(8)),
            ("", None),
            ("1.5", None),
            ("abc", None),
            ("0x", None),
            ("_1", None),
        ];
        for (text, expected) in rows {
            assert_eq!(as_integer(&plain(text)), expected, "{text}");
        }
        let quoted = Scalar { text: "1".into(), style: ScalarStyle::DoubleQuoted };
        assert_eq!(as_integer(&quoted), None);
    }

    #[test]
    fn octal_in_disguise() {
        for text in ["010", "-0644", "0_17"] {
            assert!(is_surprising_integer(&plain(text)), "{text}");
        }
        for text in ["0", "00", "07", "08", "10", "0x10", "0o10", "1.5", ""] {
            assert!(!is_surprising_integer(&plain(text)), "{text}");
        }
    }

    #[test]
    fn booleans_and_null() {
        assert_eq!(as_bool(&plain("yes")), Some(true));
        assert_eq!(as_bool(&plain("N")), Some(false));
        assert_eq!(as_bool(&plain("yEs")), None);
        assert!(is_null(&plain("")) && is_null(&plain("~")) && !is_null(&plain("nil")));
    }
}
