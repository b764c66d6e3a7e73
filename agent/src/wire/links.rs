//! On which interface an address is: the model names the one of the day of the build, and hosts move on.
//!
//! An interface that becomes the port of a bridge loses its address to the bridge, and keepalived on the port would
//! wait for it for ever.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use basalt_model::names::InterfaceName;
use basalt_model::node::Node;
use nix::ifaddrs::getifaddrs;
use serde::Serialize;

/// Interfaces with the addresses they have.
pub(crate) type Addresses = BTreeSet<(String, IpAddr)>;

/// An instance whose address is on another interface than the model says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Moved {
    pub(crate) instance: String,
    pub(crate) from: InterfaceName,
    pub(crate) to: InterfaceName,
}

/// What this machine has.
pub(crate) fn addresses() -> io::Result<Addresses> {
    let found = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => return None,
        };
        Some((interface.interface_name, ip))
    });
    Ok(found.collect())
}

/// The node with each VRRP instance on the interface that has its source address, and which ones that changed. An
/// address that is nowhere, or in several places, changes nothing: keepalived waits for it where the model says.
pub(crate) fn relocated(node: &Node, addresses: &Addresses) -> (Node, Vec<Moved>) {
    let mut node = node.clone();
    let mut moved = Vec::new();
    for instance in node.keepalived.iter_mut().flat_map(|keepalived| &mut keepalived.instances) {
        let has = |(_, address): &&(String, IpAddr)| *address == instance.source;
        let names: Vec<&str> =
            addresses.iter().filter(has).map(|(name, _)| name.as_str()).collect();
        let [name] = names[..] else { continue };
        if name == instance.interface.as_str() {
            continue;
        }
        // The kernel takes names that the model does not; keepalived's config could not say them.
        let Ok(to) = InterfaceName::try_from(name.to_owned()) else { continue };
        let from = std::mem::replace(&mut instance.interface, to.clone());
        moved.push(Moved { instance: instance.name.to_string(), from, to });
    }
    (node, moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[(&str, &str)], expected: &[&str]) {
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let node = Node::from_json("n1.json", text).unwrap();
        let addresses = addresses
            .iter()
            .map(|(name, address)| ((*name).to_owned(), address.parse().unwrap()))
            .collect();
        let (after, moved) = relocated(&node, &addresses);
        let moved: Vec<String> =
            moved.iter().map(|m| format!("{} {} {}", m.instance, m.from, m.to)).collect();
        assert_eq!(moved, expected);
        assert_eq!(after == node, expected.is_empty());
    }

    #[test]
    fn an_instance_follows_its_address() {
        check(&[], &[]);
        check(&[("eth0", "192.0.2.12")], &[]);
        check(&[("br-ex", "192.0.2.11"), ("lo", "127.0.0.1")], &["api-ipv4 bond0 br-ex"]);
        check(&[("br-ex", "192.0.2.11"), ("eth0", "192.0.2.11")], &[]);
        check(&[("no such name, in a model", "192.0.2.11")], &[]);
    }

    #[test]
    fn this_machine_has_loopback() {
        let loopback = ("lo".to_owned(), "127.0.0.1".parse().unwrap());
        assert!(addresses().unwrap().contains(&loopback));
    }
}
