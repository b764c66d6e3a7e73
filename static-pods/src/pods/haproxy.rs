//! haproxy: carries the Kubernetes API, and any other frontend, to servers that work.
//!
//! It runs as master and worker: the master takes `reload` on [`MASTER_SOCKET`], starts a new worker with the files
//! as they are then and hands it the listening sockets, so that a renewed certificate costs no connection. A changed
//! config rolls the pod instead, like every pod's.
//!
//! Health is asked on a loopback port. `/healthz` answers as long as the process does; `/readyz` fails as soon as
//! one backend has no living server, which is also what keepalived asks ([`super::keepalived`]).

use std::net::IpAddr;

use basalt_model::names::{AbsolutePath, ItemName};
use basalt_model::node::{Certificate, Frontend, Haproxy, HealthCheck, Node, ProxyMode};

use crate::manifest::{Capability, HostPathType, Requests};
use crate::parts::{
    CONFIG_HEADER, Draft, Findings, LIVENESS, Mount, PodParts, Probes, READINESS, STARTUP,
    UNPRIVILEGED_USER, config_directory, config_file, loopback_port, tcp_port,
};

pub(crate) const NAME: &str = "haproxy";

/// Answers as long as the process does.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// Answers 200 when every backend has a living server, 503 otherwise.
pub(crate) const READY_PATH: &str = "/readyz";

/// Binding below 1024 is all haproxy may ever need.
pub(crate) const ALLOWED_CAPABILITIES: [Capability; 1] = [Capability::NetBindService];

/// In memory, shared with nobody; gone with the pod.
const RUN_DIRECTORY: &str = "/run/haproxy";
/// Takes runtime commands; only the container's user may open it.
const ADMIN_SOCKET: &str = "/run/haproxy/admin.sock";
/// Takes `reload`.
const MASTER_SOCKET: &str = "/run/haproxy/master.sock";

/// The name of our own frontend; a frontend of the node cannot have it.
const MONITOR: &str = "basalt-monitor";

/// Connections kept free beyond the node's limit, so that probes and metrics are answered when clients have used up
/// theirs: a full haproxy is not a dead one.
const RESERVED_CONNECTIONS: u32 = 100;
/// Each connection takes two file descriptors, and the kernel's `fs.nr_open` gives a process 1,048,576.
const MOST_CONNECTIONS: u32 = 500_000;
/// haproxy counts milliseconds in 31 bits.
const LONGEST_TIMEOUT_SECONDS: u32 = 2_147_483;

/// How long connections may end by themselves after a reload or a stop. Shorter than the pod's grace period.
const HARD_STOP_AFTER_SECONDS: u32 = 30;
const GRACE_SECONDS: u32 = 40;

/// A server that fails is out after at most 2 s + 2 × 0.5 s, and in again after two good answers: the asking gets
/// faster as soon as an answer differs. A server that swallows packets takes three timeouts of 2 s more.
const SERVER_CHECKS: &str = "inter 2s fastinter 500ms downinter 2s rise 2 fall 3";
const CHECK_TIMEOUT: &str = "2s";

