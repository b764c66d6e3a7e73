//! The folder `dist/`: what is in it, whether it is up to date, and how it takes the place of the one before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};

use anyhow::Result;
use basalt_image::io::atomic::{self, PlaceError};
use basalt_image::oci;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::foreign::Foreign;
use super::stage::Stage;
use crate::progress::Progress;

/// The `schema` value of `manifest.json`.
pub(super) const MANIFEST_SCHEMA: u32 = 1;

/// The file that lists all others.
pub(super) const MANIFEST: &str = "manifest.json";

/// The folder of the OCI layout, relative to `dist/`.
pub(super) const LAYOUT: &str = "image";

/// The label in which an image carries the digest of what it was made from: an image whose label is the wanted one
/// need not be made again.
pub(super) const INPUTS_LABEL: &str = "dev.basalt.inputs";

/// What a file in `dist/` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An Ignition config.
    Ignition,
    /// The Butane config that it was compiled from.
    Butane,
    /// `node.json`.
    Node,
    /// The manifest of a static pod.
    StaticPod,
    /// A config file that a static pod mounts.
    PodConfig,
    /// The marker of the OCI layout, `image/oci-layout`: its folder is the layout.
    OciLayout,
    /// The index of the OCI layout.
    OciIndex,
    /// A blob of the OCI layout.
    OciBlob,
    /// The whole layout as one file.
    OciArchive,
    /// An iPXE script.
    Ipxe,
    /// An Ignition config, as served to a machine that boots over PXE.
    PxeIgnition,
}

/// One row of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artefact {
    /// Relative to `dist/`.
    pub(crate) path: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// The machine it is for; null when it is for all.
    pub(crate) node: Option<String>,
    /// 64 hex digits.
    pub(crate) sha256: String,
    /// Bytes.
    pub(crate) size: u64,
    /// The image's manifest digest, where the file stands for the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Always 1.
    pub(crate) schema: u32,
    /// A digest of all that the nodes' files were made from, this program included: when it is the same, they need not
    /// be compiled again. Absent when there was something to say about them, which is then said again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inputs: Option<String>,
    /// A digest of that and of all that the image is made from: when it is the same, nothing has to be said about what
    /// nodes will lack. Absent when there was something, which is then said again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checked: Option<String>,
    /// One row a file, sorted by path; all but `manifest.json` itself.
    pub(crate) artefacts: Vec<Artefact>,
}

impl Manifest {
    /// As it is written.
    ///
    /// # Errors
    /// None that are known of.
    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// A file to be written whose bytes are known.
pub(crate) struct Document {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) node: Option<String>,
    pub(super) contents: Vec<u8>,
}

/// What a run has led to.
pub(crate) struct Built {
    /// The folder.
    pub(crate) dist: Utf8PathBuf,
    /// What is in it.
    pub(crate) manifest: Manifest,
    /// Whether anything was written.
    pub(crate) changed: bool,
    /// The image's manifest digest.
    pub(crate) digest: String,
    /// The image, when it was made in this run.
    pub(crate) composed: Option<oci::Composed>,
}

/// The manifest of an earlier result; `None` when no build wrote `dist`.
pub(super) fn read_manifest(dist: &Utf8Path) -> Option<Manifest> {
    let bytes = fs::read(dist.join(MANIFEST)).ok()?;
    serde_json::from_slice::<Manifest>(&bytes)
        .ok()
        .filter(|manifest| manifest.schema == MANIFEST_SCHEMA)
}

fn write_manifest(dist: &Utf8Path, manifest: &Manifest) -> Result<()> {
    let path = dist.join(MANIFEST);
    let text = manifest.to_json()?;
    atomic::replace_file(&path, |file| {
        file.write_all(&text).map_err(|source| PlaceError {
            doing: "write",
            path: path.clone(),
            source,
        })
    })?;
    Ok(())
}

impl Built {
    /// Whether nothing was to be said about what nodes will lack when all was as `checked` says.
    pub(super) fn is_checked(&self, checked: &str) -> bool {
        self.manifest.checked.as_deref() == Some(checked)
    }

    /// Notes [`Manifest::checked`] for later runs.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(super) fn note_checked(&mut self, checked: Option<String>) -> Result<()> {
        if self.manifest.checked == checked {
            return Ok(());
        }
        self.manifest.checked = checked;
        write_manifest(&self.dist, &self.manifest)
    }
}

/// What `dist` is to hold besides what other people have put there.
pub(super) struct Wanted<'w> {
    /// The image.
    pub(super) spec: &'w oci::Spec,
    /// The nodes' files.
    pub(super) documents: &'w [Document],
    /// For [`Manifest::inputs`].
    pub(super) inputs: Option<String>,
}

