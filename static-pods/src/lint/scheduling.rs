//! Where a pod may run: a static pod is on its node already, and the kubelet still holds it against the node's labels.

use super::metadata::labels;
use super::names;
use super::tree::{At, beginning};
use super::{Effect, Sink};

pub(super) fn check(spec: &At<'_>, sink: &mut Sink<'_>) {
    let selector = spec.get("nodeSelector");
    labels(&selector, sink);
    for (key, value) in selector.entries() {
        match matches(key, &["="], &[value.text()]) {
            Some(true) => {}
            Some(false) => not_here(&value, sink),
            None => on_some(&value, sink),
        }
    }
    affinity(&spec.get("affinity"), sink);
    tolerations(&spec.get("tolerations"), sink);
    spread(&spec.get("topologySpreadConstraints"), sink);
    let gates = spec.get("schedulingGates");
    for gate in gates.items() {
        sink.named("scheduling-gate", &gate.get("name"), names::qualified(gate.get("name").text()));
    }
    if !gates.items().is_empty() {
        let message = "a static pod is on its node already: nothing opens a scheduling gate";
        sink.refused("scheduling-gate", &gates, message, "remove them");
    }
    for gate in spec.get("readinessGates").items() {
        let kind = gate.get("conditionType");
        sink.named("readiness-gate", &kind, names::qualified(kind.text()));
        let message = "nobody opens the gate without the API, so the pod runs and is not ready";
        sink.add(Effect::Questionable, "readiness-gate", &gate, message, "remove it");
    }
}

fn not_here(at: &At<'_>, sink: &mut Sink<'_>) {
    let message = "a standalone kubelet's node has no such label";
    sink.add(
        Effect::NotAdmitted,
        "node-selector",
        at,
        message,
        "remove it: a static pod is on its node already",
    );
}

fn on_some(at: &At<'_>, sink: &mut Sink<'_>) {
    let message = "only some nodes have this label";
    sink.add(
        Effect::Host,
        "node-selector",
        at,
        message,
        "remove it: a static pod is on its node already",
    );
}

/// Whether the labels that a standalone kubelet gives its node satisfy a requirement; `None` where that depends on the
/// node.
fn matches(key: &str, operator: &[&str], values: &[&str]) -> Option<bool> {
    let value = match key {
        "kubernetes.io/os" | "beta.kubernetes.io/os" => Some(Some("linux")),
        "kubernetes.io/arch" | "beta.kubernetes.io/arch" | "kubernetes.io/hostname" => None,
        _ => Some(None),
    };
    let Some(value) = value else {
        return match operator {
            ["Exists"] => Some(true),
            ["DoesNotExist"] => Some(false),
            _ => None,
        };
    };
    let is_in = value.is_some_and(|value| values.contains(&value));
    Some(match operator {
        ["=" | "In"] => is_in,
        ["NotIn"] => !is_in,
        ["Exists"] => value.is_some(),
        ["DoesNotExist"] => value.is_none(),
        // Greater and less: none of the labels is a number.
        _ => false,
    })
}

fn affinity(affinity: &At<'_>, sink: &mut Sink<'_>) {
    let node = affinity.get("nodeAffinity");
    let required = node.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        let terms = required.get("nodeSelectorTerms");
        if terms.items().is_empty() {
            let message = "`nodeSelectorTerms` must have a term";
            sink.refused("affinity", &terms, message, "add one, or remove the affinity");
        }
        terms.items().iter().for_each(|term| node_term(term, true, sink));
        match any(terms.items().iter().map(term_matches)) {
            Some(true) => {}
            Some(false) => not_here(&required, sink),
            None => on_some(&required, sink),
        }
    }
    for term in node.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&term, sink);
        node_term(&term.get("preference"), false, sink);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let at = affinity.get(kind);
        for term in at.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
            pod_term(&term, sink);
        }
        for term in at.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
            weight(&term, sink);
            pod_term(&term.get("podAffinityTerm"), sink);
        }
    }
}

