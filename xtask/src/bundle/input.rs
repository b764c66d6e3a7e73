//! A bundle on disk: a folder that a person edits, or an artefact made of one.

use std::fs;

use anyhow::{Context, Result, anyhow, bail};
use basalt_image::bundle::index::is_wave_name;
use basalt_image::bundle::{self, ContentFile, Index, StoreError, content};
use basalt_image::oci::layout::{LayoutError, MARKER};
use camino::{Utf8Path, Utf8PathBuf};

use super::settings::FILE;
use super::with_hint;
use crate::source;

/// What to name instead of something that is no bundle.
const HINT: Option<&str> = Some(
    "name a folder with a `bundle.yaml`, or what `cargo xtask bundle build` made of one: an OCI layout or an archive",
);

/// The files of a bundle, and what is said about them.
#[derive(Debug)]
pub(super) struct Input {
    /// What the person named; the files are below it.
    pub(super) path: Utf8PathBuf,
    /// In the order in which they are applied.
    pub(super) files: Vec<ContentFile>,
    pub(super) about: About,
    /// What has no place in a bundle, with what is wrong with it; below the path.
    pub(super) strangers: Vec<(String, &'static str)>,
}

/// What is said about a bundle besides its objects.
#[derive(Debug)]
pub(super) enum About {
    /// The text of `bundle.yaml`.
    Folder(Vec<u8>),
    /// The index of an artefact.
    Artefact(Box<Index>),
}

impl Input {
    /// Reads a folder, an OCI layout or an archive of one.
    ///
    /// # Errors
    /// When it cannot be read, or is none of them.
    pub(super) fn read(path: &Utf8Path) -> Result<Self> {
        let kind = fs::metadata(path).with_context(|| format!("cannot read `{path}`"))?;
        let settings = path.join(FILE);
        if kind.is_dir() && !settings.exists() && !path.join(MARKER.0).is_file() {
            let neither = format!("it has neither a `{FILE}` nor an `{}`", MARKER.0);
            return Err(with_hint(anyhow!("the folder `{path}` is no bundle: {neither}"), HINT));
        }
        if !kind.is_dir() || path.join(MARKER.0).is_file() {
            let opened = bundle::open(path, None).map_err(|error| {
                let hint = match &error {
                    StoreError::NotAnArchive { .. } | StoreError::NoBundle { .. } => HINT,
                    StoreError::Layout(LayoutError::NotALayout { .. }) => HINT,
                    _ => error.hint(),
                };
                with_hint(error, hint)
            })?;
            return Ok(Self {
                path: path.to_owned(),
                files: opened.artefact.content,
                about: About::Artefact(Box::new(opened.artefact.index)),
                strangers: Vec::new(),
            });
        }
        let text = source::read(&settings)
            .with_context(|| format!("cannot read `{settings}`, which says what the bundle is"))?;
        let mut input = Self {
            path: path.to_owned(),
            files: Vec::new(),
            about: About::Folder(text),
            strangers: Vec::new(),
        };
        input.folder("")?;
        content::sort(&mut input.files);
        input.strangers.sort();
        Ok(input)
    }

    /// Reads what is in a folder below the path.
    fn folder(&mut self, below: &str) -> Result<()> {
        let folder = self.path.join(below);
        let failed = || format!("cannot read the folder `{folder}`");
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                bail!("`{folder}` holds a name that is not UTF-8 text");
            };
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let kind = entry.file_type().with_context(failed)?;
            if below.is_empty() && (path == FILE || path == "README.md") {
                continue;
            }
            let wrong = if kind.is_dir() {
                match below.is_empty() && !is_wave_name(&path) {
                    true => {
                        "the folder is not called like a wave, two digits and a name, as `10-rbac`"
                    }
                    false => {
                        self.folder(&path)?;
                        continue;
                    }
                }
            } else if !kind.is_file() {
                "it is not a regular file"
            } else if !content::is_content_path(&path) {
                "only files of YAML in folders of waves are part of a bundle"
            } else {
                let whole = self.path.join(&path);
                let bytes =
                    source::read(&whole).with_context(|| format!("cannot read `{whole}`"))?;
                match String::from_utf8(bytes) {
                    Ok(text) => {
                        self.files.push(ContentFile { path, text });
                        continue;
                    }
                    Err(_) => "it is not UTF-8 text",
                }
            };
            self.strangers.push((path, wrong));
        }
        Ok(())
    }

    /// The name of a file as the person would name it.
    pub(super) fn name(&self, file: &str) -> String {
        self.path.join(file).into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::explained;

    #[track_caller]
    fn check(path: &Utf8Path, expected: &str) {
        let expected = expected.replace("PATH", path.as_str());
        assert_eq!(explained(&Input::read(path).unwrap_err()), expected);
    }

    #[test]
    fn what_is_no_bundle_is_told_from_what_is_one() {
        let keep = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(keep.path()).unwrap();
        let file = folder.join("notes.txt");
        fs::write(&file, "milk, bread\n").unwrap();
        let hint = "\nhint: name a folder with a `bundle.yaml`, or what `cargo xtask bundle build` made of one: an OCI layout or an archive";
        check(
            folder,
            &format!(
                "error: the folder `PATH` is no bundle: it has neither a `bundle.yaml` nor an `oci-layout`{hint}"
            ),
        );
        check(
            &file,
            &format!(
                "error: `PATH` is not an OCI archive: it is no tar file, or a damaged one{hint}"
            ),
        );
        check(
            &folder.join("gone"),
            "error: cannot read `PATH`\n  caused by: No such file or directory (os error 2)",
        );
    }
}
