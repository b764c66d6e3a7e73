//! What a round knows, as facts for monitoring.

use basalt_model::node::Node;

use crate::certificates::{Row, SecretRow, Standing};
use crate::clock::ClockState;
use crate::host::Host;
use crate::host::service::ServiceReport;
use crate::metrics::{
    self, CertificateFacts, Facts, IssuerFacts, SecretFileFacts, ServerFacts, VaultFacts,
};
use crate::vault::VaultReport;

/// The facts after a round. What the folders of certificates say counts until the part that keeps them has spoken.
pub(super) fn facts(
    host: &Host,
    node: Option<&Node>,
    phase: &str,
    report: &ServiceReport,
) -> Facts {
    let said = &report.evidence.reports.certificates;
    let certificates = match said.certificates.is_empty() {
        true => node.map(|node| metrics::certificates(host, node)).unwrap_or_default(),
        false => said.certificates.iter().map(certificate).collect(),
    };
    Facts {
        now: report.last_round_unix_seconds.cast_signed(),
        node: node.map(|node| node.name.to_string()).unwrap_or_default(),
        generation: node.map(|node| node.generation),
        phase: phase.to_owned(),
        failures: report.failures.len() as u64,
        clock: said.certificates.first().map(|row| match row.clock_is_sure {
            true => ClockState::Good { by: String::new() },
            false => ClockState::Unsure { reason: String::new() },
        }),
        certificates,
        issuers: said.certificates.iter().flat_map(issuers).collect(),
        secret_files: said.secrets.iter().map(secret_file).collect(),
        vault: said.vault.as_ref().map(vault),
    }
}

fn certificate(row: &Row) -> CertificateFacts {
    let is_proved = match row.standing {
        Standing::Missing | Standing::Placeholder => None,
        Standing::Unproved => Some(false),
        Standing::InUse => Some(true),
    };
    let failed = row.last.as_ref().filter(|last| !last.good);
    CertificateFacts {
        name: row.name.clone(),
        not_after: row.leaf.as_ref().map(|leaf| leaf.not_after),
        renew_at: row.renew_at,
        is_placeholder: row.standing == Standing::Placeholder,
        is_proved,
        attempts: Some(row.attempts),
        failures: Some(row.failures),
        failures_in_a_row: Some(failed.map_or(0, |last| last.failures.into())),
    }
}

fn issuers(row: &Row) -> Vec<IssuerFacts> {
    let facts = |issuer: &crate::trust::IssuerProgress| IssuerFacts {
        certificate: row.name.clone(),
        issuer: issuer.name.clone(),
        stage: serde_json::to_value(issuer.stage)
            .ok()
            .and_then(|stage| stage.as_str().map(str::to_owned))
            .unwrap_or_default(),
    };
    row.trust.issuers.values().map(facts).collect()
}

fn secret_file(row: &SecretRow) -> SecretFileFacts {
    SecretFileFacts {
        name: row.name.clone(),
        confirmed_at: row.confirmed_unix_seconds,
        failures_in_a_row: row.failures.into(),
    }
}

fn vault(report: &VaultReport) -> VaultFacts {
    let servers = report.servers.iter().map(|server| ServerFacts {
        address: server.address.clone(),
        state: server.state.clone(),
        is_usable: ["active", "performance_standby"].contains(&server.state.as_str()),
    });
    let not_after = report.identity.as_ref().and_then(|it| it.not_after_unix_seconds);
    VaultFacts {
        servers: servers.collect(),
        latency_seconds: report.latency_milliseconds.map(|it| it as f64 / 1000.0),
        calls: report.calls,
        failures: report.failures,
        logins: report.logins,
        identity_not_after: not_after.and_then(|it| i64::try_from(it).ok()),
    }
}
