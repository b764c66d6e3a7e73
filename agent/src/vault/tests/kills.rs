//! The agent is killed at every point where it writes on the way from its first login to its identity, and where the
//! identity changes, with the real OpenBao: the next start has the old one or the new one, or goes on from there.

use basalt_model::node::{IDENTITY_CERTIFICATE_PATH, IDENTITY_KEY_PATH, VaultAuth};
use camino::Utf8Path;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::enrolment::{check_identity, refusal};
use super::lab::{Lab, identity};
use super::talk;
use crate::fault;
use crate::host::Host;
use crate::identity::enrolment::Refusal;
use crate::identity::store::{ENROLMENT_PATH, IDENTITY_PATH};

/// Where the child works, with which Vault, and whether it renews what it has.
const ROOT: &str = "BASALT_TEST_ROOT";
const ADDRESS: &str = "BASALT_TEST_VAULT";
const ANCHOR: &str = "BASALT_TEST_ANCHOR";
const RENEWS: &str = "BASALT_TEST_RENEWS";

const UNWRAP: &str = "sys/wrapping/unwrap";

/// Runs in a process of its own; nothing in this one.
#[tokio::test]
async fn child() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let [address, anchor, renews] =
        [ADDRESS, ANCHOR, RENEWS].map(|name| std::env::var(name).unwrap());
    let host = Host::at(Utf8Path::new(&root)).unwrap();
    let mut vault = talk(&host, &[address], &anchor, VaultAuth::Node(identity()));
    vault.maintain().await.unwrap();
    if renews == "true" {
        vault.age_identity();
        vault.maintain().await.unwrap();
    }
    fault::tell();
}

/// Plays it in a process of its own, and gives whether that was killed at the point of this number, because there is one.
fn is_killed(lab: &Lab, renews: bool, point: usize) -> bool {
    let (root, renews) = (lab.path("/"), renews.to_string());
    let address = lab.server.address();
    let variables = [
        (ROOT, root.as_str()),
        (ADDRESS, &address),
        (ANCHOR, lab.server.ca_pem()),
        (RENEWS, &renews),
    ];
    fault::play("vault::tests::kills::child", &variables, Some(point)).is_none()
}

/// Whoever follows the links now has a certificate and its key; whether they lead somewhere.
#[track_caller]
fn check_pair(lab: &Lab) -> bool {
    let read = |path: &str| std::fs::read_to_string(lab.path(path)).ok();
    let Some((certificate, key)) = read(IDENTITY_CERTIFICATE_PATH).zip(read(IDENTITY_KEY_PATH))
    else {
        return false;
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).unwrap().keys_match().unwrap();
    true
}

#[tokio::test]
async fn killed_at_every_point_of_the_first_login_it_goes_on_or_says_why_not() {
    let Some(lab) = Lab::start() else { return };
    let (mut lost, mut kills) = (Vec::new(), 0);
    for point in 0.. {
        for path in [IDENTITY_PATH, ENROLMENT_PATH] {
            let _ = std::fs::remove_file(lab.path(path));
        }
        lab.deliver("120s");
        let unwrapped = lab.count(UNWRAP, 200);
        let is_killed = is_killed(&lab, false, point);
        kills += usize::from(is_killed);
        check_pair(&lab);
        let mut vault = lab.as_patient_node();
        match vault.maintain().await {
            Ok(()) => {
                check_identity(&lab, &vault);
                assert!(check_pair(&lab));
                vault.kv("secret", "registry").await.unwrap();
            }
            outcome => {
                let refused = refusal(outcome);
                assert!(!refused.is_alarm(), "point {point}: {refused}");
                lost.push((point, refused));
            }
        }
        assert_eq!(lab.count(UNWRAP, 200), unwrapped + 1, "point {point}: unwrapped exactly once");
        if !is_killed {
            break;
        }
    }
    println!("{kills} kills on the way to an identity");
    assert!(kills > 20, "only {kills} points");
    // Unwrapped and not yet written down; the secret id was used (it is good for one login) and the token was not yet
    // written down. Each takes two changes of files.
    let interrupted = lost.iter().filter(|(_, reason)| *reason == Refusal::Interrupted).count();
    let used = lost.iter().filter(|(_, reason)| matches!(reason, Refusal::SecretId { .. })).count();
    assert_eq!((interrupted, used), (2, 2), "{lost:?}");
}

#[tokio::test]
async fn killed_at_every_point_of_its_renewal_there_is_an_identity_that_logs_in() {
    let Some(lab) = Lab::start() else { return };
    lab.deliver("120s");
    lab.as_patient_node().maintain().await.unwrap();
    let mut kills = 0;
    while is_killed(&lab, true, kills) {
        let point = kills;
        kills += 1;
        assert!(check_pair(&lab), "point {point}: there was one all the time");
        let mut vault = lab.as_patient_node();
        vault.maintain().await.unwrap();
        check_identity(&lab, &vault);
        assert!(check_pair(&lab));
        let stored = std::fs::read(lab.path(IDENTITY_PATH)).unwrap();
        let stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
        let laid_out = std::fs::read_to_string(lab.path(IDENTITY_CERTIFICATE_PATH)).unwrap();
        assert_eq!(stored["certificate"], laid_out, "point {point}");
    }
    println!("{kills} kills around a renewal");
    assert!(kills > 10, "only {kills} points");
    assert_eq!(lab.count(UNWRAP, 200), 1, "nobody was asked for help");
}
