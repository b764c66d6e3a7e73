//! One table for each kind.

use serde_json::{Value, json};

use super::unix_seconds;
use crate::Status::{self, Current, Failed, InProgress, Unknown};
use crate::judge;

/// A moment after the pods of these tests were made.
const NOW: u64 = 1_795_280_420;

#[track_caller]
fn check(api_version: &str, kind: &str, rows: &[(Value, Value, Status)]) {
    for (spec, status, expected) in rows {
        let object = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"creationTimestamp": "2026-11-21T17:00:00Z", "generation": 1},
            "spec": spec, "status": status,
        });
        let verdict = judge(&object, NOW);
        assert_eq!(verdict.status, *expected, "{object}: {}", verdict.message);
    }
}

fn conditions(list: &[(&str, &str, &str)]) -> Value {
    let one = |(kind, status, reason): &(&str, &str, &str)| json!({"type": kind, "status": status, "reason": reason, "message": "m"});
    list.iter().map(one).collect()
}

#[test]
fn deployments() {
    let available = conditions(&[
        ("Progressing", "True", "NewReplicaSetAvailable"),
        ("Available", "True", "MinimumReplicasAvailable"),
    ]);
    let status = |replicas: i64, updated: i64, there: i64, ready: i64, conditions: &Value| {
        json!({
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": updated,
            "availableReplicas": there, "readyReplicas": ready, "conditions": conditions,
        })
    };
    let two = json!({"replicas": 2, "progressDeadlineSeconds": 600});
    let late = conditions(&[("Progressing", "False", "ProgressDeadlineExceeded")]);
    let rolling =
        conditions(&[("Progressing", "True", "ReplicaSetUpdated"), ("Available", "True", "")]);
    let alone = conditions(&[("Available", "True", "")]);
    check(
        "apps/v1",
        "Deployment",
        &[
            (two.clone(), json!({}), InProgress),
            (two.clone(), status(2, 2, 2, 2, &available), Current),
            (two.clone(), status(1, 1, 1, 1, &available), InProgress),
            (two.clone(), status(2, 1, 2, 2, &available), InProgress),
            (two.clone(), status(3, 2, 2, 2, &available), InProgress),
            (two.clone(), status(2, 2, 1, 2, &available), InProgress),
            (two.clone(), status(2, 2, 2, 1, &available), InProgress),
            (two.clone(), status(2, 2, 2, 2, &late), Failed),
            (two.clone(), status(2, 2, 2, 2, &rolling), InProgress),
            (two.clone(), status(2, 2, 2, 2, &alone), InProgress),
            (json!({}), status(1, 1, 1, 1, &alone), Current),
            (json!({"progressDeadlineSeconds": i32::MAX}), status(1, 1, 1, 1, &alone), Current),
            (json!({}), status(1, 1, 1, 1, &json!([])), InProgress),
            (json!({"replicas": 0}), status(0, 0, 0, 0, &alone), Current),
        ],
    );
}

#[test]
fn stateful_sets() {
    let status = |replicas: i64, ready: i64, current: i64, updated: i64, revisions: [&str; 2]| {
        json!({
            "observedGeneration": 1, "replicas": replicas, "readyReplicas": ready,
            "currentReplicas": current, "updatedReplicas": updated,
            "currentRevision": revisions[0], "updateRevision": revisions[1],
        })
    };
    let two = json!({"replicas": 2});
    let partition = |from: i64| json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": from}}});
    check(
        "apps/v1",
        "StatefulSet",
        &[
            (two.clone(), json!({}), InProgress),
            (json!({"updateStrategy": {"type": "OnDelete"}}), json!({}), Current),
            (two.clone(), status(2, 2, 2, 2, ["a", "a"]), Current),
            (two.clone(), status(1, 1, 1, 1, ["a", "a"]), InProgress),
            (two.clone(), status(2, 1, 2, 2, ["a", "a"]), InProgress),
            (two.clone(), status(3, 2, 2, 2, ["a", "a"]), InProgress),
            (two.clone(), status(2, 2, 1, 2, ["a", "a"]), InProgress),
            (two.clone(), status(2, 2, 2, 2, ["a", "b"]), InProgress),
            (partition(1), status(2, 2, 1, 1, ["a", "b"]), Current),
            (partition(1), status(2, 2, 2, 0, ["a", "b"]), InProgress),
            (partition(-1), status(2, 2, 2, 0, ["a", "a"]), Current),
        ],
    );
}

#[test]
fn daemon_sets() {
    let status = |wanted: i64, current: i64, updated: i64, available: i64, ready: i64| {
        json!({
            "observedGeneration": 1, "desiredNumberScheduled": wanted,
            "currentNumberScheduled": current, "updatedNumberScheduled": updated,
            "numberAvailable": available, "numberReady": ready,
        })
    };
    let spec = json!({});
    check(
        "apps/v1",
        "DaemonSet",
        &[
            (spec.clone(), json!({}), InProgress),
            (spec.clone(), json!({"observedGeneration": 1}), InProgress),
            (spec.clone(), status(2, 2, 2, 2, 2), Current),
            (spec.clone(), status(2, 1, 2, 2, 2), InProgress),
            (spec.clone(), status(2, 2, 1, 2, 2), InProgress),
            (spec.clone(), status(2, 2, 2, 1, 2), InProgress),
            (spec.clone(), status(2, 2, 2, 2, 1), InProgress),
            (spec.clone(), status(0, 0, 0, 0, 0), Current),
        ],
    );
}

