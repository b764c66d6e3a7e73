//! Running other programs.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A failed program's last lines say why; the hundreds before them do not.
const SHOWN_LINES: usize = 15;

/// Runs `command` without input and gives its standard output.
///
/// # Errors
/// When it cannot be started, or fails: with its command line and the end of what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({}):\n{}", line(command), output.status, tail(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program, without its folder, and its arguments: as a person would type them.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn tail(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_last_lines() {
        let error =
            run(Command::new("sh").args(["-c", "seq 40; echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("`sh -c seq 40; echo why >&2; exit 3` failed (exit status: 3):\n")
        );
        assert!(text.ends_with("\n40\nwhy"), "{text}");
        assert!(!text.contains("\n26\n"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }
}
