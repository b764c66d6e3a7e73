//! What Kubernetes finds valid and the kubelet can then never start.

use super::container::{Role, containers};
use super::names;
use super::tree::{At, beginning};
use super::{Effect, Sink, volumes};

pub(super) fn check(pod: &At<'_>, sink: &mut Sink<'_>) {
    let spec = pod.get("spec");
    let all = containers(&spec);
    for (_, container) in &all {
        working_folder(container, sink);
        termination_message(container, sink);
        expressions(container, sink);
        below_files(&spec, container, sink);
        program(container, sink);
        texts(container, sink);
    }
    resource_refs(&spec, &all, sink);
    files_for_variables(&spec, &all, sink);
}

fn working_folder(container: &At<'_>, sink: &mut Sink<'_>) {
    let folder = container.get("workingDir");
    if !folder.text().is_empty() && !folder.text().starts_with('/') {
        let message = format!("`{}` is not an absolute path", beginning(folder.text()));
        sink.add(Effect::NeverStarts, "working-dir", &folder, message, "start it with `/`");
    }
}

/// The kubelet mounts a file of its own there.
fn termination_message(container: &At<'_>, sink: &mut Sink<'_>) {
    let path = container.get("terminationMessagePath");
    if !path.text().is_empty() && path.text().trim_matches('/').is_empty() {
        let message = "a file cannot be mounted on the root of the container";
        sink.add(Effect::NeverStarts, "termination-message", &path, message, "name a file");
    }
}

/// What is no folder has nothing below it.
fn below_files(spec: &At<'_>, container: &At<'_>, sink: &mut Sink<'_>) {
    const NO_FOLDERS: [&str; 5] = ["File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"];
    let volumes = spec.get("volumes").items();
    let is_no_folder = |name: &str| {
        volumes.iter().any(|volume| {
            let kind = volume.follow(["hostPath", "type"]);
            volume.get("name").text() == name && NO_FOLDERS.contains(&kind.text())
        })
    };
    for mount in container.get("volumeMounts").items() {
        for path in ["subPath", "subPathExpr"].map(|field| mount.get(field)) {
            let is_below = path.text().split('/').any(|part| !matches!(part, "" | "."));
            if is_below && is_no_folder(mount.get("name").text()) {
                let message = "the volume is no folder, so that nothing is below it";
                let remedy = "remove it, or let the volume be the folder";
                sink.add(Effect::NeverStarts, "sub-path", &path, message, remedy);
            }
        }
    }
}

/// The variables in a `subPathExpr` are those of the container's `env`.
fn expressions(container: &At<'_>, sink: &mut Sink<'_>) {
    let env = container.get("env").items();
    for mount in container.get("volumeMounts").items() {
        let expression = mount.get("subPathExpr");
        let mut path = Some(expression.text().to_owned());
        for name in variables(expression.text()) {
            let Some(variable) = env.iter().rev().find(|at| at.get("name").text() == name) else {
                let message = format!("there is no variable `{}` in `env`", beginning(name));
                let remedy = "add it to the container's `env`, or use `subPath`";
                sink.add(Effect::NeverStarts, "sub-path", &expression, message, remedy);
                path = None;
                continue;
            };
            let value = variable.get("value");
            // What other variables and the node make of it is not known here.
            let is_known = !variable.get("valueFrom").is_set() && !value.text().contains("$(");
            path = path
                .filter(|_| is_known)
                .map(|path| path.replace(&format!("$({name})"), value.text()));
        }
        if let Some(wrong) = path.and_then(|path| names::descending_path(&path))
            && names::descending_path(expression.text()).is_none()
        {
            let message = format!("with its variables filled in, the path {wrong}");
            let remedy = "set the variables to what makes a path below the volume";
            sink.add(Effect::NeverStarts, "sub-path", &expression, message, remedy);
        }
    }
}

/// The names in `$(NAME)`; `$$(NAME)` is a text.
fn variables(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('(')
            && let Some((name, behind)) = behind.split_once(')')
        {
            found.push(name);
            rest = behind;
        }
    }
    found
}

