//! `deploy` of a service.

use super::super::draft::Draft;
use super::super::notes::{At, Notes};
use super::super::options::apply;
use super::super::values::cpus;
use super::fields::DEPLOY;
use super::tree::Node;
use super::{at, known, simple};

/// Reads `deploy`. False: the service is a job, of which no pod is made.
pub(super) fn read(draft: &mut Draft, path: &str, node: &Node, notes: &mut Notes) -> bool {
    let mut is_kept = true;
    for entry in node.entries() {
        let path = format!("{path}.{}", entry.key);
        let at = at(entry, &path);
        let Some(field) = known(DEPLOY, entry, &at, notes) else { continue };
        match (entry.key.as_str(), entry.node.text()) {
            ("mode", Some(mode)) if mode.ends_with("-job") => {
                let message = "a job is no static pod, which the kubelet runs again whenever it starts: no pod is made";
                notes.broken(
                    &at,
                    message,
                    "run it as a unit of systemd, with the node's Butane config",
                );
                is_kept = false;
            }
            ("mode", _) => notes.carried(&at, "each node that has the role runs one pod"),
            ("replicas", Some(count)) => is_kept &= replicas(count, &at, notes),
            ("resources", _) => resources(draft, &path, &entry.node, notes),
            ("restart_policy", _) => restart(draft, &path, &entry.node, notes),
            _ => simple(field, &at, notes),
        }
    }
    is_kept
}

/// How many pods there are to be. False: none.
pub(super) fn replicas(count: &str, at: &At, notes: &mut Notes) -> bool {
    match count {
        "1" => notes.carried(at, "each node that has the role runs one pod"),
        "0" => notes.lost(
            at,
            "a service of which none is wanted: no pod is made",
            "remove it where the pod has to run",
        ),
        _ => notes.lost(
            at,
            "each node that has the role runs one pod",
            "give the role to as many nodes, or copy the manifest under other names and ports",
        ),
    }
    count != "0"
}

fn resources(draft: &mut Draft, path: &str, node: &Node, notes: &mut Notes) {
    for kind in node.entries() {
        let path = format!("{path}.{}", kind.key);
        let is_limit = kind.key == "limits";
        if !is_limit && kind.key != "reservations" {
            notes.invalid(&at(kind, &path), "it is neither `limits` nor `reservations`", None);
            continue;
        }
        for entry in kind.node.entries() {
            let at = at(entry, &format!("{path}.{}", entry.key));
            match (entry.key.as_str(), entry.node.text(), is_limit) {
                ("cpus", Some(value), true) => apply(draft, "cpus", value, &at, notes),
                ("memory", Some(value), true) => apply(draft, "memory", value, &at, notes),
                ("pids", Some(value), true) => apply(draft, "pids-limit", value, &at, notes),
                ("memory", Some(value), false) => {
                    apply(draft, "memory-reservation", value, &at, notes)
                }
                ("cpus", Some(value), false) => match cpus(value) {
                    Some(value) => {
                        draft.set("resources.requests.cpu", value);
                        notes.carried(&at, "as `resources.requests.cpu`");
                    }
                    None => notes.invalid(&at, "it is no amount", None),
                },
                ("devices" | "generic_resources", _, false) => notes.lost(
                    &at,
                    "devices of this kind come from a device plugin, which needs the API",
                    "mount its devices",
                ),
                _ => notes.invalid(&at, "compose files have no such field here", None),
            }
        }
    }
}

fn restart(draft: &mut Draft, path: &str, node: &Node, notes: &mut Notes) {
    // What is not said is `any`.
    if node.get("condition").is_none() {
        draft.restart = Some(super::super::draft::Restart::Always);
    }
    for entry in node.entries() {
        let at = at(entry, &format!("{path}.{}", entry.key));
        match (entry.key.as_str(), entry.node.text()) {
            ("condition", Some(condition @ ("any" | "on-failure" | "none"))) => {
                let policy = match condition {
                    "any" => "always",
                    "none" => "no",
                    other => other,
                };
                apply(draft, "restart", policy, &at, notes);
            }
            ("delay" | "window", Some(_)) => {
                notes.carried(&at, "the kubelet waits ten seconds, then twice as long each time");
            }
            ("max_attempts", Some(_)) => notes.lost(
                &at,
                "the kubelet goes on starting the container, only ever more seldom",
                "watch the pod's restarts",
            ),
            _ => notes.invalid(&at, "it is no restart policy of compose files", None),
        }
    }
}
