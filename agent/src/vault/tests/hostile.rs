//! A server that lies, stalls, floods or leads astray: bounded, refused, and never repeated in a message.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use basalt_model::node::VaultAuth;
use e2e::vault_server::Authority;

use super::stub::{HEALTHY, Reply, Stub, TOKEN};
use super::{QUICK, put, talk, token_auth};
use crate::testing::scratch_host;
use crate::vault::error::Fault;
use crate::vault::{SignRequest, Vault, VaultError};

const SECRET: &str = "s.averysecrettoken";

fn request() -> SignRequest {
    SignRequest {
        mount: "pki".to_owned(),
        role: "web".to_owned(),
        csr_pem: "csr".to_owned(),
        common_name: "n1".to_owned(),
        alt_names: Vec::new(),
        ttl_hours: 1,
        exclude_cn_from_sans: false,
    }
}

/// Asks a server for a signature that does `answer` to exactly that, and gives what is wrong with it in the client's eyes.
#[track_caller]
fn fault_of(answer: impl Fn() -> Reply + Send + Sync + 'static) -> (Fault, Duration) {
    let authority = Authority::new("Vault CA").unwrap();
    let stub = Stub::start(&authority, move |_, path| match path {
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        "auth/token/lookup-self" => Reply::Json(200, TOKEN.to_owned()),
        _ => answer(),
    });
    let (error, took) = ask(std::slice::from_ref(&stub.address), authority.pem());
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    let VaultError::NoServer { mut faults } = error else { panic!("{error:?}") };
    assert!(error_is_short(&faults[0].fault));
    (faults.remove(0).fault, took)
}

fn error_is_short(fault: &Fault) -> bool {
    fault.to_string().len() < 1000
}

fn ask(addresses: &[String], ca_pem: &str) -> (VaultError, Duration) {
    let (_keep, host) = scratch_host();
    let mut vault = talk(&host, addresses, ca_pem, token_auth(&host, SECRET));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let started = Instant::now();
        let error = vault.sign(&request()).await.unwrap_err();
        assert!(!format!("{:?}", vault.report()).contains(SECRET));
        (error, started.elapsed())
    })
}

fn json(body: &'static str) -> impl Fn() -> Reply + Send + Sync + 'static {
    move || Reply::Json(200, body.to_owned())
}

#[test]
fn answers_of_a_wrong_form_are_refused_without_being_repeated() {
    let bodies = [
        "",
        "null",
        "[]",
        "{}",
        "{\"data\": null}",
        "{\"data\": {\"certificate\": 5, \"issuing_ca\": \"s.averysecrettoken\"}}",
        "{\"data\": {\"certificate\": [\"s.averysecrettoken\"], \"issuing_ca\": \"\"}}",
        "{\"data\": \"s.averysecrettoken\"}",
        "{\"data\": {\"certificate\": \"",
        "s.averysecrettoken",
        "<html>",
    ];
    for body in bodies {
        let (fault, _) = fault_of(json(body));
        assert!(matches!(fault, Fault::Garbled(_)), "{body}: {fault:?}");
    }
    let deep = || Reply::Json(200, "[".repeat(60_000));
    assert!(matches!(fault_of(deep).0, Fault::Garbled(_)));
    let html = || Reply::with(200, "content-type: text/html\r\n", r#"{"data":{}}"#);
    assert!(matches!(fault_of(html).0, Fault::Garbled(_)));
    let no_http = || Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec());
    let (fault, _) = fault_of(no_http);
    assert!(matches!(fault, Fault::Unreachable(_) | Fault::Garbled(_)), "{fault:?}");
}

/// What Vault says in its errors may hold what it was sent.
#[test]
fn an_echo_of_the_token_stays_in_the_dark() {
    let authority = Authority::new("Vault CA").unwrap();
    let echo = format!(r#"{{"errors":["no policy for {SECRET}"]}}"#);
    let stub = Stub::start(&authority, move |_, path| match path {
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        "auth/token/lookup-self" => Reply::Json(200, TOKEN.to_owned()),
        _ => Reply::Json(400, echo.clone()),
    });
    let (error, _) = ask(std::slice::from_ref(&stub.address), authority.pem());
    assert_eq!(
        error.to_string(),
        "Vault refuses `POST pki/sign/web for `n1`` with status 400: no policy for (secret)"
    );
}

#[test]
fn a_flood_is_cut_off() {
    let declared = || {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{";
        Reply::Raw(head.as_bytes().to_vec())
    };
    let endless = || {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("8000\r\n{}\r\n", "a".repeat(0x8000)).into_bytes();
        Reply::Drip(head.as_bytes().to_vec(), chunk, Duration::ZERO)
    };
    for flood in [Box::new(declared) as Box<dyn Fn() -> Reply + Send + Sync>, Box::new(endless)] {
        let (fault, _) = fault_of(flood);
        assert_eq!(fault, Fault::Garbled(format!("more than {} bytes", QUICK.limits.body_bytes)));
    }
    let headers = || {
        let header = format!("x-a: {}\r\n", "a".repeat(1000)).repeat(2000);
        Reply::with(200, &header, HEALTHY)
    };
    let (fault, _) = fault_of(headers);
    assert!(matches!(fault, Fault::Unreachable(_) | Fault::Garbled(_)), "{fault:?}");
}

#[test]
fn a_stall_ends_in_time() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n";
    let silence = || Reply::Drip(Vec::new(), Vec::new(), Duration::from_secs(60));
    let half = move || Reply::Drip(head.into(), Vec::new(), Duration::from_secs(60));
    let drip = move || Reply::Drip(head.into(), b" ".to_vec(), Duration::from_millis(50));
    let slow_head = || {
        Reply::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), b"a".to_vec(), Duration::from_millis(50))
    };
    let stalls: [Box<dyn Fn() -> Reply + Send + Sync>; 4] =
        [Box::new(silence), Box::new(half), Box::new(drip), Box::new(slow_head)];
    for (index, stall) in stalls.into_iter().enumerate() {
        let (fault, took) = fault_of(stall);
        assert!(matches!(fault, Fault::Unreachable(_)), "{index}: {fault:?}");
        assert!(took < QUICK.limits.total + Duration::from_secs(2), "{index}: {took:?}");
    }
}

