//! What the tests of one run used and missed, as lines of JSON in the file that `BASALT_TEST_REPORT` names.
//!
//! `cargo xtask test` sets the variable, reads the file back and ends its output with a table made of it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The variable that names the file; nothing is written without it.
pub const VARIABLE: &str = "BASALT_TEST_REPORT";

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Event {
    /// A test got a peer.
    Used {
        /// The peer's name.
        peer: String,
        /// The version it gives, or was pinned to.
        version: String,
        /// The test, as [`test_name`] gives it.
        test: String,
    },
    /// A test asked for a peer that is not there.
    Missing {
        /// The peer's name.
        peer: String,
        /// The test that was skipped for lack of it.
        test: String,
    },
    /// A test could not run on this machine, or as this user.
    Skipped {
        /// What it would have needed: ``needs root``.
        reason: String,
        /// The test that was skipped.
        test: String,
    },
}

impl Event {
    /// The test that was skipped, when one was.
    pub fn skipped_test(&self) -> Option<&str> {
        match self {
            Event::Used { .. } => None,
            Event::Missing { test, .. } | Event::Skipped { test, .. } => Some(test),
        }
    }
}

/// The running test as `binary::test`: libtest names each test's thread after the test.
pub fn test_name() -> String {
    let program = std::env::current_exe().ok();
    let stem = program.as_deref().and_then(Path::file_stem).unwrap_or_default().to_string_lossy();
    let thread = std::thread::current();
    format!("{}::{}", without_hash(&stem), thread.name().unwrap_or("?"))
}

/// Notes `event` in the report of this run, when there is one.
///
/// # Panics
/// When the report cannot be written: a run whose report is not complete would count wrongly.
pub fn note(event: &Event) {
    if let Some(path) = std::env::var_os(VARIABLE) {
        append(Path::new(&path), event)
            .unwrap_or_else(|error| panic!("cannot write to the test report {path:?}: {error}"));
    }
}

/// Reads the lines of a report.
///
/// # Errors
/// When one is not a line that [`note`] writes.
pub fn parse(text: &str) -> serde_json::Result<Vec<Event>> {
    text.lines().map(serde_json::from_str).collect()
}

fn append(path: &Path, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_string(event)?;
    line.push('\n');
    // One write to a file opened for appending: lines of tests that run at the same time do not mix.
    File::options().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

/// Cargo names test binaries `name-0123456789abcdef`.
fn without_hash(stem: &str) -> &str {
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_its_name() {
        assert_eq!(test_name(), "e2e::report::tests::a_test_knows_its_name");
    }

    #[test]
    fn events_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        let test = "boot::a".to_owned();
        let events = [
            Event::Used { peer: "ip".to_owned(), version: "6.1.0".to_owned(), test: test.clone() },
            Event::Missing { peer: "ip".to_owned(), test: test.clone() },
            Event::Skipped { reason: "needs root".to_owned(), test },
        ];
        for event in &events {
            append(&path, event).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&text).unwrap(), events);
        assert!(
            text.starts_with("{\"status\":\"used\",\"peer\":\"ip\",\"version\":\"6.1.0\",\"test\"")
        );
    }
}
