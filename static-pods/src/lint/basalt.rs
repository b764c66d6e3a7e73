//! What Basalt wants of a node's own pods besides.

use super::container::containers;
use super::policy::Policy;
use super::tree::At;
use super::{Effect, Sink, host, image, probe, secret};

pub(super) fn check(pod: &At<'_>, policy: &Policy, sink: &mut Sink<'_>) {
    if let Some(facts) = &policy.host {
        host::check(pod, facts, sink);
    }
    let name = pod.follow(["metadata", "name"]);
    let allowed = policy.capabilities.get(name.text());
    let may_be_privileged = policy.privileged.contains(name.text());
    let spec = pod.get("spec");
    let mut refuse = |rule: &'static str, at: &At<'_>, message: &str, remedy: &str| {
        sink.add(Effect::Unsafe, rule, at, message, remedy);
    };
    let priority = spec.get("priority");
    if priority.integer().is_none() {
        let message = "without a priority the pod is the first to be evicted";
        refuse("basalt-priority", &priority, message, "set `priority: 2000001000`");
    }
    if pod.follow(["metadata", "uid"]).is_set() {
        let message = "a fixed uid keeps a changed pod from being seen as a new one";
        refuse("basalt-uid", &pod.follow(["metadata", "uid"]), message, "remove it");
    }
    let volumes = spec.get("volumes").items();
    let images = volumes.iter().map(|volume| volume.get("image"));
    let in_containers = containers(&spec).into_iter().map(|(_, container)| container);
    let named = (in_containers.map(|it| (it.get("image"), it.get("imagePullPolicy"))))
        .chain(images.map(|it| (it.get("reference"), it.get("pullPolicy"))));
    for (reference, policy) in named {
        if !reference.text().is_empty() && !image::is_pinned(reference.text()) {
            let message =
                "the image is not named by its digest, so it can change behind the node's back";
            refuse("basalt-image-digest", &reference, message, "add `@sha256:…`");
        }
        if policy.text() == "Always" {
            let message = "the node must start its pods without a registry";
            refuse("basalt-pull-policy", &policy, message, "write `IfNotPresent` or `Never`");
        }
    }
    for (_, container) in containers(&spec) {
        let context = container.get("securityContext");
        let privileged = context.get("privileged");
        if privileged.is_true() && !may_be_privileged {
            let message = "a privileged container is root on the host";
            let remedy = "add the capabilities that it needs, or list the pod as `privileged`";
            refuse("basalt-privileged", &privileged, message, remedy);
        }
        let drop = context.follow(["capabilities", "drop"]);
        if !privileged.is_true()
            && !drop.texts().iter().any(|name| name.eq_ignore_ascii_case("all"))
        {
            let message = "the container keeps the runtime's default capabilities";
            let remedy = "write `capabilities: {drop: [ALL]}` and add what is needed";
            refuse("basalt-capabilities", &drop, message, remedy);
        }
        for name in context.follow(["capabilities", "add"]).items() {
            if !allowed.is_some_and(|allowed| allowed.contains(&name.text().to_ascii_uppercase())) {
                let message = "more than a pod of this kind needs";
                let remedy = "remove it, or allow it to the pod where the cluster lists it";
                refuse("basalt-capabilities", &name, message, remedy);
            }
        }
    }
    for (_, container) in containers(&spec) {
        secret::check(&container, sink);
    }
    let mut refuse = |rule: &'static str, at: &At<'_>, message: &str, remedy: &str| {
        sink.add(Effect::Unsafe, rule, at, message, remedy);
    };
    let restart = spec.get("restartPolicy");
    if matches!(restart.text(), "Never" | "OnFailure") {
        let message = "a node's own pod has to come back by itself";
        refuse("basalt-restart", &restart, message, "remove it");
    }
    if !probe::has_probe(&spec, "livenessProbe") && !probe::has_probe(&spec, "readinessProbe") {
        let message = "no container has a probe, so a change can never be found healthy";
        refuse("basalt-probe", &spec.get("containers"), message, "add a readiness probe");
    }
}
