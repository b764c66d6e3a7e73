//! Podman's files as hosts have them: what they become, and that nothing of them is lost in silence.
//!
//! Each case is a folder below `tests/import`: `files` is imported, `root` stands for the host's `/`, and `expected` holds
//! the manifests, the snippet and the report. `UPDATE_EXPECT=1` writes it anew.

#![allow(clippy::unwrap_used)]

mod imported;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use basalt_model::report::Report;
use basalt_model::yaml::{self, Value, Yaml};
use basalt_static_pods::import::{Fate, Imported, Note, Reference, Source, Unread, import};
use expect_test::expect_file;
use imported::{FOLDER, imported, linted, names, said};
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
        // Others refer to these.
        .filter(|(name, _)| !name.ends_with(".env") && !name.starts_with("parts/"))
        .map(|(name, text)| Source { name, text })
        .collect();
    let mut read = |reference: Reference<'_>| {
        let path = match reference.path.strip_prefix('/') {
            Some(path) => folder.join("system").join(path),
            None => folder.join("files").join(reference.path),
        };
        fs::read_to_string(path).map_err(Unread::from)
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
    // Of what is only extended no more is read than that service.
    let is_whole = |name: &str| name.ends_with(".yaml") && !name.ends_with("base.yaml");
    for (name, text) in case.files.iter().filter(|(name, _)| is_whole(name)) {
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

#[test]
fn a_compose_project_of_several_files() {
    let case = check("project");
    every_field_of_compose_files_is_noted(&case);
}

/// A file that another project includes is part of that one, whichever of them is given first.
#[test]
fn what_is_included_is_imported_once() {
    let inner = Source { name: "a/compose.yaml", text: "services: {b: {image: r.example/b}}" };
    let outer = Source { name: "compose.yaml", text: "include: [a/compose.yaml]\nservices: {}" };
    for sources in [[inner, outer], [outer, inner]] {
        let mut read = |reference: Reference<'_>| match reference.path {
            "a/compose.yaml" => Ok(inner.text.to_owned()),
            _ => Err(Unread::Absent),
        };
        let imported = import(&sources, &mut read);
        let names: Vec<&str> = imported.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["b"], "{:#?}", imported.notes);
        let twice = imported.notes.iter().any(|note| note.message.contains("another pod"));
        assert!(!twice, "{:#?}", imported.notes);
    }
}

/// The `.env` of a project says which files it is made of, and which services run.
#[test]
fn a_project_is_what_its_env_names() {
    const SERVICES: &str = "services:
  web: {image: 'r.example/web:${TAG}'}
  tool: {image: r.example/tool, profiles: [debug, other]}
  off: {image: r.example/off, profiles: [other]}
";
    const ENV: &str = "COMPOSE_FILE=compose.yaml:deploy/prod.yaml
COMPOSE_PROFILES=debug,more
COMPOSE_PROJECT_NAME=a
TAG=7
";
    let files = [
        ("a/.env", ENV),
        ("a/compose.yaml", SERVICES),
        ("a/compose.override.yaml", "services: {web: {command: [override]}}\n"),
        ("a/deploy/prod.yaml", "services: {web: {command: [prod]}}\n"),
    ];
    let whole = imported(&files, &["a/.env", "a/compose.yaml", "a/deploy/prod.yaml"]);
    assert_eq!(names(&whole), ["tool", "web"], "{:#?}", whole.notes);
    let web = &whole.pods[1].manifest;
    assert!(web.contains("r.example/web:7") && web.contains("- prod"), "{web}");
    assert_eq!(said(&whole, "a/.env"), Vec::<String>::new());
    let kept = whole.notes.iter().filter(|note| note.file == "a/.env").count();
    assert_eq!(kept, 3, "{:#?}", whole.notes);
    let lost = said(&whole, "a/compose.yaml").join("\n");
    assert!(lost.contains("lost: services.off.profiles: a service with a profile"), "{lost}");

    // Whoever names other files gets those, and is told.
    let other = imported(&files, &["a/compose.yaml", "a/compose.override.yaml"]);
    assert!(other.pods[1].manifest.contains("- override"), "{:#?}", other.pods);
    assert_eq!(
        said(&other, "a/.env"),
        [
            "a/.env:1:1: lost: COMPOSE_FILE: other files were given than `a/compose.yaml` and `a/deploy/prod.yaml`, which compose would take: give the folder of this file alone, or those files in their order"
        ]
    );
    let half = imported(&files, &["a/.env", "a/compose.yaml"]);
    assert!(half.is_refused());
    let refusal = said(&half, "a/.env").join("\n");
    assert!(refusal.contains("names `a/deploy/prod.yaml`, which was not given"), "{refusal}");
}

