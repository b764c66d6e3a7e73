//! The Butane compiler against the reference, and what it makes against Ignition's own validator.
//!
//! [`corpus`] runs both over the configs of `butane/tests/corpus`, [`fields`] over one config for each version with all
//! fields there are, [`differential`] over configs made up from the reference's own list of fields, and over altered
//! ones of the corpus. [`compare`] tells what differs, [`design`] what is meant to differ.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

mod alter;
mod case;
mod compare;
mod corpus;
mod design;
mod differential;
mod fields;
mod generate;
mod odd;
mod pools;
mod random;
mod reference;
mod reverse;
mod unpack;
mod yaml;
