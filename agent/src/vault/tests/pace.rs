//! How often a Vault that does not do what it is asked hears from a node whose every part is in a hurry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::vault_server::Authority;

use super::stub::{Asked, HEALTHY, Reply, Stub, TOKEN};
use super::{QUICK, talk, token_auth};
use crate::testing::scratch_host;
use crate::vault::VaultError;

const SPAN: Duration = Duration::from_secs(3);

/// As many slots as fit into a time, with one more for the call that opens the first.
fn most_slots(span: Duration) -> usize {
    let (mut end, mut length, mut count) = (Duration::ZERO, QUICK.pace.first, 1);
    while end <= span {
        count += 1;
        end += length;
        length = (length * 2).min(QUICK.pace.longest);
    }
    count
}

/// Asks without a pause for three seconds, and gives what the server heard.
async fn hurry(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Vec<Asked> {
    let authority = Authority::new("Vault CA").unwrap();
    let stub = Stub::start(&authority, answer);
    let (_keep, host) = scratch_host();
    let mut vault = talk(
        &host,
        std::slice::from_ref(&stub.address),
        authority.pem(),
        token_auth(&host, "s.token"),
    );
    let started = Instant::now();
    let mut waited = 0;
    while started.elapsed() < SPAN {
        let error = vault.read("secret/data/a").await.unwrap_err();
        waited += usize::from(matches!(error, VaultError::Waiting { .. }));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(waited > 20, "it was in no hurry: {waited}");
    let report = vault.report();
    let asked = stub.asked();
    assert_eq!(report.calls as usize, asked.len(), "every call is counted");
    assert!(report.error.is_some());
    asked
}

fn count(asked: &[Asked], path: &str) -> usize {
    asked.iter().filter(|asked| asked.path == path).count()
}

#[tokio::test]
async fn a_sealed_vault_hears_one_question_per_slot() {
    let sealed = r#"{"initialized":true,"sealed":true,"standby":true}"#;
    let asked = hurry(move |_, _| Reply::Json(503, sealed.to_owned())).await;
    assert_eq!(count(&asked, "sys/health"), asked.len(), "a sealed Vault is asked nothing else");
    assert!((5..=most_slots(SPAN)).contains(&asked.len()), "{} calls", asked.len());
}

#[tokio::test]
async fn after_a_403_there_is_one_login_and_then_one_question_per_slot() {
    let asked = hurry(|_, path| match path {
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        "auth/token/lookup-self" => Reply::Json(200, TOKEN.to_owned()),
        _ => Reply::Json(403, r#"{"errors":["permission denied"]}"#.to_owned()),
    })
    .await;
    assert_eq!(count(&asked, "sys/health"), 1);
    assert_eq!(count(&asked, "auth/token/lookup-self"), 2, "logged in, and once more");
    let questions = count(&asked, "secret/data/a");
    assert!((5..=most_slots(SPAN)).contains(&questions), "{questions} questions");
    assert_eq!(asked.len(), questions + 3);
}

#[tokio::test]
async fn a_refused_login_is_tried_once_per_slot() {
    let asked = hurry(|_, path| match path {
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        _ => Reply::Json(403, r#"{"errors":["permission denied"]}"#.to_owned()),
    })
    .await;
    let logins = count(&asked, "auth/token/lookup-self");
    assert!((5..=most_slots(SPAN)).contains(&logins), "{logins} logins");
    assert_eq!(asked.len(), logins + 1);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let asked = hurry(|_, path| match path {
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        "auth/token/lookup-self" => Reply::Json(200, TOKEN.to_owned()),
        _ => {
            let headers =
                "content-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n";
            Reply::with(429, headers, r#"{"errors":["rate limit quota exceeded"]}"#)
        }
    })
    .await;
    let questions: Vec<&Asked> =
        asked.iter().filter(|asked| asked.path == "secret/data/a").collect();
    assert!((2..=3).contains(&questions.len()), "{} questions", questions.len());
    for pair in questions.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(990), "{pause:?}");
    }
    assert_eq!(asked.len(), questions.len() + 2, "a limited server is not asked for its health");
}

#[tokio::test]
async fn a_mute_vault_hears_one_question_per_slot() {
    let asked = hurry(|_, _| Reply::Drip(Vec::new(), Vec::new(), Duration::from_secs(60))).await;
    assert!((2..=most_slots(SPAN)).contains(&asked.len()), "{} calls", asked.len());
    assert!(asked.iter().all(|asked| asked.path == "sys/health" && asked.method == "GET"));
}

/// A Vault that comes back is used again at the next slot, and one question that stays wrong slows no other down.
#[tokio::test]
async fn what_is_well_is_asked_at_once() {
    let authority = Authority::new("Vault CA").unwrap();
    let is_sealed = Arc::new(AtomicBool::new(true));
    let sealed = is_sealed.clone();
    let stub = Stub::start(&authority, move |_, path| match path {
        _ if sealed.load(Ordering::SeqCst) => {
            Reply::Json(503, r#"{"initialized":true,"sealed":true,"standby":true}"#.to_owned())
        }
        "sys/health" => Reply::Json(200, HEALTHY.to_owned()),
        "auth/token/lookup-self" => Reply::Json(200, TOKEN.to_owned()),
        "kv/good" => Reply::Json(200, r#"{"data":{"a":"b"}}"#.to_owned()),
        _ => Reply::Json(404, r#"{"errors":[]}"#.to_owned()),
    });
    let (_keep, host) = scratch_host();
    let mut vault = talk(
        &host,
        std::slice::from_ref(&stub.address),
        authority.pem(),
        token_auth(&host, "s.token"),
    );
    vault.read("kv/good").await.unwrap_err();
    is_sealed.store(false, Ordering::SeqCst);
    super::next_slot(&vault).await;
    vault.read("kv/good").await.unwrap();
    for _ in 0..20 {
        vault.read("kv/missing").await.unwrap_err();
        assert_eq!(vault.not_before_next_call(), None);
        vault.read("kv/good").await.unwrap();
    }
    let missing = count(&stub.asked(), "kv/missing");
    assert!(missing < 10, "{missing} times");
}
