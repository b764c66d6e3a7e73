//! Options of the program, its variables, its limits, and of how it starts and stops.

use serde_json::json;

use super::super::draft::{Draft, EnvironmentFile, Restart};
use super::super::environment::Dialect;
use super::super::notes::At;
use super::super::secrets::is_secret;
use super::super::values::{quantity, seconds};
use super::Outcome::{self, Broken, Carried, Changed, Invalid, Lost};
use super::apply::{STOP_SIGNAL, carried, lost, pair, spec};
use crate::lint::names;

pub(super) fn name(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    draft.name = value.to_owned();
    Carried("as the name".to_owned())
}

pub(super) fn annotation(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let Some((name, value)) = pair(value) else { return Invalid("it has no name".to_owned()) };
    if names::qualified(&name.to_ascii_lowercase()).is_some() {
        return Lost(
            format!("Kubernetes has no annotation called `{name}`"),
            "name it `DOMAIN/NAME`, with letters, digits, `-`, `_` and `.`",
        );
    }
    if is_secret(&name, &value) {
        return Broken(
            format!("the annotation `{name}` holds a secret in clear text, and is left out"),
            "let the program read it from a file that vault-agent writes",
        );
    }
    draft.shared.annotations.insert(name, value);
    carried("metadata.annotations")
}

pub(super) fn label(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    if value.starts_with("io.containers.autoupdate") {
        return Lost(
            "nothing updates an image by itself".to_owned(),
            "change the digest in the manifest, and build the image of the node anew",
        );
    }
    // Labels of Kubernetes hold little, and nothing selects static pods: annotations hold them all.
    annotation(draft, value, at)
}

pub(super) fn variable(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    match value.split_once('=') {
        Some(("", _)) => Invalid("it is not `NAME=VALUE`".to_owned()),
        Some((name, _)) if names::variable(name).is_some() => Lost(
            "the kubelet takes no variable of this name".to_owned(),
            "use printable characters without `=`",
        ),
        Some((name, value)) => {
            draft.environment.insert(name.to_owned(), (value.to_owned(), at.clone()));
            carried("env")
        }
        None => Broken(
            "the variable is taken from the environment of podman".to_owned(),
            "write its value",
        ),
    }
}

pub(super) fn variables_file(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    let (path, is_optional) = value.strip_prefix('-').map_or((value, false), |path| (path, true));
    if path.is_empty() {
        return Invalid("it has no path".to_owned());
    }
    let file = EnvironmentFile {
        from: at.file.clone(),
        path: path.to_owned(),
        at: at.clone(),
        is_optional,
        dialect: Dialect::Podman,
    };
    draft.environment_files.push(file);
    Carried("its variables are written into the manifest".to_owned())
}

pub(super) fn host_variables(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "false" => Carried("as it is by itself".to_owned()),
        _ => Broken(
            "the host's environment is not the pod's".to_owned(),
            "write each variable that is needed",
        ),
    }
}

pub(super) fn merged_variable(_: &mut Draft, _: &str, _: &At) -> Outcome {
    Broken("variables of the image cannot be referred to".to_owned(), "write the whole value")
}

pub(super) fn proxy(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "false" => Carried("the host's proxy is not the pod's".to_owned()),
        _ => Lost("the host's proxy is not the pod's".to_owned(), "write the variables as `env`"),
    }
}

pub(super) fn entrypoint(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let words = match value.trim_start().starts_with('[') {
        true => match serde_json::from_str(value) {
            Ok(words) => words,
            Err(_) => return Invalid("it is no JSON list of texts".to_owned()),
        },
        false if value.is_empty() => Vec::new(),
        false => vec![value.to_owned()],
    };
    draft.entrypoint = Some(words);
    carried("command")
}

pub(super) fn workdir(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    if !value.starts_with('/') {
        return Invalid("the path is not absolute".to_owned());
    }
    draft.set("workingDir", value);
    carried("workingDir")
}

