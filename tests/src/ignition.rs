//! The first boot's work: the real Ignition turns a root tree into a node.
//!
//! Of the stages that run in the initramfs, these are the ones that work on a tree: `fetch-offline` reads the config
//! and merges it into the base config, `files` writes users, files, folders, links and units. `disks`, `mount` and
//! `kargs` are about a machine's disks and boot loader, which a tree does not have.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;
use crate::peers::Peer;
use crate::tree::Tree;

/// What Ignition did.
#[derive(Debug)]
pub struct Provisioned {
    /// Its log, both stages.
    pub log: String,
    /// What it wrote to `/etc/.ignition-result.json`.
    pub result: serde_json::Value,
}

/// The base config of Fedora CoreOS, which makes the user that node configs add their SSH keys to.
const BASE_CONFIG: &str = r#"{
  "ignition": {"version": "3.0.0"},
  "passwd": {"users": [{"name": "core", "gecos": "CoreOS Admin", "groups": ["adm", "sudo", "systemd-journal", "wheel"]}]}
}"#;

/// Ignition relabels what it wrote with this program; without SELinux in the kernel there is nothing to do.
const SETFILES: &str = "#!/bin/sh\ncat >/dev/null\n";

/// Runs `ignition` on `tree` with the Ignition config `config`.
///
/// # Errors
/// When a stage fails, or the config needs something from the network: with Ignition's log.
pub fn provision(ignition: &Peer, tree: &Tree, config: &str) -> Result<Provisioned> {
    let folder = tempfile::tempdir_in(tree.beside())?;
    fs::write(folder.path().join("config.ign"), config)?;
    fs::create_dir_all(folder.path().join("system/base.d"))?;
    fs::write(folder.path().join("system/base.d/00-core.ign"), BASE_CONFIG)?;
    fs::create_dir(folder.path().join("bin"))?;
    let setfiles = folder.path().join("bin/setfiles");
    fs::write(&setfiles, SETFILES)?;
    fs::set_permissions(&setfiles, fs::Permissions::from_mode(0o755))?;

    let script = folder.path().join("ignition.sh");
    fs::write(&script, include_str!("ignition.sh"))?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh"]).arg(&script).arg(tree.root()).arg(&ignition.program);
    // The platform "file" reads `config.ign` from the current folder.
    let log = run(unshare.current_dir(folder.path()))?;
    let result = tree.read("/etc/.ignition-result.json")?;
    let result = serde_json::from_str(&result).context("Ignition's result is not JSON")?;
    Ok(Provisioned { log, result })
}
