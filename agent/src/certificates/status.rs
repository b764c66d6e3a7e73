//! What `status` and `check` say about certificates, secret files and Vault, and what `certs` prints. Pure.

use super::report::{Report, Row, SecretRow, Standing};
use super::time::{UnixSeconds, moment, span};
use crate::host::service::unix_seconds;
use crate::status::{Item, Kind, State, Status};
use crate::vault::VaultReport;

/// Adds a row for each certificate, secret file and server of Vault that the service reports about.
pub(crate) fn add_to(status: &mut Status) {
    let report = status.service.report.as_ref().map(|report| &report.evidence.reports.certificates);
    let Some(report) = report else { return };
    let items = items(report, unix_seconds().cast_signed());
    status.fine &= !items.iter().any(Item::fails);
    status.items.extend(items);
    status.items.sort();
}

fn items(report: &Report, now: UnixSeconds) -> Vec<Item> {
    let certificates = report.certificates.iter().map(|row| certificate(row, now));
    let secrets = report.secrets.iter().map(secret);
    let vault = report.vault.iter().flat_map(vault);
    certificates.chain(secrets).chain(vault).collect()
}

fn certificate(row: &Row, now: UnixSeconds) -> Item {
    let failed = row.last.as_ref().filter(|last| !last.good);
    let is_over = |leaf: &super::leaf::Leaf| row.clock_is_sure && leaf.not_after <= now;
    let seen = match (&row.leaf, row.standing) {
        (_, Standing::Placeholder) => "a self-signed placeholder".to_owned(),
        (None, _) | (_, Standing::Missing) => "none".to_owned(),
        (Some(leaf), _) if is_over(leaf) => format!("ran out at {}", moment(leaf.not_after)),
        (Some(leaf), _) if row.clock_is_sure => {
            format!(
                "{} until {}, {} left",
                leaf.serial,
                moment(leaf.not_after),
                span(leaf.not_after - now)
            )
        }
        (Some(leaf), _) => format!("{} until {}", leaf.serial, moment(leaf.not_after)),
    };
    let state = match (row.standing, failed) {
        (Standing::Missing | Standing::Placeholder, None) => State::Pending,
        (Standing::Unproved, None) => State::Pending,
        (Standing::InUse, None) if row.leaf.as_ref().is_some_and(is_over) => State::Pending,
        (Standing::InUse, None) => State::Ok,
        (_, Some(_)) => State::Error,
    };
    let waiting = row.next.as_ref().map(|next| {
        format!("{} is signed, and taken into use at {}", next.serial, moment(next.activate_at))
    });
    let unsure = (!row.clock_is_sure && row.leaf.is_some()).then(|| {
        "whether it is in its time cannot be told: the clock is not known to be right".to_owned()
    });
    let left = row.leaf.as_ref().filter(|_| row.clock_is_sure && row.standing == Standing::InUse);
    let countdown = failed.map(|last| match left {
        Some(leaf) => format!("{}; it runs out in {}", last.text, span(leaf.not_after - now)),
        None => last.text.clone(),
    });
    let wait = (state == State::Pending).then(|| "Vault has not signed one yet".to_owned());
    Item {
        kind: Kind::Certificate,
        name: row.name.clone(),
        state,
        wanted: "signed, in use and in time".to_owned(),
        seen,
        reason: countdown.or(waiting).or(row.remark.clone()).or(unsure).or(wait),
        hint: failed.and_then(|last| last.hint.clone()),
    }
}

fn secret(row: &SecretRow) -> Item {
    let state = match (&row.error, row.is_there) {
        (Some(_), _) => State::Error,
        (None, true) => State::Ok,
        (None, false) => State::Pending,
    };
    let untold = (!row.untold.is_empty()).then(|| row.untold.join("; "));
    Item {
        kind: Kind::SecretFile,
        name: row.path.clone(),
        state,
        wanted: "as in Vault".to_owned(),
        seen: if row.is_there { "written" } else { "not looked at yet" }.to_owned(),
        reason: row.error.clone().or(untold),
        hint: row.hint.clone(),
    }
}