/// A node that talks to a server which answers `answer` to the path of its name, and otherwise as a Vault does.
fn node_of(
    name: &'static str,
    answer: impl Fn() -> Reply + Send + Sync + 'static,
) -> (Stub, tempfile::TempDir, Vault) {
    let authority = Authority::new("Vault CA").unwrap();
    let stub = Stub::start(&authority, move |_, path| match path {
        _ if path == name => answer(),
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        "auth/token/lookup-self" => Reply::Json(200, TOKEN.to_owned()),
        _ => Reply::Json(
            200,
            "{\"data\":{\"certificate\":\"a\",\"issuing_ca\":\"a\",\"keys\":[\"a\"]}}".to_owned(),
        ),
    });
    let (keep, host) = scratch_host();
    let auth = match name {
        "auth/jwt/login" => {
            let path = "/etc/basalt/token/token";
            put(&host, path, SECRET);
            let (mount, role) = ("jwt".to_owned(), "node".to_owned());
            VaultAuth::Jwt { mount, role, token_file: path.parse().unwrap() }
        }
        _ => token_auth(&host, SECRET),
    };
    let vault = talk(&host, std::slice::from_ref(&stub.address), authority.pem(), auth);
    (stub, keep, vault)
}

#[track_caller]
fn check_garbled(error: VaultError) {
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    let VaultError::NoServer { faults } = error else { panic!("{error:?}") };
    assert!(matches!(faults[0].fault, Fault::Garbled(_)) && error_is_short(&faults[0].fault));
}

#[tokio::test]
async fn a_login_of_a_wrong_form_is_none() {
    let logins = [
        "{\"data\":{}}",
        "{\"auth\":null}",
        "{\"auth\":{\"client_token\":\"\",\"lease_duration\":60,\"renewable\":true}}",
        "{\"auth\":{\"client_token\":[\"s.averysecrettoken\"],\"lease_duration\":60,\"renewable\":true}}",
        "{\"auth\":{\"client_token\":\"s.averysecrettoken\",\"lease_duration\":-1,\"renewable\":true}}",
        "{\"auth\":{\"client_token\":\"s.averysecrettoken\",\"lease_duration\":1e30,\"renewable\":true}}",
    ];
    let tokens = ["{}", "{\"data\":{\"ttl\":\"1h\"}}", "{\"data\":{\"ttl\":-1}}"];
    let both = [("auth/jwt/login", &logins[..]), ("auth/token/lookup-self", &tokens[..])];
    for (name, bodies) in both {
        for body in bodies {
            let (_stub, _keep, mut vault) = node_of(name, json(body));
            check_garbled(vault.sign(&request()).await.unwrap_err());
        }
    }
}

