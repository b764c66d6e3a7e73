//! Containers: those of the pod, and those that run before them.

use std::collections::BTreeSet;

use super::names;
use super::tree::{At, beginning};
use super::volumes::Volumes;
use super::{Sink, env, image, mounts, probe, resources, security};

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs as long as the pod does.
    Main,
    /// It runs to its end before the others start.
    Init,
    /// An init container that keeps running.
    Sidecar,
}

/// The containers with their roles, those of the pod first, as Kubernetes looks at them.
pub(super) fn containers<'t>(spec: &At<'t>) -> Vec<(Role, At<'t>)> {
    let main = spec.get("containers").items().into_iter().map(|at| (Role::Main, at));
    let init = spec.get("initContainers").items().into_iter().map(|at| {
        let is_sidecar = at.get("restartPolicy").text() == "Always";
        (if is_sidecar { Role::Sidecar } else { Role::Init }, at)
    });
    main.chain(init).collect()
}

pub(super) fn check_all(spec: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let list = spec.get("containers");
    if list.items().is_empty() {
        sink.refused("no-containers", &list, "a pod has at least one container", "add one");
    }
    let mut names = BTreeSet::new();
    for (role, container) in containers(spec) {
        check(role, &container, spec, volumes, sink);
        let name = container.get("name");
        if !name.text().is_empty() && !names.insert(name.text()) {
            let message = format!("a container `{}` is there already", beginning(name.text()));
            sink.refused("container-name", &name, message, "give each container its own name");
        }
    }
    host_ports(spec, sink);
}

fn check(role: Role, at: &At<'_>, spec: &At<'_>, volumes: &Volumes<'_>, sink: &mut Sink<'_>) {
    let name = at.get("name");
    if sink.required("container-name", &name) {
        sink.named("container-name", &name, names::dns_label(name.text()));
    }
    let image = at.get("image");
    if sink.required("image", &image) {
        image::of_container(&image, sink);
    }
    let policy = at.get("imagePullPolicy");
    if !policy.text().is_empty() {
        sink.one_of("pull-policy", &policy, &["Always", "IfNotPresent", "Never"]);
    }
    let message = at.get("terminationMessagePolicy");
    if !message.text().is_empty() {
        sink.one_of("termination-message", &message, &["File", "FallbackToLogsOnError"]);
    }
    ports(at, spec, role, sink);
    env::check(at, volumes, sink);
    mounts::check(at, volumes, sink);
    resources::check_container(at, spec, role, sink);
    security::check_container(at, spec, sink);
    probe::check(role, at, spec, sink);
    restart(role, at, sink);
}

fn ports(at: &At<'_>, spec: &At<'_>, role: Role, sink: &mut Sink<'_>) {
    let mut names = BTreeSet::new();
    let is_on_host = spec.get("hostNetwork").is_true();
    for port in at.get("ports").items() {
        let name = port.get("name");
        if !name.text().is_empty() {
            sink.named("port-name", &name, names::port(name.text()));
            if !names.insert(name.text()) {
                let message = format!("a port `{}` is there already", beginning(name.text()));
                sink.refused("port-name", &name, message, "give each port its own name");
            }
        }
        let (inside, outside) = (port.get("containerPort"), port.get("hostPort"));
        match inside.integer() {
            None | Some(0) => {
                sink.refused("port", &inside, "`containerPort` must be set", "set it");
            }
            Some(_) => sink.in_range("port", &inside, 1, 65535),
        }
        if let Some(number) = outside.integer().filter(|number| *number != 0) {
            sink.in_range("port", &outside, 1, 65535);
            if is_on_host && role == Role::Main && inside.integer() != Some(number) {
                let message = "in the host's network `hostPort` is the same as `containerPort`";
                sink.refused("port", &outside, message, "remove it");
            }
        }
        let protocol = port.get("protocol");
        // Without one, and only without one, it is TCP.
        if !protocol.text().is_empty() {
            sink.one_of("port", &protocol, &["TCP", "UDP", "SCTP"]);
        }
        let ip = port.get("hostIP");
        if !ip.text().is_empty() && names::ip(ip.text()).is_some() {
            let message = format!("`{}` is not an IP address", beginning(ip.text()));
            let effect = super::Effect::Questionable;
            sink.add(effect, "port", &ip, message, "write an address of the host");
        }
    }
}

/// A port of the host, as Kubernetes compares them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostPort<'t> {
    pub(super) protocol: &'t str,
    pub(super) ip: &'t str,
    pub(super) number: i64,
}

/// The ports of the host that a container takes, each with its place.
pub(super) fn host_ports_of<'t>(container: &At<'t>, spec: &At<'t>) -> Vec<(HostPort<'t>, At<'t>)> {
    let is_on_host = spec.get("hostNetwork").is_true();
    let port = |port: &At<'t>| {
        let (inside, outside) = (port.get("containerPort"), port.get("hostPort"));
        let (number, at) = match outside.integer() {
            Some(number) if number != 0 => (number, outside),
            _ if is_on_host => (inside.integer().unwrap_or(0), inside),
            _ => return None,
        };
        let protocol = match port.get("protocol").text() {
            "" => "TCP",
            protocol => protocol,
        };
        let host_port = HostPort { protocol, ip: port.get("hostIP").text(), number };
        (number > 0).then_some((host_port, at))
    };
    container.get("ports").items().iter().filter_map(port).collect()
}

fn host_ports(spec: &At<'_>, sink: &mut Sink<'_>) {
    let mut taken = BTreeSet::new();
    for (role, container) in containers(spec) {
        // Init containers run one after the other: only within one of them can ports meet.
        let mut own = BTreeSet::new();
        let taken = if role == Role::Main { &mut taken } else { &mut own };
        for (port, at) in host_ports_of(&container, spec) {
            if taken.contains(&port) {
                let HostPort { protocol, number, .. } = port;
                let message =
                    format!("port {number} ({protocol}) of the host is taken in this pod already");
                sink.refused("host-port", &at, message, "declare it once");
            }
            taken.insert(port);
        }
    }
}

fn restart(role: Role, at: &At<'_>, sink: &mut Sink<'_>) {
    let (policy, rules) = (at.get("restartPolicy"), at.get("restartPolicyRules"));
    if policy.is_set() {
        sink.one_of("container-restart", &policy, &["Always", "Never", "OnFailure"]);
    } else if !rules.items().is_empty() {
        let message = "rules for restarts need a `restartPolicy` of the container";
        sink.refused("container-restart", &rules, message, "set `restartPolicy`");
        if role != Role::Main {
            return;
        }
    }
    if rules.items().len() > 20 {
        sink.refused("container-restart", &rules, "more than 20 rules", "keep fewer");
    }
    for rule in rules.items() {
        sink.one_of("container-restart", &rule.get("action"), &["Restart", "RestartAllContainers"]);
        let codes = rule.get("exitCodes");
        if codes.is_set() {
            sink.one_of("container-restart", &codes.get("operator"), &["In", "NotIn"]);
            if codes.get("values").items().len() > 255 {
                let message = "more than 255 exit codes";
                sink.refused("container-restart", &codes.get("values"), message, "keep fewer");
            }
        } else {
            sink.refused("container-restart", &codes, "`exitCodes` must be set", "set it");
        }
    }
}
