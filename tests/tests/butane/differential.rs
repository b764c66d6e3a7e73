//! Made-up configs, through both compilers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};

use crate::alter::alter;
use crate::case::Case;
use crate::compare::{Difference, differences, ours};
use crate::corpus::{configs, corpus};
use crate::generate::case;
use crate::reference::{Reference, Specification, Wanted};

/// How many configs are compared; `cargo test` takes a few.
const COUNT_VARIABLE: &str = "BASALT_BUTANE_CASES";
/// The first seed. The configs of a seed are always the same.
const SEED_VARIABLE: &str = "BASALT_BUTANE_SEED";
/// Only variants and versions that begin so are compared: `fcos 1.4`.
const ONLY_VARIABLE: &str = "BASALT_BUTANE_ONLY";

/// How many configs the reference gets at once.
const BATCH: u64 = 500;

#[test]
fn made_up_configs_compile_as_with_the_reference() {
    let Some(reference) = Reference::find() else { return };
    let bench = Bench::with_made_up_files(reference);
    bench.compare(|seed| case(&bench.specifications, seed));
}

#[test]
fn altered_configs_compile_as_with_the_reference() {
    let Some(reference) = Reference::find() else { return };
    let bench = Bench::new(reference, corpus().join("files"));
    let configs = [configs("good").1, configs("bad").1].concat();
    let texts: Vec<String> = configs.into_iter().map(|(text, _)| text).collect();
    bench.compare(|seed| alter(&texts, &bench.specifications, seed));
}

/// Both compilers, and files for configs to name.
pub(crate) struct Bench {
    pub(crate) reference: Reference,
    pub(crate) specifications: Vec<Specification>,
    pub(crate) files: Utf8PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    /// With the files that made-up configs name.
    pub(crate) fn with_made_up_files(reference: Reference) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let files = Utf8PathBuf::from_path_buf(folder.path().join("files")).unwrap();
        make_files(&files);
        Bench { _folder: Some(folder), ..Bench::new(reference, files) }
    }

    fn new(reference: Reference, files: Utf8PathBuf) -> Bench {
        let only = std::env::var(ONLY_VARIABLE).unwrap_or_default();
        let mut specifications = reference.specifications();
        specifications.retain(|s| format!("{} {}", s.variant, s.version).starts_with(&only));
        Bench { reference, specifications, files, _folder: None }
    }

    /// Compares the compilers on the cases of all seeds, and prints each difference with its smallest config.
    fn compare(&self, case: impl Fn(u64) -> Case) {
        let number =
            |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
        let (count, first) = (number(COUNT_VARIABLE, 2000), number(SEED_VARIABLE, 0));
        let mut found: BTreeMap<Difference, (usize, Case)> = BTreeMap::new();
        for start in (first..first + count).step_by(BATCH as usize) {
            let cases: Vec<Case> = (start..(start + BATCH).min(first + count)).map(&case).collect();
            for (case, differences) in cases.iter().zip(self.differences(&cases)) {
                for difference in differences {
                    found.entry(difference).or_insert_with(|| (0, case.clone())).0 += 1;
                }
            }
        }
        let mut table = String::new();
        for (difference, (times, case)) in &found {
            let case = case.clone().minimised(|candidates| {
                let found = self.differences(candidates);
                found.iter().position(|differences| differences.contains(difference))
            });
            let (wanted, text) = (case.wanted, case.text());
            writeln!(table, "{times} times: {difference} ({wanted:?})\n{text}").unwrap();
        }
        assert!(found.is_empty(), "{} differences in {count} configs\n\n{table}", found.len());
    }

    fn differences(&self, cases: &[Case]) -> Vec<BTreeSet<Difference>> {
        let configs: Vec<(String, Wanted)> =
            cases.iter().map(|case| (case.text(), case.wanted)).collect();
        let theirs = self.reference.compile(&configs, &self.files);
        let compare = |((text, wanted), theirs): (&(String, Wanted), &_)| {
            differences(ours(text, *wanted, &self.files).as_ref(), theirs)
        };
        configs.iter().zip(&theirs).map(compare).collect()
    }
}

fn make_files(files: &Utf8Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = files.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("hello.txt", b"hello\n");
    write("long.txt", "a line that comes again\n".repeat(100).as_bytes());
    write("bytes.bin", &(0..=255).collect::<Vec<u8>>());
    write("lines.txt.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    write("empty", b"");
    write("keys.pub", b"# keys\nssh-ed25519 AAAA a\r\n\n  ssh-rsa BBBB b\nssh-ed25519 AAAA a");
    write("unit.service", b"[Service]\nExecStart=/bin/true\n");
    write("config.ign", br#"{"ignition":{"version":"3.0.0"}}"#);
    write("sub/file", b"in a folder\n");
    write("tree/a/x", b"x");
    write("tree/a-b", b"#!/bin/sh\n");
    write("tree/inner/etc/x.conf", b"conf\n");
    write("tree/etc/x.conf", &[b'z'; 300]);
    fs::set_permissions(files.join("tree/a-b"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("a/x", files.join("tree/link")).unwrap();
    fs::create_dir(files.join("empty-tree")).unwrap();
    symlink("tree", files.join("link")).unwrap();
}
