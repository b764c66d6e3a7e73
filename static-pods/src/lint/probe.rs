//! Probes, and what runs after the start and before the stop of a container.

use super::container::{Role, containers};
use super::names;
use super::tree::{At, Value, beginning};
use super::{Effect, Sink};

const DEFAULT_GRACE_SECONDS: i64 = 30;

pub(super) fn check(role: Role, container: &At<'_>, spec: &At<'_>, sink: &mut Sink<'_>) {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
    let lifecycle = container.get("lifecycle");
    if role == Role::Init {
        for name in probes.into_iter().chain(["lifecycle"]) {
            let at = container.get(name);
            if at.is_set() {
                let message =
                    format!("`{name}` is for init containers with `restartPolicy: Always`");
                sink.refused("init-container", &at, message, "remove it");
            }
        }
        return;
    }
    let grace = spec.get("terminationGracePeriodSeconds").integer();
    let grace =
        grace.map_or(DEFAULT_GRACE_SECONDS, |seconds| if seconds < 0 { 1 } else { seconds });
    for name in probes {
        let at = container.get(name);
        if at.is_set() {
            probe(name, &at, container, sink);
        }
    }
    if !lifecycle.is_set() {
        return;
    }
    for name in ["postStart", "preStop"] {
        let at = lifecycle.get(name);
        if at.is_set() {
            handler(&at, &["exec", "httpGet", "tcpSocket", "sleep"], sink);
            // A hook that fails at the start ends the container; one that fails at the end is only late.
            let effect =
                if name == "postStart" { Effect::NeverStarts } else { Effect::Questionable };
            named_port(&at, container, effect, sink);
            sleep(&at, grace, sink);
            if at.get("tcpSocket").is_set() {
                let message = "the kubelet cannot open a socket here: the hook fails";
                sink.add(effect, "lifecycle", &at, message, "use `exec` or `httpGet`");
            }
        }
    }
    stop_signal(&lifecycle.get("stopSignal"), spec, sink);
}

fn probe(name: &str, at: &At<'_>, container: &At<'_>, sink: &mut Sink<'_>) {
    handler(at, &["exec", "httpGet", "tcpSocket", "grpc"], sink);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        sink.in_range("probe", &at.get(field), 0, i64::MAX);
    }
    let grace = at.get("terminationGracePeriodSeconds");
    let threshold = at.get("successThreshold");
    if name == "readinessProbe" {
        if grace.is_set() {
            let message = "a readiness probe ends nothing, so it has no grace period";
            sink.refused("probe", &grace, message, "remove it");
        }
    } else if threshold.integer().is_some_and(|count| !(0..=1).contains(&count)) {
        sink.refused("probe", &threshold, "must be 1", "remove it");
    }
    sink.in_range("probe", &grace, 1, i64::MAX);
    // The kubelet takes a probe that it cannot make for none: it never ends a container, and never finds it ready.
    let effect = if name == "livenessProbe" { Effect::Questionable } else { Effect::NeverStarts };
    named_port(at, container, effect, sink);
}

fn handler(at: &At<'_>, known: &[&str], sink: &mut Sink<'_>) {
    let set: Vec<At<'_>> = known.iter().map(|name| at.get(name)).filter(At::is_set).collect();
    let [first, further @ ..] = &set[..] else {
        let known = basalt_model::decode::list(known);
        let message = format!("one of {known} must be set");
        sink.refused("handler", at, message, "say what to do");
        return;
    };
    for other in further {
        sink.refused("handler", other, "more than one kind of handler", "keep one");
    }
    match first.path.rsplit('.').next().unwrap_or_default() {
        "exec" => {
            let command = first.get("command");
            if command.items().is_empty() {
                sink.refused("handler", &command, "`command` must be set", "set it");
            }
        }
        "httpGet" => http_get(first, sink),
        "tcpSocket" => port(&first.get("port"), sink),
        "grpc" => grpc(&first.get("port"), sink),
        _ => {}
    }
}

fn grpc(port: &At<'_>, sink: &mut Sink<'_>) {
    match port.integer() {
        Some(_) => sink.in_range("handler", port, 1, 65535),
        None => sink.refused("handler", port, "`port` must be set", "set it"),
    }
}

fn http_get(at: &At<'_>, sink: &mut Sink<'_>) {
    port(&at.get("port"), sink);
    let scheme = at.get("scheme");
    if !scheme.text().is_empty() {
        sink.one_of("handler", &scheme, &["HTTP", "HTTPS"]);
    }
    for header in at.get("httpHeaders").items() {
        let name = header.get("name");
        sink.named("handler", &name, names::header(name.text()));
    }
}

fn port(at: &At<'_>, sink: &mut Sink<'_>) {
    match at.value() {
        Some(Value::Text(name)) => sink.named("handler", at, names::port(name)),
        Some(Value::Number(_)) => sink.in_range("handler", at, 1, 65535),
        _ => {
            sink.refused("handler", at, "`port` must be set", "set it to a number or a port's name")
        }
    }
}

/// The name of a port is looked up among those of the container.
fn named_port(at: &At<'_>, container: &At<'_>, effect: Effect, sink: &mut Sink<'_>) {
    for kind in ["httpGet", "tcpSocket"] {
        let port = at.follow([kind, "port"]);
        let name = port.text();
        if name.is_empty() || names::port(name).is_some() {
            continue;
        }
        let ports = container.get("ports").items();
        if !ports.iter().any(|port| port.get("name").text() == name) {
            let message = format!("the container declares no port `{}`", beginning(name));
            let remedy = "declare it in `ports`, or write its number";
            sink.add(effect, "probe-port", &port, message, remedy);
        }
    }
}

fn sleep(at: &At<'_>, grace: i64, sink: &mut Sink<'_>) {
    let sleep = at.get("sleep");
    if !sleep.is_set() {
        return;
    }
    let seconds = sleep.get("seconds");
    // Absent is 0, which is fine.
    if seconds.integer().is_some_and(|seconds| !(0..=grace).contains(&seconds)) {
        let message = format!("must be between 0 and the grace period of {grace} seconds");
        sink.refused("lifecycle", &seconds, message, "sleep less, or give the pod more time");
    }
}

fn stop_signal(at: &At<'_>, spec: &At<'_>, sink: &mut Sink<'_>) {
    if !at.is_set() {
        return;
    }
    if !spec.get("os").is_set() {
        let message = "`stopSignal` needs `spec.os.name`";
        sink.refused("stop-signal", at, message, "remove it, or set `spec.os.name: linux`");
    } else if !is_signal(at.text()) {
        let message = format!("there is no signal `{}`", beginning(at.text()));
        sink.refused("stop-signal", at, message, "write it as in `SIGTERM`");
    } else {
        let message = "this kubelet does not pass a stop signal on: the feature is off";
        sink.add(Effect::Dropped, "stop-signal", at, message, "set it in the image (`STOPSIGNAL`)");
    }
}

fn is_signal(name: &str) -> bool {
    const SIGNALS: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV \
                           STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX";
    let Some(name) = name.strip_prefix("SIG") else { return false };
    let offset = |prefix: &str, most: u32| {
        let number = name.strip_prefix(prefix)?;
        let is_plain = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse::<u32>().ok().filter(|number| is_plain && (1..=most).contains(number))
    };
    SIGNALS.split_whitespace().any(|known| known == name)
        || offset("RTMIN+", 15).is_some()
        || offset("RTMAX-", 14).is_some()
}

/// Whether a container has the probe `name`.
pub(super) fn has_probe(spec: &At<'_>, name: &str) -> bool {
    containers(spec).iter().any(|(_, container)| container.get(name).is_set())
}
