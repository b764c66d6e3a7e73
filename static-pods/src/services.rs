//! What clients reach by the virtual addresses of a node, and how one sees that it works. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use basalt_model::names::Cidr;
use basalt_model::node::{Ask, CheckTls, Frontend, Node, ProxyMode, VrrpInstance};

/// A port of haproxy at an address that moves.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// What moves the address.
    pub instance: &'a VrrpInstance,
    /// What serves there.
    pub frontend: &'a Frontend,
    /// A virtual address, and a port that the frontend serves on it.
    pub address: SocketAddr,
}

/// What a client sees of a service that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign<'a> {
    /// A connection.
    Connection,
    /// A connection that begins with the header of the PROXY protocol.
    ProxiedConnection,
    /// A TLS handshake, whatever certificate is shown: another node has one of its own.
    Handshake,
    /// An answer to `GET` of this path with a status from 200 to 499: that there is one proves that somebody serves.
    Answer {
        /// Begins with `/`.
        path: &'a str,
    },
}

/// Every virtual address of the node's VRRP instances, at each port that haproxy serves on it: by address, then in the
/// order of the frontends.
pub fn services(node: &Node) -> Vec<Service<'_>> {
    let instances = node.keepalived.iter().flat_map(|keepalived| &keepalived.instances);
    let moved: BTreeMap<IpAddr, &VrrpInstance> = instances
        .flat_map(|instance| {
            instance.virtual_addresses.iter().map(move |cidr| (Cidr::address(cidr), instance))
        })
        .collect();
    let mut services = Vec::new();
    for (address, instance) in moved {
        for frontend in node.haproxy.iter().flat_map(|haproxy| &haproxy.frontends) {
            let serves = |bind: IpAddr| {
                bind == address || (bind.is_unspecified() && bind.is_ipv4() == address.is_ipv4())
            };
            let binds = frontend.binds.iter().map(|bind| bind.0);
            let ports = binds.filter(|bind| serves(bind.ip())).map(|bind| bind.port());
            let mut ports: Vec<u16> = ports.collect();
            ports.sort_unstable();
            ports.dedup();
            let service =
                |port| Service { instance, frontend, address: SocketAddr::new(address, port) };
            services.extend(ports.into_iter().map(service));
        }
    }
    services
}

impl<'a> Service<'a> {
    /// How a client sees that it works.
    pub fn sign(&self) -> Sign<'a> {
        let frontend = self.frontend;
        // Without the header it says nothing, but it waits for one.
        if frontend.accept_proxy {
            return Sign::ProxiedConnection;
        }
        // The handshake is the server's.
        let carries_tls = frontend.mode == ProxyMode::Tcp
            && frontend.server_tls.is_none()
            && frontend.check.tls != CheckTls::Off;
        match (frontend.mode, &frontend.check.ask) {
            _ if frontend.certificate.is_some() || carries_tls => Sign::Handshake,
            (ProxyMode::Tcp, _) => Sign::Connection,
            (ProxyMode::Http, Ask::Http { path, .. }) => Sign::Answer { path },
            (ProxyMode::Http, Ask::Connect) => Sign::Answer { path: "/" },
        }
    }
}
