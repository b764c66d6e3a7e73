//! Every way to log in to the real OpenBao, and what may be done in it then.

use std::time::{Duration, Instant};

use basalt_model::node::VaultAuth;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use x509_parser::parse_x509_certificate;

use super::lab::{Lab, PASSWORD, web_request, web_token};
use super::{next_slot, put, token_auth};
use crate::identity::certificate::make_key;
use crate::vault::{Vault, VaultError};

/// Uses everything that a login is for.
async fn use_it(vault: &mut Vault) {
    let (request, key) = web_request();
    let signed = vault.sign(&request).await.unwrap();
    let der = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap();
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
    assert_eq!(certificate.public_key().raw, public_key);
    let names = certificate.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names.len(), 4, "{names:?}");
    assert_eq!(signed.chain, Vec::<String>::new(), "the root is in no chain");
    let kv = vault.kv("secret", "registry").await.unwrap();
    assert_eq!(kv.expose()["password"], PASSWORD);
    let read = vault.read("secret/data/registry").await.unwrap();
    assert_eq!(read.expose()["data"]["password"], PASSWORD);
    vault.write_kv("secret", "reports/n1", &json!({"at": 7})).await.unwrap();
    assert_eq!(vault.kv("secret", "reports/n1").await.unwrap().expose()["at"], 7);
    assert_eq!(vault.issuers("pki").await.unwrap(), [signed.issuing_ca]);
}

#[tokio::test]
async fn every_way_to_log_in() {
    let Some(lab) = Lab::start() else { return };
    let path = |name: &str| format!("/etc/basalt/auth/{name}");
    put(&lab.host, &path("secret-id"), &lab.secret_id());
    put(&lab.host, &path("web-token"), &web_token(&lab.server));
    put(&lab.host, &path("token"), &lab.token(json!({"policies": ["node"], "ttl": "60s"})));
    let made = make_key("n1").unwrap();
    let signed = json!({"csr": made.csr_pem, "common_name": "n1"});
    let signed = lab.server.write("identity-pki/sign/node", &signed).unwrap();
    put(&lab.host, &path("certificate.pem"), signed["data"]["certificate"].as_str().unwrap());
    put(&lab.host, &path("key.pem"), made.key_pem.expose());
    let file = |name: &str| path(name).parse().unwrap();
    let cert = |role: Option<&str>| VaultAuth::Cert {
        mount: "cert".to_owned(),
        role: role.map(str::to_owned),
        certificate_file: file("certificate.pem"),
        key_file: file("key.pem"),
    };
    let app_role = VaultAuth::AppRole {
        mount: "approle".to_owned(),
        role_id: "lab-n1".to_owned(),
        secret_id_file: file("secret-id"),
    };
    let jwt = VaultAuth::Jwt {
        mount: "jwt".to_owned(),
        role: "node".to_owned(),
        token_file: file("web-token"),
    };
    let token = VaultAuth::Token { token_file: file("token") };
    for auth in [app_role, cert(Some("lab-nodes")), cert(None), jwt, token] {
        let mut vault = lab.talk(auth.clone());
        use_it(&mut vault).await;
        let report = vault.report();
        assert_eq!((report.logins, report.failures), (1, 0), "{auth:?}");
        assert_eq!(report.servers[0].state, "active");
        let seen = vault.last_seen_date().unwrap().date;
        let off =
            seen.duration_since(std::time::SystemTime::now()).map_err(|error| error.duration());
        assert!(off.unwrap_or_else(|off| off) < Duration::from_secs(5));
    }
    // The role that is named is the one that counts.
    let error = lab.talk(cert(Some("other"))).kv("secret", "registry").await.unwrap_err();
    assert!(matches!(error, VaultError::Refused { .. } | VaultError::Denied { .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_renewed_in_time() {
    let Some(lab) = Lab::start() else { return };
    let token = lab.token(json!({"policies": ["node"], "ttl": "12s"}));
    let mut vault = lab.talk(token_auth(&lab.host, &token));
    vault.maintain().await.unwrap();
    let due = vault.next_maintenance();
    let pause = due.duration_since(Instant::now()).as_secs_f64();
    assert!((5.0..8.1).contains(&pause), "{pause}");
    tokio::time::sleep_until(due.into()).await;
    vault.maintain().await.unwrap();
    assert_eq!(lab.count("auth/token/renew-self", 200), 1);
    tokio::time::sleep(Duration::from_secs(7)).await;
    vault.kv("secret", "registry").await.unwrap();
    assert_eq!(vault.report().logins, 1, "ten seconds with a token of nine");
}

#[tokio::test]
async fn a_revoked_token_costs_one_login() {
    let Some(lab) = Lab::start() else { return };
    let first = lab.token(json!({"policies": ["node"]}));
    let mut vault = lab.talk(token_auth(&lab.host, &first));
    vault.kv("secret", "registry").await.unwrap();
    lab.server.write("auth/token/revoke", &json!({ "token": first })).unwrap();
    put(&lab.host, "/etc/basalt/token/token", &lab.token(json!({"policies": ["node"]})));
    let error = vault.kv("secret", "registry").await.unwrap_err();
    assert!(matches!(error, VaultError::Denied { .. }), "{error}");
    loop {
        match vault.kv("secret", "registry").await {
            Ok(_) => break,
            Err(VaultError::Waiting { until, .. }) => tokio::time::sleep_until(until.into()).await,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(vault.report().logins, 2);
    assert_eq!(lab.count("secret/data/registry", 403), 1);
}

/// What the policy leaves out is asked for once per slot, and never ends the session of the rest.
#[tokio::test]
async fn what_is_denied_costs_one_login_and_no_other_question() {
    let Some(lab) = Lab::start() else { return };
    let token = lab.token(json!({"policies": ["node"]}));
    let mut vault = lab.talk(token_auth(&lab.host, &token));
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < Duration::from_secs(2) {
        match vault.kv("secret", "forbidden").await.unwrap_err() {
            VaultError::Denied { what, .. } => {
                assert_eq!(what, "GET secret/data/forbidden");
                asked += 1;
            }
            VaultError::Waiting { .. } => {}
            error => panic!("{error}"),
        }
        vault.kv("secret", "registry").await.unwrap();
        next_slot(&vault).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(lab.count("secret/data/forbidden", 403), asked);
    assert!((3..14).contains(&asked), "{asked}");
    assert_eq!(vault.report().logins, 2);
}
