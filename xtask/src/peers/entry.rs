//! Entries of the cache: filled beside, then renamed, so that one is there whole or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use e2e::peers::PeerSpec;

/// What folders that are being filled begin with.
const UNFINISHED: &str = ".new-";

/// Makes the cache entry of `peer`: `fill` gets an empty folder, which becomes the entry when it succeeds.
/// The caller holds the lock on the cache's peers.
pub(super) fn make(peer: &PeerSpec, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let entry = peer.cache_folder().expect("only peers with a place in the cache are built");
    let parent = entry.parent().expect("entries are inside the cache");
    fs::create_dir_all(parent)
        .with_context(|| format!("cannot make `{}`; set BASALT_CACHE", parent.display()))?;
    remove_leftovers(parent)?;
    let beside = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent)?;
    // The temporary folder is for its owner alone; the entry is for everyone who can reach the cache.
    fs::set_permissions(beside.path(), fs::Permissions::from_mode(0o755))?;
    fill(beside.path())?;
    // A broken entry, without its program, would have been found missing: it gives way.
    if entry.exists() {
        fs::remove_dir_all(&entry)?;
    }
    fs::rename(beside.keep(), &entry)
        .with_context(|| format!("cannot put `{}` in place", entry.display()))
}

/// Removes what a killed run was filling: under the lock, nobody else is.
fn remove_leftovers(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
