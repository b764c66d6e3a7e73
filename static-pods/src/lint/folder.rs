//! The files of a manifest folder together.

use std::net::IpAddr;

use basalt_model::report::Place;

use super::container::{HostPort, Role, containers, host_ports_of};
use super::tree::{At, Node};
use super::{Effect, LintFinding, Rules, Sink};

/// Whether the kubelet passes over a file for its name.
pub(super) fn is_ignored(name: &str, sink: &mut Sink<'_>) -> bool {
    let is_hidden = file_name(name).starts_with('.');
    if is_hidden {
        let message = "the kubelet passes over files whose names begin with a dot";
        let remedy = "rename it, or remove it when it is not wanted";
        sink.whole(Effect::Questionable, "ignored-file", message, remedy);
    } else if is_left_over(file_name(name)) {
        let message = "the kubelet reads every file in its folder, whatever its name ends in";
        let remedy = "move copies and templates out of the manifest folder";
        sink.whole(Effect::Questionable, "left-over-file", message, remedy);
    }
    is_hidden
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn is_left_over(name: &str) -> bool {
    const ENDS: [&str; 11] = [
        ".bak",
        ".backup",
        ".disabled",
        ".off",
        ".old",
        ".orig",
        ".rej",
        ".rpmnew",
        ".rpmsave",
        ".swp",
        ".tmp",
    ];
    name.ends_with('~') || ENDS.iter().any(|end| name.to_ascii_lowercase().ends_with(end))
}

/// What two pods of one node cannot both have.
pub(super) fn check(pods: &[(&str, Node)], rules: Rules<'_>, findings: &mut Vec<LintFinding>) {
    let pods: Vec<Claims<'_>> = pods.iter().map(|(file, node)| Claims::of(file, node)).collect();
    for (index, pod) in pods.iter().enumerate() {
        let mut sink = Sink { file: pod.file, findings };
        if rules != Rules::Kubelet {
            own_ports(&pod.ports, &mut sink);
        }
        for other in &pods[..index] {
            same_name(pod, other, &mut sink);
            same_uid(pod, other, &mut sink);
            same_ports(pod, other, rules, &mut sink);
        }
    }
}

/// What a pod has for itself, looked up once: each is held against all others.
struct Claims<'t> {
    file: &'t str,
    name: At<'t>,
    namespace: &'t str,
    uid: At<'t>,
    ports: Vec<Held<'t>>,
}

/// A port of the host, and where it is asked for.
type Held<'t> = (HostPort<'t>, Place, String);

impl<'t> Claims<'t> {
    fn of(file: &'t str, node: &'t Node) -> Self {
        let pod = At::root(node);
        let namespace = match pod.follow(["metadata", "namespace"]).text() {
            "" => "default",
            namespace => namespace,
        };
        let (name, uid) = (pod.follow(["metadata", "name"]), pod.follow(["metadata", "uid"]));
        Claims { file, name, namespace, uid, ports: held(&pod) }
    }
}

fn same_name(pod: &Claims<'_>, other: &Claims<'_>, sink: &mut Sink<'_>) {
    let name = pod.name.text();
    if !name.is_empty() && name == other.name.text() && pod.namespace == other.namespace {
        let message = format!(
            "`{}` has a pod of this name: of the two, the file that sorts last wins",
            other.file
        );
        sink.add(Effect::Dropped, "same-pod", &pod.name, message, "give each pod its own name");
    }
}

fn same_uid(pod: &Claims<'_>, other: &Claims<'_>, sink: &mut Sink<'_>) {
    if !pod.uid.text().is_empty() && pod.uid.text() == other.uid.text() {
        let message = format!("`{}` has a pod of this uid: the two become one", other.file);
        let remedy = "remove it: the kubelet sets one";
        sink.add(Effect::Dropped, "same-uid", &pod.uid, message, remedy);
    }
}

/// The ports of the host that a pod holds as long as it runs.
fn held<'t>(pod: &At<'t>) -> Vec<Held<'t>> {
    let spec = pod.get("spec");
    let running = containers(&spec).into_iter().filter(|(role, _)| *role != Role::Init);
    let ports = running.flat_map(|(_, container)| host_ports_of(&container, &spec));
    ports.map(|(port, at)| (port, at.place, at.path)).collect()
}

fn same_ports(pod: &Claims<'_>, other: &Claims<'_>, rules: Rules<'_>, sink: &mut Sink<'_>) {
    for (port, place, path) in &pod.ports {
        let same: Vec<&HostPort<'_>> = other
            .ports
            .iter()
            .map(|(other, _, _)| other)
            .filter(|other| other.number == port.number && other.protocol == port.protocol)
            .collect();
        let (effect, rule) = if same.iter().any(|other| meet(port, other)) {
            (Effect::NotAdmitted, "host-port")
        } else if rules != Rules::Kubelet && same.iter().any(|other| sockets_meet(port, other)) {
            (Effect::Unsafe, "basalt-host-port")
        } else {
            continue;
        };
        let HostPort { number, protocol, .. } = port;
        let message = format!(
            "port {number} ({protocol}) of the host is taken by the pod in `{}`",
            other.file
        );
        sink.at(effect, rule, *place, path, message, "choose another port, or another `hostIP`");
    }
}

/// Within a pod, Kubernetes does not ask whether one address is part of another.
fn own_ports(held: &[Held<'_>], sink: &mut Sink<'_>) {
    for (index, (port, place, path)) in held.iter().enumerate() {
        let is_taken = |(other, _, _): &Held<'_>| {
            let is_same = other.number == port.number && other.protocol == port.protocol;
            is_same && other != port && sockets_meet(port, other)
        };
        if held[..index].iter().any(is_taken) {
            let HostPort { number, protocol, .. } = port;
            let message =
                format!("port {number} ({protocol}) of the host is taken in this pod already");
            let remedy = "choose another port, or another `hostIP`";
            sink.at(Effect::Unsafe, "basalt-host-port", *place, path, message, remedy);
        }
    }
}

/// For the kubelet, every address is `0.0.0.0` alone.
fn meet(port: &HostPort<'_>, other: &HostPort<'_>) -> bool {
    let any = |ip: &str| matches!(ip, "" | "0.0.0.0");
    any(other.ip) || any(port.ip) || other.ip == port.ip
}

/// The second of two sockets fails where both have one address, or one has every address of the family. (Those for
/// `::` are IPv6 only.)
fn sockets_meet(port: &HostPort<'_>, other: &HostPort<'_>) -> bool {
    let address = |ip: &str| ip.parse::<IpAddr>().ok();
    match (address(port.ip), address(other.ip)) {
        (Some(a), Some(b)) => {
            a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
        }
        // Without an address it is every address of both families.
        _ => true,
    }
}
