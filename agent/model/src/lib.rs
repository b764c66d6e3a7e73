//! The model of a Basalt cluster: takes YAML text, gives a cluster, its nodes and findings; touches nothing.
//!
//! Read [`node`] first (what the agent obeys).

pub mod names;
pub mod node;
