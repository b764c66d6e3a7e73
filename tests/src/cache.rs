//! Where peers, trees and machines are kept: one folder outside the checkout, shared by all checkouts of a user.
//!
//! What is in it can be thrown away at any time while no test runs. Entries are named after a hash of what they are
//! made from, so they are never changed, only added.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Pause between looks for a free place.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The cache folder: `$BASALT_CACHE`, else `$XDG_CACHE_HOME/basalt`, else `~/.cache/basalt`. It may not exist yet.
pub fn folder() -> PathBuf {
    let home = std::env::home_dir().map(PathBuf::into_os_string);
    choose(std::env::var_os("BASALT_CACHE"), std::env::var_os("XDG_CACHE_HOME"), home)
}

/// A name for what is made from `parts`: 12 hex digits, different for different parts.
pub fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length in front, no two lists of parts run together to the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Waits for the lock `name` in the cache folder and holds it until the returned file is dropped, or the process ends.
///
/// # Errors
/// When the folder or the lock's file cannot be made.
pub fn lock(name: &str) -> io::Result<File> {
    let file = lock_file(&folder(), name)?;
    file.lock()?;
    Ok(file)
}

/// Waits for one of `places` that the name has in the cache folder, and holds it as [`lock`] does: so many may have it at
/// once, of this process and others.
///
/// # Errors
/// When the folder or the lock's file cannot be made.
pub fn place(name: &str, places: usize) -> io::Result<File> {
    place_in(&folder(), name, places)
}

fn place_in(folder: &Path, name: &str, places: usize) -> io::Result<File> {
    loop {
        for number in 0..places {
            let file = lock_file(folder, &format!("{name}-{number}"))?;
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn lock_file(folder: &Path, name: &str) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    File::options().create(true).append(true).open(folder.join(format!("{name}.lock")))
}

/// The XDG base directory specification wants relative paths ignored, so they are, in all three.
fn choose(own: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> PathBuf {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(own)
        .or_else(|| absolute(xdg).map(|folder| folder.join("basalt")))
        .or_else(|| absolute(home).map(|folder| folder.join(".cache/basalt")))
        // A system service has no home.
        .unwrap_or_else(|| PathBuf::from("/var/cache/basalt"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn there_are_so_many_places() {
        let folder = tempfile::tempdir().unwrap();
        let take = || place_in(folder.path(), "a", 2).unwrap();
        let (first, _second) = (take(), take());
        let names = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names(), 2);
        // The third waits for one of them.
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(200));
                drop(first);
            });
            take();
        });
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert_eq!(names(), 2);
    }

    #[track_caller]
    fn check(own: &str, xdg: &str, home: &str, expected: &str) {
        let value = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        assert_eq!(choose(value(own), value(xdg), value(home)), Path::new(expected));
    }

    #[test]
    fn the_first_absolute_folder_wins() {
        check("/own", "/xdg", "/home/a", "/own");
        check("", "/xdg", "/home/a", "/xdg/basalt");
        check("", "", "/home/a", "/home/a/.cache/basalt");
        check("relative", "relative", "/home/a", "/home/a/.cache/basalt");
        check("", "", "", "/var/cache/basalt");
    }

    #[test]
    fn keys_tell_parts_apart() {
        assert_eq!(key(&["a", "bc"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", "bc"]), key(&["ab", "c"]));
        assert_eq!(key(&[]).len(), 12);
    }

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock_file(folder.path(), "x").unwrap();
        first.lock().unwrap();
        let second = lock_file(folder.path(), "x").unwrap();
        assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
        drop(first);
        second.try_lock().unwrap();
    }
}
