//! A standalone node joins a cluster and leaves it, and what it serves does not notice: the built agent on a machine with
//! the real kubelet, containerd, haproxy and keepalived, beside a real etcd, API server and Vault.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

mod bootstrap;
mod full_disk;
mod interrupted;
mod joining;
mod leaving;
mod node;
mod vault;
