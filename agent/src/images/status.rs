//! What `status` and `check` say about images: pure, but for [`add_to`] itself.

use super::bill::{self, Baked};
use super::report::{Report, Row, RowState};
use crate::host::Host;
use crate::status::{Item, Kind, State, Status};

/// The unit that sees to it.
const UNIT: &str = "basalt-images.service";

/// Adds a row for each image that is to be on the node.
pub(crate) fn add_to(status: &mut Status, host: &Host) {
    let items = match bill::read(host) {
        Ok(baked) => items(&baked, Report::read(host).as_ref()),
        Err(error) => {
            let text = error.to_string();
            let hint = "it is part of the operating system image: build that again";
            vec![item("image.json", State::Error, "unusable", Some(&text), Some(hint))]
        }
    };
    status.fine &= !items.iter().any(Item::fails);
    status.items.extend(items);
    status.items.sort();
}

fn items(baked: &[Baked], report: Option<&Report>) -> Vec<Item> {
    let rows = report.map(|report| report.images.as_slice()).unwrap_or_default();
    let is_of = |row: &Row, image: &Baked| {
        row.name == image.reference.name()
            && row.digest.as_deref() == Some(image.reference.digest())
    };
    let missing = baked.iter().filter(|image| !rows.iter().any(|row| is_of(row, image)));
    let unseen = missing.map(|image| {
        let reason = "nobody has looked for it since the boot";
        let hint = format!("`systemctl start {UNIT}`");
        item(image.reference.name(), State::Unknown, "unknown", Some(reason), Some(&hint))
    });
    rows.iter().map(row_item).chain(unseen).collect()
}

fn row_item(row: &Row) -> Item {
    match &row.state {
        RowState::Present | RowState::Imported => item(&row.name, State::Ok, "there", None, None),
        RowState::Failed { reason, hint } => {
            item(&row.name, State::Error, "missing", Some(reason), Some(hint))
        }
    }
}

fn item(name: &str, state: State, seen: &str, reason: Option<&str>, hint: Option<&str>) -> Item {
    Item {
        kind: Kind::Image,
        name: name.to_owned(),
        state,
        wanted: "in containerd, pinned".to_owned(),
        seen: seen.to_owned(),
        reason: reason.map(str::to_owned),
        hint: hint.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_has_a_row() {
        let hex = "1".repeat(64);
        let baked = |name: &str| Baked {
            reference: format!("r.example/{name}@sha256:{hex}").parse().unwrap(),
            sha256: hex.parse().unwrap(),
        };
        let images = [baked("a:1"), baked("b:1"), baked("c:1"), baked("d:1")];
        let failed = RowState::Failed { reason: "gone".into(), hint: "search".into() };
        let report = Report::new(vec![
            Row::of(&images[0], RowState::Present),
            Row::of(&images[1], RowState::Imported),
            Row::of(&images[2], failed),
            Row { name: "r.example/pause:1".into(), digest: None, state: RowState::Present },
        ]);
        let found: Vec<(String, State, bool)> = items(&images, Some(&report))
            .into_iter()
            .map(|item| (item.name.clone(), item.state, item.fails()))
            .collect();
        let row = |name: &str, state, fails| (format!("r.example/{name}"), state, fails);
        assert_eq!(
            found,
            [
                row("a:1", State::Ok, false),
                row("b:1", State::Ok, false),
                row("c:1", State::Error, true),
                row("pause:1", State::Ok, false),
                row("d:1", State::Unknown, false),
            ]
        );
        assert_eq!(items(&images, None).len(), 4);
        assert!(items(&[], None).is_empty());
    }
}
