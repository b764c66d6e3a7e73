//! `vault rotate-ca`: one authority takes the place of another, and no node is left behind.
//!
//! The order is: everywhere trusted, then used, then the old one forgotten. Each step waits until all nodes have reported
//! (see [`basalt_model::node::NodeReport`]) that the one before has reached them. How far it is follows from what Vault
//! has: nothing is remembered.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use basalt_model::cluster::Cluster;
use basalt_model::node::{Node, NodeReport, REPORT_MOUNT, VaultAuth, report_path};
use serde_json::{Value as Json, json};

use super::apply::confirm;
use super::client::Client;
use super::connect::Connection;
use super::object::Issuer;
use super::wanted::{identity, pki_mounts};
use super::{fleet, seen};
use crate::output::{print, say};
use crate::progress::Progress;
use crate::table::table;
use crate::{DIFFERS, FAILED};

/// Replace the authority of a PKI mount, step by step.
///
/// Without `--step` it shows how far it is; the exit status is then 3 while two authorities are there. Each step is
/// refused as long as a node has not followed the one before, and names the nodes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Path of the PKI mount.
    mount: String,

    #[command(flatten)]
    connection: Connection,

    /// What to do now.
    #[arg(long, value_name = "STEP")]
    step: Option<Step>,

    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Step {
    /// Make a new authority beside the old one. Nodes begin to trust it; nothing is signed by it. They look for it every
    /// 15 minutes, and when their agent starts: `systemctl restart basalt-agent` there hastens it and stops no pod.
    Add,
    /// Let the new one sign, once every node trusts it. Nodes renew as their certificates come of age;
    /// `basalt-agent rotate --all` there hastens it.
    Switch,
    /// Remove the old one, once no node has a certificate of it.
    Drop,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// One authority.
    Settled { only: Issuer },
    /// The newest is not used yet.
    Trusting { default: Issuer, new: Issuer },
    /// The newest is used; the older ones still have certificates out there.
    Draining { default: Issuer, old: Vec<Issuer> },
}

/// Runs the verb.
///
/// # Errors
/// When the cluster or Vault cannot be read, or a step is not to be taken yet.
pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let cluster = arguments.connection.cluster()?;
    let mount = arguments.mount.trim_matches('/');
    if !pki_mounts(&cluster).iter().any(|known| known == mount) {
        bail!(
            "no node gets certificates of `{mount}`; the cluster has {}",
            pki_mounts(&cluster).join(", ")
        );
    }
    let client = arguments.connection.client(&cluster)?;
    let stage = Stage::of(mount, seen::issuers(&client, mount)?)?;
    let nodes = fleet::nodes(&client, &cluster, mount)?;
    let Some(step) = arguments.step else {
        print(show(mount, &stage, &nodes))?;
        let is_settled = matches!(stage, Stage::Settled { .. });
        return Ok(if is_settled { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) });
    };
    let blockers = match (step, &stage) {
        (Step::Add, Stage::Settled { only }) => addable(mount, only).err().into_iter().collect(),
        (Step::Switch, Stage::Trusting { new, .. }) => {
            let mut blockers = fleet::without_trust(&nodes, new);
            blockers.extend(logins_without(&client, &cluster, mount, new)?);
            blockers
        }
        (Step::Drop, Stage::Draining { old, .. }) => fleet::with_leaves_of(&nodes, old),
        (step, _) => vec![format!("this is not the time for `{}`", name(step))],
    };
    if !blockers.is_empty() {
        print(show(mount, &stage, &nodes))?;
        for blocker in &blockers {
            say(format_args!("error: {blocker}"));
        }
        return Ok(ExitCode::from(FAILED));
    }
    let question = question(mount, step, &stage);
    if !arguments.yes && !confirm(&question)? {
        say("nothing was changed");
        return Ok(ExitCode::from(FAILED));
    }
    take(&client, &cluster, mount, &stage)?;
    progress.step(format_args!("`{mount}`: `{}` is done", name(step)));
    let stage = Stage::of(mount, seen::issuers(&client, mount)?)?;
    print(show(mount, &stage, &nodes))?;
    Ok(ExitCode::SUCCESS)
}

impl Stage {
    /// `issuers` come oldest first.
    fn of(mount: &str, mut issuers: Vec<Issuer>) -> Result<Stage> {
        let newest = issuers
            .pop()
            .with_context(|| format!("`{mount}` has no issuer; see `cargo xtask vault apply`"))?;
        if issuers.is_empty() {
            return Ok(Stage::Settled { only: newest });
        }
        if newest.is_default {
            return Ok(Stage::Draining { default: newest, old: issuers });
        }
        let default = issuers.into_iter().find(|issuer| issuer.is_default);
        let default = default.with_context(|| format!("`{mount}` has no default issuer"))?;
        Ok(Stage::Trusting { default, new: newest })
    }
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Add => "add",
        Step::Switch => "switch",
        Step::Drop => "drop",
    }
}

/// Whether a new authority can be made here: one that another has signed comes from that one.
fn addable(mount: &str, only: &Issuer) -> Result<(), String> {
    match only.is_self_signed {
        true => Ok(()),
        false => Err(format!(
            "the authority of `{mount}` is signed by another one. Sign the request of `{mount}/intermediate/generate/internal` there, give the result to `{mount}/intermediate/set-signed`, and go on with `--step switch`"
        )),
    }
}

