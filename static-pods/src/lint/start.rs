//! What Kubernetes finds valid and the kubelet can then never start.

use super::container::{Role, containers};
use super::tree::{At, beginning};
use super::{Effect, Sink};

pub(super) fn check(pod: &At<'_>, sink: &mut Sink<'_>) {
    let spec = pod.get("spec");
    let all = containers(&spec);
    for (_, container) in &all {
        working_folder(container, sink);
        termination_message(container, sink);
        expressions(container, sink);
        null_characters(container, sink);
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

/// The variables in a `subPathExpr` are those of the container's `env`.
fn expressions(container: &At<'_>, sink: &mut Sink<'_>) {
    let env = container.get("env").items();
    let names: Vec<&str> = env.iter().map(|variable| variable.get("name").text()).collect();
    for mount in container.get("volumeMounts").items() {
        let expression = mount.get("subPathExpr");
        for name in variables(expression.text()) {
            if !names.contains(&name) {
                let message = format!("there is no variable `{}` in `env`", beginning(name));
                let remedy = "add it to the container's `env`, or use `subPath`";
                sink.add(Effect::NeverStarts, "sub-path", &expression, message, remedy);
            }
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

/// A null character ends a text for the kernel, so the runtime refuses arguments and variables that hold one.
fn null_characters(container: &At<'_>, sink: &mut Sink<'_>) {
    let mut texts: Vec<At<'_>> = container.get("command").items();
    texts.extend(container.get("args").items());
    texts.extend(container.get("env").items().iter().map(|variable| variable.get("value")));
    texts.push(container.get("workingDir"));
    for at in texts.iter().filter(|at| at.text().contains('\0')) {
        let message = "the text holds a null character";
        sink.add(Effect::NeverStarts, "null-character", at, message, "remove it");
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
    for volume in spec.get("volumes").items() {
        for item in volume.follow(["downwardAPI", "items"]).items() {
            names.push(item.follow(["resourceFieldRef", "containerName"]));
        }
    }
    for at in names.iter().filter(|at| !at.text().is_empty() && !known.contains(&at.text())) {
        let message = format!("there is no container `{}`", beginning(at.text()));
        sink.add(Effect::NeverStarts, "resource-ref", at, message, "name a container of the pod");
    }
}

/// A file that variables are read from is written by a container that mounts its volume.
fn files_for_variables(spec: &At<'_>, all: &[(Role, At<'_>)], sink: &mut Sink<'_>) {
    let is_volume = |name: &str| {
        spec.get("volumes").items().iter().any(|volume| volume.get("name").text() == name)
    };
    for (_, container) in all {
        for variable in container.get("env").items() {
            let name = variable.follow(["valueFrom", "fileKeyRef", "volumeName"]);
            let mounts = |(_, at): &(Role, At<'_>)| {
                at.get("volumeMounts")
                    .items()
                    .iter()
                    .any(|mount| mount.get("name").text() == name.text())
            };
            if is_volume(name.text()) && !all.iter().any(mounts) {
                let message = "no container mounts this volume, so nothing can write the file";
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
