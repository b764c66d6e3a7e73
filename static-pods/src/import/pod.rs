//! From the draft of a pod to its manifest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::CarriedFile;
use super::amounts;
use super::container::container;
use super::draft::{Draft, PodDraft, Port, Restart, Secret, Shared};
use super::notes::{At, Notes};
use super::volumes::Volumes;
use crate::parts::{PRIORITY, PRIORITY_CLASS};

/// How long podman waits before it kills, in seconds; the kubelet's own default is another.
const GRACE_SECONDS: u64 = 10;

/// The longest name of a pod, as that of its containers: an RFC 1123 label.
const MAX_NAME: usize = 63;

/// A pod as it is imported.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) manifest: Value,
    /// What vault-agent has to write for it.
    pub(super) secrets: Vec<Secret>,
    /// What goes with it.
    pub(super) files: Vec<CarriedFile>,
}

/// The pod of a draft. `None`: there is nothing to run, which is noted.
pub(super) fn manifest(pod: PodDraft, notes: &mut Notes) -> Option<Made> {
    let PodDraft { name: written, at, shared, mut amounts, containers } = pod;
    let name = label(&written);
    if name.is_empty() {
        let message = "nothing of the name can be in a pod's name";
        notes.broken(&at, message, "write a name of letters, digits and `-`");
        return None;
    }
    if name != written {
        let message =
            format!("the pod is called `{name}`: Kubernetes allows lower case, digits and `-`");
        notes.changed(&at, message, "use that name where the old one was used");
    }
    let restart = restart(&containers, notes)?;
    let mut all = shared;
    let mut containers = named(containers, notes);
    for (_, draft) in &mut containers {
        let own = std::mem::take(&mut draft.shared);
        merge(&mut all, own, &draft.at, notes);
        amounts::from_quota(draft);
    }
    amounts::fit(&mut amounts, &mut containers);
    if all.host_network.is_none() {
        notes.changed(
            &at,
            "the pod has the host's network: a standalone node has no network plugin",
            "check which ports its programs open: all of them are open on the host",
        );
    }
    let mut ports = ports(&all, notes);
    let mut volumes = Volumes::of(&name);
    let mut made = Vec::new();
    let (mut secrets, mut files) = (Vec::new(), Vec::new());
    for (name, draft) in &mut containers {
        // Published ports are the pod's; its first container declares them.
        made.push(container(name, draft, std::mem::take(&mut ports), &mut volumes, notes)?);
        secrets.append(&mut draft.secrets);
        files.append(&mut draft.files);
    }
    let mut spec = spec(all, restart, made, volumes, notes);
    if let Some(resources) = amounts::of_pod(amounts) {
        spec.0.insert("resources".to_owned(), resources);
    }
    let metadata = metadata(&name, &spec.1);
    let manifest = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec.0});
    Some(Made { name, manifest, secrets, files })
}

/// What a name becomes where Kubernetes wants an RFC 1123 label.
pub(super) fn label(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let kept: String = text.chars().map(plain).take(MAX_NAME).collect();
    kept.trim_matches('-').to_owned()
}

/// One policy for the whole pod: the most eager one.
fn restart(containers: &[Draft], notes: &mut Notes) -> Option<Restart> {
    let of = |draft: &Draft| draft.restart.unwrap_or(Restart::Never);
    let restart = containers.iter().map(of).max()?;
    for draft in containers.iter().filter(|draft| of(draft) != restart) {
        notes.changed(
            &draft.at,
            "all containers of a pod have one restart policy: the most eager one of them",
            "give the container a pod of its own where that matters",
        );
    }
    if restart != Restart::Always {
        let at = &containers.first()?.at;
        let word = if restart == Restart::Never { "Never" } else { "OnFailure" };
        notes.changed(
            at,
            format!("the pod has `restartPolicy: {word}`, as podman did: once ended it may stay so until the node starts again"),
            "write a restart policy of `always` for what has to run; a node's own pods need it",
        );
    }
    Some(restart)
}

fn named(containers: Vec<Draft>, notes: &mut Notes) -> Vec<(String, Draft)> {
    let mut named: Vec<(String, Draft)> = Vec::new();
    for draft in containers {
        let mut name = label(&draft.name);
        if name.is_empty() {
            name = format!("container-{}", named.len() + 1);
        }
        if named.iter().any(|(known, _)| *known == name) {
            let message = format!("the pod has two containers called `{name}`");
            notes.invalid(&draft.at, message, Some("give one of them another name"));
            continue;
        }
        named.push((name, draft));
    }
    named
}

