//! What goes into the image: one layer per component, from what changes rarely to what changes often.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use anyhow::{Context, Result};
use basalt_image::io::digest::Digest;
use basalt_image::oci::{Component, Entry, Source};
use basalt_model::cluster::{BaseImage, Cluster, ImagePlan};
use basalt_model::names::Sha256;
use basalt_model::report::{Place, Report};
use camino::{Utf8Path, Utf8PathBuf};

use super::agent::Agent;
use super::preload::{self, Baked};
use super::{dist, shipped};

/// Everything that the cluster names on this machine: Butane files, texts that nodes carry, files to be baked in, the
/// base.
pub(super) fn sources(cluster: &Cluster, folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let butane = cluster.butane.values().flatten().map(|file| file.value.as_str());
    let files = cluster.image.files.iter().map(|file| file.value.source.as_str());
    let archives = cluster.image.preload.iter().map(|item| item.value.archive.as_str());
    let base = match &cluster.image.base.value {
        BaseImage::Layout(layout) => Some(layout.as_str()),
        BaseImage::Scratch | BaseImage::Registry(_) => None,
    };
    let texts = cluster.texts.keys().map(|name| name.as_str());
    let paths: BTreeSet<&str> =
        butane.chain(files).chain(archives).chain(texts).chain(base).collect();
    paths.into_iter().map(|path| folder.join(path)).collect()
}

/// Looks at every file that is to be baked in, and reports those that cannot be.
pub(super) fn check(image: &ImagePlan, folder: &Utf8Path, report: &mut Report) {
    for file in image.files.iter().map(|file| &file.value) {
        let source = &file.source;
        check_file(folder, source.as_str(), &file.sha256, source.place, &source.path, report);
    }
    for item in image.preload.iter().map(|item| &item.value) {
        let source = &item.archive;
        if check_file(folder, source.as_str(), &item.sha256, source.place, &source.path, report) {
            preload::check(&folder.join(source.as_str()), item, report);
        }
    }
}

/// Whether the file can be baked in.
fn check_file(
    folder: &Utf8Path,
    source: &str,
    wanted: &Sha256,
    place: Place,
    path: &str,
    report: &mut Report,
) -> bool {
    let file = folder.join(source);
    let is_file = file.metadata().map(|metadata| metadata.is_file());
    match is_file {
        Ok(true) => {}
        Ok(false) => {
            report.error(place, path, format!("`{file}` is not a regular file"));
            return false;
        }
        Err(error) => {
            report
                .error(place, path, format!("cannot read `{file}`: {error}"))
                .hint("paths are relative to the cluster's file");
            return false;
        }
    }
    match dist::digest_of(&file) {
        Ok((found, _)) if found == wanted.as_str() => return true,
        Ok((found, _)) => {
            report
                .error(
                    place,
                    path,
                    format!("`{file}` has the SHA-256 digest {found}, not {wanted}"),
                )
                .hint("find out why it differs before you change the digest");
        }
        Err(error) => drop(report.error(place, path, format!("cannot read `{file}`: {error}"))),
    }
    false
}

/// All components, in order.
///
/// # Errors
/// When a file of the agent cannot be read.
pub(super) fn all(cluster: &Cluster, folder: &Utf8Path, agent: &Agent) -> Result<Vec<Component>> {
    let baked = preload::baked(cluster, folder, agent.architecture)?;
    let bill = config(cluster, &baked);
    let mut components: Vec<Component> = baked.into_iter().map(Baked::into_component).collect();
    components.extend(files(cluster, folder));
    components.push(shipped::node());
    components.push(self::agent(agent)?);
    components.push(bill);
    Ok(components)
}

fn files(cluster: &Cluster, folder: &Utf8Path) -> Vec<Component> {
    let mut components: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for file in cluster.image.files.iter().map(|file| &file.value) {
        let source = Source::Path(folder.join(file.source.as_str()));
        let entry =
            Entry::pinned_file(file.path.as_str(), file.mode.bits(), source, digest(&file.sha256));
        components.entry(file.component.to_string()).or_default().push(entry);
    }
    components.into_iter().map(|(name, entries)| Component { name, entries }).collect()
}

pub(super) fn digest(sha256: &Sha256) -> Digest {
    format!("sha256:{sha256}").parse().expect("64 hex digits make a digest")
}

fn agent(agent: &Agent) -> Result<Component> {
    let (sha256, _) = dist::digest_of(&agent.program)
        .with_context(|| format!("cannot read `{}`", agent.program))?;
    let sha256 = format!("sha256:{sha256}").parse().context("a digest of ours is no digest")?;
    let program = Source::Path(agent.program.clone());
    let mut entries = vec![Entry::pinned_file("usr/bin/basalt-agent", 0o755, program, sha256)];
    entries.extend(shipped::agent());
    Ok(Component { name: "agent".to_owned(), entries })
}

/// What the image says of itself on a node.
fn config(cluster: &Cluster, baked: &[Baked]) -> Component {
    let file = |file: &basalt_model::input::ImageFileInput| serde_json::json!({"path": format!("/{}", file.path.value), "sha256": file.sha256, "component": file.component});
    let preload =
        |item: &Baked| serde_json::json!({"reference": item.reference, "sha256": item.sha256});
    let bill = serde_json::json!({
        "schema": 1,
        "cluster": cluster.name,
        "name": cluster.image.name,
        "version": cluster.image.version,
        "files": cluster.image.files.iter().map(|item| file(item)).collect::<Vec<_>>(),
        "preload": baked.iter().map(preload).collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_vec_pretty(&bill).expect("the keys are strings");
    text.push(b'\n');
    let entries = vec![Entry::file("usr/lib/basalt/image.json", 0o644, Source::Bytes(text))];
    Component { name: "config".to_owned(), entries }
}

/// A digest of everything the image is made of; see [`dist::INPUTS_LABEL`].
///
/// # Errors
/// When a file cannot be read.
pub(super) fn inputs(spec: &basalt_image::oci::Spec) -> Result<String> {
    use basalt_image::oci::{Base, EntryKind};
    let mut lines = vec![
        format!("basalt {}", env!("CARGO_PKG_VERSION")),
        format!(
            "{} {} {} {}",
            spec.architecture.as_str(),
            spec.title,
            spec.version,
            spec.reference
        ),
        format!("{} {}", spec.created, spec.mtime),
    ];
    if let Base::Layout { folder, .. } = &spec.base {
        let (index, _) = dist::digest_of(&folder.join("index.json"))
            .context("cannot read the base image's index")?;
        lines.push(format!("base {index}"));
    }
    for component in &spec.components {
        lines.push(format!("component {}", component.name));
        for entry in &component.entries {
            let kind = match &entry.kind {
                EntryKind::File { mode, sha256: Some(sha256), .. } => {
                    format!("file {mode:o} {sha256}")
                }
                EntryKind::File { mode, source: Source::Bytes(bytes), .. } => {
                    format!("file {mode:o} {}", dist::hex(bytes))
                }
                EntryKind::File { mode, source: Source::Path(path), .. } => {
                    let digest = |path: &Utf8Path| -> Result<String> {
                        File::open(path)?;
                        Ok(dist::digest_of(path)?.0)
                    };
                    format!(
                        "file {mode:o} {}",
                        digest(path).with_context(|| format!("cannot read `{path}`"))?
                    )
                }
                EntryKind::Symlink { target } => format!("symlink {target}"),
                EntryKind::Directory { mode } => format!("directory {mode:o}"),
            };
            lines.push(format!("{kind} {}", entry.path));
        }
    }
    Ok(dist::hex(lines.join("\n").as_bytes()))
}
