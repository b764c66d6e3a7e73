//! How far objects are: our rules against those of kstatus itself, on made-up objects.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "butane/random.rs"]
mod random;

use std::time::{SystemTime, UNIX_EPOCH};

use basalt_kstatus::{Status, judge};
use e2e::command::ask;
use e2e::peers::peer;
use random::Random;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How many objects are compared; set `BASALT_KSTATUS_CASES` for more.
const CASES: u64 = 20_000;

const KINDS: [(&str, &str); 18] = [
    ("v1", "Service"),
    ("v1", "Pod"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Namespace"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("hello.example/v1", "Greeting"),
    ("hello.example/v1", "Deployment"),
];

const CONDITIONS: [&str; 12] = [
    "Available",
    "Complete",
    "Established",
    "Failed",
    "NamesAccepted",
    "PodScheduled",
    "Progressing",
    "Ready",
    "Reconciling",
    "ReplicaFailure",
    "Stalled",
    "Other",
];

const REASONS: [&str; 6] = [
    "",
    "Installing",
    "NewReplicaSetAvailable",
    "ProgressDeadlineExceeded",
    "ReplicaSetUpdated",
    "Unschedulable",
];

const COUNTS: [&str; 13] = [
    "availableReplicas",
    "currentNumberScheduled",
    "currentReplicas",
    "desiredNumberScheduled",
    "failed",
    "fullyLabeledReplicas",
    "numberAvailable",
    "numberReady",
    "readyReplicas",
    "replicas",
    "succeeded",
    "updatedNumberScheduled",
    "updatedReplicas",
];

#[derive(Debug, Deserialize)]
struct Answer {
    status: Option<Status>,
    message: Option<String>,
    error: Option<String>,
}

#[test]
fn made_up_objects() {
    let Some(reference) = peer("kstatus-batch") else { return };
    let cases = std::env::var("BASALT_KSTATUS_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let objects: Vec<Value> = (0..cases).map(|seed| object(&mut Random::new(seed))).collect();
    let answers: Vec<Answer> = ask(&reference.program, &objects).unwrap();
    assert_eq!(answers.len(), objects.len());

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut seen = [0; 5];
    let mut different = Vec::new();
    for (object, answer) in objects.iter().zip(answers) {
        let ours = judge(object, now);
        // What the reference refuses is what we cannot know.
        let theirs = answer.status.unwrap_or(Status::Unknown);
        seen[theirs as usize] += 1;
        if ours.status != theirs {
            let said = answer.error.or(answer.message).unwrap_or_default();
            different.push(format!("{object}\n  ours {ours:?}\n  theirs {theirs}: {said}"));
        }
    }
    let count = different.len();
    different.truncate(5);
    assert!(count == 0, "{count} of {cases} differ:\n{}", different.join("\n"));
    // Made-up objects that are all of one sort would prove nothing.
    assert!(seen.iter().all(|count| *count > cases / 200), "{seen:?}");
}

fn object(random: &mut Random) -> Value {
    let (api_version, kind) = *random.pick(&KINDS);
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!("made-up"));
    if random.percent(90) {
        metadata.insert("generation".to_owned(), json!(3));
    }
    if random.percent(4) {
        metadata.insert("deletionTimestamp".to_owned(), json!("2026-01-01T00:00:00Z"));
    }
    if random.percent(80) {
        metadata.insert("creationTimestamp".to_owned(), json!("2026-01-01T00:00:00Z"));
    }
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    object["spec"] = spec(random);
    if random.percent(95) {
        object["status"] = status(random);
    }
    if random.percent(3) {
        let path = *random.pick(&[
            "/metadata/generation",
            "/status/observedGeneration",
            "/status/conditions",
            "/status/phase",
            "/status/replicas",
            "/spec/replicas",
            "/status/conditions/0/status",
        ]);
        let odd = random.pick(&[json!("odd"), json!({"odd": 1}), json!(true), json!(1.5)]).clone();
        if let Some(place) = object.pointer_mut(path) {
            *place = odd;
        }
    }
    object
}

fn spec(random: &mut Random) -> Value {
    let mut spec = Map::new();
    let mut set = |random: &mut Random, percent, name: &str, values: &[Value]| {
        if random.percent(percent) {
            spec.insert(name.to_owned(), random.pick(values).clone());
        }
    };
    set(random, 80, "replicas", &[json!(0), json!(1), json!(2), json!(2)]);
    set(random, 60, "progressDeadlineSeconds", &[json!(600), json!(i32::MAX)]);
    set(random, 50, "type", &[json!("ClusterIP"), json!("LoadBalancer")]);
    set(random, 50, "clusterIP", &[json!(""), json!("10.0.0.1")]);
    set(random, 30, "parallelism", &[json!(2)]);
    set(
        random,
        40,
        "updateStrategy",
        &[
            json!({"type": "OnDelete"}),
            json!({"type": "RollingUpdate"}),
            json!({"rollingUpdate": {"partition": 1}}),
            json!({"rollingUpdate": {"partition": 0}}),
            json!({"rollingUpdate": {"partition": -1}}),
        ],
    );
    Value::Object(spec)
}

fn status(random: &mut Random) -> Value {
    let mut status = Map::new();
    if random.percent(80) {
        let seen = if random.percent(93) { 3 } else { 2 };
        status.insert("observedGeneration".to_owned(), json!(seen));
    }
    // Mostly all counts agree, so that what comes after them is reached.
    let usual = *random.pick(&[1, 2, 2]);
    for name in COUNTS {
        if random.percent(92) {
            let count = if random.percent(94) { usual } else { *random.pick(&[-1, 0, 1, 2, 3]) };
            status.insert(name.to_owned(), json!(count));
        }
    }
    for name in ["currentRevision", "updateRevision"] {
        if random.percent(80) {
            status.insert(name.to_owned(), json!(random.pick(&["a", "a", "a", "b"])));
        }
    }
    let phases =
        ["Pending", "Running", "Succeeded", "Failed", "Bound", "Lost", "Dreaming", "Running"];
    if random.percent(85) {
        status.insert("phase".to_owned(), json!(random.pick(&phases)));
    }
    if random.percent(50) {
        status.insert("startTime".to_owned(), json!("2026-01-01T00:00:00Z"));
    }
    if random.percent(40) {
        let state = random
            .pick(&[
                json!({"running": {}}),
                json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                json!({"waiting": {"reason": "ErrImagePull"}}),
                json!({"waiting": {}}),
            ])
            .clone();
        status.insert("containerStatuses".to_owned(), json!([{"name": "a", "state": state}]));
    }
    if random.percent(85) {
        let count = *random.pick(&[0, 1, 1, 2, 2, 3, 4]);
        let list: Vec<Value> = (0..count).map(|_| condition(random)).collect();
        status.insert("conditions".to_owned(), json!(list));
    }
    Value::Object(status)
}

fn condition(random: &mut Random) -> Value {
    let statuses = ["True", "True", "True", "False", "False", "Unknown", "maybe"];
    let mut condition = json!({
        "type": random.pick(&CONDITIONS),
        "status": random.pick(&statuses),
    });
    if random.percent(80) {
        condition["reason"] = json!(random.pick(&REASONS));
    }
    if random.percent(80) {
        condition["message"] = json!("made up");
    }
    condition
}
