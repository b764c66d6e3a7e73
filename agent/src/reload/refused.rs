//! What a program refused, so that it is not asked again in every round: each question puts the new files in the place of
//! the old ones for a moment, and a program that restarts in that moment reads them.
//!
//! A config is asked about again when a file of it changes, when the program has another image, or when something changes
//! that it may name: a certificate that comes makes a config good that could not be loaded without it. What is remembered
//! is as old as the boot at most.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::NewFile;
use crate::host::Host;
use crate::host::files::{self, Attributes, ensure_own_directory};
use crate::host::look::{read, sha256};

/// One file for each pod.
const DIRECTORY: &str = "/run/basalt/refused";
/// Folders in folders that a config may name go no deeper than this.
const MAX_DEPTH: usize = 3;

/// A config that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// Digest of its files and of what they may name.
    config: String,
    /// The image whose program refused it.
    image: String,
    /// What the program said.
    said: String,
}

/// The digest of a config: its files as they are to be, and how the folders in `named` look now.
pub(super) fn digest(host: &Host, new: &[NewFile<'_>], named: &[String]) -> String {
    let mut text = String::new();
    for file in new {
        let NewFile { path, contents, .. } = file;
        let _ = writeln!(text, "{path} {}\n{contents}", contents.len());
    }
    for folder in named {
        describe(&host.real(folder), MAX_DEPTH, &mut text);
    }
    sha256(text.as_bytes())
}

/// Names, sizes and times are enough: what a program is given to read is replaced by renaming, with times of its own.
fn describe(path: &Utf8Path, depth: usize, text: &mut String) {
    // What cannot be seen looks different from what can.
    let Ok(seen) = path.metadata() else { return };
    let (inode, seconds, nanos) = (seen.ino(), seen.mtime(), seen.mtime_nsec());
    let _ = writeln!(text, "{path} {} {inode} {seconds}.{nanos}", seen.len());
    if depth == 0 || !seen.is_dir() {
        return;
    }
    let entries = path.read_dir_utf8().into_iter().flatten().flatten();
    let mut below: Vec<Utf8PathBuf> = entries.map(camino::Utf8DirEntry::into_path).collect();
    below.sort();
    for path in below {
        describe(&path, depth - 1, text);
    }
}

/// What the program said of this config, if it refused it before. `image` is that of the running program; while none
/// runs, the one that refused it is taken for the one that starts next.
pub(super) fn recall(host: &Host, pod: &str, config: &str, image: Option<&str>) -> Option<String> {
    let bytes = read(&path(host, pod)).ok()?;
    let refusal: Refusal = serde_json::from_slice(&bytes).ok()?;
    let is_it = refusal.config == config && image.is_none_or(|image| image == refusal.image);
    is_it.then_some(refusal.said)
}

/// Remembers that the program refused a config.
///
/// # Errors
/// It is asked again.
pub(super) fn remember(
    host: &Host,
    pod: &str,
    config: String,
    image: &str,
    said: &str,
) -> io::Result<()> {
    let refusal = Refusal { config, image: image.to_owned(), said: said.to_owned() };
    let text = serde_json::to_string(&refusal).expect("a refusal has string keys only");
    let attributes = |mode| Attributes { mode, owner: host.owner, label: None };
    ensure_own_directory(&host.path(DIRECTORY), attributes(0o700))?;
    files::replace(&path(host, pod), text.as_bytes(), attributes(0o600))
}

/// Forgets what was refused; there may be nothing.
pub(super) fn forget(host: &Host, pod: &str) {
    if let Err(error) = files::remove(&path(host, pod)) {
        tracing::debug!(%pod, %error, "cannot forget the config that was refused before");
    }
}

fn path(host: &Host, pod: &str) -> Utf8PathBuf {
    host.path(DIRECTORY).join(format!("{pod}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    #[test]
    fn a_refusal_is_remembered_for_as_long_as_nothing_changes() {
        let (_keep, host) = scratch_host();
        let attributes = Attributes { mode: 0o644, owner: host.owner, label: None };
        let digest = |contents: &str| {
            let file = NewFile { path: "/etc/basalt/pods/a/a.cfg", contents, attributes };
            digest(&host, &[file], &["/certificates".to_owned()])
        };
        let one = digest("one");
        assert_eq!(recall(&host, "a", &one, Some("image")), None);
        forget(&host, "a");
        remember(&host, "a", one.clone(), "image", "line 1").unwrap();
        assert_eq!(recall(&host, "a", &digest("one"), Some("image")).as_deref(), Some("line 1"));
        assert_eq!(recall(&host, "a", &one, None).as_deref(), Some("line 1"));
        assert_eq!(recall(&host, "a", &one, Some("another image")), None);
        assert_eq!(recall(&host, "a", &digest("two"), Some("image")), None);
        assert_eq!(recall(&host, "b", &one, Some("image")), None);

        // A certificate comes, and is renewed by a link that leads elsewhere.
        std::fs::create_dir_all(host.path("/certificates/.1")).unwrap();
        std::fs::create_dir_all(host.path("/certificates/.2")).unwrap();
        let link = |to| {
            let _ = std::fs::remove_file(host.path("/certificates/web"));
            std::os::unix::fs::symlink(to, host.path("/certificates/web")).unwrap();
        };
        link(".1");
        let came = digest("one");
        assert_eq!(recall(&host, "a", &came, Some("image")), None);
        link(".2");
        assert_ne!(digest("one"), came);
        remember(&host, "a", digest("one"), "image", "line 2").unwrap();
        assert_eq!(recall(&host, "a", &digest("one"), None).as_deref(), Some("line 2"));
        forget(&host, "a");
        assert_eq!(recall(&host, "a", &digest("one"), None), None);
    }
}
