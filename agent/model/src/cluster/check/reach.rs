//! Where haproxy listens and where it sends clients: addresses that somebody has, and no way back into itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::machines::is_one_machine;
use crate::cluster::resolve::API_FRONTEND;
use crate::decode::Located;
use crate::input::{ClusterInput, HaproxyInput};
use crate::names::Endpoint;
use crate::report::Report;

pub(super) fn check(input: &ClusterInput, haproxy: &HaproxyInput, report: &mut Report) {
    for frontend in &haproxy.frontends {
        for bind in &frontend.binds {
            self::bind(input, bind, report);
        }
        let binds: Vec<SocketAddr> = frontend.binds.iter().map(|bind| bind.value.0).collect();
        for server in &frontend.servers {
            let path = format!("{}.address", server.path);
            self::server(input, haproxy, &binds, server.address.0, server.place, &path, report);
        }
    }
    let is_listed = haproxy.frontends.iter().any(|item| item.name.as_str() == API_FRONTEND);
    if is_listed {
        return;
    }
    let port = u16::try_from(input.api.port.0).unwrap_or_default();
    let addresses = input.api.virtual_addresses.iter();
    let binds: Vec<SocketAddr> = addresses.map(|item| (item.value, port).into()).collect();
    for server in &input.api.servers {
        self::server(input, haproxy, &binds, server.value.0, server.place, &server.path, report);
    }
}

/// haproxy may bind addresses that the node does not have at the moment, so that it is ready when a virtual address
/// comes; an address that never comes would be no error there.
fn bind(input: &ClusterInput, bind: &Located<Endpoint>, report: &mut Report) {
    let address = bind.value.0.ip();
    let is_everywhere = address.is_unspecified() || address.is_loopback();
    let is_known = ["nodes", "api", "keepalived"].iter().all(|part| report.is_whole(part));
    if !is_known || is_everywhere || is_virtual(input, address) || is_own(input, address, |_| true)
    {
        return;
    }
    report
        .error(bind.place, &bind.path, format!("no node has the address `{address}`"))
        .hint("listen on a virtual address, an address of a node, `0.0.0.0` or `[::]`");
}

/// Clients that are sent back to where they came from go round until no connection is left.
fn server(
    input: &ClusterInput,
    haproxy: &HaproxyInput,
    binds: &[SocketAddr],
    server: SocketAddr,
    place: crate::report::Place,
    path: &str,
    report: &mut Report,
) {
    let is_link_local =
        matches!(server.ip(), IpAddr::V6(address) if address.is_unicast_link_local());
    if !is_one_machine(server.ip()) || is_link_local {
        let message =
            format!("`{}` is not an address that a server can be reached by", server.ip());
        report.error(place, path, message);
        return;
    }
    let monitor = u16::try_from(haproxy.monitor_port.0).unwrap_or_default();
    let is_monitor = server.port() == monitor && server.ip().to_canonical() == Ipv4Addr::LOCALHOST;
    if is_monitor && report.is_whole("haproxy.monitor_port") {
        let message =
            format!("`{server}` is haproxy's own monitor, which nobody is to reach but the node");
        report.error(place, path, message).hint(
            "let a scraper on the node ask for `/metrics` there, or carry what another program offers",
        );
        return;
    }
    let runs_haproxy = |role: &str| haproxy.roles.iter().any(|item| item.value.as_str() == role);
    let is_here = || {
        server.ip().is_loopback()
            || is_virtual(input, server.ip())
            || is_own(input, server.ip(), runs_haproxy)
    };
    let leads_back = |bind: &SocketAddr| {
        bind.port() == server.port()
            && bind.is_ipv4() == server.is_ipv4()
            && (bind.ip() == server.ip() || (bind.ip().is_unspecified() && is_here()))
    };
    if binds.iter().any(leads_back) {
        report
            .error(place, path, format!("`{server}` is where haproxy itself listens for it"))
            .hint("name the servers by their own addresses, and listen on another port there");
    }
}

fn is_virtual(input: &ClusterInput, address: IpAddr) -> bool {
    let instances = input.keepalived.iter().flat_map(|keepalived| &keepalived.instances);
    let moved = instances.flat_map(|instance| &instance.virtual_addresses);
    input.api.virtual_addresses.iter().chain(moved).any(|item| item.value == address)
}

/// Whether a node of one of these roles has the address.
fn is_own(input: &ClusterInput, address: IpAddr, has_role: impl Fn(&str) -> bool) -> bool {
    let nodes = input.nodes.iter().filter(|node| has_role(node.role.as_str()));
    let mut addresses =
        nodes.flat_map(|node| &node.interfaces).flat_map(|interface| &interface.addresses);
    addresses.any(|own| own.address() == address)
}
