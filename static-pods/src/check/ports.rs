//! Which of a node's pods want the same port of the host.

use std::net::IpAddr;

use super::{Manifest, items, text};
use crate::Finding;

pub(super) fn clashes(manifests: &[Manifest], findings: &mut Vec<Finding>) {
    let listeners: Vec<Listener<'_>> = manifests.iter().flat_map(listeners).collect();
    for (index, listener) in listeners.iter().enumerate() {
        if let Some(first) = listeners[..index].iter().find(|first| first.clashes_with(listener)) {
            let message = format!("port {} is already taken by {}", listener.port, first.place);
            findings.push(Finding { place: listener.place.clone(), message });
        }
    }
}

/// A place that a pod listens at. Without an address it is every address of both families.
struct Listener<'a> {
    place: String,
    protocol: &'a str,
    address: Option<IpAddr>,
    port: u64,
}

impl Listener<'_> {
    /// Two sockets clash on one address, or where one of them takes every address of the family. (The sockets for
    /// `::` are IPv6 only.)
    fn clashes_with(&self, other: &Self) -> bool {
        let addresses_meet = match (self.address, other.address) {
            (Some(a), Some(b)) => {
                a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
            }
            (None, _) | (_, None) => true,
        };
        self.port == other.port && self.protocol == other.protocol && addresses_meet
    }
}

fn listeners(manifest: &Manifest) -> Vec<Listener<'_>> {
    let containers = items(&manifest.value["spec"]["containers"]).iter().enumerate();
    let ports = containers.flat_map(|(container_index, container)| {
        let ports = items(&container["ports"]).iter().enumerate();
        ports.map(move |(port_index, port)| Listener {
            place: format!(
                "{}: spec.containers[{container_index}].ports[{port_index}]",
                manifest.file
            ),
            protocol: port["protocol"].as_str().unwrap_or("TCP"),
            address: text(&port["hostIP"]).parse().ok(),
            port: port["containerPort"].as_u64().unwrap_or(0),
        })
    });
    ports.collect()
}
