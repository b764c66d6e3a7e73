//! Limits and requests, of containers and of the pod that they are in.
//!
//! For podman they are those of cgroups within one another, so that the tightest holds. Kubernetes refuses a pod whose
//! containers may have, or request, more than it has itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::draft::Draft;
use crate::lint::Quantity;

/// Amounts by their place, as in [`Draft::members`].
pub(super) type Amounts = BTreeMap<String, Value>;

/// What begins the place of an amount.
const PREFIX: &str = "resources.";

/// CFS's own period, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Takes the amounts out of the draft of what is no container.
pub(super) fn take(draft: &mut Draft) -> Amounts {
    let rest = draft.members.split_off(PREFIX);
    let (amounts, rest) = rest.into_iter().partition(|(path, _)| path.starts_with(PREFIX));
    draft.members.extend::<Amounts>(rest);
    amounts
}

/// Puts back the limit that was there `before` where it is tighter than the one set since.
pub(super) fn keep_tighter(draft: &mut Draft, before: &Amounts) -> bool {
    let looser = |(path, known): (&String, &Value)| {
        let is_limit = path.starts_with("resources.limits.");
        (is_limit && amount(known) < amount(draft.members.get(path)?)).then(|| path.clone())
    };
    let paths: Vec<String> = before.iter().filter_map(looser).collect();
    for path in &paths {
        draft.set(path, before[path].clone());
    }
    !paths.is_empty()
}

/// A share of the CPU that was written as time in periods.
pub(super) fn from_quota(draft: &mut Draft) {
    if let Some(quota) = draft.cpu_quota.take() {
        let milli = (quota.saturating_mul(1000) / draft.cpu_period.unwrap_or(CPU_PERIOD)).max(1);
        draft.set("resources.limits.cpu", format!("{milli}m"));
    }
}

/// Fits the amounts of containers and those of their pod to one another.
pub(super) fn fit(pod: &mut Amounts, containers: &mut [(String, Draft)]) {
    for what in ["cpu", "memory"] {
        let [limit, request] = ["limits", "requests"].map(|kind| format!("{PREFIX}{kind}.{what}"));
        if let Some(most) = pod.get(&limit).cloned() {
            for (_, draft) in containers.iter_mut() {
                let own = draft.members.get(&limit);
                if own.is_some_and(|own| amount(own) > amount(&most)) {
                    draft.set(&limit, most.clone());
                }
            }
            // A limit is a request as well where none is written, which podman knows nothing of.
            if requested(containers, &limit, &request) > amount(&most) {
                for (_, draft) in containers.iter_mut() {
                    if draft.members.contains_key(&limit) && !draft.members.contains_key(&request) {
                        draft.set(&request, "0");
                    }
                }
            }
        }
        let least = requested(containers, &limit, &request);
        if pod.get(&request).is_some_and(|own| amount(own) < least) {
            pod.remove(&request);
        }
    }
}

/// What the containers request together.
fn requested(containers: &[(String, Draft)], limit: &str, request: &str) -> i128 {
    let of = |draft: &Draft| draft.members.get(request).or(draft.members.get(limit)).map(amount);
    containers.iter().filter_map(|(_, draft)| of(draft)).sum()
}

/// The member `resources` of a pod's spec.
pub(super) fn of_pod(amounts: Amounts) -> Option<Value> {
    let mut resources = json!({});
    for (path, value) in amounts {
        if let Some((kind, what)) = path.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'))
        {
            resources[kind][what] = value;
        }
    }
    resources.as_object().is_some_and(|all| !all.is_empty()).then_some(resources)
}

fn amount(value: &Value) -> i128 {
    value.as_str().and_then(Quantity::parse).map_or(0, Quantity::thousandths)
}
