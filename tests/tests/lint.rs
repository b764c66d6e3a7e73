//! The linter beside the kubelet's own file source: they refuse the same files of the linter's corpus, and know the
//! same fields.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use basalt_static_pods::lint::fields::FIELDS;
use basalt_static_pods::lint::{Effect, File, Rules, lint};
use e2e::peers::{Peer, peer};
use serde::{Deserialize, Serialize};

/// Builds the peer's answers from the kubelet's own code.
const KUBELET_FILE: &str = "kubelet-file";

#[derive(Serialize)]
struct Request<'t> {
    file: &'t str,
    text: &'t str,
}

#[derive(Deserialize)]
struct Answer {
    /// Empty when the kubelet takes the file.
    error: String,
}

#[derive(Deserialize)]
struct Type {
    name: String,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    kind: String,
}

#[test]
fn the_kubelet_refuses_the_same_files() {
    let Some(kubelet) = peer(KUBELET_FILE) else { return };
    let texts = corpus();
    assert!(texts.len() >= 200, "{} manifests", texts.len());
    let mut different = String::new();
    for ((name, text), answer) in texts.iter().zip(ask(&kubelet, &texts)) {
        let findings = lint(&[File { name, bytes: text.as_bytes() }], Rules::Kubelet);
        let is_refused = findings.iter().any(|finding| finding.effect == Effect::Refused);
        if is_refused == answer.error.is_empty() {
            let said = if is_refused { "taken, where we refuse it" } else { answer.error.as_str() };
            writeln!(different, "{name}: the kubelet: {said}").unwrap();
        }
    }
    assert!(different.is_empty(), "{different}");
}

/// `UPDATE_EXPECT=1` writes the table anew.
#[test]
fn the_kubelet_knows_the_same_fields() {
    let Some(kubelet) = peer(KUBELET_FILE) else { return };
    let output = Command::new(&kubelet.program).arg("fields").output().unwrap();
    assert!(output.status.success());
    let types: Vec<Type> = serde_json::from_slice(&output.stdout).unwrap();
    let mut table = String::new();
    for Type { name, fields } in types {
        writeln!(table, "{name}").unwrap();
        for Field { name, kind } in fields {
            writeln!(table, "  {name} {kind}").unwrap();
        }
    }
    expect_test::expect_file!["../../static-pods/src/lint/fields.txt"].assert_eq(&table);
    assert_eq!(table, FIELDS);
}

/// The corpus with names that say where each is, `bad/….yaml`.
fn corpus() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../static-pods/tests/lint");
    let mut found = Vec::new();
    for folder in ["bad", "good"] {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            found.push((format!("{folder}/{name}"), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn ask(kubelet: &Peer, texts: &[(String, String)]) -> Vec<Answer> {
    let mut process = Command::new(&kubelet.program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let requests: String = texts
        .iter()
        .map(|(file, text)| serde_json::to_string(&Request { file, text }).unwrap() + "\n")
        .collect();
    // Answers come while requests are still written.
    let writer = thread::spawn(move || input.write_all(requests.as_bytes()));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let answers: Vec<Answer> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), texts.len());
    answers
}
