//! What a test needs besides peers.

use std::io::Write;

use crate::report::{Event, note, test_name};

/// Whether this process may mount, chroot and make namespaces. When not, says so and notes the running test as
/// skipped: the test returns. `BASALT_REQUIRE_PEERS` does not turn this into a failure, since a normal user is welcome
/// to run the rest.
pub fn root_or_skip() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip("needs root");
    }
    is_root
}

/// Says that the running test is skipped, and why, and notes it in the report. The test then returns.
pub fn skip(reason: &str) {
    let test = test_name();
    say(&format!("skipped: {test} {reason}"));
    note(&Event::Skipped { reason: reason.to_owned(), test });
}

/// Prints a line that is seen even when the test passes: `eprintln!` would be captured.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
