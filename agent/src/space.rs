//! What `status` says of the space on a node's disk: nothing, as long as there is enough.

use crate::host::Host;
use crate::host::reserve::{DIRECTORY, Space};
use crate::status::{Item, Kind, State, Status};

const MEBIBYTE: u64 = 1 << 20;

/// Adds a row when there is too little space. A disk that cannot be asked is told of by others.
pub(crate) fn add_to(status: &mut Status, host: &Host) {
    let Ok(space) = Space::look(host) else { return };
    let Some(item) = item(space) else { return };
    status.fine &= !item.fails();
    status.items.push(item);
    status.items.sort();
}

fn item(space: Space) -> Option<Item> {
    let reason = match space.is_set_aside {
        _ if !space.is_short() => return None,
        true => "the disk is full; the space that is set aside is about to be given up",
        false => "the disk is nearly full; the space set aside for that is given up, or never was",
    };
    Some(Item {
        kind: Kind::Space,
        name: DIRECTORY.to_owned(),
        state: State::Error,
        wanted: "space".to_owned(),
        seen: format!("{} MiB free", space.free / MEBIBYTE),
        reason: Some(reason.to_owned()),
        hint: Some(
            "make room; pods stay, another generation is still taken, and space is set aside again by itself".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_short() {
        let text = |free: u64, is_set_aside| {
            let item = item(Space { free: free * MEBIBYTE, is_set_aside })?;
            assert!(item.fails());
            Some(format!("{}: {}", item.seen, item.reason.unwrap()))
        };
        assert_eq!(text(1000, true), None);
        assert_eq!(text(1000, false), None);
        assert_eq!(text(30, true), None);
        let full =
            "3 MiB free: the disk is full; the space that is set aside is about to be given up";
        assert_eq!(text(3, true).as_deref(), Some(full));
        let given_up = "30 MiB free: the disk is nearly full; the space set aside for that is given up, or never was";
        assert_eq!(text(30, false).as_deref(), Some(given_up));
    }
}
