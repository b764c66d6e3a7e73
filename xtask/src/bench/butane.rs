//! Compiling Butane configs beside the reference, and the nodes of a large cluster.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use e2e::peers::PeerSpec;

use super::cost::{Cost, measure_to, mebibytes, median, seconds};
use super::inputs;
use crate::output;
use crate::progress::Progress;
use crate::table::table;
use crate::{build_image, checkout};

/// How many nodes the large cluster has.
const NODES: usize = 1000;

/// Measures and prints.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let folder = Utf8Path::from_path(scratch.path()).context("the temporary folder is not text")?;
    progress.step("making Butane configs and local files");
    let inputs = inputs::write(folder)?;
    let reference = PeerSpec::named("butane").and_then(PeerSpec::find);
    if reference.is_none() {
        progress.step("the reference compiler is missing: run `cargo xtask peers butane`");
    }

    let titles =
        ["butane", "wall", "CPU", "memory", "output", "ratio of CPU", "of memory", "of output"];
    let mut rows = vec![titles.map(str::to_owned)];
    for input in &inputs {
        progress.step(format!("compiling {}", input.name));
        let compile = |mut command: Command| -> Result<(Cost, u64)> {
            command.arg("--files-dir").arg(folder).arg(&input.config);
            let output = folder.join("output");
            let cost = median(runs, || measure_to(output.as_std_path(), &mut command))?;
            Ok((cost, fs::metadata(output)?.len()))
        };
        let mut command =
            Command::new(std::env::current_exe().context("cannot tell where this program is")?);
        command.arg("butane");
        let (ours, our_output) = compile(command)?;
        let mut our_row = row(input.name, &ours, our_output);
        let Some(reference) = &reference else {
            rows.push(our_row);
            continue;
        };
        let (theirs, their_output) = compile(Command::new(&reference.program))?;
        let [cpu, memory] = ours.ratios(&theirs);
        let ratios = [cpu, memory, our_output as f64 / their_output as f64];
        for (cell, ratio) in our_row[5..].iter_mut().zip(ratios) {
            *cell = format!("{ratio:.2}");
        }
        rows.extend([our_row, row("  the same by the reference", &theirs, their_output)]);
    }
    output::print(table(&rows))?;

    progress.step(format!("compiling {NODES} nodes"));
    let mut walls = (0..runs).map(|_| compile_nodes()).collect::<Result<Vec<_>>>()?;
    walls.sort();
    let wall = seconds(walls[walls.len() / 2]);
    output::print(format_args!("butane, {NODES} nodes of a cluster.yaml: {wall}\n"))
}

fn row(what: &str, cost: &Cost, output: u64) -> [String; 8] {
    let [none, nothing, no] = [(); 3].map(|()| String::new());
    let wall = seconds(cost.wall);
    [
        what.to_owned(),
        wall,
        seconds(cost.cpu),
        mebibytes(cost.peak),
        format!("{output}"),
        none,
        nothing,
        no,
    ]
}

/// Everything that `build-image` makes of a large cluster's nodes, from its text on and without writing it.
fn compile_nodes() -> Result<std::time::Duration> {
    let file = checkout::folder()?.join("tests/clusters/lab/cluster.yaml");
    let file = Utf8Path::from_path(&file).context("the checkout's path is not text")?;
    let text = inputs::cluster(&fs::read_to_string(file)?, NODES)?;
    let folder = file.parent().context("a checkout is a folder")?;
    let start = Instant::now();
    let (prepared, mut report) = build_image::prepare::prepare(file, text.as_bytes(), folder);
    let documents = prepared
        .cluster
        .as_ref()
        .and_then(|cluster| build_image::nodes::compile(cluster, &prepared.additions, &mut report));
    if documents.is_none() {
        bail!("the large cluster has errors:\n{report}");
    }
    Ok(start.elapsed())
}
