//! The lab's own Vault: what other tests do to it really happens.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use e2e::needs::lab_or_skip;
use e2e::network::Switch;
use e2e::vault_server::{Authority, Place, VaultCluster, VaultServer, program};
use serde_json::json;

#[track_caller]
fn made<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn a_server_is_initialised_sealed_paused_killed_and_comes_back() {
    let Some(program) = program() else { return };
    let mut vault = made(VaultServer::start_uninitialised(&program, &Place::Loopback));
    assert_eq!(made(vault.health()), 501);
    made(vault.init());
    assert_eq!(made(vault.health()), 503);
    made(vault.unseal());
    assert_eq!(made(vault.health()), 200);
    assert!(!format!("{vault:?}").contains(vault.root_token()));

    made(vault.write("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}})));
    made(vault.write("secret/data/lab", &json!({"data": {"word": "kept"}})));
    let word = |vault: &VaultServer| made(vault.read("secret/data/lab"))["data"]["data"].clone();
    assert_eq!(word(&vault), json!({"word": "kept"}));

    let before = made(vault.requests()).len();
    made(vault.seal());
    let refused = made(vault.call("GET", "secret/data/lab", Some(vault.root_token()), None));
    assert_eq!(refused.status, 503);
    let asked = made(vault.requests()).split_off(before);
    let sealed = asked.iter().find(|request| request.path == "secret/data/lab").unwrap();
    assert_eq!((sealed.method.as_str(), sealed.status), ("GET", 503));
    assert_eq!(asked.iter().filter(|request| request.path == "sys/seal").count(), 1);
    made(vault.unseal());
    assert_eq!(word(&vault), json!({"word": "kept"}));

    made(vault.pause());
    assert!(takes_connections(vault.socket_address()));
    let answered = std::thread::scope(|scope| {
        let call = scope.spawn(|| made(vault.health()));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!call.is_finished());
        made(vault.resume());
        call.join().unwrap()
    });
    assert_eq!(answered, 200);

    made(vault.kill());
    assert!(!takes_connections(vault.socket_address()));
    made(vault.start_sealed());
    assert_eq!(made(vault.health()), 503);
    made(vault.restart());
    assert_eq!(word(&vault), json!({"word": "kept"}));

    made(vault.present(&made(Authority::new("Somebody else"))));
    let limit = Duration::from_secs(10);
    made(Ok(e2e::wait::until("the other certificate", limit, || vault.health().err()).unwrap()));

    let log = made(vault.log());
    assert!(vault.secrets().len() == 4 && !vault.secrets().iter().any(|text| log.contains(text)));
}

fn takes_connections(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

#[test]
fn three_servers_share_their_data_and_one_takes_over() {
    let Some(program) = program() else { return };
    let places = [Place::Loopback, Place::Loopback, Place::Loopback];
    let mut cluster = made(VaultCluster::start(&program, &places));
    let leader = made(cluster.leader());
    let mut statuses: Vec<u16> =
        cluster.servers.iter().map(|server| made(server.health())).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| [429, 473].contains(status)), "{statuses:?}");
    let standby = &cluster.servers[(leader + 1) % 3];
    made(standby.write("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}})));

    made(cluster.servers[leader].kill());
    let next = made(cluster.leader());
    assert_ne!(next, leader);
    let mounts = made(cluster.servers[next].read("sys/mounts"));
    assert_eq!(mounts["data"]["secret/"]["type"], "kv");
    made(cluster.servers[leader].restart());
}

#[test]
fn a_server_in_a_namespace_is_reached_from_there_alone() {
    if !lab_or_skip() {
        return;
    }
    let Some(program) = program() else { return };
    let switch = made(Switch::new(&["192.0.2.21/24"]));
    let place =
        Place::Namespace { path: switch.namespace(), address: "192.0.2.21".parse().unwrap() };
    let vault = made(VaultServer::start_at(&program, &place));
    assert_eq!(vault.address(), "https://192.0.2.21:8200");
    assert_eq!(made(vault.health()), 200);
    let ca = vault.ca_file().display().to_string();
    let url = format!("{}/v1/sys/health", vault.address());
    let curl = ["curl", "--silent", "--fail", "--max-time", "5", "--cacert", &ca, &url];
    assert!(made(switch.run(&curl)).status.success());
    assert!(!takes_connections(vault.socket_address()));
}
