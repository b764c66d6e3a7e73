//! The linter's corpus.

use std::fs;
use std::path::{Path, PathBuf};

/// Every manifest with a name that says where it is, `bad/….yaml`.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../static-pods/tests/lint");
    let mut found = Vec::new();
    for folder in ["bad", "good"] {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            found.push((format!("{folder}/{name}"), fs::read(&path).unwrap()));
        }
    }
    found
}
