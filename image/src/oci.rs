//! OCI images: what they are made of, the rules for it, and the layout folder or archive they end in.
//!
//! Format: <https://github.com/opencontainers/image-spec/blob/main/spec.md>

pub mod archive;
pub mod base;
pub mod compose;
pub mod document;
pub mod entry;
pub mod import;
pub mod layer;
pub mod layout;
pub mod recognise;
pub mod registry;
pub mod rules;
pub mod tree;

pub use archive::archive;
pub use base::Base;
pub use compose::{Composed, ComposedLayer, Spec, compose};
pub use entry::{Architecture, Component, Entry, EntryKind, Source};
pub use recognise::is_image_archive;
