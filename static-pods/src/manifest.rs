//! The part of the Kubernetes Pod that our static pods use, as types.
//!
//! There is no field here for a Secret, a ConfigMap, a service account, a projected volume or a runtime class: a
//! standalone kubelet refuses, never mounts, or ends at each of them. What is always the same is a constant of
//! [`crate::parts`], not a default of these types.
//!
//! Format: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>

use std::collections::BTreeMap;
use std::net::IpAddr;

use basalt_model::names::{AbsolutePath, ImageReference, PodName};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pod {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) metadata: Metadata,
    pub(crate) spec: PodSpec,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metadata {
    pub(crate) name: PodName,
    pub(crate) namespace: &'static str,
    pub(crate) labels: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) host_network: bool,
    pub(crate) dns_policy: &'static str,
    pub(crate) priority_class_name: &'static str,
    pub(crate) priority: i32,
    pub(crate) restart_policy: &'static str,
    pub(crate) termination_grace_period_seconds: u32,
    pub(crate) automount_service_account_token: bool,
    pub(crate) enable_service_links: bool,
    pub(crate) security_context: PodSecurityContext,
    pub(crate) containers: Vec<Container>,
    pub(crate) volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSecurityContext {
    pub(crate) seccomp_profile: SeccompProfile,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SeccompProfile {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: PodName,
    pub(crate) image: ImageReference,
    pub(crate) image_pull_policy: &'static str,
    pub(crate) command: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<Port>,
    pub(crate) resources: Resources,
    pub(crate) security_context: SecurityContext,
    pub(crate) startup_probe: Probe,
    pub(crate) liveness_probe: Probe,
    pub(crate) readiness_probe: Probe,
    pub(crate) volume_mounts: Vec<VolumeMount>,
}

/// A port that the container listens on. In the host's network both numbers are the same; the kubelet refuses a pod
/// whose declared ports clash with a running one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    pub(crate) container_port: u16,
    pub(crate) host_port: u16,
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: IpAddr,
    pub(crate) protocol: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Resources {
    pub(crate) requests: Requests,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Requests {
    pub(crate) cpu: &'static str,
    pub(crate) memory: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityContext {
    pub(crate) run_as_user: u32,
    pub(crate) run_as_group: u32,
    pub(crate) run_as_non_root: bool,
    pub(crate) allow_privilege_escalation: bool,
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) capabilities: Capabilities,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Capabilities {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) add: Vec<Capability>,
    pub(crate) drop: [&'static str; 1],
}

/// The capabilities some pod of ours needs, named as the runtime wants them: without `CAP_`, or it drops them in
/// silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Capability {
    Chown,
    DacReadSearch,
    Fowner,
    NetAdmin,
    NetBindService,
    NetRaw,
    Setgid,
}

impl Capability {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chown => "CHOWN",
            Self::DacReadSearch => "DAC_READ_SEARCH",
            Self::Fowner => "FOWNER",
            Self::NetAdmin => "NET_ADMIN",
            Self::NetBindService => "NET_BIND_SERVICE",
            Self::NetRaw => "NET_RAW",
            Self::Setgid => "SETGID",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    #[serde(flatten)]
    pub(crate) action: ProbeAction,
    pub(crate) period_seconds: u32,
    pub(crate) timeout_seconds: u32,
    pub(crate) failure_threshold: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ProbeAction {
    Exec { command: Vec<String> },
    HttpGet { host: &'static str, port: u16, path: &'static str },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeMount {
    pub(crate) name: String,
    pub(crate) mount_path: AbsolutePath,
    pub(crate) read_only: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) source: VolumeSource,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum VolumeSource {
    HostPath {
        path: AbsolutePath,
        #[serde(rename = "type")]
        kind: HostPathType,
    },
    #[serde(rename_all = "camelCase")]
    EmptyDir { medium: &'static str, size_limit: &'static str },
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum HostPathType {
    Directory,
    DirectoryOrCreate,
}
