//! What Butane adds to Ignition: short words that stand for several values.

mod boot_device;
pub(crate) mod fips;
mod grub;
mod mount_units;
mod nodes;
pub(crate) mod quadlets;
mod trees;

pub(crate) use grub::USER_CONFIG;

use crate::lower::{Context, sort};
use crate::merge::merge;
use crate::schema::config::CONFIG;
use crate::tree::{Origin, Tree};
use crate::version::Target;

/// Writes out the sugar of `written` into `config`, which was lowered from it.
pub(crate) fn expand(written: &Tree, config: Tree, context: &mut Context) -> Tree {
    let target = context.target;
    let config = below(mount_units::expand(written, target), config, target);
    let config = trees::expand(written, config, context);
    let config = quadlets::expand(written, config, context);
    let config = below(boot_device::expand(written, context), config, target);
    let mut config = below(grub::expand(written, target), config, target);
    grub::replace_append(&mut config, target);
    fips::add_cipher(written, &mut config, target);
    config
}

/// Merges a config that stands for sugar under the one that the person wrote: what they wrote wins.
fn below(sugar: Option<Tree>, config: Tree, target: &'static Target) -> Tree {
    match sugar {
        Some(sugar) => merge(sugar, config, &CONFIG, target, &mut Vec::new()),
        None => config,
    }
}

/// A config that is one list in one section.
fn section(origin: &Origin, section: &'static str, lists: Vec<(&'static str, Tree)>) -> Tree {
    let mut lists = Tree::map_at(origin, lists);
    sort(&mut lists);
    Tree::map_at(origin, vec![(section, lists)])
}
