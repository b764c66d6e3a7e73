//! haproxy: carries the Kubernetes API, and any other frontend, to servers that work.
//!
//! It runs as master and worker: the master takes `reload` on [`HAPROXY_MASTER_SOCKET`], starts a new worker with the
//! files as they are then and hands it the listening sockets, so that a new config costs no connection. So a changed
//! config leaves the manifest as it is, unless ports, rights or mounts change with it.
//!
//! Health is asked on a loopback port. `/healthz` answers as long as the process does; `/readyz` fails as soon as
//! one backend has no living server or a listener cannot shake hands; `/readyz/INSTANCE` looks only at what the
//! addresses of one VRRP instance carry, and is what keepalived asks ([`super::keepalived`]).
//!
//! Where addresses move, it also is a witness of them for the other nodes ([`witness`]).
//!
//! A shell is the container's first process, because the kubelet stops containers by SIGTERM, which haproxy takes for
//! "drop everything" (`lifecycle.stopSignal` would change it, but is off by default up to Kubernetes 1.36, and an
//! image's STOPSIGNAL is not ours). [`start_script`] tells keepalived to let go of the addresses, lets haproxy serve
//! until they are gone, and only then closes the ports. The image needs `/bin/sh`, `rm` and `sleep`.
//!
//! It runs as root without capabilities, since its sockets lie in a folder of the host that is root's own, as do keys.

mod check;
mod config;
pub(crate) mod witness;

use std::net::SocketAddr;

use basalt_model::names::{AbsolutePath, ItemName};
use basalt_model::node::{Certificate, CheckTls, Frontend, Haproxy, Node};

use crate::TRUST_DIRECTORY;
use crate::control::{HAPROXY_DIRECTORY, HAPROXY_DRAIN_FILE, HAPROXY_MASTER_SOCKET};
use crate::manifest::{Capability, HostPathType, Requests};
use crate::parts::{
    Draft, Findings, LIVENESS, Mount, PodParts, Probes, READINESS, STARTUP, absolute,
    config_directory, config_file, loopback_port, shell, tcp_port,
};

pub(crate) const NAME: &str = "haproxy";

/// Answers as long as the process does.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// Answers 200 when every backend has a living server, 503 otherwise. With the name of a VRRP instance behind it, only
/// what its addresses carry counts.
pub(crate) const READY_PATH: &str = "/readyz";

/// Binding below 1024 is all haproxy may ever need.
pub(crate) const ALLOWED_CAPABILITIES: [Capability; 1] = [Capability::NetBindService];

/// What our own sections are called; a frontend of the node cannot be called so.
const OWN_PREFIX: &str = "basalt-";

/// What the container needs to end after its last connection has.
const END_SECONDS: u32 = 5;

pub(crate) fn draft(node: &Node, haproxy: &Haproxy, findings: &mut Findings) -> Draft {
    check::check(node, haproxy, findings);
    let certificates = check::used_certificates(node, haproxy, findings);
    let binds = || haproxy.frontends.iter().flat_map(|frontend| &frontend.binds);
    let witness = witness::binds(node, haproxy);
    let has_low_port = binds()
        .map(|bind| bind.0.port())
        .chain(witness.iter().map(SocketAddr::port))
        .any(|port| port < 1024);
    let mut ports = vec![loopback_port(haproxy.monitor_port)];
    ports.extend(binds().map(|bind| tcp_port(bind.0.ip(), bind.0.port())));
    ports.extend(witness.iter().map(|bind| tcp_port(bind.ip(), bind.port())));
    let hand_over = hand_over_seconds(node);
    let config = config::config(node, haproxy, &certificates);
    let mut files = vec![config_file(NAME, "haproxy.cfg", 0o644, config)];
    files.extend(haproxy.files.iter().map(|file| {
        config_file(NAME, &format!("files/{}", file.name), 0o644, file.contents.clone())
    }));
    let parts = PodParts {
        name: NAME,
        component: "load-balancer",
        cluster: &node.cluster,
        image: &haproxy.image,
        command: shell(&start_script(hand_over, haproxy.drain_seconds)),
        ports,
        // No limit: a load balancer that is killed for its memory takes the API down with it.
        requests: Requests { cpu: "100m", memory: "200Mi" },
        user: 0,
        capabilities: if has_low_port { vec![Capability::NetBindService] } else { Vec::new() },
        probes: Probes {
            startup: STARTUP.http(haproxy.monitor_port, HEALTH_PATH),
            liveness: LIVENESS.http(haproxy.monitor_port, HEALTH_PATH),
            readiness: READINESS.http(haproxy.monitor_port, READY_PATH),
        },
        mounts: mounts(haproxy, &certificates),
        grace_seconds: hand_over.saturating_add(haproxy.drain_seconds).saturating_add(END_SECONDS),
        files,
        takes_config: true,
    };
    Draft::new(parts, &ALLOWED_CAPABILITIES)
}

