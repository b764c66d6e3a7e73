use std::collections::BTreeSet;

use basalt_model::report::Report;
use basalt_model::yaml::{Value, Yaml, parse_first};
use expect_test::expect;

use super::*;
use crate::clock::ClockState;
use crate::testing::scratch_host;

/// Everything that may be known.
fn all() -> Facts {
    Facts {
        now: 1_800_000_000,
        node: "n1".into(),
        generation: Some(7),
        phase: "serving".into(),
        failures: 0,
        clock: Some(ClockState::Good { by: "Vault".into() }),
        certificates: vec![CertificateFacts {
            name: "ingress".into(),
            not_after: Some(1_800_003_600),
            renew_at: Some(1_800_001_800),
            is_placeholder: false,
            is_proved: Some(true),
            attempts: Some(3),
            failures: Some(2),
            failures_in_a_row: Some(1),
        }],
        issuers: vec![IssuerFacts {
            certificate: "ingress".into(),
            issuer: "Lab \"PKI\"\\\n".into(),
            stage: "leaving".into(),
        }],
        secret_files: vec![SecretFileFacts {
            name: "registry".into(),
            confirmed_at: Some(1_799_999_000),
            failures_in_a_row: 0,
        }],
        vault: Some(VaultFacts {
            servers: vec![ServerFacts {
                address: "https://192.0.2.21:8200".into(),
                state: "sealed".into(),
                is_usable: false,
            }],
            latency_seconds: Some(0.012),
            calls: 40,
            failures: 4,
            logins: 1,
            identity_not_after: Some(1_890_000_000),
        }),
    }
}

/// Everything that may be known about the bundle.
fn all_of_the_bundle() -> BundleFacts {
    BundleFacts {
        state: "degraded".into(),
        is_holder: true,
        generation: Some(4),
        took_seconds: Some(75),
        succeeded_at: Some(1_799_999_000),
        answered_at: Some(1_800_000_000),
        objects: [("Current".into(), 14), ("InProgress".into(), 1)].into(),
        applied: 20,
        failed: 2,
        pruned: 3,
        contested: 1,
    }
}

