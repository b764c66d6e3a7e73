//! What is wrong with an object that does not become well: its last event, and the end of the log behind it.

use kube::core::discovery::ApiResource;
use kube::core::gvk::GroupVersionKind;
use kube::core::params::ListParams;
use serde_json::Value;

use super::api::{Api, Whole};
use super::object::Key;
use super::report::Problem;

/// So many lines of a log say enough.
const LOG_LINES: u8 = 5;
/// More of an event or a log than this is nobody's to read in a table.
const MAX_TEXT: usize = 600;

/// Looks closer at an object that is not well.
pub(crate) async fn look(api: &Api, key: &Key, live: Option<&Value>, message: &str) -> Problem {
    let mut problem = Problem {
        object: Some(key.to_string()),
        message: message.to_owned(),
        ..Problem::default()
    };
    let Some(namespace) = key.namespace.as_deref() else { return problem };
    let pod = match (key.is("", "Pod"), live) {
        (true, live) => live.cloned(),
        (false, Some(live)) => worst_pod(api, namespace, live).await,
        (false, None) => None,
    };
    if let Some(pod) = &pod {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if let Some((container, reason)) = worst_container(pod) {
            problem.message = format!("{message}; pod {name}, container {container}: {reason}");
            if let Ok(log) = api.log_tail(namespace, name, container, LOG_LINES).await {
                problem.log = shortened(log.trim_end());
            }
        }
        problem.event = last_event(api, namespace, name).await;
    }
    if problem.event.is_none() {
        problem.event = last_event(api, namespace, &key.name).await;
    }
    problem
}

fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
}

async fn last_event(api: &Api, namespace: &str, name: &str) -> Option<String> {
    let params = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events = core("Event", "events");
    let list = api.list(&events, Some(namespace), &params, Whole::Objects).await.ok()?;
    let time = |event: &Value| {
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
            .into_iter()
            .find_map(|pointer| event.pointer(pointer)?.as_str().map(str::to_owned))
    };
    let last = list.iter().max_by_key(|event| time(event))?;
    let text = |name: &str| last[name].as_str().unwrap_or_default();
    shortened(&format!("{}: {}", text("reason"), text("message")))
}

/// Of the pods that an object selects, one that is not ready; the youngest of them is from the change that was made.
async fn worst_pod(api: &Api, namespace: &str, live: &Value) -> Option<Value> {
    let labels = live.pointer("/spec/selector/matchLabels")?.as_object()?;
    let pairs =
        labels.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    let selector = pairs.collect::<Vec<_>>().join(",");
    let params = ListParams::default().labels(&selector);
    let list =
        api.list(&core("Pod", "pods"), Some(namespace), &params, Whole::Objects).await.ok()?;
    let is_ready = |pod: &Value| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
    };
    let unready = list.into_iter().filter(|pod| !is_ready(pod));
    unready.max_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned))
}

/// A container that waits or has ended, and why.
fn worst_container(pod: &Value) -> Option<(&str, String)> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = lists.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    statuses
        .filter_map(|status| {
            let name = status["name"].as_str()?;
            let state =
                ["waiting", "terminated"].into_iter().find_map(|it| status["state"].get(it))?;
            let reason = state["reason"].as_str().unwrap_or("not running");
            match state["message"].as_str() {
                Some(message) => Some((name, shortened(&format!("{reason}: {message}"))?)),
                None => Some((name, reason.to_owned())),
            }
        })
        .next()
}

fn shortened(text: &str) -> Option<String> {
    let short: String = text.chars().take(MAX_TEXT).collect();
    (!short.is_empty()).then_some(short)
}