/// The first word is the program.
fn program(container: &At<'_>, sink: &mut Sink<'_>) {
    let command = container.get("command");
    if let Some(program) = command.items().first().filter(|program| program.text().is_empty()) {
        let message = "the name of the program is empty";
        sink.add(Effect::NeverStarts, "command", program, message, "name the program");
    }
}

/// The kernel's limit for an argument or a variable, with the null character behind it.
const MAX_ARGUMENT: usize = 128 * 1024;

/// What the kernel takes of arguments and variables. A null character ends a text there, so the runtime refuses it.
fn texts(container: &At<'_>, sink: &mut Sink<'_>) {
    let mut texts: Vec<(usize, At<'_>)> = Vec::new();
    for list in ["command", "args"] {
        texts.extend(container.get(list).items().into_iter().map(|at| (0, at)));
    }
    for variable in container.get("env").items() {
        texts.push((variable.get("name").text().len() + 1, variable.get("value")));
    }
    texts.push((0, container.get("workingDir")));
    for (before, at) in texts {
        if at.text().contains('\0') {
            let message = "the text holds a null character";
            sink.add(Effect::NeverStarts, "null-character", &at, message, "remove it");
        }
        if before + at.text().len() + 1 > MAX_ARGUMENT {
            let message = "most kernels start no program with so long a text";
            sink.add(Effect::Questionable, "long-text", &at, message, "mount it as a file");
        }
    }
}

/// A resource of another container is looked up by its name.
fn resource_refs(spec: &At<'_>, all: &[(Role, At<'_>)], sink: &mut Sink<'_>) {
    let known: Vec<&str> = all.iter().map(|(_, at)| at.get("name").text()).collect();
    let mut names = Vec::new();
    for (_, container) in all {
        for variable in container.get("env").items() {
            names.push(variable.follow(["valueFrom", "resourceFieldRef", "containerName"]));
        }
    }
    let volumes = spec.get("volumes").items();
    for volume in volumes.iter().filter(|at| volumes::is_mounted(spec, at.get("name").text())) {
        for item in volume.follow(["downwardAPI", "items"]).items() {
            names.push(item.follow(["resourceFieldRef", "containerName"]));
        }
    }
    for at in names.iter().filter(|at| !at.text().is_empty() && !known.contains(&at.text())) {
        let message = format!("there is no container `{}`", beginning(at.text()));
        sink.add(Effect::NeverStarts, "resource-ref", at, message, "name a container of the pod");
    }
}

/// A file that variables are read from is written by a container that mounts its volume, and runs before.
fn files_for_variables(spec: &At<'_>, all: &[(Role, At<'_>)], sink: &mut Sink<'_>) {
    let is_volume = |name: &str| {
        spec.get("volumes").items().iter().any(|volume| volume.get("name").text() == name)
    };
    for (index, (role, container)) in all.iter().enumerate() {
        for variable in container.get("env").items() {
            let name = variable.follow(["valueFrom", "fileKeyRef", "volumeName"]);
            let mounts = |at: &At<'_>| {
                let mounts = at.get("volumeMounts").items();
                mounts.iter().any(|mount| mount.get("name").text() == name.text())
            };
            // Init containers run one after the other; containers of the pod do not wait for each other.
            let runs_before = |other: usize, others: Role| match role {
                Role::Main => other != index,
                Role::Init | Role::Sidecar => others != Role::Main && other < index,
            };
            let mut writers = all.iter().enumerate();
            let is_written =
                writers.any(|(other, (role, at))| runs_before(other, *role) && mounts(at));
            if is_volume(name.text()) && !is_written {
                let message =
                    "no container that runs before mounts this volume, so nothing writes the file";
                let remedy = "mount it in an init container that writes the file";
                sink.add(Effect::NeverStarts, "env-source", &name, message, remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::variables;

    #[test]
    fn names_in_expressions() {
        assert_eq!(variables("a/$(B)/$$(C)/$(D"), ["B"]);
        assert_eq!(variables("$(A)$(B)"), ["A", "B"]);
    }
}
