//! Compiles Butane configs: takes Butane text, or a node, gives an Ignition config and findings; touches a folder
//! handed in.

pub mod node;
