//! The standalone kubelet: its configuration, and the two facts that its unit takes from the environment.
//!
//! Format: <https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>

use basalt_model::node::Node;
use basalt_model::yaml::print;
use serde_json::json;

use super::File;

/// What `kubelet.service` of the image reads with `--config`.
const CONFIG: &str = "/etc/kubernetes/kubelet.yaml";

/// What `kubelet.service` of the image reads as environment.
const ENVIRONMENT: &str = "/etc/kubernetes/kubelet.env";

/// containerd's socket, as Fedora CoreOS has it.
const CONTAINERD: &str = "unix:///run/containerd/containerd.sock";

pub(super) fn files(node: &Node) -> Vec<File> {
    let environment =
        format!("BASALT_NODE_NAME={}\nBASALT_NODE_IP={}\n", node.name, node.kubelet.node_ip);
    vec![File::public(CONFIG, configuration(node)), File::public(ENVIRONMENT, environment)]
}

fn configuration(node: &Node) -> String {
    let kubelet = &node.kubelet;
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodPath": kubelet.static_pod_directory,
        "containerRuntimeEndpoint": CONTAINERD,
        "cgroupDriver": "systemd",
        "registerNode": false,
        // Standalone there is nobody to ask who a client is: without anonymous access and without a client CA, the
        // API on loopback lets nobody in, whatever the authorization mode says. Health is asked on another port.
        "address": "127.0.0.1",
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "tlsMinVersion": "VersionTLS12",
        "maxPods": kubelet.max_pods,
        "failSwapOn": false,
        "systemReserved": {
            "cpu": format!("{}m", kubelet.system_reserved_cpu_millicores),
            "memory": format!("{}Mi", kubelet.system_reserved_memory_mebibytes),
        },
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "5%",
            "nodefs.inodesFree": "3%",
            "imagefs.available": "5%",
        },
        "containerLogMaxSize": format!("{}Mi", kubelet.container_log_max_mebibytes),
        "containerLogMaxFiles": 3,
        // Longer than haproxy takes to drain; the last part is for critical pods alone, which all of ours are.
        "shutdownGracePeriod": "75s",
        "shutdownGracePeriodCriticalPods": "45s",
        // The default lies below /usr, which is read-only.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    });
    print::print(&configuration)
}
