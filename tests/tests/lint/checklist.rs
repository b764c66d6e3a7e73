//! The list of Kubernetes' validation functions beside the source of the version that the kubelet is built from.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use e2e::command::run;
use e2e::needs::skip;

const CHECKLIST: &str = include_str!("../../../static-pods/src/lint/CHECKLIST.md");
const GO_MOD: &str = include_str!("../../peers/kubelet-file/go.mod");
const MODULE: &str = "k8s.io/kubernetes";
const FILE: &str = "pkg/apis/core/validation/validation.go";

#[test]
fn every_function_of_the_validation_is_on_the_checklist() {
    let Some(source) = source() else { return };
    let listed: BTreeSet<&str> = CHECKLIST.lines().filter_map(listed).collect();
    let functions: BTreeSet<&str> = source.lines().filter_map(function).collect();
    assert!(functions.len() > 300, "{} functions", functions.len());
    let missing: Vec<_> = functions.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&functions).collect();
    assert!(missing.is_empty(), "not on the checklist: {missing:#?}");
    assert!(gone.is_empty(), "on the checklist, and not in {FILE}: {gone:#?}");
    // And the version that it speaks of is the one that was looked at.
    assert!(CHECKLIST.contains(&format!("{MODULE} {}", version().trim_start_matches('v'))));
}

/// The function that a row of the table or a line of the list is about.
fn listed(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("| `").or_else(|| line.strip_prefix("- `"))?;
    rest.split('`').next()
}

/// The function that is defined in this line.
fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("func ")?;
    // A method has its receiver in front.
    let rest = match rest.strip_prefix('(') {
        Some(method) => method.split_once(") ")?.1,
        None => rest,
    };
    rest.split(['(', '[']).next()
}

fn version() -> &'static str {
    let line = GO_MOD.lines().find_map(|line| line.trim().strip_prefix(MODULE));
    line.unwrap().split_whitespace().next().unwrap()
}

/// The file, from where Go keeps the modules that peers are built from.
fn source() -> Option<String> {
    let Ok(cache) = run(Command::new("go").args(["env", "GOMODCACHE"])) else {
        skip("needs Go, for the source that `cargo xtask peers kubelet-file` fetches");
        return None;
    };
    let path = PathBuf::from(cache.trim()).join(format!("{MODULE}@{}", version())).join(FILE);
    let source = fs::read_to_string(&path);
    if source.is_err() {
        skip("needs the source that `cargo xtask peers kubelet-file` fetches");
    }
    source.ok()
}
