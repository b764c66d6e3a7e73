//! Requests and limits.

use std::collections::BTreeMap;

use super::container::{Role, containers};
use super::names;
use super::quantity::Quantity;
use super::tree::{At, beginning};
use super::volumes::quantity;
use super::{Effect, Sink};

const MEBIBYTE: i128 = 1 << 20;
const BILLION: i128 = 1_000_000_000;

/// Of bytes.
pub(super) const THOUSANDTHS: &str = "thousandths of a byte: `m` is not `M`";

/// Amounts by the name of the resource.
type Amounts<'t> = BTreeMap<&'t str, (Quantity, At<'t>)>;

pub(super) fn check_container(at: &At<'_>, spec: &At<'_>, role: Role, sink: &mut Sink<'_>) {
    let resources = at.get("resources");
    check(&resources, Of::Container, |_| 0, sink);
    huge_pages_alone(&resources, false, sink);
    for claim in resources.get("claims").items() {
        super::pod::reference(&claim, "a ResourceClaim", sink);
    }
    resize(at, spec, role, sink);
}

fn amounts<'t>(at: &At<'t>) -> Amounts<'t> {
    // Nothing is 0 of it.
    let amount = |(name, at): (&'t str, At<'t>)| {
        let amount = quantity(&at).or((!at.is_set()).then_some(Quantity::ZERO))?;
        Some((name, (amount, at)))
    };
    at.entries().into_iter().filter_map(amount).collect()
}

/// Whose resources they are.
#[derive(Clone, Copy)]
enum Of {
    Container,
    Pod,
}

impl Of {
    /// What is wrong with the name of a resource.
    fn unknown(self, name: &str) -> Option<&'static str> {
        match self {
            Of::Container => is_container_resource(name),
            Of::Pod => is_pod_resource(name),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Of::Container => "the usual ones are `cpu`, `memory` and `ephemeral-storage`",
            Of::Pod => "write it in the `resources` of a container",
        }
    }
}

fn check(resources: &At<'_>, of: Of, requested: impl Fn(&str) -> i128, sink: &mut Sink<'_>) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    let (limit_of, request_of) = (amounts(&limits), amounts(&requests));
    for (name, at) in limits.entries().into_iter().chain(requests.entries()) {
        if let Some(wrong) = of.unknown(name) {
            let message = format!("`{}` {wrong}", beginning(name));
            sink.refused("resource-name", &at, message, of.remedy());
        }
    }
    for (name, (amount, at)) in limit_of.iter().chain(&request_of) {
        value(name, *amount, at, sink);
    }
    for (name, (request, at)) in &request_of {
        let can_be_more = is_native(name) && !is_huge(name);
        match limit_of.get(name) {
            Some((limit, _)) if request.thousandths() > limit.thousandths() => {
                let message = "more is requested than the limit allows";
                sink.refused(
                    "resource-request",
                    at,
                    message,
                    "lower the request, or raise the limit",
                );
            }
            Some((limit, _)) if !can_be_more && request.thousandths() != limit.thousandths() => {
                let message = format!("a request of `{name}` must be the same as its limit");
                sink.refused("resource-request", at, message, "write the limit only");
            }
            None if !can_be_more => {
                let message = format!("`{name}` needs a limit");
                sink.refused("resource-request", at, message, "write it as a limit");
            }
            _ => {}
        }
    }
    // A limit alone is a request as well; that of a pod only when its containers request nothing.
    let limits_alone =
        limit_of.iter().filter(|(name, _)| !request_of.contains_key(*name) && requested(name) == 0);
    for (name, (request, at)) in request_of.iter().chain(limits_alone) {
        if of.unknown(name).is_none() {
            on_any_node(name, *request, at, sink);
        }
    }
    if let Some((amount, at)) = limit_of.get("memory") {
        memory_limit(*amount, at, sink);
    }
    whole_bytes("memory", request_of.get("memory"), sink);
    for amounts in [&limit_of, &request_of] {
        whole_bytes("resource-value", amounts.get("ephemeral-storage"), sink);
    }
    for (name, (amount, at)) in &limit_of {
        if is_extended(name) && amount.nanos > 0 {
            let message = "without a device plugin for it, the container starts without it";
            let remedy = "make sure that the host has one";
            sink.add(Effect::Questionable, "resource-value", at, message, remedy);
        }
    }
}

fn whole_bytes(rule: &'static str, amount: Option<&(Quantity, At<'_>)>, sink: &mut Sink<'_>) {
    if let Some((_, at)) = amount.filter(|(amount, _)| !amount.is_whole()) {
        sink.add(Effect::Questionable, rule, at, THOUSANDTHS, "write `M` or `Mi`");
    }
}

