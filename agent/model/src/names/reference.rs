//! Names of container images, as registries and runtimes take them.
//!
//! Grammar: <https://github.com/distribution/reference/blob/main/reference.go>. The registry is always written out:
//! what `haproxy` alone means depends on the machine that reads it.

use std::net::Ipv6Addr;

/// The longest name without tag and digest.
const MAX_NAME: usize = 255;

/// The longest tag.
const MAX_TAG: usize = 128;

/// Whether `text` is `registry/name`, with a tag or without.
pub fn is_name(text: &str) -> bool {
    // A colon behind the last slash begins the tag; one before it belongs to the registry's port.
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    let Some((registry, path)) = name.split_once('/') else { return false };
    let is_written_out = registry.contains(['.', ':']) || registry == "localhost";
    name.len() <= MAX_NAME
        && is_written_out
        && is_registry(registry)
        && path.split('/').all(is_path_component)
        && tag.is_none_or(is_tag)
}

/// Whether `text` is a registry: a DNS name or an IP address (IPv6 in brackets), with a port or without.
pub fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| {
        let is_digits = port.bytes().all(|b| b.is_ascii_digit());
        is_digits && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => super::is_host(host) && !host.contains(':'),
    };
    is_host && port.is_none_or(is_port)
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_separator = |run: &[u8]| match run {
        [b'.'] | [b'_'] | [b'_', b'_'] => true,
        _ => run.iter().all(|b| *b == b'-'),
    };
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|end| end.is_some_and(is_word)) && bytes.split(is_word).all(is_separator)
}

fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_valid: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(is_valid(text), "{text}");
        }
        for text in bad {
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn names() {
        let long = format!("r.example/{}", "a".repeat(MAX_NAME));
        let long_tag = format!("r.example/a:{}", "a".repeat(MAX_TAG + 1));
        let good = [
            "r.example/a",
            "r.example:5000/a/b:1",
            "localhost/a",
            "[2001:db8::1]:5000/a",
            "192.0.2.1/a_b__c-d--e.f:V1.0-x_y",
        ];
        let bad = [
            "",
            "a",
            "a:1",
            "library/a",
            "r.example/",
            "r.example//a",
            "r.example/a/",
            "r.example/A",
            "R.example/a",
            "r.example/a:",
            "r.example/a:b:c",
            "r.example/a:.b",
            "r.example/a___b",
            "r.example/a..b",
            "r.example/a._b",
            "r.example/-a",
            "r.example/a-",
            "r.example:port/a",
            "r.example:0/a",
            "r.example:+1/a",
            "https://r.example/a",
            "r.example/a@sha256",
            "r.example/a b",
            &long,
            &long_tag,
        ];
        check(is_name, &good, &bad);
    }

    #[test]
    fn registries() {
        check(
            is_registry,
            &["r.example", "registry", "registry:5000", "192.0.2.1:5000", "[::1]", "[::1]:5000"],
            &["", ":5000", "r.example:", "r.example:65536", "::1", "[r.example]", "a/b", "a b"],
        );
    }
}
