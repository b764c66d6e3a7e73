//! The waves of a bundle, and the gates between them: pure.

use std::collections::BTreeMap;

use basalt_kstatus::{Status, Verdict, judge, judge_by};
use serde_json::Value;

use super::object::{Key, Object};

/// Kinds that are complete as they are: of these, metadata is enough.
const WITHOUT_STATUS: [(&str, &str); 16] = [
    ("", "ConfigMap"),
    ("", "LimitRange"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
];

/// Whether objects of this kind show how far they are.
pub(crate) fn has_status(key: &Key) -> bool {
    !WITHOUT_STATUS.contains(&(key.group.as_str(), key.kind.as_str()))
}

/// In which order objects of one wave are applied: what others are in, or are kinds of, comes first.
pub(crate) fn rank(key: &Key) -> u8 {
    match (key.group.as_str(), key.kind.as_str()) {
        ("", "Namespace") => 0,
        _ if key.is_definition() => 1,
        ("" | "rbac.authorization.k8s.io", "ServiceAccount" | "ClusterRole" | "Role") => 2,
        ("rbac.authorization.k8s.io", _) => 3,
        ("admissionregistration.k8s.io", _) => 6,
        ("", "ConfigMap" | "Secret" | "Service") => 4,
        _ => 5,
    }
}

/// How far an object is, for the gate of its wave.
pub(crate) fn verdict(object: &Object, live: Option<&Value>, now: u64) -> Verdict {
    let Some(live) = live else {
        return Verdict { status: Status::InProgress, message: "is not there".to_owned() };
    };
    if let Some((condition, status)) = &object.ready_by {
        return judge_by(live, condition, status);
    }
    if !has_status(&object.key) {
        return match live.pointer("/metadata/deletionTimestamp") {
            Some(_) => {
                Verdict { status: Status::Terminating, message: "is being deleted".to_owned() }
            }
            None => Verdict { status: Status::Current, message: "is there".to_owned() },
        };
    }
    let verdict = judge(live, now);
    // A job that runs is well; what comes after it wants it done.
    let is_running_job =
        object.key.is("batch", "Job") && verdict.status == Status::Current && !is_complete(live);
    match is_running_job {
        true => Verdict { status: Status::InProgress, message: "is not complete yet".to_owned() },
        false => verdict,
    }
}

fn is_complete(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| it["type"] == "Complete" && it["status"] == "True")
}

/// The first wave that is not through, with what it waits for; nothing when all are.
pub(crate) fn closed_gate<'o>(
    objects: &'o [Object],
    live: &BTreeMap<Key, Value>,
    now: u64,
) -> Option<(usize, Vec<(&'o Object, Verdict)>)> {
    let judged = |object: &'o Object| (object, verdict(object, live.get(&object.key), now));
    let is_waited_for = |(_, verdict): &(&Object, Verdict)| verdict.status != Status::Current;
    let mut waiting: Vec<_> = objects.iter().map(judged).filter(is_waited_for).collect();
    let wave = waiting.iter().map(|(object, _)| object.wave).min()?;
    waiting.retain(|(object, _)| object.wave == wave);
    Some((wave, waiting))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::inventory::tests::object;
    use super::*;

    #[test]
    fn gates_open_in_order() {
        let objects =
            [object("ConfigMap", "a", 0), object("Service", "b", 1), object("Pod", "c", 1)];
        let mut live = BTreeMap::new();
        let gate = |live: &BTreeMap<Key, Value>| {
            closed_gate(&objects, live, 0).map(|(wave, list)| {
                (wave, list.iter().map(|(it, _)| it.key.name.clone()).collect::<Vec<_>>())
            })
        };
        assert_eq!(gate(&live), Some((0, vec!["a".to_owned()])));
        live.insert(objects[0].key.clone(), json!({}));
        assert_eq!(gate(&live), Some((1, vec!["b".to_owned(), "c".to_owned()])));
        live.insert(objects[1].key.clone(), json!({"apiVersion": "v1", "kind": "Service"}));
        live.insert(objects[2].key.clone(), json!({"apiVersion": "v1", "kind": "Pod"}));
        assert_eq!(gate(&live), Some((1, vec!["c".to_owned()])));
        let succeeded =
            json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Succeeded"}});
        live.insert(objects[2].key.clone(), succeeded);
        assert_eq!(gate(&live), None);
    }

    #[test]
    fn jobs_have_to_be_done() {
        let mut job = object("Job", "a", 0);
        job.key.group = "batch".to_owned();
        let live =
            |status: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "status": status});
        let status = |live: &Value| verdict(&job, Some(live), 0).status;
        let running = live(json!({"startTime": "2026-01-01T00:00:00Z"}));
        assert_eq!(status(&running), Status::InProgress);
        let done = live(json!({"conditions": [{"type": "Complete", "status": "True"}]}));
        assert_eq!(status(&done), Status::Current);
        assert_eq!(verdict(&job, None, 0).status, Status::InProgress);
    }

    #[test]
    fn own_conditions_come_first() {
        let mut own = object("Greeting", "a", 0);
        own.key.group = "hello.example".to_owned();
        let new = json!({"metadata": {"generation": 1}});
        assert_eq!(verdict(&own, Some(&new), 0).status, Status::Current, "no conditions, no doubt");
        own.ready_by = Some(("Ready".to_owned(), "True".to_owned()));
        assert_eq!(verdict(&own, Some(&new), 0).status, Status::InProgress);
    }
}
