//! The corpus: manifests with one idea each, those that are fine in `good` and those that are not in `bad`.
//!
//! `findings.txt` says what is found in the latter; write it anew with `UPDATE_EXPECT=1`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use basalt_model::report::Severity;
use basalt_static_pods::lint::policy::{HostPath, HostPathKind};
use basalt_static_pods::lint::{Effect, File, Host, LintFinding, Policy, Rules, asked, lint};
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

/// What the kubelet takes, and what likely does something else than was meant.
#[test]
fn questionable_values() {
    let volume = |source: &str| format!("  volumes: [{{name: v, {source}}}]\n");
    for (rest, expected) in [
        ("    resources: {limits: {ephemeral-storage: 500m}}\n".to_owned(), "resource-value"),
        ("    resources: {requests: {memory: 500m}}\n".to_owned(), "memory"),
        ("    resources: {limits: {a.example/gpu: 1}}\n".to_owned(), "resource-value"),
        (volume("emptyDir: {sizeLimit: 512m}"), "empty-dir"),
        (volume("hostPath: {path: '/srv/{{ site }}'}"), "host-path"),
        (volume("hostPath: {path: '/srv/${SITE}'}"), "host-path"),
        ("  hostname: b\n".to_owned(), "hostname"),
    ] {
        let text = pod("a", &rest);
        let found = findings("a.yaml", text.as_bytes());
        let rules: Vec<_> = found.iter().map(|one| (one.rule, one.severity())).collect();
        assert_eq!(rules, [(expected, Severity::Warning)], "{text}");
    }
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
    // An image is an image, also where it is mounted.
    let volume = "    volumeMounts: [{name: v, mountPath: /a}]\n  volumes: [{name: v, image: {reference: b, pullPolicy: Always}}]\n";
    let text = pod("a", volume);
    let found = lint(&[File { name: "a.yaml", bytes: text.as_bytes() }], Rules::Basalt(&policy));
    let at = |path: &str| {
        let at_it = found.iter().filter(|finding| finding.path == path);
        at_it.map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(at("spec.volumes[0].image.reference"), ["basalt-image-digest"], "{found:#?}");
    assert_eq!(at("spec.volumes[0].image.pullPolicy"), ["basalt-pull-policy"], "{found:#?}");
}

/// What is too much for the linter alone is not said to be refused by the kubelet.
#[test]
fn bounds_of_our_own() {
    let lists = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let json = |value: &str| format!("{{\"a\": {value}}}");
    let many = format!("[{}1]", "1,".repeat(1_000_000));
    let aliases = |levels: usize| {
        let level =
            |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","));
        format!("a0: &a0 [x]\n{}", (1..=levels).map(level).collect::<String>())
    };
    for (text, is_beyond) in [
        (format!("a: {}", lists(199)), false),
        (format!("a: {}", lists(200)), true),
        (json(&lists(200)), false),
        (json(&lists(300)), true),
        (format!("a: {many}"), true),
        (aliases(4), false),
        (aliases(7), true),
        (format!("a: {}", "[".repeat(100)), false),
    ] {
        let found = findings("a.yaml", text.as_bytes());
        let beyond = found.iter().find(|finding| finding.rule == "beyond-bounds");
        let shown: String = text.chars().take(40).collect();
        assert_eq!(beyond.is_some(), is_beyond, "{shown}: {found:#?}");
        if let Some(beyond) = beyond {
            assert_eq!((found.len(), beyond.effect), (1, Effect::Unread), "{shown}: {found:#?}");
            assert_eq!(beyond.severity(), Severity::Error);
        }
    }
}