/// What lies beside the file: texts go with the pod, folders are the node's own.
#[test]
fn what_a_service_mounts_from_its_project() {
    let text = "services:
  web:
    image: r.example/web
    volumes:
    - ./my.cnf:/etc/my.cnf
    - ./my.cnf:/etc/other.cnf:ro,z
    - {type: bind, source: conf/my.cnf, target: /etc/third.cnf, read_only: true}
    - ./password.cnf:/etc/password.cnf
    - ./data:/var/lib/data
    - ../shared:/shared
    - ./../outside:/outside:U
    - ./a b:/b
    - ~/own:/own
    - ./gone.cnf:/etc/gone.cnf
";
    let files = [
        ("a/compose.yaml", text),
        ("a/my.cnf", "[mysqld]\n"),
        ("a/conf/my.cnf", "[client]\n"),
        ("a/a b", "c"),
        ("a/password.cnf", "root_password = geheim\n"),
        ("a/data", FOLDER),
        ("a/../shared", FOLDER),
        ("a/../outside", FOLDER),
    ];
    let made = imported(&files, &["a/compose.yaml"]);
    let pod = &made.pods[0];
    let files: Vec<_> =
        pod.files.iter().map(|it| (it.name.as_str(), it.contents.as_str(), it.mode)).collect();
    assert_eq!(
        files,
        [("2-my.cnf", "[client]\n", 0o444), ("my.cnf", "[mysqld]\n", 0o444)],
        "{:#?}",
        made.notes
    );
    for part in [
        "path: /etc/basalt/pods/web/my.cnf",
        "path: /etc/basalt/pods/web/2-my.cnf",
        "path: /var/lib/basalt/project/data\n      type: DirectoryOrCreate",
        "mountPath: /etc/other.cnf",
    ] {
        assert!(pod.manifest.contains(part), "{part}: {}", pod.manifest);
    }
    assert!(!pod.manifest.contains("geheim"));
    let volume = |index| format!("services.web.volumes[{index}]");
    let fate = |index| {
        let mut notes = made.notes.iter().filter(|note| note.setting == volume(index));
        let note = notes.next_back().unwrap_or_else(|| panic!("{:#?}", made.notes));
        (note.fate, note.message.clone())
    };
    let expected = [
        (Fate::Changed, "as a file of the pod, which the program can read and not write"),
        (Fate::Carried, "as a file of the pod"),
        (Fate::Carried, "as a file of the pod"),
        (Fate::Broken, "the file holds a secret"),
        (Fate::Changed, "as the folder `/var/lib/basalt/project/data` of the host"),
        (Fate::Broken, "`../shared` is not mounted: it lies outside of the project"),
        (Fate::Broken, "`../outside` is not mounted: it lies outside of the project"),
        (Fate::Broken, "`a b` cannot be the name of a file of a pod"),
        (Fate::Broken, "the path on the host is relative"),
        (Fate::Broken, "`gone.cnf` is not mounted: nothing lies there"),
    ];
    for (index, (expected, message)) in expected.into_iter().enumerate() {
        let (found, said) = fate(index);
        assert!(found == expected && said.contains(message), "{index}: {found:?} {said}");
    }
}

