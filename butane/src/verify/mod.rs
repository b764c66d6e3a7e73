//! What systemd itself says of a config's units: `systemd-analyze verify`, run on a copy of them.
//!
//! Ignition looks at the syntax of units alone, and a misspelled option is ignored at boot without a word. Here each
//! unit and drop-in is written into a folder of its own ([`folder`]), systemd reads that as if it were the root of a
//! system, and what it says ([`said`]) is reported at the line of the Butane text, or of the local file, that the
//! words are about ([`lines`]).
//!
//! Nothing is executed but `systemd-analyze`: it reads units as the manager would, starts none and runs no generators.
//! Programs, users and other units are the node's, not this machine's, so what it says of those is dropped.

mod folder;
mod lines;
mod said;

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use basalt_model::report::Report;
use camino::Utf8Path;

use crate::compose::Source;
use crate::output::IgnitionConfig;
use crate::tree::Findings;
use folder::{Folder, Part};
use lines::Lines;
use said::Said;

/// Where systemd looks for the units of an administrator, and Ignition writes them.
const UNITS: &str = "etc/systemd/system";

/// More units than this are verified by several processes, one after the other: their names are its arguments.
const UNITS_AT_ONCE: usize = 500;

/// What is read of the program's words.
const MAX_SAID_BYTES: u64 = 16 * 1024 * 1024;

/// What keeps units from being verified. None of it says anything about the config.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The program is not there.
    #[error("units are not verified: there is no `{0}` on this machine")]
    Missing(String),
    /// The program does not know the options.
    #[error("units are not verified: `{0}` is too old for it")]
    TooOld(String),
    /// The units could not be written down.
    #[error("cannot write the units into a temporary folder")]
    Folder(#[source] io::Error),
    /// The program could not be run.
    #[error("cannot run `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl VerifyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("it comes with systemd"),
            Self::TooOld(_) => Some("systemd 250 and newer have what is needed"),
            Self::Folder(_) | Self::Run { .. } => None,
        }
    }
}

/// Lets `program`, which is systemd's `systemd-analyze`, verify the units of a compiled config. The report has warnings
/// only: this machine's systemd is not the node's, which may know more.
///
/// `sources` are the texts that were compiled, and `files_dir` is the files directory they were compiled with.
///
/// # Errors
/// [`VerifyError::Missing`] and [`VerifyError::TooOld`] can be passed over with a note: the config is as good as before.
pub fn verify_units(
    config: &IgnitionConfig,
    sources: &[Source],
    files_dir: Option<&Utf8Path>,
    program: &Path,
) -> Result<Report, VerifyError> {
    let parts = folder::parts(config.tree());
    let units: Vec<&Part> = parts.iter().filter(|part| part.is_unit()).collect();
    let mut findings = Findings::new("");
    if units.is_empty() {
        return Ok(findings.0);
    }
    let folder = Folder::write(&parts).map_err(VerifyError::Folder)?;
    let mut text = String::new();
    for units in units.chunks(UNITS_AT_ONCE) {
        text += &run(program, &folder, units)?;
    }
    let said = said::parse(&text, &folder.units(), &parts);
    if said.is_empty() {
        return Ok(findings.0);
    }
    let version = version(program);
    let mut lines = Lines::of(sources, files_dir);
    for Said { part, line, message } in said {
        let part = &parts[part];
        let (at, message) = match line {
            Some(line) => {
                let found = lines.find(&part.contents, line);
                let shown = if found.is_as_written { &*message } else { without_value(&message) };
                (found.origin, shown)
            }
            None => (part.contents.origin.clone(), &*message),
        };
        let finding = findings.warning(&at, format!("systemd says: {message}"));
        if message.starts_with("Unknown ") {
            finding.hint(format!("this is systemd {version}; the node's may know more"));
        }
    }
    Ok(findings.0)
}

/// What is said of a value, without the value itself.
fn without_value(message: &str) -> &str {
    message.split_once(", ignoring: ").map_or(message, |(said, _)| said)
}

/// What the program says of `units`, line by line.
fn run(program: &Path, folder: &Folder, units: &[&Part]) -> Result<String, VerifyError> {
    let mut root = std::ffi::OsString::from("--root=");
    root.push(folder.root());
    let mut command = command(program);
    command
        .arg(root)
        .args(["--system", "--man=no", "--generators=no", "--recursive-errors=no", "verify"])
        .args(units.iter().map(|unit| folder.units().join(&unit.path)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let name = program.display().to_string();
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => VerifyError::Missing(name.clone()),
        _ => VerifyError::Run { program: name.clone(), source },
    })?;
    let mut said = Vec::new();
    let stderr = child.stderr.take().expect("it was asked for");
    let read = stderr.take(MAX_SAID_BYTES).read_to_end(&mut said);
    // Its exit status says that something was said, be it of the build machine.
    let waited = child.wait();
    read.and(waited).map_err(|source| VerifyError::Run { program: name.clone(), source })?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if said.contains("unrecognized option") || said.contains("not supported for verify") {
        return Err(VerifyError::TooOld(name));
    }
    Ok(said)
}

/// Runs in an environment of its own: systemd takes paths and the form of its messages from there.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .envs([
            ("LC_ALL", "C.UTF-8"),
            ("SYSTEMD_LOG_LEVEL", "info"),
            ("SYSTEMD_LOG_TARGET", "console"),
            ("SYSTEMD_COLORS", "0"),
            ("SYSTEMD_PAGER", ""),
        ])
        .stdin(Stdio::null());
    command
}

/// `252`, or what else the program calls itself.
fn version(program: &Path) -> String {
    let output = command(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let word = |text: String| text.split_whitespace().nth(1).map(str::to_owned);
    text.ok().and_then(word).unwrap_or_else(|| "of another version".to_owned())
}