/// Huge pages do not make a pod that asks for something; `is_given` is whether it does elsewhere.
fn huge_pages_alone(resources: &At<'_>, is_given: bool, sink: &mut Sink<'_>) {
    let names = ["limits", "requests"].map(|field| amounts(&resources.get(field)));
    let has = |is: fn(&str) -> bool| names.iter().flat_map(|of| of.keys()).any(|name| is(name));
    if has(is_huge) && !has(|name| matches!(name, "cpu" | "memory")) && !is_given {
        let message = "huge pages need `cpu` or `memory` besides";
        sink.refused("resource-request", resources, message, "set `memory`");
    }
}

/// More than any machine has: the largest have some 900 cores and 32 TiB.
const MOST: [(&str, i128); 3] =
    [("cpu", 1000), ("memory", 64 << 40), ("ephemeral-storage", 1 << 60)];

/// A request that no node can meet. Extended resources that a node does not have are passed over.
fn on_any_node(name: &str, request: Quantity, at: &At<'_>, sink: &mut Sink<'_>) {
    let most = MOST.iter().find(|(known, _)| *known == name).map(|(_, most)| *most);
    let message = match most {
        Some(most) if request.nanos >= most * BILLION => "no machine has as much",
        None if is_native(name) && !is_huge(name) && request.nanos > 0 => {
            "no node has such a resource"
        }
        _ => return,
    };
    sink.add(Effect::NotAdmitted, "resource-request", at, message, "request what there is");
}

fn memory_limit(amount: Quantity, at: &At<'_>, sink: &mut Sink<'_>) {
    if (1..MEBIBYTE * BILLION).contains(&amount.nanos) {
        let message = if amount.is_whole() {
            "no program starts in less than a mebibyte"
        } else {
            "thousandths of a byte: `m` is not `M`, and no program starts in so little"
        };
        sink.add(Effect::NeverStarts, "memory", at, message, "write it with `M` or `Mi`");
    }
}

fn value(name: &str, amount: Quantity, at: &At<'_>, sink: &mut Sink<'_>) {
    if amount.nanos < 0 {
        sink.refused("resource-value", at, "negative", "write 0 or more");
    } else if is_extended(name)
        && (!amount.is_whole() || amount.thousandths() > i128::from(i64::MAX))
    {
        let message = "only whole numbers of this resource can be had";
        sink.refused("resource-value", at, message, "write a whole number");
    } else if let Some(size) = name.strip_prefix(HUGE_PAGES) {
        let size = Quantity::parse(size).filter(|size| size.nanos > 0 && size.is_whole());
        if size.is_none_or(|size| rounded_up(amount) % rounded_up(size) != 0) {
            let message = "not a multiple of the size of these pages";
            sink.refused("resource-value", at, message, "write a multiple of it");
        } else if !size.is_some_and(|size| is_power_of_two(rounded_up(size))) {
            let message = "no machine has huge pages of this size";
            let remedy = "the usual ones are `hugepages-2Mi` and `hugepages-1Gi`";
            sink.add(Effect::NotAdmitted, "resource-value", at, message, remedy);
        } else {
            let message = "needs huge pages of this size";
            sink.add(Effect::Host, "resource-value", at, message, "reserve them on the host");
        }
    }
}

fn is_power_of_two(number: i128) -> bool {
    number.count_ones() == 1
}

fn rounded_up(amount: Quantity) -> i128 {
    (amount.nanos + BILLION - 1) / BILLION
}

const HUGE_PAGES: &str = "hugepages-";

fn is_huge(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// One of Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// One that a device plugin or an administrator brings.
fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_none()
}

fn is_container_resource(name: &str) -> Option<&'static str> {
    if let Some(wrong) = names::qualified(name) {
        return Some(wrong);
    }
    let is_standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge(name);
    if !name.contains('/') {
        return (!is_standard).then_some("is not a resource of containers");
    }
    (!is_native(name) && !is_extended(name)).then_some("is not an extended resource")
}

fn is_pod_resource(name: &str) -> Option<&'static str> {
    (!matches!(name, "cpu" | "memory") && !is_huge(name))
        .then_some("is not a resource of whole pods: `cpu`, `memory` and huge pages are")
}

fn resize(at: &At<'_>, spec: &At<'_>, role: Role, sink: &mut Sink<'_>) {
    let policies = at.get("resizePolicy");
    let mut names = Vec::new();
    for policy in policies.items() {
        let (name, restart) = (policy.get("resourceName"), policy.get("restartPolicy"));
        sink.one_of("resize-policy", &name, &["cpu", "memory"]);
        sink.one_of("resize-policy", &restart, &["NotRequired", "RestartContainer"]);
        if names.contains(&name.text()) {
            let message = format!("`{}` has a policy already", beginning(name.text()));
            sink.refused("resize-policy", &name, message, "keep one");
        }
        names.push(name.text());
        if restart.text() == "RestartContainer"
            && (spec.get("restartPolicy").text() == "Never" || role == Role::Init)
        {
            let message = "a container that is never restarted cannot be restarted to resize it";
            sink.refused("resize-policy", &restart, message, "write `NotRequired`");
        }
    }
}

