//! The witness: haproxy tells the other nodes of its VRRP instances which virtual addresses it reaches.
//!
//! A node that holds a virtual address cannot find out by itself whether clients reach it: a connection to it never
//! leaves the machine. So each haproxy looks at every port of the virtual addresses as a client would (a backend of its
//! own for each, with one server), and answers `GET /ADDRESS/PORT` on the node's own addresses: 200 when the last
//! looks were good, 503 when not. Other sources than the instances' peers are turned away, and a peer learns nothing but
//! this.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use basalt_model::node::{Haproxy, Node};

use super::config::{LAST_ANSWER, section};
use crate::services::{Service, Sign, services};

/// The addresses of the node on which it answers.
pub(super) fn binds(node: &Node, haproxy: &Haproxy) -> BTreeSet<SocketAddr> {
    let sources = services(node).into_iter().map(|service| service.instance.source);
    sources.map(|source| SocketAddr::new(source, haproxy.witness_port)).collect()
}

/// The path by which it is asked about a port of a virtual address.
pub(crate) fn path(address: SocketAddr) -> String {
    format!("/{}/{}", address.ip(), address.port())
}

/// The frontend and its backends; none where no address moves.
pub(super) fn sections(node: &Node, haproxy: &Haproxy) -> Vec<String> {
    let services = services(node);
    if services.is_empty() {
        return Vec::new();
    }
    let peers: BTreeSet<IpAddr> =
        services.iter().flat_map(|service| &service.instance.peers).copied().collect();
    let peers = peers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
    let mut lines = vec!["mode http".to_owned(), LAST_ANSWER.to_owned()];
    lines.extend(binds(node, haproxy).iter().map(|bind| format!("bind {bind}")));
    lines.extend([
        "no log".to_owned(),
        format!("tcp-request connection reject unless {{ src {peers} }}"),
    ]);
    for service in &services {
        let condition =
            format!("{{ path {} }} {{ nbsrv({}) ge 1 }}", path(service.address), name(service));
        lines.push(format!(
            "http-request return status 200 content-type text/plain string ok if {condition}"
        ));
    }
    for service in &services {
        lines.push(format!(
            "http-request return status 503 content-type text/plain string down if {{ path {} }}",
            path(service.address)
        ));
    }
    lines.push("http-request deny deny_status 404".to_owned());
    let mut sections = vec![section("frontend basalt-witness", lines)];
    sections.extend(services.iter().map(look));
    sections
}

fn name(service: &Service<'_>) -> String {
    format!("basalt-witness-{}-{}", service.address.ip(), service.address.port())
}

/// A look every two seconds; one that fails is followed by the next after half a second, and two of them are enough.
fn look(service: &Service<'_>) -> String {
    let mut lines = vec!["mode tcp".to_owned(), "timeout check 2s".to_owned()];
    let how = match service.sign() {
        Sign::Connection => "",
        Sign::ProxiedConnection => " check-send-proxy",
        Sign::Handshake => " check-ssl verify none",
        Sign::Answer { path } => {
            lines.push("option httpchk".to_owned());
            lines.push(format!(
                "http-check send meth GET uri '{path}' ver HTTP/1.1 hdr Host {} hdr Connection close",
                service.address
            ));
            lines.push("http-check expect status 200-499".to_owned());
            ""
        }
    };
    lines.push(format!(
        "server virtual {} check{how} inter 2s fastinter 500ms downinter 1s rise 1 fall 2",
        service.address
    ));
    section(&format!("backend {}", name(service)), lines)
}
