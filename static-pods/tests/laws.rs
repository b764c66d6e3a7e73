//! The laws of the linter, on its corpus and on what the fuzzer kept.

#![allow(clippy::unwrap_used)]

mod law;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_and_what_the_fuzzer_kept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["tests/lint/good", "tests/lint/bad", "../fuzz/corpus/pods"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            if let Err(fault) = law::obeys(&bytes) {
                panic!("{}: {fault}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 400, "{count}");
}
