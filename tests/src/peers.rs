//! How a test gets hold of a real program.

use std::path::PathBuf;

/// A real program that a test runs against ours.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The name it is looked up by, as `cargo xtask peers` lists it.
    pub name: &'static str,
    /// Its executable.
    pub program: PathBuf,
}

/// Finds the peer `name` for the running test. `None` means that it is missing: the test prints nothing more and
/// returns, since this function has already said which peer is missing and noted it in the report.
///
/// # Panics
/// When the peer is missing and `BASALT_REQUIRE_PEERS` is set, as in CI.
pub fn peer(name: &'static str) -> Option<Peer> {
    let path = std::env::var_os("PATH")?;
    let program =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())?;
    Some(Peer { name, program })
}
