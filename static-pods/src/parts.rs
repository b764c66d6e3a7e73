//! What all our static pods share: the frame of the manifest, mounts, probes, and the digest over config files.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use basalt_model::names::{AbsolutePath, ClusterName, ImageReference, PodName};
use basalt_model::yaml::print::print;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::check::Manifest;
use crate::manifest::{
    Capabilities, Capability, Container, HostPathType, Metadata, Pod, PodSecurityContext, PodSpec,
    Port, Probe, ProbeAction, Requests, Resources, SeccompProfile, SecurityContext, Volume,
    VolumeMount, VolumeSource,
};
use crate::{CONFIG_DIGEST_ANNOTATION, CONFIG_DIRECTORY, ConfigFile, Finding, StaticPod};

/// Exists in every cluster, so that the mirror pods of a handed-over node have a place.
const NAMESPACE: &str = "kube-system";

/// The kubelet evicts pods of this class last and lets them preempt others.
pub(crate) const PRIORITY_CLASS: &str = "system-node-critical";

/// The value of [`PRIORITY_CLASS`]. Class names are resolved by the API server, which no static pod ever meets, so
/// the number has to stand beside the name.
pub(crate) const PRIORITY: i32 = 2_000_001_000;

/// First line of every config file that has comments.
pub(crate) const CONFIG_HEADER: &str =
    "# Made by basalt-agent from this node's node.json; a change made here is undone.\n";

/// Started: asked every second for a minute, so that a slow disk at boot is no failure.
pub(crate) const STARTUP: Timing = Timing { period: 1, timeout: 5, failures: 60 };

/// Alive: restarted after half a minute of silence. A restart cuts every connection, so it is the last resort.
pub(crate) const LIVENESS: Timing = Timing { period: 10, timeout: 5, failures: 3 };

/// Ready: known within ten seconds, since commit or return of a new set of pods waits for it.
pub(crate) const READINESS: Timing = Timing { period: 5, timeout: 5, failures: 2 };

/// When a probe is asked, in seconds, and how many failures in a row count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) period: u32,
    pub(crate) timeout: u32,
    pub(crate) failures: u32,
}

impl Timing {
    pub(crate) fn http(self, port: u16, path: &'static str) -> Probe {
        self.probe(ProbeAction::HttpGet { host: "127.0.0.1", port, path })
    }

    pub(crate) fn shell(self, script: &str) -> Probe {
        self.probe(ProbeAction::Exec { command: shell(script) })
    }

    fn probe(self, action: ProbeAction) -> Probe {
        let Timing { period, timeout, failures } = self;
        Probe {
            action,
            period_seconds: period,
            timeout_seconds: timeout,
            failure_threshold: failures,
        }
    }
}

/// The three questions the kubelet asks a container.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    pub(crate) startup: Probe,
    pub(crate) liveness: Probe,
    pub(crate) readiness: Probe,
}

/// A folder of the container. Host folders have one path inside and outside, so that a path in a log means the same
/// in both places.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    name: String,
    path: AbsolutePath,
    source: VolumeSource,
    read_only: bool,
}

impl Mount {
    /// The pod's own config files; the pod waits until they are there.
    pub(crate) fn config(pod: &str) -> Self {
        Self::host("config", absolute(&config_directory(pod)), HostPathType::Directory)
    }

    /// A folder of the host, to be read. With [`HostPathType::Directory`] the pod waits until it is there.
    pub(crate) fn host(name: &str, path: AbsolutePath, kind: HostPathType) -> Self {
        let source = VolumeSource::HostPath { path: path.clone(), kind };
        Self { name: name.to_owned(), path, source, read_only: true }
    }

    /// A folder of the host, to be written; made when it is not there.
    pub(crate) fn host_writable(name: &str, path: AbsolutePath) -> Self {
        Self { read_only: false, ..Self::host(name, path, HostPathType::DirectoryOrCreate) }
    }

    /// A folder in memory that lives as long as the pod: it survives a restart of the container.
    pub(crate) fn scratch(name: &str, path: &str, size: &'static str) -> Self {
        let source = VolumeSource::EmptyDir { medium: "Memory", size_limit: size };
        Self { name: name.to_owned(), path: absolute(path), source, read_only: false }
    }

