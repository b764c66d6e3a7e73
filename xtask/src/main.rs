//! The whole toolchain behind one front door.
fn main() {}
