//! The files of an identity.
//!
//! Certificate and sealed key are one document, so that they change as one whatever dies when. For other programs the pair
//! lies unsealed below `/run` while the node runs: two links into a folder that is exchanged as a whole, inside a folder
//! that stays, since containers have that one mounted.

use std::io;

use basalt_model::node::{IDENTITY_CERTIFICATE_PATH, IDENTITY_KEY_PATH, WRAPPED_SECRET_ID_PATH};
use camino::Utf8Path;
use rustix::fs::{CWD, renameat, symlinkat};
use serde::{Deserialize, Serialize};

use super::enrolment::Record;
use super::seal::Sealed;
use crate::host::files::{self, Attributes, temporary_name};
use crate::host::{Host, look};
use crate::secret::Secret;

/// The identity: certificate and sealed key.
pub(crate) const IDENTITY_PATH: &str = "/var/lib/basalt/identity/node.json";
/// How far the first login is.
pub(crate) const ENROLMENT_PATH: &str = "/var/lib/basalt/identity/enrolment.json";
/// The `schema` value this build writes and reads.
const SCHEMA: u32 = 1;
/// Root alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// In the folder below `/run`, the link that is exchanged. It leads to one of the two folders with files.
const CURRENT: &str = "..current";
const FOLDERS: [&str; 2] = ["..a", "..b"];

/// The document at [`IDENTITY_PATH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    schema: u32,
    /// With its chain, in PEM.
    pub(crate) certificate: String,
    /// PKCS#8 in PEM, sealed.
    pub(crate) key: Sealed,
}

impl Stored {
    pub(crate) fn new(certificate: String, key: Sealed) -> Stored {
        Stored { schema: SCHEMA, certificate, key }
    }
}

/// The identity as it is kept; `None` when there is none.
///
/// # Errors
/// When it cannot be read, or is none of this schema; the reason.
pub(crate) fn load(host: &Host) -> Result<Option<Stored>, String> {
    let Some(bytes) = read(host, IDENTITY_PATH)? else { return Ok(None) };
    let stored: Stored = serde_json::from_slice(&bytes)
        // The whole text could show what the document holds.
        .map_err(|error| format!("line {} column {}", error.line(), error.column()))?;
    match stored.schema {
        SCHEMA => Ok(Some(stored)),
        other => Err(format!("`schema` is {other}, not {SCHEMA}")),
    }
}

/// Keeps an identity in place of the one before.
pub(crate) fn keep(host: &Host, stored: &Stored) -> io::Result<()> {
    let text = serde_json::to_string_pretty(stored).expect("an identity has string keys only");
    write(host, IDENTITY_PATH, (text + "\n").as_bytes())
}

/// How far the first login is; `None` when none has begun.
///
/// # Errors
/// When the record cannot be read, or is none of this schema; the reason.
pub(crate) fn load_record(host: &Host) -> Result<Option<Record>, String> {
    read(host, ENROLMENT_PATH)?.map(|bytes| Record::parse(&bytes)).transpose()
}

/// Writes down how far the first login is.
pub(crate) fn keep_record(host: &Host, record: &Record) -> io::Result<()> {
    write(host, ENROLMENT_PATH, record.to_json().as_bytes())
}

/// Forgets the first login.
pub(crate) fn forget_record(host: &Host) -> io::Result<()> {
    remove(host, ENROLMENT_PATH)
}

/// Removes the wrapping token that was delivered.
pub(crate) fn forget_delivered(host: &Host) -> io::Result<()> {
    remove(host, WRAPPED_SECRET_ID_PATH)
}

/// Lays certificate and key out for the programs that log in as this node.
pub(crate) fn lay_out(host: &Host, certificate: &str, key: &Secret) -> io::Result<()> {
    let (certificate_path, key_path) =
        (Utf8Path::new(IDENTITY_CERTIFICATE_PATH), Utf8Path::new(IDENTITY_KEY_PATH));
    let names = [certificate_path, key_path].map(|path| path.file_name().expect("a file's path"));
    let folder = certificate_path.parent().expect("a file's path");
    let base = host.real(folder.as_str());
    let directory = Attributes { mode: DIRECTORY_MODE, owner: host.owner, label: None };
    let file = Attributes { mode: FILE_MODE, ..directory };
    step()?;
    files::ensure_directory(&base, directory)?;
    let used = base.join(CURRENT).read_link_utf8().ok();
    let free = FOLDERS.into_iter().find(|name| used.as_deref() != Some(Utf8Path::new(name)));
    let free = free.expect("one of two is free");
    step()?;
    files::ensure_own_directory(&base.join(free), directory)?;
    for (name, contents) in names.into_iter().zip([certificate, key.expose()]) {
        step()?;
        files::replace(&base.join(free).join(name), contents.as_bytes(), file)?;
    }
    link(&base, CURRENT, free)?;
    for name in names {
        let target = format!("{CURRENT}/{name}");
        if base.join(name).read_link_utf8().ok().as_deref() != Some(Utf8Path::new(&target)) {
            link(&base, name, &target)?;
        }
    }
    // The pair before is nobody's any more; its key has no reason to stay.
    if let Some(old) = used.filter(|old| FOLDERS.contains(&old.as_str())) {
        for name in names {
            step()?;
            files::remove(&base.join(&old).join(name))?;
        }
    }
    Ok(())
}