pub(crate) fn draft(node: &Node, haproxy: &Haproxy, findings: &mut Findings) -> Draft {
    check(haproxy, findings);
    let certificates = used_certificates(node, haproxy, findings);
    let binds = || haproxy.frontends.iter().flat_map(|frontend| &frontend.binds);
    let has_low_port = binds().any(|bind| bind.0.port() < 1024);
    let mut ports = vec![loopback_port(haproxy.monitor_port)];
    ports.extend(binds().map(|bind| tcp_port(bind.0.ip(), bind.0.port())));
    let mut mounts = vec![Mount::config(NAME), Mount::scratch("run", RUN_DIRECTORY, "16Mi")];
    mounts.extend(certificates.iter().map(|certificate| {
        let name = format!("certificate-{}", certificate.name);
        Mount::host(&name, certificate.directory.clone(), HostPathType::Directory)
    }));
    let parts = PodParts {
        name: NAME,
        component: "load-balancer",
        cluster: &node.cluster,
        image: &haproxy.image,
        command: command(),
        ports,
        // No limit: a load balancer that is killed for its memory takes the API down with it.
        requests: Requests { cpu: "100m", memory: "200Mi" },
        // Keys belong to root, and the kernel gives the capability to bind a low port to root alone; everybody else
        // needs neither.
        user: if has_low_port || !certificates.is_empty() { 0 } else { UNPRIVILEGED_USER },
        capabilities: if has_low_port { vec![Capability::NetBindService] } else { Vec::new() },
        probes: Probes {
            startup: STARTUP.http(haproxy.monitor_port, HEALTH_PATH),
            liveness: LIVENESS.http(haproxy.monitor_port, HEALTH_PATH),
            readiness: READINESS.http(haproxy.monitor_port, READY_PATH),
        },
        mounts,
        grace_seconds: GRACE_SECONDS,
        files: vec![config_file(NAME, "haproxy.cfg", 0o644, config(haproxy, &certificates))],
    };
    Draft::new(parts, &ALLOWED_CAPABILITIES)
}

fn command() -> Vec<String> {
    let config = format!("{}/haproxy.cfg", config_directory(NAME));
    let master = format!("{MASTER_SOCKET},mode,600");
    // Master and worker, in the foreground.
    ["haproxy", "-W", "-db", "-S", &master, "-f", &config].map(str::to_owned).to_vec()
}

/// Finds what haproxy would refuse, or take for something else than was meant.
fn check(haproxy: &Haproxy, findings: &mut Findings) {
    let frontends = &haproxy.frontends;
    if frontends.is_empty() {
        findings.add("haproxy.frontends", "is empty");
    }
    findings.add_duplicates(
        |index| format!("haproxy.frontends[{index}].name"),
        frontends.iter().map(|frontend| &frontend.name),
    );
    for (index, frontend) in frontends.iter().enumerate() {
        check_frontend(&format!("haproxy.frontends[{index}]"), frontend, findings);
    }
    let numbers = [
        ("connect_timeout_seconds", haproxy.connect_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("idle_timeout_seconds", haproxy.idle_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("tunnel_timeout_seconds", haproxy.tunnel_timeout_seconds, LONGEST_TIMEOUT_SECONDS),
        ("max_connections", haproxy.max_connections, MOST_CONNECTIONS),
    ];
    for (name, number, most) in numbers {
        if !(1..=most).contains(&number) {
            let message = format!("must be between 1 and {most}, not {number}");
            findings.add(format!("haproxy.{name}"), message);
        }
    }
    if haproxy.monitor_port == 0 {
        findings.add("haproxy.monitor_port", "must be between 1 and 65535");
    }
}

fn check_frontend(place: &str, frontend: &Frontend, findings: &mut Findings) {
    if frontend.name.as_str() == MONITOR {
        findings
            .add(format!("{place}.name"), format!("`{MONITOR}` is taken by the health answers"));
    }
    for (list, is_empty) in
        [("binds", frontend.binds.is_empty()), ("servers", frontend.servers.is_empty())]
    {
        if is_empty {
            findings.add(format!("{place}.{list}"), "is empty");
        }
    }
    findings.add_duplicates(
        |index| format!("{place}.servers[{index}].name"),
        frontend.servers.iter().map(|server| &server.name),
    );
    if let HealthCheck::Http { path, tls } = &frontend.check {
        if !is_request_path(path) {
            let message = format!(
                "`{}` is not an absolute path of a request (begin with `/`, write other characters as `%20`)",
                path.escape_debug()
            );
            findings.add(format!("{place}.check.path"), message);
        }
        let sees_plain_bytes = frontend.mode == ProxyMode::Http || frontend.certificate.is_some();
        if *tls && sees_plain_bytes {
            let message = "the servers expect TLS, but haproxy would send them plain bytes; use mode `tcp` without a certificate";
            findings.add(format!("{place}.check.tls"), message);
        }
    }
}

/// A path with query by RFC 3986, less `'`, `"`, `$`, `#` and `\`: none of it means anything to haproxy inside
/// single quotes, and none of it ends them.
fn is_request_path(path: &str) -> bool {
    path.starts_with('/')
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~!&()*+,;=:@%?".contains(c))
}

/// The certificates that frontends end TLS with, in the order of the node's, each once.
fn used_certificates<'a>(
    node: &'a Node,
    haproxy: &Haproxy,
    findings: &mut Findings,
) -> Vec<&'a Certificate> {
    let known = node.vault.as_ref().map_or(&[][..], |vault| &vault.certificates);
    let is_used = |name: &ItemName| {
        haproxy.frontends.iter().any(|frontend| frontend.certificate.as_ref() == Some(name))
    };
    for (index, frontend) in haproxy.frontends.iter().enumerate() {
        if let Some(name) = &frontend.certificate
            && !known.iter().any(|certificate| certificate.name == *name)
        {
            let place = format!("haproxy.frontends[{index}].certificate");
            findings.add(place, format!("`{name}` is not a certificate of this node"));
        }
    }
    let used = || known.iter().enumerate().filter(|(_, certificate)| is_used(&certificate.name));
    for (index, certificate) in used() {
        let place = format!("vault.certificates[{index}]");
        if !is_plain_word(&certificate.directory) {
            let message = format!(
                "haproxy cannot read from `{}`: use letters, digits, `.`, `_`, `-`",
                certificate.directory.as_str().escape_debug()
            );
            findings.add(format!("{place}.directory"), message);
        }
        if !is_readable_by_root_without_capabilities(certificate) {
            let message = format!(
                "belongs to `{}` with mode {}: haproxy runs as root without the capability to read other users' files; let `root` own it",
                certificate.owner, certificate.mode
            );
            findings.add(format!("{place}.owner"), message);
        }
    }
    used().map(|(_, certificate)| certificate).collect()
}

