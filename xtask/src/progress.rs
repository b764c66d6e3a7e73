//! What is going on, for people: on standard error, one line per step.

use std::fmt::Display;

use crate::output::say;

/// Prints steps, unless it was told to be quiet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    quiet: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Whether other programs should be quiet too.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says what is being done now.
    pub(crate) fn step(&self, text: impl Display) {
        if !self.quiet {
            say(text);
        }
    }
}