fn vault(report: &VaultReport) -> Vec<Item> {
    let is_well = report.error.is_none();
    let mut items: Vec<Item> = (report.servers.iter())
        .map(|server| {
            let is_good = ["active", "performance_standby", "standby", "unknown"]
                .contains(&server.state.as_str());
            Item {
                kind: Kind::Vault,
                name: server.address.clone(),
                // One that is away harms nothing while another one answers.
                state: match (is_good, is_well) {
                    (true, _) => State::Ok,
                    (false, true) => State::Unknown,
                    (false, false) => State::Error,
                },
                wanted: "an answer".to_owned(),
                seen: server.state.replace('_', " "),
                reason: server.detail.clone(),
                hint: None,
            }
        })
        .collect();
    if let Some(error) = &report.error {
        items.push(Item {
            kind: Kind::Vault,
            name: "session".to_owned(),
            state: State::Error,
            wanted: "an answer".to_owned(),
            seen: "failing".to_owned(),
            reason: Some(error.clone()),
            hint: report.hint.clone(),
        });
    }
    let identity = report.identity.iter().flat_map(|identity| &identity.warnings);
    items.extend(identity.enumerate().map(|(number, warning)| Item {
        kind: Kind::Vault,
        name: format!("identity {}", number + 1),
        state: State::Error,
        wanted: "nothing to worry about".to_owned(),
        seen: "a warning".to_owned(),
        reason: Some(warning.clone()),
        hint: None,
    }));
    items
}

/// The table that `certs` prints.
pub(crate) fn table(report: &Report, now: UnixSeconds) -> String {
    if report.certificates.is_empty() {
        return "the node asks for no certificates\n".to_owned();
    }
    report.certificates.iter().map(|row| lines(row, now)).collect()
}