#[test]
fn the_file_of_the_bundle() {
    let text: String = bundle_text(&all_of_the_bundle())
        .lines()
        .filter(|it| !it.starts_with("# HELP"))
        .fold(String::new(), |text, line| text + line + "\n");
    expect![[r#"
        # TYPE basalt_bundle_state gauge
        basalt_bundle_state{state="degraded"} 1
        # TYPE basalt_bundle_lease_held gauge
        basalt_bundle_lease_held 1
        # TYPE basalt_bundle_generation gauge
        basalt_bundle_generation 4
        # TYPE basalt_bundle_apply_duration_seconds gauge
        basalt_bundle_apply_duration_seconds 75
        # TYPE basalt_bundle_last_success_timestamp_seconds gauge
        basalt_bundle_last_success_timestamp_seconds 1799999000
        # TYPE basalt_bundle_answered_timestamp_seconds gauge
        basalt_bundle_answered_timestamp_seconds 1800000000
        # TYPE basalt_bundle_objects gauge
        basalt_bundle_objects{status="Current"} 14
        basalt_bundle_objects{status="InProgress"} 1
        # TYPE basalt_bundle_contested_fields gauge
        basalt_bundle_contested_fields 1
        # TYPE basalt_bundle_objects_applied_total counter
        basalt_bundle_objects_applied_total 20
        # TYPE basalt_bundle_objects_failed_total counter
        basalt_bundle_objects_failed_total 2
        # TYPE basalt_bundle_objects_pruned_total counter
        basalt_bundle_objects_pruned_total 3
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_node_that_applies_no_bundle_has_no_file_about_it() {
    let (_keep, host) = scratch_host();
    publish_bundle(&host, None).unwrap();
    publish_bundle(&host, Some(&all_of_the_bundle())).unwrap();
    assert!(host.real(BUNDLE_METRICS_PATH).exists());
    publish_bundle(&host, None).unwrap();
    assert!(!host.real(BUNDLE_METRICS_PATH).exists());
}

#[test]
fn the_file() {
    let text: String = text(&all())
        .lines()
        .filter(|it| !it.starts_with("# HELP"))
        .fold(String::new(), |text, line| text + line + "\n");
    expect![[r#"
        # TYPE basalt_agent_info gauge
        basalt_agent_info{version="0.1.0",node="n1"} 1
        # TYPE basalt_metrics_written_timestamp_seconds gauge
        basalt_metrics_written_timestamp_seconds 1800000000
        # TYPE basalt_phase gauge
        basalt_phase{phase="serving"} 1
        # TYPE basalt_generation gauge
        basalt_generation 7
        # TYPE basalt_round_failures gauge
        basalt_round_failures 0
        # TYPE basalt_clock_good gauge
        basalt_clock_good 1
        # TYPE basalt_certificate_not_after_timestamp_seconds gauge
        basalt_certificate_not_after_timestamp_seconds{certificate="ingress"} 1800003600
        # TYPE basalt_certificate_expiry_seconds gauge
        basalt_certificate_expiry_seconds{certificate="ingress"} 3600
        # TYPE basalt_certificate_renew_at_timestamp_seconds gauge
        basalt_certificate_renew_at_timestamp_seconds{certificate="ingress"} 1800001800
        # TYPE basalt_certificate_placeholder gauge
        basalt_certificate_placeholder{certificate="ingress"} 0
        # TYPE basalt_certificate_proved gauge
        basalt_certificate_proved{certificate="ingress"} 1
        # TYPE basalt_certificate_renew_attempts_total counter
        basalt_certificate_renew_attempts_total{certificate="ingress"} 3
        # TYPE basalt_certificate_renew_failures_total counter
        basalt_certificate_renew_failures_total{certificate="ingress"} 2
        # TYPE basalt_certificate_renew_failures_in_a_row gauge
        basalt_certificate_renew_failures_in_a_row{certificate="ingress"} 1
        # TYPE basalt_certificate_issuer_stage gauge
        basalt_certificate_issuer_stage{certificate="ingress",issuer="Lab \"PKI\"\\\n",stage="leaving"} 1
        # TYPE basalt_secret_file_confirmed_timestamp_seconds gauge
        basalt_secret_file_confirmed_timestamp_seconds{file="registry"} 1799999000
        # TYPE basalt_secret_file_failures_in_a_row gauge
        basalt_secret_file_failures_in_a_row{file="registry"} 0
        # TYPE basalt_vault_server_usable gauge
        basalt_vault_server_usable{server="https://192.0.2.21:8200",state="sealed"} 0
        # TYPE basalt_vault_latency_seconds gauge
        basalt_vault_latency_seconds 0.012
        # TYPE basalt_vault_calls_total counter
        basalt_vault_calls_total 40
        # TYPE basalt_vault_failures_total counter
        basalt_vault_failures_total 4
        # TYPE basalt_vault_logins_total counter
        basalt_vault_logins_total 1
        # TYPE basalt_identity_not_after_timestamp_seconds gauge
        basalt_identity_not_after_timestamp_seconds 1890000000
    "#]]
    .assert_eq(&text);
}

#[test]
fn what_is_not_known_is_not_said() {
    let (_keep, host) = scratch_host();
    publish(&host, &Facts::default()).unwrap();
    let text = std::fs::read_to_string(host.path(METRICS_PATH)).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|it| it.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        names,
        [
            "basalt_agent_info gauge",
            "basalt_metrics_written_timestamp_seconds gauge",
            "basalt_phase gauge",
            "basalt_round_failures gauge"
        ]
    );
    assert!(text.ends_with('\n') && !text.contains("NaN"));
}

/// An alert: its name, and what it asks.
fn alerts() -> Vec<(String, String)> {
    let text = include_str!("../../dist/metrics/basalt-alerts.yaml");
    let mut report = Report::new("alerts");
    let root = parse_first(text.as_bytes(), &mut report).unwrap().first.unwrap();
    let mut found = Vec::new();
    collect(&root, &mut found);
    found
}

fn collect(yaml: &Yaml, found: &mut Vec<(String, String)>) {
    match &yaml.resolved().value {
        Value::List(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Map(entries) => {
            let field = |name: &str| {
                let entry = entries.iter().find(|(key, _)| key.as_scalar().unwrap().text == name);
                entry.and_then(|(_, value)| value.as_scalar()).map(|scalar| scalar.text.clone())
            };
            if let (Some(alert), Some(expression)) = (field("alert"), field("expr")) {
                for needed in ["labels", "annotations"] {
                    let has =
                        entries.iter().any(|(key, _)| key.as_scalar().unwrap().text == needed);
                    assert!(has, "{alert} has no {needed}");
                }
                found.push((alert, expression));
            }
            entries.iter().for_each(|(_, value)| collect(value, found));
        }
        _ => {}
    }
}

/// An alert on a metric that nobody writes never fires.
#[test]
fn alerts_ask_for_what_is_written() {
    let text = text(&all()) + &bundle_text(&all_of_the_bundle());
    let written: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let alerts = alerts();
    assert_eq!(alerts.len(), 21);
    let names: BTreeSet<&String> = alerts.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), alerts.len(), "each has a name of its own");
    for (alert, expression) in &alerts {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let asked: Vec<&str> =
            expression.split(|c| !is_word(c)).filter(|it| it.starts_with("basalt_")).collect();
        assert!(!asked.is_empty(), "{alert}");
        for name in asked {
            assert!(written.contains(name), "{alert} asks for {name}");
        }
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            let count = |c| expression.matches(c).count();
            assert_eq!(count(open), count(close), "{alert}: {expression}");
        }
    }
    // The labels and phases that expressions choose by are ones that are written.
    let phases = ["degraded", "returned", "refused", "no-node", "unverified"].join("|");
    assert!(alerts.iter().any(|(_, expression)| expression.contains(&phases)));
}
