//! The folder `dist/`: what is in it, whether it is up to date, and how it takes the place of the one before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, bail};
use basalt_image::oci;
use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::progress::Progress;

/// The `schema` value of `manifest.json`.
const MANIFEST_SCHEMA: u32 = 1;

/// The file that lists all others.
const MANIFEST: &str = "manifest.json";

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
    /// One row a file, sorted by path; all but `manifest.json` itself.
    pub(crate) artefacts: Vec<Artefact>,
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
}

/// Refuses a target that is not ours to replace.
///
/// # Errors
/// When `dist` is something else than an absent or empty folder or an earlier result, and `force` is not given.
pub(super) fn check_target(dist: &Utf8Path, force: bool) -> Result<()> {
    let Some(parent) = dist.parent() else { bail!("`{dist}` is the root of the file system") };
    if !parent.is_dir() {
        bail!("`{parent}` is not a folder, so `{dist}` cannot be made in it");
    }
    let metadata = match fs::symlink_metadata(dist) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at `{dist}`")),
    };
    if !metadata.is_dir() {
        bail!("`{dist}` is not a folder");
    }
    let is_empty =
        fs::read_dir(dist).with_context(|| format!("cannot read `{dist}`"))?.next().is_none();
    if is_empty || force || read_manifest(dist).is_some() {
        return Ok(());
    }
    bail!(
        "`{dist}` was not written by this command; choose another folder with `--dist`, or replace it with `--force`"
    )
}

fn read_manifest(dist: &Utf8Path) -> Option<Manifest> {
    let bytes = fs::read(dist.join(MANIFEST)).ok()?;
    serde_json::from_slice::<Manifest>(&bytes)
        .ok()
        .filter(|manifest| manifest.schema == MANIFEST_SCHEMA)
}

/// Makes `dist` hold `documents` and the image of `spec`, in one step; does nothing when it already does.
///
/// # Errors
/// When something cannot be read or written. `dist` is then as it was.
pub(super) fn build(
    dist: &Utf8Path,
    spec: &oci::Spec,
    documents: &[Document],
    force: bool,
    progress: &Progress,
) -> Result<Built> {
    let inputs = spec.labels.get(INPUTS_LABEL);
    let old = if force { None } else { Old::read(dist) };
    let old = old.filter(|old| inputs.is_some() && old.image_inputs.as_ref() == inputs);
    let archive = format!("{}.ociarchive", spec.title);
    if let Some(old) = &old
        && old.holds(documents, &archive)
    {
        let (manifest, digest) = (old.manifest.clone(), old.digest.clone());
        return Ok(Built { dist: dist.to_owned(), manifest, changed: false, digest });
    }
    let stage = Stage::new(dist)?;
    for document in documents {
        stage.write(&document.path, |file| file.write_all(&document.contents))?;
    }
    let layout = stage.folder.join(LAYOUT);
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
            let composed = oci::compose(spec, &layout)?;
            stage.write(&archive, |file| oci::archive(&layout, file).map_err(io::Error::other))?;
            composed.manifest.to_string()
        }
    };
    let manifest = stage.manifest(documents, &archive, &digest)?;
    stage.take_the_place_of(dist)?;
    Ok(Built { dist: dist.to_owned(), manifest, changed: true, digest })
}

/// An earlier result that is whole: every file in its manifest is there with the digest it had.
struct Old {
    folder: Utf8PathBuf,
    manifest: Manifest,
    image_inputs: Option<String>,
    digest: String,
}

impl Old {
    fn read(dist: &Utf8Path) -> Option<Old> {
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

/// The folder beside `dist/` in which the new result grows; removed when it is dropped.
struct Stage {
    folder: Utf8PathBuf,
    _guard: tempfile::TempDir,
}

impl Stage {
    fn new(dist: &Utf8Path) -> Result<Stage> {
        let (Some(parent), Some(name)) = (dist.parent(), dist.file_name()) else {
            bail!("`{dist}` has no name")
        };
        let guard = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a folder in `{parent}`"))?;
        let folder = Utf8PathBuf::try_from(guard.path().to_owned())?;
        // The result is read by a web server and by other people; `tempdir` makes it private.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        Ok(Stage { folder, _guard: guard })
    }

    /// Writes one file below the folder and syncs it.
    fn write(&self, path: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        let full = self.folder.join(path);
        let write = || {
            fs::create_dir_all(full.parent().unwrap_or(&self.folder))?;
            let mut file = File::create_new(&full)?;
            fill(&mut file)?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot write `{path}`"))
    }

    /// Lists every file, and writes the list.
    fn manifest(&self, documents: &[Document], archive: &str, digest: &str) -> Result<Manifest> {
        let mut artefacts = Vec::new();
        for path in files_below(&self.folder)? {
            let document = documents.iter().find(|document| document.path == path);
            let kind = match document {
                Some(document) => document.kind,
                None if path == archive => Kind::OciArchive,
                None if path.ends_with("/oci-layout") => Kind::OciLayout,
                None if path.contains("/blobs/") => Kind::OciBlob,
                None => Kind::OciIndex,
            };
            let (sha256, size) = digest_of(&self.folder.join(&path))?;
            let stands_for_image = matches!(kind, Kind::OciLayout | Kind::OciArchive);
            let digest = stands_for_image.then(|| digest.to_owned());
            let node = document.and_then(|document| document.node.clone());
            artefacts.push(Artefact { path, kind, node, sha256, size, digest });
        }
        let manifest = Manifest { schema: MANIFEST_SCHEMA, artefacts };
        let mut text = serde_json::to_vec_pretty(&manifest)?;
        text.push(b'\n');
        self.write(MANIFEST, |file| file.write_all(&text))?;
        Ok(manifest)
    }

    /// Puts the folder where `dist` is, in one step; what was there goes away with the guard.
    fn take_the_place_of(self, dist: &Utf8Path) -> Result<()> {
        let flags = if dist.exists() {
            RenameFlags::RENAME_EXCHANGE
        } else {
            RenameFlags::RENAME_NOREPLACE
        };
        renameat2(AT_FDCWD, self.folder.as_std_path(), AT_FDCWD, dist.as_std_path(), flags)
            .with_context(|| format!("cannot put the result in the place of `{dist}`"))?;
        if let Some(parent) = dist.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

/// The files below `folder`, relative to it, sorted as bytes.
fn files_below(folder: &Utf8Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(current) = pending.pop() {
        for entry in current.read_dir_utf8()? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.into_path());
            } else {
                files.push(entry.path().strip_prefix(folder)?.to_string());
            }
        }
    }
    files.sort();
    Ok(files)
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
