//! How results and errors look. stdout is data, stderr is for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::host::service::unix_seconds;
use crate::phase::Phase;
use crate::plan::Step;
use crate::reconcile::Survey;
use crate::status::{Item, Service, State, Status};

/// The `schema` value of this build's `plan --output json`.
const PLAN_SCHEMA: u32 = 1;
/// So many hex digits of a digest are shown to people.
const DIGEST_DIGITS: usize = 12;

/// Prints data. A reader that has had enough is no failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        printed => printed,
    }
}

/// Prints an error with its causes and the next step.
pub(crate) fn error(error: &anyhow::Error, hint: Option<&str>) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    eprintln!("error: {}", causes.join(": "));
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

/// Prints a warning with its next step.
pub(crate) fn warning(message: &str, hint: &str) {
    eprintln!("warning: {message}\nhint: {hint}");
}

/// The document that `basalt-agent plan --output json` prints.
#[derive(Serialize)]
struct PlanDocument<'a> {
    /// Form of this document; always [`PLAN_SCHEMA`].
    schema: u32,
    /// Where the node stands.
    phase: Phase,
    /// In the order in which they would be carried out.
    steps: &'a [Step],
}

/// The plan for programs.
pub(crate) fn plan_json(survey: &Survey) -> String {
    let phase = Phase::of(&survey.decision, &survey.plan, &[]);
    json(&PlanDocument { schema: PLAN_SCHEMA, phase, steps: &survey.plan.steps })
}

/// The plan for people: one line for each step, nothing when there is none.
pub(crate) fn plan_text(survey: &Survey) -> String {
    survey.plan.steps.iter().map(|step| format!("{step}\n")).collect()
}

/// The status for programs.
pub(crate) fn status_json(status: &Status) -> String {
    json(status)
}

/// The status for programs that read line by line.
pub(crate) fn status_json_line(status: &Status) -> String {
    let mut text = serde_json::to_string(status).expect("a status has string keys only");
    text.push('\n');
    text
}

/// The status for people.
pub(crate) fn status_table(status: &Status) -> String {
    let mut text = String::new();
    if let (Some(node), Some(cluster)) = (&status.node, &status.cluster) {
        let _ = writeln!(text, "node {node} of cluster {cluster}");
    }
    let _ = writeln!(text, "phase    {}", status.summary);
    let _ = writeln!(text, "service  {}\n", service_line(&status.service, unix_seconds()));
    text.push_str(&table(&status.items));
    text
}

/// The status on a terminal that shows the one before it.
pub(crate) fn redrawn(status: &Status) -> String {
    // Home, then clear to the end: less flicker than clearing first.
    format!("\x1b[H\x1b[J{}", status_table(status))
}

/// One line for each item that is new, has changed or is gone, and for a new phase.
pub(crate) fn changed_lines(before: Option<&Status>, after: &Status) -> String {
    let mut text = String::new();
    if before.is_none_or(|before| before.summary != after.summary) {
        let _ = writeln!(text, "phase: {}", after.summary);
    }
    let known: BTreeSet<&Item> = before.iter().flat_map(|before| &before.items).collect();
    for item in after.items.iter().filter(|item| !known.contains(item)) {
        let _ = writeln!(text, "{}", line(item));
    }
    let gone = |item: &&&Item| {
        !after.items.iter().any(|other| (other.kind, &other.name) == (item.kind, &item.name))
    };
    for item in known.iter().filter(gone) {
        let _ = writeln!(text, "{} {}: gone", word(&item.kind), item.name);
    }
    text
}

/// One line for each item, with what to do.
pub(crate) fn check_lines<'a>(items: impl IntoIterator<Item = &'a Item>) -> String {
    items.into_iter().map(|item| line(item) + "\n").collect()
}

fn line(item: &Item) -> String {
    let mut line = format!("{} {}: {}", word(&item.kind), item.name, word(&item.state));
    if let Some(reason) = &item.reason {
        let _ = write!(line, ", {reason}");
    }
    if let (Some(hint), true) = (&item.hint, item.state != State::Ok) {
        let _ = write!(line, " (hint: {hint})");
    }
    line
}

fn service_line(service: &Service, now: u64) -> String {
    let ago = |then: u64| format!("{} s ago", now.saturating_sub(then));
    match (service.running, &service.report) {
        (None, _) => "cannot be found out".to_owned(),
        (Some(false), _) => "not running".to_owned(),
        (Some(true), None) => "starting".to_owned(),
        (Some(true), Some(report)) => format!(
            "running, process {}, started {}, last round {}",
            report.pid,
            ago(report.started_unix_seconds),
            ago(report.last_round_unix_seconds)
        ),
    }
}

fn table(items: &[Item]) -> String {
    let header = ["KIND", "NAME", "STATE", "WANTED", "SEEN"].map(str::to_owned);
    let row = |item: &Item| {
        [
            word(&item.kind),
            item.name.clone(),
            word(&item.state),
            shortened(&item.wanted),
            shortened(&item.seen),
        ]
    };
    let rows: Vec<[String; 5]> = items.iter().map(row).collect();
    let mut widths = [0; 5];
    for row in rows.iter().chain([&header]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = print(&header);
    for (item, row) in items.iter().zip(&rows) {
        text.push_str(&print(row));
        for (title, note) in [("why", &item.reason), ("do", &item.hint)] {
            if let Some(note) = note {
                let _ = writeln!(text, "  {title}: {note}");
            }
        }
    }
    text
}

/// Shortens each digest in a text.
fn shortened(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        short.push_str("sha256:");
        short.push_str(&part[..digits.min(DIGEST_DIGITS)]);
        short.push_str(&part[digits..]);
    }
    short
}

/// An enum's name as JSON has it, so that people and programs read the same word.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("only enums without data are words, not {other:?}"),
    }
}

fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("documents have string keys only");
    text.push('\n');
    text
}