#[test]
fn replica_sets() {
    let status = |replicas: i64, labelled: i64, available: i64, ready: i64, list: Value| {
        json!({
            "observedGeneration": 1, "replicas": replicas, "fullyLabeledReplicas": labelled,
            "availableReplicas": available, "readyReplicas": ready, "conditions": list,
        })
    };
    let one = json!({"replicas": 1});
    let failure = conditions(&[("ReplicaFailure", "True", "FailedCreate")]);
    check(
        "apps/v1",
        "ReplicaSet",
        &[
            (one.clone(), json!({}), InProgress),
            (one.clone(), status(1, 1, 1, 1, json!([])), Current),
            (one.clone(), status(1, 0, 1, 1, json!([])), InProgress),
            (one.clone(), status(1, 1, 0, 1, json!([])), InProgress),
            (one.clone(), status(1, 1, 1, 0, json!([])), InProgress),
            (one.clone(), status(2, 1, 1, 1, json!([])), InProgress),
            (one.clone(), status(1, 1, 1, 1, failure), InProgress),
        ],
    );
}

#[test]
fn jobs() {
    check(
        "batch/v1",
        "Job",
        &[
            (json!({}), json!({}), InProgress),
            (json!({}), json!({"startTime": "2026-11-21T17:00:00Z"}), Current),
            (json!({}), json!({"conditions": conditions(&[("Complete", "True", "")])}), Current),
            (
                json!({}),
                json!({"conditions": conditions(&[("Complete", "False", "")])}),
                InProgress,
            ),
            (json!({}), json!({"conditions": conditions(&[("Failed", "True", "")])}), Failed),
        ],
    );
}

#[test]
fn pods() {
    let phase = |phase: &str, list: &[(&str, &str, &str)]| json!({"phase": phase, "conditions": conditions(list)});
    let looping = json!({"phase": "Running", "containerStatuses": [
        {"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
        {"name": "b", "state": {"running": {}}},
    ]});
    let spec = json!({});
    check(
        "v1",
        "Pod",
        &[
            (spec.clone(), json!({}), InProgress),
            (spec.clone(), phase("Pending", &[]), InProgress),
            (spec.clone(), phase("Pending", &[("PodScheduled", "False", "Unschedulable")]), Failed),
            (spec.clone(), phase("Pending", &[("PodScheduled", "False", "Gated")]), InProgress),
            (spec.clone(), phase("Running", &[]), InProgress),
            (spec.clone(), phase("Running", &[("Ready", "False", "")]), InProgress),
            (spec.clone(), phase("Running", &[("Ready", "True", "")]), Current),
            (spec.clone(), looping, Failed),
            (spec.clone(), phase("Succeeded", &[]), Current),
            (spec.clone(), phase("Failed", &[]), Current),
            (spec.clone(), phase("Dreaming", &[]), Unknown),
        ],
    );
    let young = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"creationTimestamp": "2026-11-21T17:00:10Z"},
        "status": phase("Pending", &[("PodScheduled", "False", "Unschedulable")]),
    });
    assert_eq!(judge(&young, NOW).status, InProgress);
}

#[test]
fn volume_claims() {
    let phase = |phase: &str| json!({"phase": phase});
    let spec = json!({});
    check(
        "v1",
        "PersistentVolumeClaim",
        &[
            (spec.clone(), json!({}), InProgress),
            (spec.clone(), phase("Pending"), InProgress),
            (spec.clone(), phase("Lost"), InProgress),
            (spec.clone(), phase("Bound"), Current),
        ],
    );
}

#[test]
fn services() {
    check(
        "v1",
        "Service",
        &[
            (json!({}), json!({}), Current),
            (json!({"type": "LoadBalancer"}), json!({}), InProgress),
            (json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), json!({}), Current),
        ],
    );
}

#[test]
fn disruption_budgets() {
    check(
        "policy/v1",
        "PodDisruptionBudget",
        &[
            (json!({}), json!({"observedGeneration": 1}), Current),
            (json!({}), json!({"observedGeneration": 0}), InProgress),
        ],
    );
}

#[test]
fn definitions() {
    let status = |list: &[(&str, &str, &str)]| json!({"conditions": conditions(list)});
    let spec = json!({});
    check(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &[
            (spec.clone(), json!({}), InProgress),
            (spec.clone(), status(&[("Established", "True", "")]), Current),
            (spec.clone(), status(&[("Established", "False", "Installing")]), InProgress),
            (spec.clone(), status(&[("Established", "False", "NotAccepted")]), Failed),
            (spec.clone(), status(&[("NamesAccepted", "False", "ListKindConflict")]), Failed),
        ],
    );
}

#[test]
fn what_is_complete_as_it_is() {
    for (api_version, kind) in [("v1", "Secret"), ("v1", "ConfigMap"), ("batch/v1", "CronJob")] {
        check(api_version, kind, &[(json!({}), json!({}), Current)]);
    }
    // Another group's kind of the same name has rules of its own.
    let not_ready = json!({"conditions": conditions(&[("Ready", "False", "")])});
    check("hello.example/v1", "ConfigMap", &[(json!({}), not_ready, InProgress)]);
}

#[test]
fn times_of_the_api_server() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-03-01T00:00:01Z", 59 * 86_400 + 1),
        ("2000-02-29T12:00:00Z", 951_825_600),
        ("2026-11-21T17:00:20Z", NOW),
    ] {
        assert_eq!(unix_seconds(text), Some(seconds), "{text}");
    }
    for odd in ["", "yesterday", "2026-11-21", "1969-12-31T23:59:59Z", "2026-11-21T17:00:00+02:00"]
    {
        assert_eq!(unix_seconds(odd), None, "{odd}");
    }
}
