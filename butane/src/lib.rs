//! Compiles Butane configs: takes Butane text, or a node, gives an Ignition config and findings; touches a folder
//! handed in.
//!
//! Read [`compile()`] first, whose stages are one module each: YAML becomes a tree by the tables of `schema` (`decode`),
//! Butane's names become Ignition's (`lower`, `resource`), short forms are written out (`sugar`), contents become data
//! URLs (`data`), and the result is held against Ignition's rules (`validate`). Every value of the tree knows where in
//! the text it comes from. [`compile_all`] merges several files and documents by Ignition's rules (`compose`, `merge`),
//! with [`variables`] put in. [`compile_node`] is the same for a [node](basalt_model::node::Node), whose Butane config
//! [`node`] writes, with people's own files merged in.
//! [`verify_units`] lets systemd look at the units of a compiled config: the only function that runs a program.

mod compile;
mod compose;
mod contents;
mod data;
mod decode;
pub mod describe;
mod filter;
mod json;
mod local;
mod lower;
mod machine_config;
mod merge;
pub mod node;
mod node_config;
mod output;
mod resource;
mod reverse;
mod schema;
pub mod size;
mod sugar;
mod tree;
mod unknown;
mod validate;
pub mod variables;
mod verify;
mod version;

pub use compile::{Compiled, Layout, Options, Output, Warnings, compile};
pub use compose::{Composed, Override, OverrideKind, Source, Statement, compile_all};
pub use node_config::{Addition, Extra, NodeConfig, compile_node};
pub use output::IgnitionConfig;
pub use reverse::{ReverseOptions, reverse};
pub use variables::{Readers, Values, ValuesFile};
pub use verify::{VerifyError, verify_units};
pub use version::targets;
