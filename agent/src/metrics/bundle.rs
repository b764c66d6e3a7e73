//! What monitoring sees of the operator bundle: a file of its own, written by the part that applies, round by round.

use std::collections::BTreeMap;

use super::text::Kind::{Counter, Gauge};
use super::text::{Text, flag, unsigned};

/// What is known about the bundle on a node that may apply it. What is absent is not known, and has no line in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BundleFacts {
    /// Such as `committed`.
    pub(crate) state: String,
    /// Whether this node holds the Lease.
    pub(crate) is_holder: bool,
    /// The generation that is committed.
    pub(crate) generation: Option<u64>,
    /// How long it took to apply, until it was committed.
    pub(crate) took_seconds: Option<u64>,
    /// When everything was last as committed, in seconds since the Unix epoch.
    pub(crate) succeeded_at: Option<u64>,
    /// When the API server answered last, in seconds since the Unix epoch.
    pub(crate) answered_at: Option<u64>,
    /// How many objects there are, by how far they are.
    pub(crate) objects: BTreeMap<String, u64>,
    /// Since the agent started.
    pub(crate) applied: u64,
    pub(crate) failed: u64,
    pub(crate) pruned: u64,
    /// Fields that are left to others.
    pub(crate) contested: u64,
}

/// The whole file. Metrics come in a fixed order, each with its help, and only when there is something to say.
pub(crate) fn bundle_text(facts: &BundleFacts) -> String {
    let mut out = Text::default();
    let state: &[(&str, &str)] = &[("state", &facts.state)];
    out.metric(
        "basalt_bundle_state",
        Gauge,
        "1 for how the operator bundle stands, as this node sees it.",
        [(state, 1.0)],
    );
    out.metric(
        "basalt_bundle_lease_held",
        Gauge,
        "Whether this node is the one that applies.",
        [(&[][..], flag(facts.is_holder))],
    );
    for (name, help, value) in [
        ("basalt_bundle_generation", "The generation that is committed.", facts.generation),
        (
            "basalt_bundle_apply_duration_seconds",
            "How long that generation took to apply, until it was committed.",
            facts.took_seconds,
        ),
        (
            "basalt_bundle_last_success_timestamp_seconds",
            "When everything was last as committed; at the node that applies.",
            facts.succeeded_at,
        ),
        (
            "basalt_bundle_answered_timestamp_seconds",
            "When the API server answered this node last.",
            facts.answered_at,
        ),
    ] {
        out.metric(name, Gauge, help, value.map(|value| (&[][..], unsigned(value))));
    }
    let objects: Vec<([(&str, &str); 1], f64)> = (facts.objects.iter())
        .map(|(status, count)| ([("status", status.as_str())], unsigned(*count)))
        .collect();
    out.metric(
        "basalt_bundle_objects",
        Gauge,
        "Objects of the bundle, by how far they are; at the node that applies.",
        objects.iter().map(|(labels, count)| (&labels[..], *count)),
    );
    out.metric(
        "basalt_bundle_contested_fields",
        Gauge,
        "Fields of the bundle that are left to other managers.",
        [(&[][..], unsigned(facts.contested))],
    );
    for (name, help, value) in [
        ("basalt_bundle_objects_applied_total", "Objects made or changed.", facts.applied),
        (
            "basalt_bundle_objects_failed_total",
            "Objects that could not be applied, each time.",
            facts.failed,
        ),
        ("basalt_bundle_objects_pruned_total", "Objects deleted that left.", facts.pruned),
    ] {
        out.metric(name, Counter, help, [(&[][..], unsigned(value))]);
    }
    out.text
}
