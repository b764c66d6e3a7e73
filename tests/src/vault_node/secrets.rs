//! The search for secrets that ends every run.
//!
//! Vault's own record says which tokens and secret ids there were, the node's files which keys. All of them are looked for
//! in every file of the node but those that were made for them, in its logs, in what its commands printed, in what the
//! kernel tells of its process, and in Vault's log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use basalt_model::node::WRAPPED_SECRET_ID_PATH;
use serde_json::Value as Json;

use super::{VaultNode, made};
use crate::secrets_hunt::{Find, Hunt, assert_nothing};

const TOKEN: &str = "a token of Vault";
const SECRET_ID: &str = "a secret id";
const KEY: &str = "a private key";
const PASSWORD: &str = "the password of a PKCS#12 file";
const SERVER: &str = "a secret of the server";

/// Where the agent keeps its identity.
const IDENTITY_FOLDER: &str = "/var/lib/basalt/identity";
/// Where it lies for other programs while the node runs.
const RUNNING_IDENTITY_FOLDER: &str = "/run/basalt/identity";
/// Where the agent keeps what was issued.
const ISSUED_FOLDER: &str = "/var/lib/basalt/issued";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "PRIVATE KEY-----";

/// What a run has said, and the keys that it had on the way.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    texts: BTreeSet<(String, String)>,
    keys: BTreeSet<String>,
    passwords: BTreeSet<String>,
}

impl Said {
    /// Something was said.
    pub(super) fn add(&self, place: &str, text: String) {
        self.heard().texts.insert((place.to_owned(), text));
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl VaultNode {
    /// Remembers the keys that are there now: they may be gone at the end, and may not be anywhere else then.
    pub(super) fn learn(&self) {
        let mut left = vec![self.root().to_owned()];
        let mut heard = self.said.heard();
        while let Some(path) = left.pop() {
            let Ok(kind) = path.symlink_metadata().map(|seen| seen.file_type()) else { continue };
            if kind.is_dir() {
                left.extend(path.read_dir().into_iter().flatten().flatten().map(|it| it.path()));
            } else if path.file_name().is_some_and(|name| name == "p12.password") {
                let password = fs::read_to_string(&path).unwrap_or_default();
                heard.passwords.insert(password.trim().to_owned());
            } else if kind.is_file() && may_hold_keys(&path) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                heard.keys.extend(keys(&text.replace("\\n", "\n")));
            }
        }
    }

    /// Everything that was found where it may not be.
    fn search(&self) -> Vec<Find> {
        self.learn();
        let heard = self.said.heard();
        let mut hunt = Hunt::new();
        for secret in self.vault.secrets() {
            hunt.secret(SERVER, &secret);
        }
        for document in made(self.vault.recorded()) {
            find_secrets(&document, &mut |name, value| {
                hunt.secret(name, value);
            });
        }
        for key in &heard.keys {
            hunt.secret(KEY, key);
        }
        // That of a placeholder is empty.
        for password in heard.passwords.iter().filter(|it| !it.is_empty()) {
            hunt.secret(PASSWORD, password);
        }

        let mut allow = |path: &str, name: &str| {
            hunt.allow(&self.path(path), name);
        };
        allow(WRAPPED_SECRET_ID_PATH, TOKEN);
        allow(ISSUED_FOLDER, KEY);
        allow(ISSUED_FOLDER, PASSWORD);
        allow(RUNNING_IDENTITY_FOLDER, KEY);
        for file in self.secret_files() {
            allow(&file, SECRET_ID);
        }
        for directory in self.certificate_folders() {
            allow(&directory, KEY);
            allow(&directory, PASSWORD);
        }
        if !self.is_sealed() {
            for name in [KEY, TOKEN, SECRET_ID] {
                allow(IDENTITY_FOLDER, name);
            }
        }
        let mut finds = hunt.folder(self.root());
        for (place, text) in &heard.texts {
            finds.extend(hunt.text(place, text));
        }
        finds.extend(hunt.text("the log of Vault", &made(self.vault.log())));
        finds
    }

    /// Whether there is anything to seal secrets with; it is said in the identity's own file.
    fn is_sealed(&self) -> bool {
        let file = |name: &str| {
            fs::read_to_string(self.path(&format!("{IDENTITY_FOLDER}/{name}"))).unwrap_or_default()
        };
        let is_open =
            |text: String| text.contains("\"by\":\"file\"") || text.contains("\"by\": \"file\"");
        !["node.json", "enrolment.json"].into_iter().any(|name| is_open(file(name)))
    }
}

impl Drop for VaultNode {
    fn drop(&mut self) {
        // A test that has failed has something else to say.
        if !std::thread::panicking() {
            assert_nothing(&self.search());
        }
    }
}

/// Set-aside room, programs and the like are too large to be gone through at each step.
fn may_hold_keys(path: &Path) -> bool {
    path.metadata().is_ok_and(|seen| seen.len() < 1 << 20)
}

/// The private keys in a text, in PEM.
fn keys(text: &str) -> Vec<String> {
    let blocks = text.match_indices(BEGIN).filter_map(|(begin, _)| {
        let block = &text[begin..];
        let first = block.lines().next()?;
        let end = block.find(&first.replace(BEGIN, "-----END "))?;
        first.ends_with(END).then(|| block[..end].to_owned())
    });
    blocks.collect()
}

/// The secrets in a document of Vault's record.
fn find_secrets(document: &Json, found: &mut impl FnMut(&'static str, &str)) {
    match document {
        Json::Object(fields) => {
            for (name, value) in fields {
                let kind = match name.as_str() {
                    "client_token" | "token" => Some(TOKEN),
                    "secret_id" => Some(SECRET_ID),
                    _ => None,
                };
                match (kind, value) {
                    // Vault writes down what nonsense somebody sent as a token, too.
                    (Some(kind), Json::String(text)) if text.len() >= 8 => found(kind, text),
                    (_, value) => find_secrets(value, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| find_secrets(item, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_its_secrets() {
        let document = serde_json::json!({
            "auth": {"client_token": "s.sometoken", "display_name": "token"},
            "response": {"wrap_info": {"token": "s.wrapping", "accessor": "no secret"}, "data": [{"secret_id": "0123-4567"}]},
            "request": {"client_token": ""},
        });
        let mut found = Vec::new();
        find_secrets(&document, &mut |name, value| found.push((name, value.to_owned())));
        found.sort();
        let expected = [(SECRET_ID, "0123-4567"), (TOKEN, "s.sometoken"), (TOKEN, "s.wrapping")];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn keys_are_told_from_certificates() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nabc\n";
        let text = format!(
            "-----BEGIN CERTIFICATE-----\nxyz\n-----END CERTIFICATE-----\n{key}-----END EC PRIVATE KEY-----\n"
        );
        assert_eq!(keys(&text), [key]);
        assert!(keys("-----BEGIN PRIVATE KEY-----\nhalf").is_empty());
    }
}
