//! Credentials of registries, from the file that podman, skopeo and docker log in to.
//!
//! Format: <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::oci::registry::Reference;

/// A user and a password. Shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub(super) user: String,
    /// The password.
    pub(super) password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// A file that no credentials can be read from. Repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It is no such file.
    #[error("it is not a file of registry credentials")]
    Form,
    /// What it has for the registry is no user and password.
    #[error("its entry for `{0}` is not `USER:PASSWORD` in base64")]
    Entry(String),
    /// A program would have to be run.
    #[error("it leaves the credentials of `{0}` to a credential helper, which is not run")]
    Helper(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Entry {
    #[serde(default)]
    auth: String,
}

/// The credentials for a reference: those of its repository, of a folder above it, or of its registry, whichever is
/// nearest. `None` when the file has none.
///
/// # Errors
/// When the file is none, or what is there cannot be used.
pub fn find(json: &str, reference: &Reference) -> Result<Option<Credentials>, CredentialsError> {
    let file: File = serde_json::from_str(json).map_err(|_| CredentialsError::Form)?;
    let name = reference.name();
    let mut key = name.as_str();
    loop {
        let is_registry = key == reference.registry;
        let found = file.auths.get(key).or_else(|| match is_registry {
            // As docker writes it.
            true => file.auths.get(&format!("https://{key}")),
            false => None,
        });
        if let Some(entry) = found.filter(|entry| !entry.auth.is_empty()) {
            return decode(&entry.auth)
                .map(Some)
                .ok_or_else(|| CredentialsError::Entry(key.to_owned()));
        }
        if is_registry {
            break;
        }
        key = key.rsplit_once('/').map_or(reference.registry.as_str(), |(above, _)| above);
    }
    match file.cred_helpers.contains_key(&reference.registry) {
        true => Err(CredentialsError::Helper(reference.registry.clone())),
        false => Ok(None),
    }
}

fn decode(auth: &str) -> Option<Credentials> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(auth.trim()).ok()?);
    let (user, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    let password = password.trim_end_matches('\0').to_owned();
    Some(Credentials { user: user.to_owned(), password: Zeroizing::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, reference: &str, expected: Result<Option<&str>, CredentialsError>) {
        let found = find(json, &reference.parse().unwrap());
        let found = found.map(|c| c.map(|c| format!("{}:{}", c.user, *c.password)));
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn the_nearest_entry_counts() {
        let auth = |text: &str| BASE64_STANDARD.encode(text);
        let json = format!(
            r#"{{"auths": {{"registry.example": {{"auth": "{}"}},
                "registry.example/team": {{"auth": "{}"}},
                "https://other.example": {{"auth": "{}"}},
                "bad.example": {{"auth": "!"}}, "empty.example": {{}}}},
                "credHelpers": {{"helped.example": "secretservice"}}}}"#,
            auth("a:one"),
            auth("b:two:three"),
            auth("c:four")
        );
        check(&json, "registry.example/x:1", Ok(Some("a:one")));
        check(&json, "registry.example/team/x/y:1", Ok(Some("b:two:three")));
        check(&json, "registry.example/teams/x:1", Ok(Some("a:one")));
        check(&json, "other.example/x:1", Ok(Some("c:four")));
        check(&json, "empty.example/x:1", Ok(None));
        check(&json, "registry.example:5000/x:1", Ok(None));
        let bad = CredentialsError::Entry("bad.example".to_owned());
        check(&json, "bad.example/x:1", Err(bad));
        let helped = CredentialsError::Helper("helped.example".to_owned());
        check(&json, "helped.example/x:1", Err(helped));
        check("1", "registry.example/x:1", Err(CredentialsError::Form));
    }

    #[test]
    fn nothing_is_shown() {
        let credentials = decode(&BASE64_STANDARD.encode("me:hidden")).unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials");
    }
}
