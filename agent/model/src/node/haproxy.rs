//! haproxy's part of a node: where it listens, where it sends, and how it knows that a server works.

use serde::{Deserialize, Serialize};

use crate::names::{DnsName, Endpoint, FileName, Host, ImageReference, ItemName};

/// The haproxy static pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Haproxy {
    /// Container image, by digest.
    pub image: ImageReference,
    /// In the order written; names are unique, binds do not overlap.
    pub frontends: Vec<Frontend>,
    /// What the frontends' rules read, in [`HAPROXY_FILES`].
    pub files: Vec<HaproxyFile>,
    /// Loopback port of the health answers (`/healthz`, `/readyz`) and of statistics and Prometheus metrics.
    pub monitor_port: u16,
    /// Port on the node's own addresses where it tells the other nodes of its VRRP instances which virtual addresses it
    /// reaches; nobody else is answered.
    pub witness_port: u16,
    /// Connections at once, all frontends together.
    pub max_connections: u32,
    /// Seconds to wait for a connection to a backend.
    pub connect_timeout_seconds: u32,
    /// Seconds that a request waits for a server with room.
    pub queue_timeout_seconds: u32,
    /// Seconds that a client has to send the head of a request.
    pub request_timeout_seconds: u32,
    /// Seconds of silence after which a connection is closed.
    pub idle_timeout_seconds: u32,
    /// Seconds of silence after which an upgraded or tunnelled connection is closed.
    pub tunnel_timeout_seconds: u32,
    /// Seconds that requests have to end by themselves when the pod stops.
    pub drain_seconds: u32,
    /// Seconds that connections have to end by themselves after a reload.
    pub reload_drain_seconds: u32,
}

/// A map or list that the rules of frontends read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaproxyFile {
    /// Its name in [`HAPROXY_FILES`]; unique.
    pub name: FileName,
    /// The text.
    pub contents: String,
}

/// The folder on the node that holds the [`HaproxyFile`]s.
pub const HAPROXY_FILES: &str = "/etc/basalt/pods/haproxy/files";

/// One listening place of haproxy and the servers behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frontend {
    /// Also the name of its backend.
    pub name: ItemName,
    /// Where it listens; `0.0.0.0` and `::` are every address of the family.
    pub binds: Vec<Endpoint>,
    /// How connections are carried.
    pub mode: ProxyMode,
    /// Name of a [`Certificate`]: haproxy ends TLS with it. Absent carries bytes as they come.
    pub certificate: Option<ItemName>,
    /// Whether every connection begins with a PROXY protocol header; one without is refused.
    pub accept_proxy: bool,
    /// Connections at once; the cluster's limit when absent.
    pub max_connections: Option<u32>,
    /// New connections in one second, further ones wait; no limit when absent.
    pub max_connections_per_second: Option<u32>,
    /// haproxy's own rules, one line each, in order ([`crate::rules`]).
    pub rules: Vec<String>,
    /// How connections are spread.
    pub balance: Balance,
    /// How haproxy speaks TLS to the servers; absent sends what it has as it is.
    pub server_tls: Option<ServerTls>,
    /// How a server's health is found.
    pub check: HealthCheck,
    /// At least one.
    pub servers: Vec<Server>,
}

/// How haproxy carries connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyMode {
    /// Bytes, without looking inside.
    Tcp,
    /// HTTP requests.
    Http,
}

/// How connections are spread over servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// To the server with the fewest connections.
    LeastConnections,
    /// To one after the other.
    RoundRobin,
    /// By a hash of the client's address, so that a client stays with its server.
    Source,
}

/// How haproxy knows the servers it speaks TLS to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Name of the trust anchor that signs the servers' certificates.
    pub ca: ItemName,
    /// The name they have to hold, which is also asked for (SNI).
    pub host: DnsName,
}

/// How haproxy finds out that a server works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What the server has to do.
    pub ask: Ask,
    /// Whether the check goes over TLS.
    pub tls: CheckTls,
    /// Seconds between checks of a server that works.
    pub interval_seconds: u32,
    /// Seconds that a check may take.
    pub timeout_seconds: u32,
    /// Good answers in a row after which a server works.
    pub rise: u32,
    /// Bad answers in a row after which it does not.
    pub fall: u32,
}

impl HealthCheck {
    /// A connection succeeds, without TLS, at the usual pace.
    pub fn connect() -> HealthCheck {
        let (ask, tls) = (Ask::Connect, CheckTls::Off);
        HealthCheck { ask, tls, interval_seconds: 2, timeout_seconds: 2, rise: 2, fall: 3 }
    }

    /// `GET path` answers 200, without TLS, at the usual pace.
    pub fn http(path: impl Into<String>) -> HealthCheck {
        let ask = Ask::Http { path: path.into(), host: None, status: "200".to_owned() };
        HealthCheck { ask, ..HealthCheck::connect() }
    }
}

/// What a server has to do to pass for one that works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Take a connection, and shake hands where the check goes over TLS.
    Connect,
    /// Answer `GET path`.
    Http {
        /// Absolute path of the request.
        path: String,
        /// The `Host` of the request; `localhost` when absent.
        host: Option<Host>,
        /// Statuses that are fine, `200` or `200-299,401`.
        status: String,
    },
}

/// How a health check uses TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CheckTls {
    /// Not at all.
    Off,
    /// Without a look at the certificate, since the answer decides health only.
    Unverified,
    /// The certificate has to be signed by a trust anchor, and to hold the name where there is one.
    Verified(CheckAnchor),
}

/// What a server's certificate is held against by a health check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAnchor {
    /// Name of the trust anchor.
    pub ca: ItemName,
    /// The name the certificate has to hold, which is also asked for (SNI).
    pub host: Option<DnsName>,
}

/// One server behind a frontend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Unique in its frontend.
    pub name: ItemName,
    /// Where it listens.
    pub address: Endpoint,
    /// Share of the connections, 0 to 256; 100 when absent.
    pub weight: Option<u32>,
    /// Connections at once; further ones wait. No limit when absent.
    pub max_connections: Option<u32>,
    /// Whether it is used only when all others are down.
    pub backup: bool,
    /// The PROXY protocol header that connections to it begin with.
    pub send_proxy: Option<ProxyProtocol>,
}

impl Server {
    /// A server like any other.
    pub fn new(name: ItemName, address: Endpoint) -> Server {
        Server {
            name,
            address,
            weight: None,
            max_connections: None,
            backup: false,
            send_proxy: None,
        }
    }
}

/// A version of the PROXY protocol, which tells a server the client's address:
/// <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}
