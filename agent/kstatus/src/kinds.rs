//! The rules of kinds that come with Kubernetes.

use serde_json::Value;

use crate::{Condition, Conditions, Verdict, field, integer, text};

/// How long a pod may be without a node before that counts as a failure, in seconds.
const UNSCHEDULED_SECONDS: u64 = 15;

/// What the rule of the object's kind says; nothing for other kinds.
pub(crate) fn of_kind(object: &Value, conditions: &Conditions<'_>, now: u64) -> Option<Verdict> {
    let api_version = text(object, &["apiVersion"]).unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = text(object, &["kind"]).unwrap_or_default();
    Some(match (group, kind) {
        ("" | "batch", "Secret" | "ConfigMap" | "CronJob")
            if (group == "batch") == (kind == "CronJob") =>
        {
            Verdict::current("is complete as it is")
        }
        ("", "Service") => service(object),
        ("", "Pod") => pod(object, conditions, now),
        ("", "PersistentVolumeClaim") => volume_claim(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => daemon_set(object),
        ("apps" | "extensions", "Deployment") => deployment(object, conditions),
        ("apps" | "extensions", "ReplicaSet") => replica_set(object, conditions),
        // Its controller sets no condition; that it has seen the generation is all there is to know.
        ("policy", "PodDisruptionBudget") => Verdict::current("its controller has seen it"),
        ("batch", "Job") => job(object, conditions),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(conditions),
        _ => return None,
    })
}

/// The first of some counts that is below what is wanted.
fn too_few(wanted: i64, counts: &[(&str, i64)]) -> Option<Verdict> {
    let (what, count) = counts.iter().find(|(_, count)| *count < wanted)?;
    Some(Verdict::in_progress(format!("{count} of {wanted} {what}")))
}

/// Counts in `status`; absent is none.
fn count(object: &Value, name: &str) -> i64 {
    integer(object, &["status", name]).unwrap_or(0)
}

/// Controllers take one where nothing is said.
fn wanted_replicas(object: &Value) -> i64 {
    integer(object, &["spec", "replicas"]).unwrap_or(1)
}

fn leftover(have: i64, wanted: i64) -> Option<Verdict> {
    (have > wanted).then(|| Verdict::in_progress(format!("{} are still to end", have - wanted)))
}

fn stateful_set(object: &Value) -> Verdict {
    if text(object, &["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return Verdict::current("is updated by hand");
    }
    let wanted = wanted_replicas(object);
    let (replicas, updated) = (count(object, "replicas"), count(object, "updatedReplicas"));
    let there = [("made", replicas), ("ready", count(object, "readyReplicas"))];
    if let Some(verdict) = too_few(wanted, &there).or_else(|| leftover(replicas, wanted)) {
        return verdict;
    }
    // Below the partition, the old revision is kept on purpose. The reference takes -1 for "no partition".
    let partition = integer(object, &["spec", "updateStrategy", "rollingUpdate", "partition"]);
    if let Some(partition) = partition.filter(|partition| *partition != -1) {
        return too_few(wanted - partition, &[("updated", updated)])
            .unwrap_or_else(|| Verdict::current(format!("{updated} updated above the partition")));
    }
    if let Some(verdict) = too_few(wanted, &[("current", count(object, "currentReplicas"))]) {
        return verdict;
    }
    let revision = |name: &str| text(object, &["status", name]).unwrap_or_default();
    if revision("currentRevision") != revision("updateRevision") {
        return Verdict::in_progress("goes over to a new revision");
    }
    Verdict::current(format!("{replicas} ready"))
}

fn deployment(object: &Value, conditions: &Conditions<'_>) -> Verdict {
    // Without a deadline the controller makes no statement on progress: kubernetes pkg/controller/deployment/progress.go
    let deadline = integer(object, &["spec", "progressDeadlineSeconds"]);
    let mut is_rolled_out = deadline.is_none_or(|seconds| seconds == i64::from(i32::MAX));
    let mut is_available = false;
    for condition in &conditions.0 {
        match condition.kind {
            "Progressing" if condition.reason == "ProgressDeadlineExceeded" => {
                return Verdict::failed(format!("made no progress in time: {}", condition.message));
            }
            "Progressing" => {
                is_rolled_out |=
                    condition.is_true() && condition.reason == "NewReplicaSetAvailable";
            }
            "Available" => is_available |= condition.is_true(),
            _ => {}
        }
    }
    let wanted = wanted_replicas(object);
    let (replicas, updated) = (count(object, "replicas"), count(object, "updatedReplicas"));
    too_few(wanted, &[("made", replicas), ("updated", updated)])
        .or_else(|| leftover(replicas, wanted))
        .or_else(|| too_few(updated, &[("available", count(object, "availableReplicas"))]))
        .or_else(|| too_few(wanted, &[("ready", count(object, "readyReplicas"))]))
        .or_else(|| {
            (!is_rolled_out).then(|| Verdict::in_progress("its replicas are not rolled out"))
        })
        .or_else(|| (!is_available).then(|| Verdict::in_progress("is not available")))
        .unwrap_or_else(|| Verdict::current(format!("{replicas} available")))
}

fn replica_set(object: &Value, conditions: &Conditions<'_>) -> Verdict {
    let is_failure = |it: &&Condition<'_>| it.kind == "ReplicaFailure" && it.is_true();
    if let Some(failure) = conditions.0.iter().find(is_failure) {
        return Verdict::in_progress(format!("cannot make pods: {}", failure.message));
    }
    let wanted = wanted_replicas(object);
    let replicas = count(object, "replicas");
    let there = [
        ("labelled", count(object, "fullyLabeledReplicas")),
        ("available", count(object, "availableReplicas")),
        ("ready", count(object, "readyReplicas")),
    ];
    too_few(wanted, &there)
        .or_else(|| leftover(replicas, wanted))
        .unwrap_or_else(|| Verdict::current(format!("{replicas} available")))
}

fn daemon_set(object: &Value) -> Verdict {
    // Its controller always says which generation it has seen; before that, nothing is known.
    let seen = [["metadata", "generation"], ["status", "observedGeneration"]];
    if seen.iter().any(|path| field(object, path).is_none()) {
        return Verdict::in_progress("its controller has not seen it yet");
    }
    let Some(wanted) =
        integer(object, &["status", "desiredNumberScheduled"]).filter(|wanted| *wanted != -1)
    else {
        return Verdict::in_progress("its controller has not counted the nodes yet");
    };
    let there = [
        ("scheduled", count(object, "currentNumberScheduled")),
        ("updated", count(object, "updatedNumberScheduled")),
        ("available", count(object, "numberAvailable")),
        ("ready", count(object, "numberReady")),
    ];
    too_few(wanted, &there).unwrap_or_else(|| Verdict::current(format!("{wanted} available")))
}

fn volume_claim(object: &Value) -> Verdict {
    match text(object, &["status", "phase"]) {
        Some("Bound") => Verdict::current("is bound"),
        phase => Verdict::in_progress(format!("is {}", phase.unwrap_or("not seen yet"))),
    }
}

fn service(object: &Value) -> Verdict {
    let is_balanced = text(object, &["spec", "type"]) == Some("LoadBalancer");
    let address = text(object, &["spec", "clusterIP"]).unwrap_or_default();
    match is_balanced && address.is_empty() {
        true => Verdict::in_progress("has no address"),
        false => Verdict::current("is there"),
    }
}

fn pod(object: &Value, conditions: &Conditions<'_>, now: u64) -> Verdict {
    let has = |kind: &str, status: &str| {
        conditions.0.iter().find(|it| it.kind == kind && it.status == status)
    };
    match text(object, &["status", "phase"]).unwrap_or_default() {
        "Succeeded" => Verdict::current("ended well"),
        // A pod by itself is not started again: this is all it will ever be.
        "Failed" => Verdict::current("ended, but not well"),
        "Running" if has("Ready", "True").is_some() => Verdict::current("is ready"),
        "Running" => match crash_looping(object) {
            names if names.is_empty() => Verdict::in_progress("runs, but is not ready"),
            names => Verdict::failed(format!("ends again and again: {}", names.join(", "))),
        },
        "Pending" => match has("PodScheduled", "False").filter(|it| it.reason == "Unschedulable") {
            Some(_) if is_young(object, now) => Verdict::in_progress("has no node yet"),
            Some(condition) => Verdict::failed(format!("fits on no node: {}", condition.message)),
            None => Verdict::in_progress("is about to start"),
        },
        "" => Verdict::in_progress("was not seen yet"),
        phase => Verdict::unknown(format!("is in the phase `{phase}`")),
    }
}

fn crash_looping(object: &Value) -> Vec<&str> {
    let statuses = field(object, &["status", "containerStatuses"]).and_then(Value::as_array);
    let is_looping =
        |it: &&Value| text(it, &["state", "waiting", "reason"]) == Some("CrashLoopBackOff");
    let looping = statuses.into_iter().flatten().filter(is_looping);
    looping.filter_map(|status| text(status, &["name"])).collect()
}

fn is_young(object: &Value, now: u64) -> bool {
    let created = text(object, &["metadata", "creationTimestamp"]).and_then(unix_seconds);
    created.is_some_and(|created| now < created + UNSCHEDULED_SECONDS)
}

/// Reads `2026-11-21T17:00:00Z`, the form in which the API server gives times.
fn unix_seconds(text: &str) -> Option<u64> {
    let bytes = text.strip_suffix('Z')?.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        std::str::from_utf8(bytes.get(range)?).ok()?.parse().ok()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let time = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    // Days from the civil date, counted in years that begin with March: the leap day is then the last.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    /// The same sum for 1 January 1970, and one, since days of a month count from one.
    const EPOCH: u64 = 719_469;
    Some(days.checked_sub(EPOCH)? * 86_400 + time)
}

fn job(object: &Value, conditions: &Conditions<'_>) -> Verdict {
    for condition in conditions.0.iter().filter(|condition| condition.is_true()) {
        match condition.kind {
            "Complete" => return Verdict::current("is complete"),
            "Failed" => return Verdict::failed(format!("failed: {}", condition.message)),
            _ => {}
        }
    }
    match text(object, &["status", "startTime"]).unwrap_or_default() {
        "" => Verdict::in_progress("has not started"),
        _ => Verdict::current("runs"),
    }
}

fn definition(conditions: &Conditions<'_>) -> Verdict {
    for condition in &conditions.0 {
        match condition.kind {
            "NamesAccepted" if condition.is_false() => return Verdict::failed(condition.message),
            "Established" if condition.is_false() && condition.reason != "Installing" => {
                return Verdict::failed(condition.message);
            }
            "Established" if condition.is_true() => return Verdict::current("is established"),
            _ => {}
        }
    }
    Verdict::in_progress("is not established yet")
}

#[cfg(test)]
mod tests;