/// Root keeps no `DAC_OVERRIDE` in the container, so the mode counts for root too.
fn is_readable_by_root_without_capabilities(certificate: &Certificate) -> bool {
    let mode = certificate.mode.bits();
    match (certificate.owner.as_str(), certificate.group.as_str()) {
        ("root", _) => mode & 0o400 != 0,
        (_, "root") => mode & 0o040 != 0,
        _ => mode & 0o004 != 0,
    }
}

fn is_plain_word(path: &AbsolutePath) -> bool {
    path.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

fn config(haproxy: &Haproxy, certificates: &[&Certificate]) -> String {
    let mut sections =
        vec![CONFIG_HEADER.to_owned(), global(haproxy), defaults(haproxy), monitor(haproxy)];
    for frontend in &haproxy.frontends {
        let directory = frontend.certificate.as_ref().and_then(|name| {
            let certificate = certificates.iter().find(|certificate| certificate.name == *name)?;
            Some(&certificate.directory)
        });
        sections.push(front(haproxy, frontend, directory));
        sections.push(back(frontend));
    }
    sections.join("\n")
}

fn global(haproxy: &Haproxy) -> String {
    let lines = [
        // Errors and state changes; a line for each connection would bury them.
        "log stdout format raw local0 notice".to_owned(),
        format!("maxconn {}", haproxy.max_connections.saturating_add(RESERVED_CONNECTIONS)),
        format!("hard-stop-after {HARD_STOP_AFTER_SECONDS}s"),
        format!("stats socket {ADMIN_SOCKET} mode 600 level admin expose-fd listeners"),
        "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets".to_owned(),
        // Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
        "ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20".to_owned(),
    ];
    section("global", lines)
}

fn defaults(haproxy: &Haproxy) -> String {
    let (connect, idle, tunnel) = (
        haproxy.connect_timeout_seconds,
        haproxy.idle_timeout_seconds,
        haproxy.tunnel_timeout_seconds,
    );
    let lines = [
        "log global".to_owned(),
        "option log-separate-errors".to_owned(),
        "option dontlognull".to_owned(),
        // A server that died a moment ago is not the client's problem.
        "option redispatch".to_owned(),
        "retries 2".to_owned(),
        format!("timeout connect {connect}s"),
        format!("timeout queue {connect}s"),
        format!("timeout client {idle}s"),
        format!("timeout server {idle}s"),
        format!("timeout tunnel {tunnel}s"),
        // Slow requests must not hold connections.
        "timeout http-request 10s".to_owned(),
        format!("timeout check {CHECK_TIMEOUT}"),
        format!("default-server {SERVER_CHECKS}"),
    ];
    section("defaults", lines)
}

/// Health for the kubelet and keepalived, metrics and statistics for people; on loopback, so without a password.
fn monitor(haproxy: &Haproxy) -> String {
    let mut lines = vec![
        "mode http".to_owned(),
        format!("bind 127.0.0.1:{}", haproxy.monitor_port),
        "no log".to_owned(),
        format!("monitor-uri {READY_PATH}"),
    ];
    let fails = haproxy.frontends.iter().map(|frontend| &frontend.name);
    lines.extend(fails.map(|name| format!("monitor fail if {{ nbsrv({name}) lt 1 }}")));
    lines.extend([
        format!("http-request return status 200 content-type text/plain string ok if {{ path {HEALTH_PATH} }}"),
        "http-request use-service prometheus-exporter if { path /metrics }".to_owned(),
        "http-request deny deny_status 404 unless { path /stats }".to_owned(),
        "stats enable".to_owned(),
        "stats uri /stats".to_owned(),
        "stats hide-version".to_owned(),
    ]);
    section(&format!("frontend {MONITOR}"), lines)
}

fn front(haproxy: &Haproxy, frontend: &Frontend, directory: Option<&AbsolutePath>) -> String {
    let mut lines = match frontend.mode {
        ProxyMode::Tcp => vec!["mode tcp".to_owned(), "option tcplog".to_owned()],
        ProxyMode::Http => vec!["mode http".to_owned(), "option httplog".to_owned()],
    };
    lines.push(format!("maxconn {}", haproxy.max_connections));
    for bind in &frontend.binds {
        let mut line = format!("bind {}", bind.0);
        if bind.0.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
            // Otherwise it takes the IPv4 port too, and `0.0.0.0` beside it fails.
            line.push_str(" v6only");
        }
        if let Some(directory) = directory {
            line.push_str(&format!(" ssl crt {directory}/combined.pem"));
            if frontend.mode == ProxyMode::Http {
                line.push_str(" alpn h2,http/1.1");
            }
        }
        lines.push(line);
    }
    if frontend.mode == ProxyMode::Http {
        let scheme = if directory.is_some() { "https" } else { "http" };
        lines.push("option forwardfor".to_owned());
        lines.push(format!("http-request set-header X-Forwarded-Proto {scheme}"));
    }
    lines.push(format!("default_backend {}", frontend.name));
    section(&format!("frontend {}", frontend.name), lines)
}

