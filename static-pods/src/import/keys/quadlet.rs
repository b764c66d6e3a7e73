//! Keys of quadlets: one row for each.
//!
//! Rules: podman-systemd.unit(5) of podman 5.6.

use super::Key::{self, Each, Implied, Last, Lost, Read, Security, Words};

const USERNS: &str = "a pod in the host's network has no user namespace of its own";
const OWN_USER: &str = "say by number who the container runs as, and check who owns its files";
const RELOAD: &str = "nothing reloads a container";
const PODMAN: &str = "it is a setting of podman itself";
const WRITE_IT: &str = "write what it sets as keys of the file";
const NO_NETWORK: &str = "networks of podman do not exist for pods, which have the host's network";
const USE_HOST: &str = "reach others at `localhost` or the node's address";

/// `[Container]`.
pub(in super::super) const CONTAINER: &[(&str, Key)] = &[
    ("AddCapability", Words("cap-add")),
    ("AddDevice", Words("device")),
    ("AddHost", Each("add-host")),
    ("Annotation", Words("annotation")),
    ("AppArmor", Security("apparmor=")),
    ("AutoUpdate", Lost("nothing updates an image by itself", "change the digest in the manifest")),
    ("CgroupsMode", Last("cgroups")),
    ("ContainerName", Last("name")),
    ("ContainersConfModule", Lost(PODMAN, WRITE_IT)),
    ("DNS", Each("dns")),
    ("DNSOption", Each("dns-option")),
    ("DNSSearch", Each("dns-search")),
    ("DropCapability", Words("cap-drop")),
    ("Entrypoint", Last("entrypoint")),
    ("Environment", Words("env")),
    ("EnvironmentFile", Words("env-file")),
    ("EnvironmentHost", Last("env-host")),
    ("Exec", Read),
    ("ExposeHostPort", Each("expose")),
    ("GIDMap", Lost(USERNS, OWN_USER)),
    ("GlobalArgs", Lost(PODMAN, WRITE_IT)),
    ("Group", Read),
    ("GroupAdd", Each("group-add")),
    ("HealthCmd", Last("health-cmd")),
    ("HealthInterval", Last("health-interval")),
    ("HealthLogDestination", Last("health-log-destination")),
    ("HealthMaxLogCount", Last("health-max-log-count")),
    ("HealthMaxLogSize", Last("health-max-log-size")),
    ("HealthOnFailure", Last("health-on-failure")),
    ("HealthRetries", Last("health-retries")),
    ("HealthStartPeriod", Last("health-start-period")),
    ("HealthStartupCmd", Last("health-startup-cmd")),
    ("HealthStartupInterval", Last("health-startup-interval")),
    ("HealthStartupRetries", Last("health-startup-retries")),
    ("HealthStartupSuccess", Last("health-startup-success")),
    ("HealthStartupTimeout", Last("health-startup-timeout")),
    ("HealthTimeout", Last("health-timeout")),
    ("HostName", Last("hostname")),
    ("HttpProxy", Last("http-proxy")),
    ("IP", Last("ip")),
    ("IP6", Last("ip6")),
    ("Image", Read),
    ("Label", Words("label")),
    ("LogDriver", Last("log-driver")),
    ("LogOpt", Words("log-opt")),
    ("Mask", Security("mask=")),
    ("Memory", Last("memory")),
    ("Mount", Words("mount")),
    ("Network", Each("network")),
    ("NetworkAlias", Each("network-alias")),
    ("NoNewPrivileges", Security("no-new-privileges=")),
    ("Notify", Last("sdnotify")),
    ("PidsLimit", Last("pids-limit")),
    ("Pod", Read),
    ("PodmanArgs", Read),
    ("PublishPort", Each("publish")),
    ("Pull", Last("pull")),
    ("ReadOnly", Last("read-only")),
    ("ReadOnlyTmpfs", Last("read-only-tmpfs")),
    ("ReloadCmd", Lost(RELOAD, "restart it by a change of its manifest")),
    ("ReloadSignal", Lost(RELOAD, "restart it by a change of its manifest")),
    ("RemapGid", Lost(USERNS, OWN_USER)),
    ("RemapUid", Lost(USERNS, OWN_USER)),
    ("RemapUidSize", Lost(USERNS, OWN_USER)),
    ("RemapUsers", Lost(USERNS, OWN_USER)),
    ("Retry", Last("retry")),
    ("RetryDelay", Last("retry-delay")),
    ("Rootfs", Lost("a pod starts from an image", "make an image of the folder")),
    ("RunInit", Last("init")),
    ("SeccompProfile", Security("seccomp=")),
    ("Secret", Words("secret")),
    ("SecurityLabelDisable", Security("label=disable")),
    ("SecurityLabelFileType", Security("label=filetype:")),
    ("SecurityLabelLevel", Security("label=level:")),
    ("SecurityLabelNested", Security("label=nested:")),
    ("SecurityLabelType", Security("label=type:")),
    ("ServiceName", Implied("there is no service")),
    ("ShmSize", Last("shm-size")),
    ("StartWithPod", Implied("containers of a pod start together")),
    ("StopSignal", Last("stop-signal")),
    ("StopTimeout", Last("stop-timeout")),
    ("SubGIDMap", Lost(USERNS, OWN_USER)),
    ("SubUIDMap", Lost(USERNS, OWN_USER)),
    ("Sysctl", Words("sysctl")),
    ("Timezone", Last("tz")),
    ("Tmpfs", Each("tmpfs")),
    ("UIDMap", Lost(USERNS, OWN_USER)),
    ("Ulimit", Each("ulimit")),
    ("Unmask", Security("unmask=")),
    ("User", Read),
    ("UserNS", Last("userns")),
    ("VolatileTmp", Read),
    ("Volume", Each("volume")),
    ("WorkingDir", Last("workdir")),
];

