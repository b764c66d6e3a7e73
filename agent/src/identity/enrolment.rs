//! The first login, one step at a time: pure.
//!
//! A response-wrapping token can be used once, so that a second use shows that somebody else was first. That only works
//! when the agent knows what it did itself: before it unwraps, and after, it writes that down. Whatever dies when, the next
//! start then knows whether to go on, to look again, or to tell a person.

use serde::{Deserialize, Serialize};

use super::seal::Sealed;

/// The `schema` value this build writes and reads.
const SCHEMA: u32 = 1;

/// What is known about one first login; kept on disk until there is an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    schema: u32,
    /// Which wrapping token: half of its digest.
    pub(crate) token: String,
    pub(crate) stage: Stage,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Stage {
    /// It is about to be unwrapped, or was.
    Unwrapping,
    /// It was unwrapped.
    Unwrapped { secret_id: Sealed },
    /// And the secret id was used to log in.
    LoggedIn { secret_id: Sealed, token: Sealed },
    /// It cannot be used, and never will.
    Refused { reason: Refusal },
}

/// Why a first login cannot be finished. All of them need a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Refusal {
    /// It wraps something else than the secret id of the node's AppRole.
    #[error(
        "the wrapping token was not made for this node's first login but at `{found}` instead of `{expected}`: \
         somebody has exchanged it"
    )]
    WrongPath { found: String, expected: String },
    /// Vault knew it a moment ago, this node has not used it, and now Vault does not know it.
    #[error("the wrapping token was intercepted: somebody has unwrapped it before this node could")]
    Intercepted,
    /// Vault does not know it, and this node has never used it.
    #[error(
        "Vault does not know the wrapping token, which this node has never used: it has expired, or somebody has \
         intercepted and unwrapped it"
    )]
    Unknown,
    /// The node died, or the connection did, at the moment of unwrapping.
    #[error(
        "the wrapping token was used up at the moment this node was interrupted, and what it wrapped is lost"
    )]
    Interrupted,
    /// The secret id that was wrapped.
    #[error("Vault does not take the secret id that was wrapped: {message}")]
    SecretId { message: String },
    /// The file holds no token at all.
    #[error("the file holds no wrapping token: {message}")]
    File { message: String },
}

impl Refusal {
    /// Whether somebody else may hold the secret id.
    pub(crate) fn is_alarm(&self) -> bool {
        match self {
            Self::WrongPath { .. } | Self::Intercepted | Self::Unknown => true,
            Self::Interrupted | Self::SecretId { .. } | Self::File { .. } => false,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self.is_alarm() {
            true => concat!(
                "treat the secret id as stolen: destroy it in Vault, and find out how the token was delivered; then ",
                remedy!()
            ),
            false => remedy!(),
        }
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// There is nothing to log in with.
    Wait,
    /// Nothing more can be done with what there is.
    GiveUp(&'a Refusal),
    /// Ask Vault what the token wraps.
    Look {
        /// Whether an earlier try may have unwrapped it already.
        again: bool,
    },
    /// Log in with the secret id.
    LogIn { secret_id: &'a Sealed },
    /// Have the key of the identity signed.
    Sign { secret_id: &'a Sealed, token: &'a Sealed },
}

impl Record {
    pub(crate) fn new(token: String, stage: Stage) -> Record {
        Record { schema: SCHEMA, token, stage }
    }

    /// Reads the document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Record, String> {
        let record: Record = serde_json::from_slice(bytes)
            // The whole text could show what the document holds.
            .map_err(|error| format!("line {} column {}", error.line(), error.column()))?;
        match record.schema {
            SCHEMA => Ok(record),
            other => Err(format!("`schema` is {other}, not {SCHEMA}")),
        }
    }

    /// The document.
    pub(crate) fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a record has string keys only");
        text + "\n"
    }
}

/// What to do next, by what was written down and the fingerprint of the token that was delivered.
pub(crate) fn next<'a>(record: Option<&'a Record>, delivered: Option<&str>) -> Step<'a> {
    let Some(record) = record else {
        return match delivered {
            Some(_) => Step::Look { again: false },
            None => Step::Wait,
        };
    };
    let is_same = delivered == Some(record.token.as_str());
    match &record.stage {
        // The token itself is not needed any more, and a newer one can wait for its turn.
        Stage::Unwrapped { secret_id } => Step::LogIn { secret_id },
        Stage::LoggedIn { secret_id, token } => Step::Sign { secret_id, token },
        Stage::Unwrapping if is_same => Step::Look { again: true },
        Stage::Refused { reason } if is_same || delivered.is_none() => Step::GiveUp(reason),
        Stage::Refused { .. } => Step::Look { again: false },
        Stage::Unwrapping if delivered.is_none() => Step::Wait,
        Stage::Unwrapping => Step::Look { again: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::seal::sealed_for_test;

    #[test]
    fn what_is_done_next() {
        let sealed = sealed_for_test("a");
        let record = |stage: Stage| Some(Record::new("one".to_owned(), stage));
        let refused = Refusal::Intercepted;
        let look = |again| Step::Look { again };
        #[track_caller]
        fn check(record: &Option<Record>, delivered: Option<&str>, expected: Step<'_>) {
            assert_eq!(next(record.as_ref(), delivered), expected);
        }
        let (one, two) = (Some("one"), Some("two"));
        check(&None, None, Step::Wait);
        check(&None, one, look(false));
        let unwrapping = record(Stage::Unwrapping);
        check(&unwrapping, None, Step::Wait);
        check(&unwrapping, one, look(true));
        check(&unwrapping, two, look(false));
        let gone = record(Stage::Refused { reason: refused.clone() });
        check(&gone, None, Step::GiveUp(&refused));
        check(&gone, one, Step::GiveUp(&refused));
        check(&gone, two, look(false));
        let unwrapped = record(Stage::Unwrapped { secret_id: sealed.clone() });
        let logged_in =
            record(Stage::LoggedIn { secret_id: sealed.clone(), token: sealed.clone() });
        for delivered in [None, one, two] {
            check(&unwrapped, delivered, Step::LogIn { secret_id: &sealed });
            check(&logged_in, delivered, Step::Sign { secret_id: &sealed, token: &sealed });
        }
    }

    #[test]
    fn a_record_is_read_back() {
        let stages = [
            Stage::Unwrapping,
            Stage::Unwrapped { secret_id: sealed_for_test("a") },
            Stage::LoggedIn { secret_id: sealed_for_test("a"), token: sealed_for_test("b") },
            Stage::Refused {
                reason: Refusal::WrongPath { found: "a".to_owned(), expected: "b".to_owned() },
            },
        ];
        for stage in stages {
            let record = Record::new("one".to_owned(), stage);
            assert_eq!(Record::parse(record.to_json().as_bytes()), Ok(record));
        }
        for text in ["", "{}", r#"{"schema":2,"token":"a","stage":"unwrapping"}"#] {
            Record::parse(text.as_bytes()).unwrap_err();
        }
    }
}
