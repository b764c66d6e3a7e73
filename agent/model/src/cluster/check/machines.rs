//! Machines: names, Ethernet addresses, IP addresses, and interfaces that fit onto each other.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Item, unique, vlans};
use crate::decode::Located;
use crate::input::{ClusterInput, InterfaceInput, NodeInput};
use crate::names::{Cidr, InterfaceName};
use crate::report::Report;

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    if input.nodes.is_empty() && report.is_whole("nodes") {
        report.error(report.place_of("nodes"), "nodes", "a cluster needs at least one node");
    }
    let interfaces = || input.nodes.iter().flat_map(|node| &node.interfaces);
    unique("node name", input.nodes.iter().map(|node| Item::of(&node.name)), report);
    unique(
        "Ethernet address",
        interfaces().filter_map(|interface| interface.mac.as_ref()).map(Item::of),
        report,
    );
    // Two prefix lengths do not make one address two.
    let addresses = interfaces().flat_map(|interface| &interface.addresses);
    unique(
        "address",
        addresses.map(|cidr| Item {
            key: cidr.address().to_string(),
            place: cidr.place,
            path: &cidr.path,
        }),
        report,
    );
    for node in &input.nodes {
        self::node(node, report);
        vlans::check(node, report);
        name_servers(input, node, report);
    }
    let own_servers = input.nodes.iter().flat_map(|node| &node.dns_servers);
    for server in input.dns_servers.iter().chain(own_servers) {
        if !is_one_machine(server.value) {
            let message = format!("`{}` is not the address of a name server", server.value);
            report.error(server.place, &server.path, message);
        }
    }
}

