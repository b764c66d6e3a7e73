//! What functions that apply options share, and the reasons why options are not carried.

use serde_json::{Value, json};

use super::super::draft::Draft;
use super::super::values::boolean;
use super::Outcome::{self, Carried, Invalid};

/// Why something is not carried, and what to do.
pub(in super::super) type Reason = (&'static str, &'static str);

pub(super) const ARCHITECTURE: Reason =
    ("the node's own architecture and system are run", "name the image of the node's architecture");
pub(super) const CPU_RT: Reason =
    ("real-time shares of CPU are nothing a pod has", "do without it, or set it for the node");
pub(super) const CREDENTIALS: Reason = (
    "credentials of registries belong to the node",
    "write them as a template of `vault_agent` in the cluster.yaml, and preload the image",
);
pub(super) const DESCRIPTORS: Reason =
    ("no descriptor is handed to a container", "use a socket below a mounted folder");
pub(super) const DEVICE_RATE: Reason = (
    "a pod has no limit on reading and writing devices",
    "set it with a drop-in for `kubepods.slice`, or do without",
);
pub(super) const FIXED_ADDRESS: Reason = (
    "the pod has the host's addresses and no other",
    "use an address of the host; whoever used this one has to be told",
);
pub(super) const GPUS: Reason =
    ("devices of this kind come from a device plugin, which needs the API", "mount its devices");
pub(super) const HOSTS_FILE: Reason =
    ("the kubelet writes the container's `/etc/hosts`", "write names with `--add-host`");
pub(super) const INIT: Reason = (
    "no init process forwards signals and reaps children",
    "use an image with one (tini, dumb-init) as its entry point",
);
pub(super) const LOGS: Reason = (
    "containerd writes the logs, and the kubelet limits them",
    "set the limits for the whole node, `kubelet` in the cluster.yaml; read logs with `crictl logs`",
);
pub(super) const NO_FIELD: Reason = ("a pod has no field for it", "do without it");
pub(super) const NODE_WIDE: Reason =
    ("a pod has no field for it", "do without it, or set it for the whole node");
pub(super) const OOM: Reason = (
    "the kubelet sets it from the pod's requests and priority",
    "set equal requests and limits for all resources",
);
pub(super) const PASSWD: Reason = ("a pod has no field for it", "put the user into the image");
pub(super) const PIDS: Reason = (
    "the limit is one for all pods of a node",
    "set `podPidsLimit` of the kubelet for the whole node",
);
pub(super) const PLACED: Reason =
    ("the kubelet places pods in its own cgroups", "remove it; limits go with the pod");
pub(super) const REQUIRES: Reason =
    ("containers of a pod start together", "let the program wait for what it needs");
pub(super) const RUNTIME: Reason =
    ("containerd decides this for the whole node", "set it in containerd's configuration");
pub(super) const STARTUP_SUCCESS: Reason =
    ("a startup probe is content with one success", "let the check itself look twice");
pub(super) const STOP_SIGNAL: Reason = (
    "the kubelet passes no stop signal on: the feature is off, and SIGTERM or the image's own is sent",
    "set `STOPSIGNAL` in the image",
);
pub(super) const SWAP: Reason =
    ("swap belongs to the node's kubelet", "do without it; nodes have no swap");
pub(super) const ROOTFS: Reason = ("a pod starts from an image", "make an image of the folder");
pub(super) const TIMEOUT: Reason =
    ("a static pod is not ended after a time", "use a timer of systemd on the node");
pub(super) const TRUST: Reason = (
    "trust in registries belongs to the node",
    "write the certificate under `trust_anchors`, or the mirror under `containerd`, of the cluster.yaml",
);
pub(super) const ULIMIT: Reason = (
    "limits of processes come from containerd",
    "set them with a drop-in for `containerd.service` (`LimitNOFILE=`), for all pods of the node",
);
pub(super) const UMASK: Reason = ("a pod has no field for it", "set it in the program");
pub(super) const UNSET: Reason =
    ("a variable of the image cannot be taken away", "set it to an empty text");
pub(super) const USERNS: Reason = (
    "a pod in the host's network has no user namespace of its own",
    "say by number who the container runs as, and check who owns its files",
);
pub(super) const VOLUMES_FROM: Reason =
    ("a container has its own mounts", "write each mount again");

pub(super) const CONMON: &str = "the kubelet keeps track of the process";
pub(super) const HEALTH_LOG: &str = "the kubelet reports failed probes";
pub(super) const PULLS: &str = "the kubelet goes on trying";

pub(super) fn carried(text: &str) -> Outcome {
    Carried(format!("as `{text}`"))
}

pub(super) fn lost((why, remedy): Reason) -> Outcome {
    Outcome::Lost(why.to_owned(), remedy)
}

pub(super) fn pair(value: &str) -> Option<(String, String)> {
    let (name, value) = value.split_once('=').unwrap_or((value, ""));
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

/// Sets a member of the container that is true or absent.
pub(super) fn switch(draft: &mut Draft, path: &str, value: &str) -> Outcome {
    let Some(is_on) = boolean(value) else { return Invalid("it is no boolean".to_owned()) };
    draft.members.remove(path);
    if is_on {
        draft.set(path, true);
    }
    carried(path)
}

/// Sets a member of the pod's spec.
pub(super) fn spec(draft: &mut Draft, field: &'static str, value: Value) -> Outcome {
    draft.shared.spec.insert(field, value);
    carried(&format!("spec.{field}"))
}

pub(super) fn dns(draft: &mut Draft, what: &'static str, value: Value) -> Outcome {
    draft.shared.dns.entry(what).or_default().push(value);
    carried(&format!("dnsConfig.{what}"))
}

pub(super) fn dns_option(draft: &mut Draft, value: &str) -> Outcome {
    let (name, value) = value.split_once(':').map_or((value, None), |(n, v)| (n, Some(v)));
    let option = match value {
        Some(value) => json!({"name": name, "value": value}),
        None => json!({"name": name}),
    };
    dns(draft, "options", option)
}
