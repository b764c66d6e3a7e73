//! The running agent of a node.

use std::fs;
use std::process::Command;

use super::secrets::Said;
use crate::scratch_node;

/// A running `basalt-agent run`; ends with its value.
pub struct Service {
    running: scratch_node::Service,
    said: Said,
}

// A scene is as much test as what plays in it: what fails, fails the test.
#[allow(clippy::unwrap_used)]
impl Service {
    pub(super) fn start(command: Command, said: Said) -> Service {
        Service { running: scratch_node::Service::start(command).unwrap(), said }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Ends it as a power cut does, and gives what it has logged.
    pub fn kill(mut self) -> String {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        // Everybody on the machine may read the first, and root the second.
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{}/{file}", self.id())).unwrap_or_default();
            self.said.add(file, String::from_utf8_lossy(&text).into_owned());
        }
        self.running.end();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
        self.said.add("the log of the agent", self.log());
    }
}
