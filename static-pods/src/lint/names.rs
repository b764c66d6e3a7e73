//! What Kubernetes lets things be called. Each function says what is wrong with a name.

pub(super) fn dns_label(name: &str) -> Option<&'static str> {
    if name.len() > 63 {
        return Some("has more than 63 characters");
    }
    (!is_label(name)).then_some(
        "is not a DNS label: lower-case letters, digits and `-`, with a letter or digit at both ends",
    )
}

pub(crate) fn dns_subdomain(name: &str) -> Option<&'static str> {
    if name.len() > 253 {
        return Some("has more than 253 characters");
    }
    (!name.split('.').all(is_label)).then_some(
        "is not a DNS name: labels of lower-case letters, digits and `-`, with a letter or digit at both ends, joined \
         by `.`",
    )
}

/// A search domain of DNS: underscores are fine.
pub(super) fn search_domain(name: &str) -> Option<&'static str> {
    if name.len() > 253 {
        return Some("has more than 253 characters");
    }
    let is_part = |part: &str| {
        let rest = part.strip_prefix('_').unwrap_or(part);
        let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = rest.as_bytes();
        bytes.first().copied().is_some_and(is_end)
            && bytes.last().copied().is_some_and(is_end)
            && bytes.iter().all(|byte| is_end(*byte) || matches!(byte, b'-' | b'_'))
    };
    (!name.split('.').all(is_part)).then_some("is not a DNS name")
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(is_end)
        && bytes.last().is_some_and(is_end)
        && bytes.iter().all(|byte| is_end(byte) || *byte == b'-')
}

/// The key of a label, an annotation or a resource: a name, with a DNS name and `/` before it or not.
pub(crate) fn qualified(name: &str) -> Option<&'static str> {
    let name = match name.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        ["", _] => return Some("has nothing before its `/`"),
        [prefix, name] => match dns_subdomain(prefix) {
            Some(_) => return Some("has no DNS name in lower case before its `/`"),
            None => name,
        },
        _ => return Some("has more than one `/`"),
    };
    match name {
        "" => Some("has no name"),
        name if name.len() > 63 => Some("has a name of more than 63 characters"),
        name if !is_word(name) => Some(
            "is not a name of letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
        ),
        _ => None,
    }
}

pub(super) fn label_value(value: &str) -> Option<&'static str> {
    match value {
        "" => None,
        value if value.len() > 63 => Some("has more than 63 characters"),
        value if !is_word(value) => Some(
            "is not a label's value: letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
        ),
        _ => None,
    }
}

fn is_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

pub(super) fn port(name: &str) -> Option<&'static str> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > 15 {
        return Some("has more than 15 characters");
    }
    if name.is_empty() || !name.bytes().all(is_known) {
        return Some("is not a port's name: lower-case letters, digits and `-`");
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Some("has no letter");
    }
    if name.contains("--") || name.starts_with('-') || name.ends_with('-') {
        return Some("has a `-` at an end, or two of them together");
    }
    None
}

/// The name of an environment variable.
pub(crate) fn variable(name: &str) -> Option<&'static str> {
    let is_known = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    (name.is_empty() || !name.bytes().all(is_known))
        .then_some("is not a variable's name: printable ASCII characters other than `=`")
}

/// The key of a ConfigMap or Secret.
pub(super) fn data_key(key: &str) -> Option<&'static str> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (key.is_empty()
        || key.len() > 253
        || !key.bytes().all(is_known)
        || key == "."
        || key.starts_with(".."))
    .then_some("is not a key of letters, digits, `-`, `_` and `.`")
}

pub(super) fn header(name: &str) -> Option<&'static str> {
    (name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        .then_some("is not an HTTP header's name: letters, digits and `-`")
}

pub(super) fn sysctl(name: &str) -> Option<&'static str> {
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(is_end)
            && bytes.last().is_some_and(is_end)
            && bytes.iter().all(|byte| is_end(byte) || b"-_".contains(byte))
    };
    (name.len() > 253 || !name.split(['.', '/']).all(is_segment))
        .then_some("is not a sysctl's name")
}

/// A path below another: relative, and never up.
pub(super) fn descending_path(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("must be a relative path");
    }
    no_backsteps(path)
}

pub(super) fn no_backsteps(path: &str) -> Option<&'static str> {
    path.split('/').any(|part| part == "..").then_some("must not contain `..`")
}

/// A path below a volume that the kubelet writes.
pub(super) fn volume_path(path: &str) -> Option<&'static str> {
    descending_path(path).or_else(|| path.starts_with("..").then_some("must not start with `..`"))
}

/// An IP address, without leading zeros and not IPv4 written as IPv6.
pub(super) fn ip(address: &str) -> Option<&'static str> {
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Some("is an IPv4 address written as an IPv6 one")
        }
        Ok(_) => None,
        Err(_) => Some("is not an IP address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Option<&'static str>, good: &[&str], bad: &[&str]) {
        for name in good {
            assert_eq!(rule(name), None, "{name}");
        }
        for name in bad {
            assert!(rule(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(64);
        check(dns_label, &["a", "a-1", "0"], &["", "A", "-a", "a-", "a.b", "a_b", &long]);
        check(dns_subdomain, &["a.b-c.d"], &["", "a..b", "a.", "A.b", "a.-b"]);
        check(qualified, &["a", "A_b.c", "a.b/c"], &["", "/a", "a/", "a/b/c", "A/b", "-a", &long]);
        check(label_value, &["", "a.B_c"], &["-", "a b", "ä", &long]);
        check(port, &["http", "a1"], &["", "1", "a--b", "-a", "HTTP", "abcdefghijklmnop"]);
        check(variable, &["A", "1", "a b", "-"], &["", "A=B", "ä", "a\tb"]);
        check(data_key, &["a.b", ".a"], &["", ".", "..", "..a", "a/b"]);
        check(sysctl, &["net.ipv4.a", "net/ipv4/a"], &["", "net..a", "Net.a", "a."]);
        check(volume_path, &["a/b", "a..b"], &["/a", "../a", "..a", "a/../b"]);
        check(
            ip,
            &["1.2.3.4", "::1"],
            &["", "1.2.3", "01.2.3.4", "::ffff:1.2.3.4", "fe80::1%eth0"],
        );
        check(search_domain, &["a._tcp.b"], &["", "a b", "_", "a."]);
    }
}
