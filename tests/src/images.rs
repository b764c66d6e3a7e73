//! Images for the pods of a test, made by Basalt's own image code from programs of this machine.
//!
//! What a program needs besides itself is asked of the dynamic linker. Same programs, same bytes: the digest of an
//! image changes only when a program or one of its libraries does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use basalt_image::io::digest::Digest;
use basalt_image::oci::document::{self, About};
use basalt_image::oci::layer::{self, Layer};
use basalt_image::oci::rules::{Item, LayerPlan};
use basalt_image::oci::{Architecture, Base, Source, archive};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use crate::peers::Peer;

/// An image in an OCI archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodImage {
    /// Its name without tag: `registry.lab.example/basalt/haproxy`.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// The digest of its manifest, as `sha256:…`.
    pub digest: String,
    /// The archive.
    pub archive: PathBuf,
}

impl PodImage {
    /// The reference a pod uses: `repository:tag@digest`.
    pub fn reference(&self) -> String {
        format!("{}:{}@{}", self.repository, self.tag, self.digest)
    }

    /// `repository:tag`
    pub fn tagged(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// What goes into an image besides the programs' own libraries.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// `haproxy`: the image is called `registry.lab.example/basalt/haproxy`.
    pub name: &'a str,
    /// The tag.
    pub tag: &'a str,
    /// Programs of this machine, at the same paths in the image.
    pub programs: &'a [&'a Peer],
    /// Programs that busybox is to stand in for, in `/usr/bin`.
    pub applets: &'a [&'a str],
    /// What is run when nothing else is asked for.
    pub entrypoint: &'a [&'a str],
}

impl<'a> Recipe<'a> {
    /// An image of busybox alone: `applets` is what it is asked to be, `entrypoint` what it does.
    pub fn of_busybox(
        name: &'a str,
        tag: &'a str,
        applets: &'a [&'a str],
        entrypoint: &'a [&'a str],
    ) -> Recipe<'a> {
        Recipe { name, tag, programs: &[], applets, entrypoint }
    }
}

/// Where the links of a merged `/usr` point.
const MERGED: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")];

/// Makes the image of `recipe` and leaves it in `folder`, which exists, as `NAME.tar`.
///
/// # Errors
/// When a program's libraries cannot be found, or files cannot be read or written.
pub fn make(recipe: &Recipe<'_>, busybox: &Peer, folder: &Path) -> Result<PodImage> {
    let folder = Utf8Path::from_path(folder).context("folders of tests have plain names")?;
    let sources = files(recipe, busybox)?;
    let links: BTreeMap<String, String> = recipe
        .applets
        .iter()
        .map(|applet| (format!("usr/bin/{applet}"), "busybox".to_owned()))
        .chain(MERGED.iter().map(|(link, target)| ((*link).to_owned(), (*target).to_owned())))
        .collect();
    let plan = plan(&sources, &links);

    let layout = folder.join(format!("{}.layout", recipe.name));
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let partial = layout.join("layer");
    let layer = layer::write(&plan, 0, File::create(&partial)?)?;
    fs::rename(&partial, blobs.join(layer.digest.hex()))?;
    let manifest = documents(recipe, &layout, layer)?;

    let file = folder.join(format!("{}.tar", recipe.name));
    archive(&layout, File::create(&file)?)?;
    fs::remove_dir_all(&layout)?;
    Ok(PodImage {
        repository: format!("registry.lab.example/basalt/{}", recipe.name),
        tag: recipe.tag.to_owned(),
        digest: format!("sha256:{}", manifest.hex()),
        archive: file.into(),
    })
}

/// Writes config, manifest and index; gives the manifest's digest.
fn documents(recipe: &Recipe<'_>, layout: &Utf8Path, layer: Layer) -> Result<Digest> {
    let architecture = Architecture::Amd64;
    let base = Base::Scratch.open(architecture)?;
    let labels = BTreeMap::new();
    let about =
        About { title: recipe.name, version: recipe.tag, created: 0, labels: &labels, base: None };
    let layers = [("programs", layer)];
    let mut config = document::config(&base.config, 0, &about, &layers);
    config["config"]["Env"] = json!(["PATH=/usr/sbin:/usr/bin"]);
    config["config"]["Entrypoint"] = json!(recipe.entrypoint);
    let write = |bytes: &[u8]| -> Result<Digest> {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes)?;
        Ok(digest)
    };
    let text = config.to_string();
    let config = (&write(text.as_bytes())?, text.len());
    let text = document::manifest(&base.manifest, &about, config, &layers).to_string();
    let manifest = write(text.as_bytes())?;
    let mut index = document::index((&manifest, text.len()), architecture.as_str(), recipe.tag);
    // containerd takes the whole name from here; the standard annotation has the tag alone.
    index["manifests"][0]["annotations"]["io.containerd.image.name"] =
        json!(format!("registry.lab.example/basalt/{}:{}", recipe.name, recipe.tag));
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(manifest)
}

