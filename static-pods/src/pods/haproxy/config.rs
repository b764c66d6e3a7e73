//! haproxy.cfg, section by section.

use std::net::{IpAddr, Ipv6Addr};

use basalt_model::names::{AbsolutePath, Cidr};
use basalt_model::node::{
    Ask, Balance, Certificate, CheckTls, Frontend, Haproxy, Node, ProxyMode, ProxyProtocol, Server,
    VrrpInstance,
};

use super::{HEALTH_PATH, READY_PATH, combined, own_socket, witness};
use crate::TRUST_DIRECTORY;
use crate::control::HAPROXY_ADMIN_SOCKET;
use crate::parts::CONFIG_HEADER;

/// The name of our own frontend.
const MONITOR: &str = "basalt-monitor";

/// The name that a frontend's socket for our own handshakes has.
const SELF: &str = "self";

/// Connections kept free beyond the node's limit, so that probes and metrics are answered when clients have used up
/// theirs: a full haproxy is not a dead one.
const RESERVED_CONNECTIONS: u32 = 100;

/// Workers of earlier configs that may still carry connections; the oldest goes when there would be more. Each takes
/// memory of its own.
const OLD_WORKERS: u32 = 5;
/// A worker that is replaced ends a connection with its next answer, which says so, never between two: a client that is
/// just about to ask again would lose its request.
pub(super) const LAST_ANSWER: &str = "option idle-close-on-response";

pub(super) fn config(node: &Node, haproxy: &Haproxy, certificates: &[&Certificate]) -> String {
    let mut sections =
        vec![CONFIG_HEADER.to_owned(), global(haproxy), defaults(haproxy), monitor(node, haproxy)];
    for frontend in &haproxy.frontends {
        let directory = frontend.certificate.as_ref().and_then(|name| {
            let certificate = certificates.iter().find(|certificate| certificate.name == *name)?;
            Some(&certificate.directory)
        });
        sections.push(front(haproxy, frontend, directory));
        sections.push(back(frontend));
        sections.extend(directory.map(|_| handshake(frontend)));
    }
    sections.extend(witness::sections(node, haproxy));
    sections.join("\n")
}

fn global(haproxy: &Haproxy) -> String {
    let lines = [
        // Errors and state changes; a line for each connection would bury them.
        "log stdout format raw local0 notice".to_owned(),
        format!("maxconn {}", haproxy.max_connections.saturating_add(RESERVED_CONNECTIONS)),
        // A host whose file limit is too low for that many is served with fewer, and told so: not to start at all would
        // take the addresses with it.
        "no strict-limits".to_owned(),
        format!("hard-stop-after {}s", haproxy.reload_drain_seconds),
        format!("mworker-max-reloads {OLD_WORKERS}"),
        format!("stats socket {HAPROXY_ADMIN_SOCKET} mode 600 level admin expose-fd listeners"),
        "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets".to_owned(),
        // Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
        "ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20".to_owned(),
        "ssl-default-server-options ssl-min-ver TLSv1.2".to_owned(),
    ];
    section("global", lines)
}

fn defaults(haproxy: &Haproxy) -> String {
    let (idle, tunnel) = (haproxy.idle_timeout_seconds, haproxy.tunnel_timeout_seconds);
    let lines = [
        "log global".to_owned(),
        "option log-separate-errors".to_owned(),
        "option dontlognull".to_owned(),
        // A server that died a moment ago is not the client's problem.
        "option redispatch".to_owned(),
        "retries 2".to_owned(),
        format!("timeout connect {}s", haproxy.connect_timeout_seconds),
        format!("timeout queue {}s", haproxy.queue_timeout_seconds),
        format!("timeout client {idle}s"),
        format!("timeout server {idle}s"),
        format!("timeout tunnel {tunnel}s"),
        // Slow requests must not hold connections.
        format!("timeout http-request {}s", haproxy.request_timeout_seconds),
    ];
    section("defaults", lines)
}

