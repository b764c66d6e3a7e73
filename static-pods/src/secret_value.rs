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
pub(crate) fn is_plain(value: &str) -> bool {
    value.is_empty() || value.starts_with('/') || ["true", "false", "yes", "no"].contains(&value)
}

/// The passwords in addresses, `scheme://user:password@`.
pub(crate) fn passwords(text: &str) -> impl Iterator<Item = &str> {
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
}
