//! Whether the parts of a cluster fit together. Each file checks one part; every finding is made, none hides another.
//!
//! Also what was read in part is checked. So whoever reports that something is missing asks [`Report::is_whole`] first:
//! it may stand in what could not be read.

mod bundle;
mod folders;
mod haproxy;
mod image;
mod keepalived;
mod kubernetes;
mod machines;
mod pods;
mod ports;
mod reach;
mod roles;
mod texts;
mod trust;
mod vault;
mod vlans;

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::decode::Located;
use crate::input::ClusterInput;
use crate::report::{Place, Report};
use crate::secret_value::quoted;

/// Reports everything that does not fit together.
pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    texts::check(input, report);
    trust::check(input, report);
    roles::check(input, report);
    machines::check(input, report);
    haproxy::check(input, report);
    keepalived::check(input, report);
    vault::check(input, report);
    kubernetes::check(input, report);
    pods::check(input, report);
    bundle::check(input, report);
    folders::check(input, report);
    ports::check(input, report);
    image::check(input, report);
}

/// A value that has to be unique, with its place and path.
struct Item<'a> {
    key: String,
    place: Place,
    path: &'a str,
}

impl<'a> Item<'a> {
    fn of<T: Display>(located: &'a Located<T>) -> Item<'a> {
        Item { key: located.value.to_string(), place: located.place, path: &located.path }
    }
}

/// Reports each item whose key an earlier item has.
fn unique<'a>(what: &str, items: impl IntoIterator<Item = Item<'a>>, report: &mut Report) {
    let mut first: BTreeMap<String, Item<'a>> = BTreeMap::new();
    for item in items {
        match first.get(&item.key) {
            Some(earlier) => {
                let message = format!(
                    "{what} {} is already used in line {} ({})",
                    quoted(&item.key),
                    earlier.place.line,
                    earlier.path
                );
                report.error(item.place, item.path, message);
            }
            None => {
                first.insert(item.key.clone(), item);
            }
        }
    }
}
