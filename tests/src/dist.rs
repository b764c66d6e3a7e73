//! What `build-image` wrote, as a stranger reads it: through `manifest.json` and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// `manifest.json`. Unknown fields are refused: a test that passes has seen all there is.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always 1.
    pub schema: u32,
    /// 64 hex digits, when nothing was said about the nodes' files.
    pub inputs: Option<String>,
    /// 64 hex digits, when nothing was said about what nodes will lack.
    pub checked: Option<String>,
    /// One row a file.
    pub artefacts: Vec<Artefact>,
}

/// One row of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// Relative to the folder.
    pub path: String,
    /// What the file is for.
    pub kind: String,
    /// The machine it is for.
    pub node: Option<String>,
    /// 64 hex digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The image's manifest digest, where the file stands for the image.
    pub digest: Option<String>,
}

/// A folder that `build-image` wrote.
#[derive(Debug)]
pub struct Dist {
    /// The folder.
    pub folder: PathBuf,
    /// Its `manifest.json`.
    pub manifest: Manifest,
}

impl Dist {
    /// Reads `manifest.json` in `folder`.
    ///
    /// # Panics
    /// When there is none or it is of another form.
    pub fn open(folder: &Path) -> Dist {
        let text = fs::read(folder.join("manifest.json")).expect("build-image writes a manifest");
        let manifest = serde_json::from_slice(&text).expect("the manifest has the documented form");
        Dist { folder: folder.to_path_buf(), manifest }
    }

    /// The rows of one kind.
    pub fn of_kind<'d>(&'d self, kind: &'d str) -> impl Iterator<Item = &'d Artefact> {
        self.manifest.artefacts.iter().filter(move |row| row.kind == kind)
    }

    /// The only file of `kind` for `node`, or for the cluster.
    ///
    /// # Panics
    /// When there is none or several.
    pub fn file(&self, kind: &str, node: Option<&str>) -> PathBuf {
        let rows: Vec<&Artefact> =
            self.of_kind(kind).filter(|row| row.node.as_deref() == node).collect();
        assert_eq!(rows.len(), 1, "one file of kind `{kind}` for {node:?}: {rows:?}");
        self.folder.join(&rows[0].path)
    }

    /// Every file below the folder with its SHA-256 digest and size.
    ///
    /// # Panics
    /// When one cannot be read.
    pub fn files(&self) -> BTreeMap<String, (String, u64)> {
        let mut files = BTreeMap::new();
        let mut pending = vec![self.folder.clone()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(&folder).expect("a folder of ours can be read") {
                let path = entry.expect("a folder of ours can be read").path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let bytes = fs::read(&path).expect("a file of ours can be read");
                let digest: String =
                    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                let name = path.strip_prefix(&self.folder).expect("it stands below the folder");
                files.insert(name.to_string_lossy().into_owned(), (digest, bytes.len() as u64));
            }
        }
        files
    }
}

/// Runs `build-image` on `cluster` into `dist`. The agent that the tests run against is baked in.
///
/// # Panics
/// When the program cannot be started.
pub fn build_image(
    xtask: &Path,
    agent: &Path,
    cluster: &Path,
    dist: &Path,
    more: &[&str],
) -> Output {
    let mut command = Command::new(xtask);
    command.arg("build-image").arg("--cluster").arg(cluster).arg("--dist").arg(dist);
    command.arg("--agent").arg(agent).args(more);
    command.output().expect("the program that cargo built can be started")
}
