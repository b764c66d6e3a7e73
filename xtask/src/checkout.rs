//! The checkout that the chores work on.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// A file that only our workspace has.
const OURS: &str = "agent/model/Cargo.toml";

/// Cargo, as the one that started us, else as found in `$PATH`.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The workspace that the current folder belongs to.
///
/// # Errors
/// Outside a workspace of ours: chores only make sense inside one.
pub(crate) fn folder() -> Result<PathBuf> {
    let manifest =
        command::run(cargo().args(["locate-project", "--workspace", "--message-format=plain"]))
            .context("this verb works on the project's checkout; go there first")?;
    let folder = PathBuf::from(manifest.trim_end());
    let folder = folder.parent().expect("a manifest is in a folder").to_path_buf();
    if !folder.join(OURS).is_file() {
        bail!("`{}` is another project's checkout; go to one of Basalt", folder.display());
    }
    Ok(folder)
}
