//! What Basalt wants of a node's own pods besides.

use super::container::containers;
use super::tree::At;
use super::{Effect, Sink, image, probe};

pub(super) fn check(pod: &At<'_>, sink: &mut Sink<'_>) {
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
    for (_, container) in containers(&spec) {
        let reference = container.get("image");
        if !reference.text().is_empty() && !image::is_pinned(reference.text()) {
            let message =
                "the image is not named by its digest, so it can change behind the node's back";
            refuse("basalt-image-digest", &reference, message, "add `@sha256:…`");
        }
        let policy = container.get("imagePullPolicy");
        if policy.text() == "Always" {
            let message = "the node must start its pods without a registry";
            refuse("basalt-pull-policy", &policy, message, "write `IfNotPresent` or `Never`");
        }
        let context = container.get("securityContext");
        let privileged = context.get("privileged");
        if privileged.is_true() {
            let message = "a privileged container is root on the host";
            refuse("basalt-privileged", &privileged, message, "add the capabilities that it needs");
        }
        let drop = context.follow(["capabilities", "drop"]);
        if !drop.texts().iter().any(|name| name.eq_ignore_ascii_case("all")) {
            let message = "the container keeps the runtime's default capabilities";
            let remedy = "write `capabilities: {drop: [ALL]}` and add what is needed";
            refuse("basalt-capabilities", &drop, message, remedy);
        }
        for name in context.follow(["capabilities", "add"]).items() {
            if ["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "BPF"]
                .contains(&name.text().to_ascii_uppercase().as_str())
            {
                let message = "with this capability the container is as good as privileged";
                refuse("basalt-capabilities", &name, message, "remove it");
            }
        }
    }
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
