//! Specifiers of systemd's units, `%n`.
//!
//! Rules: systemd.unit(5) "Specifiers".

/// Resolves the specifiers that the unit's own name answers: `name` is `web@1.service`.
///
/// # Errors
/// The specifier that only the host it runs on can answer.
pub(super) fn resolved(text: &str, name: &str) -> Result<String, String> {
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
    fn specifiers_of_the_name() {
        for (text, expected) in [
            ("%i %p %n %N", Ok("a-b web web@a-b.service web@a-b")),
            ("%I 100%% %t/x", Ok("a/b 100% /run/x")),
            ("%H", Err("%H")),
            ("50%", Err("%")),
        ] {
            let made = resolved(text, "web@a-b.service");
            let made = made.as_ref().map(String::as_str).map_err(String::as_str);
            assert_eq!(made, expected, "{text}");
        }
    }
}
