//! One row for each option of `podman run` and `podman create`.

use super::super::draft::PodReference;
use super::super::values::{self, cpus, quantity};
use super::How::{Apply, Implied, Lost};
use super::apply::*;
use super::{Outcome, Row, health, network, process, security, storage};

const VALUE: bool = true;
const SWITCH: bool = false;

/// All options of podman 5.6, and those of Docker that old units have.
pub(in super::super) const OPTIONS: &[Row] = &[
    Row("add-host", None, VALUE, Apply(network::add_host)),
    Row("annotation", None, VALUE, Apply(process::annotation)),
    Row("arch", None, VALUE, Lost(ARCHITECTURE)),
    Row("attach", Some('a'), VALUE, Implied("output goes to the container's log")),
    Row("authfile", None, VALUE, Lost(CREDENTIALS)),
    Row("blkio-weight", None, VALUE, Lost(DEVICE_RATE)),
    Row("blkio-weight-device", None, VALUE, Lost(DEVICE_RATE)),
    Row("cap-add", None, VALUE, Apply(security::cap_add)),
    Row("cap-drop", None, VALUE, Apply(security::cap_drop)),
    Row("cert-dir", None, VALUE, Lost(TRUST)),
    Row("cgroup-conf", None, VALUE, Lost(NODE_WIDE)),
    Row("cgroup-parent", None, VALUE, Lost(PLACED)),
    Row("cgroupns", None, VALUE, Apply(security::cgroupns)),
    Row("cgroups", None, VALUE, Implied("the kubelet makes the pod's cgroup")),
    Row("chrootdirs", None, VALUE, Lost(NO_FIELD)),
    Row("cidfile", None, VALUE, Implied("the kubelet keeps the container's id")),
    Row("conmon-pidfile", None, VALUE, Implied(CONMON)),
    Row("cpu-period", None, VALUE, Apply(process::cpu_period)),
    Row("cpu-quota", None, VALUE, Apply(process::cpu_quota)),
    Row("cpu-rt-period", None, VALUE, Lost(CPU_RT)),
    Row("cpu-rt-runtime", None, VALUE, Lost(CPU_RT)),
    Row("cpu-shares", Some('c'), VALUE, Apply(process::cpu_shares)),
    Row("cpus", None, VALUE, Apply(|d, v, _| process::limit(d, "cpu", cpus(v)))),
    Row("cpuset-cpus", None, VALUE, Lost(NODE_WIDE)),
    Row("cpuset-mems", None, VALUE, Lost(NODE_WIDE)),
    Row("creds", None, VALUE, Lost(CREDENTIALS)),
    Row("decryption-key", None, VALUE, Lost(CREDENTIALS)),
    Row("detach", Some('d'), SWITCH, Implied("pods run in the background")),
    Row("detach-keys", None, VALUE, Implied("nobody is attached")),
    Row("device", None, VALUE, Apply(storage::device)),
    Row("device-cgroup-rule", None, VALUE, Apply(storage::device_rule)),
    Row("device-read-bps", None, VALUE, Lost(DEVICE_RATE)),
    Row("device-read-iops", None, VALUE, Lost(DEVICE_RATE)),
    Row("device-write-bps", None, VALUE, Lost(DEVICE_RATE)),
    Row("device-write-iops", None, VALUE, Lost(DEVICE_RATE)),
    Row("disable-content-trust", None, SWITCH, Implied("podman ignores it")),
    Row("dns", None, VALUE, Apply(network::dns_server)),
    Row("dns-opt", None, VALUE, Apply(|d, v, _| dns_option(d, v))),
    Row("dns-option", None, VALUE, Apply(|d, v, _| dns_option(d, v))),
    Row("dns-search", None, VALUE, Apply(network::dns_search)),
    Row("domainname", None, VALUE, Lost(NO_FIELD)),
    Row("entrypoint", None, VALUE, Apply(process::entrypoint)),
    Row("env", Some('e'), VALUE, Apply(process::variable)),
    Row("env-file", None, VALUE, Apply(process::variables_file)),
    Row("env-host", None, SWITCH, Apply(process::host_variables)),
    Row("env-merge", None, VALUE, Apply(process::merged_variable)),
    Row("expose", None, VALUE, Implied("it publishes nothing")),
    Row("gidmap", None, VALUE, Lost(USERNS)),
    Row("gpus", None, VALUE, Lost(GPUS)),
    Row("group-add", None, VALUE, Apply(security::group_add)),
    Row("group-entry", None, VALUE, Lost(PASSWD)),
    Row("health-cmd", None, VALUE, Apply(health::command)),
    Row("health-interval", None, VALUE, Apply(health::interval)),
    Row("health-log-destination", None, VALUE, Implied(HEALTH_LOG)),
    Row("health-max-log-count", None, VALUE, Implied(HEALTH_LOG)),
    Row("health-max-log-size", None, VALUE, Implied(HEALTH_LOG)),
    Row("health-on-failure", None, VALUE, Apply(health::on_failure)),
    Row("health-retries", None, VALUE, Apply(|d, v, _| health::count(&mut d.health.retries, v))),
    Row("health-start-period", None, VALUE, Apply(health::start_period)),
    Row("health-startup-cmd", None, VALUE, Apply(health::startup_command)),
    Row("health-startup-interval", None, VALUE, Apply(health::startup_interval)),
    Row("health-startup-retries", None, VALUE, Apply(health::startup_retries)),
    Row("health-startup-success", None, VALUE, Lost(STARTUP_SUCCESS)),
    Row("health-startup-timeout", None, VALUE, Apply(health::startup_timeout)),
    Row("health-timeout", None, VALUE, Apply(|d, v, _| health::time(&mut d.health.timeout, v))),
    Row("help", None, SWITCH, Lost(("it starts nothing", "remove it"))),
    Row("hostname", Some('h'), VALUE, Apply(network::hostname)),
    Row("hosts-file", None, VALUE, Lost(HOSTS_FILE)),
    Row("hostuser", None, VALUE, Lost(PASSWD)),
    Row("http-proxy", None, SWITCH, Apply(process::proxy)),
    Row("image-volume", None, VALUE, Apply(storage::image_volume)),
    Row("init", None, SWITCH, Lost(INIT)),
    Row("init-ctr", None, VALUE, Apply(process::init_container)),
    Row("init-path", None, VALUE, Lost(INIT)),
    Row("interactive", Some('i'), SWITCH, Apply(|d, v, _| switch(d, "stdin", v))),
    Row("ip", None, VALUE, Lost(FIXED_ADDRESS)),
    Row("ip6", None, VALUE, Lost(FIXED_ADDRESS)),
    Row("ipc", None, VALUE, Apply(|d, v, _| security::host_namespace(d, "hostIPC", v))),
    Row("kernel-memory", None, VALUE, Implied("podman ignores it")),
    Row("label", Some('l'), VALUE, Apply(process::label)),
    Row("label-file", None, VALUE, Lost(("it is not read", "write each label with `--label`"))),
    Row("link", None, VALUE, Apply(network::link)),
    Row("link-local-ip", None, VALUE, Lost(FIXED_ADDRESS)),
    Row("log-driver", None, VALUE, Lost(LOGS)),
    Row("log-opt", None, VALUE, Lost(LOGS)),
    Row("mac-address", None, VALUE, Lost(FIXED_ADDRESS)),
    Row("memory", Some('m'), VALUE, Apply(|d, v, _| process::limit(d, "memory", quantity(v)))),
    Row("memory-reservation", None, VALUE, Apply(process::memory_reservation)),
    Row("memory-swap", None, VALUE, Lost(SWAP)),
    Row("memory-swappiness", None, VALUE, Lost(SWAP)),
    Row("mount", None, VALUE, Apply(|d, v, _| storage::mounted(d, values::mount(v)))),
    Row("name", None, VALUE, Apply(process::name)),
    Row("net", None, VALUE, Apply(network::network)),
    Row("network", None, VALUE, Apply(network::network)),
    Row("network-alias", None, VALUE, Apply(network::alias)),
    Row("no-healthcheck", None, SWITCH, Implied("the health check of an image is never run")),
    Row("no-hostname", None, SWITCH, Lost(HOSTS_FILE)),
    Row("no-hosts", None, SWITCH, Lost(HOSTS_FILE)),
    Row("oom-kill-disable", None, SWITCH, Lost(OOM)),
    Row("oom-score-adj", None, VALUE, Lost(OOM)),
    Row("os", None, VALUE, Lost(ARCHITECTURE)),
    Row("passwd", None, SWITCH, Implied("nothing is added to the image's users")),
    Row("passwd-entry", None, VALUE, Lost(PASSWD)),
    Row("personality", None, VALUE, Lost(NO_FIELD)),
    Row("pid", None, VALUE, Apply(|d, v, _| security::host_namespace(d, "hostPID", v))),
    Row("pidfile", None, VALUE, Implied(CONMON)),
    Row("pids-limit", None, VALUE, Lost(PIDS)),
    Row("platform", None, VALUE, Lost(ARCHITECTURE)),
    Row(
        "pod",
        None,
        VALUE,
        Apply(|draft, value, _| {
            let name = value.strip_prefix("new:").unwrap_or(value).to_owned();
            draft.pod = Some(PodReference::Name(name));
            Outcome::Carried("as a container of that pod".to_owned())
        }),
    ),
    Row(
        "pod-id-file",
        None,
        VALUE,
        Apply(|draft, value, _| {
            draft.pod = Some(PodReference::IdentifierFile(value.to_owned()));
            Outcome::Carried("as a container of the pod with this file".to_owned())
        }),
    ),
    Row("preserve-fd", None, VALUE, Lost(DESCRIPTORS)),
    Row("preserve-fds", None, VALUE, Lost(DESCRIPTORS)),
    Row("privileged", None, SWITCH, Apply(|d, v, _| switch(d, "securityContext.privileged", v))),
    Row("publish", Some('p'), VALUE, Apply(network::publish)),
    Row("publish-all", Some('P'), SWITCH, Apply(network::publish_all)),
    Row("pull", None, VALUE, Apply(process::pull)),
    Row("quiet", Some('q'), SWITCH, Implied("the kubelet pulls without a word")),
    Row("rdt-class", None, VALUE, Lost(NODE_WIDE)),
    Row("read-only", None, SWITCH, Apply(storage::read_only)),
    Row("read-only-tmpfs", None, SWITCH, Apply(storage::read_only_memory)),
    Row("replace", None, SWITCH, Implied("the kubelet removes what it started before")),
    Row("requires", None, VALUE, Lost(REQUIRES)),
    Row("restart", None, VALUE, Apply(process::restart)),
    Row("retry", None, VALUE, Implied(PULLS)),
    Row("retry-delay", None, VALUE, Implied(PULLS)),
    Row("rm", None, SWITCH, Implied("the kubelet removes dead containers")),
    Row("rmi", None, SWITCH, Implied("the kubelet removes unused images when space is short")),
    Row("rootfs", None, SWITCH, Lost(ROOTFS)),
    Row("runtime", None, VALUE, Lost(RUNTIME)),
    Row("runtime-flag", None, VALUE, Lost(RUNTIME)),
    Row("sdnotify", None, VALUE, Apply(health::notify)),
    Row("seccomp-policy", None, VALUE, Lost(NO_FIELD)),
    Row("secret", None, VALUE, Apply(storage::secret)),
    Row("security-opt", None, VALUE, Apply(security::option)),
    Row("shm-size", None, VALUE, Apply(storage::shared_memory)),
    Row("shm-size-systemd", None, VALUE, Lost(NO_FIELD)),
    Row("sig-proxy", None, SWITCH, Implied("the kubelet signals the container itself")),
    Row("signature-policy", None, VALUE, Lost(TRUST)),
    Row("stop-signal", None, VALUE, Apply(process::stop_signal)),
    Row("stop-timeout", None, VALUE, Apply(process::stop_timeout)),
    Row("storage-opt", None, VALUE, Lost(RUNTIME)),
    Row("subgidname", None, VALUE, Lost(USERNS)),
    Row("subuidname", None, VALUE, Lost(USERNS)),
    Row("sysctl", None, VALUE, Apply(security::sysctl)),
    Row("systemd", None, VALUE, Apply(process::systemd)),
    Row("timeout", None, VALUE, Lost(TIMEOUT)),
    Row("tls-verify", None, SWITCH, Lost(TRUST)),
    Row("tmpfs", None, VALUE, Apply(|d, v, _| storage::mounted(d, values::tmpfs(v)))),
    Row("tty", Some('t'), SWITCH, Apply(|d, v, _| switch(d, "tty", v))),
    Row("tz", None, VALUE, Apply(storage::time_zone)),
    Row("uidmap", None, VALUE, Lost(USERNS)),
    Row("ulimit", None, VALUE, Lost(ULIMIT)),
    Row("umask", None, VALUE, Lost(UMASK)),
    Row("unsetenv", None, VALUE, Lost(UNSET)),
    Row("unsetenv-all", None, SWITCH, Lost(UNSET)),
    Row("user", Some('u'), VALUE, Apply(security::user)),
    Row("userns", None, VALUE, Apply(security::user_namespace)),
    Row("uts", None, VALUE, Apply(security::uts)),
    Row("variant", None, VALUE, Lost(ARCHITECTURE)),
    Row("volume", Some('v'), VALUE, Apply(|d, v, _| storage::mounted(d, values::volume(v)))),
    Row("volume-driver", None, VALUE, Lost(("a volume is a folder of the host", "mount it there"))),
    Row("volumes-from", None, VALUE, Lost(VOLUMES_FROM)),
    Row("workdir", Some('w'), VALUE, Apply(process::workdir)),
];

/// What `podman pod create` has besides, all of it about the pod's own first container.
pub(in super::super) const POD_ONLY: &[(&str, bool)] = &[
    ("exit-policy", VALUE),
    ("infra", VALUE),
    ("infra-command", VALUE),
    ("infra-conmon-pidfile", VALUE),
    ("infra-image", VALUE),
    ("infra-name", VALUE),
    ("share", VALUE),
    ("share-parent", VALUE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_once() {
        for pair in OPTIONS.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].0, pair[1].0);
        }
        let mut letters: Vec<char> = OPTIONS.iter().filter_map(|row| row.1).collect();
        letters.sort_unstable();
        let count = letters.len();
        letters.dedup();
        assert_eq!(letters.len(), count);
    }
}
