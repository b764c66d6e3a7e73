//! Podman's files as hosts have them: what they become, and that nothing of them is lost in silence.
//!
//! Each case is a folder below `tests/import`: `files` is imported, `root` stands for the host's `/`, and `expected` holds
//! the manifests, the snippet and the report. `UPDATE_EXPECT=1` writes it anew.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use basalt_model::report::{Report, Severity};
use basalt_model::yaml::{self, Value, Yaml};
use basalt_static_pods::import::{Fate, Imported, Note, Reference, Source, import};
use basalt_static_pods::lint::{self, Rules};
use expect_test::expect_file;
use proptest::prelude::*;

/// What stands in the cases as a secret, and must never stand in anything made of them.
const SECRETS: [&str; 8] = [
    "s3cr3t-vrrp",
    "geheim",
    "hunter2",
    "hvs.CAESIabcdef",
    "0123456789abcdef",
    "geheim123",
    "abc123",
    "sst:",
];

struct Case {
    folder: PathBuf,
    /// By the name they are imported under.
    files: Vec<(String, String)>,
    imported: Imported,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name)
}

fn files(name: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    read_folder(&folder(name).join("files"), "", &mut files);
    files.sort();
    files
}

fn case(name: &str) -> Case {
    let (folder, files) = (folder(name), files(name));
    let sources: Vec<Source<'_>> = files
        .iter()
        .filter(|(name, _)| !name.ends_with(".env"))
        .map(|(name, text)| Source { name, text })
        .collect();
    let mut read = |reference: Reference<'_>| {
        let path = match reference.path.strip_prefix('/') {
            Some(path) => folder.join("root").join(path),
            None => folder.join("files").join(reference.path),
        };
        fs::read_to_string(path).map_err(|_| "there is no such file".to_owned())
    };
    let imported = import(&sources, &mut read);
    Case { files, imported, folder }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        match path.is_dir() {
            true => read_folder(&path, &format!("{name}/"), files),
            false => files.push((name, fs::read_to_string(&path).unwrap())),
        }
    }
}

/// Holds what a case became against the files beside it, and against what holds for any.
fn check(name: &str) -> Case {
    let case = case(name);
    let expected = case.folder.join("expected");
    let report: String = case.imported.notes.iter().map(|note| format!("{note}\n")).collect();
    expect_file![expected.join("report.txt")].assert_eq(&report);
    let snippet = case.imported.snippet.to_yaml("pods", &["controller".to_owned()]);
    expect_file![expected.join("cluster.yaml")].assert_eq(&snippet);
    for pod in &case.imported.pods {
        expect_file![expected.join(format!("pods/{}.yaml", pod.name))].assert_eq(&pod.manifest);
    }
    let written = fs::read_dir(expected.join("pods")).unwrap().count();
    assert_eq!(written, case.imported.pods.len(), "{name}: manifests of no pod");
    linted(&case.imported);
    let all = case.imported.pods.iter().map(|pod| pod.manifest.as_str());
    for text in all.chain([report.as_str(), snippet.as_str()]) {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{name}: `{secret}` stands in\n{text}");
        }
    }
    assert!(!case.imported.is_refused(), "{report}");
    case
}

