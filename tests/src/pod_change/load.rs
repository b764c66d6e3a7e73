//! Requests without a pause while something changes: how many were lost.

use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use super::{PORT, PodNode};
use crate::needs;
use crate::peers::Peer;

/// An answer that takes longer is late. On a machine that has much else to do, one takes seconds and comes.
const TIMEOUT: &str = "--timeout=10s";

/// What became of the requests, as far as wrk sees it: one that is never answered is in none of its numbers, which is what
/// [`Visitors`](crate::visitors::Visitors) are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those that were answered.
    pub answered: u64,
    /// Connections that were refused, or whose handshake failed.
    pub unconnected: u64,
    /// Connections that ended before the answer did.
    pub unread: u64,
    /// Connections that ended before the request was sent.
    pub unwritten: u64,
    /// Answers that say something else than success.
    pub refused: u64,
    /// Of those that were answered, the ones that took longer than ten seconds: wrk calls them timeouts.
    pub late: u64,
}

impl Requests {
    /// Requests that brought nothing.
    pub fn lost(&self) -> u64 {
        self.unconnected + self.unread + self.unwritten + self.refused
    }

    /// Both together.
    pub fn add(&mut self, other: Requests) {
        self.answered += other.answered;
        self.unconnected += other.unconnected;
        self.unread += other.unread;
        self.unwritten += other.unwritten;
        self.refused += other.refused;
        self.late += other.late;
    }
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
    let load = Load::start(node, wrk, &format!("http://127.0.0.1:{PORT}/"), header, 10)?;
    let changed = change();
    let requests = load.wait()?;
    changed?;
    Ok(requests)
}

/// Requests that go on in the background.
pub struct Load(Child);

impl Load {
    /// Asks `url` for so many seconds, over 20 connections; see [`during`].
    ///
    /// # Errors
    /// When wrk cannot be run.
    pub fn start(
        node: &PodNode,
        wrk: &Peer,
        url: &str,
        header: &str,
        seconds: u32,
    ) -> Result<Load> {
        let duration = format!("--duration={seconds}s");
        let load = node
            .command(&wrk.program)
            .args(["--threads=1", "--connections=20", &duration, TIMEOUT, "--header", header, url])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run wrk")?;
        Ok(Load(load))
    }

    /// Whether it is still at it.
    pub fn is_on(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When wrk failed, or prints something else than expected.
    pub fn wait(self) -> Result<Requests> {
        let output = self.0.wait_with_output().context("cannot wait for wrk")?;
        ensure!(output.status.success(), "wrk ended with {}", output.status);
        let said = String::from_utf8_lossy(&output.stdout);
        let requests = read(&said).with_context(|| format!("wrk printed:\n{said}"))?;
        if requests.lost() > 0 || requests.late > 0 {
            needs::say(&format!("wrk printed:\n{said}"));
        }
        Ok(requests)
    }
}

/// Reads what wrk prints; lines about losses are there when there are some.
fn read(said: &str) -> Option<Requests> {
    let answered = said.lines().find(|line| line.contains(" requests in "))?;
    let answered: u64 = answered.split_whitespace().next()?.parse().ok()?;
    let mut requests = Requests { answered, ..Requests::default() };
    for line in said.lines().map(str::trim) {
        if let Some(counts) = line.strip_prefix("Socket errors:") {
            for count in counts.split(',') {
                let (what, count) = count.trim().split_once(' ')?;
                let count = count.parse().ok()?;
                match what {
                    "connect" => requests.unconnected = count,
                    "read" => requests.unread = count,
                    "write" => requests.unwritten = count,
                    "timeout" => requests.late = count,
                    _ => return None,
                }
            }
        }
        if line.starts_with("Non-2xx") {
            requests.refused = line.rsplit(' ').next()?.parse().ok()?;
        }
    }
    Some(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let good = "Running 10s test\n  52123 requests in 10.00s, 7.2MB read\nRequests/sec: 5212\n";
        assert_eq!(read(good), Some(Requests { answered: 52123, ..Requests::default() }));
        let bad = "  9 requests in 1.00s, 7KB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  \
                   Non-2xx or 3xx responses: 5\n";
        let seen = read(bad).unwrap();
        let expected =
            Requests { answered: 9, unconnected: 1, unread: 2, unwritten: 3, refused: 5, late: 4 };
        assert_eq!((seen, seen.lost()), (expected, 11));
        assert_eq!(read("unable to connect"), None);
    }
}
