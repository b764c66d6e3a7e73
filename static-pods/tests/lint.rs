//! The corpus: manifests with one idea each, those that are fine in `good` and those that are not in `bad`.
//!
//! `findings.txt` says what is found in the latter; write it anew with `UPDATE_EXPECT=1`.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use basalt_model::report::Severity;
use basalt_static_pods::lint::{File, LintFinding, Policy, Rules, lint};
use expect_test::expect_file;

fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint").join(folder);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

fn findings(name: &str, bytes: &[u8]) -> Vec<LintFinding> {
    lint(&[File { name, bytes }], Rules::Kubelet)
}

#[test]
fn good_manifests_have_no_error() {
    for (name, bytes) in corpus("good") {
        let found = findings(&name, &bytes);
        let errors: Vec<_> =
            found.iter().filter(|finding| finding.severity() == Severity::Error).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn bad_manifests_have_their_findings() {
    let mut text = String::new();
    for (name, bytes) in corpus("bad") {
        let found = findings(&name, &bytes);
        assert!(found.iter().any(|finding| finding.severity() == Severity::Error), "{name}");
        for finding in found {
            writeln!(text, "{finding}").unwrap();
        }
    }
    expect_file!["lint/findings.txt"].assert_eq(&text);
}

/// Files of one folder, each a name and a manifest, with the rules that are broken.
#[track_caller]
fn check_folder(files: &[(&str, &str)], expected: &[&str]) {
    let files: Vec<File<'_>> =
        files.iter().map(|(name, text)| File { name, bytes: text.as_bytes() }).collect();
    let found = lint(&files, Rules::Kubelet);
    let found: Vec<String> =
        found.iter().map(|finding| format!("{} {}", finding.file, finding.rule)).collect();
    assert_eq!(found, expected);
}

fn pod(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  hostNetwork: true\n  containers:\n  - name: a\n    image: a\n{rest}"
    )
}

#[test]
fn files_together() {
    let (a, b) = (pod("a", ""), pod("b", ""));
    check_folder(&[("a.yaml", &a), ("b.yaml", &b)], &[]);
    check_folder(&[("a.yaml", &a), ("a2.yaml", &a)], &["a2.yaml same-pod"]);
    check_folder(
        &[("a.yaml", &a), ("a.yaml.bak", &a)],
        &["a.yaml.bak left-over-file", "a.yaml.bak same-pod"],
    );
    check_folder(&[("m/.a.yaml", "{"), ("a.yaml", &a)], &["m/.a.yaml ignored-file"]);
    let port = |name, port: &str| pod(name, &format!("    ports: [{port}]\n"));
    let (first, second) = (port("a", "{containerPort: 80}"), port("b", "{containerPort: 80}"));
    check_folder(&[("a.yaml", &first), ("b.yaml", &second)], &["b.yaml host-port"]);
    let second = port("b", "{containerPort: 80, protocol: UDP}");
    check_folder(&[("a.yaml", &first), ("b.yaml", &second)], &[]);
    let first = port("a", "{containerPort: 80, hostIP: 10.0.0.1}");
    let second = port("b", "{containerPort: 80, hostIP: 10.0.0.2}");
    check_folder(&[("a.yaml", &first), ("b.yaml", &second)], &[]);
    let with_uid = |name| pod(name, "").replace("{name", "{uid: u, name");
    let (first, second) = (with_uid("a"), with_uid("b"));
    check_folder(&[("a.yaml", &first), ("b.yaml", &second)], &["b.yaml same-uid"]);
}

#[test]
fn the_rules_of_basalt() {
    let text = pod("a", "");
    let policy = Policy::of_own_pods();
    let found = lint(&[File { name: "a.yaml", bytes: text.as_bytes() }], Rules::Basalt(&policy));
    let rules: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
    let expected =
        ["basalt-priority", "basalt-probe", "basalt-capabilities", "basalt-image-digest"];
    assert_eq!(rules.len(), expected.len(), "{rules:?}");
    assert!(expected.iter().all(|rule| rules.contains(rule)), "{rules:?}");
}
