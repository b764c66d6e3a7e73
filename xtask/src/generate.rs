//! `cargo xtask generate`: writes the files that are made from code.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::checkout;

/// A generated file: where it is in the checkout, and what it should hold.
struct Generated {
    path: &'static str,
    contents: String,
}

fn all() -> Vec<Generated> {
    vec![Generated { path: "agent/model/cluster.schema.json", contents: basalt_model::input::cluster_schema() }]
}

/// Writes every generated file that is stale. With `check` it writes nothing and exits with 3 when one is.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn generate(check: bool) -> Result<ExitCode> {
    let root = checkout::root()?;
    let mut is_stale = false;
    for file in all() {
        let path = root.join(file.path);
        if fs::read_to_string(&path).ok().as_deref() == Some(file.contents.as_str()) {
            continue;
        }
        is_stale = true;
        if check {
            eprintln!("{}: stale; run `cargo xtask generate`", file.path);
        } else {
            fs::write(&path, file.contents).with_context(|| format!("cannot write `{}`", file.path))?;
            eprintln!("{}: written", file.path);
        }
    }
    Ok(if check && is_stale { ExitCode::from(3) } else { ExitCode::SUCCESS })
}
