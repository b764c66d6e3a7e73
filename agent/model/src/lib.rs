//! The model of a Basalt cluster: takes YAML text, gives a cluster, its nodes and findings; touches nothing.
//!
//! Read [`node`] first (what the agent obeys), then [`report`] and [`yaml`] (text with places).

pub mod names;
pub mod node;
pub mod report;
pub mod yaml;
