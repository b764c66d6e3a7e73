//! Running the system's tools.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` without input, and gives its standard output.
///
/// # Errors
/// When it fails: with everything it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}):\n{stdout}{stderr}", output.status);
    }
    Ok(stdout.into_owned())
}
