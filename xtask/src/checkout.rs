//! The checkout that the chores work on.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// A file that only our workspace has.
const OURS: &str = "agent/model/Cargo.toml";

/// Cargo, as the one that started us, else as found in `$PATH`.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` tells us of our own package. Build scripts that look at the same variables (ring's does) would take what
    // is built by hand and what is built from here for two things, and build each anew after the other.
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_us(name)) {
        cargo.env_remove(name);
    }
    cargo
}

/// Whether `cargo run` sets the variable, for the program it runs alone.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>
fn is_about_us(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_of_this_package() {
        // This test is run as cargo does it, with the variable set.
        let name = OsStr::new("CARGO_MANIFEST_DIR");
        assert!(env::var_os(name).is_some());
        assert!(cargo().get_envs().any(|it| it == (name, None)));
        assert!(is_about_us(OsStr::new("CARGO_PKG_NAME")));
        assert!(!is_about_us(OsStr::new("CARGO_HOME")));
    }
}
