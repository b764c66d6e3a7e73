//! What is on the network already: takes VRRP instances and what was heard, gives conflicts.
//!
//! Two routers under one virtual router identifier take the address from each other for ever, and an address that
//! somebody else has answers from two places. Neither shows in any file. So before keepalived starts for the first
//! time, the node listens for adverts and asks who has the addresses: [`hear`](hear::hear) does, [`conflicts`] decides.

pub(crate) mod advert;
pub(crate) mod hear;
pub(crate) mod links;
pub(crate) mod neighbours;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use basalt_model::node::VrrpInstance;
use serde::{Deserialize, Serialize};

use self::advert::Advert;

/// A link-layer address, as `52:54:00:00:02:01`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct HardwareAddress(pub(crate) String);

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Adverts of others.
    pub(crate) adverts: Vec<Advert>,
    /// Who answered for the addresses that were asked for, the node's own left out.
    pub(crate) neighbours: BTreeMap<IpAddr, HardwareAddress>,
}

/// Somebody else has what an instance needs for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Conflict {
    /// A router that is no peer speaks under the instance's identifier.
    Router {
        instance: String,
        virtual_router_id: u8,
        source: IpAddr,
        hardware: Option<HardwareAddress>,
        addresses: Vec<IpAddr>,
    },
    /// A router advertises one of the instance's addresses under another identifier.
    Advertised {
        instance: String,
        address: IpAddr,
        virtual_router_id: u8,
        source: IpAddr,
        hardware: Option<HardwareAddress>,
    },
    /// A machine that is no peer answers for one of the instance's addresses.
    Held { instance: String, address: IpAddr, hardware: HardwareAddress },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |hardware: &Option<HardwareAddress>| {
            hardware.as_ref().map_or_else(String::new, |hardware| format!(" ({hardware})"))
        };
        match self {
            Conflict::Router { instance, virtual_router_id, source, hardware, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "virtual router {virtual_router_id} of `{instance}` is used by {source}{}, which is no peer, for {}",
                    of(hardware),
                    addresses.join(", ")
                )
            }
            Conflict::Advertised { instance, address, virtual_router_id, source, hardware } => {
                write!(
                    f,
                    "{address} of `{instance}` is advertised by {source}{} as virtual router {virtual_router_id}",
                    of(hardware)
                )
            }
            Conflict::Held { instance, address, hardware } => {
                write!(f, "{address} of `{instance}` is held by {hardware}, which is no peer")
            }
        }
    }
}

impl Conflict {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Conflict::Router { .. } => {
                "give the instance another `virtual_router_id`, or list that machine among its peers"
            }
            Conflict::Advertised { .. } | Conflict::Held { .. } => {
                "take the address away from that machine, or choose another virtual address"
            }
        }
    }
}

/// What of `heard` is in the way of `instances`.
pub(crate) fn conflicts(instances: &[VrrpInstance], heard: &Heard) -> Vec<Conflict> {
    let mut found: Vec<Conflict> =
        instances.iter().flat_map(|instance| of_instance(instance, heard)).collect();
    found.sort();
    found.dedup();
    found
}

fn of_instance(instance: &VrrpInstance, heard: &Heard) -> Vec<Conflict> {
    let name = instance.name.to_string();
    let own: Vec<IpAddr> = instance.virtual_addresses.iter().map(|cidr| cidr.address()).collect();
    let is_peer =
        |address: &IpAddr| *address == instance.source || instance.peers.contains(address);
    let hardware_of = |address: &IpAddr| heard.neighbours.get(address).cloned();
    let mut found = Vec::new();
    for advert in &heard.adverts {
        if advert.source.is_ipv4() != instance.source.is_ipv4() {
            continue;
        }
        if advert.virtual_router_id == instance.virtual_router_id {
            if !is_peer(&advert.source) {
                found.push(Conflict::Router {
                    instance: name.clone(),
                    virtual_router_id: advert.virtual_router_id,
                    source: advert.source,
                    hardware: hardware_of(&advert.source),
                    addresses: advert.addresses.clone(),
                });
            }
            continue;
        }
        found.extend(own.iter().filter(|address| advert.addresses.contains(address)).map(
            |address| Conflict::Advertised {
                instance: name.clone(),
                address: *address,
                virtual_router_id: advert.virtual_router_id,
                source: advert.source,
                hardware: hardware_of(&advert.source),
            },
        ));
    }
    // A peer that holds the address answers for it from the same interface as for its own.
    let peers: Vec<HardwareAddress> = instance.peers.iter().filter_map(hardware_of).collect();
    found.extend(own.iter().filter_map(|address| {
        let hardware = hardware_of(address).filter(|hardware| !peers.contains(hardware))?;
        Some(Conflict::Held { instance: name.clone(), address: *address, hardware })
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> VrrpInstance {
        serde_json::from_value(serde_json::json!({
            "name": "api", "virtual_router_id": 51, "priority": 100, "interface": "eth0",
            "advert_interval_seconds": 1, "source": "192.0.2.11", "peers": ["192.0.2.12"],
            "virtual_addresses": ["192.0.2.10/24"], "track_interfaces": [],
        }))
        .unwrap()
    }

    fn advert(id: u8, source: &str, address: &str) -> Advert {
        Advert {
            source: source.parse().unwrap(),
            virtual_router_id: id,
            priority: 100,
            addresses: vec![address.parse().unwrap()],
        }
    }

    #[track_caller]
    fn check(adverts: &[Advert], neighbours: &[(&str, &str)], expected: &[&str]) {
        let neighbour = |(address, hardware): &(&str, &str)| {
            (address.parse().unwrap(), HardwareAddress((*hardware).to_owned()))
        };
        let heard = Heard {
            adverts: adverts.to_vec(),
            neighbours: neighbours.iter().map(neighbour).collect(),
        };
        let found: Vec<String> =
            conflicts(&[instance()], &heard).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_quiet_wire_is_no_conflict() {
        check(&[], &[], &[]);
        check(&[], &[("192.0.2.12", "aa:00")], &[]);
    }

    #[test]
    fn a_peer_may_speak_and_hold() {
        let peer = advert(51, "192.0.2.12", "192.0.2.10");
        check(&[peer], &[("192.0.2.12", "aa:00"), ("192.0.2.10", "aa:00")], &[]);
        // Our own, from a keepalived that still runs.
        check(&[advert(51, "192.0.2.11", "192.0.2.10")], &[], &[]);
    }

    #[test]
    fn a_stranger_under_the_same_identifier_is_named() {
        check(
            &[advert(51, "192.0.2.77", "198.51.100.1"), advert(51, "192.0.2.77", "198.51.100.1")],
            &[("192.0.2.77", "aa:77")],
            &[
                "virtual router 51 of `api` is used by 192.0.2.77 (aa:77), which is no peer, for 198.51.100.1",
            ],
        );
        // Another address family is another virtual router (RFC 9568, section 5.2.3).
        check(&[advert(51, "2001:db8::77", "2001:db8::10")], &[], &[]);
        check(&[advert(52, "192.0.2.77", "198.51.100.1")], &[], &[]);
    }

    #[test]
    fn the_address_belongs_to_one_router() {
        check(
            &[advert(9, "192.0.2.12", "192.0.2.10")],
            &[],
            &["192.0.2.10 of `api` is advertised by 192.0.2.12 as virtual router 9"],
        );
        check(
            &[],
            &[("192.0.2.10", "aa:77"), ("192.0.2.12", "aa:00")],
            &["192.0.2.10 of `api` is held by aa:77, which is no peer"],
        );
    }
}
