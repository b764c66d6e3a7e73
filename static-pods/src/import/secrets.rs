//! Values that must not stand in a manifest, and where they are taken from instead.

use basalt_model::secret_value::{is_plain, passwords};

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
    const ENDS: [&str; 3] = ["PASSWORD", "TOKEN", "SECRET"];
    if value.contains("-----BEGIN") || passwords(value).next().is_some() {
        return true;
    }
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let is_place = words.last().is_some_and(|word| ["FILE", "PATH", "DIR"].contains(word));
    let is_named =
        words.iter().any(|word| WORDS.contains(word) || ENDS.iter().any(|end| word.ends_with(end)));
    is_named && !is_place && !is_plain(value)
}

/// Whether a text of many lines holds a secret: a line `NAME=VALUE` or `NAME: VALUE`, or a word that is one by itself.
pub(super) fn is_in(text: &str) -> bool {
    let plain = |word: &str| word.trim().trim_matches(['"', '\'', ',', ';']).to_owned();
    text.lines().any(|line| {
        let pair = line.split_once(['=', ':']).filter(|(name, _)| !name.contains("//"));
        is_secret("", line)
            || pair.is_some_and(|(name, value)| is_secret(&plain(name), &plain(value)))
    })
}

/// The name of the file of a secret: `web-db-password`.
pub(super) fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    text.chars().map(plain).collect::<String>().trim_matches('-').to_owned()
}

/// Where a container finds the file of a secret, unless it says so itself.
pub(super) fn target(file: &str) -> String {
    format!("/run/secrets/{file}")
}

/// Takes secrets out of the words of a command of `container`: `--password=x` and `--password x` get the path of a
/// file. Gives the names of those files.
pub(super) fn redact(container: &str, words: &mut [String]) -> Vec<String> {
    let mut files = Vec::new();
    let mut previous: Option<String> = None;
    for word in words {
        let option = previous.take();
        let found = match (word.split_once('='), option) {
            (Some((name, value)), _) if is_secret(name, value) => {
                let last = name.rsplit(' ').next().unwrap_or(name);
                Some((format!("{name}="), last.to_owned()))
            }
            (_, Some(option)) if !word.starts_with('-') && is_secret(&option, word) => {
                Some((String::new(), option))
            }
            (None, _) if is_secret("", word) => Some((String::new(), "argument".to_owned())),
            _ => None,
        };
        if let Some((before, name)) = found {
            let file = file_name(&format!("{container}-{}", file_name(&name)));
            *word = format!("{before}{}", target(&file));
            files.push(file);
        }
        previous = Some(word.clone()).filter(|word| word.starts_with('-') && !word.contains('='));
    }
    files
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
    fn texts() {
        for (text, expected) in [
            ("listen 80;\n", false),
            ("a = b\nroot_password = \"hunter2\"\n", true),
            ("{\n  \"token\": \"abc\",\n}", true),
            ("a:\n  password: x\n", true),
            ("password_file: /run/secrets/a\n", false),
            ("upstream: http://u:p@h/\n", true),
            ("upstream: http://h:80/\n", false),
            ("-----BEGIN PRIVATE KEY-----\n", true),
            ("ssl_certificate_key /etc/tls.key;\n", false),
        ] {
            assert_eq!(is_in(text), expected, "{text}");
        }
    }

    #[test]
    fn commands() {
        let line = ["run", "--password=s3", "--token", "s4", "--keys", "-v", "http://u:s5@h"];
        let mut words = line.map(String::from);
        assert_eq!(redact("a", &mut words), ["a-password", "a-token", "a-v"]);
        let line = "run --password=/run/secrets/a-password --token /run/secrets/a-token --keys -v \
                    /run/secrets/a-v";
        assert_eq!(words.join(" "), line);
    }
}
