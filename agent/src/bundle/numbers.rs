//! The picture of the bundle, as facts for monitoring.

use std::collections::BTreeMap;

use super::report::{Picture, State};
use super::show::word;
use crate::metrics::BundleFacts;

/// The facts; none where no bundle is applied.
pub(super) fn numbers(picture: &Picture) -> Option<BundleFacts> {
    if picture.state == State::None {
        return None;
    }
    let mut objects: BTreeMap<String, u64> = BTreeMap::new();
    for status in picture.objects.iter().filter_map(|row| row.status) {
        *objects.entry(status.to_string()).or_default() += 1;
    }
    Some(BundleFacts {
        state: word(picture.state),
        is_holder: picture.is_holder,
        generation: picture.committed.as_ref().map(|release| release.generation),
        took_seconds: picture.took_seconds,
        succeeded_at: picture.succeeded,
        answered_at: picture.answered,
        objects,
        applied: picture.counts.applied,
        failed: picture.counts.failed,
        pruned: picture.counts.pruned,
        contested: picture.contested.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use basalt_kstatus::Status;

    use super::super::inventory::tests::object;
    use super::super::report::Row;
    use super::*;

    #[test]
    fn objects_are_counted_by_how_far_they_are() {
        assert_eq!(numbers(&Picture::default()), None);
        let row = |name: &str, status| Row {
            key: object("ConfigMap", name, 0).key,
            wave: String::new(),
            status,
            message: String::new(),
        };
        let picture = Picture {
            state: State::Degraded,
            objects: vec![
                row("a", Some(Status::Current)),
                row("b", Some(Status::Current)),
                row("c", Some(Status::InProgress)),
                row("d", None),
            ],
            ..Picture::default()
        };
        let facts = numbers(&picture).unwrap();
        assert_eq!(facts.state, "degraded");
        let counts: Vec<_> =
            facts.objects.iter().map(|(it, count)| (it.as_str(), *count)).collect();
        assert_eq!(counts, [("Current", 2), ("InProgress", 1)]);
    }
}
