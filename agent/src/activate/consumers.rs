//! Who uses a certificate, and where it can be seen being served. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use basalt_model::node::{Certificate, Node, Reload};
use basalt_static_pods::control;

/// Units that look at their certificate files themselves, within a minute at most; a restart would cost more than it
/// brings.
const REREAD_BY_THEMSELVES: [&str; 2] = ["kubelet.service", "containerd.service"];

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// haproxy, by its runtime API, or a reload.
    Haproxy,
    /// Another static pod.
    Pod(String),
    /// A systemd unit.
    Unit(String),
    /// A systemd unit that is only looked at.
    RereadsByItself(String),
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Consumer::Haproxy => f.write_str("pod haproxy"),
            Consumer::Pod(name) => write!(f, "pod {name}"),
            Consumer::Unit(name) | Consumer::RereadsByItself(name) => write!(f, "unit {name}"),
        }
    }
}

/// Where a certificate is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// A TCP port. With `expects_proxy_header` every connection begins with one.
    Tcp { address: SocketAddr, expects_proxy_header: bool },
    /// A socket of the host.
    Unix(String),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp { address, .. } => write!(f, "{address}"),
            Listener::Unix(path) => f.write_str(path),
        }
    }
}

/// Everyone who has to do with one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumers {
    /// In the order in which they are told.
    pub(crate) told: Vec<Consumer>,
    /// Each once, haproxy's first.
    pub(crate) listeners: Vec<Listener>,
}

impl Consumers {
    pub(crate) fn of(node: &Node, certificate: &Certificate) -> Consumers {
        let mut told = Vec::new();
        let mut listeners: Vec<Listener> = Vec::new();
        let frontends = node.haproxy.iter().flat_map(|haproxy| &haproxy.frontends);
        let serving =
            || frontends.clone().filter(|it| it.certificate.as_ref() == Some(&certificate.name));
        for frontend in serving() {
            // Reachable whatever addresses the node has now.
            listeners.push(Listener::Unix(control::haproxy_handshake_socket(frontend)));
            listeners.extend(frontend.binds.iter().map(|bind| Listener::Tcp {
                address: reachable(bind.0),
                expects_proxy_header: frontend.accept_proxy,
            }));
        }
        if serving().next().is_some() {
            told.push(Consumer::Haproxy);
        }
        told.extend(told_by(&certificate.reload));
        let mut seen = Vec::new();
        told.retain(|consumer| {
            let is_new = !seen.contains(consumer);
            seen.push(consumer.clone());
            is_new
        });
        for endpoint in &certificate.prove {
            let listener =
                Listener::Tcp { address: reachable(endpoint.0), expects_proxy_header: false };
            let is_it = |other: &Listener| other.to_string() == listener.to_string();
            if !listeners.iter().any(is_it) {
                listeners.push(listener);
            }
        }
        Consumers { told, listeners }
    }
}

/// Who is told by these wishes.
pub(crate) fn told_by(reloads: &[Reload]) -> Vec<Consumer> {
    let consumer = |reload: &Reload| match reload {
        Reload::Pod(pod) if pod.as_str() == control::HAPROXY => Consumer::Haproxy,
        Reload::Pod(pod) => Consumer::Pod(pod.to_string()),
        Reload::Unit(unit) if REREAD_BY_THEMSELVES.contains(&unit.as_str()) => {
            Consumer::RereadsByItself(unit.to_string())
        }
        Reload::Unit(unit) => Consumer::Unit(unit.to_string()),
    };
    reloads.iter().map(consumer).collect()
}

/// Every address of a family is reached by its loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Node {
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        Node::from_json("n1.json", text).unwrap()
    }

    #[track_caller]
    fn check(node: &Node, told: &[&str], listeners: &[&str]) {
        let certificate = &node.vault.as_ref().unwrap().certificates[0];
        let found = Consumers::of(node, certificate);
        let names: Vec<String> = found.told.iter().map(ToString::to_string).collect();
        assert_eq!(names, told);
        let places: Vec<String> = found.listeners.iter().map(ToString::to_string).collect();
        assert_eq!(places, listeners);
    }

    #[test]
    fn who_uses_it_and_where_it_is_seen() {
        let mut node = lab();
        let name = node.vault.as_ref().unwrap().certificates[0].name.clone();
        let frontends = &mut node.haproxy.as_mut().unwrap().frontends;
        frontends.truncate(2);
        frontends[0].certificate = None;
        frontends[1].certificate = Some(name);
        frontends[1].binds = ["0.0.0.0:443", "[::]:443", "192.0.2.10:8443"]
            .iter()
            .map(|it| it.parse().unwrap())
            .collect();
        let socket = control::haproxy_handshake_socket(&frontends[1]);
        let certificate = &mut node.vault.as_mut().unwrap().certificates[0];
        (certificate.reload, certificate.prove) = (Vec::new(), Vec::new());
        let served = [socket.as_str(), "127.0.0.1:443", "[::1]:443", "192.0.2.10:8443"];
        check(&node, &["pod haproxy"], &served);

        let reloads = [
            Reload::Pod("haproxy".parse().unwrap()),
            Reload::Unit("web.service".parse().unwrap()),
            Reload::Unit("kubelet.service".parse().unwrap()),
            Reload::Unit("web.service".parse().unwrap()),
            Reload::Pod("registry".parse().unwrap()),
        ];
        let certificate = &mut node.vault.as_mut().unwrap().certificates[0];
        certificate.reload = reloads.to_vec();
        certificate.prove =
            vec!["127.0.0.1:443".parse().unwrap(), "0.0.0.0:10250".parse().unwrap()];
        let all: Vec<&str> = served.into_iter().chain(["127.0.0.1:10250"]).collect();
        check(
            &node,
            &["pod haproxy", "unit web.service", "unit kubelet.service", "pod registry"],
            &all,
        );

        node.haproxy = None;
        let certificate = &mut node.vault.as_mut().unwrap().certificates[0];
        (certificate.reload, certificate.prove) = (Vec::new(), Vec::new());
        check(&node, &[], &[]);
    }
}