    fn volume(&self) -> Volume {
        Volume { name: self.name.clone(), source: self.source.clone() }
    }

    fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.name.clone(),
            mount_path: self.path.clone(),
            read_only: self.read_only,
        }
    }
}

/// What makes one pod of ours different from another: a pod has one container of the same name.
#[derive(Clone, Debug)]
pub(crate) struct PodParts<'a> {
    pub(crate) name: &'static str,
    /// What it is for, as `app.kubernetes.io/component` says it.
    pub(crate) component: &'static str,
    pub(crate) cluster: &'a ClusterName,
    pub(crate) image: &'a ImageReference,
    pub(crate) command: Vec<String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) requests: Requests,
    pub(crate) user: u32,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) probes: Probes,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) grace_seconds: u32,
    /// In any order; [`Draft`] sorts them.
    pub(crate) files: Vec<ConfigFile>,
    /// Whether the running program can be told of a new config; otherwise a new one rolls the pod.
    pub(crate) takes_config: bool,
}

/// A pod before it is checked and printed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    name: PodName,
    pod: Pod,
    files: Vec<ConfigFile>,
    allowed_capabilities: &'static [Capability],
}

impl Draft {
    /// Puts a pod together. `allowed_capabilities` is all that this kind of pod may ever ask for.
    pub(crate) fn new(parts: PodParts<'_>, allowed_capabilities: &'static [Capability]) -> Self {
        let name: PodName = parts.name.parse().expect("our pods' names are RFC 1123 labels");
        let mut files = parts.files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let metadata = Metadata {
            name: name.clone(),
            namespace: NAMESPACE,
            labels: BTreeMap::from([
                ("app.kubernetes.io/component", parts.component.to_owned()),
                ("app.kubernetes.io/instance", parts.cluster.to_string()),
                ("app.kubernetes.io/managed-by", "basalt-agent".to_owned()),
                ("app.kubernetes.io/name", parts.name.to_owned()),
                ("app.kubernetes.io/part-of", "basalt".to_owned()),
            ]),
            annotations: match parts.takes_config {
                true => BTreeMap::new(),
                false => BTreeMap::from([(CONFIG_DIGEST_ANNOTATION, config_digest(&files))]),
            },
        };
        let container = Container {
            name: name.clone(),
            image: parts.image.clone(),
            // Images are named by digest, so a present one is the right one; one that was removed (full disk) can
            // come back from a registry, which `Never` would forbid.
            image_pull_policy: "IfNotPresent",
            command: parts.command,
            ports: parts.ports,
            resources: Resources { requests: parts.requests },
            security_context: SecurityContext {
                run_as_user: parts.user,
                run_as_group: parts.user,
                run_as_non_root: parts.user != 0,
                allow_privilege_escalation: false,
                read_only_root_filesystem: true,
                capabilities: Capabilities { add: parts.capabilities, drop: ["ALL"] },
            },
            startup_probe: parts.probes.startup,
            liveness_probe: parts.probes.liveness,
            readiness_probe: parts.probes.readiness,
            volume_mounts: parts.mounts.iter().map(Mount::mount).collect(),
        };
        let spec = PodSpec {
            host_network: true,
            // The host's own name servers; there is no cluster DNS yet.
            dns_policy: "Default",
            priority_class_name: PRIORITY_CLASS,
            priority: PRIORITY,
            restart_policy: "Always",
            termination_grace_period_seconds: parts.grace_seconds,
            automount_service_account_token: false,
            enable_service_links: false,
            security_context: PodSecurityContext {
                seccomp_profile: SeccompProfile { kind: "RuntimeDefault" },
            },
            containers: vec![container],
            volumes: parts.mounts.iter().map(Mount::volume).collect(),
        };
        let pod = Pod { api_version: "v1", kind: "Pod", metadata, spec };
        Self { name, pod, files, allowed_capabilities }
    }