/// Texts go with the pod, unless they hold secrets or nobody here has them.
#[test]
fn configs_go_with_the_pod() {
    let text = "services:
  web:
    image: r.example/web
    container_name: front
    configs:
    - site.conf
    - {source: inline, target: /etc/in, mode: 0440}
    - {source: variable, target: relative, uid: '5'}
    - {source: password, mode: 0400}
    - outside
    - absent
configs:
  site.conf: {file: conf/site.conf}
  inline: {content: \"port: ${PORT}\"}
  variable: {environment: PORT}
  password: {content: \"root_password = geheim\"}
  outside: {external: true}
  absent: {file: absent.conf}
";
    let files =
        [("a/compose.yaml", text), ("a/conf/site.conf", "listen 80;\n"), ("a/.env", "PORT=8080\n")];
    let made = imported(&files, &["a/compose.yaml"]);
    assert_eq!(names(&made), ["front"], "{:#?}", made.notes);
    let pod = &made.pods[0];
    let files: Vec<_> =
        pod.files.iter().map(|it| (it.name.as_str(), it.contents.as_str(), it.mode)).collect();
    assert_eq!(
        files,
        [
            ("inline", "port: 8080", 0o440),
            ("site.conf", "listen 80;\n", 0o444),
            ("variable", "8080", 0o444)
        ]
    );
    for line in [
        "path: /etc/basalt/pods/front/site.conf",
        "mountPath: /site.conf",
        "mountPath: /etc/in",
        "mountPath: /relative",
        "path: /var/lib/basalt/secrets/front-password",
        "mountPath: /password",
    ] {
        assert!(pod.manifest.contains(line), "{line}\n{}", pod.manifest);
    }
    for absent in ["geheim", "outside", "absent"] {
        assert!(!pod.manifest.contains(absent), "{}", pod.manifest);
    }
    let snippet = made.snippet.to_yaml("pods", &[]);
    let file = "  - name: site.conf\n    source: pods/front/site.conf\n    mode: '0444'\n";
    assert!(snippet.contains(file), "{snippet}");
    let said = said(&made, "a/compose.yaml").join("\n");
    for expected in [
        "broken: services.web.configs[3]: the text holds a secret",
        "changed: services.web.configs[2]: the file belongs to root, and everybody may read it",
        "broken: services.web.configs[4]: what is in the config is not known",
        "broken: configs.outside.external: the config is kept elsewhere",
        "broken: configs.absent.file: the file was not read (there is no such file)",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    refused(
        "a.yaml",
        "services:\n  a: {image: r.example/a, configs: [sit]}\nconfigs: {site: {content: a}}\n",
        "a.yaml:2:37: error: services.a.configs[0]: no config is called `sit`",
    );
}

/// Every file of every case, by its name.
static CORPUS: LazyLock<Vec<(String, String)>> =
    LazyLock::new(|| ["host", "units", "compose", "project"].map(files).concat());

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
    let mut read = |_: Reference<'_>| Err(Unread::Absent);
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
    refused(
        "a.yaml",
        "include: [b.yaml]\nservices: {}\n",
        "a.yaml:1:11: error: include[0]: the file `b.yaml` was not",
    );
    refused(
        "a.yaml",
        "include: ['https://h.example/b.yaml']\nservices: {}\n",
        "nothing is fetched",
    );
    refused("a.yaml", "include: [{paht: b}]\nservices: {}\n", "`include` has no such field");
    refused(
        "a.yaml",
        "services:\n  a: {extends: b}\n  c: {image: r.example/c}\n",
        "`a.yaml` has no service `b`",
    );
    refused(
        "a.yaml",
        "services:\n  a: {extends: b}\n  b: {extends: a}\n",
        "a.yaml:3:7: error: services.a.extends: the service extends itself",
    );
    refused("a.yaml", "services:\n  a: {extends: {file: b.yaml}}\n", "it names no service");
    refused(
        "a.yaml",
        "services:\n  a: {extends: b, cap_add: {c: d}}\n  b: {cap_add: [e]}\n",
        "a.yaml:2:28: error: services.a.cap_add: it is of another kind than what it is merged over, a.yaml:3:16",
    );
}
