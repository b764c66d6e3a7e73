//! How a test gets hold of a real program.
//!
//! [`peer`] looks a program up and notes what it found; [`PEERS`] lists the programs there are. `cargo xtask peers`
//! puts them where [`PeerSpec::find`] looks: first in the [cache](crate::cache), then where the system keeps programs.

mod find;
pub mod spec;
mod table;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

pub use spec::PeerSpec;
pub use table::PEERS;

use crate::needs::say;
use crate::report::{Event, note, test_name};

/// Set to make a missing peer a failure, as in CI.
pub const REQUIRE_VARIABLE: &str = "BASALT_REQUIRE_PEERS";

/// A real program that a test runs against ours.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The name it is looked up by, as `cargo xtask peers` lists it.
    pub name: &'static str,
    /// Its executable; for a tree, its folder.
    pub program: PathBuf,
    /// The version it is pinned to, or gives itself.
    pub version: String,
}

/// Finds the peer `name` for the running test. `None` means that it is missing: the test prints nothing more and
/// returns, since this function has already said which peer is missing and noted it in the report.
///
/// # Panics
/// When the peer is missing and `BASALT_REQUIRE_PEERS` is set, as in CI; when no peer of that name is in the table.
pub fn peer(name: &'static str) -> Option<Peer> {
    let Some(spec) = PeerSpec::named(name) else {
        panic!("no peer `{name}` is in the table: give it a row in `tests/src/peers/table.rs`");
    };
    let test = test_name();
    let Some(peer) = find_once(spec) else {
        note(&Event::Missing { peer: name.to_owned(), test: test.clone() });
        missing(&format!("peer `{name}` is missing; run `cargo xtask peers {name}`"), &test);
        return None;
    };
    note(&Event::Used { peer: name.to_owned(), version: peer.version.clone(), test });
    Some(peer)
}

/// Says that `test` is skipped for lack of something that CI has to have.
pub(crate) fn missing(what: &str, test: &str) {
    if std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| !value.is_empty()) {
        panic!("{what} (`{REQUIRE_VARIABLE}` is set)");
    }
    say(&format!("skipped: {test}: {what}"));
}

/// Asking a program for its version takes some milliseconds: once per process is enough.
fn find_once(spec: &'static PeerSpec) -> Option<Peer> {
    static FOUND: LazyLock<Mutex<HashMap<&'static str, Peer>>> = LazyLock::new(Mutex::default);
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(peer) = found.get(spec.name) {
        return Some(peer.clone());
    }
    let peer = spec.find()?;
    found.insert(spec.name, peer.clone());
    Some(peer)
}
