//! Made-up configs, through both compilers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};

use crate::compare::{Difference, differences, ours};
use crate::generate::{Case, case};
use crate::minimise::minimise;
use crate::reference::{Reference, Specification, Wanted};
use crate::yaml::print;

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
    let bench = Bench::new(reference);
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, first) = (number(COUNT_VARIABLE, 2000), number(SEED_VARIABLE, 0));
    let mut found: BTreeMap<Difference, (usize, Case)> = BTreeMap::new();
    for start in (first..first + count).step_by(BATCH as usize) {
        let seeds = start..(start + BATCH).min(first + count);
        let cases: Vec<Case> = seeds.map(|seed| case(&bench.specifications, seed)).collect();
        for (case, differences) in cases.iter().zip(bench.differences(&cases)) {
            for difference in differences {
                found.entry(difference).or_insert_with(|| (0, case.clone())).0 += 1;
            }
        }
    }
    let mut table = String::new();
    for (difference, (times, case)) in &found {
        let case = minimise(case.clone(), |candidates| {
            let found = bench.differences(candidates);
            found.iter().position(|differences| differences.contains(difference))
        });
        let text = print(&case.root, &case.style);
        writeln!(table, "{times} times: {difference} ({:?})\n{text}", case.wanted).unwrap();
    }
    assert!(found.is_empty(), "{} differences in {count} configs\n\n{table}", found.len());
}

/// Both compilers, and files for configs to name.
pub(crate) struct Bench {
    pub(crate) reference: Reference,
    pub(crate) specifications: Vec<Specification>,
    pub(crate) files: Utf8PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(reference: Reference) -> Bench {
        let only = std::env::var(ONLY_VARIABLE).unwrap_or_default();
        let mut specifications = reference.specifications();
        specifications.retain(|s| format!("{} {}", s.variant, s.version).starts_with(&only));
        let folder = tempfile::tempdir().unwrap();
        let files = Utf8PathBuf::from_path_buf(folder.path().join("files")).unwrap();
        make_files(&files);
        Bench { reference, specifications, files, _folder: folder }
    }

    fn differences(&self, cases: &[Case]) -> Vec<std::collections::BTreeSet<Difference>> {
        let configs: Vec<(String, Wanted)> =
            cases.iter().map(|case| (print(&case.root, &case.style), case.wanted)).collect();
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
