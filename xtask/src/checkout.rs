//! The checkout that the chores work on.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::output::Hinted;

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

/// The checkout that the current folder belongs to.
///
/// # Errors
/// Outside one: chores only make sense inside it.
pub(crate) fn folder() -> Result<PathBuf> {
    around(&env::current_dir().context("cannot tell which folder this is")?)
}

fn around(here: &Path) -> Result<PathBuf> {
    let found = here.ancestors().find(|folder| folder.join(OURS).is_file());
    found.map(Path::to_path_buf).ok_or_else(|| {
        let error = anyhow!("`{}` is not in a checkout of Basalt", here.display());
        Hinted { error, hint: "go to one first" }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_around_the_folder() {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path();
        let deep = root.join("fuzz/targets");
        std::fs::create_dir_all(root.join("agent/model")).unwrap();
        std::fs::create_dir_all(&deep).unwrap();
        // A workspace of its own inside ours.
        std::fs::write(root.join("fuzz/Cargo.toml"), "[workspace]\n").unwrap();
        let error = crate::output::explained(&around(&deep).unwrap_err());
        let expected = format!(
            "error: `{}` is not in a checkout of Basalt\nhint: go to one first",
            deep.display()
        );
        assert_eq!(error, expected);
        std::fs::write(root.join(OURS), "").unwrap();
        assert_eq!(around(&deep).unwrap(), root);
        assert_eq!(around(root).unwrap(), root);
    }

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
