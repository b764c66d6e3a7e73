//! From the draft of a container to the container of a manifest.

use serde_json::{Map, Value, json};

use super::draft::{Capabilities, Draft, Mount, MountSource};
use super::health;
use super::notes::{At, Notes};
use super::secrets::{file_name, is_secret, redact, target};
use super::volumes::Volumes;

/// The capabilities that podman gives by itself, containers.conf(5). Those of containerd are others, so that they are
/// all written down.
const DEFAULT_CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The container, with `ports` as those it declares. `None`: it has no image, which is noted.
pub(super) fn container(
    name: &str,
    draft: &mut Draft,
    ports: Vec<Value>,
    volumes: &mut Volumes,
    notes: &mut Notes,
) -> Option<Value> {
    let at = draft.at.clone();
    let Some((image, image_at)) = draft.image.take() else {
        let message = "the container has no image, so there is no pod";
        notes.broken(&at, message, "build the image beforehand, and name it by digest");
        return None;
    };
    let image = reference(&image, &image_at, notes);
    let environment = environment(name, draft, notes);
    let mut commands = commands(draft, notes);
    for words in &mut commands {
        for file in redact(name, words) {
            let place = draft.arguments_at.as_ref().unwrap_or(&at);
            notes.broken(
                place,
                "a secret stands in the command in clear text: the path of a file stands for it",
                "put it into Vault, fill in its path in the template of the snippet, and use an option that takes a file",
            );
            draft.mount_secret(&file, &target(&file));
        }
    }
    let probes = health::probes(name, draft, notes);
    let mut made = Map::new();
    made.insert("name".to_owned(), json!(name));
    made.insert("image".to_owned(), json!(image));
    // The kubelet's own choice depends on the tag.
    made.insert("imagePullPolicy".to_owned(), json!("IfNotPresent"));
    if draft.opens_devices {
        draft.set("securityContext.privileged", true);
    }
    read_only_memory(draft);
    propagation(draft, notes);
    let mounts = draft.mounts.iter().map(|mount| volumes.mount(mount)).collect();
    for (key, values) in [
        ("command", escaped(&commands[0])),
        ("args", escaped(&commands[1])),
        ("env", environment),
        ("ports", ports),
        ("volumeMounts", mounts),
    ] {
        if !values.is_empty() {
            made.insert(key.to_owned(), Value::Array(values));
        }
    }
    escalation(draft, notes);
    ambient(draft, notes);
    for (path, value) in std::mem::take(&mut draft.members) {
        insert(&mut made, &path, value);
    }
    if !is_privileged(&made) {
        capabilities(&mut made, &draft.capabilities);
    }
    for (name, probe) in probes {
        made.insert(name.to_owned(), probe);
    }
    Some(Value::Object(made))
}

/// The `command` and the `args`: an entry point that is taken away leaves the arguments as the whole command.
fn commands(draft: &mut Draft, notes: &mut Notes) -> [Vec<String>; 2] {
    let arguments = std::mem::take(&mut draft.arguments);
    match draft.entrypoint.take() {
        Some(none) if none.is_empty() => {
            if arguments.is_empty() {
                notes.broken(
                    &draft.at,
                    "the image's entry point is taken away and nothing is put in its place: it stays",
                    "write what is to run as the command",
                );
            }
            [arguments, Vec::new()]
        }
        entrypoint => [entrypoint.unwrap_or_default(), arguments],
    }
}

/// The image's reference with what podman adds to it: nothing where it would ask its list of registries.
fn reference(image: &str, at: &At, notes: &mut Notes) -> String {
    let image = image.strip_prefix("docker://").unwrap_or(image);
    let first = image.split_once('/').map(|(first, _)| first);
    let has_registry =
        first.is_some_and(|first| first.contains(['.', ':']) || first == "localhost");
    if !has_registry {
        notes.broken(
            at,
            format!("the image `{image}` has no registry: podman has a list of them, containerd takes docker.io"),
            "write the registry in front",
        );
    } else if first == Some("localhost") {
        notes.broken(
            at,
            format!("the image `{image}` was built on the host and is in no registry"),
            "push it to a registry, and name it by digest",
        );
    }
    if !image.contains("@sha256:") {
        notes.changed(
            at,
            format!("the image `{image}` is not named by digest"),
            "add `@sha256:…`: a node's own pods need it, `pods lint --rules basalt` says so",
        );
    }
    image.to_owned()
}

/// Words as they are: the kubelet replaces `$(NAME)` in commands and variables, podman does not.
pub(super) fn escaped(words: &[String]) -> Vec<Value> {
    words.iter().map(|word| json!(word.replace("$(", "$$("))).collect()
}