    /// The manifest as the kubelet will see it, for [`crate::check`].
    pub(crate) fn to_manifest(&self) -> Manifest {
        Manifest {
            file: format!("{}.yaml", self.name),
            value: serde_json::to_value(&self.pod).expect("a Pod has string keys only"),
            allowed_capabilities: self
                .allowed_capabilities
                .iter()
                .map(|capability| capability.name())
                .collect(),
        }
    }

    pub(crate) fn finish(self, manifest: &Value) -> StaticPod {
        StaticPod { name: self.name, manifest: print(manifest), files: self.files }
    }
}

/// Collects what is wrong with a node while its pods are drafted.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { place: place.into(), message: message.into() });
    }

    /// Adds a finding for each item that has the key of an earlier one.
    pub(crate) fn add_duplicates<K: Ord + ToString>(
        &mut self,
        place: impl Fn(usize) -> String,
        keys: impl IntoIterator<Item = K>,
    ) {
        let mut seen = BTreeMap::new();
        for (index, key) in keys.into_iter().enumerate() {
            match seen.get(&key) {
                Some(first) => {
                    let message = format!("`{}` is already at {}", key.to_string(), place(*first));
                    self.add(place(index), message);
                }
                None => {
                    seen.insert(key, index);
                }
            }
        }
    }
}

/// A port of the pod on a host address.
pub(crate) fn tcp_port(address: IpAddr, port: u16) -> Port {
    Port { container_port: port, host_port: port, host_ip: address, protocol: "TCP" }
}

/// A port on the host's loopback.
pub(crate) fn loopback_port(port: u16) -> Port {
    tcp_port(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A command line that runs `script` in the image's POSIX shell.
pub(crate) fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

/// The folder with a pod's config files.
pub(crate) fn config_directory(pod: &str) -> String {
    format!("{CONFIG_DIRECTORY}/{pod}")
}

/// One config file of `pod`; `name` is below its folder.
pub(crate) fn config_file(pod: &str, name: &str, mode: u32, contents: String) -> ConfigFile {
    ConfigFile { path: absolute(&format!("{}/{name}", config_directory(pod))), contents, mode }
}

/// A path that is absolute by construction.
pub(crate) fn absolute(path: &str) -> AbsolutePath {
    path.parse().expect("the path is put together from absolute and relative parts")
}

/// The folder a file lies in; none for a file at the root of the file system.
pub(crate) fn parent(path: &AbsolutePath) -> Option<AbsolutePath> {
    let (parent, _) = path.as_str().rsplit_once('/')?;
    parent.parse().ok()
}

/// SHA-256 over the files in order. Each text is preceded by its length, so that no two lists of files give the same
/// input: moving a byte from one file to the next, or from a path to its contents, changes the digest.
pub(crate) fn config_digest(files: &[ConfigFile]) -> String {
    let mut hasher = Sha256::new();
    for file in files {
        for text in [file.path.as_str(), &file.contents] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        hasher.update(file.mode.to_be_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, mode: u32, contents: &str) -> ConfigFile {
        ConfigFile { path: path.parse().unwrap(), contents: contents.to_owned(), mode }
    }

    #[test]
    fn every_part_of_every_file_counts() {
        let lists = [
            vec![],
            vec![file("/a", 0o644, "")],
            vec![file("/a", 0o600, "")],
            vec![file("/ab", 0o644, "")],
            vec![file("/a", 0o644, "b")],
            vec![file("/a", 0o644, "b"), file("/c", 0o644, "d")],
            vec![file("/a", 0o644, ""), file("/c", 0o644, "bd")],
            vec![file("/c", 0o644, "d"), file("/a", 0o644, "b")],
        ];
        let digests: std::collections::BTreeSet<_> =
            lists.iter().map(|list| config_digest(list)).collect();
        assert_eq!(digests.len(), lists.len());
    }

    #[test]
    fn parents() {
        let of = |path: &str| parent(&path.parse().unwrap()).map(|path| path.to_string());
        assert_eq!(of("/a/b"), Some("/a".to_owned()));
        assert_eq!(of("/a"), None);
    }
}
