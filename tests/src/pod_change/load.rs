//! Requests without a pause while something changes: how many were lost.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::{PORT, PodNode};
use crate::peers::Peer;

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those that were answered.
    pub answered: u64,
    /// Those that were not, or not with success.
    pub lost: u64,
}

/// Ten seconds of requests over 20 connections by the real `wrk`, while `change` works. `header` decides over the
/// connections: `Connection: close` makes one for each request.
///
/// # Errors
/// When wrk cannot be run or prints something else than expected, or `change` fails.
pub fn during(
    node: &PodNode,
    wrk: &Peer,
    header: &str,
    change: impl FnOnce() -> Result<()>,
) -> Result<Requests> {
    let url = format!("http://127.0.0.1:{PORT}/");
    let load = node
        .command(&wrk.program)
        .args(["--threads=1", "--connections=20", "--duration=10s", "--header", header, &url])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run wrk")?;
    let changed = change();
    let output = load.wait_with_output().context("cannot wait for wrk")?;
    changed?;
    ensure!(output.status.success(), "wrk ended with {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    read(&said).with_context(|| format!("wrk printed:\n{said}"))
}

/// Reads what wrk prints; lines about losses are there when there are some.
fn read(said: &str) -> Option<Requests> {
    let answered = said.lines().find(|line| line.contains(" requests in "))?;
    let answered: u64 = answered.split_whitespace().next()?.parse().ok()?;
    let number = |text: &str| -> Option<u64> { text.trim().rsplit(' ').next()?.parse().ok() };
    let mut lost = 0;
    for line in said.lines().map(str::trim) {
        if let Some(counts) = line.strip_prefix("Socket errors:") {
            // connect 0, read 0, write 0, timeout 0
            for count in counts.split(',') {
                lost += number(count)?;
            }
        }
        if line.starts_with("Non-2xx") {
            lost += number(line)?;
        }
    }
    Some(Requests { answered, lost })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let good = "Running 10s test\n  52123 requests in 10.00s, 7.2MB read\nRequests/sec: 5212\n";
        assert_eq!(read(good), Some(Requests { answered: 52123, lost: 0 }));
        let bad = "  9 requests in 1.00s, 7KB read\n  Socket errors: connect 1, read 2, write 0, timeout 3\n  \
                   Non-2xx or 3xx responses: 4\n";
        assert_eq!(read(bad), Some(Requests { answered: 9, lost: 10 }));
        assert_eq!(read("unable to connect"), None);
    }
}