fn environment(container: &str, draft: &mut Draft, notes: &mut Notes) -> Vec<Value> {
    let mut made = Vec::new();
    for (name, (value, at)) in std::mem::take(&mut draft.environment) {
        if !is_secret(&name, &value) {
            made.push(json!({"name": name, "value": value.replace("$(", "$$(")}));
            continue;
        }
        let file = file_name(&format!("{container}-{name}"));
        let path = target(&file);
        draft.mount_secret(&file, &path);
        made.push(json!({"name": format!("{name}_FILE"), "value": path}));
        notes.broken(
            &at,
            format!("`{name}` is a secret in clear text: its value is left out, and `{name}_FILE` names a file"),
            "put it into Vault, fill in its path in the template of the snippet, and check that the program reads such \
             a variable",
        );
    }
    made
}

/// Podman keeps three folders of a read-only container writable, in memory.
fn read_only_memory(draft: &mut Draft) {
    if !draft.members.contains_key("securityContext.readOnlyRootFilesystem")
        || draft.keeps_run_read_only
    {
        return;
    }
    for target in ["/run", "/tmp", "/var/tmp"] {
        if !draft.mounts.iter().any(|mount| mount.target == target) {
            let source = MountSource::Memory(None);
            let target = target.to_owned();
            draft.mount(Mount { source, target, read_only: false, propagation: None });
        }
    }
    // A folder has to be mounted before what is below it.
    draft.mounts.sort_by(|a, b| a.target.cmp(&b.target));
}

/// Kubernetes lets only a privileged container hand its mounts on to the host.
fn propagation(draft: &mut Draft, notes: &mut Notes) {
    if draft.members.contains_key("securityContext.privileged") {
        return;
    }
    for mount in &mut draft.mounts {
        if mount.propagation == Some("Bidirectional") {
            mount.propagation = Some("HostToContainer");
            let message = format!(
                "`{}` is mounted as `rslave`: only a privileged container hands mounts on to the host",
                mount.target
            );
            notes.lost(
                &draft.at,
                message,
                "set `privileged` after review where the host has to see them",
            );
        }
    }
}

/// Kubernetes refuses a container that may not gain privileges and has them all.
fn escalation(draft: &mut Draft, notes: &mut Notes) {
    let has_all = draft.members.contains_key("securityContext.privileged")
        || draft.capabilities.add.iter().any(|name| name == "SYS_ADMIN" || name == "ALL");
    if has_all && draft.members.remove("securityContext.allowPrivilegeEscalation").is_some() {
        notes.lost(
            &draft.at,
            "`no-new-privileges` is left out: the container has all privileges already",
            "take away `privileged` or `SYS_ADMIN` after review",
        );
    }
}

/// Podman hands capabilities that are asked for on to a program of another user than root. containerd gives them to root,
/// and to programs whose file has them.
fn ambient(draft: &Draft, notes: &mut Notes) {
    let user = draft.members.get("securityContext.runAsUser").filter(|user| **user != json!(0));
    let (Some(user), false) = (user, draft.capabilities.add.is_empty()) else { return };
    let names = draft.capabilities.add.join("`, `");
    notes.lost(
        &draft.at,
        format!("the program runs as user {user}, and has `{names}` only if its file in the image has: podman hands it on"),
        "give it to the file with `setcap`, or let the program run as root with no other capability",
    );
}

fn is_privileged(made: &Map<String, Value>) -> bool {
    made.get("securityContext").is_some_and(|context| context["privileged"] == json!(true))
}

fn capabilities(made: &mut Map<String, Value>, wanted: &Capabilities) {
    let has = |list: &[String], name: &str| list.iter().any(|known| known == name);
    if has(&wanted.add, "ALL") && !has(&wanted.drop, "ALL") {
        insert(made, "securityContext.capabilities.add", json!(["ALL"]));
        if !wanted.drop.is_empty() {
            insert(made, "securityContext.capabilities.drop", json!(wanted.drop));
        }
        return;
    }
    let mut names = wanted.add.clone();
    if !has(&wanted.drop, "ALL") {
        let kept = DEFAULT_CAPABILITIES.into_iter().filter(|name| !has(&wanted.drop, name));
        names.extend(kept.map(str::to_owned));
    }
    names.sort();
    names.dedup();
    insert(made, "securityContext.capabilities.drop", json!(["ALL"]));
    if !names.is_empty() {
        insert(made, "securityContext.capabilities.add", json!(names));
    }
}

fn insert(map: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            map.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first).or_insert_with(|| json!({}));
            if let Some(inner) = inner.as_object_mut() {
                insert(inner, rest, value);
            }
        }
    }
}
