//! Fields of a compose file: one row for each.
//!
//! Rules: <https://github.com/compose-spec/compose-spec/blob/main/05-services.md>, and its schema.

/// What a field of a service becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Field {
    /// An option of `podman run`, once.
    One(&'static str),
    /// The same, for each item of a list.
    Each(&'static str),
    /// The same, for each `NAME: VALUE` of a mapping or `NAME=VALUE` of a list.
    Pairs(&'static str),
    /// Read by code.
    Read,
    /// So anyway, for the reason given.
    Implied(&'static str),
    /// Not carried: the reason, and what to do.
    Lost(&'static str, &'static str),
    /// Not carried, and without it the pod is not what it was.
    Broken(&'static str, &'static str),
}

use Field::{Broken, Each, Implied, Lost, One, Pairs, Read};

const HOOK: &str = "hooks of compose may be others than a container's";
const WRITE_HOOK: &str = "write `lifecycle` of the container after review";
const MODELS: &str = "a node has no runtime for models";
const RUN_MODELS: &str = "run a server of models as a container, and write its address";
const WINDOWS: &str = "it is for Windows";

/// Fields of a service.
pub(super) const SERVICE: &[(&str, Field)] = &[
    ("annotations", Pairs("annotation")),
    ("attach", Implied("output goes to the container's log")),
    ("blkio_config", Lost("a pod has no limit on devices", "set it for `kubepods.slice`")),
    ("build", Read),
    ("cap_add", Each("cap-add")),
    ("cap_drop", Each("cap-drop")),
    ("cgroup", One("cgroupns")),
    ("cgroup_parent", One("cgroup-parent")),
    ("command", Read),
    ("configs", Read),
    ("container_name", One("name")),
    ("cpu_count", One("cpus")),
    ("cpu_percent", Lost("a pod's CPU is no share of the host's", "write `cpus`")),
    ("cpu_period", One("cpu-period")),
    ("cpu_quota", One("cpu-quota")),
    ("cpu_rt_period", One("cpu-rt-period")),
    ("cpu_rt_runtime", One("cpu-rt-runtime")),
    ("cpu_shares", One("cpu-shares")),
    ("cpus", One("cpus")),
    ("cpuset", One("cpuset-cpus")),
    ("credential_spec", Lost(WINDOWS, "remove it")),
    ("depends_on", Read),
    ("deploy", Read),
    ("develop", Implied("it is for development alone")),
    ("device_cgroup_rules", Each("device-cgroup-rule")),
    ("devices", Read),
    ("dns", Each("dns")),
    ("dns_opt", Each("dns-option")),
    ("dns_search", Each("dns-search")),
    ("domainname", One("domainname")),
    ("driver_opts", Lost("podman has no drivers of services", "remove it")),
    ("entrypoint", Read),
    ("env_file", Read),
    ("environment", Read),
    ("expose", Implied("it publishes nothing")),
    ("extends", Read),
    ("external_links", Each("link")),
    ("extra_hosts", Pairs("add-host")),
    ("gpus", Lost("devices of this kind come from a device plugin", "mount its devices")),
    ("group_add", Each("group-add")),
    ("healthcheck", Read),
    ("hostname", One("hostname")),
    ("image", Read),
    ("init", One("init")),
    ("ipc", One("ipc")),
    ("isolation", Lost(WINDOWS, "remove it")),
    ("label_file", Lost("it is not read", "write its labels under `labels`")),
    ("labels", Pairs("label")),
    ("links", Each("link")),
    ("logging", Lost("containerd writes the logs", "set the limits for the whole node")),
    ("mac_address", One("mac-address")),
    ("mem_limit", One("memory")),
    ("mem_reservation", One("memory-reservation")),
    ("mem_swappiness", One("memory-swappiness")),
    ("memswap_limit", One("memory-swap")),
    ("models", Lost(MODELS, RUN_MODELS)),
    ("network_mode", One("network")),
    ("networks", Read),
    ("oom_kill_disable", One("oom-kill-disable")),
    ("oom_score_adj", One("oom-score-adj")),
    ("pid", One("pid")),
    ("pids_limit", One("pids-limit")),
    ("platform", One("platform")),
    ("ports", Read),
    ("post_start", Lost(HOOK, WRITE_HOOK)),
    ("pre_stop", Lost(HOOK, WRITE_HOOK)),
    ("privileged", One("privileged")),
    ("profiles", Read),
    ("provider", Broken("the service is no container", "run it by other means")),
    ("pull_policy", Read),
    ("pull_refresh_after", Implied("an image by digest never changes")),
    ("read_only", One("read-only")),
    ("restart", One("restart")),
    ("runtime", One("runtime")),
    ("scale", Read),
    ("secrets", Read),
    ("security_opt", Each("security-opt")),
    ("shm_size", One("shm-size")),
    ("stdin_open", One("interactive")),
    ("stop_grace_period", One("stop-timeout")),
    ("stop_signal", One("stop-signal")),
    ("storage_opt", Lost("containerd decides this for the whole node", "set it there")),
    ("sysctls", Pairs("sysctl")),
    ("tmpfs", Each("tmpfs")),
    ("tty", One("tty")),
    ("ulimits", Read),
    ("use_api_socket", Lost("there is no socket of podman or Docker", "do without it")),
    ("user", One("user")),
    ("userns_mode", One("userns")),
    ("uts", One("uts")),
    ("volumes", Read),
    ("volumes_from", Each("volumes-from")),
    ("working_dir", One("workdir")),
];

/// Fields of the whole file.
pub(super) const FILE: &[(&str, Field)] = &[
    ("configs", Read),
    ("include", Read),
    ("models", Lost(MODELS, RUN_MODELS)),
    ("name", Implied("pods belong to no project")),
    ("networks", Read),
    ("secrets", Read),
    ("services", Read),
    ("version", Implied("it says nothing any more")),
    ("volumes", Read),
];

const ONE_PER_NODE: &str = "each node that has the role runs one pod";
const ROLLOUT: &str =
    "the agent itself replaces a pod, and returns to the last one that was healthy";

/// Fields of `deploy`.
pub(super) const DEPLOY: &[(&str, Field)] = &[
    ("endpoint_mode", Lost("no address leads to several pods", "let haproxy do that")),
    ("labels", Implied("they are the service's, not the containers'")),
    ("mode", Read),
    ("placement", Lost(ONE_PER_NODE, "name the roles in the cluster.yaml")),
    ("replicas", Read),
    ("resources", Read),
    ("restart_policy", Read),
    ("rollback_config", Implied(ROLLOUT)),
    ("update_config", Implied(ROLLOUT)),
];

/// Fields of `healthcheck`.
pub(super) const HEALTH: &[(&str, Field)] = &[
    ("disable", Read),
    ("interval", One("health-interval")),
    ("retries", One("health-retries")),
    (
        "start_interval",
        Lost("a probe has one interval", "set `periodSeconds` of the startup probe"),
    ),
    ("start_period", One("health-start-period")),
    ("test", Read),
    ("timeout", One("health-timeout")),
];

/// Fields of a volume of the file.
pub(super) const VOLUME: &[(&str, Field)] = &[
    ("driver", Read),
    ("driver_opts", Read),
    ("external", Read),
    ("labels", Implied("nobody looks for a folder by label")),
    ("name", Read),
];