pub(super) fn limit(draft: &mut Draft, what: &str, value: Option<String>) -> Outcome {
    resource(draft, "limits", what, value)
}

pub(super) fn memory_reservation(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    resource(draft, "requests", "memory", quantity(value))
}

pub(super) fn cpu_shares(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    // 1024 shares are one CPU for the kubelet.
    let cpus = value.parse::<u64>().ok().filter(|shares| *shares < 1 << 20);
    let cpus = cpus.map(|shares| format!("{}m", (shares * 1000).div_ceil(1024)));
    resource(draft, "requests", "cpu", cpus)
}

fn resource(draft: &mut Draft, kind: &str, what: &str, value: Option<String>) -> Outcome {
    match value.as_deref() {
        Some("0" | "0m") => Carried("no limit, as without it".to_owned()),
        Some(value) => {
            let path = format!("resources.{kind}.{what}");
            draft.set(&path, value);
            carried(&path)
        }
        None => Invalid("it is no amount".to_owned()),
    }
}

pub(super) fn cpu_quota(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    match value.parse::<i64>() {
        Ok(quota) => {
            // A quota below zero is none.
            draft.cpu_quota = u64::try_from(quota).ok().filter(|quota| *quota > 0);
            carried("resources.limits.cpu")
        }
        Err(_) => Invalid("it is no number".to_owned()),
    }
}

pub(super) fn cpu_period(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    match value.parse() {
        Ok(period) => {
            draft.cpu_period = Some(period).filter(|period| *period > 0);
            Carried("as a part of `resources.limits.cpu`".to_owned())
        }
        Err(_) => Invalid("it is no number".to_owned()),
    }
}

pub(super) fn init_container(_: &mut Draft, _: &str, _: &At) -> Outcome {
    Broken(
        "the container starts with the others and not before".to_owned(),
        "move it to `initContainers` of the manifest",
    )
}

pub(super) fn pull(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let policy = match value {
        "never" => "Never",
        "missing" | "false" | "" => "IfNotPresent",
        "always" | "newer" | "true" => {
            return Lost(
                "a node starts its pods without a registry: an image is pulled when it is absent"
                    .to_owned(),
                "name the image by digest, which is the same whenever it is pulled",
            );
        }
        _ => return Invalid("it is none of `always`, `missing`, `never` and `newer`".to_owned()),
    };
    draft.set("imagePullPolicy", policy);
    carried("imagePullPolicy")
}

pub(super) fn restart(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let (policy, times) = value.split_once(':').map_or((value, None), |(p, t)| (p, Some(t)));
    draft.restart = Some(match policy {
        "no" | "never" | "" => Restart::Never,
        "on-failure" => Restart::OnFailure,
        "always" | "unless-stopped" => Restart::Always,
        _ => return Invalid("it is no restart policy".to_owned()),
    });
    match (policy, times) {
        (_, Some(_)) => Lost(
            "the kubelet goes on starting the container, only ever more seldom".to_owned(),
            "watch the pod's restarts",
        ),
        ("unless-stopped", _) => Changed(
            "as `restartPolicy: Always`".to_owned(),
            "to stop a static pod, remove it from the node",
        ),
        _ => carried("restartPolicy"),
    }
}

pub(super) fn stop_signal(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value.to_ascii_uppercase().trim_start_matches("SIG") {
        "TERM" | "15" => Carried("as it is by itself".to_owned()),
        _ => lost(STOP_SIGNAL),
    }
}

pub(super) fn stop_timeout(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    match seconds(value) {
        Some(seconds) => spec(draft, "terminationGracePeriodSeconds", json!(seconds)),
        None => Invalid("it is no time".to_owned()),
    }
}

pub(super) fn systemd(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "false" | "0" => Carried("as it is by itself".to_owned()),
        _ => Lost(
            "nothing is prepared for systemd in a container".to_owned(),
            "mount memory at `/run` and `/tmp`, or run the service on the host",
        ),
    }
}
