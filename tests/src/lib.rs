//! The lab: takes clusters and real programs, gives evidence; touches machines it made itself.
//!
//! Read [`peers`] first: how a test gets hold of a real program, and what happens when it is missing; then
//! [`programs`]: our own ones.

pub mod peers;
pub mod programs;
