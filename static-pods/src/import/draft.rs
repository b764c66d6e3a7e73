//! What containers and pods of every source format are read into, before it becomes a manifest.

use std::collections::BTreeMap;

use serde_json::Value;

use super::notes::At;

/// One container.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) at: At,
    /// The pod it belongs to; a pod of its own without one.
    pub(super) pod: Option<String>,
    pub(super) image: Option<String>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, (String, At)>,
    pub(super) environment_files: Vec<(String, At)>,
    pub(super) mounts: Vec<Mount>,
    pub(super) restart: Option<Restart>,
    /// Members of the container as Kubernetes names them, by JSON pointer.
    pub(super) container: BTreeMap<String, Value>,
    pub(super) add: Vec<String>,
    pub(super) drop: Vec<String>,
    pub(super) health: Health,
    pub(super) shared: Shared,
}

/// What containers of one pod share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) host_network: bool,
    pub(super) ports: Vec<Port>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) aliases: Vec<(String, String)>,
    pub(super) sysctls: Vec<(String, String)>,
    pub(super) dns: BTreeMap<&'static str, Vec<Value>>,
    /// Other members of the pod's spec.
    pub(super) spec: BTreeMap<&'static str, Value>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) host_ip: Option<String>,
    pub(super) host: u16,
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
    /// Memory, with a limit.
    Memory(Option<String>),
    /// What goes with the pod.
    Anonymous,
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
    pub(super) command: Option<(Vec<String>, At)>,
    pub(super) interval: Option<u64>,
    pub(super) timeout: Option<u64>,
    pub(super) retries: Option<u64>,
    pub(super) start_period: Option<u64>,
    pub(super) restarts: bool,
    pub(super) startup_command: Option<Vec<String>>,
    pub(super) startup_interval: Option<u64>,
    pub(super) startup_retries: Option<u64>,
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
            environment: BTreeMap::new(),
            environment_files: Vec::new(),
            mounts: Vec::new(),
            restart: None,
            container: BTreeMap::new(),
            add: Vec::new(),
            drop: Vec::new(),
            health: Health::default(),
            shared: Shared::default(),
        }
    }

    /// Sets a member of the container by its path, `securityContext.runAsUser`.
    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>) {
        self.container.insert(path.to_owned(), value.into());
    }
}