fn merge(all: &mut Shared, own: Shared, at: &At, notes: &mut Notes) {
    all.host_network = all.host_network.take().or(own.host_network);
    all.ports.extend(own.ports);
    all.annotations.extend(own.annotations);
    all.aliases.extend(own.aliases);
    all.sysctls.extend(own.sysctls);
    for (what, values) in own.dns {
        let known = all.dns.entry(what).or_default();
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }
    for (field, value) in own.spec {
        match all.spec.get_mut(field) {
            None => {
                all.spec.insert(field, value);
            }
            Some(known) if *known == value => {}
            Some(known) if field == "terminationGracePeriodSeconds" => {
                *known = json!(known.as_u64().max(value.as_u64()));
            }
            Some(Value::Array(known)) => {
                known.extend(value.as_array().into_iter().flatten().cloned());
                known.dedup();
            }
            Some(_) => {
                let message = format!("another container of the pod has another `{field}`");
                notes.lost(at, message, "give the container a pod of its own");
            }
        }
    }
}

/// The ports that the pod's programs open, with a note on each that was published as another one.
fn ports(all: &Shared, notes: &mut Notes) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut made = Vec::new();
    for (port, at) in &all.ports {
        published(port, all.host_network.is_some(), at, notes);
        if seen.insert((port.container, port.protocol)) {
            made.push(json!({"containerPort": port.container, "protocol": port.protocol}));
        }
    }
    made
}

fn published(port: &Port, is_host: bool, at: &At, notes: &mut Notes) {
    let Port { host_ip, host, container, protocol } = port;
    if is_host {
        // As podman does: it discards them with a warning.
        let message =
            format!("{protocol} port {container} is the program's own in the host's network");
        notes.carried(at, message);
        return;
    }
    match host {
        Some(host) if host != container => notes.broken(
            at,
            format!("{protocol} port {host} of the host cannot lead to port {container}: the pod has the host's network"),
            "let the program listen on the port of the host, and declare that as `containerPort`",
        ),
        Some(_) => {}
        None => notes.changed(
            at,
            format!("podman picks a port of the host for {protocol} port {container}, which is now open itself"),
            "check that nothing else on the node uses the port",
        ),
    }
    if let Some(ip) = host_ip {
        notes.broken(
            at,
            format!("{protocol} port {container} was published on {ip} only: now the program itself chooses where it listens"),
            "let the program listen on that address",
        );
    }
}

fn metadata(name: &str, annotations: &BTreeMap<String, String>) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": "kube-system",
        "labels": {"app.kubernetes.io/name": name},
    });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    metadata
}

fn spec(
    all: Shared,
    restart: Restart,
    containers: Vec<Value>,
    volumes: Volumes,
    notes: &mut Notes,
) -> (Map<String, Value>, BTreeMap<String, String>) {
    let mut fields = all.spec;
    let groups = fields.remove("supplementalGroups");
    let mut security = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    if let Some(groups) = groups {
        security["supplementalGroups"] = groups;
    }
    let is_ipc_of_host = fields.contains_key("hostIPC");
    let sysctls = sysctls(all.sysctls, is_ipc_of_host, notes);
    if !sysctls.is_empty() {
        security["sysctls"] = json!(sysctls);
    }
    let policy = match restart {
        Restart::Never => "Never",
        Restart::OnFailure => "OnFailure",
        Restart::Always => "Always",
    };
    let grace = fields.remove("terminationGracePeriodSeconds").unwrap_or(json!(GRACE_SECONDS));
    let has_servers = all.dns.contains_key("nameservers");
    let mut spec = Map::new();
    let mut set = |key: &str, value: Value| drop(spec.insert(key.to_owned(), value));
    set("hostNetwork", json!(true));
    for (field, value) in fields {
        set(field, value);
    }
    set("dnsPolicy", json!(if has_servers { "None" } else { "Default" }));
    if !all.dns.is_empty() {
        set("dnsConfig", json!(all.dns));
    }
    let mut by_address: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, address) in all.aliases {
        let names = by_address.entry(address).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !by_address.is_empty() {
        let alias = |(ip, names)| json!({"ip": ip, "hostnames": names});
        set("hostAliases", by_address.into_iter().map(alias).collect());
    }
    set("priorityClassName", json!(PRIORITY_CLASS));
    set("priority", json!(PRIORITY));
    set("restartPolicy", json!(policy));
    set("terminationGracePeriodSeconds", grace);
    set("automountServiceAccountToken", json!(false));
    set("enableServiceLinks", json!(false));
    set("securityContext", security);
    set("containers", Value::Array(containers));
    let volumes = volumes.into_json();
    if !volumes.is_empty() {
        set("volumes", Value::Array(volumes));
    }
    (spec, all.annotations)
}

/// Those that the kubelet lets a pod set. What concerns the network never gets here.
fn sysctls(
    wanted: BTreeMap<String, (String, At)>,
    is_ipc_of_host: bool,
    notes: &mut Notes,
) -> Vec<Value> {
    let mut made = Vec::new();
    for (name, (value, at)) in wanted {
        if name == "kernel.shm_rmid_forced" && !is_ipc_of_host {
            made.push(json!({"name": name, "value": value}));
            continue;
        }
        notes.broken(
            &at,
            format!("the kubelet lets no pod of the host's network set `{name}`"),
            "set it on the host, with a file below `/etc/sysctl.d` in the node's Butane config",
        );
    }
    made
}
