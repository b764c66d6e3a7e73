//! The files of a manifest folder together.

use basalt_model::report::Place;

use super::container::{HostPort, Role, containers, host_ports_of};
use super::tree::{At, Node};
use super::{Effect, LintFinding, Sink};

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
pub(super) fn check(pods: &[(&str, Node)], findings: &mut Vec<LintFinding>) {
    for (index, (file, node)) in pods.iter().enumerate() {
        let mut sink = Sink { file, findings };
        let pod = At::root(node);
        for (other_file, other) in &pods[..index] {
            let other = At::root(other);
            same_name(&pod, &other, other_file, &mut sink);
            same_uid(&pod, &other, other_file, &mut sink);
            same_ports(&pod, &other, other_file, &mut sink);
        }
    }
}

fn same_name(pod: &At<'_>, other: &At<'_>, other_file: &str, sink: &mut Sink<'_>) {
    let name = |pod: &At<'_>| pod.follow(["metadata", "name"]).text().to_owned();
    let namespace = |pod: &At<'_>| match pod.follow(["metadata", "namespace"]).text() {
        "" => "default".to_owned(),
        namespace => namespace.to_owned(),
    };
    if !name(pod).is_empty() && name(pod) == name(other) && namespace(pod) == namespace(other) {
        let at = pod.follow(["metadata", "name"]);
        let message = format!(
            "`{other_file}` has a pod of this name: of the two, the file that sorts last wins"
        );
        sink.add(Effect::Dropped, "same-pod", &at, message, "give each pod its own name");
    }
}

fn same_uid(pod: &At<'_>, other: &At<'_>, other_file: &str, sink: &mut Sink<'_>) {
    let uid = |pod: &At<'_>| pod.follow(["metadata", "uid"]).text().to_owned();
    if !uid(pod).is_empty() && uid(pod) == uid(other) {
        let at = pod.follow(["metadata", "uid"]);
        let message = format!("`{other_file}` has a pod of this uid: the two become one");
        sink.add(Effect::Dropped, "same-uid", &at, message, "remove it: the kubelet sets one");
    }
}

/// The ports of the host that a pod holds as long as it runs.
fn held<'t>(pod: &At<'t>) -> Vec<(HostPort<'t>, Place, String)> {
    let spec = pod.get("spec");
    let running = containers(&spec).into_iter().filter(|(role, _)| *role != Role::Init);
    let ports = running.flat_map(|(_, container)| host_ports_of(&container, &spec));
    ports.map(|(port, at)| (port, at.place, at.path)).collect()
}

fn same_ports(pod: &At<'_>, other: &At<'_>, other_file: &str, sink: &mut Sink<'_>) {
    let taken = held(other);
    for (port, place, path) in held(pod) {
        let clashes = taken.iter().any(|(other, _, _)| {
            let any = |ip: &str| matches!(ip, "" | "0.0.0.0");
            other.number == port.number
                && other.protocol == port.protocol
                && (any(other.ip) || any(port.ip) || other.ip == port.ip)
        });
        if clashes {
            let message = format!(
                "port {} ({}) of the host is taken by the pod in `{other_file}`",
                port.number, port.protocol
            );
            let remedy = "choose another port, or another `hostIP`";
            sink.at(Effect::NotAdmitted, "host-port", place, &path, message, remedy);
        }
    }
}
