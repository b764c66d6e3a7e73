//! References: `registry.example:5000/team/hello:1`, or by digest.

use std::fmt;
use std::str::FromStr;

use crate::io::digest::Digest;

/// The name of an image or artefact in a registry. The registry is always named: no default is anyone's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port where there is one.
    pub registry: String,
    /// `team/hello`.
    pub repository: String,
    /// Which one.
    pub version: Version,
}

/// Which of the manifests of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Whatever has the tag.
    Tag(String),
    /// Exactly this one.
    Digest(Digest),
}

/// A text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a reference: {why}")]
pub struct NotAReference {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Reference {
    /// Registry and repository, `registry.example/team/hello`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}:{tag}", self.name()),
            Version::Digest(digest) => write!(f, "{}@{digest}", self.name()),
        }
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    /// Format: <https://github.com/distribution/reference>, less what stands for Docker's own registry.
    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let refused = |why| NotAReference { text: text.to_owned(), why };
        if text.contains("://") {
            return Err(refused("it does not begin with the name of a registry"));
        }
        let (name, version) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|_| refused("its digest is not one"))?;
                (name, Version::Digest(digest))
            }
            None => match text.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => (name, Version::Tag(tag.to_owned())),
                Some(_) | None => return Err(refused("it has no tag and no digest")),
            },
        };
        if let Version::Tag(tag) = &version {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let is_tag = !tag.is_empty() && tag.len() <= 128 && !tag.starts_with(['.', '-']);
            if !is_tag || !tag.bytes().all(is_plain) {
                return Err(refused("its tag is not one"));
            }
        }
        let (registry, repository) =
            name.split_once('/').ok_or_else(|| refused("it names no registry"))?;
        let (host, port) = match registry.rsplit_once(':') {
            Some((host, port)) if !registry.ends_with(']') => (host, Some(port)),
            Some(_) | None => (registry, None),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte);
        let is_named = host.contains(['.', '[']) || host == "localhost" || port.is_some();
        if !is_named || host.is_empty() || !host.bytes().all(is_host) {
            return Err(refused("it does not begin with the name of a registry"));
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(refused("the port of its registry is not one"));
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii() && is_plain(c as u8))
                && part.ends_with(|c: char| c.is_ascii() && is_plain(c as u8))
                && part.bytes().all(|byte| is_plain(byte) || b"._-".contains(&byte))
        };
        if !repository.split('/').all(is_part) || repository.len() > 255 {
            return Err(refused("its repository is not a path of names in lower case"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let digest = Digest::of(b"a");
        for text in [
            "registry.example/a:1".to_owned(),
            "registry.example:5000/team/hello-1:v1.2_3".to_owned(),
            "localhost/a:1".to_owned(),
            "[::1]:5000/a:1".to_owned(),
            format!("registry.example/team/a@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("registry.example/a", "it has no tag and no digest"),
            ("registry.example:5000/a", "it has no tag and no digest"),
            ("a:1", "it names no registry"),
            ("team/a:1", "it does not begin with the name of a registry"),
            ("registry.example/A:1", "its repository is not a path of names in lower case"),
            ("registry.example/a/../b:1", "its repository is not a path of names in lower case"),
            ("registry.example/a:-1", "its tag is not one"),
            ("registry.example/a@sha256:00", "its digest is not one"),
            ("registry.example:x/a:1", "the port of its registry is not one"),
            ("https://images.example/a:1", "it does not begin with the name of a registry"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap_err().why, why, "{text}");
        }
    }
}
