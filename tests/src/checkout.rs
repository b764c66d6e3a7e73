//! Where the fixtures are.

use std::path::{Path, PathBuf};

/// The root of the checkout that the tests were built in.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package stands in the checkout").to_path_buf()
}

/// The folder of the cluster `name`, with every artefact made from it.
pub fn cluster(name: &str) -> PathBuf {
    root().join("tests/clusters").join(name)
}
