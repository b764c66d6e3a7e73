//! Values that must not stand in a manifest, and where they are taken from instead.

/// The folder on the host where secrets of imported pods are expected, each in a file that a template of vault-agent
/// writes.
pub const SECRETS: &str = "/var/lib/basalt/secrets";

/// Whether the value of a variable or an argument called `name` is a secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    const WORDS: [&str; 14] = [
        "PASSWORD",
        "PASSWD",
        "PASS",
        "PW",
        "PASSPHRASE",
        "TOKEN",
        "SECRET",
        "SECRETS",
        "KEY",
        "APIKEY",
        "CREDENTIAL",
        "CREDENTIALS",
        "PAT",
        "PIN",
    ];
    if value.contains("-----BEGIN") || has_credentials(value) {
        return true;
    }
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let is_place = words.last().is_some_and(|word| ["FILE", "PATH", "DIR"].contains(word));
    let is_named = words.iter().any(|word| {
        WORDS.contains(word)
            || word.ends_with("PASSWORD")
            || word.ends_with("TOKEN")
            || word.ends_with("SECRET")
    });
    // A path or a switch tells nobody anything.
    let is_plain = value.is_empty()
        || value.starts_with('/')
        || ["true", "false", "yes", "no"].contains(&value);
    is_named && !is_place && !is_plain
}

/// `scheme://user:password@host`.
fn has_credentials(value: &str) -> bool {
    value.match_indices("://").any(|(index, _)| {
        let authority = value[index + 3..].split(['/', '?', '#', ' ']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
        user.is_some_and(|(_, password)| !password.is_empty())
    })
}

/// The name of the file of a secret: `web-db-password`.
pub(super) fn file_name(text: &str) -> String {
    let kept =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    kept.collect::<String>().trim_matches('-').to_owned()
}

/// Takes secrets out of the words of a command, and says how many there were. `--password=x` and `--password x`
/// become a path.
pub(super) fn redact(words: &mut [String]) -> usize {
    let mut found = 0;
    let mut previous: Option<String> = None;
    for word in words {
        let option = previous.take();
        let stands = match (word.split_once('='), option) {
            (Some((name, value)), _) if is_secret(name, value) => {
                let path = format!("{name}={SECRETS}/{}", file_name(name));
                *word = path;
                true
            }
            (_, Some(option)) if !word.starts_with('-') && is_secret(&option, word) => {
                *word = format!("{SECRETS}/{}", file_name(&option));
                true
            }
            (None, _) if has_credentials(word) || word.contains("-----BEGIN") => {
                *word = format!("{SECRETS}/argument");
                true
            }
            _ => false,
        };
        found += usize::from(stands);
        previous = Some(word.clone()).filter(|word| word.starts_with('-') && !word.contains('='));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        for (name, value, expected) in [
            ("DB_PASSWORD", "x", true),
            ("PGPASSWORD", "x", true),
            ("api-key", "x", true),
            ("GITHUB_TOKEN", "x", true),
            ("URL", "http://u:p@h/", true),
            ("CERT", "-----BEGIN PRIVATE KEY-----", true),
            ("URL", "http://h:80/a@b", false),
            ("DB_PASSWORD_FILE", "x", false),
            ("TLS_KEY", "/etc/tls.key", false),
            ("KEYBOARD", "x", false),
            ("MONKEY", "x", false),
            ("ALLOW_EMPTY_PASSWORD", "yes", false),
        ] {
            assert_eq!(is_secret(name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn commands() {
        let mut words = ["run", "--password=s3", "--token", "s4", "--keys", "-v", "http://u:s5@h"]
            .map(String::from);
        assert_eq!(redact(&mut words), 3);
        assert!(
            !words
                .iter()
                .any(|word| word.contains("s3") || word.contains("s4") || word.contains("s5")),
            "{words:?}"
        );
    }
}
