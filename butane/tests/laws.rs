//! What holds for any text.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

mod law;

use std::fs;
use std::sync::LazyLock;

use camino::Utf8PathBuf;
use proptest::prelude::*;

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let corpus = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<Utf8PathBuf> = ["good", "bad"]
        .iter()
        .flat_map(|kind| corpus.join(kind).read_dir_utf8().unwrap())
        .map(|entry| entry.unwrap().into_path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
});

/// The [laws](law::obeys), with the corpus's files at hand.
fn obeys(bytes: &[u8]) -> Result<(), TestCaseError> {
    let files = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/files");
    law::obeys(bytes, Some(&files)).map_err(TestCaseError::fail)
}

/// A line of one config, put into another.
fn spliced() -> impl Strategy<Value = Vec<u8>> {
    let index = || any::<prop::sample::Index>();
    (index(), index(), index(), index(), 0..4_usize).prop_map(
        |(target, source, from, to, count)| {
            let lines = |index: prop::sample::Index| -> Vec<String> {
                String::from_utf8_lossy(&CORPUS[index.index(CORPUS.len())])
                    .lines()
                    .map(str::to_owned)
                    .collect()
            };
            let (mut target, source) = (lines(target), lines(source));
            let start = from.index(source.len());
            let taken = source[start..source.len().min(start + count)].to_vec();
            let at = to.index(target.len() + 1);
            target.splice(at..at.min(target.len()), taken);
            target.join("\n").into_bytes()
        },
    )
}

/// A config with some bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"-:[]{}&*!|>'\"#%@`,? \n\t<~0"[..])];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), byte), 1..4);
    (any::<prop::sample::Index>(), changes).prop_map(|(config, changes)| {
        let mut bytes = CORPUS[config.index(CORPUS.len())].clone();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        obeys(&bytes)?;
    }

    #[test]
    fn any_text_behind_a_version(text in "(?s).{0,200}") {
        obeys(format!("variant: fcos\nversion: 1.4.0\n{text}").as_bytes())?;
    }

    #[test]
    fn damaged_configs(bytes in damaged()) {
        obeys(&bytes)?;
    }

    #[test]
    fn spliced_configs(bytes in spliced()) {
        obeys(&bytes)?;
    }
}

#[test]
fn what_the_fuzzer_kept() {
    let folder = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/butane");
    let mut count = 0;
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        law::obeys(&fs::read(&path).unwrap(), None)
            .unwrap_or_else(|fault| panic!("{path}: {fault}"));
        count += 1;
    }
    assert!(count >= 20, "{folder} is not there");
}