/// Longer than there will be time: it is good for a long time, and nothing overflows.
#[tokio::test]
async fn a_life_without_end_is_a_long_one() {
    let login = "{\"auth\":{\"client_token\":\"s.averysecrettoken\",\"lease_duration\":18446744073709551615,\"renewable\":true}}";
    let token = "{\"data\":{\"ttl\":18446744073709551615,\"renewable\":true}}";
    for (name, body) in [("auth/jwt/login", login), ("auth/token/lookup-self", token)] {
        let (_stub, _keep, mut vault) = node_of(name, json(body));
        vault.sign(&request()).await.unwrap();
        assert!(vault.next_maintenance() > Instant::now() + Duration::from_secs(60));
        assert!(vault.report().token_seconds.unwrap() > 24 * 3600);
    }
}

#[tokio::test]
async fn issuers_are_few_and_small_and_have_plain_names() {
    let listed = |keys: &[String]| serde_json::json!({"data": {"keys": keys}}).to_string();
    let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let odd = ["", ".", "..", "a/b", "../../../sys/seal", "a?b", "a b", "%2e%2e"];
    let lists = [listed(&many)].into_iter().chain(odd.map(|key| listed(&[key.to_owned()])));
    for list in lists {
        let answer = list.clone();
        let (stub, _keep, mut vault) =
            node_of("pki/issuers", move || Reply::Json(200, answer.clone()));
        check_garbled(vault.issuers("pki").await.unwrap_err());
        let asked = stub.asked();
        assert!(asked.iter().all(|it| !it.path.starts_with("pki/issuer/")), "{list}: {asked:?}");
    }
    for (length, is_taken) in [(20 << 10, false), (8 << 10, true)] {
        let issuer = serde_json::json!({"data": {"certificate": "a".repeat(length)}}).to_string();
        let answer = move || Reply::Json(200, issuer.clone());
        let (_stub, _keep, mut vault) = node_of("pki/issuer/a/json", answer);
        match vault.issuers("pki").await {
            Ok(certificates) => assert!(is_taken && certificates.len() == 1),
            Err(error) => {
                assert!(!is_taken, "{error}");
                check_garbled(error);
            }
        }
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let authority = Authority::new("Vault CA").unwrap();
    let elsewhere = Arc::new(Stub::start(&authority, |_, _| Reply::Json(200, "{}".to_owned())));
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/v1/pki/sign/web", elsewhere.address);
        let location = format!("location: {to}\r\n");
        let (fault, _) = fault_of(move || Reply::with(status, &location, ""));
        assert_eq!(fault, Fault::Redirects { to });
    }
    assert_eq!(elsewhere.asked().len(), 0);
}

#[test]
fn a_server_of_another_authority_hears_nothing() {
    let (ours, theirs) = (Authority::new("Vault CA").unwrap(), Authority::new("Vault CA").unwrap());
    let answer = |_: &str, _: &str| Reply::Json(200, HEALTHY.to_owned());
    let other_authority = Stub::start(&theirs, answer);
    let other_name = Stub::for_name(&ours, "vault.example", answer);
    for (stub, reason) in [
        (&other_authority, "it is not by the trust anchor"),
        (&other_name, "it is for another name"),
    ] {
        let (error, _) = ask(std::slice::from_ref(&stub.address), ours.pem());
        assert_eq!(error.hint(), Some(Fault::Untrusted(String::new()).hint()));
        let VaultError::NoServer { faults } = error else { panic!("{error:?}") };
        assert_eq!(faults[0].fault, Fault::Untrusted(reason.to_owned()));
        assert_eq!(stub.asked().len(), 0);
    }
}

#[test]
fn something_without_tls_is_no_vault() {
    let authority = Authority::new("Vault CA").unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (error, _) = ask(&[address], authority.pem());
    let VaultError::NoServer { faults } = error else { panic!("{error:?}") };
    assert!(matches!(faults[0].fault, Fault::Garbled(_)), "{faults:?}");
}