/// `[Pod]`.
pub(in super::super) const POD: &[(&str, Key)] = &[
    ("AddHost", Each("add-host")),
    ("ContainersConfModule", Lost(PODMAN, WRITE_IT)),
    ("DNS", Each("dns")),
    ("DNSOption", Each("dns-option")),
    ("DNSSearch", Each("dns-search")),
    ("ExitPolicy", Implied("a pod lives as long as its manifest")),
    ("GIDMap", Lost(USERNS, OWN_USER)),
    ("GlobalArgs", Lost(PODMAN, WRITE_IT)),
    ("HostName", Last("hostname")),
    ("IP", Last("ip")),
    ("IP6", Last("ip6")),
    ("Label", Words("label")),
    ("Network", Each("network")),
    ("NetworkAlias", Each("network-alias")),
    ("PodName", Read),
    ("PodmanArgs", Read),
    ("PublishPort", Each("publish")),
    ("RemapGid", Lost(USERNS, OWN_USER)),
    ("RemapUid", Lost(USERNS, OWN_USER)),
    ("RemapUidSize", Lost(USERNS, OWN_USER)),
    ("RemapUsers", Lost(USERNS, OWN_USER)),
    ("ServiceName", Implied("there is no service")),
    ("ShmSize", Last("shm-size")),
    ("StopTimeout", Last("stop-timeout")),
    ("SubGIDMap", Lost(USERNS, OWN_USER)),
    ("SubUIDMap", Lost(USERNS, OWN_USER)),
    ("UIDMap", Lost(USERNS, OWN_USER)),
    ("UserNS", Last("userns")),
    ("Volume", Each("volume")),
];

const MOUNT_IT: &str = "mount it on the host with a mount unit of the node's Butane config";
const FOLDER_ONLY: &str = "a volume is a folder of the host";

/// `[Volume]`.
pub(in super::super) const VOLUME: &[(&str, Key)] = &[
    ("ContainersConfModule", Lost(PODMAN, WRITE_IT)),
    ("Copy", Lost("nothing of the image is copied into a volume", "copy it yourself")),
    ("Device", Read),
    ("Driver", Read),
    ("GlobalArgs", Lost(PODMAN, WRITE_IT)),
    ("Group", Lost(FOLDER_ONLY, "give the folder its group with the node's configuration")),
    ("Image", Lost(FOLDER_ONLY, MOUNT_IT)),
    ("Label", Implied("nobody looks for a folder by label")),
    ("Options", Read),
    ("PodmanArgs", Lost(FOLDER_ONLY, MOUNT_IT)),
    ("ServiceName", Implied("there is no service")),
    ("Type", Read),
    ("User", Lost(FOLDER_ONLY, "give the folder its owner with the node's configuration")),
    ("VolumeName", Read),
];

/// `[Network]`.
pub(in super::super) const NETWORK: &[(&str, Key)] = &[
    ("ContainersConfModule", Lost(PODMAN, WRITE_IT)),
    ("DNS", Lost(NO_NETWORK, "write it in each container")),
    ("DisableDNS", Implied("no name server knows pods")),
    ("Driver", Lost(NO_NETWORK, USE_HOST)),
    ("Gateway", Lost(NO_NETWORK, USE_HOST)),
    ("GlobalArgs", Lost(PODMAN, WRITE_IT)),
    ("IPAMDriver", Lost(NO_NETWORK, USE_HOST)),
    ("IPRange", Lost(NO_NETWORK, USE_HOST)),
    ("IPv6", Lost(NO_NETWORK, USE_HOST)),
    ("InterfaceName", Lost(NO_NETWORK, USE_HOST)),
    ("Internal", Lost(NO_NETWORK, USE_HOST)),
    ("Label", Implied("there is no network to label")),
    ("NetworkDeleteOnStop", Implied("there is no network to delete")),
    ("NetworkName", Lost(NO_NETWORK, USE_HOST)),
    ("Options", Lost(NO_NETWORK, USE_HOST)),
    ("PodmanArgs", Lost(NO_NETWORK, USE_HOST)),
    ("ServiceName", Implied("there is no service")),
    ("Subnet", Lost(NO_NETWORK, USE_HOST)),
];

