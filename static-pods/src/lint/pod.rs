//! `spec`: what concerns the whole pod.

use super::tree::{At, beginning};
use super::{
    Effect, Sink, container, metadata, names, resources, scheduling, security, start, volumes,
};

pub(super) fn check(pod: &At<'_>, sink: &mut Sink<'_>) {
    metadata::check(pod, sink);
    let spec = pod.get("spec");
    references(&spec, sink);
    policies(&spec, sink);
    host(&spec, sink);
    dns(&spec, sink);
    let volumes = volumes::check(&spec, sink);
    container::check_all(&spec, &volumes, sink);
    resources::check_pod(&spec, sink);
    security::check_pod(pod, sink);
    scheduling::check(&spec, sink);
    start::check(pod, sink);
}

/// Objects of the Kubernetes API that a pod as a whole refers to.
fn references(spec: &At<'_>, sink: &mut Sink<'_>) {
    let account = spec.get("serviceAccountName");
    let old = spec.get("serviceAccount");
    for at in [&account, &old].into_iter().filter(|at| !at.text().is_empty()) {
        reference(at, "a service account", sink);
        sink.named("service-account", at, names::dns_subdomain(at.text()));
    }
    for secret in spec.get("imagePullSecrets").items() {
        if secret.get("name").text().is_empty() {
            let message = "names no Secret";
            sink.add(Effect::Questionable, "api-reference", &secret, message, "remove it");
        } else {
            reference(&secret, "a Secret", sink);
        }
    }
    let claims = spec.get("resourceClaims");
    if !claims.items().is_empty() {
        reference(&claims, "a ResourceClaim", sink);
    }
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.items().is_empty() {
        let message = "ephemeral containers are added to running pods through the API only";
        sink.refused("ephemeral-containers", &ephemeral, message, "remove them");
    }
    let class = spec.get("runtimeClassName");
    if class.is_set() {
        let remedy = "remove it, and make the runtime the default one in containerd";
        if names::dns_subdomain(class.text()).is_some() {
            sink.refused("runtime-class", &class, "not a DNS name", remedy);
        } else {
            let message =
                "a runtime class is looked up in the API, which a standalone kubelet has not";
            sink.add(Effect::Ends, "runtime-class", &class, message, remedy);
        }
    }
}

/// A static pod has no API to look an object up in.
pub(super) fn reference(at: &At<'_>, what: &str, sink: &mut Sink<'_>) {
    let message = format!("a static pod cannot refer to {what} of the Kubernetes API");
    let remedy = match what {
        "a Secret" | "a ConfigMap" => {
            "put the data into files on the host and mount them with `hostPath`"
        }
        _ => "remove it",
    };
    sink.refused("api-reference", at, message, remedy);
}

fn policies(spec: &At<'_>, sink: &mut Sink<'_>) {
    let restart = spec.get("restartPolicy");
    if !restart.text().is_empty() {
        sink.one_of("restart-policy", &restart, &["Always", "OnFailure", "Never"]);
    }
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.integer().is_some_and(|seconds| seconds < 0) {
        let message = "the kubelet makes 1 of a negative number of seconds";
        sink.add(Effect::Dropped, "grace-period", &grace, message, "write 0 or more");
    }
    sink.in_range("active-deadline", &spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX));
    let preemption = spec.get("preemptionPolicy");
    sink.one_of_if_set("preemption-policy", &preemption, &["PreemptLowerPriority", "Never"]);
    let class = spec.get("priorityClassName");
    if !class.text().is_empty() {
        sink.named("priority-class", &class, names::dns_subdomain(class.text()));
        if spec.get("priority").integer().is_none() {
            let message = "without the API a priority class is not resolved to a number";
            let remedy = "set `priority` to the number of the class";
            sink.add(Effect::Questionable, "priority-class", &class, message, remedy);
        }
    }
    let group = spec.get("schedulingGroup");
    if group.is_set() {
        let name = group.get("podGroupName");
        sink.named("scheduling-group", &name, names::dns_subdomain(name.text()));
    }
    let os = spec.get("os");
    if os.is_set() {
        let name = os.get("name");
        match name.text() {
            "linux" => {}
            "windows" => {
                let message = "this node's operating system is Linux";
                sink.add(Effect::NotAdmitted, "node-os", &name, message, "write `linux`");
            }
            _ => sink.one_of("node-os", &name, &["linux"]),
        }
    }
}