pub(super) fn check_pod(spec: &At<'_>, sink: &mut Sink<'_>) {
    let overhead = spec.get("overhead");
    for (name, at) in overhead.entries() {
        if let Some(wrong) = is_container_resource(name) {
            let message = format!("`{}` {wrong}", beginning(name));
            sink.refused("resource-name", &at, message, "remove it");
        }
    }
    for (name, (amount, at)) in amounts(&overhead) {
        value(name, amount, &at, sink);
        if is_extended(name) && amount.nanos > 0 {
            let message = "only containers ask for resources of device plugins";
            sink.add(Effect::NotAdmitted, "resource-request", &at, message, "remove it");
        } else if is_container_resource(name).is_none() {
            on_any_node(name, amount, &at, sink);
        }
    }
    let has_any = |is: fn(&str) -> bool| overhead.entries().iter().any(|(name, _)| is(name));
    if has_any(is_huge) && !has_any(|name| matches!(name, "cpu" | "memory")) {
        let message = "huge pages need `cpu` or `memory` besides";
        sink.refused("resource-request", &overhead, message, "set `memory`");
    }
    let resources = spec.get("resources");
    if !resources.is_set() {
        return;
    }
    if resources.get("claims").is_set() {
        let message = "a pod's `resources` have no claims";
        sink.refused("resource-request", &resources.get("claims"), message, "remove them");
    }
    check(&resources, Of::Pod, |name| sum_of_requests(spec, name), sink);
    // What the containers request is the pod's where it has limits.
    let is_given = !resources.get("limits").entries().is_empty()
        && containers(spec).iter().any(|(_, container)| {
            let resources = container.get("resources");
            let mut names =
                ["limits", "requests"].iter().flat_map(|of| resources.get(of).entries());
            names.any(|(name, _)| matches!(name, "cpu" | "memory"))
        });
    huge_pages_alone(&resources, is_given, sink);
    within_the_pod(spec, &resources, sink);
}

/// What containers ask for has to be within what the pod as a whole has.
fn within_the_pod(spec: &At<'_>, resources: &At<'_>, sink: &mut Sink<'_>) {
    let limits = amounts(&resources.get("limits"));
    let requests = amounts(&resources.get("requests"));
    for (name, (request, at)) in &requests {
        if sum_of_requests(spec, name) > request.thousandths() {
            let message = format!("the containers request more `{name}` than the pod does");
            sink.refused("resource-request", at, message, "raise it");
        }
    }
    for container in spec.get("containers").items() {
        for (name, (limit, at)) in amounts(&container.follow(["resources", "limits"])) {
            let of_pod = limits.get(name).map(|(limit, _)| limit.thousandths());
            if of_pod.is_some_and(|of_pod| limit.thousandths() > of_pod) {
                let message = format!("more `{name}` than the limit of the whole pod");
                sink.refused("resource-request", &at, message, "lower it");
            }
        }
    }
    // A limit alone is a request as well, when no container asks for the resource.
    for (name, (limit, at)) in &limits {
        let sum = sum_of_requests(spec, name);
        if !requests.contains_key(name) && sum > limit.thousandths() {
            let message = format!("the containers request more `{name}` than the pod may have");
            sink.refused("resource-request", at, message, "raise it");
        }
    }
}

/// What all containers of a pod ask for together: sidecars run beside the others, init containers before them.
fn sum_of_requests(spec: &At<'_>, name: &str) -> i128 {
    let of = |container: &At<'_>| {
        let resources = container.get("resources");
        let amount = |field| {
            amounts(&resources.get(field)).get(name).map(|(amount, _)| amount.thousandths())
        };
        amount("requests").or_else(|| amount("limits")).unwrap_or(0)
    };
    let all = containers(spec);
    let main: i128 = all.iter().filter(|(role, _)| *role == Role::Main).map(|(_, at)| of(at)).sum();
    let (mut sidecars, mut most) = (0, 0);
    for (role, at) in all.iter().filter(|(role, _)| *role != Role::Main) {
        match role {
            Role::Sidecar => {
                sidecars += of(at);
                most = most.max(sidecars);
            }
            Role::Init | Role::Main => most = most.max(sidecars + of(at)),
        }
    }
    (main + sidecars).max(most)
}