const KUBE: &str = "it is a manifest already";
const NAME_IT: &str = "check the file with `pods lint` and name it itself in the cluster.yaml";

/// `[Kube]`.
pub(in super::super) const KUBE_KEYS: &[(&str, Key)] = &[
    ("AutoUpdate", Lost("nothing updates an image by itself", "change the digest in the manifest")),
    ("ConfigMap", Lost("static pods cannot refer to ConfigMaps", "mount files of the host")),
    ("ContainersConfModule", Lost(PODMAN, WRITE_IT)),
    ("ExitCodePropagation", Implied("there is no service")),
    ("GlobalArgs", Lost(PODMAN, WRITE_IT)),
    ("KubeDownForce", Implied("the kubelet removes pods")),
    ("LogDriver", Lost("containerd writes the logs", "set the limits for the whole node")),
    ("LogOpt", Lost("containerd writes the logs", "set the limits for the whole node")),
    ("Network", Lost(KUBE, "write `hostNetwork: true` there")),
    ("PodmanArgs", Lost(PODMAN, WRITE_IT)),
    ("PublishPort", Lost(KUBE, "write `hostPort` there")),
    ("RemapGid", Lost(USERNS, OWN_USER)),
    ("RemapUid", Lost(USERNS, OWN_USER)),
    ("RemapUidSize", Lost(USERNS, OWN_USER)),
    ("RemapUsers", Lost(USERNS, OWN_USER)),
    ("ServiceName", Implied("there is no service")),
    ("SetWorkingDirectory", Implied("there is no service")),
    ("UserNS", Lost(USERNS, OWN_USER)),
    ("Yaml", Lost(KUBE, NAME_IT)),
];

const PULL: &str = "the kubelet pulls images by itself";
const REGISTRY: &str = "put it into the node's containerd configuration";

/// `[Image]`.
pub(in super::super) const IMAGE: &[(&str, Key)] = &[
    ("AllTags", Implied(PULL)),
    (
        "Arch",
        Lost(
            "the node's own architecture and system are run",
            "name the image of the node's architecture",
        ),
    ),
    ("AuthFile", Lost(PULL, REGISTRY)),
    ("CertDir", Lost(PULL, REGISTRY)),
    ("ContainersConfModule", Lost(PODMAN, WRITE_IT)),
    ("Creds", Lost(PULL, REGISTRY)),
    ("DecryptionKey", Lost(PULL, REGISTRY)),
    ("GlobalArgs", Lost(PODMAN, WRITE_IT)),
    ("Image", Read),
    ("ImageTag", Read),
    (
        "OS",
        Lost(
            "the node's own architecture and system are run",
            "name the image of the node's architecture",
        ),
    ),
    ("PodmanArgs", Lost(PODMAN, WRITE_IT)),
    ("Policy", Implied(PULL)),
    ("Retry", Implied(PULL)),
    ("RetryDelay", Implied(PULL)),
    ("ServiceName", Implied("there is no service")),
    ("TLSVerify", Lost(PULL, REGISTRY)),
    (
        "Variant",
        Lost(
            "the node's own architecture and system are run",
            "name the image of the node's architecture",
        ),
    ),
];

pub(super) const BUILD: &str = "a node builds no images";
pub(super) const BUILD_IT: &str = "build the image beforehand and name it by digest";

/// The keys of `[Build]`: none of them is carried.
pub(in super::super) const BUILD_KEYS: [&str; 28] = [
    "Annotation",
    "Arch",
    "AuthFile",
    "BuildArg",
    "ContainersConfModule",
    "DNS",
    "DNSOption",
    "DNSSearch",
    "Environment",
    "File",
    "ForceRM",
    "GlobalArgs",
    "GroupAdd",
    "IgnoreFile",
    "ImageTag",
    "Label",
    "Network",
    "PodmanArgs",
    "Pull",
    "Retry",
    "RetryDelay",
    "Secret",
    "ServiceName",
    "SetWorkingDirectory",
    "Target",
    "TLSVerify",
    "Variant",
    "Volume",
];
