//! What a run has led to, for people and for programs.

use std::time::Duration;

use anyhow::Result;
use basalt_model::cluster::Cluster;
use serde::Serialize;

use super::dist::{Artefact, Built, Kind};
use crate::output::{self, Format};
use crate::table::table;

/// The result as `--output json` prints it.
#[derive(Serialize)]
struct Summary<'a> {
    /// Always 1.
    schema: u32,
    /// The folder that was written.
    dist: &'a str,
    /// Whether anything was written; false when all was up to date.
    changed: bool,
    /// The image's manifest digest.
    digest: &'a str,
    /// The rows of `manifest.json`.
    artefacts: &'a [Artefact],
}

/// Prints the result on stdout.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn print(
    built: &Built,
    cluster: &Cluster,
    elapsed: Duration,
    format: Format,
) -> Result<()> {
    match format {
        Format::Json => {
            let summary = Summary {
                schema: 1,
                dist: built.dist.as_str(),
                changed: built.changed,
                digest: &built.digest,
                artefacts: &built.manifest.artefacts,
            };
            output::print(serde_json::to_string_pretty(&summary)? + "\n")
        }
        Format::Text => output::print(text(built, cluster, elapsed)),
    }
}

fn text(built: &Built, cluster: &Cluster, elapsed: Duration) -> String {
    let rows = &built.manifest.artefacts;
    let size = |node: &str, kind: Kind| {
        let found = rows.iter().find(|row| row.node.as_deref() == Some(node) && row.kind == kind);
        found.map_or_else(String::new, |row| human(row.size))
    };
    let pods = |node: &str| {
        let pods = rows
            .iter()
            .filter(|row| row.node.as_deref() == Some(node) && row.kind == Kind::StaticPod);
        let names = pods.filter_map(|row| row.path.rsplit('/').next()?.strip_suffix(".yaml"));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![["node", "role", "ignition config", "static pods"].map(str::to_owned)];
    lines.extend(cluster.nodes.iter().map(|node| {
        let name = node.name.as_str();
        [name.to_owned(), node.role.to_string(), size(name, Kind::Ignition), pods(name)]
    }));
    let archive = rows.iter().find(|row| row.kind == Kind::OciArchive);
    let archive =
        archive.map_or_else(String::new, |row| format!("{} ({})", row.path, human(row.size)));
    let state = if built.changed { "written" } else { "up to date" };
    format!(
        "{}\nimage    {}\narchive  {archive}\n{state}  {} in {:.1} s\n",
        table(&lines),
        built.digest,
        built.dist,
        elapsed.as_secs_f64()
    )
}

/// A size in bytes with a binary unit and three digits at most.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes() {
        assert_eq!(
            [human(0), human(999), human(1000), human(5 << 20)],
            ["0 B", "999 B", "1.0 KiB", "5.0 MiB"]
        );
    }
}
