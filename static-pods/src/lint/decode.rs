//! Whether a tree is a Pod: its kind, the fields it has, and what is in them.

use basalt_model::decode::closest;
use basalt_model::report::Place;

use super::fields::{POD, Takes};
use super::quantity::Quantity;
use super::tree::{At, Value, beginning};
use super::{Effect, Sink};

/// Checks all fields; false when the file holds no pod that could be looked into.
pub(super) fn decode(pod: &At<'_>, sink: &mut Sink<'_>) -> bool {
    if !matches!(pod.value(), Some(Value::Map(_))) {
        let kind = pod.value().map(Value::kind).unwrap_or_default();
        sink.refused("not-a-pod", pod, format!("a pod is wanted here, not {kind}"), "write a pod");
        return false;
    }
    if !is_pod(pod, sink) {
        return false;
    }
    object(pod, "Pod", sink);
    true
}

/// The kinds that people put pods into.
const WORKLOADS: [&str; 7] = [
    "Deployment",
    "DaemonSet",
    "StatefulSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
];

fn is_pod(pod: &At<'_>, sink: &mut Sink<'_>) -> bool {
    let (version, kind) = (in_any_case(pod, "apiVersion"), in_any_case(pod, "kind"));
    let mut fits = true;
    for (at, wanted) in [(&version, "v1"), (&kind, "Pod")] {
        match at.value() {
            Some(Value::Text(text)) if text == wanted => continue,
            // A group without a name.
            Some(Value::Text(text)) if wanted == "v1" && text == "/v1" => continue,
            Some(Value::Text(text)) if !text.is_empty() => {
                let message = format!("`{}`, where `{wanted}` is wanted", beginning(text));
                let remedy = match text.as_str() {
                    "PodList" | "List" => "give each pod a file of its own".to_owned(),
                    kind if WORKLOADS.contains(&kind) => {
                        "a standalone kubelet has no controllers: write the pod itself".to_owned()
                    }
                    _ => format!("write `{wanted}`"),
                };
                sink.refused("not-a-pod", at, message, remedy);
            }
            Some(Value::Null) | Some(Value::Text(_)) | None => {
                let name = &at.path;
                let message = format!("`{name}` is missing");
                sink.refused("not-a-pod", at, message, format!("write `{name}: {wanted}`"));
            }
            Some(value) => {
                let message = format!("a text is wanted here, not {}", value.kind());
                sink.refused("wrong-type", at, message, format!("write `{wanted}`"));
            }
        }
        fits = false;
    }
    fits
}

/// These two fields are looked for before all others, by a reader that does not mind capitals.
fn in_any_case<'t>(pod: &At<'t>, name: &str) -> At<'t> {
    let entry = pod.map().iter().rev().find(|entry| entry.key.eq_ignore_ascii_case(name));
    pod.get(entry.map_or(name, |entry| &entry.key))
}

fn object(at: &At<'_>, ty: &'static str, sink: &mut Sink<'_>) {
    let known = POD.fields_of(ty);
    for entry in at.map() {
        let field = at.get(&entry.key);
        match known.iter().find(|known| known.name == entry.key) {
            Some(known) => takes(&field, &known.takes, sink),
            None => unknown(&entry.key, entry.place, &field.path, ty, sink),
        }
    }
}

fn unknown(key: &str, place: Place, path: &str, ty: &'static str, sink: &mut Sink<'_>) {
    let names = || POD.fields_of(ty).iter().map(|field| field.name);
    let remedy = match (closest(key, names()), elsewhere(key, ty)) {
        (_, Some(remedy)) => remedy,
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => "remove it".to_owned(),
    };
    let message = format!("there is no field `{}` here", beginning(key));
    sink.at(Effect::Dropped, "unknown-field", place, path, message, remedy);
}

/// Fields that are right in another place.
fn elsewhere(key: &str, ty: &'static str) -> Option<String> {
    let has = |ty: &str| POD.fields_of(ty).iter().any(|field| field.name == key);
    let places: &[(&str, &str)] = match ty {
        "Pod" => &[("PodSpec", "`spec`"), ("ObjectMeta", "`metadata`")],
        "PodSpec" => &[
            ("PodSecurityContext", "`securityContext`"),
            ("Container", "the container"),
            ("ObjectMeta", "`metadata`"),
        ],
        "Container" => &[
            ("SecurityContext", "`securityContext`"),
            ("PodSpec", "`spec`"),
            ("ResourceRequirements", "`resources`"),
        ],
        "SecurityContext" => &[("PodSecurityContext", "the `securityContext` of the pod")],
        "PodSecurityContext" => {
            &[("SecurityContext", "the `securityContext` of a container"), ("PodSpec", "`spec`")]
        }
        "Probe" => &[("HTTPGetAction", "`httpGet`")],
        "VolumeMount" => &[("Volume", "the volume")],
        _ => &[],
    };
    let (_, place) = places.iter().find(|(ty, _)| has(ty))?;
    Some(format!("it belongs into {place}"))
}

