//! What `cargo xtask pods lint --output sarif` prints beside the schema that OASIS publishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::command::run;
use e2e::needs::skip;
use e2e::programs::xtask;
use serde_json::Value;

/// A Go module that carries the schema, pinned by its sum.
const MODULE: &str = "github.com/owenrumney/go-sarif/v3";
const GO_MOD: &str = include_str!("../../peers/sarif/go.mod");
const GO_SUM: &str = include_str!("../../peers/sarif/go.sum");
/// Where in it: as a text between backticks.
const FILE: &str = "pkg/report/v210/sarif/schema.go";
const TITLE: &str = "Static Analysis Results Format (SARIF) Version 2.1.0 JSON Schema";

#[test]
fn the_findings_are_valid_sarif() {
    let Some(xtask) = xtask() else { return };
    let Some(schema) = schema() else { return };
    assert_eq!(schema["title"], TITLE);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../static-pods/tests/lint/bad");
    let bad = |path: &PathBuf| path.is_file();
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(bad).collect();
    files.sort();
    let mut document = Value::Null;
    // Few at a time: pods of one name in one folder are each other's findings.
    for files in files.chunks(20) {
        let mut lint = Command::new(&xtask);
        lint.args(["pods", "lint", "--rules", "basalt", "--output", "sarif"]).args(files);
        let output = lint.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        document = serde_json::from_slice(&output.stdout).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let results = document["runs"][0]["results"].as_array().unwrap();
        assert!(results.len() >= files.len(), "{} results", results.len());
    }
    // The schema is one that finds something.
    document["runs"][0]["results"][0]["level"] = "bad".into();
    assert!(!validator.is_valid(&document));
}

/// The schema, fetched as Go fetches what peers are built from.
fn schema() -> Option<Value> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go.mod"), GO_MOD).unwrap();
    fs::write(folder.path().join("go.sum"), GO_SUM).unwrap();
    let mut go = Command::new("go");
    go.current_dir(folder.path()).args(["mod", "download", "-json", MODULE]);
    let Ok(told) = run(&mut go) else {
        skip(&format!("needs Go and its proxy, for the schema in `{MODULE}`"));
        return None;
    };
    let told: Value = serde_json::from_str(&told).unwrap();
    let source = fs::read_to_string(Path::new(told["Dir"].as_str().unwrap()).join(FILE)).unwrap();
    let text = source.split('`').nth(1).unwrap();
    Some(serde_json::from_str(text).unwrap())
}
