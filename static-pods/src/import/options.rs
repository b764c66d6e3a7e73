//! The options of `podman run` and `podman create`: what each becomes in a pod.
//!
//! Quadlet keys and compose fields are read as the options that podman's own generator makes of them, so that one
//! table answers for all three. Rules: podman-run(1).

use serde_json::{Value, json};

use super::draft::{Draft, Mount, Restart};
use super::notes::{At, Notes};
use super::secrets::{SECRETS, file_name};
use super::values::{self, Mounted, boolean, cpus, ports, quantity, seconds};
use super::unit;

/// What an option becomes.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// Read by a function, which gets the value.
    Apply(fn(&mut Draft, &str) -> Outcome),
    /// A static pod is so anyway, for the reason given.
    Implied(&'static str),
    /// Not carried: the reason, and what to do.
    Lost(&'static str, &'static str),
}

/// What applying an option came to.
pub(super) enum Outcome {
    Carried(String),
    Changed(String, &'static str),
    Lost(String, &'static str),
    Invalid(String),
}

use How::{Apply, Implied, Lost};
use Outcome::{Carried, Changed, Invalid};

/// An option: its long name, its letter, whether a value follows, and what it becomes.
pub(super) struct Row(pub(super) &'static str, pub(super) Option<char>, pub(super) bool, pub(super) How);

const VALUE: bool = true;
const SWITCH: bool = false;

/// The option called `name`, without dashes.
pub(super) fn named(name: &str) -> Option<&'static Row> {
    OPTIONS.iter().find(|row| row.0 == name)
}

/// The option with the letter `letter`.
pub(super) fn lettered(letter: char) -> Option<&'static Row> {
    OPTIONS.iter().find(|row| row.1 == Some(letter))
}

/// Applies one option.
pub(super) fn apply(draft: &mut Draft, name: &str, value: &str, at: &At, notes: &mut Notes) {
    let Some(row) = named(name) else {
        let known = OPTIONS.iter().map(|row| row.0);
        let near = basalt_model::decode::closest(name, known);
        let hint = near.map(|near| format!("did you mean `--{near}`?"));
        notes.invalid(at, format!("podman run has no option `--{name}`"), hint.as_deref());
        return;
    };
    // A switch that is off says nothing.
    if !row.2 && boolean(value) == Some(false) && !matches!(row.3, Apply(_)) {
        notes.carried(at, "off, as without it");
        return;
    }
    match row.3 {
        Implied(reason) => notes.carried(at, reason),
        Lost(reason, hint) => notes.lost(at, reason, hint),
        Apply(function) => match function(draft, value) {
            Carried(message) => notes.carried(at, message),
            Changed(message, hint) => notes.changed(at, message, hint),
            Outcome::Lost(message, hint) => notes.lost(at, message, hint),
            Invalid(message) => notes.invalid(at, message, None),
        },
    }
}

const FIXED_IP: &str = "a pod gets its address from the node's network plugin, or shares the host's";
const USE_HOST: &str = "use the host's network, or reach the pod by a published port";
const USERNS: &str = "user namespaces of static pods are set up by the kubelet alone";
const PODMAN_ONLY: &str = "it concerns podman itself, which the kubelet does without";
const NO_FIELD: &str = "a pod has no field for it";
const DROP: &str = "do without it, or set it for the whole node";
const RUNTIME: &str = "containerd decides this for the whole node";

/// All options of podman 5.6.
pub(super) const OPTIONS: &[Row] = &[
    Row("add-host", None, VALUE, Apply(add_host)),
    Row("annotation", None, VALUE, Apply(annotation)),
    Row("arch", None, VALUE, Lost("the node's own architecture is run", "")),
    Row("attach", Some('a'), VALUE, Implied("output goes to the container's log")),
    Row("authfile", None, VALUE, Lost("credentials of registries belong to the node", "put them into the node's containerd or kubelet configuration")),
    Row("blkio-weight", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("blkio-weight-device", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("cap-add", None, VALUE, Apply(|draft, value| capability(&mut draft.add, value, "add"))),
    Row("cap-drop", None, VALUE, Apply(|draft, value| capability(&mut draft.drop, value, "drop"))),
    Row("cert-dir", None, VALUE, Lost("trust in registries belongs to the node", "put it into the node's containerd configuration")),
    Row("cgroup-conf", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("cgroup-parent", None, VALUE, Lost("the kubelet places pods in its own cgroups", "")),
    Row("cgroupns", None, VALUE, Lost(RUNTIME, "")),
    Row("cgroups", None, VALUE, Implied("the kubelet makes the pod's cgroup")),
    Row("chrootdirs", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("cidfile", None, VALUE, Implied("the kubelet keeps the container's id")),
    Row("conmon-pidfile", None, VALUE, Implied("there is no conmon")),
    Row("cpu-period", None, VALUE, Lost("a limit on CPU is a number of CPUs", "write `--cpus` instead")),
    Row("cpu-quota", None, VALUE, Lost("a limit on CPU is a number of CPUs", "write `--cpus` instead")),
    Row("cpu-rt-period", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("cpu-rt-runtime", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("cpu-shares", Some('c'), VALUE, Apply(cpu_shares)),
    Row("cpus", None, VALUE, Apply(|draft, value| limit(draft, "cpu", cpus(value)))),
    Row("cpuset-cpus", None, VALUE, Lost(NO_FIELD, "set the kubelet's CPU manager policy")),
    Row("cpuset-mems", None, VALUE, Lost(NO_FIELD, "set the kubelet's memory manager policy")),
    Row("creds", None, VALUE, Lost("credentials of registries belong to the node", "put them into the node's containerd or kubelet configuration")),
    Row("decryption-key", None, VALUE, Lost("keys of images belong to the node", "")),
    Row("detach", Some('d'), SWITCH, Implied("pods run in the background")),
    Row("detach-keys", None, VALUE, Implied("nobody is attached")),
    Row("device", None, VALUE, Apply(device)),
    Row("device-cgroup-rule", None, VALUE, Lost("only a privileged container gets devices", "set `securityContext.privileged: true` after review")),
    Row("device-read-bps", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("device-read-iops", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("device-write-bps", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("device-write-iops", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("disable-content-trust", None, SWITCH, Implied("podman ignores it")),
    Row("dns", None, VALUE, Apply(|draft, value| dns(draft, "nameservers", json!(value)))),
    Row("dns-option", None, VALUE, Apply(dns_option)),
    Row("dns-opt", None, VALUE, Apply(dns_option)),
    Row("dns-search", None, VALUE, Apply(|draft, value| dns(draft, "searches", json!(value)))),
    Row("domainname", None, VALUE, Lost(NO_FIELD, "write the whole name with `--hostname`")),
    Row("entrypoint", None, VALUE, Apply(entrypoint)),
    Row("env", Some('e'), VALUE, Apply(|_, _| Invalid("it is not `NAME=VALUE`".to_owned()))),
    Row("env-file", None, VALUE, Apply(|_, _| Invalid("it has no path".to_owned()))),
    Row("env-host", None, SWITCH, Lost("the host's environment is not the pod's", "write each variable that is needed")),
    Row("env-merge", None, VALUE, Lost("an image's variables cannot be referred to", "write the whole value")),
    Row("expose", None, VALUE, Implied("it publishes nothing")),
    Row("gidmap", None, VALUE, Lost(USERNS, "")),
    Row("gpus", None, VALUE, Lost("devices of this kind come from a device plugin", "")),
    Row("group-add", None, VALUE, Apply(group_add)),
    Row("group-entry", None, VALUE, Lost(NO_FIELD, "put it into the image")),
    Row("health-cmd", None, VALUE, Apply(health_command)),
    Row("health-interval", None, VALUE, Apply(|draft, value| time(&mut draft.health.interval, value))),
    Row("health-log-destination", None, VALUE, Implied("the kubelet reports failed probes")),
    Row("health-max-log-count", None, VALUE, Implied("the kubelet reports failed probes")),
    Row("health-max-log-size", None, VALUE, Implied("the kubelet reports failed probes")),
    Row("health-on-failure", None, VALUE, Apply(health_on_failure)),
    Row("health-retries", None, VALUE, Apply(|draft, value| count(&mut draft.health.retries, value))),
    Row("health-start-period", None, VALUE, Apply(|draft, value| time(&mut draft.health.start_period, value))),
    Row("health-startup-cmd", None, VALUE, Apply(|draft, value| {
        draft.health.startup_command = health_words(value);
        Carried("as `startupProbe`".to_owned())
    })),
    Row("health-startup-interval", None, VALUE, Apply(|draft, value| time(&mut draft.health.startup_interval, value))),
    Row("health-startup-retries", None, VALUE, Apply(|draft, value| count(&mut draft.health.startup_retries, value))),
    Row("health-startup-success", None, VALUE, Lost("a startup probe succeeds at once", "")),
    Row("health-startup-timeout", None, VALUE, Lost("the startup probe has the time limit of the other", "")),
    Row("health-timeout", None, VALUE, Apply(|draft, value| time(&mut draft.health.timeout, value))),
    Row("help", None, SWITCH, Lost("it starts nothing", "")),
    Row("hostname", Some('h'), VALUE, Apply(|draft, value| spec(draft, "hostname", json!(value)))),
    Row("hosts-file", None, VALUE, Lost("the kubelet writes the container's `/etc/hosts`", "write the names with `--add-host`")),
    Row("hostuser", None, VALUE, Lost(USERNS, "")),
    Row("http-proxy", None, SWITCH, Lost("the host's proxy is not the pod's", "write the variables that are needed")),
    Row("image-volume", None, VALUE, Lost("containerd makes a volume of what the image declares", "")),
    Row("init", None, SWITCH, Lost("there is no init process to forward signals and reap children", "use an image with one, or `shareProcessNamespace: true`")),
    Row("init-ctr", None, VALUE, Lost("an init container has another place in the pod", "move the container to `initContainers`")),
    Row("init-path", None, VALUE, Lost("there is no init process", "")),
    Row("interactive", Some('i'), SWITCH, Apply(|draft, value| switch(draft, "stdin", value))),
    Row("ip", None, VALUE, Lost(FIXED_IP, USE_HOST)),
    Row("ip6", None, VALUE, Lost(FIXED_IP, USE_HOST)),
    Row("ipc", None, VALUE, Apply(|draft, value| host_namespace(draft, "hostIPC", value))),
    Row("label", Some('l'), VALUE, Apply(label)),
    Row("label-file", None, VALUE, Lost("labels of a file are not read", "write each with `--label`")),
    Row("link-local-ip", None, VALUE, Lost(FIXED_IP, USE_HOST)),
    Row("log-driver", None, VALUE, Lost("containerd writes the logs, and the kubelet limits them", "set the limits for the whole node")),
    Row("log-opt", None, VALUE, Lost("containerd writes the logs, and the kubelet limits them", "set the limits for the whole node")),
    Row("mac-address", None, VALUE, Lost(FIXED_IP, USE_HOST)),
    Row("memory", Some('m'), VALUE, Apply(|draft, value| limit(draft, "memory", quantity(value)))),
    Row("memory-reservation", None, VALUE, Apply(|draft, value| request(draft, "memory", quantity(value)))),
    Row("memory-swap", None, VALUE, Lost("swap belongs to the node's kubelet configuration", "")),
    Row("memory-swappiness", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("mount", None, VALUE, Apply(|draft, value| mounted(draft, values::mount(value)))),
    Row("name", None, VALUE, Apply(|draft, value| {
        draft.name = value.to_owned();
        Carried("as the name".to_owned())
    })),
    Row("network", None, VALUE, Apply(network)),
    Row("net", None, VALUE, Apply(network)),
    Row("network-alias", None, VALUE, Lost("no name server knows the pod", "use the host's network and `localhost`, or a fixed address")),
    Row("no-healthcheck", None, SWITCH, Implied("the health check of an image is never run")),
    Row("no-hostname", None, SWITCH, Lost(NO_FIELD, "")),
    Row("no-hosts", None, SWITCH, Lost("the kubelet writes the container's `/etc/hosts`", "")),
    Row("oom-kill-disable", None, SWITCH, Lost(NO_FIELD, "raise the memory limit")),
    Row("oom-score-adj", None, VALUE, Lost("the kubelet sets it from the requests and the priority", "")),
    Row("os", None, VALUE, Lost("the node's own system is run", "")),
    Row("passwd", None, SWITCH, Lost(NO_FIELD, "put the user into the image")),
    Row("passwd-entry", None, VALUE, Lost(NO_FIELD, "put the user into the image")),
    Row("personality", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("pid", None, VALUE, Apply(|draft, value| host_namespace(draft, "hostPID", value))),
    Row("pidfile", None, VALUE, Implied("the kubelet keeps track of the process")),
    Row("pids-limit", None, VALUE, Lost("the limit is one for all pods of a node", "set `podPidsLimit` of the kubelet")),
    Row("platform", None, VALUE, Lost("the node's own platform is run", "")),
    Row("pod", None, VALUE, Apply(|draft, value| {
        draft.pod = Some(value.to_owned());
        Carried("as a container of that pod".to_owned())
    })),
    Row("pod-id-file", None, VALUE, Lost("the pod is not named in the text", "write its name with `--pod`")),
    Row("preserve-fd", None, VALUE, Lost("no descriptor is handed to a container", "")),
    Row("preserve-fds", None, VALUE, Lost("no descriptor is handed to a container", "")),
    Row("privileged", None, SWITCH, Apply(|draft, value| switch(draft, "securityContext.privileged", value))),
    Row("publish", Some('p'), VALUE, Apply(publish)),
    Row("publish-all", Some('P'), SWITCH, Lost("podman picks ports of the host at random", "publish each port that is needed")),
    Row("pull", None, VALUE, Apply(pull)),
    Row("quiet", Some('q'), SWITCH, Implied(PODMAN_ONLY)),
    Row("rdt-class", None, VALUE, Lost(NO_FIELD, DROP)),
    Row("read-only", None, SWITCH, Apply(|draft, value| switch(draft, "securityContext.readOnlyRootFilesystem", value))),
    Row("read-only-tmpfs", None, SWITCH, Implied("`/run`, `/tmp` and `/var/tmp` of a read-only container are memory")),
    Row("replace", None, SWITCH, Implied("the kubelet removes what it started before")),
    Row("requires", None, VALUE, Lost("containers of a pod start together", "let the program wait for the other")),
    Row("restart", None, VALUE, Apply(restart)),
    Row("retry", None, VALUE, Implied("the kubelet goes on trying")),
    Row("retry-delay", None, VALUE, Implied("the kubelet goes on trying")),
    Row("rm", None, SWITCH, Implied("the kubelet removes dead containers")),
    Row("rmi", None, SWITCH, Lost("the kubelet removes images when space is short", "")),
    Row("rootfs", None, SWITCH, Lost("a pod starts from an image", "make an image of the folder")),
    Row("runtime", None, VALUE, Lost(RUNTIME, "")),
    Row("runtime-flag", None, VALUE, Lost(RUNTIME, "")),
    Row("sdnotify", None, VALUE, Lost("nothing waits for READY=1 of a pod", "write a readiness probe")),
    Row("seccomp-policy", None, VALUE, Lost(NO_FIELD, "")),
    Row("secret", None, VALUE, Apply(secret)),
    Row("security-opt", None, VALUE, Apply(security)),
    Row("shm-size", None, VALUE, Apply(|draft, value| mounted(draft, values::tmpfs(&format!("/dev/shm:size={value}"))))),
    Row("shm-size-systemd", None, VALUE, Lost(NO_FIELD, "")),
    Row("sig-proxy", None, SWITCH, Implied("the kubelet signals the container itself")),
    Row("stop-signal", None, VALUE, Lost("a pod is stopped by SIGTERM, or by what its image says", "set `STOPSIGNAL` in the image")),
    Row("stop-timeout", None, VALUE, Apply(stop_timeout)),
    Row("subgidname", None, VALUE, Lost(USERNS, "")),
    Row("subuidname", None, VALUE, Lost(USERNS, "")),
    Row("sysctl", None, VALUE, Apply(sysctl)),
    Row("systemd", None, VALUE, Lost("nothing is prepared for systemd in a container", "")),
    Row("timeout", None, VALUE, Lost("a static pod is not ended after a time", "")),
    Row("tls-verify", None, SWITCH, Lost("trust in registries belongs to the node", "put it into the node's containerd configuration")),
    Row("tmpfs", None, VALUE, Apply(|draft, value| mounted(draft, values::tmpfs(value)))),
    Row("tty", Some('t'), SWITCH, Apply(|draft, value| switch(draft, "tty", value))),
    Row("tz", None, VALUE, Lost("the image's time zone holds", "set the variable `TZ`")),
    Row("uidmap", None, VALUE, Lost(USERNS, "")),
    Row("ulimit", None, VALUE, Lost("limits of processes come from containerd's unit", "set them in a drop-in of `containerd.service`")),
    Row("umask", None, VALUE, Lost(NO_FIELD, "set it in the program")),
    Row("unsetenv", None, VALUE, Lost("a variable of the image cannot be taken away", "set it to an empty text")),
    Row("unsetenv-all", None, SWITCH, Lost("variables of the image cannot be taken away", "")),
    Row("user", Some('u'), VALUE, Apply(user)),
    Row("userns", None, VALUE, Apply(userns)),
    Row("uts", None, VALUE, Lost("the host's name comes with the host's network", "")),
    Row("variant", None, VALUE, Lost("the node's own architecture is run", "")),
    Row("volume", Some('v'), VALUE, Apply(|draft, value| mounted(draft, values::volume(value)))),
    Row("volumes-from", None, VALUE, Lost("a container has its own mounts", "write each mount again")),
    Row("workdir", Some('w'), VALUE, Apply(workdir)),
];

fn carried(text: &str) -> Outcome {
    Carried(format!("as `{text}`"))
}

fn pair(value: &str) -> Option<(String, String)> {
    let (name, value) = value.split_once('=').unwrap_or((value, ""));
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

fn add_host(draft: &mut Draft, value: &str) -> Outcome {
    let split = value.split_once('=').or_else(|| value.split_once(':'));
    let Some((names, ip)) = split else { return Invalid("it is not `NAME:IP`".to_owned()) };
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    if ip.parse::<std::net::IpAddr>().is_err() {
        return Outcome::Lost("only an address can be given a name".to_owned(), "write the address");
    }
    draft.shared.aliases.extend(names.split(';').map(|name| (name.to_owned(), ip.to_owned())));
    carried("hostAliases")
}

fn annotation(draft: &mut Draft, value: &str) -> Outcome {
    let Some((name, value)) = pair(value) else { return Invalid("it has no name".to_owned()) };
    draft.shared.annotations.insert(name, value);
    carried("metadata.annotations")
}

fn label(draft: &mut Draft, value: &str) -> Outcome {
    let Some((name, value)) = pair(value) else { return Invalid("it has no name".to_owned()) };
    if name == "io.containers.autoupdate" {
        return Outcome::Lost(
            "nothing updates an image by itself".to_owned(),
            "change the digest in the manifest",
        );
    }
    // Labels of Kubernetes hold little; what does not fit is an annotation.
    draft.shared.annotations.insert(name, value);
    carried("metadata.annotations")
}

fn capability(list: &mut Vec<String>, value: &str, to: &str) -> Outcome {
    for name in value.split(',').filter(|name| !name.is_empty()) {
        let name = name.trim().to_ascii_uppercase();
        list.push(name.strip_prefix("CAP_").unwrap_or(&name).to_owned());
    }
    Carried(format!("as `securityContext.capabilities.{to}`"))
}

fn limit(draft: &mut Draft, what: &str, value: Option<String>) -> Outcome {
    resource(draft, "limits", what, value)
}

fn request(draft: &mut Draft, what: &str, value: Option<String>) -> Outcome {
    resource(draft, "requests", what, value)
}

fn resource(draft: &mut Draft, kind: &str, what: &str, value: Option<String>) -> Outcome {
    match value.as_deref() {
        Some("0") => Carried("no limit, as without it".to_owned()),
        Some(value) => {
            let path = format!("resources.{kind}.{what}");
            draft.set(&path, value);
            carried(&path)
        }
        None => Invalid("it is no amount".to_owned()),
    }
}

fn cpu_shares(draft: &mut Draft, value: &str) -> Outcome {
    let cpus = value.parse::<u64>().ok().map(|shares| format!("{}m", (shares * 1000).div_ceil(1024)));
    request(draft, "cpu", cpus)
}

fn device(draft: &mut Draft, value: &str) -> Outcome {
    let mut parts = value.split(':');
    let host = parts.next().unwrap_or_default();
    let target = parts.next().filter(|part| part.starts_with('/')).unwrap_or(host);
    if !host.starts_with("/dev/") {
        return Outcome::Lost("only device nodes of the host are mounted".to_owned(), "use a device plugin");
    }
    let source = super::draft::MountSource::Host(host.to_owned(), "");
    let target = target.to_owned();
    draft.mounts.push(Mount { source, target, read_only: false, propagation: None });
    Outcome::Lost(
        "the node is mounted, but without `privileged` the container may not open it".to_owned(),
        "set `securityContext.privileged: true` after review",
    )
}

fn dns(draft: &mut Draft, what: &'static str, value: Value) -> Outcome {
    draft.shared.dns.entry(what).or_default().push(value);
    carried(&format!("dnsConfig.{what}"))
}

fn dns_option(draft: &mut Draft, value: &str) -> Outcome {
    let (name, value) = value.split_once(':').map_or((value, None), |(n, v)| (n, Some(v)));
    let option = match value {
        Some(value) => json!({"name": name, "value": value}),
        None => json!({"name": name}),
    };
    dns(draft, "options", option)
}

fn entrypoint(draft: &mut Draft, value: &str) -> Outcome {
    let words = match value.trim_start().starts_with('[') {
        true => match serde_json::from_str(value) {
            Ok(words) => words,
            Err(_) => return Invalid("it is no JSON list of texts".to_owned()),
        },
        false if value.is_empty() => {
            return Outcome::Lost("the image's entry point stays".to_owned(), "write the command");
        }
        false => vec![value.to_owned()],
    };
    draft.entrypoint = Some(words);
    carried("command")
}

fn group_add(draft: &mut Draft, value: &str) -> Outcome {
    let Ok(group) = value.parse::<u32>() else {
        return Outcome::Lost("groups are numbers".to_owned(), "write the group's number");
    };
    let groups = draft.shared.spec.entry("supplementalGroups").or_insert(json!([]));
    if let Some(groups) = groups.as_array_mut() {
        groups.push(group.into());
    }
    Changed("as `securityContext.supplementalGroups` of the whole pod".to_owned(), "")
}

/// What podman makes of a health command: `CMD` and `CMD-SHELL` as in Docker, JSON, or text for a shell.
pub(super) fn health_words(value: &str) -> Option<Vec<String>> {
    let words: Vec<String> = serde_json::from_str(value)
        .unwrap_or_else(|_| value.split_whitespace().map(str::to_owned).collect());
    let is_json = value.trim_start().starts_with('[');
    let (first, rest) = words.split_first()?;
    let shell = |text: String| Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), text]);
    match first.to_ascii_uppercase().as_str() {
        "NONE" => None,
        "CMD" => Some(rest.to_vec()).filter(|rest| !rest.is_empty()),
        "CMD-SHELL" => shell(rest.join(" ")),
        _ if is_json && words.len() > 1 => Some(words),
        _ if is_json => shell(first.clone()),
        _ => shell(value.to_owned()),
    }
}

fn health_command(draft: &mut Draft, value: &str) -> Outcome {
    match health_words(value) {
        Some(words) => {
            draft.health.command = Some((words, draft.at.clone()));
            Carried("as a probe of type `exec`".to_owned())
        }
        None => {
            draft.health.command = None;
            Carried("no health check, so no probe".to_owned())
        }
    }
}

fn health_on_failure(draft: &mut Draft, value: &str) -> Outcome {
    match value {
        "none" => Carried("a failing check restarts nothing: it is a readiness probe".to_owned()),
        "restart" | "kill" => {
            draft.health.restarts = true;
            carried("livenessProbe")
        }
        "stop" => {
            draft.health.restarts = true;
            Changed("as `livenessProbe`, after which the container may be started again".to_owned(), "")
        }
        _ => Invalid("it is none of `none`, `kill`, `restart` and `stop`".to_owned()),
    }
}

fn time(slot: &mut Option<u64>, value: &str) -> Outcome {
    *slot = seconds(value);
    match slot {
        Some(_) => Carried("as a setting of the probe".to_owned()),
        None if value == "disable" => {
            Outcome::Lost("a probe always has an interval".to_owned(), "leave the health check away")
        }
        None => Invalid("it is no time".to_owned()),
    }
}

fn count(slot: &mut Option<u64>, value: &str) -> Outcome {
    *slot = value.parse().ok();
    match slot {
        Some(_) => Carried("as `failureThreshold` of the probe".to_owned()),
        None => Invalid("it is no number".to_owned()),
    }
}

fn switch(draft: &mut Draft, path: &str, value: &str) -> Outcome {
    let Some(is_on) = boolean(value) else { return Invalid("it is no boolean".to_owned()) };
    draft.container.remove(path);
    if is_on {
        draft.set(path, true);
    }
    carried(path)
}

fn spec(draft: &mut Draft, field: &'static str, value: Value) -> Outcome {
    draft.shared.spec.insert(field, value);
    carried(&format!("spec.{field}"))
}

fn host_namespace(draft: &mut Draft, field: &'static str, value: &str) -> Outcome {
    match value {
        "host" => spec(draft, field, json!(true)),
        "" | "private" | "shareable" | "none" | "pod" => Carried("as it is by itself".to_owned()),
        _ => Outcome::Lost(
            "only containers of one pod share namespaces".to_owned(),
            "put both into one pod, with `shareProcessNamespace: true` for processes",
        ),
    }
}

fn network(draft: &mut Draft, value: &str) -> Outcome {
    let (kind, options) = value.split_once(':').unwrap_or((value, ""));
    match kind {
        "host" => {
            draft.shared.host_network = true;
            carried("hostNetwork")
        }
        _ if options.contains("ip=") || options.contains("ip6=") || options.contains("mac=") => {
            Outcome::Lost(FIXED_IP.to_owned(), USE_HOST)
        }
        "" | "bridge" | "default" | "podman" | "private" | "slirp4netns" | "pasta" => Changed(
            "the pod gets an address from the node's network plugin".to_owned(),
            "a node without one starts only pods with `hostNetwork: true`",
        ),
        "none" => Outcome::Lost("every pod has a network".to_owned(), ""),
        "container" | "ns" => Outcome::Lost(
            "only containers of one pod share a network".to_owned(),
            "put both into one pod",
        ),
        _ => Outcome::Lost("networks of podman do not exist for pods".to_owned(), USE_HOST),
    }
}

fn mounted(draft: &mut Draft, read: Result<Mounted, &'static str>) -> Outcome {
    let (mount, other) = match read {
        Ok(read) => read,
        Err(error) => return Outcome::Lost(error.to_owned(), "write absolute paths"),
    };
    let is_named = matches!(&mount.source, super::draft::MountSource::Host(path, _) if path.starts_with(values::VOLUMES));
    draft.mounts.retain(|known| known.target != mount.target);
    draft.mounts.push(mount);
    let strange: Vec<&String> = other.iter().filter(|option| !["z", "Z"].contains(&option.as_str())).collect();
    if !strange.is_empty() {
        return Outcome::Lost(
            format!("mounted, without {}: a pod has no such options", basalt_model::decode::list(&strange)),
            "see to owner, mode and options on the host",
        );
    }
    if !other.is_empty() {
        return Changed(
            "mounted, but the kubelet does not relabel what is on the host".to_owned(),
            "label the path for containers (`container_file_t`) with the node's configuration",
        );
    }
    if is_named {
        return Changed(
            format!("as a folder of the host below `{}`", values::VOLUMES),
            "move the data there; a new folder is empty and is root's, whatever the image has at the path",
        );
    }
    carried("volumeMounts")
}

fn publish(draft: &mut Draft, value: &str) -> Outcome {
    match ports(value) {
        Ok(ports) => {
            draft.shared.ports.extend(ports);
            carried("ports")
        }
        Err(error) => Outcome::Lost(error.to_owned(), "publish one port as `HOST:CONTAINER`"),
    }
}

fn pull(draft: &mut Draft, value: &str) -> Outcome {
    let policy = match value {
        "always" | "newer" | "true" => "Always",
        "missing" | "false" | "" => "IfNotPresent",
        "never" => "Never",
        _ => return Invalid("it is none of `always`, `missing`, `never` and `newer`".to_owned()),
    };
    draft.set("imagePullPolicy", policy);
    carried("imagePullPolicy")
}

fn restart(draft: &mut Draft, value: &str) -> Outcome {
    let (policy, times) = value.split_once(':').map_or((value, None), |(p, t)| (p, Some(t)));
    draft.restart = Some(match policy {
        "no" | "never" | "" => Restart::Never,
        "on-failure" => Restart::OnFailure,
        "always" | "unless-stopped" => Restart::Always,
        _ => return Invalid("it is no restart policy".to_owned()),
    });
    match (policy, times) {
        (_, Some(_)) => Outcome::Lost("the kubelet never stops trying, only waits longer".to_owned(), ""),
        ("unless-stopped", _) => Changed("as `restartPolicy: Always`".to_owned(), "to stop a static pod, remove its manifest"),
        _ => carried("restartPolicy"),
    }
}

fn secret(draft: &mut Draft, value: &str) -> Outcome {
    let mut parts = value.split(',');
    let name = parts.next().unwrap_or_default().to_owned();
    let (mut is_variable, mut target, mut other) = (false, None, false);
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("type", "env") => is_variable = true,
            ("type", "mount") => {}
            ("target", value) => target = Some(value.to_owned()),
            _ => other = true,
        }
    }
    if file_name(&name).is_empty() {
        return Invalid("it has no name".to_owned());
    }
    let path = match (&target, is_variable) {
        (Some(target), false) if target.starts_with('/') => target.clone(),
        (Some(target), false) => format!("/run/secrets/{target}"),
        _ => format!("/run/secrets/{name}"),
    };
    add_secret(draft, &name, &path);
    if is_variable {
        let variable = format!("{}_FILE", target.unwrap_or(name));
        let at = draft.at.clone();
        draft.environment.insert(variable, (path, at));
        return Changed(
            "as a file, named by a variable that ends in `_FILE`".to_owned(),
            "let a template of vault-agent write the file, and check that the program reads such a variable",
        );
    }
    let message = format!("as a file of the host below `{SECRETS}`");
    match other {
        true => Changed(message, "let a template of vault-agent write it, with the owner and mode that the program needs"),
        false => Changed(message, "let a template of vault-agent write it"),
    }
}

/// Mounts the file of a secret.
pub(super) fn add_secret(draft: &mut Draft, name: &str, target: &str) {
    let source = super::draft::MountSource::Host(format!("{SECRETS}/{}", file_name(name)), "File");
    draft.mounts.retain(|known| known.target != target);
    draft.mounts.push(Mount { source, target: target.to_owned(), read_only: true, propagation: None });
}

fn security(draft: &mut Draft, value: &str) -> Outcome {
    let (name, rest) = value.split_once(['=', ':']).unwrap_or((value, ""));
    match (name, rest) {
        ("no-new-privileges", "" | "true") => {
            draft.set("securityContext.allowPrivilegeEscalation", false);
            carried("securityContext.allowPrivilegeEscalation")
        }
        ("no-new-privileges", "false") => Carried("as it is by itself".to_owned()),
        ("label", "disable") => {
            draft.set("securityContext.seLinuxOptions.type", "spc_t");
            carried("securityContext.seLinuxOptions")
        }
        ("label", label) if label.split_once(':').is_some_and(|(key, _)| ["type", "level", "user", "role"].contains(&key)) => {
            let (key, value) = label.split_once(':').unwrap_or_default();
            draft.set(&format!("securityContext.seLinuxOptions.{key}"), value);
            carried("securityContext.seLinuxOptions")
        }
        ("seccomp", "unconfined") => {
            draft.set("securityContext.seccompProfile.type", "Unconfined");
            carried("securityContext.seccompProfile")
        }
        ("apparmor", "unconfined") => {
            draft.set("securityContext.appArmorProfile.type", "Unconfined");
            carried("securityContext.appArmorProfile")
        }
        ("apparmor", profile) if !profile.is_empty() => {
            draft.set("securityContext.appArmorProfile.type", "Localhost");
            draft.set("securityContext.appArmorProfile.localhostProfile", profile);
            carried("securityContext.appArmorProfile")
        }
        ("seccomp", _) => Outcome::Lost(
            "a profile has to lie in the kubelet's folder".to_owned(),
            "put it below `/var/lib/kubelet/seccomp` and name it as `seccompProfile`",
        ),
        _ => Outcome::Lost(NO_FIELD.to_owned(), "do without it after review"),
    }
}

fn stop_timeout(draft: &mut Draft, value: &str) -> Outcome {
    match seconds(value) {
        Some(seconds) => spec(draft, "terminationGracePeriodSeconds", json!(seconds)),
        None => Invalid("it is no time".to_owned()),
    }
}

fn sysctl(draft: &mut Draft, value: &str) -> Outcome {
    let Some((name, value)) = pair(value) else { return Invalid("it has no name".to_owned()) };
    draft.shared.sysctls.push((name, value));
    Changed(
        "as `securityContext.sysctls`".to_owned(),
        "the kubelet refuses those of the network with `hostNetwork`, and unsafe ones that it was not told to allow",
    )
}

fn user(draft: &mut Draft, value: &str) -> Outcome {
    let (user, group) = value.split_once(':').map_or((value, None), |(u, g)| (u, Some(g)));
    let numbers = (user.parse::<u32>(), group.map(str::parse::<u32>).transpose());
    let (Ok(user), Ok(group)) = numbers else {
        return Outcome::Lost(
            "users and groups are numbers: names are the image's own".to_owned(),
            "write the numbers that the image's `/etc/passwd` has",
        );
    };
    draft.set("securityContext.runAsUser", user);
    if let Some(group) = group {
        draft.set("securityContext.runAsGroup", group);
    }
    carried("securityContext.runAsUser")
}

fn userns(_: &mut Draft, value: &str) -> Outcome {
    match value {
        "" | "host" => Carried("as it is by itself".to_owned()),
        _ => Outcome::Lost(USERNS.to_owned(), "set `hostUsers: false` where the node can do it"),
    }
}

fn workdir(draft: &mut Draft, value: &str) -> Outcome {
    if !value.starts_with('/') {
        return Invalid("the path is not absolute".to_owned());
    }
    draft.set("workingDir", value);
    carried("workingDir")
}

/// Words of a value that a quadlet passes on as a command.
pub(super) fn split(value: &str, at: &At, notes: &mut Notes) -> Vec<String> {
    unit::words(value).unwrap_or_else(|error| {
        notes.invalid(at, error, None);
        Vec::new()
    })
}
