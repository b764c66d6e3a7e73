//! How a running pod of ours is spoken to, for whoever changes its config without replacing it.
//!
//! haproxy: write the config files, run [`check_command`] in the container, say `reload` on [`HAPROXY_MASTER_SOCKET`],
//! and read from `show proc` that a new worker serves. The old one hands over its listening sockets. A certificate
//! alone is swapped on [`HAPROXY_ADMIN_SOCKET`] (`set ssl cert`, `commit ssl cert`), by the path that the config has.
//!
//! keepalived: write the config files, run [`check_command`] in the container, then [`KEEPALIVED_RELOAD_COMMAND`], and
//! [`keepalived_verify_command`] to see that it took it.

use std::net::SocketAddr;

use basalt_model::names::AbsolutePath;
use basalt_model::node::Frontend;

use crate::pods::{haproxy, keepalived};

/// The name of the haproxy pod.
pub const HAPROXY: &str = haproxy::NAME;

/// The name of the keepalived pod.
pub const KEEPALIVED: &str = keepalived::NAME;

/// The folder on the host, also in the pod, that holds haproxy's sockets. Only root may open them.
pub const HAPROXY_DIRECTORY: &str = "/run/basalt/haproxy";

/// Takes the worker's runtime commands, at level `admin`. It changes hands with each reload.
pub const HAPROXY_ADMIN_SOCKET: &str = "/run/basalt/haproxy/admin.sock";

/// Takes the master's commands: `reload`, `show proc`.
pub const HAPROXY_MASTER_SOCKET: &str = "/run/basalt/haproxy/master.sock";

/// Holds `1` while haproxy is about to stop: keepalived lets the virtual addresses go as long as there is a better
/// node. Gone when haproxy starts.
pub const HAPROXY_DRAIN_FILE: &str = "/run/basalt/haproxy/drain";

/// The file that haproxy reads the certificate in `directory` from, with its chain and key; also its name in runtime
/// commands.
pub fn haproxy_certificate_file(directory: &AbsolutePath) -> String {
    haproxy::combined(directory)
}

/// Where haproxy shakes hands for `frontend` beside its real listeners, whatever addresses the node has; only root may
/// connect, and nothing goes on to a server.
pub fn haproxy_handshake_socket(frontend: &Frontend) -> String {
    haproxy::own_socket(frontend)
}

/// The path by which the witness of another node's haproxy is asked (`haproxy.witness_port`) whether it reaches a port of
/// a virtual address: 200 when it does, 503 when it does not.
pub fn haproxy_witness_path(address: SocketAddr) -> String {
    haproxy::witness::path(address)
}

/// Makes keepalived read its config again: it is the first process of its container.
pub const KEEPALIVED_RELOAD_COMMAND: [&str; 3] = ["/bin/sh", "-c", "kill -HUP 1"];

/// The command that says with its exit status whether keepalived answers, and that no instance of it is in fault. It
/// takes a second or more.
pub fn keepalived_verify_command() -> Vec<String> {
    keepalived::verify_command()
}

/// The command that looks at the config files of pod `name` inside its container, and says with its exit status whether
/// the program takes them. `None` means that the pod has to be replaced for a new config to come into use.
pub fn check_command(name: &str) -> Option<Vec<String>> {
    match name {
        haproxy::NAME => Some(haproxy::check_command()),
        keepalived::NAME => Some(keepalived::check_command()),
        _ => None,
    }
}
