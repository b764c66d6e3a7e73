//! What haproxy's master says of its processes (`show proc`). Pure.
//!
//! Format: <https://docs.haproxy.org/2.6/management.html#9.4-show%20proc>

/// The processes that serve now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Processes {
    /// How often the master was told to read its config again.
    pub(crate) reloads: u64,
    /// How often in a row it could not use what it read; it keeps the last worker then.
    pub(crate) failed: u64,
    /// The worker that serves, by its process number as the master sees it, and how many reloads it has survived.
    pub(crate) worker: Option<Worker>,
}

/// The worker that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    /// Reloads since it was started: 0 for one that serves what was read last.
    pub(crate) reloads: u64,
}

/// Whether a reload has come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not yet.
    Waiting,
    /// This worker serves the new config.
    Taken(u32),
    /// The master could not use the new config and serves the old one.
    Refused,
}

/// Reads the answer to `show proc`. `None` when it is none, as while the master starts anew.
pub(crate) fn parse(text: &str) -> Option<Processes> {
    let mut processes: Option<Processes> = None;
    let mut is_current = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            is_current = heading.trim() == "workers";
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "master", reloads, "[failed:", failed, ..] => {
                processes = Some(Processes {
                    reloads: reloads.parse().ok()?,
                    failed: failed.trim_end_matches(']').parse().ok()?,
                    worker: None,
                });
            }
            // Before 2.5 failures were not counted.
            [_, "master", reloads, ..] => {
                let reloads = reloads.parse().ok()?;
                processes = Some(Processes { reloads, failed: 0, worker: None });
            }
            [pid, "worker", reloads, ..] if is_current => {
                let worker = Worker { pid: pid.parse().ok()?, reloads: reloads.parse().ok()? };
                processes.as_mut()?.worker = Some(worker);
            }
            _ => {}
        }
    }
    processes
}

/// How a reload stands that was asked for at `before`.
pub(crate) fn progress(before: &Processes, now: &Processes) -> Progress {
    let was_read = now.reloads > before.reloads;
    match now.worker {
        _ if !was_read => Progress::Waiting,
        _ if now.failed > 0 => Progress::Refused,
        Some(worker) if worker.reloads == 0 => match before.worker {
            Some(old) if old.pid == worker.pid => Progress::Waiting,
            Some(_) | None => Progress::Taken(worker.pid),
        },
        Some(_) | None => Progress::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As haproxy 2.6.12 says it.
    fn said(master: &str, workers: &str, old: &str) -> String {
        let title =
            "#<PID>          <type>          <reloads>       <uptime>        <version>      \n";
        let mut text =
            format!("{title}12444           master          {master}   0d00h00m04s     2.6.12\n");
        text += &format!("# workers\n{workers}");
        if !old.is_empty() {
            text += &format!("# old workers\n{old}");
        }
        text + "# programs\n\n\n"
    }

    const ROW: &str = "           worker          ";

    #[test]
    fn answers() {
        let text = said(
            "1 [failed: 0]",
            &format!("12933{ROW}0               0d00h00m01s     2.6.12\n"),
            &format!("12448{ROW}1               0d00h00m05s     2.6.12\n"),
        );
        let worker = Some(Worker { pid: 12933, reloads: 0 });
        assert_eq!(parse(&text), Some(Processes { reloads: 1, failed: 0, worker }));
        let text = said("3 [failed: 2]", "", "");
        assert_eq!(parse(&text), Some(Processes { reloads: 3, failed: 2, worker: None }));
        let text = said("3", "", "");
        assert_eq!(parse(&text), Some(Processes { reloads: 3, failed: 0, worker: None }));
        for text in ["", "Unknown command: 'show proc'", "1 worker 0", "x master y"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[track_caller]
    fn check(now: (u64, u64, Option<(u32, u64)>), expected: Progress) {
        let worker = |(pid, reloads)| Worker { pid, reloads };
        let before = Processes { reloads: 4, failed: 0, worker: Some(worker((10, 0))) };
        let (reloads, failed, now) = now;
        let now = Processes { reloads, failed, worker: now.map(worker) };
        assert_eq!(progress(&before, &now), expected, "{now:?}");
    }

    #[test]
    fn reloads() {
        check((4, 0, Some((10, 0))), Progress::Waiting);
        check((5, 0, None), Progress::Waiting);
        check((5, 0, Some((10, 1))), Progress::Waiting);
        check((5, 0, Some((11, 0))), Progress::Taken(11));
        check((5, 1, Some((10, 1))), Progress::Refused);
        check((5, 1, None), Progress::Refused);
        // Somebody else asked as well.
        check((6, 0, Some((12, 0))), Progress::Taken(12));
    }
}
