//! The agent that is baked in: the one named, or the checkout's own, built as it is shipped.

use std::fs::File;
use std::io::Read;
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
/// When there is neither, or it is not a Linux program of an architecture that Fedora CoreOS has.
pub(crate) fn find(named: Option<&Utf8Path>, progress: &Progress) -> Result<Agent> {
    let program = match named {
        Some(program) => program.to_owned(),
        None => build(progress)?,
    };
    let architecture = architecture(&program)?;
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
fn architecture(program: &Utf8Path) -> Result<Architecture> {
    let mut header = [0; 20];
    let mut file =
        File::open(program).with_context(|| format!("cannot read the agent `{program}`"))?;
    let is_elf = file.read_exact(&mut header).is_ok() && header.starts_with(b"\x7fELF");
    if !is_elf {
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