/// Whether an address can be that of one machine: not of all, of a group or of none.
pub(super) fn is_one_machine(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

/// A name server is asked from an address of its own family.
fn name_servers(input: &ClusterInput, node: &Located<NodeInput>, report: &mut Report) {
    let own = &node.dns_servers;
    for server in if own.is_empty() { &input.dns_servers } else { own } {
        if !is_one_machine(server.value) {
            continue;
        }
        let mut addresses = node.interfaces.iter().flat_map(|interface| &interface.addresses);
        let is_reached = addresses.any(|own| own.address().is_ipv4() == server.is_ipv4());
        if !is_reached && report.is_whole(&node.path) {
            let message =
                format!("node `{}` has no address of the family of `{}`", *node.name, server.value);
            report.error(server.place, &server.path, message).hint(
                "give the node such an address, or name servers of its own with `dns_servers`",
            );
        }
    }
}

fn node(node: &Located<NodeInput>, report: &mut Report) {
    unique("interface", node.interfaces.iter().map(|interface| Item::of(&interface.name)), report);
    let is_whole = report.is_whole(&node.path);
    if is_whole && node.interfaces.iter().all(|interface| interface.addresses.is_empty()) {
        report.error(
            node.place,
            format!("{}.interfaces", node.path),
            "no interface has an address",
        );
    }
    if is_whole && node.interfaces.iter().all(|interface| interface.mac.is_none()) {
        report.error(
            node.place,
            format!("{}.interfaces", node.path),
            "no interface has a `mac`, so the machine cannot be told apart at boot",
        );
    }
    let mut port_of: BTreeMap<&InterfaceName, &InterfaceName> = BTreeMap::new();
    let mut default_route: [Option<&InterfaceName>; 2] = [None, None];
    for interface in &node.interfaces {
        kind(interface, report);
        addresses(interface, report);
        if let Some(bond) = &interface.bond {
            ports(node, interface, &bond.ports, &mut port_of, report);
        }
        if let Some(vlan) = &interface.vlan {
            refers(node, interface, &vlan.parent, "carries it", report);
        }
        for gateway in &interface.gateways {
            let family = usize::from(gateway.is_ipv6());
            if let Some(first) = default_route[family].replace(&interface.name.value) {
                let message =
                    format!("`{first}` already has a default gateway of this address family");
                report.error(gateway.place, &gateway.path, message);
            }
        }
    }
    for interface in &node.interfaces {
        if let (Some(bond), false) =
            (port_of.get(&interface.name.value), interface.addresses.is_empty())
        {
            let message =
                format!("`{}` is a port of `{bond}` and cannot have addresses", *interface.name);
            report
                .error(interface.place, &interface.path, message)
                .hint(format!("give them to `{bond}`"));
        }
    }
}

fn kind(interface: &Located<InterfaceInput>, report: &mut Report) {
    let kinds = [interface.mac.is_some(), interface.bond.is_some(), interface.vlan.is_some()];
    let count = kinds.iter().filter(|is_set| **is_set).count();
    if count > 1 || (count == 0 && report.is_whole(&interface.path)) {
        report.error(
            interface.place,
            &interface.path,
            "exactly one of `mac`, `bond` and `vlan` is wanted",
        );
    }
}

fn addresses(interface: &Located<InterfaceInput>, report: &mut Report) {
    for own in &interface.addresses {
        // A network of all addresses would take the place of every route.
        let is_everything = own.value.0.prefix_len() == 0;
        let is_usable = is_one_machine(own.address()) && !own.address().is_loopback();
        if !is_usable || is_everything || is_of_all(own.value, own.address()) {
            let message = format!("`{}` is not an address that a machine can have", own.value);
            report
                .error(own.place, &own.path, message)
                .hint("write the machine's own address with the prefix length of its network");
        }
    }
    for gateway in &interface.gateways {
        let is_link_local =
            matches!(gateway.value, IpAddr::V6(address) if address.is_unicast_link_local());
        let is_reached = interface.addresses.iter().any(|own| own.contains(gateway.value));
        if !is_link_local && !is_reached && report.is_whole(&interface.path) {
            let message = format!(
                "the gateway `{}` is in no network of `{}`",
                gateway.value, *interface.name
            );
            report.error(gateway.place, &gateway.path, message);
        }
        if interface.addresses.iter().any(|own| own.address() == gateway.value) {
            report.error(gateway.place, &gateway.path, "the gateway is the machine's own address");
        }
    }
}

/// Whether `address` stands for the whole network of `own`, or for all machines in it.
pub(super) fn is_of_all(own: Cidr, address: IpAddr) -> bool {
    let network = own.0;
    // Two machines on a line have a network without either (RFC 3021).
    let has_both = network.max_prefix_len() - network.prefix_len() >= 2;
    address.is_ipv4()
        && has_both
        && (network.network() == address || network.broadcast() == address)
}

fn ports<'n>(
    node: &'n Located<NodeInput>,
    bond: &'n Located<InterfaceInput>,
    ports: &'n [Located<InterfaceName>],
    port_of: &mut BTreeMap<&'n InterfaceName, &'n InterfaceName>,
    report: &mut Report,
) {
    if ports.is_empty() && report.is_whole(&bond.path) {
        report.error(
            bond.place,
            format!("{}.bond.ports", bond.path),
            "a bond needs at least one port",
        );
    }
    for port in ports {
        refers(node, bond, port, "is its port", report);
        if let Some(other) = port_of.insert(&port.value, &bond.name.value) {
            report.error(
                port.place,
                &port.path,
                format!("`{}` is already a port of `{other}`", port.value),
            );
        }
        let target = node.interfaces.iter().find(|interface| interface.name.value == port.value);
        if target.is_some_and(|target| target.mac.is_none() && report.is_whole(&target.path)) {
            report.error(port.place, &port.path, format!("`{}` is not a network card", port.value));
        }
    }
}

/// Whether the interface that `bond` or VLAN stands on exists.
fn refers(
    node: &Located<NodeInput>,
    upper: &InterfaceInput,
    lower: &Located<InterfaceName>,
    relation: &str,
    report: &mut Report,
) {
    if lower.value == upper.name.value {
        report.error(lower.place, &lower.path, "an interface cannot stand on itself");
        return;
    }
    let is_there = node.interfaces.iter().any(|interface| interface.name.value == lower.value);
    if !is_there && report.is_whole(&node.path) {
        let message =
            format!("there is no interface `{}` on this node that {relation}", lower.value);
        let names: Vec<&str> =
            node.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        let finding = report.error(lower.place, &lower.path, message);
        if let Some(name) = crate::decode::closest(lower.as_str(), names) {
            finding.hint(format!("did you mean `{name}`?"));
        }
    }
}
