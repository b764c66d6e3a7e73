//! Values that are no one's business, known by the name of their variable or by their look. What is told of them never
//! repeats them.

/// Parts of names of variables that hold secrets.
const NAMES: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "PRIVATE_KEY",
    "CREDENTIALS",
];

/// Endings of names of variables that hold where a secret is, or what it is called.
const POINTERS: [&str; 10] =
    ["_FILE", "_PATH", "_DIR", "_NAME", "_NAMESPACE", "_URL", "_TTL", "_MOUNT", "_ROLE", "_REF"];

/// How tokens of well-known services begin, and how long they are at least.
const TOKENS: [(&str, usize); 10] = [
    ("hvs.", 24),
    ("ghp_", 36),
    ("gho_", 36),
    ("github_pat_", 40),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 20),
    ("sk_live_", 20),
    ("eyJhbGciOi", 60),
];

/// Whether a variable of this name holds a secret itself, not where one is.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    NAMES.iter().any(|part| name.contains(part))
        && !POINTERS.iter().any(|ending| name.ends_with(ending))
}

/// What kind of secret a text holds by its look: a private key, an address with a password, the token of a well-known
/// service.
pub fn looks_secret(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    // A variable that is filled in later is no password.
    if passwords(text).any(|password| !password.starts_with('$')) {
        return Some("an address with a password in it");
    }
    let is_end = |c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c);
    let is_token = |word: &str| {
        TOKENS.iter().any(|(begin, least)| word.starts_with(begin) && word.len() >= *least)
    };
    text.split(is_end).any(is_token).then_some("a token")
}

/// Whether a value tells nobody anything, whatever it is called: nothing, a path, a switch.
pub fn is_plain(value: &str) -> bool {
    value.is_empty() || value.starts_with('/') || ["true", "false", "yes", "no"].contains(&value)
}

/// What kind of secret a value is that is nothing else: what stands by itself where a word or a path belongs. Numbers and
/// names that mean something else inside a text, such as a UUID, count here, and so do tokens that were cut short.
pub fn looks_secret_alone(value: &str) -> Option<&'static str> {
    let value = value.trim();
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let is_token = || {
        let mut marks = TOKENS.iter().map(|(begin, _)| *begin);
        let begins = marks.any(|begin| begin.ends_with(MARKS) && value.starts_with(begin));
        begins || value.starts_with("eyJ") && value.contains('.') || is_old_token(value)
    };
    match looks_secret(value) {
        Some(what) => Some(what),
        None if is_bootstrap_token(value) => Some("a bootstrap token"),
        None if is_word(value) && is_token() => Some("a token"),
        None => is_uuid(value).then_some("a secret id"),
    }
}

/// A text for a message: in backticks, or in words what kind of secret it looks like.
pub fn quoted(text: &str) -> String {
    match looks_secret_alone(text) {
        Some(what) => format!("what looks like {what}"),
        None => format!("`{text}`"),
    }
}

/// How the part of a token ends that tells whose it is.
const MARKS: [char; 3] = ['.', '_', '-'];

/// OpenBao's tokens, and those of Vault before 1.10: `s.` and 24 letters and digits, with a namespace at times.
fn is_old_token(value: &str) -> bool {
    let rest = value.strip_prefix("s.").or_else(|| value.strip_prefix("b."));
    rest.is_some_and(|rest| rest.bytes().take_while(u8::is_ascii_alphanumeric).count() >= 24)
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#token-format>
fn is_bootstrap_token(value: &str) -> bool {
    let is_part = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    value.split_once('.').is_some_and(|(id, secret)| is_part(id, 6) && is_part(secret, 16))
}

/// What Vault's secret ids and role ids are.
fn is_uuid(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|b| b.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex)
}

/// The passwords in addresses, `scheme://user:password@`.
pub fn passwords(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("://").filter_map(|(at, separator)| {
        let rest = &text[at + separator.len()..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let (user, _) = authority.rsplit_once('@')?;
        let (_, password) = user.split_once(':')?;
        (!password.is_empty()).then_some(password)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_and_what_is_not() {
        for name in ["DB_PASSWORD", "token", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["TOKEN_FILE", "SECRET_NAME", "USER", "TOKEN_TTL", "VAULT_TOKEN_PATH"] {
            assert!(!is_secret_name(name), "{name}");
        }
        let token = format!("hvs.{}", "a".repeat(24));
        for text in [
            "-----BEGIN EC PRIVATE KEY-----\nx",
            "postgres://me:hidden@db.example/x",
            "see \"amqp://a:b@c\"",
            &format!("token={token}"),
        ] {
            assert!(looks_secret(text).is_some(), "{text}");
        }
        for text in [
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "https://a.example:8080/b@c",
            "https://me@a.example",
            "postgres://me:$(PASSWORD)@db.example",
            "hvs.short",
        ] {
            assert_eq!(looks_secret(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_alone_tells_more() {
        for (value, expected) in [
            ("hvs.CAESIJ", "a token"),
            ("s.abcdefghijklmnopqrstuvwx", "a token"),
            ("eyJ0eXAiOiJKV1QifQ.e30.c2ln", "a token"),
            ("f2a0e5f4-8d0c-4d5c-9a55-0a9a2e1c7a11", "a secret id"),
            ("abcdef.0123456789abcdef", "a bootstrap token"),
            ("-----BEGIN EC PRIVATE KEY-----", "a private key"),
        ] {
            assert_eq!(looks_secret_alone(value), Some(expected), "{value}");
            assert_eq!(quoted(value), format!("what looks like {expected}"));
        }
        for value in [
            "/var/lib/basalt/identity/token",
            "run/hvs.d/token",
            "s.example",
            "token.txt",
            "n1",
            "192.0.2.1:99999",
            "",
        ] {
            assert_eq!(looks_secret_alone(value), None, "{value}");
            assert_eq!(quoted(value), format!("`{value}`"));
        }
    }
}
