//! `basalt-agent bundle …`

use std::process::ExitCode;
use std::time::Duration;

use basalt_model::node::{Bundle as Wanted, Node};
use serde_json::{Value, json};

use super::api::Api;
use super::applier::{Applier, place, read_inventory};
use super::inventory::{ADOPT_BACK, FOREVER, PAUSED};
use super::lease::Permit;
use super::preflight::Change;
use super::time::rfc3339;
use super::{report, show};
use crate::cli::{PlanOutput, StatusOutput};
use crate::commands::{CommandError, FAILED, accepted};
use crate::host::Host;
use crate::host::service::unix_seconds;
use crate::reconcile::survey_as_reported;
use crate::{settings, show as print};

/// Exit status: `plan` found something to do.
const DIFFERENT: u8 = 3;

type Outcome = Result<ExitCode, CommandError>;

fn failed(message: impl Into<String>, hint: &str) -> CommandError {
    CommandError { error: anyhow::Error::msg(message.into()), hint: Some(hint.to_owned()) }
}

/// `basalt-agent bundle status`
pub(crate) fn status(host: &Host, output: StatusOutput) -> Outcome {
    let picture = report::read(host).map_err(|error| {
        let hint = Some(error.hint().to_owned());
        CommandError { error: error.into(), hint }
    })?;
    let text = match output {
        StatusOutput::Table => show::status(&picture, unix_seconds()),
        StatusOutput::Json => print::json(&picture),
    };
    print::print(&text)?;
    Ok(if show::is_well(&picture) { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// `basalt-agent bundle plan`
pub(crate) async fn plan(host: &Host, output: PlanOutput) -> Outcome {
    let (mut applier, node) = applier(host)?;
    let wanted = bundle_of(&node)?;
    let bundle = applier
        .load(&wanted.reference, wanted)
        .await
        .map_err(|reason| failed(reason, "see `basalt-agent bundle status`"))?;
    let api = connect(&mut applier, wanted).await?;
    let stored = read_inventory(&api).await?;
    let inventory = stored.map(|stored| stored.inventory).unwrap_or_default();
    let rehearsal = applier.rehearse(&api, &inventory, &bundle, wanted).await?;
    let text = match output {
        PlanOutput::Text => show::plan(&rehearsal.changes, &rehearsal.refusals),
        PlanOutput::Json => {
            let changes: Vec<Value> = rehearsal
                .changes
                .iter()
                .map(|(key, change)| json!({"object": key, "plan": change}))
                .collect();
            let refusals: Vec<String> =
                rehearsal.refusals.iter().map(ToString::to_string).collect();
            let release = &bundle.release;
            print::json(&json!({"bundle": release, "changes": changes, "refusals": refusals}))
        }
    };
    print::print(&text)?;
    let is_same = rehearsal.changes.iter().all(|(_, change)| *change == Change::Same);
    Ok(match (rehearsal.refusals.is_empty(), is_same) {
        (false, _) => ExitCode::from(FAILED),
        (true, false) => ExitCode::from(DIFFERENT),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// `basalt-agent bundle pause`
pub(crate) async fn pause(host: &Host, limit: Option<Duration>) -> Outcome {
    let until = match limit {
        Some(limit) => rfc3339(unix_seconds().saturating_add(limit.as_secs())),
        None => FOREVER.to_owned(),
    };
    annotate(host, PAUSED, json!(until)).await
}

/// `basalt-agent bundle resume`
pub(crate) async fn resume(host: &Host) -> Outcome {
    annotate(host, PAUSED, Value::Null).await
}

/// `basalt-agent bundle adopt-back`
pub(crate) async fn adopt_back(host: &Host) -> Outcome {
    annotate(host, ADOPT_BACK, json!("yes")).await
}

/// Sets an annotation of the inventory, which every agent obeys.
async fn annotate(host: &Host, name: &str, value: Value) -> Outcome {
    let (mut applier, node) = applier(host)?;
    let api = connect(&mut applier, bundle_of(&node)?).await?;
    if read_inventory(&api).await?.is_none() {
        return Err(failed(
            "the cluster has no inventory: nothing was applied yet",
            "set `bundle.paused` in cluster.yaml to keep the first bundle from being applied",
        ));
    }
    let (served, key) = place();
    let patch = json!({"metadata": {"annotations": {name: value}}});
    api.patch(&served, &key, &patch, Permit::ALWAYS).await?;
    Ok(ExitCode::SUCCESS)
}

fn applier(host: &Host) -> Result<(Applier, Node), CommandError> {
    let node = accepted(&survey_as_reported(host))?.clone();
    let rules = settings::load(host).settings.bundle;
    Ok((Applier::new(host, &node, rules), node))
}

fn bundle_of(node: &Node) -> Result<&Wanted, CommandError> {
    node.bundle.as_ref().ok_or_else(|| {
        failed("this node applies no bundle", "ask on a node of a role under `bundle.roles`")
    })
}

async fn connect(applier: &mut Applier, wanted: &Wanted) -> Result<Api, CommandError> {
    applier.connect(wanted).await.map_err(|error| CommandError {
        error: error.into(),
        hint: Some("ask as root, when the API server answers".to_owned()),
    })
}