/// Health for the kubelet and keepalived, metrics and statistics for people; on loopback, so without a password.
fn monitor(node: &Node, haproxy: &Haproxy) -> String {
    let mut lines = vec![
        "mode http".to_owned(),
        LAST_ANSWER.to_owned(),
        format!("bind 127.0.0.1:{}", haproxy.monitor_port),
        "no log".to_owned(),
        format!("monitor-uri {READY_PATH}"),
    ];
    let all = haproxy.frontends.iter().flat_map(failures);
    lines.extend(all.map(|failure| format!("monitor fail if {failure}")));
    lines.push(format!(
        "http-request return status 200 content-type text/plain string ok if {{ path {HEALTH_PATH} }}"
    ));
    for instance in node.keepalived.iter().flat_map(|keepalived| &keepalived.instances) {
        let path = format!("{{ path {READY_PATH}/{} }}", instance.name);
        let carried = haproxy.frontends.iter().filter(|it| is_carried(instance, it));
        lines.extend(carried.flat_map(failures).map(|failure| {
            format!("http-request return status 503 content-type text/plain string down if {path} {failure}")
        }));
        lines.push(format!(
            "http-request return status 200 content-type text/plain string ok if {path}"
        ));
    }
    lines.extend([
        "http-request use-service prometheus-exporter if { path /metrics }".to_owned(),
        "http-request deny deny_status 404 unless { path_beg /stats }".to_owned(),
        "stats enable".to_owned(),
        "stats uri /stats".to_owned(),
        "stats hide-version".to_owned(),
    ]);
    section(&format!("frontend {MONITOR}"), lines)
}

/// Whether clients reach the frontend by an address of the instance.
fn is_carried(instance: &VrrpInstance, frontend: &Frontend) -> bool {
    let moves = |address: IpAddr| {
        let is_every = address.is_unspecified() && address.is_ipv4() == instance.source.is_ipv4();
        is_every || instance.virtual_addresses.iter().map(Cidr::address).any(|own| own == address)
    };
    frontend.binds.iter().any(|bind| moves(bind.0.ip()))
}

/// The conditions under which a frontend is of no use: no server that works, or no handshake.
fn failures(frontend: &Frontend) -> Vec<String> {
    let mut failures = vec![format!("{{ nbsrv({}) lt 1 }}", frontend.name)];
    failures.extend(
        frontend
            .certificate
            .as_ref()
            .map(|_| format!("{{ nbsrv({}) lt 1 }}", own_backend(frontend))),
    );
    failures
}

fn front(haproxy: &Haproxy, frontend: &Frontend, directory: Option<&AbsolutePath>) -> String {
    let mut lines = match frontend.mode {
        ProxyMode::Tcp => vec!["mode tcp".to_owned(), "option tcplog".to_owned()],
        ProxyMode::Http => ["mode http", "option httplog", LAST_ANSWER].map(str::to_owned).to_vec(),
    };
    lines.push(format!("maxconn {}", frontend.max_connections.unwrap_or(haproxy.max_connections)));
    lines.extend(
        frontend.max_connections_per_second.map(|rate| format!("rate-limit sessions {rate}")),
    );
    let tls = directory.map_or(String::new(), |directory| {
        let alpn = if frontend.mode == ProxyMode::Http { " alpn h2,http/1.1" } else { "" };
        format!(" ssl crt {}{alpn}", combined(directory))
    });
    let proxy = if frontend.accept_proxy { " accept-proxy" } else { "" };
    for bind in &frontend.binds {
        // Otherwise it takes the IPv4 port too, and `0.0.0.0` beside it fails.
        let is_every = bind.0.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let v6only = if is_every { " v6only" } else { "" };
        lines.push(format!("bind {}{v6only}{proxy}{tls}", bind.0));
    }
    if directory.is_some() {
        let (socket, name) = (own_socket(frontend), SELF);
        lines.push(format!("bind unix@{socket} mode 600 name {name}{tls}"));
        // The handshake is over by then, and nothing goes on to a server.
        lines.push(format!("tcp-request session reject if {{ so_name {name} }}"));
    }
    if frontend.mode == ProxyMode::Http {
        let scheme = if directory.is_some() { "https" } else { "http" };
        lines.push("option forwardfor".to_owned());
        lines.push(format!("http-request set-header X-Forwarded-Proto {scheme}"));
    }
    lines.extend(frontend.rules.iter().cloned());
    lines.push(format!("default_backend {}", frontend.name));
    section(&format!("frontend {}", frontend.name), lines)
}

