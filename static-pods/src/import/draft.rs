//! What containers and pods of every source format are read into, before they become manifests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::CarriedFile;
use super::amounts::Amounts;
use super::environment::Dialect;
use super::notes::At;

/// One pod, with what its containers share.
#[derive(Debug)]
pub(super) struct PodDraft {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) shared: Shared,
    /// Limits and requests of all its containers together.
    pub(super) amounts: Amounts,
    pub(super) containers: Vec<Draft>,
}

/// One container.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) at: At,
    /// The pod it belongs to; it gets a pod of its own without one.
    pub(super) pod: Option<PodReference>,
    /// With the place where it stands.
    pub(super) image: Option<(String, At)>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) arguments: Vec<String>,
    /// Where the arguments stand.
    pub(super) arguments_at: Option<At>,
    pub(super) environment: BTreeMap<String, (String, At)>,
    /// In the order they are written. What they say counts less than `environment`.
    pub(super) environment_files: Vec<EnvironmentFile>,
    pub(super) mounts: Vec<Mount>,
    pub(super) secrets: Vec<Secret>,
    /// Their names are unique.
    pub(super) files: Vec<CarriedFile>,
    pub(super) restart: Option<Restart>,
    /// Members of the container as Kubernetes names them, with dots: `securityContext.runAsUser`.
    pub(super) members: BTreeMap<String, Value>,
    pub(super) capabilities: Capabilities,
    /// Whether it opens devices of the host, which only privileged containers do.
    pub(super) opens_devices: bool,
    pub(super) cpu_quota: Option<u64>,
    pub(super) cpu_period: Option<u64>,
    pub(super) keeps_run_read_only: bool,
    pub(super) health: Health,
    pub(super) shared: Shared,
}

/// The pod a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodReference {
    Name(String),
    /// The file that podman keeps the pod's identifier in.
    IdentifierFile(String),
}

/// A file of variables.
#[derive(Clone, Debug)]
pub(super) struct EnvironmentFile {
    /// The text that refers to it, by whose folder a relative path is found.
    pub(super) from: String,
    pub(super) path: String,
    pub(super) at: At,
    /// Whether it may be absent.
    pub(super) is_optional: bool,
    pub(super) dialect: Dialect,
}

/// Capabilities, without `CAP_`.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    pub(super) add: Vec<String>,
    pub(super) drop: Vec<String>,
}

/// What containers of one pod share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Where the host's network is asked for by name.
    pub(super) host_network: Option<At>,
    pub(super) ports: Vec<(Port, At)>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) aliases: Vec<(String, String)>,
    pub(super) sysctls: BTreeMap<String, (String, At)>,
    pub(super) dns: BTreeMap<&'static str, Vec<Value>>,
    /// Other members of the pod's spec.
    pub(super) spec: BTreeMap<&'static str, Value>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) host_ip: Option<String>,
    /// `None`: podman picks one.
    pub(super) host: Option<u16>,
    pub(super) container: u16,
    pub(super) protocol: &'static str,
}

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: MountSource,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) propagation: Option<&'static str>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MountSource {
    /// A path of the host, and its type as Kubernetes has it.
    Host(String, &'static str),
    /// A volume of podman.
    Named(String),
    /// A file that goes with the pod, by its name.
    Carried(String),
    /// Memory, with a limit.
    Memory(Option<String>),
    /// What is in an image, by its reference, and which part of it.
    Image(String, Option<String>),
    /// What goes with the pod.
    Anonymous,
}

/// A value that the pod finds in a file that vault-agent writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    /// The file's name below the folder of secrets.
    pub(super) file: String,
    /// Where the container finds it.
    pub(super) target: String,
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Restart {
    Never,
    OnFailure,
    Always,
}

/// Podman's health check, in its own terms.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) command: Option<Check>,
    pub(super) interval: Option<u64>,
    pub(super) timeout: Option<u64>,
    pub(super) retries: Option<u64>,
    pub(super) start_period: Option<u64>,
    /// Whether it is never run by itself.
    pub(super) is_off: bool,
    /// Whether a failure ends the container.
    pub(super) restarts: bool,
    pub(super) startup_command: Option<Check>,
    pub(super) startup_interval: Option<u64>,
    pub(super) startup_retries: Option<u64>,
    pub(super) startup_timeout: Option<u64>,
}

/// The command of a health check.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) words: Vec<String>,
    pub(super) at: At,
}

impl PodDraft {
    /// A pod with the name of its only container.
    pub(super) fn of_one(container: Draft) -> PodDraft {
        let (name, at) = (container.name.clone(), container.at.clone());
        PodDraft {
            name,
            at,
            shared: Shared::default(),
            amounts: Amounts::new(),
            containers: vec![container],
        }
    }
}

impl Draft {
    pub(super) fn new(name: String, at: At) -> Draft {
        Draft {
            name,
            at,
            pod: None,
            image: None,
            entrypoint: None,
            arguments: Vec::new(),
            arguments_at: None,
            environment: BTreeMap::new(),
            environment_files: Vec::new(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            files: Vec::new(),
            restart: None,
            members: BTreeMap::new(),
            capabilities: Capabilities::default(),
            opens_devices: false,
            cpu_quota: None,
            cpu_period: None,
            keeps_run_read_only: false,
            health: Health::default(),
            shared: Shared::default(),
        }
    }

    /// Sets a member of the container, `securityContext.runAsUser`.
    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>) {
        self.members.insert(path.to_owned(), value.into());
    }

    /// Mounts something; what was mounted there before is not.
    pub(super) fn mount(&mut self, mount: Mount) {
        self.mounts.retain(|known| known.target != mount.target);
        self.mounts.push(mount);
    }

    /// Takes over what was said of all containers of the pod `frame`; what the container says itself goes before it.
    pub(super) fn inherit(&mut self, frame: &Draft) {
        for mount in &frame.mounts {
            if !self.mounts.iter().any(|own| own.target == mount.target) {
                self.mounts.push(mount.clone());
            }
        }
        // Of one profile or label, parts of two would be neither.
        let group = |path: &str| path.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
        let own: BTreeSet<_> = self.members.keys().map(|path| group(path)).collect();
        let others = frame.members.iter().filter(|(path, _)| !own.contains(&group(path)));
        self.members.extend(others.map(|(path, value)| (path.clone(), value.clone())));
        self.opens_devices |= frame.opens_devices;
        self.restart = self.restart.or(frame.restart);
    }

    /// Mounts the file of a secret.
    pub(super) fn mount_secret(&mut self, file: &str, target: &str) {
        let source = MountSource::Host(format!("{}/{file}", super::SECRETS), "File");
        let target = target.to_owned();
        self.secrets.push(Secret { file: file.to_owned(), target: target.clone() });
        self.mount(Mount { source, target, read_only: true, propagation: None });
    }
}
