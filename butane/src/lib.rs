//! Compiles Butane configs: takes Butane text, or a node, gives an Ignition config and findings; touches a folder
//! handed in.
//!
//! Read [`compile()`] first, whose stages are one module each: YAML becomes a tree by the tables of `schema` (`decode`),
//! Butane's names become Ignition's and contents become data URLs (`lower`, `resource`), short forms are written out
//! (`sugar`), and the result is held against Ignition's rules (`validate`). Every value of the tree knows where in the
//! text it comes from. [`compile_node`] is the same for a [node](basalt_model::node::Node), whose Butane config
//! [`node`] writes, with people's own files merged in (`merge`).

mod compile;
mod compose;
mod contents;
mod decode;
pub mod describe;
mod filter;
mod local;
mod lower;
mod machine_config;
mod merge;
pub mod node;
mod output;
mod resource;
mod reverse;
mod schema;
mod sugar;
mod tree;
mod validate;
mod version;

pub use compile::{Compiled, Layout, Options, Output, Warnings, compile};
pub use compose::{Extra, NodeConfig, compile_node};
pub use output::IgnitionConfig;
pub use reverse::{ReverseOptions, reverse};
pub use version::targets;