/// For the mount of identities: roles of the certificate auth method that do not know the new authority yet.
fn logins_without(
    client: &Client,
    cluster: &Cluster,
    mount: &str,
    new: &Issuer,
) -> Result<Vec<String>> {
    let mut blockers = Vec::new();
    let Some(identity) = identity(cluster).filter(|identity| identity.pki_mount == mount) else {
        return Ok(blockers);
    };
    let own = cluster.nodes.iter().filter_map(|node| match &node.vault.as_ref()?.auth {
        VaultAuth::Node(identity) => identity.cert_role.as_deref(),
        _ => None,
    });
    let mut roles: Vec<&str> = own.collect();
    roles.sort_unstable();
    roles.dedup();
    for role in roles {
        let path = format!("auth/{}/certs/{role}", identity.cert_mount);
        let found = client.read(&path)?.unwrap_or_default();
        let trusted = found.get("certificate").and_then(Json::as_str).unwrap_or_default();
        if !trusted.contains(new.pem.trim()) {
            blockers.push(format!(
                "`{path}` does not know the new authority; run `cargo xtask vault apply`"
            ));
        }
    }
    Ok(blockers)
}

fn question(mount: &str, step: Step, stage: &Stage) -> String {
    match (step, stage) {
        (Step::Drop, Stage::Draining { old, .. }) => {
            let names: Vec<String> = old.iter().map(title).collect();
            format!("Remove {} and its key from `{mount}` for good?", names.join(" and "))
        }
        (Step::Switch, Stage::Trusting { new, .. }) => {
            format!("Let {} sign for `{mount}`?", title(new))
        }
        _ => format!("Make a new authority in `{mount}`?"),
    }
}

/// Where a PKI engine makes a root of its own, whose key stays inside: `generate` for its first one, `rotate` for another.
pub(super) fn root_path(mount: &str, verb: &str) -> String {
    [mount, "root", verb, "internal"].join("/")
}

/// Takes the step that `stage` is ready for.
fn take(client: &Client, cluster: &Cluster, mount: &str, stage: &Stage) -> Result<()> {
    match stage {
        Stage::Settled { .. } => {
            // Another name than the old one's, so that nobody takes one for the other.
            let common_name = format!("{} {mount} root {}", cluster.name, now());
            client.write(&root_path(mount, "rotate"), &root_body(&common_name))?;
        }
        Stage::Trusting { new, .. } => {
            client.write(&format!("{mount}/config/issuers"), &json!({"default": new.id}))?;
        }
        Stage::Draining { default, old } => {
            let key = |issuer: &Issuer| -> Result<Option<String>> {
                let found = client.read(&format!("{mount}/issuer/{}", issuer.id))?;
                let found = found.unwrap_or_default();
                let id = found.get("key_id").and_then(Json::as_str).unwrap_or_default();
                Ok(Some(id.to_owned()).filter(|id| !id.is_empty()))
            };
            let kept = key(default)?;
            for issuer in old {
                let key = key(issuer)?;
                client.delete(&format!("{mount}/issuer/{}", issuer.id))?;
                // Nobody signs with it again.
                if let Some(key) = key.filter(|key| Some(key) != kept.as_ref()) {
                    client.delete(&format!("{mount}/key/{key}"))?;
                }
            }
        }
    }
    Ok(())
}

/// What makes a root whose key stays in Vault.
pub(super) fn root_body(common_name: &str) -> Json {
    json!({
        "common_name": common_name,
        "exclude_cn_from_sans": true,
        "issuer_name": format!("root-{}", now_seconds()),
        "key_bits": 256,
        "key_type": "ec",
        "ttl": format!("{}h", super::wanted::ROOT_HOURS),
    })
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn time(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    // After the year 9999 there is no form for it.
    let fits = time.filter(|_| seconds < 253_402_300_800);
    fits.map_or_else(|| "?".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

fn title(issuer: &Issuer) -> String {
    let name = if issuer.name.is_empty() { &issuer.id } else { &issuer.name };
    format!("`{name}` ({})", &issuer.fingerprint[..16])
}

/// How far it is, for people.
fn show(mount: &str, stage: &Stage, nodes: &[fleet::NodeState]) -> String {
    let until = |issuer: &Issuer| time(u64::try_from(issuer.not_after).unwrap_or_default());
    let row = |what: &str, issuer: &Issuer| {
        [what.to_owned(), title(issuer), format!("until {}", until(issuer))]
    };
    let (rows, next) = match stage {
        Stage::Settled { only } => (vec![row("signs", only)], "`--step add` begins a change"),
        Stage::Trusting { default, new } => {
            let rows = vec![row("signs", default), row("new", new)];
            (rows, "`--step switch`, once every node trusts the new one")
        }
        Stage::Draining { default, old } => {
            let mut rows = vec![row("signs", default)];
            rows.extend(old.iter().map(|issuer| row("old", issuer)));
            (rows, "`--step drop`, once no node has a certificate of the old one")
        }
    };
    let mut text = format!("{mount}\n{}\n", table(&rows));
    text += &table(&fleet::rows(nodes, &known(stage), time));
    text + &format!("\nnext: {next}\n")
}

/// The authorities with the words for them.
fn known(stage: &Stage) -> Vec<(&Issuer, &'static str)> {
    match stage {
        Stage::Settled { only } => vec![(only, "current")],
        Stage::Trusting { default, new } => vec![(default, "current"), (new, "new")],
        Stage::Draining { default, old } => {
            let old = old.iter().map(|issuer| (issuer, "old"));
            std::iter::once((default, "current")).chain(old).collect()
        }
    }
}

/// Reads the report of one node.
pub(super) fn report(
    client: &Client,
    cluster: &Cluster,
    node: &Node,
) -> Result<Option<NodeReport>> {
    let path = format!("{REPORT_MOUNT}/data/{}", report_path(&cluster.name, &node.name));
    let found = client.read(&path)?.unwrap_or_default();
    let Some(data) = found.get("data").filter(|data| !data.is_null()) else { return Ok(None) };
    // One that cannot be read says nothing; the node is waited for.
    Ok(serde_json::from_value(data.clone()).ok())
}
