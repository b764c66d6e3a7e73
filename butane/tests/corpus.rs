//! The corpus: what the compiler says of every config that is wrong, or likely not meant so.
//!
//! `findings.txt` is for review; `UPDATE_EXPECT=1` writes it anew. Whether the findings are right is shown by the
//! comparison with the reference, in the crate of end-to-end tests.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;

use basalt_butane::{Options, Output, Warnings, compile};
use camino::{Utf8Path, Utf8PathBuf};
use expect_test::expect_file;

fn corpus() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn configs(kind: &str) -> Vec<Utf8PathBuf> {
    let mut paths: Vec<Utf8PathBuf> = corpus()
        .join(kind)
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Utf8Path) -> &str {
    path.strip_prefix(corpus()).unwrap().as_str()
}

#[test]
fn findings() {
    let files = corpus().join("files");
    let options =
        Options { files_dir: Some(&files), warnings: Warnings::Allowed, output: Output::Variant };
    let mut text = String::new();
    for path in [configs("bad"), configs("good")].concat() {
        let (config, report) = compile(name(&path), &fs::read(&path).unwrap(), &options);
        assert_eq!(config.is_none(), name(&path).starts_with("bad/"), "{path}: {report}");
        assert_eq!(config.is_none(), report.has_errors(), "{path}");
        if !report.is_empty() {
            text += &format!("{report}\n");
        }
    }
    let text = text.replace(files.as_str(), "FILES");
    expect_file!["findings.txt"].assert_eq(&text);
}

#[test]
fn strict_refuses_what_is_likely_not_meant() {
    let files = corpus().join("files");
    for path in configs("good") {
        let bytes = fs::read(&path).unwrap();
        let compile = |warnings| {
            compile(
                "a.bu",
                &bytes,
                &Options { files_dir: Some(&files), warnings, output: Output::Variant },
            )
        };
        let (allowed, refused) = (compile(Warnings::Allowed).1, compile(Warnings::Refused));
        assert_eq!(allowed.is_empty(), refused.0.is_some(), "{path}");
        assert_eq!(allowed.sorted().len(), refused.1.sorted().len(), "{path}");
    }
}

#[test]
fn without_a_files_directory_nothing_is_read() {
    let options = Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
    for name in ["good/file-local.bu", "good/tree.bu"] {
        let (config, report) = compile(name, &fs::read(corpus().join(name)).unwrap(), &options);
        assert!(config.is_none());
        assert!(report.to_string().contains("--files-dir"), "{report}");
    }
}
