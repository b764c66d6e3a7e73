//! Peers built from Go modules.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use e2e::peers::PeerSpec;
use e2e::peers::spec::{GoProgram, SystemPackage};

use super::system::Packages;
use super::{Missing, entry};
use crate::command::run;
use crate::progress::Progress;

/// From this one on, Go fetches the toolchain that a go.mod asks for by itself, so that it may be older than that.
const OLDEST_GO: u32 = 21;

/// Parts that some modules leave out when told so; to all others these words mean nothing. With them, containers/image
/// needs no C libraries.
const TAGS: &str = "containers_image_openpgp,exclude_graphdriver_btrfs";

/// The packages with headers that the build needs and this machine lacks.
pub(super) fn missing_headers(program: &GoProgram) -> Vec<SystemPackage> {
    let missing = program.headers.iter().filter(|header| !Path::new(header.file).exists());
    missing.map(|header| header.package).collect()
}

/// Builds `program` into the cache. What is downloaded is checked against the `go.sum` that is part of this program.
pub(super) fn build(
    peer: &PeerSpec,
    program: &GoProgram,
    packages: &Packages,
    progress: &Progress,
) -> Result<()> {
    check_go()?;
    if let Some(package) = missing_headers(program).first() {
        bail!(Missing(packages.problem(*package).unwrap_or_else(|| "headers are missing".into())));
    }
    progress.step(format!("building {} {}", peer.name, peer.version.unwrap_or_default()));
    let module = tempfile::tempdir()?;
    fs::write(module.path().join("go.mod"), program.go_mod)?;
    fs::write(module.path().join("go.sum"), program.go_sum)?;
    for file in program.files {
        fs::write(module.path().join(file.name), file.text)?;
    }
    // Without C in it a program runs on any machine; with headers asked for, C is the point.
    let cgo = if program.headers.is_empty() { "0" } else { "1" };
    entry::make(peer, |folder| {
        let mut go = Command::new("go");
        go.current_dir(module.path()).env("CGO_ENABLED", cgo);
        go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
        go.arg(format!("-tags={TAGS}"));
        go.arg(format!("-ldflags=-s -w {}", program.ldflags));
        go.arg("-o").arg(folder.join(peer.name)).arg(program.package);
        run(&mut go).map(drop)
    })
}

fn check_go() -> Result<()> {
    let Ok(version) = run(Command::new("go").args(["env", "GOVERSION"])) else {
        bail!(Missing(get_go()));
    };
    match minor(version.trim()) {
        Some(minor) if minor < OLDEST_GO => {
            bail!(Missing(format!("{} is too old; {}", version.trim(), get_go())))
        }
        // A development version has no number and is new enough.
        Some(_) | None => Ok(()),
    }
}

fn get_go() -> String {
    format!("install Go 1.{OLDEST_GO} or newer from https://go.dev/dl/ (Debian 12's is too old)")
}

fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn go_versions() {
        assert_eq!(minor("go1.19.8"), Some(19));
        assert_eq!(minor("go1.26"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel go1.28-abcdef"), None);
    }
}
