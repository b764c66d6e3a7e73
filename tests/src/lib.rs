//! The lab: takes clusters and real programs, gives evidence; touches machines it made itself.
//!
//! Read [`peers`] first: how a test gets hold of a real program, and what happens when it is missing. [`needs`] is the
//! same for root, [`report`] what both write down for `cargo xtask test`, [`cache`] where everything is kept.
//! A node's life in the lab is then [`tree`] (a root tree of its own), [`ignition`] (the first boot's work on it) and
//! [`namespaces`] (systemd as pid 1 over it), with [`wait`] for every state that takes its time. [`pod_host`] gives it
//! containerd and a kubelet, [`images`] something for them to run, [`network`] a wire to others.
//! [`pod_change`] is what a change of its pods costs.
//! [`fleet`] is all of it at once: nodes from a `cluster.yaml`; [`virtual_address`] is what happens to them.

pub mod cache;
mod cgroup;
pub mod checkout;
pub mod command;
mod console;
pub mod dist;
pub mod fleet;
pub mod ignition;
pub mod images;
pub mod namespaces;
pub mod needs;
pub mod network;
pub mod peers;
pub mod pod_change;
pub mod pod_host;
pub mod programs;
pub mod report;
mod scratch;
pub mod tree;
pub mod virtual_address;
pub mod wait;