/// Looks at the config as it is on the disk.
pub(crate) fn check_command() -> Vec<String> {
    ["haproxy", "-c", "-f", &config_path()].map(str::to_owned).to_vec()
}

fn config_path() -> String {
    format!("{}/haproxy.cfg", config_directory(NAME))
}

/// The names of the trust anchors that servers are held against.
fn anchors(frontend: &Frontend) -> impl Iterator<Item = &ItemName> {
    let checked = match &frontend.check.tls {
        CheckTls::Verified(anchor) => Some(&anchor.ca),
        CheckTls::Off | CheckTls::Unverified => None,
    };
    frontend.server_tls.iter().map(|tls| &tls.ca).chain(checked)
}

fn mounts(haproxy: &Haproxy, certificates: &[&Certificate]) -> Vec<Mount> {
    let run = Mount::host_writable("run", absolute(HAPROXY_DIRECTORY));
    let mut mounts = vec![Mount::config(NAME), run];
    if haproxy.frontends.iter().any(|frontend| anchors(frontend).next().is_some()) {
        mounts.push(Mount::host("trust", absolute(TRUST_DIRECTORY), HostPathType::Directory));
    }
    // Folders, not files: what is renamed into place is seen inside.
    mounts.extend(certificates.iter().map(|certificate| {
        let name = format!("certificate-{}", certificate.name);
        Mount::host(&name, certificate.directory.clone(), HostPathType::Directory)
    }));
    mounts
}

/// The file that haproxy reads certificate and key from; also their name in its runtime commands.
pub(crate) fn combined(directory: &AbsolutePath) -> String {
    format!("{directory}/combined.pem")
}

/// At most 90 of the 107 characters that a socket's name may have, with room for what haproxy adds while it binds.
pub(crate) fn own_socket(frontend: &Frontend) -> String {
    format!("{HAPROXY_DIRECTORY}/tls-{}.sock", frontend.name)
}

/// How long keepalived's peers take to step in, once it has let go: three adverts that they miss, and what adds up.
fn hand_over_seconds(node: &Node) -> u32 {
    let instances = node.keepalived.iter().flat_map(|keepalived| &keepalived.instances);
    let slowest = instances.map(|instance| u32::from(instance.advert_interval_seconds)).max();
    slowest.map_or(0, |seconds| 3 * seconds + 1)
}

/// Becomes the parent of haproxy's master, and stops it in steps. A second signal on the way means hurry.
///
/// The master ends by itself once its workers have no connection left; those that still have some are told to drop
/// them when their time is over.
fn start_script(hand_over: u32, drain: u32) -> String {
    format!(
        "rm -f {HAPROXY_DRAIN_FILE}
haproxy -W -db -S {HAPROXY_MASTER_SOCKET},mode,600 -f {config} &
master=$!
stop() {{
  trap : TERM USR1
  echo 1 > {HAPROXY_DRAIN_FILE}
  sleep {hand_over}
  kill -USR1 $master
  (sleep {drain}; kill -TERM $master) &
  wait $master
  exit 0
}}
trap stop TERM USR1
wait $master
",
        config = config_path()
    )
}
