//! The lasting identity with the real OpenBao: earned once, kept through whatever comes, and never without a word when
//! somebody else was first.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use basalt_model::node::{IDENTITY_CERTIFICATE_PATH, IDENTITY_KEY_PATH, WRAPPED_SECRET_ID_PATH};
use serde_json::json;

use super::lab::{Lab, text};
use super::{next_slot, put};
use crate::identity::IdentityError;
use crate::identity::enrolment::Refusal;
use crate::identity::store::{ENROLMENT_PATH, IDENTITY_PATH};
use crate::vault::{Vault, VaultError};

const LOGIN: &str = "auth/cert/login";
const FIRST_LOGIN: &str = "auth/approle/login";
const LOOKUP: &str = "sys/wrapping/lookup";
const UNWRAP: &str = "sys/wrapping/unwrap";

fn is_there(lab: &Lab, path: &str) -> bool {
    lab.path(path).exists()
}

/// Nothing of the first login is left, and the identity lies where it belongs, closed to others.
#[track_caller]
pub(super) fn check_identity(lab: &Lab, vault: &Vault) {
    for path in [WRAPPED_SECRET_ID_PATH, ENROLMENT_PATH] {
        assert!(!is_there(lab, path), "{path}");
    }
    for path in [IDENTITY_PATH, IDENTITY_CERTIFICATE_PATH, IDENTITY_KEY_PATH] {
        let mode = lab.path(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{path}");
    }
    let report = vault.report().identity.unwrap();
    assert_eq!(report.state, "good");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let hours = |seconds: u64| (seconds - now) as f64 / 3600.0;
    assert!((47.9..48.1).contains(&hours(report.not_after_unix_seconds.unwrap())));
    assert!((23.9..24.1).contains(&hours(report.renew_at_unix_seconds.unwrap())));
}

#[track_caller]
pub(super) fn refusal(outcome: Result<(), VaultError>) -> Refusal {
    match outcome.unwrap_err() {
        VaultError::Identity(IdentityError::Enrolment(refusal)) => refusal,
        error => panic!("{error}"),
    }
}

/// A first login that cannot be finished stays so: nothing is asked again, also after a restart.
async fn check_stays_refused(lab: &Lab, expected: &Refusal) {
    let asked = |lab: &Lab| lab.server.requests().unwrap().len();
    let before = asked(lab);
    let mut vault = lab.as_node();
    for _ in 0..5 {
        assert_eq!(&refusal(vault.maintain().await), expected);
    }
    assert_eq!(asked(lab), before);
    let report = vault.report();
    assert_eq!(report.error, Some(expected.to_string()));
    assert!(report.hint.unwrap().contains("cargo xtask vault wrap"));
    assert_eq!(report.identity.unwrap().state, "failed");
}

#[tokio::test]
async fn the_first_login_is_the_last_that_needs_a_secret() {
    let Some(lab) = Lab::start() else { return };
    let mut vault = lab.as_node();
    let nothing = vault.maintain().await.unwrap_err();
    assert!(matches!(nothing, VaultError::Identity(IdentityError::Missing)), "{nothing}");
    assert_eq!(vault.report().calls, 0, "nobody is asked in vain");
    assert!(vault.next_maintenance() > std::time::Instant::now());

    lab.deliver("120s");
    vault.maintain().await.unwrap();
    check_identity(&lab, &vault);
    for (path, times) in [(LOOKUP, 1), (UNWRAP, 1), (FIRST_LOGIN, 1), (LOGIN, 1)] {
        assert_eq!(lab.count(path, 200), times, "{path}");
    }
    vault.kv("secret", "registry").await.unwrap();

    // The next starts have the identity alone; what lies below `/run` is gone after a boot.
    for start in 2..4 {
        std::fs::remove_dir_all(lab.path("/run/basalt")).unwrap();
        let mut vault = lab.as_node();
        vault.kv("secret", "registry").await.unwrap();
        check_identity(&lab, &vault);
        assert_eq!((lab.count(LOGIN, 200), lab.count(FIRST_LOGIN, 200)), (start, 1));
    }
    // A wrapping token that is not needed is not left lying about.
    lab.deliver("120s");
    let mut vault = lab.as_node();
    vault.maintain().await.unwrap();
    check_identity(&lab, &vault);
    assert_eq!(lab.count(LOOKUP, 200), 1);
}

#[tokio::test]
async fn a_secret_that_somebody_else_unwrapped_is_shouted_about() {
    let Some(lab) = Lab::start() else { return };
    let token = lab.deliver("120s");
    let unwrapped = lab.server.call("POST", UNWRAP, Some(&token), None).unwrap();
    assert_eq!(unwrapped.status, 200);
    let refused = refusal(lab.as_node().maintain().await);
    assert!(refused == Refusal::Unknown && refused.is_alarm());
    check_stays_refused(&lab, &refused).await;
    assert_eq!((lab.count(LOOKUP, 400), lab.count(UNWRAP, 400)), (1, 0));

    // A new one is taken, by the running agent too.
    lab.deliver("120s");
    let mut vault = lab.as_node();
    vault.maintain().await.unwrap();
    check_identity(&lab, &vault);
}

#[tokio::test]
async fn an_expired_one_is_told_like_an_intercepted_one() {
    let Some(lab) = Lab::start() else { return };
    lab.deliver("1s");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let refused = refusal(lab.as_node().maintain().await);
    assert_eq!(refused, Refusal::Unknown);
    check_stays_refused(&lab, &refused).await;
}

#[tokio::test]
async fn a_token_from_elsewhere_is_never_unwrapped() {
    let Some(lab) = Lab::start() else { return };
    lab.server.write("auth/approle/role/evil", &json!({"token_policies": "default"})).unwrap();
    for path in ["auth/approle/role/evil/secret-id", "auth/token/create", "sys/wrapping/wrap"] {
        let token = lab.wrap(path, "120s");
        put(&lab.host, WRAPPED_SECRET_ID_PATH, &token);
        let refused = refusal(lab.as_node().maintain().await);
        let expected = "auth/approle/role/lab-n1/secret-id".to_owned();
        assert_eq!(refused, Refusal::WrongPath { found: path.to_owned(), expected });
        assert!(refused.is_alarm());
        check_stays_refused(&lab, &refused).await;
    }
    assert_eq!(lab.count(UNWRAP, 200), 0);
}

/// Between the look at the token and its use, and with the answer lost on the way.
#[tokio::test]
async fn what_was_lost_while_unwrapping_is_told_apart() {
    let Some(lab) = Lab::start() else { return };
    // Killed after it wrote down that it unwraps, and before it asked: the token is still good.
    let token = lab.deliver("120s");
    let record = |token: &str| {
        let fingerprint = crate::secret::Secret::new(token.to_owned()).fingerprint();
        put(
            &lab.host,
            ENROLMENT_PATH,
            &json!({"schema": 1, "token": fingerprint, "stage": "unwrapping"}).to_string(),
        );
    };
    record(&token);
    let mut vault = lab.as_node();
    vault.maintain().await.unwrap();
    check_identity(&lab, &vault);

    // Killed after Vault unwrapped it, and before the answer was written down.
    std::fs::remove_file(lab.path(IDENTITY_PATH)).unwrap();
    let token = lab.deliver("120s");
    record(&token);
    lab.server.call("POST", UNWRAP, Some(&token), None).unwrap().success().unwrap();
    let refused = refusal(lab.as_node().maintain().await);
    assert!(refused == Refusal::Interrupted && !refused.is_alarm());
    check_stays_refused(&lab, &refused).await;
}

#[tokio::test]
async fn the_identity_renews_itself() {
    let Some(lab) = Lab::start() else { return };
    lab.deliver("120s");
    let mut vault = lab.as_node();
    vault.maintain().await.unwrap();
    let files = || {
        let read = |path: &str| std::fs::read_to_string(lab.path(path)).unwrap();
        (read(IDENTITY_CERTIFICATE_PATH), read(IDENTITY_KEY_PATH), read(IDENTITY_PATH))
    };
    let first = files();
    vault.maintain().await.unwrap();
    assert_eq!(files(), first, "it is not time yet");
    vault.age_identity();
    vault.maintain().await.unwrap();
    let second = files();
    assert!(first.0 != second.0 && first.1 != second.1 && first.2 != second.2);
    check_identity(&lab, &vault);
    vault.kv("secret", "registry").await.unwrap();
    assert_eq!((lab.count(LOGIN, 200), lab.count("identity-pki/sign/node", 200)), (2, 2));

    // One that would not log in never takes the place of the one that does.
    let role = |names: &str| {
        lab.server
            .write("auth/cert/certs/lab-nodes", &json!({"allowed_common_names": names}))
            .unwrap();
    };
    role("n9");
    vault.age_identity();
    vault.maintain().await.unwrap_err();
    assert_eq!(files(), second);
    role("n1");
    let mut vault = lab.as_node();
    vault.kv("secret", "registry").await.unwrap();
}

#[tokio::test]
async fn a_refused_identity_waits_for_a_new_first_login() {
    let Some(lab) = Lab::start() else { return };
    lab.deliver("120s");
    lab.as_node().maintain().await.unwrap();
    // As after years without power, or after somebody took the node out of the fleet.
    let role =
        |body: serde_json::Value| lab.server.write("auth/cert/certs/lab-nodes", &body).unwrap();
    role(json!({"allowed_common_names": "n9"}));
    let mut vault = lab.as_node();
    let error = vault.maintain().await.unwrap_err();
    assert!(
        matches!(error, VaultError::Identity(IdentityError::Refused { is_over: false, .. })),
        "{error}"
    );
    assert_eq!(vault.report().identity.unwrap().state, "refused");
    assert!(vault.report().hint.unwrap().contains("cargo xtask vault wrap"));
    role(json!({"allowed_common_names": "n1"}));
    next_slot(&vault).await;
    vault.maintain().await.unwrap();

    // The key was sealed by another machine, and the file is damaged: a new first login helps in both cases.
    let damages = [
        "{}",
        "{\"schema\":1,\"certificate\":\"x\",\"key\":{\"by\":\"systemd-creds\",\"text\":\"AAAA\"}}",
    ];
    for damage in damages {
        put(&lab.host, IDENTITY_PATH, damage);
        let mut vault = lab.as_node();
        let error = vault.maintain().await.unwrap_err();
        assert!(matches!(error, VaultError::Identity(IdentityError::Unreadable { .. })), "{error}");
        assert_eq!(vault.report().identity.unwrap().state, "unreadable");
        lab.deliver("120s");
        vault.maintain().await.unwrap();
        check_identity(&lab, &vault);
    }

    // Refused while a new one lies ready: it is taken at the next slot.
    let first = lab.count(FIRST_LOGIN, 200);
    let ca = text(&lab.server.read("pki/cert/ca").unwrap()["data"]["certificate"]);
    let right = text(&lab.server.read("identity-pki/cert/ca").unwrap()["data"]["certificate"]);
    role(json!({ "certificate": ca }));
    let mut vault = lab.as_node();
    vault.maintain().await.unwrap_err();
    lab.deliver("120s");
    role(json!({ "certificate": right }));
    next_slot(&vault).await;
    vault.maintain().await.unwrap();
    assert_eq!(lab.count(FIRST_LOGIN, 200), first + 1);
    check_identity(&lab, &vault);
}
