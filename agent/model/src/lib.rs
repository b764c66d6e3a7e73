//! The model of a Basalt cluster: takes YAML text, gives a cluster, its nodes and findings; touches nothing.
//!
//! Read [`node`] first (what the agent obeys), then [`report`], [`yaml`] (text with places) and [`decode`] (text to
//! types).

pub mod cluster;
pub mod decode;
pub mod input;
pub mod names;
pub mod node;
pub mod report;
pub mod rules;
pub mod secret_value;
pub mod yaml;
