//! Changing a machine's Ignition config in a finished build.

use std::fs;

use anyhow::{Context, Error, Result, bail};
use basalt_image::io::atomic::{self, PlaceError};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value as Json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use zeroize::Zeroizing;

use super::dist::{Kind, MANIFEST, Manifest, hex, read_manifest};

/// A finished build, and which of its files are the Ignition config of one machine.
pub(crate) struct Build {
    dist: Utf8PathBuf,
    manifest: Manifest,
    /// Places in the manifest.
    rows: Vec<usize>,
}

impl Build {
    /// Finds the configs of `node` in `dist`.
    ///
    /// # Errors
    /// When no build wrote `dist`, or it has no such node.
    pub(crate) fn open(dist: &Utf8Path, node: &str) -> Result<Build> {
        let manifest = read_manifest(dist).with_context(|| {
            format!("`{dist}` is no finished build; see `cargo xtask build-image`")
        })?;
        let is_config = |kind| matches!(kind, Kind::Ignition | Kind::PxeIgnition);
        let rows: Vec<usize> = manifest
            .artefacts
            .iter()
            .enumerate()
            .filter(|(_, row)| is_config(row.kind) && row.node.as_deref() == Some(node))
            .map(|(index, _)| index)
            .collect();
        if rows.is_empty() {
            bail!("`{dist}` has no Ignition config of `{node}`; build it first");
        }
        let build = Build { dist: dist.to_owned(), manifest, rows };
        build.can_be_rewritten()?;
        Ok(build)
    }

    /// Tries it in each folder: what is put into a config may be worth something.
    fn can_be_rewritten(&self) -> Result<()> {
        let paths = self.rows.iter().map(|&row| self.manifest.artefacts[row].path.as_str());
        for path in paths.chain([MANIFEST]).map(|path| self.dist.join(path)) {
            let folder = path.parent().unwrap_or(&self.dist);
            tempfile::tempfile_in(folder)
                .and_then(|_| fs::metadata(&path))
                .with_context(|| format!("cannot rewrite `{path}`"))?;
        }
        Ok(())
    }

    /// Changes each config, lets only its owner read it, and notes its new digest in `manifest.json`.
    ///
    /// # Errors
    /// When a config cannot be read or written.
    pub(crate) fn rewrite(&self, mut change: impl FnMut(&mut Json) -> Result<()>) -> Result<()> {
        let mut manifest = self.manifest.clone();
        let mut changed = Vec::new();
        for &row in &self.rows {
            let path = self.dist.join(&manifest.artefacts[row].path);
            let text =
                Zeroizing::new(fs::read(&path).with_context(|| format!("cannot read `{path}`"))?);
            let mut config: Json = serde_json::from_slice(&text)
                .map_err(|error| Error::msg(format!("`{path}` is no Ignition config: {error}")))?;
            change(&mut config).with_context(|| format!("cannot change `{path}`"))?;
            let mut text = Zeroizing::new(serde_json::to_vec(&config)?);
            text.push(b'\n');
            manifest.artefacts[row].sha256 = hex(&text);
            manifest.artefacts[row].size = text.len() as u64;
            changed.push((path, text));
        }
        for (path, text) in &changed {
            replace(path, text, Some(0o600))?;
        }
        // What the nodes' files were made from is not all any more: the next build compiles them.
        manifest.inputs = None;
        replace(&self.dist.join(MANIFEST), &manifest.to_json()?, None)
    }
}

fn replace(path: &Utf8Path, bytes: &[u8], mode: Option<u32>) -> Result<()> {
    atomic::replace_file(path, |file| {
        let failed = |source| PlaceError { doing: "write", path: path.to_owned(), source };
        if let Some(mode) = mode {
            let permissions = fs::Permissions::from_mode(mode);
            file.get_ref().set_permissions(permissions).map_err(failed)?;
        }
        file.write_all(bytes).map_err(failed)
    })?;
    Ok(())
}
