//! Security contexts, of pods and of containers, and the annotations that came before them.

use super::container::containers;
use super::names;
use super::tree::{At, beginning};
use super::{Effect, Sink, capability, sysctl};

const MOST_ID: i64 = i32::MAX as i64;

pub(super) fn check_pod(pod: &At<'_>, sink: &mut Sink<'_>) {
    let spec = pod.get("spec");
    let context = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        sink.in_range("user-id", &context.get(field), 0, MOST_ID);
    }
    for group in context.get("supplementalGroups").items() {
        sink.in_range("user-id", &group, 0, MOST_ID);
    }
    let group = context.get("runAsGroup");
    if group.is_set() && !context.get("runAsUser").is_set() {
        let message = "the runtime makes no sandbox for a pod with a group and no user";
        let remedy = "set the pod's `runAsUser` too, or set the group in the containers";
        sink.add(Effect::NeverStarts, "run-as-group", &group, message, remedy);
    }
    let policy = |field, known: &[&str], sink: &mut Sink<'_>| {
        sink.one_of_if_set("security-policy", &context.get(field), known);
    };
    policy("fsGroupChangePolicy", &["OnRootMismatch", "Always"], sink);
    policy("supplementalGroupsPolicy", &["Merge", "Strict"], sink);
    // `MountOption` is for kubelets with the feature gate `SELinuxMount`.
    policy("seLinuxChangePolicy", &["Recursive"], sink);
    sysctl::check(&spec, &context, sink);
    profiles(&context, sink);
    windows(&context, &spec, sink);
    annotations(pod, &spec, sink);
}

pub(super) fn check_container(container: &At<'_>, spec: &At<'_>, sink: &mut Sink<'_>) {
    let context = container.get("securityContext");
    for field in ["runAsUser", "runAsGroup"] {
        sink.in_range("user-id", &context.get(field), 0, MOST_ID);
    }
    let proc_mount = context.get("procMount");
    sink.one_of_if_set("proc-mount", &proc_mount, &["Default", "Unmasked"]);
    if proc_mount.text() == "Unmasked" && spec.get("hostUsers").flag() != Some(false) {
        let message = "`Unmasked` needs `hostUsers: false`";
        sink.refused("proc-mount", &proc_mount, message, "remove it");
    }
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.flag() == Some(false) {
        if context.get("privileged").is_true() {
            let message = "a privileged container can always gain privileges";
            sink.refused("privilege-escalation", &escalation, message, "remove one of the two");
        }
        if context.follow(["capabilities", "add"]).texts().contains(&"CAP_SYS_ADMIN") {
            let message = "a container with `CAP_SYS_ADMIN` can always gain privileges";
            sink.refused("privilege-escalation", &escalation, message, "remove one of the two");
        }
    }
    for list in ["add", "drop"] {
        for name in context.follow(["capabilities", list]).items() {
            if let Some(remedy) = capability::remedy(name.text()) {
                let message = format!("there is no capability `{}`", beginning(name.text()));
                sink.add(Effect::Dropped, "capability", &name, message, remedy);
            }
        }
    }
    profiles(&context, sink);
    windows(&context, spec, sink);
    not_root(&context, spec, sink);
}

/// A container that must not run as root, and is told to.
fn not_root(context: &At<'_>, spec: &At<'_>, sink: &mut Sink<'_>) {
    let of_pod = spec.get("securityContext");
    let effective = |field: &str| {
        let own = context.get(field);
        if own.is_set() { own } else { of_pod.get(field) }
    };
    let user = effective("runAsUser");
    if effective("runAsNonRoot").is_true() && user.integer() == Some(0) {
        let message = "with `runAsNonRoot: true` the container cannot run as user 0";
        sink.add(Effect::NeverStarts, "run-as-non-root", &user, message, "choose another user");
    }
}

fn profiles(context: &At<'_>, sink: &mut Sink<'_>) {
    let types = ["Localhost", "RuntimeDefault", "Unconfined"];
    for (field, rule) in [("seccompProfile", "seccomp"), ("appArmorProfile", "apparmor")] {
        let profile = context.get(field);
        if !profile.is_set() {
            continue;
        }
        let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
        sink.one_of(rule, &kind, &types);
        if rule == "apparmor" && !matches!(kind.text(), "" | "Unconfined") {
            let message = "needs a host with AppArmor";
            sink.add(Effect::Host, rule, &kind, message, "remove it for hosts with SELinux");
        }
        if kind.text() != "Localhost" {
            if local.is_set() {
                let message = "`localhostProfile` is for the type `Localhost`";
                sink.refused(rule, &local, message, "remove it");
            }
            continue;
        }
        if !local.is_set() || (rule == "apparmor" && local.text().is_empty()) {
            let message = "the type `Localhost` needs a `localhostProfile`";
            sink.refused(rule, &local, message, "name the profile");
            continue;
        }
        if rule == "seccomp" {
            if let Some(wrong) = names::descending_path(local.text()) {
                let message = format!("`{}` {wrong}", beginning(local.text()));
                let remedy = "write a path below the kubelet's folder of profiles";
                sink.refused(rule, &local, message, remedy);
            }
        } else if local.text().trim() != local.text() || local.text().len() > 4095 {
            let message = "the name of the profile has white space around it, or is too long";
            sink.refused(rule, &local, message, "correct the name");
        }
        let message = format!("needs the profile `{}`", beginning(local.text()));
        sink.add(Effect::Host, rule, &local, message, "make sure that the host has it");
    }
}

