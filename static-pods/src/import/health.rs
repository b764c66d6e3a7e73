//! From podman's health check to probes.
//!
//! Podman's rules: podman-run(1) `--health-cmd`, `--health-on-failure`, `--health-startup-cmd`. A check of podman that
//! fails marks the container, which is what a readiness probe does; one that restarts it is a liveness probe.

use serde_json::{Value, json};

use super::container::escaped;
use super::draft::{Check, Draft};
use super::notes::Notes;
use super::secrets::{redact, target};

/// Podman's defaults, in seconds and failures.
const INTERVAL: u64 = 30;
const TIMEOUT: u64 = 30;
const RETRIES: u64 = 3;

/// How often a startup check may fail that podman never gives up on. A year at podman's interval.
const FOR_EVER: u64 = 1_000_000;

/// The probes of a container, by their names.
pub(super) fn probes(
    container: &str,
    draft: &mut Draft,
    notes: &mut Notes,
) -> Vec<(&'static str, Value)> {
    let health = std::mem::take(&mut draft.health);
    let Some(check) = health.command.filter(|_| !health.is_off) else { return Vec::new() };
    let command = command(container, &check, draft, notes);
    let period = health.interval.unwrap_or(INTERVAL).max(1);
    let timeout = health.timeout.unwrap_or(TIMEOUT).max(1);
    let retries = health.retries.unwrap_or(RETRIES).max(1);
    let mut probes = Vec::new();
    if health.restarts {
        probes.push(("livenessProbe", probe(&command, period, timeout, retries)));
    } else {
        notes.changed(
            &check.at,
            "as `readinessProbe`: podman marks the container as unhealthy and does nothing else",
            "make it a `livenessProbe` where a restart helps",
        );
        probes.push(("readinessProbe", probe(&command, period, timeout, retries)));
    }
    let start = health.start_period.unwrap_or(0);
    if let Some(startup) = &health.startup_command {
        let command = self::command(container, startup, draft, notes);
        let period = health.startup_interval.unwrap_or(INTERVAL).max(1);
        let timeout = health.startup_timeout.unwrap_or(TIMEOUT).max(1);
        // Without a number of retries podman waits for ever.
        let retries = health.startup_retries.filter(|retries| *retries > 0).unwrap_or(FOR_EVER);
        probes.push(("startupProbe", probe(&command, period, timeout, retries)));
    } else if start > 0 && health.restarts {
        // In the start period podman counts no failure. A startup probe that fails ends the container, so it
        // lasts through that period and through the failures that podman would wait for after it.
        let failures = start.div_ceil(period) + retries;
        probes.push(("startupProbe", probe(&command, period, timeout, failures)));
        notes.changed(
            &check.at,
            "the start period is a `startupProbe` of the same check, which ends when it first succeeds",
            "raise its `failureThreshold` where the program may be well and then ill again while it starts",
        );
    }
    probes
}

fn command(container: &str, check: &Check, draft: &mut Draft, notes: &mut Notes) -> Vec<String> {
    let mut words = check.words.clone();
    for file in redact(container, &mut words) {
        notes.broken(
            &check.at,
            "a secret stands in the health check in clear text: the path of a file stands for it",
            "put it into Vault, fill in its path in the template of the snippet, and let the check read the file",
        );
        draft.mount_secret(&file, &target(&file));
    }
    words
}

fn probe(command: &[String], period: u64, timeout: u64, failures: u64) -> Value {
    json!({
        "exec": {"command": escaped(command)},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    })
}

#[cfg(test)]
mod tests {
    use super::super::draft::Health;
    use super::super::notes::At;
    use super::*;

    #[track_caller]
    fn check(health: Health, expected: &[(&str, u64, u64)]) {
        let check = Check { words: vec!["true".to_owned()], at: At::start_of("f") };
        let mut draft = Draft::new("a".to_owned(), At::start_of("f"));
        draft.health = Health { command: Some(check), ..health };
        let made = probes("a", &mut draft, &mut Notes::default());
        let number = |probe: &Value, key: &str| probe[key].as_u64().unwrap();
        let seen: Vec<_> = made
            .iter()
            .map(|(name, probe)| {
                (*name, number(probe, "periodSeconds"), number(probe, "failureThreshold"))
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn kinds_of_probes() {
        let restarts = || Health { restarts: true, ..Health::default() };
        check(Health::default(), &[("readinessProbe", 30, 3)]);
        check(Health { start_period: Some(60), ..Health::default() }, &[("readinessProbe", 30, 3)]);
        check(restarts(), &[("livenessProbe", 30, 3)]);
        check(
            Health { start_period: Some(61), interval: Some(10), ..restarts() },
            &[("livenessProbe", 10, 3), ("startupProbe", 10, 10)],
        );
        let startup = Check { words: vec!["true".to_owned()], at: At::start_of("f") };
        check(
            Health { startup_command: Some(startup), startup_retries: Some(5), ..restarts() },
            &[("livenessProbe", 30, 3), ("startupProbe", 30, 5)],
        );
        check(Health { is_off: true, ..restarts() }, &[]);
    }
}