/// The kubelet takes all pods, together.
fn linted(imported: &Imported) {
    let names: Vec<String> = imported.pods.iter().map(|pod| format!("{}.yaml", pod.name)).collect();
    let files: Vec<lint::File<'_>> = names
        .iter()
        .zip(&imported.pods)
        .map(|(name, pod)| lint::File { name, bytes: pod.manifest.as_bytes() })
        .collect();
    let findings = lint::lint(&files, Rules::Kubelet);
    let errors: Vec<_> = findings.iter().filter(|f| f.severity() == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Each line with a key has a note, there or on a line that continues it.
fn every_key_of_units_is_noted(case: &Case) {
    for (name, text) in &case.files {
        if name.ends_with(".env") || name.ends_with(".yaml") {
            continue;
        }
        let mut starts: Vec<(u32, &str)> = Vec::new();
        let mut is_continued = false;
        for (number, line) in (1..).zip(text.lines()) {
            let is_key = !is_continued && line.contains('=') && !line.starts_with(['#', ';']);
            if is_key {
                starts.push((number, line));
            }
            is_continued = line.ends_with('\\');
        }
        for (index, (start, line)) in starts.iter().enumerate() {
            let end = starts.get(index + 1).map_or(u32::MAX, |(next, _)| *next);
            let is_here =
                |note: &&Note| note.file == *name && (*start..end).contains(&note.place.line);
            assert!(
                case.imported.notes.iter().any(|note| is_here(&note)),
                "{name}:{start}: {line}"
            );
        }
    }
}

/// Each field of each service, and each thing that the file has for all of them, has a note.
fn every_field_of_compose_files_is_noted(case: &Case) {
    for (name, text) in case.files.iter().filter(|(name, _)| name.ends_with(".yaml")) {
        let root = yaml::parse(text.as_bytes(), &mut Report::new(name)).unwrap().first.unwrap();
        let mut paths = Vec::new();
        for (section, value) in entries(&root) {
            paths.push(section.clone());
            for (inner, value) in entries(value) {
                paths.push(format!("{section}.{inner}"));
                for (field, _) in entries(value).iter().filter(|_| section == "services") {
                    paths.push(format!("{section}.{inner}.{field}"));
                }
            }
        }
        // What nobody reads is noted as a whole.
        paths.retain(|path| !(path.contains("<<") || path.starts_with("x-") && path.contains('.')));
        for path in paths {
            let is_noted = case.imported.notes.iter().any(|note| {
                note.file == *name
                    && (note.setting == path
                        || note.setting.starts_with(&format!("{path}."))
                        || note.setting.starts_with(&format!("{path}[")))
            });
            assert!(is_noted, "{name}: {path}");
        }
    }
}

fn entries(yaml: &Yaml) -> Vec<(String, &Yaml)> {
    match &yaml.resolved().value {
        Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_scalar().unwrap().text.clone(), value))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn quadlets_of_a_host() {
    let case = check("host");
    every_key_of_units_is_noted(&case);
}

#[test]
fn units_that_run_podman() {
    let case = check("units");
    every_key_of_units_is_noted(&case);
}

#[test]
fn a_compose_file() {
    let case = check("compose");
    every_field_of_compose_files_is_noted(&case);
}

/// Every file of every case, by its name.
static CORPUS: LazyLock<Vec<(String, String)>> =
    LazyLock::new(|| ["host", "units", "compose"].map(files).concat());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever people do to a file, it is answered, and what is made of it is taken by the kubelet.
    #[test]
    fn torn_files_are_answered(
        file in 0..1000usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), ".{0,3}", 0..12usize), 1..6),
    ) {
        let (name, text) = &CORPUS[file % CORPUS.len()];
        let mut text: Vec<char> = text.chars().collect();
        for (place, put, cut) in changes {
            let start = place.index(text.len().max(1)).min(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        let mut read = |_: Reference<'_>| Ok(text.clone());
        let imported = import(&[Source { name, text: &text }], &mut read);
        linted(&imported);
    }
}

#[track_caller]
fn refused(name: &str, text: &str, expected: &str) {
    let mut read = |_: Reference<'_>| Err("there is none".to_owned());
    let imported = import(&[Source { name, text }], &mut read);
    assert!(imported.is_refused(), "{:#?}", imported.notes);
    let invalid = imported.notes.iter().filter(|note| note.fate == Fate::Invalid);
    let said: Vec<String> = invalid.map(ToString::to_string).collect();
    assert!(said.join("\n").contains(expected), "{said:#?}");
}

#[test]
fn what_cannot_be_understood_is_refused() {
    refused("a.container", "[Container]\nImgae=a\n", "a.container:2:1: error: Container.Imgae:");
    refused("a.container", "[Container\nImage=a\n", "a.container:1:1: error: a section's name");
    refused("a.container", "Image=a\n", "a setting stands before the first section");
    refused("a.container", "[Container]\nImage=r.example/a\nExec=\"a\n", "a quote is not closed");
    refused(
        "a.service",
        "[Service]\nExecStart=/usr/bin/podman run --memroy=1g r.example/a\n",
        "a.service:2:31: error: --memroy: podman run has no option `--memroy`",
    );
    refused("a.yaml", "services:\n  a:\n    imgae: b\n", "a.yaml:3:5: error: services.a.imgae:");
    refused("a.yaml", "services:\n  a: [\n", "error: not YAML");
    refused("a.yaml", "kind: Pod\n", "the file has no `services`");
    refused("a.yaml", "services:\n  a:\n    image: ${B:?}\n", "the variable `B` has to be set");
}