/// The regular files of the image: path in it, and where each comes from.
fn files(recipe: &Recipe<'_>, busybox: &Peer) -> Result<BTreeMap<String, (u32, Source)>> {
    let mut files = BTreeMap::new();
    let mut add = |path: &Path| -> Result<()> {
        let real = Utf8PathBuf::from_path_buf(path.canonicalize()?)
            .map_err(|path| anyhow::anyhow!("`{}` is no plain name", path.display()))?;
        files.insert(merged(path), (0o755, Source::Path(real)));
        Ok(())
    };
    for program in recipe.programs {
        add(&program.program)?;
        for library in libraries(&program.program)? {
            add(&library)?;
        }
    }
    if !recipe.applets.is_empty() {
        let busybox = Utf8PathBuf::from_path_buf(busybox.program.clone())
            .map_err(|path| anyhow::anyhow!("`{}` is no plain name", path.display()))?;
        files.insert("usr/bin/busybox".to_owned(), (0o755, Source::Path(busybox)));
    }
    // Programs that change their user look it up.
    let users = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    files.insert("etc/passwd".to_owned(), (0o644, Source::Bytes(users.into())));
    let groups = "root:x:0:\nnogroup:x:65534:\n";
    files.insert("etc/group".to_owned(), (0o644, Source::Bytes(groups.into())));
    Ok(files)
}

/// The path in a tree whose `/usr` is merged: `/lib/x` is `usr/lib/x`.
fn merged(path: &Path) -> String {
    let path = path.display().to_string();
    let path = path.trim_start_matches('/');
    let (first, _) = path.split_once('/').unwrap_or((path, ""));
    let is_link = MERGED.iter().any(|(link, _)| *link == first);
    if is_link { format!("usr/{path}") } else { path.to_owned() }
}

/// The shared libraries of a program and its dynamic linker; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // A static program makes ldd fail, with "not a dynamic executable".
    let output = Command::new("ldd").arg(program).env("LC_ALL", "C").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let library = |line: &str| {
        let line = line.trim();
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        path.starts_with('/').then(|| PathBuf::from(path.split(' ').next().unwrap_or(path)))
    };
    let missing: Vec<&str> = text.lines().filter(|line| line.contains("not found")).collect();
    anyhow::ensure!(missing.is_empty(), "`{}` lacks libraries: {missing:?}", program.display());
    Ok(text.lines().filter_map(library).collect())
}

fn plan<'a>(
    files: &'a BTreeMap<String, (u32, Source)>,
    links: &'a BTreeMap<String, String>,
) -> LayerPlan<'a> {
    let mut items: BTreeMap<&str, Item<'_>> = BTreeMap::new();
    let all: BTreeSet<&str> = files.keys().chain(links.keys()).map(String::as_str).collect();
    for path in all {
        for (at, _) in path.match_indices('/') {
            items.insert(&path[..at], Item::Directory { mode: 0o755 });
        }
    }
    for (path, (mode, source)) in files {
        items.insert(path, Item::File { mode: *mode, source, sha256: None });
    }
    for (path, target) in links {
        items.insert(path, Item::Symlink { target });
    }
    for folder in ["usr/lib64", "usr/sbin", "var", "run"] {
        items.entry(folder).or_insert(Item::Directory { mode: 0o755 });
    }
    items.insert("usr", Item::Directory { mode: 0o755 });
    items.insert("tmp", Item::Directory { mode: 0o1777 });
    LayerPlan { component: "programs", items }
}

/// Puts an archive into the store of containerd under both of its names, pinned. `ctr` runs what it is given with the
/// program of that name.
///
/// # Errors
/// When `ctr` fails.
pub fn import(
    ctr: &mut dyn FnMut(&[&str]) -> Result<String>,
    image: &PodImage,
    archive: &str,
) -> Result<()> {
    let pin = "io.cri-containerd.pinned=pinned";
    ctr(&["images", "import", "--label", pin, archive])?;
    let by_digest = format!("{}@{}", image.repository, image.digest);
    ctr(&["images", "tag", "--force", &image.tagged(), &by_digest])?;
    ctr(&["images", "label", &by_digest, pin])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_the_linker_names() {
        let found = libraries(Path::new("/bin/sh")).unwrap();
        assert!(found.iter().any(|path| path.ends_with("libc.so.6")), "{found:?}");
        assert_eq!(
            merged(Path::new("/lib/x86_64-linux-gnu/libc.so.6")),
            "usr/lib/x86_64-linux-gnu/libc.so.6"
        );
        assert_eq!(merged(Path::new("/usr/sbin/haproxy")), "usr/sbin/haproxy");
    }
}
