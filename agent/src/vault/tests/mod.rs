//! The whole conversation: with a server that misbehaves, and with the real OpenBao.

mod enrolment;
mod hostile;
mod kills;
mod lab;
mod outages;
mod pace;
mod secrets;
mod session;
mod stub;

use std::time::Duration;

use basalt_model::node::{Node, VaultAuth};

use super::slots::Pace;
use super::transport::Limits;
use super::{Manners, Vault};
use crate::host::Host;

/// Quick enough for a test to see many slots.
const QUICK: Manners = Manners {
    limits: Limits {
        connect: Duration::from_millis(500),
        idle: Duration::from_millis(600),
        total: Duration::from_millis(1500),
        body_bytes: 64 << 10,
    },
    pace: Pace { first: Duration::from_millis(40), longest: Duration::from_millis(320) },
};

/// The lab's node, with these servers.
fn node(addresses: &[String], ca_pem: &str, auth: VaultAuth) -> Node {
    let text = include_str!("../../../../static-pods/tests/lab/n1.json");
    let mut node = Node::from_json("n1.json", text).unwrap();
    let vault = node.vault.as_mut().unwrap();
    vault.addresses = addresses.to_vec();
    vault.auth = auth;
    node.trust_anchors.insert(vault.ca.clone(), ca_pem.to_owned());
    node
}

fn talk(host: &Host, addresses: &[String], ca_pem: &str, auth: VaultAuth) -> Vault {
    Vault::with_manners(host, &node(addresses, ca_pem, auth), QUICK).unwrap()
}

/// A token in a file of its own, as the simplest way to log in.
fn token_auth(host: &Host, token: &str) -> VaultAuth {
    let path = "/etc/basalt/token/token";
    put(host, path, token);
    VaultAuth::Token { token_file: path.parse().unwrap() }
}

/// Writes a file that root alone may read.
fn put(host: &Host, path: &str, contents: &str) {
    use std::os::unix::fs::PermissionsExt;

    let path = host.real(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, contents).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Waits out the pauses that a failure opens.
async fn next_slot(vault: &Vault) {
    if let Some(until) = vault.not_before_next_call() {
        tokio::time::sleep_until(until.into()).await;
    }
}
