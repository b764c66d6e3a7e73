//! What quadlets and units that run podman have in common: `[Unit]`, `[Service]` and `[Install]`.

use std::collections::BTreeMap;

use super::Reference;
use super::amounts;
use super::draft::Draft;
use super::environment::{Dialect, Read, variables as of_text};
use super::files::Unit;
use super::keys::{self, Key};
use super::notes::{At, Notes};
use super::options::apply as apply_option;
use super::run::{self, Command, Words};
use super::secrets::is_secret;
use super::unit::Setting;

/// The variables that systemd puts into command lines.
pub(super) type Variables = BTreeMap<String, String>;

/// The variables of `Environment=` and `EnvironmentFile=`.
pub(super) fn variables(unit: &Unit, read: &mut Read<'_>, notes: &mut Notes) -> Variables {
    let mut found = Variables::new();
    let settings = unit.settings.iter().filter(|setting| setting.section == "Service");
    for setting in settings.clone().filter(|setting| setting.key == "Environment") {
        for (word, at) in setting.words(notes) {
            if let Some((name, value)) = unit.resolved(&word, &at, notes).split_once('=') {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    for setting in settings.filter(|setting| setting.key == "EnvironmentFile") {
        let at = setting.at();
        let path = unit.resolved(&setting.value.text, &at, notes);
        let is_optional = path.starts_with('-');
        let path = path.trim_start_matches('-');
        match read(Reference { from: &setting.file, path }) {
            Ok(text) => {
                let read = of_text(&text, Dialect::Quoted);
                found.extend(read.into_iter().filter_map(|v| Some((v.name, v.value?))));
            }
            Err(_) if is_optional => {}
            Err(error) => notes.broken(
                &at,
                format!("the file of variables was not read ({error})"),
                "name the folder that stands for the host's `/` with `--root`",
            ),
        }
    }
    found
}

/// The words of a command line, with specifiers and variables in them resolved.
pub(super) fn command(
    unit: &Unit,
    setting: &Setting,
    variables: &Variables,
    notes: &mut Notes,
) -> Vec<(String, At)> {
    let mut made = Vec::new();
    for (word, at) in setting.words(notes) {
        let word = unit.resolved(&word, &at, notes);
        // A variable by itself is as many words as it has.
        let alone = word.strip_prefix('$').filter(|name| is_name(name));
        match alone {
            Some(name) => {
                let value = variable(name, variables, &at, notes);
                made.extend(value.split_whitespace().map(|word| (word.to_owned(), at.clone())));
            }
            None => made.push((expanded(&word, variables, &at, notes), at)),
        }
    }
    made
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn variable(name: &str, variables: &Variables, at: &At, notes: &mut Notes) -> String {
    let value = variables.get(name);
    if value.is_some_and(|value| is_secret(name, value)) {
        let message = format!("the variable `{name}` is a secret, and is not put in");
        let remedy = "let vault-agent write it into a file, and use an option that takes a file";
        notes.broken(at, message, remedy);
        return format!("${{{name}}}");
    }
    value.cloned().unwrap_or_else(|| {
        let message =
            format!("nothing that was given sets the variable `{name}`: it is left empty");
        notes.broken(at, message, "write its value");
        String::new()
    })
}

fn expanded(word: &str, variables: &Variables, at: &At, notes: &mut Notes) -> String {
    let mut made = String::new();
    let mut rest = word;
    while let Some(start) = rest.find('$') {
        made.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(behind) = rest.strip_prefix("$$") {
            made.push('$');
            rest = behind;
        } else if let Some((name, behind)) = rest
            .strip_prefix("${")
            .and_then(|inner| inner.split_once('}'))
            .filter(|(name, _)| is_name(name))
        {
            made.push_str(&variable(name, variables, at, notes));
            rest = behind;
        } else {
            made.push('$');
            rest = &rest[1..];
        }
    }
    made + rest
}

/// Notes what becomes of `[Unit]`, `[Service]` and `[Install]`, and sets what `[Service]` says about the container.
/// False: it is a one-shot, of which no pod is made.
pub(super) fn apply(unit: &Unit, draft: &mut Draft, notes: &mut Notes) -> bool {
    let mut is_kept = true;
    for (index, setting) in unit.settings.iter().enumerate() {
        if !["Unit", "Service", "Install", "Quadlet"].contains(&setting.section.as_str())
            && !setting.section.starts_with("X-")
        {
            continue;
        }
        let at = setting.at();
        let Some(key) = keys::find(setting, notes) else { continue };
        if setting.value.text.is_empty() || unit.is_taken_back(index, !is_single(&setting.key)) {
            notes.carried(&at, "a later line, or none, says what holds");
            continue;
        }
        let value = setting.value.text.as_str();
        match key {
            Key::Implied(reason) => notes.carried(&at, reason),
            Key::Lost(..) if is_root(setting.key.as_str(), value) => {
                notes.carried(&at, "the kubelet runs as root, too");
            }
            Key::Lost(reason, remedy) => notes.lost(&at, reason, remedy),
            Key::Last(option) | Key::Each(option) | Key::Words(option) | Key::Security(option) => {
                amount(draft, option, value, &at, notes);
            }
            Key::Read => is_kept &= known(draft, setting, value, &at, notes),
        }
    }
    is_kept
}

fn is_single(key: &str) -> bool {
    ["Type", "Restart", "CPUQuota", "MemoryMax", "MemoryLimit", "TimeoutStopSec"].contains(&key)
}

fn is_root(key: &str, value: &str) -> bool {
    matches!((key, value), ("User" | "Group", "root" | "0"))
}

/// Applies a limit that the unit has besides those of podman's command line.
fn limit(draft: &mut Draft, option: &'static str, value: &str, at: &At, notes: &mut Notes) {
    amounts::from_quota(draft);
    let before = draft.members.clone();
    apply_option(draft, option, value, at, notes);
    if amounts::keep_tighter(draft, &before) {
        notes.carried(at, "the container's own limit is tighter, and holds");
    }
}

/// Limits of memory: systemd has words for none and for shares of what the host has.
fn amount(draft: &mut Draft, option: &'static str, value: &str, at: &At, notes: &mut Notes) {
    if value == "infinity" {
        notes.carried(at, "no limit, as without it");
    } else if value.ends_with('%') {
        notes.lost(at, "a pod's memory is no share of the host's", "write it as an amount");
    } else {
        limit(draft, option, value, at, notes);
    }
}

fn known(draft: &mut Draft, setting: &Setting, value: &str, at: &At, notes: &mut Notes) -> bool {
    match setting.key.as_str() {
        "Restart" => restart(draft, value, at, notes),
        "Type" if value == "oneshot" => {
            notes.broken(
                at,
                "a one-shot is no static pod, which the kubelet runs again whenever it starts: no pod is made",
                "run it as a unit of systemd, with the node's Butane config",
            );
            return false;
        }
        "Type" => notes.carried(at, "the kubelet keeps track of the container"),
        "CPUQuota" => match value.trim_end_matches('%').parse::<f64>() {
            Ok(percent) if percent > 0.0 => {
                limit(draft, "cpus", &(percent / 100.0).to_string(), at, notes);
            }
            _ => notes.invalid(at, "it is no percentage", None),
        },
        "Environment" | "EnvironmentFile" => {
            notes.carried(at, "it is podman's own, and is put into its command line");
        }
        "TimeoutStopSec" => notes.carried(at, "the pod ends within its grace period"),
        "DefaultInstance" => notes.carried(at, "as the instance"),
        // Command lines are looked at by `hook`.
        _ => {}
    }
    true
}

fn restart(draft: &mut Draft, value: &str, at: &At, notes: &mut Notes) {
    let policy = match value {
        "on-abnormal" | "on-abort" | "on-watchdog" => {
            notes.changed(
                at,
                "as `restartPolicy: OnFailure`, which any failure is for",
                "write `always` for what has to run",
            );
            "on-failure"
        }
        "on-success" => {
            notes.broken(
                at,
                "the kubelet has no restart policy for success alone",
                "write `always`",
            );
            "no"
        }
        "no" | "always" | "on-failure" => value,
        _ => {
            notes.invalid(at, "it is no restart policy of systemd", None);
            return;
        }
    };
    // Of podman's policy and systemd's the more eager one is what happened.
    let before = draft.restart;
    apply_option(draft, "restart", policy, at, notes);
    draft.restart = draft.restart.max(before);
}

/// Notes what becomes of a command besides the container itself.
pub(super) fn hook(setting: &Setting, words: &Words, notes: &mut Notes) {
    let at = setting.at();
    match run::command(words).filter(|_| setting.key != "ExecReload") {
        Some(
            Command::Housekeeping
            | Command::Stop(_)
            | Command::Start
            | Command::PodStart
            | Command::PodCreate(_),
        ) => {
            notes.carried(&at, "the kubelet makes, pulls, stops and removes by itself");
        }
        None if is_removal_of_identifier(words) => {
            notes.carried(&at, "the kubelet keeps the container's id");
        }
        _ => {
            let remedy = match setting.key.as_str() {
                "ExecStartPre" | "ExecCondition" => {
                    "do it in an init container, or in a unit of the node's Butane config before `kubelet.service`"
                }
                "ExecStop" => "do it in `lifecycle.preStop` of the container",
                "ExecStartPost" => "do it in `lifecycle.postStart` of the container",
                "ExecReload" => "reload the program by its own means, or change the manifest",
                _ => "do it in a unit of the node's Butane config",
            };
            notes.lost(&at, "a static pod runs nothing on the host", remedy);
        }
    }
}

/// `/bin/rm -f /run/web.ctr-id`, as old versions of podman write it.
fn is_removal_of_identifier(words: &Words) -> bool {
    let is_remove = words.first().is_some_and(|(word, _)| word.ends_with("/rm"));
    let files: Vec<&str> = words
        .iter()
        .skip(1)
        .map(|(word, _)| word.as_str())
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_identifier = |file: &&str| {
        [".ctr-id", ".pod-id", "-pid", ".pid", ".cid"].iter().any(|end| file.ends_with(end))
    };
    is_remove && !files.is_empty() && files.iter().all(is_identifier)
}
