//! What there is to say about one certificate, from what is kept of it. Pure.

use basalt_model::node::Certificate;

use super::decide::{activates_at, terms};
use super::record::Record;
use super::report::{Next, Row, Standing};
use super::schedule::{Place, Schedule};
use super::trust;

/// The row of a certificate. `known` is what Vault lists as issuers of its PKI.
pub(super) fn row(
    certificate: &Certificate,
    record: Option<&Record>,
    known: &[String],
    place: Place,
) -> Row {
    let leaf = record.and_then(|record| record.current.leaf().ok());
    let standing = match record {
        None => Standing::Missing,
        Some(record) if record.current.is_placeholder() => Standing::Placeholder,
        Some(record) if record.proved => Standing::InUse,
        Some(_) => Standing::Unproved,
    };
    let is_real = matches!(standing, Standing::InUse | Standing::Unproved);
    let terms = leaf.as_ref().filter(|_| is_real).map(|leaf| terms(certificate, leaf));
    let schedule = terms.map(|terms| Schedule::of(terms, place));
    let next = record.and_then(|record| {
        let leaf = record.next.as_ref()?.issued.leaf().ok()?;
        let activate_at = activates_at(record, certificate);
        Some(Next { serial: leaf.serial, not_after: leaf.not_after, activate_at })
    });
    Row {
        name: certificate.name.to_string(),
        directory: certificate.directory.to_string(),
        standing,
        leaf,
        renew_at: schedule.map(|it| it.renew_at),
        renew_by: schedule.map(|it| it.renew_by),
        next,
        clock_is_sure: false,
        attempts: 0,
        failures: 0,
        last: record.and_then(|record| record.last.clone()),
        remark: terms.and_then(|terms| terms.remark()),
        trust: record.map(|record| trust::progress(record, known)).unwrap_or_default(),
        rotation: None,
    }
}
