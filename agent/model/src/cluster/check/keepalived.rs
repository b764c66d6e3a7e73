//! keepalived: instances that two nodes at least can run, with addresses that can move between them.

use super::haproxy::virtual_address;
use super::{Item, unique};
use crate::cluster::resolve::{interface_towards, participants};
use crate::decode::{Located, closest};
use crate::input::{ClusterInput, VrrpInstanceInput};
use crate::names::RoleName;
use crate::report::Report;

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    unmoved(input, report);
    let Some(keepalived) = &input.keepalived else { return };
    let instances = &keepalived.instances;
    if instances.is_empty() && report.is_whole("keepalived") {
        let path = "keepalived.instances";
        report
            .error(report.place_of(path), path, "keepalived needs at least one instance")
            .hint("add one, or remove the section");
    }
    unique("instance", instances.iter().map(|instance| Item::of(&instance.name)), report);
    let router_ids = instances.iter().map(|instance| {
        let id = &instance.virtual_router_id;
        Item { key: id.0.to_string(), place: id.place, path: &id.path }
    });
    unique("VRID", router_ids, report);
    unique(
        "virtual address",
        instances.iter().flat_map(|instance| &instance.virtual_addresses).map(Item::of),
        report,
    );
    for item in instances {
        instance(input, item, report);
    }
}

/// Virtual addresses of the API that no node will ever hold, unless somebody else sees to it.
fn unmoved(input: &ClusterInput, report: &mut Report) {
    let instances = || input.keepalived.iter().flat_map(|keepalived| &keepalived.instances);
    for address in &input.api.virtual_addresses {
        let mut moved = instances().flat_map(|instance| &instance.virtual_addresses);
        let is_moved = moved.any(|moved| moved.value == address.value);
        if !is_moved && report.is_whole("keepalived") {
            let message = format!("no keepalived instance moves `{}`", address.value);
            let hint = match input.keepalived {
                Some(_) => "add it to an instance of its address family",
                None => {
                    "add the section `keepalived`, unless something outside the cluster does it"
                }
            };
            report.warning(address.place, &address.path, message).hint(hint);
        }
    }
}

/// Interfaces that count are there: one that a node does not have could never be up.
fn tracked(input: &ClusterInput, instance: &VrrpInstanceInput, report: &mut Report) {
    unique("interface", instance.track_interfaces.iter().map(Item::of), report);
    for name in &instance.track_interfaces {
        for node in participants(input, instance) {
            let has_it = node.interfaces.iter().any(|own| own.name.value == name.value);
            if !has_it && report.is_whole(&node.path) {
                let message = format!(
                    "node `{}` takes part and has no interface `{}`",
                    *node.name, name.value
                );
                report
                    .error(name.place, &name.path, message)
                    .hint("track what all of them have, or make a second instance");
            }
        }
    }
}

fn instance(input: &ClusterInput, instance: &Located<VrrpInstanceInput>, report: &mut Report) {
    peers(input, instance, report);
    priorities(input, instance, report);
    tracked(input, instance, report);
    let Some(first) = instance.virtual_addresses.first() else {
        if !report.is_whole(&instance.path) {
            return;
        }
        report.error(
            instance.place,
            format!("{}.virtual_addresses", instance.path),
            "an instance moves at least one address",
        );
        return;
    };
    for address in &instance.virtual_addresses {
        if address.is_ipv4() != first.is_ipv4() {
            report
                .error(
                    address.place,
                    &address.path,
                    "one VRRP instance carries one address family (RFC 9568)",
                )
                .hint("make a second instance with a VRID of its own");
            continue;
        }
        virtual_address(input, address, report);
        for node in participants(input, instance) {
            let Some((interface, _)) = interface_towards(node, address.value) else {
                if !report.is_whole(&node.path) {
                    continue;
                }
                let message = format!(
                    "node `{}` takes part and has no interface in the network of `{}`",
                    *node.name, address.value
                );
                report.error(address.place, &address.path, message);
                continue;
            };
            if interface_towards(node, first.value).is_some_and(|(first, _)| first != interface) {
                let message = format!(
                    "on node `{}` this address lies behind another interface than `{}`",
                    *node.name, first.value
                );
                report.error(address.place, &address.path, message).hint("make a second instance");
            }
        }
    }
}

/// The highest priority of a node with haproxy: its check adds as much again, so that every node whose haproxy serves
/// beats every one whose does not (RFC 9568 leaves 254 to a check).
const HIGHEST_WITH_HAPROXY: u32 = 127;

fn priorities(input: &ClusterInput, instance: &VrrpInstanceInput, report: &mut Report) {
    let runs_haproxy = |role: &RoleName| {
        input.haproxy.iter().flat_map(|haproxy| &haproxy.roles).any(|item| item.value == *role)
    };
    for (role, priority) in instance.priorities.iter().filter(|(role, _)| runs_haproxy(role)) {
        if priority.0 > HIGHEST_WITH_HAPROXY {
            let message = format!(
                "nodes of the role `{role}` run haproxy, so their priority is at most {HIGHEST_WITH_HAPROXY}"
            );
            report
                .error(priority.place, &priority.path, message)
                .hint("a working haproxy adds 127 to it");
        }
    }
}

fn peers(input: &ClusterInput, instance: &Located<VrrpInstanceInput>, report: &mut Report) {
    for peer in &instance.peers {
        match input.nodes.iter().find(|node| node.name.value == peer.value) {
            None if !report.is_whole("nodes") => {}
            None => {
                let finding = report.error(
                    peer.place,
                    &peer.path,
                    format!("there is no node `{}`", peer.value),
                );
                if let Some(name) =
                    closest(peer.as_str(), input.nodes.iter().map(|node| node.name.as_str()))
                {
                    finding.hint(format!("did you mean `{name}`?"));
                }
            }
            Some(node)
                if !instance.priorities.contains_key(&node.role.value)
                    && report.is_whole(&instance.path) =>
            {
                let message = format!(
                    "node `{}` has the role `{}`, which has no priority here",
                    peer.value, *node.role
                );
                report.error(peer.place, &peer.path, message);
            }
            Some(_) => {}
        }
    }
    unique("peer", instance.peers.iter().map(Item::of), report);
    let count = participants(input, instance).count();
    if count < 2 && report.is_whole("nodes") && report.is_whole(&instance.path) {
        let message = format!("an instance needs at least two nodes, this one has {count}");
        report
            .error(instance.place, &instance.path, message)
            .hint("give a priority to a role with two nodes, or remove the instance");
    }
}
