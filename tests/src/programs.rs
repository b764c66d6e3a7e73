//! Our own programs, as they are shipped: what the tests drive.
//!
//! `cargo xtask test` builds them and says where they are. In a bare `cargo test`, a release build that is already in
//! the target folder is taken, and a test without one is skipped.

use std::env;
use std::path::{Path, PathBuf};

use crate::needs::skip;

/// Names the release build of `basalt-agent`.
pub const AGENT_VARIABLE: &str = "BASALT_AGENT";
/// Names the release build of `xtask`.
pub const XTASK_VARIABLE: &str = "BASALT_XTASK";

/// The release build of `basalt-agent`. `None` means that there is none: this function has said so, the test returns.
pub fn agent() -> Option<PathBuf> {
    find(AGENT_VARIABLE, "basalt-agent")
}

/// The release build of `xtask`. `None` means that there is none: this function has said so, the test returns.
pub fn xtask() -> Option<PathBuf> {
    find(XTASK_VARIABLE, "xtask")
}

fn find(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let found =
        env::current_exe().ok().and_then(|test| beside(&test, name)).filter(|p| p.is_file());
    if found.is_none() {
        skip(&format!("needs the release build of `{name}`; run it with `cargo xtask test`"));
    }
    found
}

/// The release build that belongs to the test binary `target/debug/deps/name-hash`.
fn beside(test: &Path, name: &str) -> Option<PathBuf> {
    Some(test.ancestors().nth(3)?.join("release").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_builds_are_beside_the_tests() {
        let found = beside(Path::new("/t/debug/deps/boot-0123456789abcdef"), "xtask");
        assert_eq!(found, Some(PathBuf::from("/t/release/xtask")));
    }
}