fn back(frontend: &Frontend) -> String {
    let mut lines = match frontend.mode {
        // Connections to the API live for hours: spread by how many there are, not by how many came.
        ProxyMode::Tcp => vec!["mode tcp".to_owned(), "balance leastconn".to_owned()],
        ProxyMode::Http => vec!["mode http".to_owned(), "balance roundrobin".to_owned()],
    };
    let check = match &frontend.check {
        HealthCheck::Tcp => {
            lines.push("option tcp-check".to_owned());
            "check"
        }
        HealthCheck::Http { path, tls } => {
            lines.push("option httpchk".to_owned());
            lines.push(format!(
                "http-check send meth GET uri '{path}' ver HTTP/1.1 hdr Host localhost"
            ));
            lines.push("http-check expect status 200".to_owned());
            // The answer decides health only, never where traffic is trusted to go.
            if *tls { "check check-ssl verify none" } else { "check" }
        }
    };
    let servers = frontend.servers.iter();
    lines
        .extend(servers.map(|server| format!("server {} {} {check}", server.name, server.address)));
    section(&format!("backend {}", frontend.name), lines)
}

fn section(head: &str, lines: impl IntoIterator<Item = String>) -> String {
    let body: String = lines.into_iter().map(|line| format!("    {line}\n")).collect();
    format!("{head}\n{body}")
}
