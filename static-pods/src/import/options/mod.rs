//! The options of `podman run` and `podman create`: what each becomes in a pod.
//!
//! Quadlet keys and fields of compose files are read as the options that podman makes of them, so that one table
//! answers for all. Rules: podman-run(1) of podman 5.6.

mod apply;
mod health;
mod network;
mod process;
mod security;
mod storage;
mod table;

pub(super) use apply::Reason;
pub(super) use storage::named_volume;
pub(super) use table::{OPTIONS, POD_ONLY};

use super::draft::Draft;
use super::notes::{At, Notes};
use super::values::boolean;

/// What an option becomes.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// Read by a function, which gets the value.
    Apply(fn(&mut Draft, &str, &At) -> Outcome),
    /// A static pod is so anyway, for the reason given.
    Implied(&'static str),
    /// Not carried.
    Lost(Reason),
}

/// What applying an option came to. The first text says what became of it, the second what to do.
pub(super) enum Outcome {
    Carried(String),
    Changed(String, &'static str),
    Lost(String, &'static str),
    Broken(String, &'static str),
    Invalid(String),
}

/// An option: its long name, its letter, whether a value follows, and what it becomes.
pub(super) struct Row(
    pub(super) &'static str,
    pub(super) Option<char>,
    pub(super) bool,
    pub(super) How,
);

/// The option called `name`, without dashes.
pub(super) fn named(name: &str) -> Option<&'static Row> {
    OPTIONS.iter().find(|row| row.0 == name)
}

/// The option with the letter `letter`.
pub(super) fn lettered(letter: char) -> Option<&'static Row> {
    OPTIONS.iter().find(|row| row.1 == Some(letter))
}

/// Applies one option.
pub(super) fn apply(draft: &mut Draft, name: &str, value: &str, at: &At, notes: &mut Notes) {
    let Some(row) = named(name) else {
        let known = OPTIONS.iter().map(|row| row.0);
        let near = basalt_model::decode::closest(name, known);
        let remedy = near.map(|near| format!("did you mean `--{near}`?"));
        notes.invalid(at, format!("podman run has no option `--{name}`"), remedy.as_deref());
        return;
    };
    // A switch that is off says nothing.
    if !row.2 && boolean(value) == Some(false) && !matches!(row.3, How::Apply(_)) {
        notes.carried(at, "off, as without it");
        return;
    }
    match row.3 {
        How::Implied(reason) => notes.carried(at, reason),
        How::Lost((reason, remedy)) => notes.lost(at, reason, remedy),
        How::Apply(function) => match function(draft, value, at) {
            Outcome::Carried(message) => notes.carried(at, message),
            Outcome::Changed(message, remedy) => notes.changed(at, message, remedy),
            Outcome::Lost(message, remedy) => notes.lost(at, message, remedy),
            Outcome::Broken(message, remedy) => notes.broken(at, message, remedy),
            Outcome::Invalid(message) => notes.invalid(at, message, None),
        },
    }
}