fn windows(context: &At<'_>, spec: &At<'_>, sink: &mut Sink<'_>) {
    let options = context.get("windowsOptions");
    if !options.is_set() {
        return;
    }
    if spec.follow(["os", "name"]).text() == "linux" {
        let message = "a pod for Linux has no Windows options";
        sink.refused("windows", &options, message, "remove them");
    } else {
        let message = "the node's operating system is Linux";
        sink.add(Effect::Dropped, "windows", &options, message, "remove them");
    }
}

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

fn annotations(pod: &At<'_>, spec: &At<'_>, sink: &mut Sink<'_>) {
    let all = containers(spec);
    let named = |name: &str| all.iter().find(|(_, at)| at.get("name").text() == name);
    for (key, at) in pod.follow(["metadata", "annotations"]).entries() {
        if key == SECCOMP_POD {
            seccomp_annotation(&at, &spec.follow(["securityContext", "seccompProfile"]), sink);
        } else if let Some(name) = key.strip_prefix(SECCOMP_CONTAINER) {
            let field = named(name).map(|(_, at)| at.follow(["securityContext", "seccompProfile"]));
            seccomp_annotation(&at, field.as_ref().unwrap_or(&spec.get("")), sink);
        } else if let Some(name) = key.strip_prefix(APPARMOR_CONTAINER) {
            let Some((_, container)) = named(name) else {
                let message = format!("there is no container `{}`", beginning(name));
                sink.refused("apparmor", &at, message, "use `securityContext.appArmorProfile`");
                continue;
            };
            let own = container.follow(["securityContext", "appArmorProfile"]);
            let of_pod = spec.follow(["securityContext", "appArmorProfile"]);
            apparmor_annotation(&at, if own.is_set() { &own } else { &of_pod }, sink);
        }
    }
}

const USE_THE_FIELD: &str = "remove the annotation and use the field in `securityContext`";

fn seccomp_annotation(at: &At<'_>, field: &At<'_>, sink: &mut Sink<'_>) {
    let (kind, local) = match at.text() {
        "runtime/default" | "docker/default" => ("RuntimeDefault", None),
        "unconfined" => ("Unconfined", None),
        text => match text.strip_prefix("localhost/") {
            Some(profile) if names::descending_path(profile).is_none() => {
                ("Localhost", Some(profile))
            }
            _ => {
                let message = format!("`{}` is not a seccomp profile", beginning(text));
                sink.refused("seccomp", at, message, USE_THE_FIELD);
                return;
            }
        },
    };
    if field.is_set() {
        differs("seccomp", at, field, kind, local, sink);
    } else {
        let message = "the kubelet has not read this annotation for years";
        sink.add(Effect::Questionable, "seccomp", at, message, USE_THE_FIELD);
    }
}

fn apparmor_annotation(at: &At<'_>, field: &At<'_>, sink: &mut Sink<'_>) {
    let (kind, local) = match at.text() {
        "" => ("", None),
        "runtime/default" => ("RuntimeDefault", None),
        "unconfined" => ("Unconfined", None),
        text => match text.strip_prefix("localhost/") {
            Some(profile) => ("Localhost", Some(profile)),
            None => {
                let message = format!("`{}` is not an AppArmor profile", beginning(text));
                sink.refused("apparmor", at, message, USE_THE_FIELD);
                return;
            }
        },
    };
    if field.is_set() {
        differs("apparmor", at, field, kind, local, sink);
    } else if !kind.is_empty() {
        let message = "this annotation gave way to a field";
        sink.add(Effect::Questionable, "apparmor", at, message, USE_THE_FIELD);
    }
}

fn differs(
    rule: &'static str,
    at: &At<'_>,
    field: &At<'_>,
    kind: &str,
    local: Option<&str>,
    sink: &mut Sink<'_>,
) {
    let same_profile = local.is_none_or(|profile| field.get("localhostProfile").text() == profile);
    if field.get("type").text() != kind || !same_profile {
        sink.refused(rule, at, format!("differs from `{}`", field.path), USE_THE_FIELD);
    }
}
