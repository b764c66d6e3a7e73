//! A root tree of a node's own, to be changed and booted.
//!
//! The tree that `cargo xtask peers` bootstrapped is never changed: a test gets it as the lower layer of an overlay,
//! or as a copy where overlays cannot be mounted.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};

use crate::command::run;
use crate::needs::lab_or_skip;
use crate::peers::{Peer, peer};
use crate::scratch::Scratch;

/// A root tree; removed when dropped.
#[derive(Debug)]
pub struct Tree {
    scratch: Scratch,
}

impl Tree {
    /// A minimal Debian with systemd, before its first boot: the stand-in for Fedora CoreOS. `None` means that this
    /// machine cannot have one: this function has said so, the test returns.
    ///
    /// # Panics
    /// When the tree is there and cannot be cloned.
    pub fn debian() -> Option<Tree> {
        if !lab_or_skip() {
            return None;
        }
        let original = peer("debian-tree")?;
        Some(Tree::clone_of(&original.program).expect("a bootstrapped tree can be cloned"))
    }

    /// A tree of its own with what is in `original`, which is not changed.
    ///
    /// # Errors
    /// When the cache cannot be written to, or is full.
    pub fn clone_of(original: &Path) -> Result<Tree> {
        let tree = Tree { scratch: Scratch::new()? };
        let root = tree.root();
        fs::create_dir(&root)?;
        if mount_overlay(original, tree.scratch.path(), &root).is_err() {
            // A cache that is itself on an overlay, as in containers, cannot hold the upper layer of another.
            run(Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(original.join("."))
                .arg(&root))?;
        }
        Ok(tree)
    }

    /// Its root folder. Symbolic links below it that are absolute lead out of it: read files with [`Tree::read`].
    pub fn root(&self) -> PathBuf {
        self.scratch.mount_point()
    }

    /// A name that no other tree has at this time.
    pub fn name(&self) -> &str {
        self.scratch.name()
    }

    /// The folder beside the root for files about this tree; removed with it.
    pub fn beside(&self) -> &Path {
        self.scratch.path()
    }

    /// Where `path`, absolute as the node sees it, is on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Reads a text file as the node would: every symbolic link on the way is taken to be inside the tree.
    ///
    /// # Errors
    /// When there is no such file, or it is no text.
    pub fn read(&self, path: &str) -> Result<String> {
        let root = File::open(self.root())?;
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC);
        let how = how.resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let file = openat2(&root, path, how).with_context(|| format!("cannot read `{path}`"))?;
        let mut text = String::new();
        File::from(file)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read `{path}`"))?;
        Ok(text)
    }

    /// Writes a file of root's with the given permission bits, and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let file = self.path(path);
        let folder = file.parent().context("a file has a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&file, contents).with_context(|| format!("cannot write `{path}`"))?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(mode))?)
    }

    /// Copies everything in `folder` over the tree, with owners, modes, times and links.
    ///
    /// # Errors
    /// When a folder would replace a file or link, or the other way round.
    pub fn lay_over(&self, folder: &Path) -> Result<()> {
        run(Command::new("cp").arg("-a").arg(folder.join(".")).arg(self.root())).map(drop)
    }

    /// Unpacks the image `reference` of the OCI layout `layout` with the real umoci, and lays it over the tree.
    ///
    /// # Errors
    /// When umoci refuses the image, or see [`Tree::lay_over`].
    pub fn unpack_image(&self, umoci: &Peer, layout: &Path, reference: &str) -> Result<()> {
        let bundle = tempfile::tempdir_in(self.beside())?;
        let mut unpack = Command::new(&umoci.program);
        unpack.args(["unpack", "--image"]);
        unpack.arg(format!("{}:{reference}", layout.display()));
        run(unpack.arg(bundle.path().join("bundle")))?;
        self.lay_over(&bundle.path().join("bundle/rootfs"))
    }
}

/// Mounts an overlay of `original` at `root`, with what is changed kept in folders of `scratch`.
fn mount_overlay(original: &Path, scratch: &Path, root: &Path) -> Result<()> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    // The root folder of the overlay gets its owner and mode from here.
    fs::set_permissions(&upper, fs::metadata(original)?.permissions())?;
    let show = |path: &Path| path.display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", show(original), show(&upper), show(&work));
    let flags = MsFlags::empty();
    mount(Some("basalt-tree"), root, Some("overlay"), flags, Some(options.as_str()))?;
    Ok(())
}