fn host(spec: &At<'_>, sink: &mut Sink<'_>) {
    let hostname = spec.get("hostname");
    if !hostname.text().is_empty() {
        sink.named("hostname", &hostname, names::dns_label(hostname.text()));
    }
    let subdomain = spec.get("subdomain");
    if !subdomain.text().is_empty() {
        sink.named("hostname", &subdomain, names::dns_label(subdomain.text()));
    }
    let host_network = spec.get("hostNetwork").is_true();
    let forced = spec.get("hostnameOverride");
    if forced.is_set() {
        sink.named("hostname", &forced, names::dns_subdomain(forced.text()));
        if forced.text().len() > 64 {
            sink.refused(
                "hostname",
                &forced,
                "has more than 64 characters",
                "choose a shorter one",
            );
        }
        if host_network {
            let message = "a pod in the host's network has the host's name";
            sink.refused("hostname", &forced, message, "remove one of the two");
        }
        if spec.get("setHostnameAsFQDN").is_true() {
            let message = "`setHostnameAsFQDN` and `hostnameOverride` exclude each other";
            sink.refused("hostname", &forced, message, "remove one of the two");
        }
    }
    let hostname = spec.get("hostname");
    if host_network && !hostname.text().is_empty() {
        let message = "a pod in the host's network has the host's name";
        sink.add(Effect::Questionable, "hostname", &hostname, message, "remove it");
    }
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        let message = "`shareProcessNamespace` and `hostPID` exclude each other";
        let at = spec.get("shareProcessNamespace");
        sink.refused("host-namespace", &at, message, "remove one of the two");
    }
    if spec.get("hostUsers").flag() == Some(false) {
        let message = "needs a kernel, a file system and a runtime with user namespaces for pods";
        let at = spec.get("hostUsers");
        sink.add(Effect::Host, "user-namespace", &at, message, "make sure that the host has them");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            let at = spec.get(field);
            if at.is_true() {
                let message = format!("`{field}` is refused when `hostUsers` is false");
                sink.refused("user-namespace", &at, message, "remove one of the two");
            }
        }
    }
    for alias in spec.get("hostAliases").items() {
        let ip = alias.get("ip");
        if let Some(wrong) = names::ip(ip.text()) {
            let message = format!("`{}` {wrong}", beginning(ip.text()));
            sink.refused("host-alias", &ip, message, "write an address, without leading zeros");
        }
        for name in alias.get("hostnames").items() {
            sink.named("host-alias", &name, names::dns_subdomain(name.text()));
        }
    }
}

fn dns(spec: &At<'_>, sink: &mut Sink<'_>) {
    let (policy, config) = (spec.get("dnsPolicy"), spec.get("dnsConfig"));
    if !policy.text().is_empty() {
        let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
        sink.one_of("dns-policy", &policy, &known);
    }
    let servers = config.get("nameservers");
    if policy.text() == "None" && servers.items().is_empty() {
        let message = "with `dnsPolicy: None`, `dnsConfig.nameservers` must name a server";
        let at = if config.is_set() { &servers } else { &policy };
        sink.refused("dns-config", at, message, "name one, or leave the policy away");
        return;
    }
    if servers.items().len() > 3 {
        sink.refused("dns-config", &servers, "more than 3 name servers", "keep three");
    }
    for server in servers.items() {
        sink.named("dns-config", &server, names::ip(server.text()));
    }
    let searches = config.get("searches");
    if searches.items().len() > 32 {
        sink.refused("dns-config", &searches, "more than 32 search domains", "keep fewer");
    }
    if searches.texts().join(" ").len() > 2048 {
        let message = "the search domains have more than 2048 characters";
        sink.refused("dns-config", &searches, message, "keep fewer");
    }
    for search in searches.items().iter().filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        sink.named("dns-config", search, names::search_domain(name));
    }
    for option in config.get("options").items() {
        sink.required("dns-config", &option.get("name"));
    }
}
