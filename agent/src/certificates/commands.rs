//! The commands about certificates: `certs` and `rotate`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use basalt_model::node::Node;
use tokio::time::{Instant, sleep};

use super::engine::machine;
use super::report::{Outcome, Report};
use super::rotate::{self, Request};
use super::rows::row;
use super::schedule::place;
use super::time::seconds;
use super::{record, status, vault_of};
use crate::cli::CertsOutput;
use crate::commands::{CommandError, FAILED};
use crate::host::Host;
use crate::host::service::{self, ServiceSeen};
use crate::settings::{self, CertificatesOf};
use crate::show;

/// Pause between looks at what became of a rotation.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// `basalt-agent certs`: by the service when it runs, from what is kept when it does not.
///
/// # Errors
/// When there is neither, or nobody knows what the node is to be.
pub(crate) fn certs(
    host: &Host,
    node: Result<&Node, CommandError>,
    output: CertsOutput,
) -> Result<ExitCode, CommandError> {
    let report = match reported(host) {
        Some(report) => report,
        None => kept(host, node?)?,
    };
    let text = match output {
        CertsOutput::Table => status::table(&report, seconds(SystemTime::now())),
        CertsOutput::Json => show::json(&report),
    };
    show::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn reported(host: &Host) -> Option<Report> {
    match service::observe(host) {
        ServiceSeen::Running { report: Some(report), .. } => {
            Some(report.evidence.reports.certificates)
        }
        ServiceSeen::Running { report: None, .. }
        | ServiceSeen::Stopped
        | ServiceSeen::Unknown(_) => None,
    }
}

fn kept(host: &Host, node: &Node) -> Result<Report, CommandError> {
    let mut report = Report::default();
    for certificate in vault_of(node).into_iter().flat_map(|vault| &vault.certificates) {
        let name = certificate.name.as_str();
        let record = record::load(host, name).map_err(|error| CommandError {
            error: error.into(),
            hint: Some("the service does not run; ask as root".to_owned()),
        })?;
        report.certificates.push(row(
            certificate,
            record.as_ref(),
            &[],
            place(&machine(host, node), name),
        ));
    }
    report.certificates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(report)
}

/// `basalt-agent rotate`: leaves a request for each certificate, waits for the service to answer, and says what it came to.
///
/// # Errors
/// When there is no service to ask, nobody knows what the node is to be, or it has no such certificate.
pub(crate) async fn rotate(
    host: &Host,
    node: Result<&Node, CommandError>,
    name: Option<&str>,
    now: bool,
    limit: Duration,
) -> Result<ExitCode, CommandError> {
    let failed = |message: String, hint: &str| CommandError {
        error: anyhow::Error::msg(message),
        hint: Some(hint.to_owned()),
    };
    let start = "`systemctl start basalt-agent`, and look at `basalt-agent status`";
    let deadline = Instant::now() + limit;
    if !matches!(service::observe(host), ServiceSeen::Running { .. }) {
        return Err(failed("the service does not run".to_owned(), start));
    }
    if settings::load(host).settings.certificates == CertificatesOf::Others {
        let hint =
            "whoever keeps them renews them, by `certificates.keeper` in the agent's settings";
        return Err(failed("the certificates of this node are kept by somebody else".into(), hint));
    }
    // By what the node is to have: a service that has just started has not reported any yet.
    let certificates = vault_of(node?).into_iter().flat_map(|it| &it.certificates);
    let all: Vec<String> = certificates.map(|it| it.name.to_string()).collect();
    let names = match name {
        None => all,
        Some(name) if all.iter().any(|known| known == name) => vec![name.to_owned()],
        Some(name) => {
            let hint = format!("`basalt-agent certs` shows those that it has: {}", all.join(", "));
            return Err(failed(format!("the node has no certificate `{name}`"), &hint));
        }
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = format!("{}-{}", std::process::id(), since.as_nanos());
    for name in &names {
        rotate::ask(host, name, &Request { id: id.clone(), now }).map_err(|error| {
            failed(format!("cannot ask for a rotation: {error}"), "ask as root")
        })?;
    }
    let mut left = names;
    let mut is_well = true;
    while !left.is_empty() {
        let report = reported(host).unwrap_or_default();
        let mut waiting = Vec::new();
        for name in left {
            let rotation = report.row(&name).and_then(|row| row.rotation.clone());
            match rotation.filter(|rotation| rotation.id == id).map(|rotation| rotation.outcome) {
                Some(Outcome::Done(text)) => {
                    show::print(&format!("{name}: {text}\n"))?;
                }
                Some(Outcome::Failed(text)) => {
                    is_well = false;
                    show::print(&format!("{name}: failed: {text}\n"))?;
                }
                Some(Outcome::Pending) | None => waiting.push(name),
            }
        }
        left = waiting;
        if !left.is_empty() && Instant::now() >= deadline {
            let message =
                format!("no answer within {} s about {}", limit.as_secs(), left.join(", "));
            return Err(failed(
                message,
                "the service goes on with it; `basalt-agent certs` shows how it went",
            ));
        }
        if !left.is_empty() {
            sleep(LOOK_AGAIN).await;
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
