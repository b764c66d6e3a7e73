//! What Butane adds to Ignition: short words that stand for several values.

mod boot_device;
mod mount_units;
mod trees;

use crate::lower::Context;
use crate::merge::merge;
use crate::schema::config::CONFIG;
use crate::tree::{Origin, Tree};

/// Writes out the sugar of `written` into `config`, which was lowered from it.
pub(crate) fn expand(written: &Tree, config: Tree, context: &mut Context) -> Tree {
    let config = below(mount_units::expand(written), config);
    let config = trees::expand(written, config, context);
    below(boot_device::expand(written, context), config)
}

/// Merges a config that stands for sugar under the one that the person wrote: what they wrote wins.
fn below(sugar: Option<Tree>, config: Tree) -> Tree {
    match sugar {
        Some(sugar) => merge(sugar, config, &CONFIG, &mut Vec::new()),
        None => config,
    }
}

/// A config that is one list in one section.
fn section(origin: &Origin, section: &'static str, lists: Vec<(&'static str, Tree)>) -> Tree {
    Tree::map_at(origin, vec![(section, Tree::map_at(origin, lists))])
}
