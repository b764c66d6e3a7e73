//! Options of the health check, and of telling that the program is up.

use super::super::draft::{Check, Draft};
use super::super::notes::At;
use super::super::values::seconds;
use super::Outcome::{self, Carried, Changed, Invalid, Lost};

/// What podman makes of a health command: `CMD` and `CMD-SHELL` as in Docker, JSON, or text for a shell.
pub(in super::super) fn words(value: &str) -> Option<Vec<String>> {
    let words: Vec<String> = serde_json::from_str(value)
        .unwrap_or_else(|_| value.split_whitespace().map(str::to_owned).collect());
    let is_json = value.trim_start().starts_with('[');
    let (first, rest) = words.split_first()?;
    let shell = |text: String| Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), text]);
    match first.to_ascii_uppercase().as_str() {
        "NONE" => None,
        "CMD" => Some(rest.to_vec()).filter(|rest| !rest.is_empty()),
        "CMD-SHELL" => shell(rest.join(" ")),
        _ if is_json && words.len() > 1 => Some(words),
        _ if is_json => shell(first.clone()),
        _ => shell(value.to_owned()),
    }
}

pub(super) fn command(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    draft.health.command = words(value).map(|words| Check { words, at: at.clone() });
    match &draft.health.command {
        Some(_) => Carried("as a probe of type `exec`".to_owned()),
        None => Carried("no health check, so no probe".to_owned()),
    }
}

pub(super) fn startup_command(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    draft.health.startup_command = words(value).map(|words| Check { words, at: at.clone() });
    Carried("as `startupProbe`".to_owned())
}

pub(super) fn on_failure(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "none" => Carried("a failing check ends nothing: it is a readiness probe".to_owned()),
        "restart" | "kill" => {
            draft.health.restarts = true;
            Carried("as `livenessProbe`".to_owned())
        }
        "stop" => {
            draft.health.restarts = true;
            Changed(
                "as `livenessProbe`, after which the container is started again by its restart policy".to_owned(),
                "make it a `readinessProbe` where the container has to stay away",
            )
        }
        _ => Invalid("it is none of `none`, `kill`, `restart` and `stop`".to_owned()),
    }
}

pub(super) fn interval(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    if value == "disable" {
        draft.health.is_off = true;
        return Carried("no check is run by itself, so there is no probe".to_owned());
    }
    time(&mut draft.health.interval, value)
}

pub(super) fn start_period(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    time(&mut draft.health.start_period, value)
}

pub(super) fn startup_interval(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    time(&mut draft.health.startup_interval, value)
}

pub(super) fn startup_timeout(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    time(&mut draft.health.startup_timeout, value)
}

pub(super) fn startup_retries(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    count(&mut draft.health.startup_retries, value)
}

pub(super) fn time(slot: &mut Option<u64>, value: &str) -> Outcome {
    *slot = seconds(value);
    match slot {
        Some(_) => Carried("as a setting of the probe".to_owned()),
        None => Invalid("it is no time".to_owned()),
    }
}

pub(super) fn count(slot: &mut Option<u64>, value: &str) -> Outcome {
    *slot = value.parse::<u32>().ok().map(u64::from);
    match slot {
        Some(_) => Carried("as `failureThreshold` of the probe".to_owned()),
        None => Invalid("it is no number".to_owned()),
    }
}

pub(super) fn notify(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "conmon" | "ignore" => {
            Carried("the kubelet knows by itself that a container runs".to_owned())
        }
        "healthy" => Carried("a pod is ready when its probe says so".to_owned()),
        _ => Lost("nobody waits for READY=1 of a container".to_owned(), "write a readiness probe"),
    }
}
