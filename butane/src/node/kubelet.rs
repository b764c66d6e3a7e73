//! The kubelet, as far as it differs from node to node: a drop-in to the configuration that the image has, the two facts
//! that its unit takes from the environment, and how long a shutdown may take.
//!
//! Format: <https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>

use basalt_model::node::{Kubelet, Node};
use basalt_model::yaml::print;
use serde_json::{Value, json};

use super::File;

/// One of the files of `--config-dir`. What a person adds has a higher number, and so has what joins a cluster.
const CONFIG: &str = "/etc/kubernetes/kubelet.conf.d/10-node.conf";

/// What `kubelet.service` of the image reads as environment.
const ENVIRONMENT: &str = "/etc/kubernetes/kubelet.env";

/// The kubelet holds a shutdown back by logind's leave. Where that is shorter than its own time it writes a file like this
/// by itself, behind everybody's back.
const LOGIND: &str = "/etc/systemd/logind.conf.d/10-basalt.conf";

/// The order of a shutdown, from the lowest priority up, with seconds for each: a group starts when the one before has
/// ended, at the latest when its seconds are over.
///
/// keepalived is `system-cluster-critical` and goes before the rest of the node's own pods, so that the virtual address
/// is at another node before the haproxy behind it stops to take connections.
const SHUTDOWN: [(u32, u32); 2] = [(SYSTEM_CLUSTER_CRITICAL, 15), (SYSTEM_NODE_CRITICAL, 45)];

const SYSTEM_CLUSTER_CRITICAL: u32 = 2_000_000_000;
const SYSTEM_NODE_CRITICAL: u32 = 2_000_001_000;

/// What logind grants besides, in seconds: the kubelet needs a moment to be told and to answer.
const LEEWAY: u32 = 15;

pub(super) fn files(node: &Node) -> Vec<File> {
    let kubelet = &node.kubelet;
    let environment =
        format!("BASALT_NODE_NAME={}\nBASALT_NODE_IP={}\n", node.name, kubelet.node_ip);
    let seconds = shutdown(kubelet).map(|(_, seconds)| seconds).sum::<u32>() + LEEWAY;
    let logind = format!("[Login]\nInhibitDelayMaxSec={seconds}\n");
    vec![
        File::public(CONFIG, configuration(kubelet)),
        File::public(ENVIRONMENT, environment),
        File::public(LOGIND, logind),
    ]
}

/// Priority and seconds of each group.
fn shutdown(kubelet: &Kubelet) -> impl Iterator<Item = (u32, u32)> {
    std::iter::once((0, kubelet.shutdown_grace_seconds)).chain(SHUTDOWN)
}

fn configuration(kubelet: &Kubelet) -> String {
    let reserved = |millicores: u32, mebibytes: u32| json!({"cpu": format!("{millicores}m"), "memory": format!("{mebibytes}Mi")});
    let group = |(priority, seconds): (u32, u32)| json!({"priority": priority, "shutdownGracePeriodSeconds": seconds});
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodPath": kubelet.static_pod_directory,
        "maxPods": kubelet.max_pods,
        "systemReserved":
            reserved(kubelet.system_reserved_cpu_millicores, kubelet.system_reserved_memory_mebibytes),
        "kubeReserved":
            reserved(kubelet.kube_reserved_cpu_millicores, kubelet.kube_reserved_memory_mebibytes),
        "containerLogMaxSize": format!("{}Mi", kubelet.container_log_max_mebibytes),
        "containerLogMaxFiles": kubelet.container_log_files,
        "imageMaximumGCAge": format!("{}h", kubelet.image_maximum_age_hours),
        "shutdownGracePeriodByPodPriority": shutdown(kubelet).map(group).collect::<Vec<Value>>(),
    });
    print::print(&configuration)
}