fn lines(row: &Row, now: UnixSeconds) -> String {
    let standing = match row.standing {
        Standing::Missing => "not there yet",
        Standing::Placeholder => "a placeholder, self-signed, until Vault signs one",
        Standing::Unproved => "laid out, its consumers have not shown it yet",
        Standing::InUse => "in use",
    };
    let time = |at: UnixSeconds| match row.clock_is_sure {
        true if at >= now => format!("{} (in {})", moment(at), span(at - now)),
        true => format!("{} ({} ago)", moment(at), span(now - at)),
        false => moment(at),
    };
    let mut fields: Vec<(&str, String)> = Vec::new();
    if let Some(leaf) = &row.leaf {
        let names: Vec<&str> = leaf.names.iter().map(String::as_str).collect();
        fields.push(("subject", leaf.subject.clone()));
        fields.push(("names", names.join(", ")));
        fields.push(("serial", leaf.serial.clone()));
        fields.push(("issuer", leaf.issuer.clone()));
        fields.push(("not after", time(leaf.not_after)));
    }
    fields.extend(row.renew_at.map(|at| ("renew at", time(at))));
    fields.extend(row.next.as_ref().map(|next| {
        ("next", format!("{}, taken into use at {}", next.serial, time(next.activate_at)))
    }));
    fields.extend(row.remark.clone().map(|remark| ("remark", remark)));
    if let Some(last) = &row.last {
        let word = if last.good { "" } else { "failed: " };
        fields.push(("last", format!("{}: {word}{}", moment(last.unix_seconds), last.text)));
        fields.extend(last.hint.clone().map(|hint| ("hint", hint)));
    }
    let fields = fields.iter().map(|(name, value)| format!("  {name:<9} {value}\n"));
    format!("{}: {standing}\n{}", row.name, fields.collect::<String>())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::certificates::leaf::Leaf;
    use crate::certificates::report::Last;
    use crate::certificates::time::{DAY, HOUR};

    const NOW: UnixSeconds = 1_795_000_000;

    fn in_use() -> Row {
        Row {
            name: "ingress".to_owned(),
            directory: "/var/lib/basalt/certificates/ingress".to_owned(),
            standing: Standing::InUse,
            leaf: Some(Leaf {
                subject: "CN=ingress.lab.example".to_owned(),
                common_name: Some("ingress.lab.example".to_owned()),
                names: ["192.0.2.10", "ingress.lab.example"].map(str::to_owned).into(),
                serial: "0a:0b".to_owned(),
                issuer: "CN=Lab CA".to_owned(),
                not_before: NOW - 10 * DAY,
                not_after: NOW + 20 * DAY,
                placeholder: false,
            }),
            renew_at: Some(NOW + 3 * DAY),
            renew_by: Some(NOW + 5 * DAY),
            next: None,
            clock_is_sure: true,
            attempts: 1,
            failures: 0,
            last: Some(Last {
                unix_seconds: NOW - 10 * DAY,
                good: true,
                text: "in use: 0a:0b".to_owned(),
                hint: None,
                failures: 0,
            }),
            remark: None,
            trust: crate::trust::Progress::default(),
            rotation: None,
        }
    }

    fn failing() -> Row {
        let last = Last {
            unix_seconds: NOW - HOUR,
            good: false,
            text: "Vault is sealed".to_owned(),
            hint: Some("unseal it".to_owned()),
            failures: 3,
        };
        Row { last: Some(last), ..in_use() }
    }

    #[test]
    fn what_certs_prints() {
        let report = Report { certificates: vec![in_use(), failing()], ..Report::default() };
        expect![[r#"
            ingress: in use
              subject   CN=ingress.lab.example
              names     192.0.2.10, ingress.lab.example
              serial    0a:0b
              issuer    CN=Lab CA
              not after 2026-12-08T11:06:40Z (in 20 d 0 h)
              renew at  2026-11-21T11:06:40Z (in 3 d 0 h)
              last      2026-11-08T11:06:40Z: in use: 0a:0b
            ingress: in use
              subject   CN=ingress.lab.example
              names     192.0.2.10, ingress.lab.example
              serial    0a:0b
              issuer    CN=Lab CA
              not after 2026-12-08T11:06:40Z (in 20 d 0 h)
              renew at  2026-11-21T11:06:40Z (in 3 d 0 h)
              last      2026-11-18T10:06:40Z: failed: Vault is sealed
              hint      unseal it
        "#]]
        .assert_eq(&table(&report, NOW));
        assert_eq!(table(&Report::default(), NOW), "the node asks for no certificates\n");
    }

    #[test]
    fn what_status_says() {
        #[track_caller]
        fn check(row: &Row, now: UnixSeconds, state: State, seen: &str, reason: Option<&str>) {
            let item = certificate(row, now);
            assert_eq!(
                (item.state, item.seen.as_str(), item.reason.as_deref()),
                (state, seen, reason)
            );
        }
        let good = "0a:0b until 2026-12-08T11:06:40Z, 20 d 0 h left";
        check(&in_use(), NOW, State::Ok, good, None);
        let countdown = Some("Vault is sealed; it runs out in 20 d 0 h");
        check(&failing(), NOW, State::Error, good, countdown);
        let over = "ran out at 2026-12-08T11:06:40Z";
        check(
            &in_use(),
            NOW + 20 * DAY,
            State::Pending,
            over,
            Some("Vault has not signed one yet"),
        );
        // Nothing is called expired by a clock that may be wrong.
        let unsure = Row { clock_is_sure: false, ..in_use() };
        let seen = "0a:0b until 2026-12-08T11:06:40Z";
        let reason = "whether it is in its time cannot be told: the clock is not known to be right";
        check(&unsure, NOW + 400 * DAY, State::Ok, seen, Some(reason));
        let placeholder = Row { standing: Standing::Placeholder, last: None, ..in_use() };
        let wait = Some("Vault has not signed one yet");
        check(&placeholder, NOW, State::Pending, "a self-signed placeholder", wait);
    }
}
