//! The picture of the bundle, for people.

use std::fmt::Write as _;

use basalt_kstatus::Status;

use super::object::Key;
use super::preflight::{Change, Refusal};
use super::report::{Picture, State};

/// A picture that is older than this is said to be old.
const OLD_SECONDS: u64 = 60;

/// `basalt-agent bundle status`
pub(super) fn status(picture: &Picture, now: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("state", &format!("{}: {}", word(picture.state), picture.message));
    if let Some(wanted) = &picture.wanted {
        line("wanted", wanted);
    }
    if let Some(committed) = &picture.committed {
        line("committed", &format!("generation {committed}"));
    }
    if let Some(applying) = &picture.applying {
        let wave = picture.wave.as_ref().map(|wave| format!(", wave {wave}")).unwrap_or_default();
        line("applying", &format!("generation {applying}{wave}"));
    }
    if let Some(rejected) = &picture.rejected {
        line("given up", &format!("generation {}: {}", rejected.release, rejected.reason));
    }
    if let Some(holder) = &picture.holder {
        line("holder", holder);
    }
    if let Some(away) = &picture.away {
        let ago = picture.answered.map_or("never before".to_owned(), |answered| {
            format!("what follows is from {} s ago", now.saturating_sub(answered))
        });
        line("away", &format!("{away}; {ago}"));
    } else if now.saturating_sub(picture.taken) > OLD_SECONDS {
        line("old", &format!("this is from {} s ago", now.saturating_sub(picture.taken)));
    }
    if let Some(hint) = &picture.away_hint {
        let _ = writeln!(text, "  do: {hint}");
    }
    for problem in &picture.problems {
        let object = problem.object.as_ref().map(|it| format!("{it}: ")).unwrap_or_default();
        let _ = writeln!(text, "problem    {object}{}", problem.message);
        let notes = [("do", &problem.hint), ("event", &problem.event)];
        for (name, note) in
            notes.into_iter().filter_map(|(name, note)| Some((name, note.as_ref()?)))
        {
            let _ = writeln!(text, "  {name}: {note}");
        }
        for log in problem.log.iter().flat_map(|log| log.lines()) {
            let _ = writeln!(text, "  log: {log}");
        }
    }
    for it in &picture.contested {
        let _ = writeln!(text, "contested  {} {}: left to `{}`", it.key, it.field, it.manager);
    }
    if !picture.objects.is_empty() {
        text.push('\n');
        let rows = picture.objects.iter().map(|row| {
            let status = row.status.map_or("-".to_owned(), |status| status.to_string());
            [row.wave.clone(), row.key.to_string(), status, row.message.clone()]
        });
        let header = ["WAVE", "OBJECT", "STATUS", "SEEN"].map(str::to_owned);
        text.push_str(&table(std::iter::once(header).chain(rows).collect()));
    }
    text
}

/// `basalt-agent bundle plan`
pub(super) fn plan(changes: &[(Key, Change)], refusals: &[Refusal]) -> String {
    let mut text = String::new();
    let mut same = 0;
    for (key, change) in changes {
        let what = match change {
            Change::Same => {
                same += 1;
                continue;
            }
            Change::Create => "create".to_owned(),
            Change::Fields { fields } => format!("change {}", fields.join(" ")),
            Change::Later { reason } => format!("create later: {reason}"),
            Change::Prune => "prune".to_owned(),
            Change::Leave { reason } => format!("leave: {reason}"),
        };
        let _ = writeln!(text, "{key}: {what}");
    }
    let _ = writeln!(text, "{same} objects stay as they are");
    for refusal in refusals {
        let _ = writeln!(text, "refused: {refusal}\n  do: {}", refusal.hint());
    }
    text
}

/// Whether a script should take the bundle for well.
pub(super) fn is_well(picture: &Picture) -> bool {
    let is_current = |status: Option<Status>| status.is_none_or(|it| it == Status::Current);
    matches!(
        picture.state,
        State::None | State::Standby | State::Committed | State::HandedOver | State::Paused
    ) && picture.away.is_none()
        && picture.contested.is_empty()
        && picture.objects.iter().all(|row| is_current(row.status))
}

pub(super) fn word(state: State) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("only enums without data are words, not {other:?}"),
    }
}

