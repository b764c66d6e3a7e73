//! How verbs print: data on standard output, everything for people on standard error.
//!
//! The macros of the standard library panic when they cannot print. Here a reader that has gone is no error, and a full
//! disk is one.

use std::error::Error;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};

/// The form of a verb's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one document of a documented type.
    Json,
}

/// Who read what was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// All of it was taken.
    Some,
    /// Nobody reads any more, as of the pipe in `… | head -1`.
    None,
}

/// An error with what to do about it, which is shown below all causes.
#[derive(Debug)]
pub(crate) struct Hinted {
    pub(crate) error: anyhow::Error,
    pub(crate) hint: &'static str,
}

impl Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// An error as people see it: what failed, why, and what to do.
pub(crate) fn explained(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  caused by: {cause}"));
    }
    for Hinted { hint, .. } in error.chain().filter_map(|one| one.downcast_ref()) {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

/// Prints `text`. The verb has done its work by then, so that it ends as usual when nobody reads.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn print(text: impl Display) -> Result<()> {
    write(|out| write!(out, "{text}")).map(drop)
}

/// Prints what `fill` writes.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Readers> {
    readers(to_stdout(fill))
}

/// Says something to people. When nobody reads standard error any more, the exit status still says how it ended.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn to_stdout(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Around the line buffer of the standard library: a result may be one line, and a large one.
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.flush()
}

fn readers(written: io::Result<()>) -> Result<Readers> {
    match written {
        Ok(()) => Ok(Readers::Some),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Readers::None),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_come_last() {
        let cause = anyhow::Error::from(io::Error::other("it is torn")).context("cannot read `a`");
        let hinted = Hinted { error: cause, hint: "make another one" };
        let error = anyhow::Error::from(hinted).context("cannot use `a`");
        let text = "error: cannot use `a`\n  caused by: cannot read `a`\n  caused by: it is torn\nhint: make another one";
        assert_eq!(explained(&error), text);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
        assert_eq!(readers(Ok(())).unwrap(), Readers::Some);
        assert_eq!(readers(Err(ErrorKind::BrokenPipe.into())).unwrap(), Readers::None);
        let error = readers(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot write to standard output");
    }
}
