//! What an answer of Vault means: pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::Fault;
use super::transport::{Answer, foreign_text};
use crate::secret::Secret;

/// Of Vault's messages, this many are repeated.
const MAX_MESSAGES: usize = 5;

/// Around every answer with content.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    /// The content of an answer to a question.
    pub(super) data: Option<T>,
    /// The content of an answer to a login.
    pub(super) auth: Option<Auth>,
}

/// What a login gives.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: Secret,
    /// In seconds.
    pub(super) lease_duration: u64,
    pub(super) renewable: bool,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server cannot answer; another one may.
    Server(Fault),
    /// Status 403; every server would say the same.
    Denied(Vec<String>),
    /// The question is wrong, and every server would say the same.
    Refused { status: u16, messages: Vec<String> },
}

/// Judges an answer by its status.
pub(super) fn judge(answer: &Answer, secrets: &[&Secret]) -> Result<(), Verdict> {
    let messages = messages(answer, secrets);
    let says = |word: &str| messages.iter().flatten().any(|message| message.contains(word));
    let status = answer.status;
    let refused = |messages| Verdict::Refused { status, messages };
    // What stands between the node and Vault has errors of its own, and they are not Vault's.
    let not_by_vault =
        || Verdict::Server(Fault::Garbled(format!("status {status} without Vault's own errors")));
    Err(match (status, messages.clone()) {
        (200..=204, _) => return Ok(()),
        (300..=399, _) => Verdict::Server(Fault::Redirects {
            to: answer.location.clone().unwrap_or_else(|| "nowhere".to_owned()),
        }),
        (429, _) => Verdict::Server(Fault::Limited { retry_after: answer.retry_after }),
        (472 | 473, _) => Verdict::Server(Fault::Standby),
        (500 | 503, _) if says("active cluster node not found") || says("standby") => {
            Verdict::Server(Fault::Standby)
        }
        (503, _) if says("sealed") => Verdict::Server(Fault::Sealed),
        (503, _) if answer.retry_after.is_some() => {
            Verdict::Server(Fault::Limited { retry_after: answer.retry_after })
        }
        (403, Some(messages)) => Verdict::Denied(messages),
        (400..=499, Some(messages)) => refused(messages),
        (400..=499, None) => not_by_vault(),
        // A question that Vault stumbles over, which is no reason to ask the others.
        (500, Some(messages)) if !messages.is_empty() => refused(messages),
        (500..=599, messages) => {
            Verdict::Server(Fault::Failing { status, messages: messages.unwrap_or_default() })
        }
        _ => Verdict::Server(Fault::Garbled(format!("status {status}"))),
    })
}

/// Reads the content of a good answer.
///
/// # Errors
/// When it is no JSON, or of another form. What it holds is in no message: it may be a secret.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Fault> {
    if !answer.is_json {
        return Err(Fault::Garbled("the answer is not declared as JSON".to_owned()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Data => "has another form than Vault's",
            _ => "is no JSON",
        };
        let place = format!("line {} column {}", error.line(), error.column());
        Fault::Garbled(format!("the answer {kind} ({place})"))
    })
}

/// Vault's messages, fit for a log; `None` when the answer has not the form of Vault's errors.
fn messages(answer: &Answer, secrets: &[&Secret]) -> Option<Vec<String>> {
    if !answer.is_json {
        return None;
    }
    let errors: Errors = serde_json::from_slice(&answer.body).ok()?;
    let fit = |message: &String| {
        let clean = secrets.iter().fold(message.clone(), |text, secret| secret.scrub(&text));
        foreign_text(clean.trim())
    };
    Some(errors.errors.iter().take(MAX_MESSAGES).map(fit).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec().into(),
            is_json: true,
            retry_after: None,
            date: None,
            location: None,
        }
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Verdict) {
        assert_eq!(judge(&answer(status, body), &[]), Err(expected));
    }

    /// The bodies are OpenBao's and Vault's own.
    #[test]
    fn answers_are_told_apart() {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let refused = |status, messages| Verdict::Refused { status, messages: texts(messages) };
        assert_eq!(judge(&answer(200, "{}"), &[]), Ok(()));
        assert_eq!(judge(&answer(204, ""), &[]), Ok(()));
        check(503, r#"{"errors":["Vault is sealed"]}"#, Verdict::Server(Fault::Sealed));
        check(
            500,
            r#"{"errors":["local node not active but active cluster node not found"]}"#,
            Verdict::Server(Fault::Standby),
        );
        check(
            403,
            r#"{"errors":["permission denied"]}"#,
            Verdict::Denied(texts(&["permission denied"])),
        );
        check(
            400,
            r#"{"errors":["invalid role or secret ID"]}"#,
            refused(400, &["invalid role or secret ID"]),
        );
        check(404, r#"{"errors":[]}"#, refused(404, &[]));
        check(
            500,
            r#"{"errors":["1 error occurred:\n\t* internal error\n\n"]}"#,
            refused(500, &["1 error occurred:  * internal error"]),
        );
        let limited = |retry_after| Verdict::Server(Fault::Limited { retry_after });
        check(
            429,
            r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#,
            limited(None),
        );
        let mut busy = answer(503, "busy");
        (busy.is_json, busy.retry_after) = (false, Some(Duration::from_secs(5)));
        assert_eq!(judge(&busy, &[]), Err(limited(Some(Duration::from_secs(5)))));
        let mut standby = answer(307, "");
        standby.location = Some("https://b.example:8200/v1/sys".to_owned());
        let to = "https://b.example:8200/v1/sys".to_owned();
        assert_eq!(judge(&standby, &[]), Err(Verdict::Server(Fault::Redirects { to })));
    }

    /// A portal or a proxy in between does not speak for Vault.
    #[test]
    fn errors_without_vaults_form_are_not_vaults() {
        for (status, body) in [(403, "<html>"), (400, r#"{"errors":"text"}"#), (404, ""), (101, "")]
        {
            let verdict = judge(&answer(status, body), &[]).unwrap_err();
            assert!(matches!(verdict, Verdict::Server(Fault::Garbled(_))), "{status}: {verdict:?}");
        }
        let verdict = judge(&answer(502, "<html>"), &[]);
        let failing = Fault::Failing { status: 502, messages: Vec::new() };
        assert_eq!(verdict, Err(Verdict::Server(failing)));
    }

    #[test]
    fn no_message_holds_our_secrets() {
        let token = Secret::new("s.token".to_owned());
        let echo = answer(400, r#"{"errors":["no such token s.token", "2","3","4","5","6"]}"#);
        let Err(Verdict::Refused { messages, .. }) = judge(&echo, &[&token]) else {
            panic!("refused")
        };
        assert_eq!(messages, ["no such token (secret)", "2", "3", "4", "5"]);
        #[derive(Debug, Deserialize)]
        struct Numbers {
            #[serde(rename = "n")]
            _n: u64,
        }
        let error = read::<Numbers>(&answer(200, r#"{"n": "s.secret"}"#)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "does not answer as a Vault does: the answer has another form than Vault's (line 1 column 16)"
        );
        let mut html = answer(200, r#"{"n": 1}"#);
        html.is_json = false;
        read::<Numbers>(&html).unwrap_err();
    }
}
