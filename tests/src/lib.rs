//! The lab: takes clusters and real programs, gives evidence; touches machines it made itself.
//!
//! Read [`peers`] first: how a test gets hold of a real program, and what happens when it is missing. [`needs`] is the
//! same for root, [`report`] what both write down for `cargo xtask test`, [`cache`] where everything is kept.
//! A node's life in the lab is then [`tree`] (a root tree of its own), [`ignition`] (the first boot's work on it) and
//! [`namespaces`] (systemd as pid 1 over it), with [`wait`] for every state that takes its time. [`pod_host`] gives it
//! containerd and a kubelet, [`images`] something for them to run, [`network`] a wire to others.
//! [`pod_change`] is what a change of its pods costs.
//! [`control_plane`] is a cluster to join, and [`authority`] signs for whoever takes part.
//! [`hand_off`] is a node that joins it.
//! [`fleet`] is all of it at once: nodes from a `cluster.yaml`; [`virtual_address`] is what happens to them, and
//! [`showcase`] the whole product on one machine, for people to look at.
//! [`vault_server`] is the Vault that they get certificates from, [`vault_node`] a node of it without a machine,
//! [`scratch_node`] less than that: a directory with the agent on it. [`secrets_hunt`] looks for what Vault told them where it
//! may not be. [`ports`] are for servers on loopback. [`visitors`] are those whom all of it is for, and count what they do not get.

pub mod authority;
pub mod cache;
mod cgroup;
pub mod checkout;
pub mod command;
mod console;
pub mod control_plane;
pub mod dist;
pub mod fleet;
pub mod hand_off;
pub mod ignition;
pub mod images;
pub mod namespaces;
pub mod needs;
pub mod network;
pub mod peers;
pub mod pod_change;
pub mod pod_host;
pub mod ports;
mod process;
pub mod programs;
pub mod registry;
pub mod report;
pub mod scratch;
pub mod scratch_node;
pub mod secrets_hunt;
pub mod showcase;
pub mod tree;
pub mod vault_node;
pub mod vault_server;
pub mod virtual_address;
pub mod visitors;
pub mod wait;
