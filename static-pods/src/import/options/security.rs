//! Options of users, capabilities, namespaces, labels and profiles.

use serde_json::json;

use super::super::draft::Draft;
use super::super::notes::At;
use super::Outcome::{self, Broken, Carried, Changed, Invalid, Lost};
use super::apply::{NO_FIELD, USERNS, carried, lost, pair, spec};

pub(super) fn cap_add(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    capabilities(&mut draft.capabilities.add, value);
    carried("securityContext.capabilities.add")
}

pub(super) fn cap_drop(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    capabilities(&mut draft.capabilities.drop, value);
    Carried("it is not among `securityContext.capabilities.add`".to_owned())
}

fn capabilities(list: &mut Vec<String>, value: &str) {
    let names = value.split([',', ' ']).map(|name| name.trim().to_ascii_uppercase());
    let plain = |name: String| name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned);
    list.extend(names.filter(|name| !name.is_empty()).map(plain));
}

pub(super) fn group_add(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let Ok(group) = value.parse::<u32>() else {
        return Broken("groups of a pod are numbers".to_owned(), "write the group's number");
    };
    let groups = draft.shared.spec.entry("supplementalGroups").or_insert(json!([]));
    if let Some(groups) = groups.as_array_mut() {
        groups.push(group.into());
    }
    carried("spec.securityContext.supplementalGroups")
}

pub(super) fn user(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let (user, group) = value.split_once(':').map_or((value, None), |(u, g)| (u, Some(g)));
    // What is called root is root in any image.
    let number = |text: &str| if text == "root" { Some(0) } else { text.parse::<u32>().ok() };
    let (user, group) = (number(user), group.map(number));
    if let Some(user) = user {
        draft.set("securityContext.runAsUser", user);
    }
    if let Some(Some(group)) = group {
        draft.set("securityContext.runAsGroup", group);
    }
    match (user, group) {
        (Some(_), None | Some(Some(_))) => carried("securityContext.runAsUser"),
        _ => Broken(
            "users and groups of a pod are numbers, names are the image's own: the container runs as its image says"
                .to_owned(),
            "write the numbers that the image's `/etc/passwd` and `/etc/group` have",
        ),
    }
}

pub(super) fn user_namespace(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "" | "host" => Carried("as it is by itself".to_owned()),
        _ => lost(USERNS),
    }
}

pub(super) fn uts(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "host" => Carried("it comes with the host's network".to_owned()),
        _ => Lost(
            "a pod in the host's network has the host's name".to_owned(),
            "tell the program its name by an option or a variable",
        ),
    }
}

pub(super) fn cgroupns(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "" | "private" => Carried("as it is by itself".to_owned()),
        _ => Lost(
            "a container has a cgroup namespace of its own".to_owned(),
            "mount `/sys/fs/cgroup` of the host where the program has to see all of it",
        ),
    }
}

pub(super) fn host_namespace(draft: &mut Draft, field: &'static str, value: &str) -> Outcome {
    match value {
        "host" => spec(draft, field, json!(true)),
        "" | "private" | "shareable" | "none" | "pod" => Carried("as it is by itself".to_owned()),
        _ => Lost(
            "only containers of one pod share namespaces".to_owned(),
            "put both into one pod, with `shareProcessNamespace: true` for processes",
        ),
    }
}

pub(super) fn sysctl(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    let Some((name, value)) = pair(value) else { return Invalid("it has no name".to_owned()) };
    if name.starts_with("net.") {
        return Broken(
            format!(
                "`{name}` would be set for the host, whose network the pod shares: the kubelet refuses it"
            ),
            "set it on the host, with a file below `/etc/sysctl.d` in the node's Butane config",
        );
    }
    draft.shared.sysctls.insert(name, (value, at.clone()));
    carried("spec.securityContext.sysctls")
}

pub(super) fn option(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let (name, rest) = value.split_once(['=', ':']).unwrap_or((value, ""));
    match (name, rest) {
        ("no-new-privileges", "" | "true") => {
            draft.set("securityContext.allowPrivilegeEscalation", false);
            carried("securityContext.allowPrivilegeEscalation")
        }
        ("no-new-privileges", "false") => Carried("as it is by itself".to_owned()),
        ("label", rest) => label(draft, rest),
        ("seccomp", "unconfined") => {
            draft.set("securityContext.seccompProfile.type", "Unconfined");
            carried("securityContext.seccompProfile")
        }
        ("seccomp", path) if !path.is_empty() => {
            let name = path.rsplit('/').next().unwrap_or(path);
            draft.set("securityContext.seccompProfile.type", "Localhost");
            draft.set("securityContext.seccompProfile.localhostProfile", name);
            Changed(
                format!("as `seccompProfile` with the file `/var/lib/kubelet/seccomp/{name}`"),
                "put the profile there with the node's Butane config: the pod does not start without",
            )
        }
        ("apparmor", "unconfined") => {
            draft.set("securityContext.appArmorProfile.type", "Unconfined");
            carried("securityContext.appArmorProfile")
        }
        ("apparmor", profile) if !profile.is_empty() => {
            draft.set("securityContext.appArmorProfile.type", "Localhost");
            draft.set("securityContext.appArmorProfile.localhostProfile", profile);
            carried("securityContext.appArmorProfile")
        }
        ("mask" | "unmask" | "proc-opts", _) => Lost(
            "which paths below `/proc` and `/sys` are hidden is containerd's own list".to_owned(),
            "do without it after review; a privileged container sees all",
        ),
        ("writable-cgroups", _) => lost(NO_FIELD),
        _ => Invalid("podman has no such security option".to_owned()),
    }
}

fn label(draft: &mut Draft, rest: &str) -> Outcome {
    match rest.split_once([':', '=']) {
        None if rest == "disable" => {
            draft.set("securityContext.seLinuxOptions.type", "spc_t");
            carried("securityContext.seLinuxOptions")
        }
        Some((key @ ("type" | "level" | "user" | "role"), value)) => {
            draft.set(&format!("securityContext.seLinuxOptions.{key}"), value);
            carried("securityContext.seLinuxOptions")
        }
        _ => Lost(
            "a pod has no field for this label".to_owned(),
            "label the files on the host, and set `seLinuxOptions` after review",
        ),
    }
}
