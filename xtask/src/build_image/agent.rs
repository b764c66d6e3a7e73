//! The agent that is baked in: the one named, or the checkout's own, built as it is shipped.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use basalt_image::oci::Architecture;
use camino::{Utf8Path, Utf8PathBuf};

use crate::progress::Progress;
use crate::{checkout, command};

/// A `basalt-agent` and the machines it runs on.
pub(crate) struct Agent {
    pub(crate) program: Utf8PathBuf,
    pub(crate) architecture: Architecture,
}

/// Takes the program at `named`, or builds the checkout's.
///
/// # Errors
/// When there is neither, or it is not a `basalt-agent` of our version for an architecture that Fedora CoreOS has.
pub(crate) fn find(named: Option<&Utf8Path>, progress: &Progress) -> Result<Agent> {
    let program = match named {
        Some(program) => program.to_owned(),
        None => build(progress)?,
    };
    let bytes = fs::read(&program).with_context(|| format!("cannot read the agent `{program}`"))?;
    let architecture = architecture(&program, &bytes)?;
    check_identity(&program, &bytes)?;
    Ok(Agent { program, architecture })
}

/// Builds the agent in the checkout, as it is shipped, and says where it is.
///
/// # Errors
/// Outside a checkout, and when cargo fails; cargo has then said why.
pub(crate) fn build(progress: &Progress) -> Result<Utf8PathBuf> {
    let folder = checkout::folder().context("name the agent to bake in with `--agent`")?;
    progress.step("building basalt-agent, as it is shipped");
    let mut build = checkout::cargo();
    build.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit());
    build.args(["build", "--release", "--package", "basalt-agent"]);
    build.args(progress.is_quiet().then_some("--quiet"));
    build.arg("--message-format=json-render-diagnostics");
    let output = build.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{}` failed", command::line(&build));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(Utf8PathBuf::from(message.get("executable")?.as_str()?))
    });
    executable.context("cargo did not say where it put basalt-agent")
}

/// Reads the architecture off the ELF header (System V ABI, `e_ident` and `e_machine`).
fn architecture(program: &Utf8Path, header: &[u8]) -> Result<Architecture> {
    if header.len() < 20 || !header.starts_with(b"\x7fELF") {
        bail!("the agent `{program}` is not a Linux program");
    }
    let is_little_endian = header[5] == 1;
    match (u16::from_le_bytes([header[18], header[19]]), is_little_endian) {
        (62, true) => Ok(Architecture::Amd64),
        (183, true) => Ok(Architecture::Arm64),
        (21, true) => Ok(Architecture::Ppc64le),
        // Big-endian: the bytes stand the other way round.
        (0x1600, false) => Ok(Architecture::S390x),
        _ => bail!("the agent `{program}` is for an architecture that Fedora CoreOS does not have"),
    }
}

/// Refuses what is no agent, and an agent of another version: it would read a `node.json` that is not written for it.
fn check_identity(program: &Utf8Path, bytes: &[u8]) -> Result<()> {
    // Put together here, so that this program does not hold what it looks for.
    let name = ["program", "basalt-agent", ""].join("/");
    let wanted = env!("CARGO_PKG_VERSION");
    let mut found = None;
    for rest in after_each(bytes, name.as_bytes()) {
        let version = rest.iter().take(32).take_while(|byte| **byte != b'/').copied().collect();
        match String::from_utf8(version) {
            Ok(version) if version == wanted => return Ok(()),
            Ok(version) => found = Some(version),
            Err(_) => {}
        }
    }
    match found.filter(|version| version.starts_with(|first: char| first.is_ascii_digit())) {
        Some(version) => bail!(
            "the agent `{program}` has version {version}, and this program version {wanted}; build both from one checkout"
        ),
        None => bail!(
            "`{program}` is not a basalt-agent of version {wanted}; `cargo build --release -p basalt-agent` makes one"
        ),
    }
}

/// What follows each occurrence of `text`.
fn after_each<'b>(bytes: &'b [u8], text: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
    let is_text = move |at: &usize| bytes[*at..].starts_with(text);
    (0..bytes.len()).filter(is_text).map(|at| &bytes[at + text.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = check_identity("agent".into(), text.as_bytes()).err();
        assert_eq!(found.map(|error| error.to_string()).as_deref(), expected);
    }

    #[test]
    fn agents_are_known_by_what_they_say_of_themselves() {
        let own = env!("CARGO_PKG_VERSION");
        let none = format!(
            "`agent` is not a basalt-agent of version {own}; `cargo build --release -p basalt-agent` makes one"
        );
        check(&format!("\x7fELF...program/basalt-agent/{own}/..."), None);
        check(&format!("program/basalt-agent/ program/basalt-agent/{own}/"), None);
        check("basalt-agent", Some(&none));
        check("program/basalt-agent/", Some(&none));
        check(
            "program/basalt-agent/9.9.9/",
            Some(&format!(
                "the agent `agent` has version 9.9.9, and this program version {own}; build both from one checkout"
            )),
        );
    }
}
