//! The node's certificates: takes what the node wants and what Vault signs, gives folders with keys and certificates that
//! are always whole.
//!
//! Reading order: [`key`] and [`answer`] (what is asked, and whether the answer is that), [`schedule`] (when), [`record`] and
//! [`layout`] (what is kept, and the files it becomes), [`decide`] (what to do next); all pure but for the record's own file.
//! Then [`directory`] (files that change all at once), [`outside`] (Vault, consumers, clock) with the real [`world`], [`engine`]
//! around them, [`service`] with its turns, and [`report`], [`status`] and [`commands`] with what is said about it.

mod adopt;
mod announce;
mod answer;
mod commands;
mod decide;
mod directory;
mod engine;
#[cfg(test)]
mod engine_tests;
mod key;
#[cfg(test)]
mod kills;
mod layout;
mod leaf;
mod outside;
mod pauses;
mod placeholder;
mod record;
mod report;
mod rotate;
mod rows;
mod schedule;
mod secret;
mod service;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod trust;
mod world;

use basalt_model::node::{Node, Vault};

pub(crate) use self::commands::{certs, rotate};
pub(crate) use self::placeholder::ensure_all as ensure_placeholders;
pub(crate) use self::report::{Report, Row, SecretRow, Standing};
pub(crate) use self::service::run;
pub(crate) use self::status::add_to;

fn vault_of(node: &Node) -> Option<&Vault> {
    node.vault.as_ref()
}
