//! Peers built from crates.io.

use anyhow::Result;
use e2e::peers::PeerSpec;
use e2e::peers::table::CrateProgram;

use super::entry;
use crate::checkout::cargo;
use crate::command::run;
use crate::progress::Progress;

/// Builds `program` into the cache, with the dependencies that its authors locked.
pub(super) fn build(peer: &PeerSpec, program: &CrateProgram, progress: &Progress) -> Result<()> {
    progress.step(format!("building {} {}: takes some minutes", program.name, program.version));
    // Its own target folder: it shares nothing with ours, and is not wanted afterwards.
    let target = tempfile::tempdir()?;
    entry::make(peer, |folder| {
        let mut install = cargo();
        install.args(["install", "--locked", "--quiet", "--version", program.version]);
        install.arg("--root").arg(folder).arg("--target-dir").arg(target.path());
        install.arg(program.name);
        // The checkout's own settings are for the checkout's own crates.
        install.current_dir(target.path());
        run(&mut install).map(drop)
    })
}
