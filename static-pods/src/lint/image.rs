//! References to images, as the kubelet takes them apart before it asks the runtime for them.
//!
//! Format: <https://pkg.go.dev/github.com/distribution/reference>

use super::tree::{At, beginning};
use super::{Effect, Sink};

/// The image of a container.
pub(super) fn of_container(at: &At<'_>, sink: &mut Sink<'_>) {
    if at.text().trim() != at.text() {
        let message = "the reference has white space around it";
        sink.refused("image", at, message, "remove it");
    } else {
        reference(at, sink);
    }
}

/// Any image.
pub(super) fn reference(at: &At<'_>, sink: &mut Sink<'_>) {
    let text = at.text();
    if let Some(wrong) = wrong(text) {
        let message = format!("`{}` {wrong}", beginning(text));
        let remedy = "write it as in `registry.example/name:tag`, or with `@sha256:…`";
        sink.add(Effect::NeverStarts, "image", at, message, remedy);
    }
}

/// Whether a reference names its image by digest.
pub(super) fn is_pinned(reference: &str) -> bool {
    reference.contains("@sha256:")
}

/// Whether something else was to make the text of this one.
pub(super) fn is_template(text: &str) -> bool {
    ["{{", "{%", "${", "<%"].iter().any(|mark| text.contains(mark))
}

/// What is wrong with a reference.
fn wrong(text: &str) -> Option<&'static str> {
    if is_template(text) {
        return Some("is a template that was not filled in");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some("has something other than a digest behind `@`");
    }
    let (domain, path) = match rest.split_once('/') {
        Some((first, path)) if is_domain_like(first) => (Some(first), path),
        _ => (None, rest),
    };
    if domain.is_none() && rest.len() == 64 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("is the identifier of an image, not a name");
    }
    let (name, tag) = match path.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (path, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("has something other than a tag behind `:`");
    }
    if domain.is_some_and(|domain| !is_domain(domain)) {
        return Some("does not begin with a registry");
    }
    if name.chars().any(|character| character.is_ascii_uppercase()) {
        return Some("has capital letters in its name");
    }
    if !name.split('/').all(is_component) {
        return Some("is not a reference to an image");
    }
    let length = domain.map_or("docker.io/library/".len(), |domain| domain.len() + 1) + name.len();
    (length > 255).then_some("is longer than 255 characters")
}

/// Whether the part before the first `/` is a registry, and not the first part of a name.
fn is_domain_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address =
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    host.split('.').all(is_part) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Runs of lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = |byte: Option<&u8>| byte.copied().is_some_and(is_word);
    if !ends(bytes.first()) || !ends(bytes.last()) {
        return false;
    }
    let separators = part.split(|character: char| u8::try_from(character).is_ok_and(is_word));
    separators.filter(|separator| !separator.is_empty()).all(|separator| {
        matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    bytes.first().copied().is_some_and(is_word)
        && bytes.len() <= 128
        && bytes.iter().all(|byte| is_word(*byte) || b".-".contains(byte))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for good in [
            "a",
            "a/b",
            "a.example/b:1",
            "localhost/a",
            "localhost:5000/a",
            "A.example/b",
            "Host/b",
            "a__b",
            "a---b",
            "a:1.2-3_x",
            "[::1]:5000/a",
            &digest,
        ] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for bad in [
            "A",
            "a/B",
            "a:",
            "a:b:c",
            "a@sha256:0",
            "a b",
            "a..b",
            "-a",
            "a/",
            "/a",
            "https://a.example/b",
            "a.example/b:{{ version }}",
            "a___b",
        ] {
            assert!(wrong(bad).is_some(), "{bad}");
        }
        assert!(wrong(&"0".repeat(64)).is_some());
    }
}
