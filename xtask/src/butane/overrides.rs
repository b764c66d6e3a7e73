//! The report of what took the place of what, for people and for programs.

use std::io::{self, Write};

use basalt_butane::Override;

use crate::output::Format;
use crate::visible::visible;

/// Prints a report.
///
/// # Errors
/// Those of `out`.
pub(super) fn print(overrides: &[Override], format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => overrides
            .iter()
            .try_for_each(|replaced| writeln!(out, "{}", visible(&replaced.to_string()))),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, overrides)?;
            writeln!(out)
        }
    }
}
