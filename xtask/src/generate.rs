//! `cargo xtask generate`: writes the files that are made from code.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use basalt_butane::describe;

use crate::output::say;
use crate::progress::Progress;
use crate::{DIFFERS, checkout};

/// Write the files that are made from code, or check that they are not stale.
///
/// They are the JSON Schemas of `cluster.yaml` and of Butane configs, made from what reads them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; exit with 3 when a file is stale.
    #[arg(long)]
    check: bool,
}

/// A generated file: where it is in the checkout, and what it should hold.
struct Generated {
    path: String,
    contents: String,
}

fn all() -> Vec<Generated> {
    let cluster = Generated {
        path: "agent/model/cluster.schema.json".to_owned(),
        contents: basalt_model::input::cluster_schema(),
    };
    let butane = describe::schemas().into_iter().map(|schema| Generated {
        path: format!("butane/schemas/{}", schema.file_name),
        contents: schema.contents,
    });
    std::iter::once(cluster).chain(butane).collect()
}

/// Writes every generated file that is stale. With `--check` it writes nothing and exits with 3 when one is.
pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let root = checkout::folder()?;
    let mut is_stale = false;
    for file in all() {
        let path = root.join(&file.path);
        if fs::read_to_string(&path).ok().as_deref() == Some(file.contents.as_str()) {
            continue;
        }
        is_stale = true;
        if arguments.check {
            say(format_args!("`{}` is stale; run `cargo xtask generate`", file.path));
        } else {
            let folder = path.parent().unwrap_or(&root);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&path, file.contents))
                .with_context(|| format!("cannot write `{}`", file.path))?;
            progress.step(format!("{}: written", file.path));
        }
    }
    Ok(if arguments.check && is_stale { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}
