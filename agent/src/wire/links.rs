//! On which interface an address is: the model names the one of the day of the build, and hosts move on.
//!
//! An interface that becomes the port of a bridge loses its address to the bridge, and keepalived on the port would
//! wait for it for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::IpAddr;

use basalt_model::names::InterfaceName;
use basalt_model::node::Node;
use futures_util::StreamExt as _;
use futures_util::stream::LocalBoxStream;
use nix::ifaddrs::getifaddrs;
use rtnetlink::MulticastGroup;
use serde::Serialize;

/// Interfaces with the addresses they have.
pub(crate) type Addresses = BTreeSet<(String, IpAddr)>;

/// On which interface each own address is, or was when it was last seen: while it is nowhere, nothing has moved.
pub(crate) type Interfaces = BTreeMap<IpAddr, String>;

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

/// Notes where addresses are now. One in several places stays where it was.
pub(crate) fn learn(interfaces: &mut Interfaces, addresses: &Addresses) {
    for (name, address) in addresses {
        let is_it = |other: &&(String, IpAddr)| other.1 == *address;
        if addresses.iter().filter(is_it).count() == 1 {
            interfaces.insert(*address, name.clone());
        }
    }
}

/// The node with each VRRP instance on the interface that has its source address, and which ones that changed. For an
/// address that was never seen, keepalived waits where the model says.
pub(crate) fn relocated(node: &Node, interfaces: &Interfaces) -> (Node, Vec<Moved>) {
    let mut node = node.clone();
    let mut moved = Vec::new();
    for instance in node.keepalived.iter_mut().flat_map(|keepalived| &mut keepalived.instances) {
        let Some(name) = interfaces.get(&instance.source) else { continue };
        if name == instance.interface.as_str() {
            continue;
        }
        // The kernel takes names that the model does not; keepalived's config could not say them.
        let Ok(to) = InterfaceName::try_from(name.clone()) else { continue };
        let from = std::mem::replace(&mut instance.interface, to.clone());
        moved.push(Moved { instance: instance.name.to_string(), from, to });
    }
    (node, moved)
}

/// Tells when this machine's addresses change.
pub(crate) struct Watch {
    messages: LocalBoxStream<'static, ()>,
    last: Addresses,
}

impl Watch {
    /// Needs a runtime, for as long as it lives.
    pub(crate) fn new() -> io::Result<Watch> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        Ok(Watch { messages: messages.map(drop).boxed_local(), last: addresses()? })
    }

    /// Waits until they are others. Safe to cancel.
    pub(crate) async fn changed(&mut self) {
        while self.messages.next().await.is_some() {
            let Ok(now) = addresses() else { continue };
            if now != self.last {
                self.last = now;
                return;
            }
        }
        // The kernel tells no more; the timer still works.
        pending().await
    }
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
        let mut interfaces = Interfaces::new();
        learn(&mut interfaces, &addresses);
        // What goes away was there all the same.
        learn(&mut interfaces, &Addresses::new());
        let (after, moved) = relocated(&node, &interfaces);
        let moved: Vec<String> =
            moved.iter().map(|m| format!("{} {} {}", m.instance, m.from, m.to)).collect();
        assert_eq!(moved, expected);
        assert_eq!(after == node, expected.is_empty());
    }

    #[test]
    fn an_instance_follows_its_address() {
        check(&[], &[]);
        check(&[("bond0", "192.0.2.11")], &[]);
        check(&[("br-ex", "192.0.2.11"), ("lo", "127.0.0.1")], &["api-ipv4 bond0 br-ex"]);
        check(&[("br-ex", "192.0.2.11"), ("bond0", "192.0.2.11")], &[]);
        check(&[("no such name, in a model", "192.0.2.11")], &[]);
    }

    #[test]
    fn this_machine_has_loopback() {
        let loopback = ("lo".to_owned(), "127.0.0.1".parse().unwrap());
        assert!(addresses().unwrap().contains(&loopback));
    }
}
