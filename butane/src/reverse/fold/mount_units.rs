//! `with_mount_unit`, from units whose text a compiler made.

use super::{Config, Sugar};
use crate::lower::Context;
use crate::tree::{Findings, Tree, Value};

/// The devices of the file systems that are mounted by a unit which says just what the compiler would.
pub(super) fn guess(config: &Config) -> Vec<String> {
    let Some(storage) = config.plain.get("storage") else { return Vec::new() };
    let units = config.plain.get("systemd").map_or(&[][..], |systemd| systemd.items("units"));
    if units.is_empty() {
        return Vec::new();
    }
    let devices = storage.items("filesystems").iter().filter_map(|tree| tree.some_text("device"));
    devices
        .filter(|device| {
            unit(config, storage, device).is_some_and(|made| {
                units.iter().any(|unit| {
                    ["name", "contents"].iter().all(|name| unit.text(name) == made.text(name))
                })
            })
        })
        .map(str::to_owned)
        .collect()
}

/// The unit that the compiler would make for one file system.
fn unit(config: &Config, storage: &Tree, device: &str) -> Option<Tree> {
    // Whether the unit waits for the network depends on the encrypted volumes.
    let lists = ["filesystems", "luks"].map(|name| {
        let is_wanted = |item: &&Tree| name == "luks" || item.text("device") == Some(device);
        let items = storage.items(name).iter().filter(is_wanted).cloned().collect();
        (name, Tree { origin: storage.origin.clone(), value: Value::List(items) })
    });
    let storage = Tree::map_at(&storage.origin, lists.into());
    let config_of_one = Tree::map_at(&storage.origin.clone(), vec![("storage", storage)]);
    let mut written = super::raise(&config_of_one, &crate::schema::config::CONFIG, config.target());
    let sugar = Sugar { mounted: vec![device.to_owned()], ..Sugar::default() };
    config.name(&sugar, &mut written);
    let nothing =
        |tree: &Tree, _: &'static _, _: &mut Context| Tree::map_at(&tree.origin, Vec::new());
    let made = config.expanded(&written, nothing, &mut Findings::new(""));
    made.get("systemd")?.items("units").first().cloned()
}
