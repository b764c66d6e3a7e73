//! Adapters for readers, writers and folders, one per file; they stack.

pub mod atomic;
pub mod digest;
pub mod limit;
pub mod tar;
