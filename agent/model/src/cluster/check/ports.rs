//! Ports: no two programs of a node on one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::cluster::resolve::{LOCAL_FRONTEND, frontends};
use crate::decode::Located;
use crate::input::ClusterInput;
use crate::names::RoleName;
use crate::report::{Place, Report};

/// What listens on every node besides pods.
const NODE_PORTS: [(&str, u16); 3] =
    [("sshd", 22), ("the kubelet's healthz", 10248), ("the kubelet", 10250)];

struct Listener<'a> {
    what: String,
    address: SocketAddr,
    place: Place,
    path: &'a str,
}

/// Whether both can listen: a port is taken for one address, or for every address of the family.
fn clash(a: &SocketAddr, b: &SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && same_family && overlap
}

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    for role in input.roles.keys() {
        role_ports(input, role, report);
    }
}

fn role_ports(input: &ClusterInput, role: &RoleName, report: &mut Report) {
    let runs = |roles: &[Located<RoleName>]| roles.iter().any(|item| item.value == *role);
    let loopback = |port: u32| {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), u16::try_from(port).unwrap_or_default())
    };
    let mut listeners: Vec<Listener<'_>> = Vec::new();
    for (what, port) in NODE_PORTS {
        for every in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let address = SocketAddr::new(every, port);
            let what = what.to_owned();
            listeners.push(Listener { what, address, place: Place::START, path: "" });
        }
    }
    if let Some(haproxy) = input.haproxy.as_ref().filter(|haproxy| runs(&haproxy.roles)) {
        for frontend in frontends(input, haproxy, role) {
            let written = haproxy.frontends.iter().find(|item| item.name.value == frontend.name);
            for (index, bind) in frontend.binds.iter().enumerate() {
                let (place, path) = match written.and_then(|item| item.binds.get(index)) {
                    Some(bind) => (bind.place, bind.path.as_str()),
                    None if frontend.name.as_str() == LOCAL_FRONTEND => {
                        let port = input.kubernetes.as_ref().map(|item| item.local_port.place);
                        (port.unwrap_or(Place::START), "kubernetes.local_port")
                    }
                    None => (
                        input
                            .api
                            .virtual_addresses
                            .get(index)
                            .map_or(Place::START, |address| address.place),
                        "api",
                    ),
                };
                listeners.push(Listener {
                    what: format!("frontend `{}`", frontend.name),
                    address: bind.0,
                    place,
                    path,
                });
            }
        }
        let port = &haproxy.monitor_port;
        let what = "haproxy's monitor".to_owned();
        let is_known = report.is_whole("haproxy.monitor_port");
        listeners.extend(is_known.then_some(Listener {
            what,
            address: loopback(port.0),
            place: port.place,
            path: "haproxy.monitor_port",
        }));
        let port = &haproxy.witness_port;
        let instances = input.keepalived.iter().flat_map(|keepalived| &keepalived.instances);
        let moves = instances.into_iter().any(|item| item.priorities.contains_key(role));
        let is_known = moves && report.is_whole("haproxy.witness_port");
        // Which addresses of a node it listens on is each node's own matter.
        let every = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        listeners.extend(every.into_iter().filter(|_| is_known).map(|every| Listener {
            what: "haproxy's witness of virtual addresses".to_owned(),
            address: SocketAddr::new(every, u16::try_from(port.0).unwrap_or_default()),
            place: port.place,
            path: "haproxy.witness_port",
        }));
    }
    if let Some(agent) = input.vault_agent.as_ref().filter(|agent| runs(&agent.roles)) {
        let port = &agent.metrics_port;
        let what = "vault-agent's metrics".to_owned();
        let is_known = report.is_whole("vault_agent.metrics_port");
        listeners.extend(is_known.then_some(Listener {
            what,
            address: loopback(port.0),
            place: port.place,
            path: "vault_agent.metrics_port",
        }));
    }
    for (index, later) in listeners.iter().enumerate() {
        if let Some(earlier) =
            listeners[..index].iter().find(|earlier| clash(&earlier.address, &later.address))
        {
            let message = format!(
                "on nodes of the role `{role}`, {} and {} both listen on port {}",
                earlier.what,
                later.what,
                later.address.port()
            );
            // A default stands nowhere: what was written beside it is what a person can change.
            let written = if later.place == Place::START { earlier } else { later };
            report.error(written.place, written.path, message);
        }
    }
}