fn takes(at: &At<'_>, takes: &Takes, sink: &mut Sink<'_>) {
    let Some(value) = at.value() else { return };
    match (takes, value) {
        (_, Value::Null)
        // No field of a pod takes the last three.
        | (Takes::Any | Takes::Bytes | Takes::Number | Takes::Either(..), _)
        | (Takes::Text, Value::Text(_))
        | (Takes::Flag, Value::Flag(_)) => {}
        (Takes::Integer32, Value::Number(number)) => {
            integer(at, number, i64::from(i32::MIN), i64::from(i32::MAX), sink);
        }
        (Takes::Integer64, Value::Number(number)) => integer(at, number, i64::MIN, i64::MAX, sink),
        (Takes::NumberOrText, Value::Number(number)) => {
            integer(at, number, i64::from(i32::MIN), i64::from(i32::MAX), sink);
        }
        (Takes::NumberOrText, Value::Text(_)) => {}
        (Takes::Quantity, Value::Number(text) | Value::Text(text)) => quantity(at, text, sink),
        (Takes::Time, Value::Text(text)) => {
            if !is_time(text) {
                let message = format!("`{}` is not a time as in RFC 3339", beginning(text));
                sink.refused("wrong-type", at, message, "write it as in `2001-02-03T04:05:06Z`");
            }
        }
        (Takes::Object(ty), Value::Map(_)) => object(at, ty, sink),
        (Takes::List(item), Value::List(_)) => {
            at.items().iter().for_each(|at| self::takes(at, item, sink));
        }
        (Takes::Map(inner), Value::Map(_)) => {
            at.entries().iter().for_each(|(_, at)| self::takes(at, inner, sink));
        }
        (wanted, found) => wrong_type(at, wanted, found, sink),
    }
}

fn wrong_type(at: &At<'_>, wanted: &Takes, found: &Value, sink: &mut Sink<'_>) {
    let (wanted, remedy) = match wanted {
        Takes::Text => ("a text", "put it in quotes"),
        Takes::Integer32 | Takes::Integer64 => ("an integer", "write it without quotes"),
        Takes::Flag => ("`true` or `false`", "write it without quotes"),
        Takes::Quantity => ("a quantity", "write a number with its unit, as in `100m` or `64Mi`"),
        Takes::NumberOrText => ("a number or a text", "write one of the two"),
        Takes::Time => ("a time", "write it as in `2001-02-03T04:05:06Z`"),
        Takes::Object(_) | Takes::Map(_) => ("a mapping", "write `key: value` lines below it"),
        Takes::List(_) => ("a list", "start each item with `- `"),
        Takes::Any | Takes::Bytes | Takes::Number | Takes::Either(..) => return,
    };
    let message = format!("{wanted} is wanted here, not {}", found.kind());
    sink.refused("wrong-type", at, message, remedy);
}

fn integer(at: &At<'_>, number: &str, least: i64, most: i64, sink: &mut Sink<'_>) {
    let fits = number.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number));
    if !fits {
        let message = format!("an integer from {least} to {most} is wanted here, not `{number}`");
        sink.refused("wrong-type", at, message, "write a number that fits");
    }
}

fn quantity(at: &At<'_>, text: &str, sink: &mut Sink<'_>) {
    if Quantity::parse(text.trim()).is_none() {
        let message = format!("`{}` is not a quantity", beginning(text));
        let remedy = "write a number with its unit, as in `100m`, `2`, `64Mi` or `1Gi`";
        sink.refused("wrong-type", at, message, remedy);
    }
}

/// RFC 3339, as Go's `time.Parse` takes it.
fn is_time(text: &str) -> bool {
    // Go takes an hour of one digit.
    let padded;
    let text = match text.split_once('T') {
        Some((date, time)) if time.as_bytes().get(1) == Some(&b':') => {
            padded = format!("{date}T0{time}");
            padded.as_str()
        }
        _ => text,
    };
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let has = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    let marks = has(4, b'-') && has(7, b'-') && has(10, b'T') && has(13, b':') && has(16, b':');
    let parts =
        (number(0..4), number(5..7), number(8..10), number(11..13), number(14..16), number(17..19));
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) = parts else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return false,
    };
    let in_range = (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let rest = &text[19..];
    let zone = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let is_offset = || {
        let Some(offset) = zone.strip_prefix(['+', '-']) else { return false };
        let Some((hours, minutes)) = offset.split_once(':') else { return false };
        let part = |text: &str, most: u32| {
            text.len() == 2 && text.parse().is_ok_and(|number: u32| number <= most)
        };
        part(hours, 24) && part(minutes, 60)
    };
    marks && in_range && (zone == "Z" || is_offset())
}

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn times() {
        for text in ["2001-02-03T04:05:06Z", "2024-02-29T00:00:00.5+02:00"] {
            assert!(is_time(text), "{text}");
        }
        for text in [
            "",
            "2001-02-30T04:05:06Z",
            "2001-02-03",
            "2001-02-03 04:05:06Z",
            "2001-02-03T04:05:06",
        ] {
            assert!(!is_time(text), "{text}");
        }
    }
}
