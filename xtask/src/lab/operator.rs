//! The place of whoever runs Vault and the cluster.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use e2e::showcase::Operator;

/// Becomes a shell there, or the command; gives why it cannot.
///
/// # Errors
/// When the lab's files cannot be read.
pub(super) fn enter(operator: &Operator, command: &[String]) -> Result<io::Error> {
    let token = std::fs::read_to_string(&operator.token_file)
        .context("cannot read the token of the lab's Vault")?;
    let mut inside = Command::new("nsenter");
    let mut namespace = OsString::from("--net=");
    namespace.push(&operator.namespace);
    inside.arg(namespace).arg("--");
    match command {
        [] => inside.args(["bash", "-i"]),
        command => inside.args(command),
    };
    let own = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&own);
    let path = std::env::join_paths(operator.programs.iter().cloned().chain(others))?;
    inside.env("PATH", path).envs(&operator.environment).env("VAULT_TOKEN", token);
    Ok(inside.exec())
}
