//! Says whether what an object asks for has come true: takes a Kubernetes object with its status, gives a verdict,
//! touches nothing.
//!
//! Read [`judge`] first: the rules that hold for every kind, in the order in which they decide. The rules of single kinds
//! are in `kinds`. They are those of kstatus (<https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>), so
//! that this agrees with Flux, Helm and kpt; the tests compare with it.

mod kinds;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// What it asks for is there.
    Current,
    /// Its controller is at it, or has not seen it yet.
    InProgress,
    /// Its controller has given up, or says that it cannot go on.
    Failed,
    /// It is being deleted.
    Terminating,
    /// The object is not in the form that its kind has.
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How far an object is, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How far it is.
    pub status: Status,
    /// What shows it, for people.
    pub message: String,
}

impl Verdict {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Verdict {
        Verdict { status, message: message.into() }
    }

    pub(crate) fn current(message: impl Into<String>) -> Verdict {
        Verdict::new(Status::Current, message)
    }

    pub(crate) fn in_progress(message: impl Into<String>) -> Verdict {
        Verdict::new(Status::InProgress, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Verdict {
        Verdict::new(Status::Failed, message)
    }

    fn unknown(message: impl Into<String>) -> Verdict {
        Verdict::new(Status::Unknown, message)
    }
}

/// Judges an object as the API server gives it. `now` is in seconds since the Unix epoch: a pod may stay unscheduled
/// for a moment before that counts as a failure.
pub fn judge(object: &Value, now: u64) -> Verdict {
    if let Some(verdict) = deletion(object).or_else(|| generation(object)) {
        return verdict;
    }
    let conditions = match Conditions::of(object) {
        Ok(conditions) => conditions,
        Err(message) => return Verdict::unknown(message),
    };
    stands_still(&conditions)
        .or_else(|| kinds::of_kind(object, &conditions, now))
        .or_else(|| ready(&conditions))
        .unwrap_or_else(|| Verdict::current("its kind shows no status"))
}

/// Judges an object by one of its conditions alone: current when the condition has this status at the object's own
/// generation. For kinds whose first status comes late: without any condition they would count as current.
pub fn judge_by(object: &Value, condition: &str, wanted: &str) -> Verdict {
    if let Some(verdict) = deletion(object).or_else(|| generation(object)) {
        return verdict;
    }
    let conditions = match Conditions::of(object) {
        Ok(conditions) => conditions,
        Err(message) => return Verdict::unknown(message),
    };
    let Some(seen) = conditions.get(condition) else {
        return Verdict::in_progress(format!("has no condition `{condition}` yet"));
    };
    // A condition may carry the generation that it speaks of.
    let of = seen.generation;
    if of.is_some() && of != integer(object, &["metadata", "generation"]) {
        return Verdict::in_progress(format!("`{condition}` speaks of an earlier generation"));
    }
    let message = format!("`{condition}` is {}{}", seen.status, seen.because());
    match seen.status == wanted {
        true => Verdict::current(message),
        false => Verdict::in_progress(message),
    }
}

/// The conditions by which a controller of any kind says that it is at it, or stuck.
fn stands_still(conditions: &Conditions<'_>) -> Option<Verdict> {
    conditions.0.iter().find_map(|condition| match condition.kind {
        "Reconciling" if condition.is_true() => Some(Verdict::in_progress(condition.message)),
        "Stalled" if condition.is_true() => Some(Verdict::failed(condition.message)),
        _ => None,
    })
}

fn deletion(object: &Value) -> Option<Verdict> {
    match object.pointer("/metadata/deletionTimestamp")? {
        Value::String(text) if text.is_empty() => None,
        Value::String(_) => Some(Verdict::new(Status::Terminating, "is being deleted")),
        _ => Some(Verdict::unknown("metadata.deletionTimestamp is no text")),
    }
}

/// Its controller has to have seen the object as it is now.
fn generation(object: &Value) -> Option<Verdict> {
    let whole = |pointer: &str| match object.pointer(pointer) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(Verdict::unknown(format!("`{pointer}` is no whole number"))),
        },
    };
    let wanted = match whole("/metadata/generation") {
        Ok(wanted) => wanted?,
        Err(verdict) => return Some(verdict),
    };
    let seen = match whole("/status/observedGeneration") {
        Ok(seen) => seen?,
        Err(verdict) => return Some(verdict),
    };
    (seen != wanted).then(|| {
        Verdict::in_progress(format!("is at generation {wanted}, of which {seen} was seen"))
    })
}

/// What many kinds of people's own have: a condition `Ready`.
fn ready(conditions: &Conditions<'_>) -> Option<Verdict> {
    conditions.0.iter().filter(|condition| condition.kind == "Ready").find_map(|ready| match ready
        .status
    {
        "True" => Some(Verdict::current("is ready")),
        "False" | "Unknown" => Some(Verdict::in_progress(ready.message)),
        _ => None,
    })
}

/// One of an object's conditions.
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    generation: Option<i64>,
}

