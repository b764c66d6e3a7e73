//! What a test needs besides peers.

use std::io::Write;
use std::process::Command;
use std::sync::LazyLock;

use crate::cgroup;
use crate::command::run;
use crate::report::{Event, note, test_name};

/// Whether this process may mount, chroot and make namespaces. When not, says so and notes the running test as
/// skipped: the test returns. `BASALT_REQUIRE_PEERS` does not turn this into a failure, since a normal user is welcome
/// to run the rest.
pub fn root_or_skip() -> bool {
    if !is_root() {
        skip("needs root");
    }
    is_root()
}

/// Whether this process is root, for a test that can do something without it too.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this process may make machines of its own: as root, with namespaces, mounts and cgroups allowed, which a
/// container may not have. When not, says so and notes the running test as skipped: the test returns.
pub fn lab_or_skip() -> bool {
    static NAMESPACES_WORK: LazyLock<bool> = LazyLock::new(|| {
        let mut try_out = Command::new("unshare");
        try_out.args(["--pid", "--fork", "--mount", "--uts", "--ipc", "--net", "--cgroup"]);
        try_out.args(["mount", "-t", "proc", "proc", "/proc"]);
        run(&mut try_out).is_ok() && cgroup::is_writable()
    });
    if !root_or_skip() {
        return false;
    }
    if !*NAMESPACES_WORK {
        skip("needs to make namespaces and cgroups, which this container does not allow");
    }
    *NAMESPACES_WORK
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
