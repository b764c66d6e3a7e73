//! Makes images: takes a base image and files, gives OCI layouts, archives and PXE files; touches readers and writers
//! handed in.
//!
//! Read [`oci::Spec`] and [`oci::compose()`] first: they say what an image is made of and put it together. Then, in
//! the order data moves: [`oci::base`] (what a base must be), [`oci::rules`] (what a layer may hold), [`oci::layer`]
//! (its bytes), [`oci::document`] (config and manifest), [`oci::archive()`]. [`pause`] and [`pxe`] stand alone. [`bundle`] is
//! what a cluster runs, [`sign`] how nodes know whose it is. [`io`] holds the adapters that all of them stack.
//!
//! Same input, same bytes: entries are sorted, the owner is 0, the clock is an argument and the compressor is pinned
//! by the lock file.

pub mod bundle;
pub mod io;
pub mod oci;
pub mod pause;
pub mod pxe;
pub mod sign;

mod parallel;