fn table(rows: Vec<[String; 4]>) -> String {
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(print).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::inventory::tests::object;
    use super::super::inventory::{Contested, Release};
    use super::super::report::{Problem, Row};
    use super::*;

    fn picture() -> Picture {
        let row = |kind: &str, name: &str, status, message: &str| Row {
            key: object(kind, name, 0).key,
            wave: "30-operator".to_owned(),
            status: Some(status),
            message: message.to_owned(),
        };
        let release = |generation| Release {
            generation,
            reference: format!("registry.example/hello@sha256:{generation:064}"),
        };
        Picture {
            schema: 1,
            node: "n1".to_owned(),
            taken: 1000,
            answered: Some(1000),
            holder: Some("n1".to_owned()),
            state: State::Applying,
            message: "generation 4: wave 30-operator is not well yet".to_owned(),
            wanted: Some(release(4).reference),
            committed: Some(release(3)),
            applying: Some(release(4)),
            wave: Some("30-operator".to_owned()),
            problems: vec![Problem {
                object: Some("Deployment.apps hello/operator".to_owned()),
                message: "InProgress: 0 of 1 available".to_owned(),
                hint: None,
                event: Some("Failed: no such image".to_owned()),
                log: Some("line one\nline two".to_owned()),
            }],
            contested: vec![Contested {
                key: object("Deployment", "operator", 0).key,
                field: ".spec.replicas".to_owned(),
                manager: "hpa".to_owned(),
            }],
            objects: vec![
                row("ServiceAccount", "operator", Status::Current, "is there"),
                row("Deployment", "operator", Status::InProgress, "0 of 1 available"),
            ],
            ..Picture::default()
        }
    }

    fn check(picture: &Picture, now: u64, expected: Expect) {
        expected.assert_eq(&status(picture, now));
    }

    #[test]
    fn applying() {
        assert!(!is_well(&picture()));
        check(
            &picture(),
            1010,
            expect![[r#"
            state      applying: generation 4: wave 30-operator is not well yet
            wanted     registry.example/hello@sha256:0000000000000000000000000000000000000000000000000000000000000004
            committed  generation 3 (sha256:000000000000)
            applying   generation 4 (sha256:000000000000), wave 30-operator
            holder     n1
            problem    Deployment.apps hello/operator: InProgress: 0 of 1 available
              event: Failed: no such image
              log: line one
              log: line two
            contested  Deployment hello/operator .spec.replicas: left to `hpa`

            WAVE         OBJECT                         STATUS      SEEN
            30-operator  ServiceAccount hello/operator  Current     is there
            30-operator  Deployment hello/operator      InProgress  0 of 1 available
        "#]],
        );
    }

    #[test]
    fn away() {
        let picture = Picture {
            away: Some("the API server does not answer: refused".to_owned()),
            problems: Vec::new(),
            contested: Vec::new(),
            objects: Vec::new(),
            ..picture()
        };
        check(
            &picture,
            1100,
            expect![[r#"
            state      applying: generation 4: wave 30-operator is not well yet
            wanted     registry.example/hello@sha256:0000000000000000000000000000000000000000000000000000000000000004
            committed  generation 3 (sha256:000000000000)
            applying   generation 4 (sha256:000000000000), wave 30-operator
            holder     n1
            away       the API server does not answer: refused; what follows is from 100 s ago
        "#]],
        );
    }

    #[test]
    fn plans() {
        let key = |name: &str| object("ConfigMap", name, 0).key;
        let changes = [
            (key("a"), Change::Same),
            (key("b"), Change::Create),
            (key("c"), Change::Fields { fields: vec![".data.x".to_owned()] }),
            (key("d"), Change::Later { reason: "its kind is not defined yet".to_owned() }),
            (key("e"), Change::Prune),
        ];
        let refusal = Refusal::PruneShare { leaving: 4, all: 12, percent: 25 };
        expect![[r#"
            ConfigMap hello/b: create
            ConfigMap hello/c: change .data.x
            ConfigMap hello/d: create later: its kind is not defined yet
            ConfigMap hello/e: prune
            1 objects stay as they are
            refused: it would prune 4 of 12 objects, more than 25 %
              do: look at what is missing; if it is meant, raise `bundle.prune_percent`
        "#]]
        .assert_eq(&plan(&changes, &[refusal]));
    }
}
