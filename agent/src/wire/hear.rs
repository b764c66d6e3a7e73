//! Listening for VRRP and asking for addresses, on the interfaces of a node's instances.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use basalt_model::node::VrrpInstance;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn6, recv, recvfrom};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::task::spawn_blocking;

use super::advert::{self, Advert};
use super::{Heard, links, neighbours};

/// Where VRRP routers speak to each other (RFC 9568, sections 5.1.1.2 and 5.1.2.2).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// A router is heard within three of its intervals; most have one of a second.
const LEAST_LISTENING: Duration = Duration::from_millis(3500);
/// More adverts than this say nothing new, and somebody floods the network.
const MOST_ADVERTS: usize = 10_000;
/// No advert is longer: 8 bytes, 255 addresses, and an IPv4 header.
const PACKET_BYTES: usize = 8 + 255 * 16 + 60;

/// The network could not be listened to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HearError {
    #[error("cannot listen for VRRP on `{interface}`")]
    Listen { interface: String, source: io::Error },
    #[error("cannot ask who has the virtual addresses")]
    Ask(#[source] io::Error),
}

/// Listens and asks for some seconds. The node's own addresses have to be there.
pub(crate) async fn hear(instances: &[VrrpInstance]) -> Result<Heard, HearError> {
    let own: BTreeSet<IpAddr> = links::addresses()
        .map_err(HearError::Ask)?
        .into_iter()
        .map(|(_, address)| address)
        .collect();
    let longest = instances.iter().map(|instance| instance.advert_interval_seconds).max();
    let listening = Duration::from_secs(3 * u64::from(longest.unwrap_or(1))).max(LEAST_LISTENING);
    let end = Instant::now() + listening;

    let places: BTreeSet<(&str, bool)> = instances
        .iter()
        .map(|instance| (instance.interface.as_str(), instance.source.is_ipv4()))
        .collect();
    let mut listeners = Vec::new();
    for (interface, is_ipv4) in places {
        let socket = listener(interface, is_ipv4)
            .map_err(|source| HearError::Listen { interface: interface.to_owned(), source })?;
        // In a thread of its own: the runtime cannot wait for a raw socket.
        listeners.push(spawn_blocking(move || collect(&socket, is_ipv4, end)));
    }
    // Asking and listening at once: both wait for others.
    let asked = ask(instances, &own).await;
    let mut adverts: Vec<Advert> = Vec::new();
    for listener in listeners {
        adverts.extend(listener.await.map_err(|error| HearError::Ask(io::Error::other(error)))?);
    }
    adverts.retain(|advert| !own.contains(&advert.source));
    let mut neighbours = asked.map_err(HearError::Ask)?;
    for instance in instances {
        // Names for those who spoke.
        let speakers: Vec<IpAddr> = adverts
            .iter()
            .map(|advert| advert.source)
            .filter(|source| source.is_ipv4() == instance.source.is_ipv4())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        neighbours
            .extend(neighbours::ask(instance.source, &speakers).await.map_err(HearError::Ask)?);
    }
    Ok(Heard { adverts, neighbours })
}

async fn ask(
    instances: &[VrrpInstance],
    own: &BTreeSet<IpAddr>,
) -> io::Result<BTreeMap<IpAddr, super::HardwareAddress>> {
    let mut found = BTreeMap::new();
    for instance in instances {
        let virtual_addresses = instance.virtual_addresses.iter().map(|cidr| cidr.address());
        let others: Vec<IpAddr> = virtual_addresses
            .chain(instance.peers.iter().copied())
            .filter(|address| !own.contains(address))
            .collect();
        found.extend(neighbours::ask(instance.source, &others).await?);
    }
    Ok(found)
}

/// A socket that gets every VRRP packet which reaches `interface`: for the group, or for this node alone.
fn listener(interface: &str, is_ipv4: bool) -> io::Result<Socket> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(advert::PROTOCOL)))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    if is_ipv4 {
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    } else {
        socket.join_multicast_v6(&GROUP_V6, index)?;
    }
    Ok(socket)
}

/// Reads adverts until `end`. An interface that goes away has said everything.
fn collect(socket: &Socket, is_ipv4: bool, end: Instant) -> Vec<Advert> {
    let mut packet = vec![0; PACKET_BYTES];
    let mut adverts = Vec::new();
    while adverts.len() < MOST_ADVERTS {
        let left = end.saturating_duration_since(Instant::now());
        // Zero would mean to wait for ever.
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            break;
        }
        let descriptor = socket.as_raw_fd();
        let advert = if is_ipv4 {
            recv(descriptor, &mut packet, MsgFlags::empty())
                .map(|length| advert::parse_ipv4(&packet[..length]))
        } else {
            recvfrom::<SockaddrIn6>(descriptor, &mut packet).map(|(length, from)| {
                from.and_then(|from| advert::parse_ipv6(&packet[..length], from.ip()))
            })
        };
        match advert {
            Ok(advert) => adverts.extend(advert),
            Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    adverts
}
