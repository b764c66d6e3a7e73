//! The systemd service on every node: takes a node and its host, gives the host, changed.
fn main() {}
