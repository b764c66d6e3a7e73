//! What holds for any text.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::LazyLock;

use basalt_butane::{Options, Output, Warnings, compile};
use camino::Utf8PathBuf;
use ignition_config::Config;
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

/// Compiles without a panic, twice to the same; what comes out is what Ignition's types hold, nothing less or more.
fn obeys(bytes: &[u8]) -> Result<(), TestCaseError> {
    let files = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/files");
    let options =
        Options { files_dir: Some(&files), warnings: Warnings::Allowed, output: Output::Variant };
    let (config, report) = compile("a.bu", bytes, &options);
    prop_assert_eq!(config.is_none(), report.has_errors());
    let (again, same_report) = compile("a.bu", bytes, &options);
    prop_assert_eq!(&report, &same_report);
    let Some(config) = config else { return Ok(()) };
    let json = config.ignition().to_json();
    prop_assert_eq!(&json, &again.unwrap().ignition().to_json());
    // The crate does not know the experimental specification.
    let Some(expected) = config.ignition().typed() else { return Ok(()) };
    let (typed, unused) = Config::parse_str(&json).unwrap();
    prop_assert!(unused.is_empty(), "{unused:?}");
    prop_assert_eq!(&typed, &expected);
    let pretty = Config::parse_str(&config.ignition().to_json_pretty()).unwrap().0;
    prop_assert_eq!(typed, pretty);
    Ok(())
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
