//! A registry, over HTTPS: takes a reference, gives and takes manifests and blobs.
//!
//! Read [`reference`] and [`credentials`] first, both pure; then [`client`], which speaks the protocol, and [`bundle`],
//! which moves a whole bundle with its signatures. A client of our own, since what is held in memory has to be bounded
//! against a foreign registry, credentials have to stay on the host they are for, and a password must not be an
//! argument of a program.
//!
//! Protocol: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

pub mod bundle;
pub mod client;
pub mod credentials;
pub mod reference;

pub use client::{Access, Client, RegistryError};
pub use credentials::{Credentials, CredentialsError};
pub use reference::{NotAReference, Reference, Version};
