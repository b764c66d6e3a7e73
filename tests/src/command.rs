//! Running the system's tools.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Asks a program that reads one JSON document a line, and answers each with one.
///
/// # Errors
/// When it does not run, or an answer is of another form.
pub fn ask<Answer: DeserializeOwned>(
    program: &Path,
    requests: impl IntoIterator<Item: Serialize>,
) -> Result<Vec<Answer>> {
    let mut lines = Vec::new();
    for request in requests {
        serde_json::to_writer(&mut lines, &request)?;
        lines.push(b'\n');
    }
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("the program has an input")?;
    // The answers come while requests are still being written: one thread for both would wait for itself.
    let writer = thread::spawn(move || input.write_all(&lines));
    let output = child.wait_with_output()?;
    writer.join().expect("writing does not panic")?;
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    Ok(answers.collect::<Result<_, _>>()?)
}