impl Condition<'_> {
    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// `: reason: message`, as far as there is one.
    fn because(&self) -> String {
        let parts = [self.reason, self.message].into_iter().filter(|part| !part.is_empty());
        parts.map(|part| format!(": {part}")).collect()
    }
}

/// All conditions of an object, in its order.
pub(crate) struct Conditions<'a>(pub(crate) Vec<Condition<'a>>);

impl<'a> Conditions<'a> {
    fn of(object: &'a Value) -> Result<Conditions<'a>, String> {
        let status = match object.get("status") {
            None | Some(Value::Null) => return Ok(Conditions(Vec::new())),
            Some(Value::Object(status)) => status,
            Some(_) => return Err("its status is no object".to_owned()),
        };
        let list = match status.get("conditions") {
            None | Some(Value::Null) => return Ok(Conditions(Vec::new())),
            Some(Value::Array(list)) => list,
            Some(_) => return Err("its conditions are no list".to_owned()),
        };
        list.iter().map(Condition::of).collect::<Result<_, _>>().map(Conditions)
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Condition<'a>> {
        self.0.iter().find(|condition| condition.kind == kind)
    }
}

impl<'a> Condition<'a> {
    fn of(value: &'a Value) -> Result<Condition<'a>, String> {
        let fault = || "one of its conditions is not in the usual form".to_owned();
        let fields = value.as_object().ok_or_else(fault)?;
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(fault()),
        };
        Ok(Condition {
            kind: text("type")?,
            status: text("status")?,
            reason: text("reason")?,
            message: text("message")?,
            generation: fields.get("observedGeneration").and_then(Value::as_i64),
        })
    }
}

/// The value at the end of `path`, through objects only.
pub(crate) fn field<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.as_object()?.get(*name))
}

pub(crate) fn integer(object: &Value, path: &[&str]) -> Option<i64> {
    field(object, path)?.as_i64()
}

pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    field(object, path)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(object: Value, expected: Status) {
        let verdict = judge(&object, 0);
        assert_eq!(verdict.status, expected, "{object}: {}", verdict.message);
    }

    fn own(metadata: Value, status: Value) -> Value {
        json!({
            "apiVersion": "hello.example/v1", "kind": "Greeting",
            "metadata": metadata, "status": status,
        })
    }

    fn conditions(list: &[(&str, &str)]) -> Value {
        let one =
            |(kind, status): &(&str, &str)| json!({"type": kind, "status": status, "message": "m"});
        json!({"conditions": list.iter().map(one).collect::<Vec<_>>()})
    }

    #[test]
    fn a_kind_of_ones_own() {
        check(own(json!({}), Value::Null), Status::Current);
        check(own(json!({"generation": 2}), json!({})), Status::Current);
        let seen = |generation| json!({"observedGeneration": generation});
        check(own(json!({"generation": 2}), seen(2)), Status::Current);
        check(own(json!({"generation": 2}), seen(1)), Status::InProgress);
        check(own(json!({"generation": "2"}), seen(1)), Status::Unknown);
        check(
            own(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), seen(1)),
            Status::Terminating,
        );
        for (list, expected) in [
            (&[("Ready", "True")][..], Status::Current),
            (&[("Ready", "False")], Status::InProgress),
            (&[("Ready", "Unknown")], Status::InProgress),
            (&[("Ready", "maybe")], Status::Current),
            (&[("Ready", "True"), ("Reconciling", "True")], Status::InProgress),
            (&[("Ready", "True"), ("Reconciling", "False")], Status::Current),
            (&[("Stalled", "True"), ("Ready", "True")], Status::Failed),
            (&[("Stalled", "True"), ("Reconciling", "True")], Status::Failed),
            (&[("Reconciling", "True"), ("Stalled", "True")], Status::InProgress),
            (&[("Other", "False")], Status::Current),
        ] {
            check(own(json!({}), conditions(list)), expected);
        }
        for odd in [json!({"conditions": {}}), json!({"conditions": [1]}), json!(7)] {
            check(own(json!({}), odd), Status::Unknown);
        }
    }

    #[test]
    fn by_a_condition_of_its_own() {
        let judged = |metadata: Value, status: Value| {
            judge_by(&own(metadata, status), "Synced", "True").status
        };
        assert_eq!(judged(json!({}), Value::Null), Status::InProgress, "not seen yet");
        assert_eq!(judged(json!({}), conditions(&[("Synced", "True")])), Status::Current);
        assert_eq!(judged(json!({}), conditions(&[("Synced", "False")])), Status::InProgress);
        let of = |generation: i64| {
            json!({"conditions": [
                {"type": "Synced", "status": "True", "observedGeneration": generation}
            ]})
        };
        assert_eq!(judged(json!({"generation": 3}), of(3)), Status::Current);
        assert_eq!(judged(json!({"generation": 3}), of(2)), Status::InProgress);
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(judged(gone, conditions(&[("Synced", "True")])), Status::Terminating);
    }
}
