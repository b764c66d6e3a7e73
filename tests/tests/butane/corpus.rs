//! The configs of `butane/tests/corpus`, through both compilers.
//!
//! `good` ones compile, `bad` ones do not, `files` is their files directory. A file may say in its second line how our
//! findings differ from the reference's, and why: `# differs: …`.

use std::collections::BTreeSet;
use std::fs;

use camino::Utf8PathBuf;

use crate::compare::{differences, finds_the_same, ours};
use crate::design::is_our_error;
use crate::reference::{Reference, Wanted};

/// What the reference says when a rule is broken, one rule a line.
const RULES: &str = include_str!("rules.txt");

/// The folder of the corpus.
pub(crate) fn corpus() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../butane/tests/corpus")
}

/// Names and texts.
pub(crate) fn configs(kind: &str) -> (Vec<String>, Vec<(String, Wanted)>) {
    let mut paths: Vec<Utf8PathBuf> = corpus()
        .join(kind)
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 50, "the corpus is not there");
    let config = |path| (fs::read_to_string(path).unwrap(), Wanted::Variant);
    let texts = paths.iter().map(config).collect();
    (paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect(), texts)
}

/// Whether the config says that our findings are not the reference's.
fn differs(text: &str) -> bool {
    text.lines().nth(1).is_some_and(|line| line.starts_with("# differs: "))
}

/// Compares the two compilers on all configs of a kind.
fn check(kind: &str) {
    let Some(reference) = Reference::find() else { return };
    let files = corpus().join("files");
    let (names, texts) = configs(kind);
    let mut faults = String::new();
    let answers = reference.compile(&texts, &files);
    for ((name, (text, wanted)), theirs) in names.iter().zip(&texts).zip(&answers) {
        let own = ours(text, *wanted, &files).unwrap();
        let is_refused = theirs.output.is_none()
            || own.report.sorted().iter().any(|finding| is_our_error(finding, text, theirs));
        assert_eq!(is_refused, kind == "bad", "{name}: {}", theirs.error);
        let mut found = differences(Some(&own), theirs);
        if differs(text) {
            found.retain(|difference| difference.0.starts_with("output"));
            if finds_the_same(&own, theirs) {
                faults += &format!("{name} does not differ\n");
            }
        }
        for difference in found {
            faults += &format!("{name}: {difference}\n");
        }
        if own.output.is_some() != (kind == "good") {
            faults += &format!("{name} is judged\n{}\n", own.report);
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn good_configs_compile_as_the_reference_does() {
    check("good");
}

#[test]
fn bad_configs_are_refused_where_the_reference_refuses_them() {
    check("bad");
}

#[test]
fn ignition_accepts_what_comes_out() {
    let Some(reference) = Reference::find() else { return };
    let (names, texts) = configs("good");
    let files = corpus().join("files");
    let outputs: Vec<String> = texts
        .iter()
        .map(|(text, _)| ours(text, Wanted::Ignition, &files).unwrap().output.unwrap().to_string())
        .collect();
    for (name, verdict) in names.iter().zip(reference.validate(&outputs)) {
        let errors: Vec<_> = verdict.entries.iter().filter(|e| e.kind == "error").collect();
        assert!(verdict.error.is_empty() && errors.is_empty(), "{name}: {verdict:?}");
        assert!(verdict.entries.iter().all(|e| !e.message.contains("nused key")), "{name}");
    }
}

#[test]
fn every_rule_of_the_reference_is_broken_somewhere() {
    let Some(reference) = Reference::find() else { return };
    let configs = [configs("good").1, configs("bad").1].concat();
    let raw = configs.iter().map(|(text, _)| (text.clone(), Wanted::Ignition));
    let configs: Vec<_> = raw.chain(configs.clone()).collect();
    let mut said = BTreeSet::new();
    for answer in reference.compile(&configs, &corpus().join("files")) {
        said.insert(answer.error);
        said.extend(answer.entries.into_iter().map(|entry| entry.message));
    }
    let is_said = |rule: &&str| said.iter().any(|message| message.contains(rule));
    let unbroken: Vec<&str> = RULES.lines().filter(|rule| !is_said(rule)).collect();
    assert!(unbroken.is_empty(), "no config breaks these: {unbroken:#?}");
}
