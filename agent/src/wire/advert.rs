//! VRRP adverts as they come off a socket: versions 2 (RFC 3768) and 3 (RFC 9568).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IP protocol number of VRRP.
pub(crate) const PROTOCOL: i32 = 112;

/// One advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advert {
    pub(crate) source: IpAddr,
    pub(crate) virtual_router_id: u8,
    /// 0 says that the sender stops.
    pub(crate) priority: u8,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Everything before the addresses.
const HEADER_BYTES: usize = 8;
/// The only type there is.
const ADVERTISEMENT: u8 = 1;
const IPV4_HEADER_BYTES: usize = 20;

/// Reads an IPv4 packet, with its header, as raw sockets give it. `None`: it is no advert.
pub(crate) fn parse_ipv4(packet: &[u8]) -> Option<Advert> {
    let header = usize::from(*packet.first()? & 0x0f) * 4;
    if packet[0] >> 4 != 4 || header < IPV4_HEADER_BYTES || i32::from(*packet.get(9)?) != PROTOCOL {
        return None;
    }
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(|b| Ipv4Addr::from(b).into());
    parse(packet.get(header..)?, Ipv4Addr::from(source).into(), 4, address)
}

/// Reads what an IPv6 packet from `source` carries. `None`: it is no advert.
pub(crate) fn parse_ipv6(payload: &[u8], source: Ipv6Addr) -> Option<Advert> {
    let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into());
    parse(payload, source.into(), 16, address)
}

fn parse(
    advert: &[u8],
    source: IpAddr,
    address_bytes: usize,
    address: impl Fn(&[u8]) -> Option<IpAddr>,
) -> Option<Advert> {
    let (version, kind) = (*advert.first()? >> 4, advert[0] & 0x0f);
    if !(2..=3).contains(&version) || kind != ADVERTISEMENT {
        return None;
    }
    let count = usize::from(*advert.get(3)?);
    // Version 2 may carry authentication data behind the addresses.
    let addresses = advert.get(HEADER_BYTES..HEADER_BYTES + count * address_bytes)?;
    Some(Advert {
        source,
        virtual_router_id: advert[1],
        priority: advert[2],
        addresses: addresses.chunks(address_bytes).filter_map(address).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Captured from keepalived 2.2.7, version 2, less the checksums that nobody here looks at.
    const PACKET: [u8; 40] = [
        0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, 112, 0, 0, 192, 0, 2, 12, 192, 0, 2, 11, // IPv4
        0x21, 51, 227, 1, 0, 1, 0, 0, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn adverts_of_both_versions_are_read() {
        let advert = parse_ipv4(&PACKET).unwrap();
        assert_eq!(advert.source, "192.0.2.12".parse::<IpAddr>().unwrap());
        assert_eq!((advert.virtual_router_id, advert.priority), (51, 227));
        assert_eq!(advert.addresses, ["192.0.2.10".parse::<IpAddr>().unwrap()]);

        let mut payload = vec![0x31, 52, 100, 1, 0, 100, 0, 0];
        payload.extend("2001:db8::10".parse::<Ipv6Addr>().unwrap().octets());
        let advert = parse_ipv6(&payload, "fe80::1".parse().unwrap()).unwrap();
        assert_eq!(advert.addresses, ["2001:db8::10".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_no_advert() {
        for length in 0..32 {
            assert_eq!(parse_ipv4(&PACKET[..length]), None, "{length}");
        }
        let mut other = PACKET;
        other[9] = 6;
        assert_eq!(parse_ipv4(&other), None);
        other = PACKET;
        other[20] = 0x22;
        assert_eq!(parse_ipv4(&other), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_come(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse_ipv4(&bytes);
            let _ = parse_ipv6(&bytes, Ipv6Addr::LOCALHOST);
        }
    }
}
