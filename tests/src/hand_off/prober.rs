//! A client that asks the node all the time for what it serves.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::Result;

use super::{NODE_ADDRESS, VIRTUAL_ADDRESS, Yard};
use crate::network::Switch;

/// How the node is asked: at its own address, and at the one that keepalived holds; haproxy answers at both.
pub const WAYS: [(&str, &str); 2] =
    [("haproxy", NODE_ADDRESS), ("virtual address", VIRTUAL_ADDRESS)];

/// Asks ten times a second by each way from beside the node, until it is dropped.
#[derive(Debug)]
pub struct Prober {
    ways: Vec<(Child, PathBuf)>,
}

/// What became of the questions by one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// By which way.
    pub way: &'static str,
    /// How many were asked.
    pub asked: usize,
    /// How many got no answer within a second.
    pub lost: usize,
}

/// Where the node's web server is.
pub fn url(address: &str) -> String {
    format!("http://{address}:8080/index.html")
}

impl Prober {
    /// Begins to ask.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(switch: &Switch, yard: &Yard) -> Result<Prober> {
        let mut prober = Prober { ways: Vec::new() };
        for (way, address) in WAYS {
            let log = yard.folder().join(format!("probes of {way}"));
            let script = format!(
                "while :; do if curl -fsS -o /dev/null --max-time 1 {} 2>/dev/null; then echo good; else echo lost; fi; sleep 0.1; done",
                url(address)
            );
            let mut command = switch.command("setpriv");
            command.args(["--pdeathsig", "KILL", "sh", "-c", &script]);
            command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(Stdio::null());
            prober.ways.push((command.spawn()?, log));
        }
        Ok(prober)
    }

    /// What became of all questions so far.
    ///
    /// # Errors
    /// When what was written down cannot be read.
    pub fn counts(&self) -> Result<Vec<Count>> {
        let count = |((way, _), (_, log)): (&(&'static str, &str), &(Child, PathBuf))| {
            let text = fs::read_to_string(log)?;
            let lost = text.lines().filter(|line| *line == "lost").count();
            Ok(Count { way, asked: text.lines().count(), lost })
        };
        WAYS.iter().zip(&self.ways).map(count).collect()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        for (child, _) in &mut self.ways {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
