//! Values that nobody may see: no log, no error, no `Debug` output, no core dump after they were used.

use std::fmt;
use std::io;

use camino::Utf8Path;
use ring::digest;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

/// No credential comes near this size; a file that does is something else.
const MAX_FILE_BYTES: usize = 64 << 10;
/// Permission bits for those who are neither owner nor group.
const OTHERS: u32 = 0o007;

/// A secret text: a token, a password, a private key in PEM. The memory is cleared when it goes.
#[derive(Clone, Default)]
pub(crate) struct Secret(Zeroizing<String>);

/// A file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    /// There is none.
    #[error("the secret file `{path}` is not there")]
    Missing { path: String },
    /// It cannot be read.
    #[error("cannot read the secret file `{path}`")]
    Read { path: String, source: io::Error },
    /// Others than its owner and group may read or change it.
    #[error("the secret file `{path}` is open to everybody: its mode is {mode:04o}")]
    Exposed { path: String, mode: u32 },
    /// Larger than any secret.
    #[error("the secret file `{path}` is larger than {} KiB", MAX_FILE_BYTES >> 10)]
    TooLarge { path: String },
    /// Not UTF-8, or with characters that no credential has.
    #[error("the secret file `{path}` holds no text")]
    NotText { path: String },
    /// Nothing but white space.
    #[error("the secret file `{path}` is empty")]
    Empty { path: String },
}

impl SecretFileError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::Empty { .. } => {
                "put the credential there, for root alone (mode 0600)"
            }
            Self::Read { .. } => "it has to be a regular file that root can read",
            Self::Exposed { .. } => {
                "take the credential for known to others: revoke it, and write a new one with mode 0600"
            }
            Self::TooLarge { .. } | Self::NotText { .. } => {
                "it has to hold the credential and nothing else"
            }
        }
    }
}

impl Secret {
    /// Takes the text over.
    pub(crate) fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A name for the secret that does not give it away, for secrets that nobody can guess: the first half of its
    /// SHA-256 digest in hex.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `text` without this secret, for texts by others who may have repeated it.
    pub(crate) fn scrub(&self, text: &str) -> String {
        match self.is_empty() {
            true => text.to_owned(),
            false => text.replace(self.expose(), "(secret)"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

/// What Vault has at a path: a JSON object whose values are secret. Its names may be shown.
#[derive(Clone, Default)]
pub(crate) struct SecretMap(serde_json::Map<String, serde_json::Value>);

impl SecretMap {
    /// Takes the object over.
    pub(crate) fn new(map: serde_json::Map<String, serde_json::Value>) -> SecretMap {
        SecretMap(map)
    }

    /// The object itself. Whoever calls this answers for where it goes.
    pub(crate) fn expose(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0
    }
}

impl fmt::Debug for SecretMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, Secret::default()))).finish()
    }
}

impl Drop for SecretMap {
    fn drop(&mut self) {
        self.0.values_mut().for_each(clear);
    }
}

fn clear(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.zeroize(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(clear),
        serde_json::Value::Object(map) => map.values_mut().for_each(clear),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// Reads the secret in a file, without the white space around it. `path` is the path of the running process, `shown` the
/// host's own name for it.
///
/// # Errors
/// When there is none, or when others than owner and group may read it or change it: then it is no secret.
pub(crate) fn read_file(path: &Utf8Path, shown: &str) -> Result<Secret, SecretFileError> {
    let shown = || shown.to_owned();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match openat(CWD, path.as_std_path(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Err(SecretFileError::Missing { path: shown() }),
        Err(error) => return Err(SecretFileError::Read { path: shown(), source: error.into() }),
        Ok(opened) => opened,
    };
    let unreadable = |source: io::Error| SecretFileError::Read { path: shown(), source };
    let stat = fstat(&opened).map_err(|error| unreadable(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    if stat.st_mode & OTHERS != 0 {
        return Err(SecretFileError::Exposed { path: shown(), mode: stat.st_mode & 0o7777 });
    }
    // One buffer that never grows: a moved one would leave a copy behind.
    let mut buffer = Zeroizing::new(vec![0; MAX_FILE_BYTES + 1]);
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(&opened, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(unreadable(error.into())),
        }
    }
    if filled > MAX_FILE_BYTES {
        return Err(SecretFileError::TooLarge { path: shown() });
    }
    let text = std::str::from_utf8(&buffer[..filled]).ok().map(str::trim);
    match text {
        Some("") => Err(SecretFileError::Empty { path: shown() }),
        Some(text) if !text.contains('\0') => Ok(Secret::new(text.to_owned())),
        _ => Err(SecretFileError::NotText { path: shown() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_shows_it() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(secret) Some((secret))");
        assert_eq!(secret.scrub("permission denied for hunter2"), "permission denied for (secret)");
        assert_eq!(Secret::default().scrub("abc"), "abc");
        assert!(!secret.fingerprint().contains("hunter2"));
        let serde_json::Value::Object(map) = serde_json::json!({"password": "hunter2", "n": 5})
        else {
            panic!("an object");
        };
        let map = SecretMap::new(map);
        assert_eq!(format!("{map:?}"), r#"{"password": (secret), "n": (secret)}"#);
    }

    #[test]
    fn a_file_is_read_when_it_is_a_secret() {
        let keep = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(keep.path()).unwrap();
        let path = folder.join("secret-id");
        let read = || read_file(&path, "/etc/secret-id");
        assert!(
            matches!(read(), Err(SecretFileError::Missing { path }) if path == "/etc/secret-id")
        );
        let write = |contents: &[u8], mode: u32| {
            std::fs::write(&path, contents).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for mode in [0o600, 0o400, 0o640] {
            write(b"\n the secret \n", mode);
            assert_eq!(read().unwrap().expose(), "the secret");
        }
        for mode in [0o604, 0o644, 0o602, 0o601] {
            write(b"the secret", mode);
            let error = read().unwrap_err();
            assert!(matches!(error, SecretFileError::Exposed { .. }), "{error}");
            assert!(!format!("{error:?}").contains("the secret"));
        }
        for (contents, expected) in
            [(&b" \n"[..], "is empty"), (b"\xff", "no text"), (b"a\0b", "no text")]
        {
            write(contents, 0o600);
            let error = read().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        write(&vec![b'a'; MAX_FILE_BYTES], 0o600);
        assert_eq!(read().unwrap().expose().len(), MAX_FILE_BYTES);
        write(&vec![b'a'; MAX_FILE_BYTES + 1], 0o600);
        assert!(matches!(read(), Err(SecretFileError::TooLarge { .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(read(), Err(SecretFileError::Read { .. })));
    }
}
