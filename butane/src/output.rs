//! The Ignition config that comes out, and its JSON.

use std::io::{self, Write};

use ignition_config::Config;
use serde_json::Value as Json;

use crate::compile::Layout;
use crate::json;
use crate::schema::config::CONFIG;
use crate::tree::Tree;
use crate::version::{Spec, Target};

/// A compiled config: it has passed all rules.
#[derive(Clone, Debug)]
pub struct IgnitionConfig {
    tree: Tree,
    target: &'static Target,
}

impl IgnitionConfig {
    /// `tree` has Ignition's names and no broken values.
    pub(crate) fn new(tree: Tree, target: &'static Target) -> IgnitionConfig {
        IgnitionConfig { tree, target }
    }

    /// The config with Ignition's names, each value with its place.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The config as values of the `ignition-config` crate, for the specification it is written to; absent for an
    /// experimental one, which the crate does not know.
    pub fn typed(&self) -> Option<Config> {
        if self.target.spec == Spec::V3_7 {
            return None;
        }
        let (config, unused) = Config::parse_str(&self.to_json()).expect(
            "the tables hold what the specification has, and required fields are always set",
        );
        debug_assert!(unused.is_empty(), "{unused:?}");
        Some(config)
    }

    /// The version of the specification it is written to: `3.3.0`.
    pub fn version(&self) -> &'static str {
        self.target.spec.as_str()
    }

    /// The config as a tree of JSON values.
    pub(crate) fn to_value(&self) -> Json {
        serde_json::from_str(&self.to_json()).expect("what was printed is JSON")
    }

    /// JSON in one line, with a final newline: what a machine gets.
    pub fn to_json(&self) -> String {
        self.text(Layout::Compact)
    }

    /// JSON with two spaces of indentation and a final newline: what a person reviews.
    pub fn to_json_pretty(&self) -> String {
        self.text(Layout::Pretty)
    }

    /// Writes JSON with a final newline, in many small pieces.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, layout: Layout, out: &mut impl Write) -> io::Result<()> {
        json::print(&self.tree, &CONFIG, self.target, layout, out)
    }

    fn text(&self, layout: Layout) -> String {
        let mut text = Vec::new();
        self.write(layout, &mut text).expect("memory takes every byte");
        String::from_utf8(text).expect("texts of the tree are UTF-8")
    }
}
