//! `vault plan` and `vault apply`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use basalt_model::cluster::Cluster;
use serde_json::{Map, Value as Json, json};

use super::change::{Change, changes};
use super::client::Client;
use super::connect::Connection;
use super::neighbours::neighbours;
use super::object::{Entry, Mount, MountKind, Object, Root};
use super::seen::Found;
use super::wanted::{self, wanted};
use super::{seen, show};
use crate::output::{Format, print, say};
use crate::progress::Progress;
use crate::{DIFFERS, FAILED};

/// Print what Vault lacks for a cluster.
///
/// Mounts, roles that sign, auth methods with their roles, and policies of least right: everything that the nodes of the
/// cluster ask Vault for. Besides these, what other clusters have in the same Vault is looked at, and nothing is planned where
/// a node of theirs could log in as one of this one. The exit status is 3 when there is something to change.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    connection: Connection,

    /// Prints the changes as text or as one JSON document.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Make what Vault lacks for a cluster.
///
/// Shows what `vault plan` shows, asks, and then does it. What it does not show it does not touch, and it removes nothing.
/// It can be run again at any time, also after a failure half-way.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArguments {
    #[command(flatten)]
    connection: Connection,

    /// Makes a root certificate in each PKI mount that has no issuer.
    ///
    /// Its key is made in Vault and never leaves it. Without this, a mount without an issuer is left to you: import an
    /// intermediate that your own root has signed, or make a root.
    #[arg(long)]
    make_root: bool,

    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

/// What is to be done, and what a person has to know.
struct Survey {
    changes: Vec<Change>,
    notes: Vec<String>,
}

/// Looks at Vault once.
fn survey(client: &Client, cluster: &Cluster) -> Result<Survey> {
    let mounts = seen::mounts(client, cluster)?;
    let wanted::Wanted { objects, mut notes } = wanted(cluster, &mounts);
    let found = seen::found(client, &mounts, &objects)?;
    for path in seen::left_over(client, cluster, &mounts)? {
        notes.push(format!("`{path}` belongs to no node of the cluster any more; delete it"));
    }
    notes.extend(unlimited(&objects, &found));
    let neighbours = neighbours(client, cluster, &mounts, &objects, &found)?;
    notes.extend(neighbours.notes);
    let shared = neighbours.conflicts.iter().map(ToString::to_string);
    match changes(&objects, &mounts, &found) {
        Ok(changes) if neighbours.conflicts.is_empty() => Ok(Survey { changes, notes }),
        decided => {
            let conflicts = decided.err().unwrap_or_default();
            let texts: Vec<String> =
                conflicts.iter().map(ToString::to_string).chain(shared).collect();
            bail!("{}", texts.join("\n"))
        }
    }
}

/// HashiCorp's Vault has no limit on addresses.
fn unlimited(objects: &[Object], found: &Found) -> Vec<String> {
    const LIMIT: &str = "allowed_ip_sans_cidr";
    let entries = objects.iter().filter_map(|object| match object {
        Object::Entry(entry) => Some((entry, found.entries.get(&entry.path)?)),
        _ => None,
    });
    let is_unlimited = |(entry, fields): &(&Entry, &Map<String, Json>)| {
        let wants = entry.fields.get(LIMIT).and_then(Json::as_array);
        wants.is_some_and(|networks| !networks.is_empty()) && !fields.contains_key(LIMIT)
    };
    let note = |(entry, _): (&Entry, _)| {
        format!(
            "this server cannot limit addresses: whoever may use `{}` may have any of them in a certificate",
            entry.path
        )
    };
    entries.filter(is_unlimited).map(note).collect()
}