/// Secrets stand in no manifest of a node's own, and in no message.
#[test]
fn secrets_are_paths() {
    let policy = Policy::of_own_pods();
    for (rest, expected) in [
        ("env: [{name: DB_PASSWORD, value: hunter2}]", 1),
        ("env: [{name: vault-token, value: hunter2}]", 1),
        ("env: [{name: DB, value: 'mysql://nova:hunter2@192.0.2.1/nova'}]", 1),
        ("args: ['--key', '-----BEGIN RSA PRIVATE KEY-----hunter2']", 1),
        ("command: [a, 'https://user:hunter2@r.example/']", 1),
        ("env: [{name: DB_PASSWORD_FILE, value: hunter2}]", 0),
        ("env: [{name: DB_PASSWORD, value: /run/secrets/db}]", 0),
        ("env: [{name: USE_TOKENS, value: 'true'}, {name: TOKEN}]", 0),
        ("args: ['https://192.0.2.1:8200', user@r.example]", 0),
    ] {
        let text = pod("a", &format!("    {rest}\n"));
        let found =
            lint(&[File { name: "a.yaml", bytes: text.as_bytes() }], Rules::Basalt(&policy));
        let secrets: Vec<_> =
            found.iter().filter(|one| one.rule == "basalt-secret-value").collect();
        assert_eq!(secrets.len(), expected, "{text}");
        assert!(found.iter().all(|one| !one.to_string().contains("hunter2")), "{found:?}");
        assert!(findings("a.yaml", text.as_bytes()).is_empty(), "{text}");
    }
}

/// What a host has, and the rules that a pod breaks there besides.
#[track_caller]
fn check_on_host(found: HostPath, images: &[&str], expected: &[&str]) {
    let text = pod(
        "a",
        "    volumeMounts: [{name: v, mountPath: /a}]\n  volumes: [{name: v, hostPath: {path: /etc/a, type: File}}]\n",
    );
    let files = [File { name: "a.yaml", bytes: text.as_bytes() }];
    let asked = asked(&files);
    assert!(asked.paths.contains("/etc/a") && asked.images.contains("a"), "{asked:?}");
    let mut policy = Policy::of_own_pods();
    let without = lint(&files, Rules::Basalt(&policy));
    policy.host = Some(Host {
        paths: BTreeMap::from([("/etc/a".to_owned(), found)]),
        images: Some(images.iter().map(|image| (*image).to_owned()).collect()),
    });
    let found = lint(&files, Rules::Basalt(&policy));
    let more = found.iter().filter(|finding| !without.contains(finding));
    assert_eq!(more.map(|finding| finding.rule).collect::<Vec<_>>(), expected);
}

#[test]
fn what_the_host_has() {
    let file = |label: Option<&str>| HostPath::Found {
        kind: HostPathKind::File,
        label: label.map(str::to_owned),
    };
    check_on_host(file(None), &["a"], &[]);
    check_on_host(file(Some("system_u:object_r:container_file_t:s0")), &["a"], &[]);
    check_on_host(file(Some("system_u:object_r:shadow_t:s0")), &["a"], &["basalt-host-path-label"]);
    check_on_host(HostPath::Missing, &["a"], &["basalt-host-path"]);
    let folder = HostPath::Found { kind: HostPathKind::Folder, label: None };
    check_on_host(folder, &["a"], &["basalt-host-path"]);
    check_on_host(file(None), &["b"], &["basalt-image-missing"]);
}

/// The rules that the checklist names are rules of the linter.
#[test]
fn the_checklist_names_rules_that_there_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lint");
    let mut code = String::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "rs") {
            // Without the tests at the end.
            let text = fs::read_to_string(path).unwrap();
            code += text.split("#[cfg(test)]").next().unwrap();
        }
    }
    let checklist = fs::read_to_string(folder.join("CHECKLIST.md")).unwrap();
    let (mut rows, mut without) = (0, String::new());
    for row in checklist.lines().filter(|line| line.starts_with("| `")) {
        let [function, rules, remark] = row.trim_matches('|').split('|').collect::<Vec<_>>()[..]
        else {
            panic!("{row}")
        };
        rows += 1;
        let rules: Vec<&str> = rules.split('`').skip(1).step_by(2).collect();
        for rule in &rules {
            if !code.contains(&format!("\"{rule}\"")) {
                writeln!(without, "{function}: there is no rule `{rule}`").unwrap();
            }
        }
        if rules.is_empty() && remark.trim().is_empty() {
            writeln!(without, "{function}: neither a rule nor a reason").unwrap();
        }
    }
    assert!(rows > 100, "{rows} functions");
    assert!(without.is_empty(), "{without}");
}