fn weight(term: &At<'_>, sink: &mut Sink<'_>) {
    let weight = term.get("weight");
    if weight.integer().is_none() {
        sink.refused("affinity", &weight, "`weight` must be between 1 and 100", "set it");
    }
    sink.in_range("affinity", &weight, 1, 100);
}

/// Whether any is true; `None` where one may be.
fn any(all: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let all: Vec<Option<bool>> = all.collect();
    if all.contains(&Some(true)) {
        return Some(true);
    }
    if all.contains(&None) { None } else { Some(false) }
}

fn term_matches(term: &At<'_>) -> Option<bool> {
    let expressions = term.get("matchExpressions").items();
    let fields = term.get("matchFields").items();
    // A term without requirements matches no node.
    if expressions.is_empty() && fields.is_empty() {
        return Some(false);
    }
    let expression = |at: &At<'_>| {
        let negated =
            matches(at.get("key").text(), &[at.get("operator").text()], &at.get("values").texts());
        negated.map(|matches| !matches)
    };
    // The only field is the node's name.
    let all = expressions.iter().map(expression).chain(fields.iter().map(|_| None));
    any(all).map(|fails| !fails)
}

fn node_term(term: &At<'_>, values_are_checked: bool, sink: &mut Sink<'_>) {
    for requirement in term.get("matchExpressions").items() {
        let (key, operator, values) =
            (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        let known = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
        sink.one_of("affinity", &operator, &known);
        count_of_values(operator.text(), &values, sink);
        sink.named("affinity", &key, names::qualified(key.text()));
        for value in values.items().iter().filter(|_| values_are_checked) {
            sink.named("affinity", value, names::label_value(value.text()));
        }
    }
    for requirement in term.get("matchFields").items() {
        let values = requirement.get("values");
        sink.one_of("affinity", &requirement.get("operator"), &["In", "NotIn"]);
        sink.one_of("affinity", &requirement.get("key"), &["metadata.name"]);
        if values.items().len() != 1 {
            sink.refused("affinity", &values, "exactly one value is wanted", "write one");
        }
        for value in values.items() {
            sink.named("affinity", &value, names::dns_subdomain(value.text()));
        }
    }
}

fn count_of_values(operator: &str, values: &At<'_>, sink: &mut Sink<'_>) {
    let count = values.items().len();
    let (fits, wanted) = match operator {
        "In" | "NotIn" => (count > 0, "at least one value is wanted"),
        "Exists" | "DoesNotExist" => (count == 0, "no value is wanted"),
        "Gt" | "Lt" => (count == 1, "exactly one value is wanted"),
        _ => return,
    };
    if !fits {
        sink.refused(
            "affinity",
            values,
            format!("{wanted} with `{operator}`"),
            "correct the values",
        );
    }
}

fn pod_term(term: &At<'_>, sink: &mut Sink<'_>) {
    let selector = term.get("labelSelector");
    label_selector(&selector, sink);
    label_selector(&term.get("namespaceSelector"), sink);
    for namespace in term.get("namespaces").items() {
        sink.named("affinity", &namespace, names::dns_label(namespace.text()));
    }
    let key = term.get("topologyKey");
    if sink.required("affinity", &key) {
        sink.named("affinity", &key, names::qualified(key.text()));
    }
    let (same, other) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    label_keys(&same, &selector, sink);
    label_keys(&other, &selector, sink);
    for key in same.items().iter().filter(|key| other.texts().contains(&key.text())) {
        let message = format!("`{}` is in `mismatchLabelKeys` as well", beginning(key.text()));
        sink.refused("affinity", key, message, "keep one of the two");
    }
}

fn label_keys(keys: &At<'_>, selector: &At<'_>, sink: &mut Sink<'_>) {
    if keys.items().is_empty() {
        return;
    }
    if !selector.is_set() {
        sink.refused("affinity", keys, "keys of labels need a `labelSelector`", "set it");
        return;
    }
    for key in keys.items() {
        sink.named("affinity", &key, names::qualified(key.text()));
    }
    let mut seen: Vec<&str> =
        selector.get("matchLabels").entries().iter().map(|(key, _)| *key).collect();
    for expression in selector.get("matchExpressions").items() {
        let key = expression.get("key");
        // The kubelet's merge of the keys into the selector is recognized; anything else twice is refused.
        if keys.path.ends_with(".matchLabelKeys")
            && keys.texts().contains(&key.text())
            && seen.contains(&key.text())
        {
            let message = format!("`{}` is in the selector already", beginning(key.text()));
            sink.refused("affinity", &key, message, "remove it from one of the two");
        }
        seen.push(key.text());
    }
}

fn label_selector(selector: &At<'_>, sink: &mut Sink<'_>) {
    labels(&selector.get("matchLabels"), sink);
    for expression in selector.get("matchExpressions").items() {
        let (key, operator) = (expression.get("key"), expression.get("operator"));
        sink.one_of("affinity", &operator, &["In", "NotIn", "Exists", "DoesNotExist"]);
        count_of_values(operator.text(), &expression.get("values"), sink);
        sink.named("affinity", &key, names::qualified(key.text()));
        for value in expression.get("values").items() {
            sink.named("affinity", &value, names::label_value(value.text()));
        }
    }
}

fn tolerations(tolerations: &At<'_>, sink: &mut Sink<'_>) {
    for toleration in tolerations.items() {
        let (key, operator, value, effect) = (
            toleration.get("key"),
            toleration.get("operator"),
            toleration.get("value"),
            toleration.get("effect"),
        );
        if !key.text().is_empty() {
            sink.named("toleration", &key, names::qualified(key.text()));
        } else if operator.text() != "Exists" {
            let message = "without a `key` the operator must be `Exists`";
            sink.refused("toleration", &operator, message, "write `operator: Exists`");
        }
        let seconds = toleration.get("tolerationSeconds");
        if seconds.is_set() && effect.text() != "NoExecute" {
            let message = "`tolerationSeconds` is for the effect `NoExecute`";
            sink.refused("toleration", &seconds, message, "remove it");
        }
        match operator.text() {
            "" | "Equal" => sink.named("toleration", &value, names::label_value(value.text())),
            "Exists" if !value.text().is_empty() => {
                let message = "`Exists` takes no value";
                sink.refused("toleration", &value, message, "remove it");
            }
            "Exists" => {}
            _ => sink.one_of("toleration", &operator, &["Equal", "Exists"]),
        }
        if !effect.text().is_empty() {
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            sink.one_of("toleration", &effect, &known);
        }
    }
}

fn spread(constraints: &At<'_>, sink: &mut Sink<'_>) {
    let mut seen = Vec::new();
    for constraint in constraints.items() {
        let (skew, domains) = (constraint.get("maxSkew"), constraint.get("minDomains"));
        if skew.integer().is_none_or(|skew| skew <= 0) {
            sink.refused("topology-spread", &skew, "`maxSkew` must be 1 or more", "set it");
        }
        let (key, action) = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        sink.required("topology-spread", &key);
        sink.one_of("topology-spread", &action, &["DoNotSchedule", "ScheduleAnyway"]);
        if seen.contains(&(key.text(), action.text())) {
            let message = "the same constraint is there already";
            sink.refused("topology-spread", &constraint, message, "keep one of the two");
        }
        seen.push((key.text(), action.text()));
        sink.in_range("topology-spread", &domains, 1, i64::MAX);
        if domains.is_set() && action.text() != "DoNotSchedule" {
            let message = "`minDomains` is for `whenUnsatisfiable: DoNotSchedule`";
            sink.refused("topology-spread", &domains, message, "remove it");
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            sink.one_of_if_set("topology-spread", &constraint.get(field), &["Honor", "Ignore"]);
        }
        let selector = constraint.get("labelSelector");
        label_selector(&selector, sink);
        label_keys(&constraint.get("matchLabelKeys"), &selector, sink);
    }
}
