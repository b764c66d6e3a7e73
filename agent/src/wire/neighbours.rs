//! Who answers for an address on the same network: asked by the kernel (ARP, RFC 826; neighbour discovery, RFC 4861),
//! read back from its table.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::HardwareAddress;

/// The port that throws away what it gets (RFC 863). Nobody needs to listen: it is the question for the link-layer
/// address before it that counts.
const DISCARD: u16 = 9;
/// The kernel asks three times, a second apart; an old entry is trusted for five seconds before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(100);

/// Asks for `addresses` from `source`, and gives those that answered. Takes up to ten seconds when one is in the
/// kernel's table from earlier, three seconds when one has nobody, and milliseconds otherwise.
pub(crate) async fn ask(
    source: IpAddr,
    addresses: &[IpAddr],
) -> io::Result<BTreeMap<IpAddr, HardwareAddress>> {
    let socket = UdpSocket::bind(SocketAddr::new(source, 0)).await?;
    for address in addresses {
        // What cannot be reached at all is not on this network, and so in nobody's way.
        let _ = socket.send_to(&[0], SocketAddr::new(*address, DISCARD)).await;
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let table = table().await?;
        let is_open = |address: &IpAddr| {
            use NeighbourState::{Delay, Incomplete, Probe, Stale};
            table
                .get(address)
                .is_some_and(|(state, _)| matches!(state, Incomplete | Stale | Delay | Probe))
        };
        if !addresses.iter().any(is_open) || Instant::now() >= end {
            let answered = |address: &IpAddr| {
                let (state, hardware) = table.get(address)?;
                let is_known = !matches!(
                    state,
                    NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None
                );
                Some((*address, hardware.clone().filter(|_| is_known)?))
            };
            return Ok(addresses.iter().filter_map(answered).collect());
        }
        sleep(INTERVAL).await;
    }
}

type Entry = (NeighbourState, Option<HardwareAddress>);

async fn table() -> io::Result<BTreeMap<IpAddr, Entry>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let mut messages = handle.neighbours().get().execute();
    let mut table = BTreeMap::new();
    while let Some(message) = messages.try_next().await.map_err(io::Error::other)? {
        let (mut address, mut hardware) = (None, None);
        for attribute in message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    address = Some(IpAddr::V4(v4));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    address = Some(IpAddr::V6(v6));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => hardware = Some(written(&bytes)),
                _ => {}
            }
        }
        if let Some(address) = address {
            table.insert(address, (message.header.state, hardware));
        }
    }
    connection.abort();
    Ok(table)
}

fn written(bytes: &[u8]) -> HardwareAddress {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    HardwareAddress(parts.join(":"))
}