/// Runs `vault plan`.
///
/// # Errors
/// When the cluster or Vault cannot be read, or something of somebody else is in the way.
pub(super) fn plan(arguments: &PlanArguments) -> Result<ExitCode> {
    let cluster = arguments.connection.cluster()?;
    let client = arguments.connection.client(&cluster)?;
    let Survey { changes, notes } = survey(&client, &cluster)?;
    match arguments.output {
        Format::Text => print(show::text(&changes, &notes))?,
        Format::Json => {
            let document = show::document(client.address(), &changes, &notes);
            print(format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        }
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

/// Runs `vault apply`.
///
/// # Errors
/// When something cannot be made; what was made before stays.
pub(super) fn apply(arguments: &ApplyArguments, progress: &Progress) -> Result<ExitCode> {
    let cluster = arguments.connection.cluster()?;
    let client = arguments.connection.client(&cluster)?;
    let mut survey = self::survey(&client, &cluster)?;
    print(show::text(&survey.changes, &survey.notes))?;
    if survey.changes.is_empty() {
        progress.step(format_args!("`{}` has all that the cluster needs", client.address()));
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        let question = format!("Make these {} changes?", survey.changes.len());
        if !confirm(&question)? {
            say("nothing was changed");
            return Ok(ExitCode::from(FAILED));
        }
    }
    // What waits for a mount or an issuer can be worked out once that is there.
    loop {
        let is_ready = |change: &Change| match change {
            Change::MakeRoot(_) => arguments.make_root,
            other => other.waits_for().is_empty(),
        };
        let (ready, waiting): (Vec<_>, Vec<_>) = survey.changes.into_iter().partition(is_ready);
        if ready.is_empty() {
            return left(&waiting);
        }
        for change in &ready {
            let what = name(change);
            progress.step(format_args!("{what}"));
            make(&client, change).with_context(|| format!("cannot make {what}"))?;
        }
        survey = self::survey(&client, &cluster)?;
        // Whoever changes the same at the same time is not fought with.
        if survey.changes.iter().any(|change| ready.contains(change)) {
            bail!("what was written is not what is read back; look at `vault plan`");
        }
    }
}

/// Says what could not be made.
fn left(waiting: &[Change]) -> Result<ExitCode> {
    if waiting.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for change in waiting {
        match change {
            Change::MakeRoot(Root { mount, .. }) => say(format_args!(
                "`{mount}` has no issuer. Sign the request of `{mount}/intermediate/generate/internal` with your own root and give the result to `{mount}/intermediate/set-signed`, or let `--make-root` make a root here. Then run this again"
            )),
            other => {
                say(format_args!("{} waits for {}", name(other), other.waits_for().join(" and ")))
            }
        }
    }
    Ok(ExitCode::from(FAILED))
}

fn name(change: &Change) -> String {
    match change {
        Change::Enable(mount) | Change::Lengthen { mount, .. } => {
            format!("mount `{}{}`", mount.prefix(), mount.path)
        }
        Change::MakeRoot(root) => format!("root of `{}`", root.mount),
        Change::Write { entry, .. } => format!("`{}`", entry.path),
        Change::SetPolicy { policy, .. } => format!("policy `{}`", policy.name),
    }
}

fn make(client: &Client, change: &Change) -> Result<()> {
    let (path, body) = match change {
        Change::Enable(mount) => (mount_path(mount), mount_body(mount)),
        Change::Lengthen { mount, to, .. } => {
            let path = format!("{}/tune", mount_path(mount));
            (path, json!({"max_lease_ttl": format!("{to}s")}))
        }
        Change::MakeRoot(root) => (
            super::rotate::root_path(&root.mount, "generate"),
            super::rotate::root_body(&root.common_name),
        ),
        Change::Write { entry, .. } => (entry.path.clone(), Json::Object(entry.fields.clone())),
        Change::SetPolicy { policy, .. } => {
            (format!("sys/policies/acl/{}", policy.name), json!({"policy": policy.text}))
        }
    };
    client.write(&path, &body)?;
    Ok(())
}

fn mount_path(mount: &Mount) -> String {
    match mount.kind {
        MountKind::Secrets => format!("sys/mounts/{}", mount.path),
        MountKind::Auth => format!("sys/auth/{}", mount.path),
    }
}

fn mount_body(mount: &Mount) -> Json {
    let mut body = json!({"type": mount.engine});
    if let Some(version) = mount.version {
        body["options"] = json!({"version": version});
    }
    if let Some(seconds) = mount.min_max_lease_ttl {
        body["config"] = json!({"max_lease_ttl": format!("{seconds}s")});
    }
    body
}

/// Asks a person.
///
/// # Errors
/// When there is nobody to ask.
pub(super) fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked here; look at what is shown and give `--yes`");
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