/// Makes `name` a link to `target`, in place of whatever link or file is there.
fn link(base: &Utf8Path, name: &str, target: &str) -> io::Result<()> {
    let beside = base.join(temporary_name(name));
    step()?;
    files::remove(&beside)?;
    step()?;
    symlinkat(target, CWD, beside.as_std_path())?;
    step()?;
    renameat(CWD, beside.as_std_path(), CWD, base.join(name).as_std_path())?;
    files::sync_directory(base)
}

fn read(host: &Host, path: &str) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, String> {
    match look::read_behind(&host.real(path)) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn write(host: &Host, path: &str, contents: &[u8]) -> io::Result<()> {
    let directory = Attributes { mode: DIRECTORY_MODE, owner: host.owner, label: None };
    let path = host.real(path);
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    step()?;
    files::ensure_directory(parent, directory)?;
    step()?;
    files::replace(&path, contents, Attributes { mode: FILE_MODE, ..directory })
}

fn remove(host: &Host, path: &str) -> io::Result<()> {
    step()?;
    files::remove(&host.real(path))
}

#[cfg(not(test))]
use crate::fault::point as step;

#[cfg(test)]
pub(crate) use self::cut::{step, with_steps};

/// Ends the agent between two changes of files, as a power cut would.
#[cfg(test)]
mod cut {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Fails when no more steps are left.
    pub(crate) fn step() -> io::Result<()> {
        match LEFT.get() {
            None => crate::fault::point(),
            Some(0) => Err(io::Error::other("cut")),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }

    /// Runs `work` with so many steps, and gives whether they were enough.
    pub(crate) async fn with_steps<T>(count: usize, work: impl Future<Output = T>) -> (T, bool) {
        LEFT.set(Some(count));
        let done = work.await;
        let was_enough = LEFT.get() != Some(0);
        LEFT.set(None);
        (done, was_enough)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::identity::seal::sealed_for_test;
    use crate::testing::scratch_host;

    fn mode(host: &Host, path: &str) -> u32 {
        host.real(path).metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn an_identity_is_read_back_and_closed_to_others() {
        let (_keep, host) = scratch_host();
        assert_eq!(load(&host), Ok(None));
        let stored = Stored::new("certificate".to_owned(), sealed_for_test("key"));
        keep(&host, &stored).unwrap();
        assert_eq!(load(&host), Ok(Some(stored)));
        assert_eq!(mode(&host, IDENTITY_PATH), 0o600);
        assert_eq!(mode(&host, "/var/lib/basalt/identity"), 0o700);
        std::fs::write(host.real(IDENTITY_PATH), r#"{"schema": 1, "key": "hunter2"}"#).unwrap();
        assert!(!load(&host).unwrap_err().contains("hunter2"));
    }

    fn laid_out(host: &Host) -> Option<(String, String)> {
        let read = |path: &str| std::fs::read_to_string(host.real(path)).ok();
        Some((read(IDENTITY_CERTIFICATE_PATH)?, read(IDENTITY_KEY_PATH)?))
    }

    /// A reader that follows the links once has one pair or the other, however the agent ends.
    #[tokio::test]
    async fn the_pair_changes_as_one() {
        for cut in 0.. {
            let (_keep, host) = scratch_host();
            let pair = |number: u32| (format!("certificate {number}"), format!("key {number}"));
            let put = |number: u32| {
                let (certificate, key) = pair(number);
                lay_out(&host, &certificate, &Secret::new(key))
            };
            put(1).unwrap();
            put(2).unwrap();
            let (_, was_enough) = with_steps(cut, async { put(3) }).await;
            let seen = laid_out(&host).unwrap();
            assert!([pair(2), pair(3)].contains(&seen), "cut {cut}: {seen:?}");
            put(4).unwrap();
            assert_eq!(laid_out(&host), Some(pair(4)));
            assert_eq!(mode(&host, IDENTITY_KEY_PATH), 0o600);
            let keys =
                FOLDERS.map(|name| host.real("/run/basalt/identity").join(name).join("key.pem"));
            assert_eq!(keys.iter().filter(|key| key.exists()).count(), 1, "the old key is gone");
            if was_enough {
                assert!(cut > 5);
                break;
            }
        }
    }

    #[test]
    fn what_lies_in_the_way_is_replaced() {
        let (_keep, host) = scratch_host();
        let folder = host.path("/run/basalt/identity");
        std::fs::create_dir_all(folder.join("..a")).unwrap();
        std::fs::write(folder.join("key.pem"), "a plain file").unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.join("..current")).unwrap();
        lay_out(&host, "certificate", &Secret::new("key".to_owned())).unwrap();
        assert_eq!(laid_out(&host), Some(("certificate".to_owned(), "key".to_owned())));
    }
}