fn back(frontend: &Frontend) -> String {
    let mode = match frontend.mode {
        ProxyMode::Tcp => "mode tcp",
        ProxyMode::Http => "mode http",
    };
    let balance = match frontend.balance {
        Balance::LeastConnections => "balance leastconn",
        Balance::RoundRobin => "balance roundrobin",
        Balance::Source => "balance source",
    };
    let mut lines = vec![mode.to_owned(), balance.to_owned()];
    match &frontend.check.ask {
        Ask::Connect => lines.push("option tcp-check".to_owned()),
        Ask::Http { path, host, status } => {
            let host = host.as_ref().map_or("localhost", |host| host.as_str());
            lines.push("option httpchk".to_owned());
            lines.push(format!(
                "http-check send meth GET uri '{path}' ver HTTP/1.1 hdr Host {host}"
            ));
            lines.push(format!("http-check expect status {status}"));
        }
    }
    lines.extend(pace(frontend));
    lines.extend(frontend.servers.iter().map(|it| server(frontend, it)));
    section(&format!("backend {}", frontend.name), lines)
}

/// A server in doubt is asked four times as often, so that it is out, or in again, soon. With the usual pace one that
/// refuses connections is out after at most 2 s + 2 × 0.5 s; one that swallows packets takes three timeouts of 2 s.
fn pace(frontend: &Frontend) -> [String; 2] {
    let check = &frontend.check;
    let (interval, rise, fall) = (check.interval_seconds, check.rise, check.fall);
    let in_doubt = interval.saturating_mul(250);
    [
        format!("timeout check {}s", check.timeout_seconds),
        format!(
            "default-server inter {interval}s fastinter {in_doubt}ms downinter {interval}s rise {rise} fall {fall}"
        ),
    ]
}

fn server(frontend: &Frontend, server: &Server) -> String {
    let mut words = format!("server {} {} check", server.name, server.address);
    let verify = |ca| format!(" verify required ca-file {TRUST_DIRECTORY}/{ca}.pem");
    if let Some(tls) = &frontend.server_tls {
        let host = &tls.host;
        words.push_str(" ssl");
        words.push_str(&verify(&tls.ca));
        words.push_str(&format!(" sni str({host}) check-sni {host} verifyhost {host}"));
    } else {
        match &frontend.check.tls {
            CheckTls::Off => {}
            // The answer decides health only, never where traffic is trusted to go.
            CheckTls::Unverified => words.push_str(" check-ssl verify none"),
            CheckTls::Verified(anchor) => {
                words.push_str(" check-ssl");
                words.push_str(&verify(&anchor.ca));
                if let Some(host) = &anchor.host {
                    words.push_str(&format!(" check-sni {host} verifyhost {host}"));
                }
            }
        }
    }
    words.extend(server.weight.map(|weight| format!(" weight {weight}")));
    words.extend(server.max_connections.map(|number| format!(" maxconn {number}")));
    words.push_str(if server.backup { " backup" } else { "" });
    words.push_str(match server.send_proxy {
        None => "",
        Some(ProxyProtocol::V1) => " send-proxy",
        Some(ProxyProtocol::V2) => " send-proxy-v2",
    });
    words
}

/// Shakes hands with the frontend as a client would, on a socket of its own beside the real ones: a certificate that
/// cannot be served is found before clients find it.
fn handshake(frontend: &Frontend) -> String {
    let socket = own_socket(frontend);
    let lines = [
        "mode tcp".to_owned(),
        "timeout check 2s".to_owned(),
        format!("server {SELF} unix@{socket} check check-ssl verify none inter 2s rise 1 fall 3"),
    ];
    section(&format!("backend {}", own_backend(frontend)), lines)
}

fn own_backend(frontend: &Frontend) -> String {
    format!("basalt-tls-{}", frontend.name)
}

pub(super) fn section(head: &str, lines: impl IntoIterator<Item = String>) -> String {
    let body: String = lines.into_iter().map(|line| format!("    {line}\n")).collect();
    format!("{head}\n{body}")
}
