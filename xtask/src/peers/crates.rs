//! Peers built from crates.io.

use std::fs;

use anyhow::Result;
use e2e::peers::PeerSpec;
use e2e::peers::spec::CrateProgram;

use super::entry;
use crate::checkout::cargo;
use crate::command::run;
use crate::progress::Progress;

/// Builds `program` into the cache, with the dependencies that its authors locked.
pub(super) fn build(peer: &PeerSpec, program: &CrateProgram, progress: &Progress) -> Result<()> {
    progress.step(format!("building {} {}: takes some minutes", program.name, program.version));
    entry::make(peer, |folder| {
        // Its own target folder: it shares nothing with ours, and is not wanted afterwards. Not in /tmp, which may be
        // in memory and too small for it.
        let target = folder.join("target");
        fs::create_dir(&target)?;
        let mut install = cargo();
        install.args(["install", "--locked", "--quiet", "--version", program.version]);
        install.arg("--root").arg(folder).arg("--target-dir").arg(&target);
        install.arg(program.name);
        // The checkout's own settings are for the checkout's own crates.
        install.current_dir(&target);
        run(&mut install)?;
        Ok(fs::remove_dir_all(&target)?)
    })
}
