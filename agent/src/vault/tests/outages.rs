//! The real OpenBao on its bad days, told apart, and left alone.

use std::time::{Duration, Instant};

use e2e::vault_server::{Authority, Place, VaultCluster, VaultServer, program};
use serde_json::json;

use super::lab::{Lab, PASSWORD};
use super::{QUICK, next_slot, talk, token_auth};
use crate::testing::scratch_host;
use crate::vault::{Vault, VaultError};

/// Asks until an answer or `limit`.
async fn until_it_answers(vault: &mut Vault, limit: Duration) -> Duration {
    let started = Instant::now();
    loop {
        match vault.kv("secret", "registry").await {
            Ok(kv) => {
                assert_eq!(kv.expose()["password"], PASSWORD);
                return started.elapsed();
            }
            Err(error) => assert!(started.elapsed() < limit, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks in a hurry for two seconds, and gives what status says of the server then, and the worst error.
async fn hurry(vault: &mut Vault) -> (String, String) {
    let started = Instant::now();
    let mut error = String::new();
    while started.elapsed() < Duration::from_secs(2) {
        match vault.kv("secret", "registry").await.unwrap_err() {
            VaultError::Waiting { .. } => {}
            other => error = other.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (vault.report().servers[0].state.clone(), error)
}

/// As many slots as fit into the two seconds of [`hurry`].
fn most_slots() -> usize {
    let longest = QUICK.pace.longest.as_millis() as usize;
    2000 / longest + 6
}

#[tokio::test]
async fn each_bad_day_has_its_name_and_its_end() {
    let Some(mut lab) = Lab::start() else { return };
    let token = lab.token(json!({"policies": ["node"]}));
    let mut vault = lab.talk(token_auth(&lab.host, &token));
    vault.kv("secret", "registry").await.unwrap();

    let before = lab.server.requests().unwrap().len();
    lab.server.seal().unwrap();
    let (state, error) = hurry(&mut vault).await;
    assert_eq!(state, "sealed");
    assert!(error.contains("is sealed"), "{error}");
    let asked = lab.server.requests().unwrap().split_off(before);
    let by_agent = |path: &str| asked.iter().filter(|asked| asked.path == path).count();
    assert!(by_agent("secret/data/registry") <= 1, "a sealed Vault hears no questions");
    assert!(by_agent("sys/health") <= most_slots() + 5, "{}", by_agent("sys/health"));
    assert!(vault.report().hint.unwrap().contains("unseal"));
    lab.server.unseal().unwrap();
    until_it_answers(&mut vault, Duration::from_secs(5)).await;

    lab.server.pause().unwrap();
    let (state, error) = hurry(&mut vault).await;
    lab.server.resume().unwrap();
    assert_eq!(state, "unreachable");
    assert!(error.contains("no answer in time") || error.contains("no connection"), "{error}");
    until_it_answers(&mut vault, Duration::from_secs(5)).await;

    lab.server.kill().unwrap();
    let (state, error) = hurry(&mut vault).await;
    assert_eq!(state, "unreachable");
    assert!(error.contains("refused"), "{error}");
    lab.server.restart().unwrap();
    until_it_answers(&mut vault, Duration::from_secs(5)).await;

    // A certificate by somebody else, and the token must not be shown to it.
    lab.server.present(&Authority::new("Somebody else").unwrap()).unwrap();
    let is_there = || lab.server.health().err();
    e2e::wait::until("the other certificate", Duration::from_secs(30), is_there).unwrap();
    let mut vault = lab.talk(token_auth(&lab.host, &token));
    let (state, error) = hurry(&mut vault).await;
    assert_eq!(state, "untrusted");
    assert!(error.contains("not by the trust anchor"), "{error}");
    assert_eq!(vault.report().logins, 0);
}

#[tokio::test]
async fn one_that_was_never_set_up_is_not_called_sealed() {
    let Some(program) = program() else { return };
    let mut server = VaultServer::start_uninitialised(&program, &Place::Loopback).unwrap();
    let (_keep, host) = scratch_host();
    let mut vault = talk(&host, &[server.address()], server.ca_pem(), token_auth(&host, "s.token"));
    let (state, error) = hurry(&mut vault).await;
    assert_eq!(state, "uninitialised");
    assert!(error.contains("is not initialised"), "{error}");
    server.init().unwrap();
    next_slot(&vault).await;
    let (state, _) = hurry(&mut vault).await;
    assert_eq!(state, "sealed");
}

#[tokio::test]
async fn rate_limits_are_honoured() {
    let Some(lab) = Lab::start() else { return };
    let token = lab.token(json!({"policies": ["node"]}));
    let mut vault = lab.talk(token_auth(&lab.host, &token));
    vault.kv("secret", "registry").await.unwrap();
    let config = json!({"enable_rate_limit_response_headers": true});
    lab.server.write("sys/quotas/config", &config).unwrap();
    let quota = json!({"path": "secret/", "rate": 1, "interval": "1s", "block_interval": "3s"});
    lab.server.write("sys/quotas/rate-limit/secret", &quota).unwrap();
    let started = Instant::now();
    let error = loop {
        if let Err(error) = vault.kv("secret", "registry").await {
            break error;
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    };
    assert!(error.to_string().contains("asks to be left alone"), "{error}");
    assert_eq!(lab.count("secret/data/registry", 429), 1);
    let pause = vault.not_before_next_call().unwrap().duration_since(Instant::now());
    assert!(pause > Duration::from_millis(1500), "{pause:?}");
    // The server rounds the rest of the three seconds down, to nothing in the end: then it is one question per slot.
    until_it_answers(&mut vault, Duration::from_secs(10)).await;
    assert!(lab.count("secret/data/registry", 429) <= 8);
}

/// Three servers: a standby answers as well, and when the leader dies another one is asked in the same breath.
#[tokio::test]
async fn a_cluster_is_as_good_as_its_best_server() {
    let Some(program) = program() else { return };
    let places = [Place::Loopback, Place::Loopback, Place::Loopback];
    let mut cluster = VaultCluster::start(&program, &places).unwrap();
    let leader = cluster.leader().unwrap();
    super::lab::set_up(&cluster.servers[leader]);
    let made = cluster.servers[leader].write("auth/token/create", &json!({"policies": ["node"]}));
    let token = super::lab::text(&made.unwrap()["auth"]["client_token"]);
    let ca_pem = cluster.servers[0].ca_pem().to_owned();
    let (_keep, host) = scratch_host();

    // A standby alone.
    let standby = (0..3).find(|index| *index != leader).unwrap();
    let address = cluster.servers[standby].address();
    let mut vault = talk(&host, &[address], &ca_pem, token_auth(&host, &token));
    // What the leader was told reaches it a moment later.
    until_it_answers(&mut vault, Duration::from_secs(30)).await;
    assert_eq!(vault.report().servers[0].state, "standby");

    // The first of the list is nobody; the leader dies.
    let mut addresses = vec!["https://127.0.0.1:1".to_owned()];
    addresses.extend(cluster.addresses());
    let mut vault = talk(&host, &addresses, &ca_pem, token_auth(&host, &token));
    vault.kv("secret", "registry").await.unwrap();
    let report = vault.report();
    assert_eq!((report.servers[0].state.as_str(), report.error), ("unreachable", None));
    cluster.servers[leader].kill().unwrap();
    let took = until_it_answers(&mut vault, Duration::from_secs(60)).await;
    eprintln!("after the leader died the next answer took {} ms", took.as_millis());
    let calls = vault.report().calls;
    vault.kv("secret", "registry").await.unwrap();
    assert_eq!(vault.report().calls, calls + 1, "the one that answers is asked first");
}
