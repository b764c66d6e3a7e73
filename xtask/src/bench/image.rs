//! Building the image of the lab, and an image with the agent beside umoci.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use basalt_image::oci::{Architecture, Base, Component, Entry, Source, Spec};
use camino::{Utf8Path, Utf8PathBuf};
use e2e::peers::PeerSpec;

use super::cost::{Cost, measure, measure_own, median, seconds};
use crate::build_image::agent;
use crate::checkout;
use crate::output;
use crate::progress::Progress;
use crate::table::table;

/// Measures and prints.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let folder = checkout::folder()?;
    let program = agent::build(progress)?;
    let scratch = tempfile::tempdir()?;
    let dist = scratch.path().join("dist");
    let build = || {
        let mut command =
            Command::new(std::env::current_exe().context("cannot tell where this program is")?);
        command.args(["--quiet", "build-image", "--agent", program.as_str(), "--cluster"]);
        command.arg(folder.join("tests/clusters/lab/cluster.yaml")).arg("--dist").arg(&dist);
        anyhow::Ok(command)
    };

    progress.step("measuring build-image");
    let cold = median(runs, || {
        let _ = fs::remove_dir_all(&dist);
        measure(&mut build()?)
    })?;
    let warm = median(runs, || measure(&mut build()?))?;
    progress.step("measuring how an image with the agent is made");
    let ours = median(runs, || compose(scratch.path(), &program))?;
    let umoci = match PeerSpec::named("umoci").and_then(PeerSpec::find) {
        Some(umoci) => {
            Some(median(runs, || insert(&umoci.program, scratch.path(), program.as_std_path()))?)
        }
        None => None,
    };

    let row = |what: &str, cost: Cost| {
        [what.to_owned(), seconds(cost.wall), seconds(cost.cpu), String::new()]
    };
    let mut rows = vec![["image", "wall", "CPU", "ratio of CPU"].map(str::to_owned)];
    rows.push(row("build-image, nothing there", cold));
    rows.push(row("build-image, nothing changed", warm));
    let mut ours_row = row("an image with the agent", ours);
    if let Some(umoci) = umoci {
        ours_row[3] = format!("{:.2}", ours.ratios(&umoci)[0]);
        rows.extend([ours_row, row("  the same by umoci", umoci)]);
    } else {
        rows.push(ours_row);
    }
    output::print(table(&rows))
}

/// Makes the image that `umoci` makes, with the code of `build-image`.
fn compose(scratch: &Path, agent: &Utf8Path) -> Result<Cost> {
    let layout = Utf8PathBuf::try_from(scratch.join("ours"))?;
    let _ = fs::remove_dir_all(&layout);
    let entry = Entry::file("usr/bin/basalt-agent", 0o755, Source::Path(agent.to_owned()));
    let spec = Spec {
        base: Base::Scratch,
        architecture: Architecture::Amd64,
        title: "bench".to_owned(),
        version: "1".to_owned(),
        reference: "new".to_owned(),
        created: 0,
        mtime: 0,
        labels: BTreeMap::new(),
        components: vec![Component { name: "agent".to_owned(), entries: vec![entry] }],
    };
    measure_own(|| Ok(basalt_image::oci::compose(&spec, &layout).map(drop)?))
}

/// Puts the agent into a new layout with umoci.
fn insert(umoci: &Path, scratch: &Path, agent: &Path) -> Result<Cost> {
    let layout = scratch.join("umoci");
    let _ = fs::remove_dir_all(&layout);
    let image = format!("{}:new", layout.display());
    measure(Command::new(umoci).args(["init", "--layout"]).arg(&layout))?;
    measure(Command::new(umoci).args(["new", "--image", &image]))?;
    measure(
        Command::new(umoci)
            .args(["insert", "--image", &image])
            .arg(agent)
            .arg("/usr/bin/basalt-agent"),
    )
}