/// Makes `dist` hold what is wanted, in one step; writes no file that is there already. What other people have put
/// there stays, unless a file of ours has its name: that is refused without `force`. `old` is what is there, unless it
/// is to be made again.
///
/// # Errors
/// When something cannot be read or written. `dist` is then as it was.
pub(super) fn build(
    dist: &Utf8Path,
    wanted: Wanted,
    old: Option<Old>,
    force: bool,
    progress: &Progress,
) -> Result<Built> {
    let Wanted { spec, documents, inputs } = wanted;
    let old = old.filter(|old| old.has_image_of(spec));
    let archive = archive_of(spec);
    let old = match old {
        Some(old) if old.holds(documents, &archive) => return old.keep(inputs),
        old => old,
    };
    let foreign = Foreign::find(dist)?;
    if !force {
        let ours = documents.iter().map(|document| document.path.as_str());
        foreign.check_names(ours.chain([archive.as_str(), MANIFEST]))?;
    }
    let stage = Stage::new(dist)?;
    for document in documents {
        stage.write(&document.path, |file| file.write_all(&document.contents))?;
    }
    let layout = stage.folder.join(LAYOUT);
    let mut composed = None;
    let digest = match old {
        Some(old) => {
            progress.step("keeping the image: nothing in it has changed");
            old.copy_image(&stage, &archive)?;
            old.digest
        }
        None => {
            progress.step(format!(
                "composing the image `{}` from {} layers",
                spec.title,
                spec.components.len()
            ));
            let made = composed.insert(oci::compose(spec, &layout)?);
            stage.write(&archive, |file| oci::archive(&layout, file).map_err(io::Error::other))?;
            made.manifest.to_string()
        }
    };
    let manifest = stage.manifest(documents, &archive, &digest, inputs)?;
    foreign.carry_over(&stage.folder)?;
    stage.take_the_place_of(dist)?;
    Ok(Built { dist: dist.to_owned(), manifest, changed: true, digest, composed })
}

fn archive_of(spec: &oci::Spec) -> String {
    format!("{}.ociarchive", spec.title)
}

/// An earlier result that is whole: every file in its manifest is there with the digest it had.
pub(super) struct Old {
    folder: Utf8PathBuf,
    manifest: Manifest,
    image_inputs: Option<String>,
    digest: String,
}

impl Old {
    /// Reads every file of the result; `None` when one is damaged, or no build wrote `dist`.
    pub(super) fn read(dist: &Utf8Path) -> Option<Old> {
        let manifest = read_manifest(dist)?;
        let is_same = |row: &Artefact| {
            digest_of(&dist.join(&row.path))
                .is_ok_and(|(sha256, size)| sha256 == row.sha256 && size == row.size)
        };
        if !manifest.artefacts.iter().all(is_same) {
            return None;
        }
        let digest =
            manifest.artefacts.iter().find(|row| row.kind == Kind::OciLayout)?.digest.clone()?;
        let image_inputs = image_inputs(&dist.join(LAYOUT), &digest);
        Some(Old { folder: dist.to_owned(), manifest, image_inputs, digest })
    }

    /// Whether the nodes' files were made from the same.
    pub(super) fn is_compiled_from(&self, inputs: &str) -> bool {
        self.manifest.inputs.as_deref() == Some(inputs)
    }

    /// Whether the image is one of `spec`, under its name.
    pub(super) fn has_image_of(&self, spec: &oci::Spec) -> bool {
        let inputs = spec.labels.get(INPUTS_LABEL);
        inputs.is_some() && self.image_inputs.as_ref() == inputs
    }

    /// Leaves everything as it is, but for a note of what it could be made from as well.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(super) fn keep(mut self, inputs: Option<String>) -> Result<Built> {
        if self.manifest.inputs != inputs {
            self.manifest.inputs = inputs;
            write_manifest(&self.folder, &self.manifest)?;
        }
        let Old { folder: dist, manifest, digest, .. } = self;
        Ok(Built { dist, manifest, changed: false, digest, composed: None })
    }

    /// Whether exactly `documents` stand beside the image.
    fn holds(&self, documents: &[Document], archive: &str) -> bool {
        let is_image = |kind: Kind| {
            matches!(kind, Kind::OciLayout | Kind::OciIndex | Kind::OciBlob | Kind::OciArchive)
        };
        let rows = self.manifest.artefacts.iter().filter(|row| !is_image(row.kind));
        let there: BTreeMap<&str, &str> =
            rows.map(|row| (row.path.as_str(), row.sha256.as_str())).collect();
        let is_there = |document: &Document| {
            there.get(document.path.as_str()) == Some(&hex(&document.contents).as_str())
        };
        let has_archive = self
            .manifest
            .artefacts
            .iter()
            .any(|row| row.kind == Kind::OciArchive && row.path == archive);
        has_archive && there.len() == documents.len() && documents.iter().all(is_there)
    }

    fn copy_image(&self, stage: &Stage, archive: &str) -> Result<()> {
        for row in &self.manifest.artefacts {
            let target = match row.kind {
                Kind::OciLayout | Kind::OciIndex | Kind::OciBlob => row.path.as_str(),
                Kind::OciArchive => archive,
                _ => continue,
            };
            let mut source = File::open(self.folder.join(&row.path))?;
            stage.write(target, |file| io::copy(&mut source, file).map(drop))?;
        }
        Ok(())
    }
}

/// The label of the image with the manifest `digest` in `layout`.
fn image_inputs(layout: &Utf8Path, digest: &str) -> Option<String> {
    let blob = |digest: &str| -> Option<serde_json::Value> {
        let hex = digest.strip_prefix("sha256:")?;
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).ok()?).ok()
    };
    let config = blob(blob(digest)?["config"]["digest"].as_str()?)?;
    Some(config["config"]["Labels"][INPUTS_LABEL].as_str()?.to_owned())
}

/// SHA-256 and size of a file.
pub(super) fn digest_of(path: &Utf8Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((text(&hasher.finalize()), size));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

/// SHA-256 of bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    text(&Sha256::digest(bytes))
}

fn text(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
