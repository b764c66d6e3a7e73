//! How results and errors look. stdout is data, stderr is for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde::Serialize;

use crate::causes::chain;
use crate::hand_off::Foreseen;
use crate::host::service::{Waiting, unix_seconds};
use crate::images;
use crate::phase::Phase;
use crate::plan::Step;
use crate::reconcile::Survey;
use crate::status::{Item, Service, State, Status};

/// The `schema` value of this build's `plan --output json`.
const PLAN_SCHEMA: u32 = 1;
/// So many hex digits of a digest are shown to people.
const DIGEST_DIGITS: usize = 12;

/// Who read what was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// All of it was taken.
    Some,
    /// Nobody reads any more, as of the pipe in `… | head -1`.
    None,
}

/// Prints data. A reader that has had enough is no failure, and changes nothing about how the command ends.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn print(text: &str) -> anyhow::Result<Readers> {
    let mut stdout = io::stdout().lock();
    readers(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

fn readers(written: io::Result<()>) -> anyhow::Result<Readers> {
    match written {
        Ok(()) => Ok(Readers::Some),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Readers::None),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Prints an error with its causes and the next step.
pub(crate) fn error(error: &anyhow::Error, hint: Option<&str>) {
    let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    say(&format!("error: {}\n{hint}", chain(&**error)));
}

/// Prints a warning with its next step.
pub(crate) fn warning(message: &str, hint: &str) {
    say(&format!("warning: {message}\nhint: {hint}\n"));
}

/// Prints a line about how the work goes on.
pub(crate) fn progress(line: &str) {
    say(&format!("{line}\n"));
}

/// When nobody reads standard error any more, the exit status still says how it ended.
fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
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
    /// What would be done about the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    hand_off: Option<&'a Foreseen>,
}

/// The plan for programs.
pub(crate) fn plan_json(survey: &Survey, foreseen: &Foreseen) -> String {
    let phase = survey.phase(&[]);
    let hand_off = (*foreseen != Foreseen::default()).then_some(foreseen);
    json(&PlanDocument { schema: PLAN_SCHEMA, phase, steps: &survey.plan.steps, hand_off })
}

/// The plan for people: one line for each step, nothing when there is none.
/// Then the gates in front of the hand-off and its moves.
pub(crate) fn plan_text(survey: &Survey, foreseen: &Foreseen) -> String {
    let steps = survey.plan.steps.iter().map(|step| format!("{step}\n"));
    let gates = foreseen.gates.iter().map(|gate| format!("{gate}\n"));
    let moves = foreseen.moves.iter().map(|it| format!("{it}\n"));
    let then = foreseen.then.iter().map(|then| format!("{then}\n"));
    steps.chain(gates).chain(moves).chain(then).collect()
}

/// What became of baked-in images, for programs.
pub(crate) fn images_json(report: &images::Report) -> String {
    json(report)
}

/// What became of baked-in images, for people: one line for each that was not there.
pub(crate) fn images_text(report: &images::Report) -> String {
    let mut text = String::new();
    for row in &report.images {
        let name = &row.name;
        let _ = match &row.state {
            images::RowState::Present => Ok(()),
            images::RowState::Imported => writeln!(text, "{name}: imported"),
            images::RowState::Failed { reason, hint } => {
                writeln!(text, "{name}: missing: {reason}\n  hint: {hint}")
            }
        };
    }
    text
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

/// The status for people. `now` is in seconds since the Unix epoch.
pub(crate) fn status_table(status: &Status, now: u64) -> String {
    let mut text = String::new();
    if let (Some(node), Some(cluster)) = (&status.node, &status.cluster) {
        let _ = writeln!(text, "node {node} of cluster {cluster}");
    }
    let _ = writeln!(text, "phase    {}", status.summary);
    let _ = writeln!(text, "service  {}", service_line(&status.service, now));
    if let Some(waiting) = status.service.report.as_ref().and_then(|report| report.waiting.as_ref())
    {
        let Waiting { path, left, since_unix_seconds } = waiting;
        let seconds = now.saturating_sub(*since_unix_seconds);
        let _ = writeln!(text, "waiting  {seconds} s for the end of {path}: {left}");
    }
    text.push('\n');
    let generations = status.generations.lines(now);
    if !generations.is_empty() {
        let _ = writeln!(text, "{generations}");
    }
    text.push_str(&table(&status.items));
    text
}

/// The status on a terminal that shows the one before it.
pub(crate) fn redrawn(status: &Status) -> String {
    // Home, then clear to the end: less flicker than clearing first.
    format!("\x1b[H\x1b[J{}", status_table(status, unix_seconds()))
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

pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("documents have string keys only");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::apply::{Failure, apply_all};
    use crate::generation::PodSet;
    use crate::host::Host;
    use crate::host::look::sha256;
    use crate::host::service::{ServiceReport, ServiceSeen};
    use crate::host::systemd::UnitSeen;
    use crate::probe::Evidence;
    use crate::reconcile::{self, Survey};
    use crate::status::compose;
    use crate::testing::{node_json, scratch_host};

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
        assert_eq!(readers(Ok(())).unwrap(), Readers::Some);
        assert_eq!(readers(Err(ErrorKind::BrokenPipe.into())).unwrap(), Readers::None);
        let error = readers(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(error.to_string(), "cannot write to standard output");
    }

    fn write(host: &Host, path: &str, text: &str) {
        let path = host.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn survey(host: &Host) -> Survey {
        reconcile::survey(host, &Evidence::default())
    }

    /// A generation is good once it is written.
    fn without_proof(host: &Host) {
        let text = r#"{"generations": {"proof": "none"}}"#;
        write(host, "/etc/basalt/agent.conf.d/50-no-proof.json", text);
    }

    fn converge(host: &Host) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let steps = survey(host).plan.steps;
        assert_eq!(runtime.block_on(apply_all(&steps, host, async || false)).failures, []);
    }

    fn running(failures: Vec<Failure>) -> ServiceSeen {
        let report = ServiceReport {
            pid: 123,
            started_unix_seconds: 1000,
            last_round_unix_seconds: 1055,
            failures,
            ..ServiceReport::default()
        };
        ServiceSeen::Running { pid: 123, report: Some(Box::new(report)) }
    }

    #[track_caller]
    fn check(host: &Host, service: ServiceSeen, units: &[(&str, UnitSeen)], expected: Expect) {
        let status = compose(&survey(host), service, units);
        let table = status_table(&status, 1060);
        let text =
            format!("{table}\ncheck:\n{}", check_lines(status.items.iter().filter(|i| i.fails())));
        expected.assert_eq(&masked(&text));
    }

    /// The digests of the node and of its pods change with every field it gets.
    fn masked(text: &str) -> String {
        let digest = sha256(node_json(4, "lab").as_bytes());
        let set = PodSet::new(4, node_json(4, "lab"), Vec::new()).id;
        let text = text.replace(&set.digest, "SET").replace(&set.name(), "4-SET");
        text.replace(&digest, "NODE").replace(&digest[..DIGEST_DIGITS], "NODE")
    }

    fn active() -> UnitSeen {
        UnitSeen::State { active: "active".into(), sub: "running".into() }
    }

    #[test]
    fn a_serving_node() {
        let (_keep, host) = scratch_host();
        without_proof(&host);
        write(&host, "/etc/basalt/node.json", &node_json(4, "lab"));
        converge(&host);
        let units = [
            ("containerd.service", UnitSeen::Unknown("no system bus".into())),
            ("kubelet.service", active()),
        ];
        check(
            &host,
            running(vec![]),
            &units,
            expect![[r#"
                node n1 of cluster lab
                phase    serving generation 4
                service  running, process 123, started 60 s ago, last round 5 s ago

                committed  4-SET

                KIND    NAME                         STATE    WANTED        SEEN
                agent   basalt-agent.service         ok       running       running
                node    node.json                    ok       generation 4  generation 4, sha256:NODE
                ledger  /var/lib/basalt/ledger.json  ok       readable      readable
                unit    containerd.service           unknown  active        unknown
                  why: no system bus
                unit    kubelet.service              ok       active        active (running)

                check:
            "#]],
        );
    }

    #[test]
    fn a_node_with_troubles() {
        let (_keep, host) = scratch_host();
        without_proof(&host);
        write(&host, "/etc/basalt/node.json", &node_json(4, "lab"));
        converge(&host);
        write(&host, "/etc/basalt/node.json", "{\n  nope");
        write(&host, "/etc/kubernetes/manifests/x.yaml", "metadata: {name: x}");
        write(&host, "/var/lib/basalt/ledger.json.broken", "");
        write(&host, "/etc/basalt/agent.conf.d/a.json", "{\n  \"log\": 1\n}");
        std::fs::remove_dir_all(host.path("/etc/kubernetes/manifests")).unwrap();
        write(&host, "/etc/kubernetes/manifests", "in the way");
        let failure = Failure {
            path: "/etc/kubernetes/manifests".into(),
            message: "cannot make directory /etc/kubernetes/manifests: File exists".into(),
            hint: Some("something else is in its place: move it away".into()),
        };
        let stale =
            Failure { path: "/long/gone".into(), message: "was repaired".into(), hint: None };
        let dead = UnitSeen::State { active: "inactive".into(), sub: "dead".into() };
        let units = [("containerd.service", UnitSeen::NotFound), ("kubelet.service", dead)];
        check(
            &host,
            running(vec![failure, stale]),
            &units,
            expect![[r#"
                node n1 of cluster lab
                phase    keeping generation 4: /etc/basalt/node.json:2:3: key must be a string
                service  running, process 123, started 60 s ago, last round 5 s ago

                committed  4-SET

                KIND       NAME                             STATE  WANTED           SEEN
                agent      /etc/basalt/agent.conf.d/a.json  error  usable settings  left out
                  why: /etc/basalt/agent.conf.d/a.json:2:10: invalid type: integer `1`, expected an object
                  do: correct the file; the agent reads it again by itself
                agent      basalt-agent.service             ok     running          running
                node       node.json                        error  generation 4     generation 4, sha256:NODE
                  why: /etc/basalt/node.json:2:3: key must be a string
                  do: write a valid `/etc/basalt/node.json`, made by `cargo xtask build-image`
                ledger     /var/lib/basalt/ledger.json      ok     readable         readable
                  why: an earlier one was broken and lies at /var/lib/basalt/ledger.json.broken; files that only it named are reported as strangers
                  do: look at the strangers, then remove that file
                directory  /etc/kubernetes/manifests        error  a directory      different
                  why: cannot make directory /etc/kubernetes/manifests: File exists
                  do: something else is in its place: move it away
                unit       containerd.service               error  active           no such unit
                  why: systemd has no unit file of this name
                  do: the image of the node has to bring it
                unit       kubelet.service                  error  active           inactive (dead)
                  why: it does not run
                  do: `systemctl status kubelet.service`, then `journalctl -u kubelet.service`

                check:
                agent /etc/basalt/agent.conf.d/a.json: error, /etc/basalt/agent.conf.d/a.json:2:10: invalid type: integer `1`, expected an object (hint: correct the file; the agent reads it again by itself)
                node node.json: error, /etc/basalt/node.json:2:3: key must be a string (hint: write a valid `/etc/basalt/node.json`, made by `cargo xtask build-image`)
                directory /etc/kubernetes/manifests: error, cannot make directory /etc/kubernetes/manifests: File exists (hint: something else is in its place: move it away)
                unit containerd.service: error, systemd has no unit file of this name (hint: the image of the node has to bring it)
                unit kubelet.service: error, it does not run (hint: `systemctl status kubelet.service`, then `journalctl -u kubelet.service`)
            "#]],
        );
    }

    #[test]
    fn a_node_before_its_first_round() {
        let (_keep, host) = scratch_host();
        write(&host, "/etc/basalt/node.json", &node_json(4, "lab"));
        check(
            &host,
            ServiceSeen::Stopped,
            &[("kubelet.service", active())],
            expect![[r#"
                node n1 of cluster lab
                phase    converging to generation 4, 5 steps left
                service  not running

                KIND       NAME                         STATE    WANTED        SEEN
                agent      basalt-agent.service         error    running       not running
                  why: no process holds its lock
                  do: `systemctl start basalt-agent`, then `journalctl -u basalt-agent`
                node       node.json                    pending  generation 4  nothing accepted yet
                  why: it is not accepted yet
                ledger     /var/lib/basalt/ledger.json  pending  readable      missing
                directory  /etc/kubernetes/manifests    pending  a directory   missing
                  why: new
                  do: a running agent puts it right within seconds; see `basalt-agent plan`
                directory  /var/lib/basalt              pending  a directory   missing
                  why: new
                  do: a running agent puts it right within seconds; see `basalt-agent plan`
                unit       kubelet.service              ok       active        active (running)

                check:
                agent basalt-agent.service: error, no process holds its lock (hint: `systemctl start basalt-agent`, then `journalctl -u basalt-agent`)
                node node.json: pending, it is not accepted yet
                ledger /var/lib/basalt/ledger.json: pending
                directory /etc/kubernetes/manifests: pending, new (hint: a running agent puts it right within seconds; see `basalt-agent plan`)
                directory /var/lib/basalt: pending, new (hint: a running agent puts it right within seconds; see `basalt-agent plan`)
            "#]],
        );
        let plan = survey(&host);
        expect![[r#"
            make directory /var/lib/basalt: new
            accept generation 4
            keep a copy as /var/lib/basalt/generations/4-SET
            begin the trial of generation 4-SET
            make directory /etc/kubernetes/manifests: new
        "#]]
        .assert_eq(&masked(&plan_text(&plan, &Foreseen::default())));
        expect![[r#"
            {
              "schema": 1,
              "phase": {
                "name": "converging",
                "generation": 4,
                "steps": 5
              },
              "steps": [
                {
                  "action": "ensure-directory",
                  "path": "/var/lib/basalt",
                  "role": "state",
                  "reason": {
                    "kind": "new"
                  }
                },
                {
                  "action": "keep-node",
                  "path": "/var/lib/basalt/accepted-node.json",
                  "generation": 4,
                  "sha256": "NODE"
                },
                {
                  "action": "keep-generation",
                  "path": "/var/lib/basalt/generations/4-SET"
                },
                {
                  "action": "write-ledger",
                  "path": "/var/lib/basalt/ledger.json",
                  "when": "ahead",
                  "turn": "begin",
                  "set": {
                    "generation": 4,
                    "digest": "SET"
                  }
                },
                {
                  "action": "ensure-directory",
                  "path": "/etc/kubernetes/manifests",
                  "role": "manifests",
                  "reason": {
                    "kind": "new"
                  }
                }
              ]
            }
        "#]]
        .assert_eq(&masked(&plan_json(&plan, &Foreseen::default())));
    }

    #[test]
    fn changes_are_lines() {
        let (_keep, host) = scratch_host();
        let status = |service| compose(&survey(&host), service, &[]);
        let before = status(ServiceSeen::Stopped);
        write(&host, "/etc/basalt/node.json", &node_json(4, "lab"));
        let after = status(running(vec![]));
        expect![[r#"
            phase: converging to generation 4, 5 steps left
            agent basalt-agent.service: ok
            node node.json: pending, it is not accepted yet
            ledger /var/lib/basalt/ledger.json: pending
            directory /etc/kubernetes/manifests: pending, new (hint: a running agent puts it right within seconds; see `basalt-agent plan`)
            directory /var/lib/basalt: pending, new (hint: a running agent puts it right within seconds; see `basalt-agent plan`)
        "#]].assert_eq(&masked(&changed_lines(Some(&before), &after)));
        assert_eq!(changed_lines(Some(&after), &after), "");
    }

    #[test]
    fn digests_are_shortened_for_people_only() {
        assert_eq!(
            shortened(&format!("a, sha256:{}, b", "0".repeat(64))),
            "a, sha256:000000000000, b"
        );
        assert_eq!(shortened("sha256:"), "sha256:");
    }
}
