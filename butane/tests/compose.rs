//! Several files and documents: what comes out, what is reported, what is refused.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use basalt_butane::{
    Composed, Layout, Options, Output, Source, Values, Warnings, compile, compile_all,
};

const OPTIONS: Options<'_> =
    Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };

/// Composes `a.bu`, `b.bu` and so on. What begins with `=` is taken as it is; others get the head of fcos 1.4.0.
fn compose(texts: &[&str]) -> Composed {
    let files: Vec<(String, String)> = ('a'..)
        .zip(texts)
        .map(|(name, text)| {
            let text = match text.strip_prefix("= ") {
                Some(text) => text.to_owned(),
                None => format!("variant: fcos\nversion: 1.4.0\n{text}"),
            };
            (format!("{name}.bu"), text)
        })
        .collect();
    let sources: Vec<Source> =
        files.iter().map(|(file, text)| Source { file, bytes: text.as_bytes() }).collect();
    compile_all(&sources, &Values::NONE, &OPTIONS)
}

#[track_caller]
fn check(texts: &[&str], expected: &str, overrides: &[&str]) {
    check_with_warnings(texts, expected, overrides, "");
}

#[track_caller]
fn check_with_warnings(texts: &[&str], expected: &str, overrides: &[&str], warnings: &str) {
    let Composed { config, report, overrides: found } = compose(texts);
    assert_eq!(report.to_string(), warnings);
    assert_eq!(config.unwrap().text(Layout::Compact).trim_end(), expected);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, overrides);
}

#[track_caller]
fn refuse(texts: &[&str], expected: &str) {
    let Composed { config, report, .. } = compose(texts);
    assert!(config.is_none());
    assert_eq!(report.to_string(), expected);
}

#[test]
fn later_files_win_and_the_report_says_over_whom() {
    check(
        &[
            "storage: {files: [{path: /a, mode: 0644, contents: {inline: one}}]}",
            "storage: {files: [{path: /b}, {path: /a, mode: 0600}]}",
            "storage: {files: [{path: /a, contents: {inline: two}}]}",
        ],
        r#"{"ignition":{"version":"3.3.0"},"storage":{"files":[{"contents":{"compression":"","source":"data:,two"},"mode":384,"path":"/a"},{"path":"/b"}]}}"#,
        &[
            "b.bu:3:48: storage.files[/a].mode: 0600 takes the place of 0644 of a.bu:3:36",
            "c.bu:3:49: storage.files[/a].contents.source: takes the place of a.bu:3:61",
        ],
    );
}

#[test]
fn the_report_as_data() {
    let Composed { overrides, .. } = compose(&[
        "passwd: {users: [{name: core, shell: /bin/sh, password_hash: old}]}",
        "passwd: {users: [{name: core, shell: /bin/zsh, password_hash: new}]}",
    ]);
    expect_test::expect![[r#"
        [
          {
            "path": "passwd.users[core].passwordHash",
            "kind": "replaced",
            "before": {
              "file": "a.bu",
              "line": 3,
              "column": 62,
              "path": "$.passwd.users.0.password_hash",
              "value": "(secret)"
            },
            "after": {
              "file": "b.bu",
              "line": 3,
              "column": 63,
              "path": "$.passwd.users.0.password_hash",
              "value": "(secret)"
            }
          },
          {
            "path": "passwd.users[core].shell",
            "kind": "replaced",
            "before": {
              "file": "a.bu",
              "line": 3,
              "column": 38,
              "path": "$.passwd.users.0.shell",
              "value": "/bin/sh"
            },
            "after": {
              "file": "b.bu",
              "line": 3,
              "column": 38,
              "path": "$.passwd.users.0.shell",
              "value": "/bin/zsh"
            }
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&overrides).unwrap());
}

#[test]
fn documents_of_a_file_are_files_without_a_head() {
    let expected =
        r#"{"ignition":{"version":"3.3.0"},"storage":{"links":[{"path":"/a","target":"/b"}]}}"#;
    let first = "storage:\n  files: [{path: /a}]\n---\n";
    check(
        &[&format!("{first}storage:\n  links: [{{path: /a, target: /b}}]\n")],
        expected,
        &["a.bu:7:11: storage.files[/a]: takes away what a.bu:4:11 says"],
    );
    let second = "variant: fcos\nversion: 1.4.0\nstorage: {links: [{path: /a, target: /b}]}\n";
    check(
        &[&format!("{first}{second}---\n# Nothing.\n")],
        expected,
        &["a.bu:8:19: storage.files[/a]: takes away what a.bu:4:11 says"],
    );
}

#[test]
fn documents_without_content_are_nothing() {
    let expected = r#"{"ignition":{"version":"3.3.0"}}"#;
    for text in ["", "---\n", "...\n", "---\n# Nothing.\n", "---\n---\nnull\n...\n", "--- ~"] {
        check(&[text], expected, &[]);
    }
    check(&["= # Nothing.\n---\nvariant: fcos\nversion: 1.4.0\n"], expected, &[]);
    refuse(
        &["", "= # Nothing.\n---\n"],
        "b.bu:1:1: $: there is no config in here\n  hint: start with `variant: fcos` and `version: 1.4.0`",
    );
}

#[test]
fn no_files_are_no_config() {
    let Composed { config, report, .. } = compile_all(&[], &Values::NONE, &OPTIONS);
    assert!(config.is_none() && report.has_errors());
}

#[test]
fn half_a_head_is_not_filled_up() {
    refuse(
        &["---\nvariant: fcos\n"],
        "a.bu:4:1: $.version: `version` is missing\n  hint: write `version: 1.4.0`",
    );
}

#[test]
fn versions_may_differ_and_variants_may_not() {
    check(
        &[
            "= variant: fcos\nversion: 1.5.0\nstorage: {luks: [{name: a, device: /dev/a, discard: true}]}",
            "storage: {luks: [{name: a, device: /dev/b}]}",
        ],
        r#"{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"device":"/dev/b","discard":true,"name":"a"}]}}"#,
        &["b.bu:3:36: storage.luks[a].device: `/dev/b` takes the place of `/dev/a` of a.bu:3:36"],
    );
    refuse(
        &["", "= variant: flatcar\nversion: 1.1.0\n", "nonsense: 1"],
        "b.bu:1:10: $.variant: `flatcar` cannot be merged with the `fcos` of a.bu:1:10\n  hint: files that are merged have one variant; their versions may differ\n\
         c.bu:3:1: warning: $.nonsense: a config has no `nonsense`",
    );
}

#[test]
fn every_file_has_the_fields_of_its_own_version() {
    check_with_warnings(
        &[
            "= variant: fcos\nversion: 1.5.0\n",
            "storage: {luks: [{name: a, device: /dev/a, discard: true}]}",
        ],
        r#"{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"device":"/dev/a","name":"a"}]}}"#,
        &[],
        "b.bu:3:44: warning: $.storage.luks.0.discard: an encrypted volume has no `discard`\n  hint: fcos has it from version 1.5.0 on",
    );
}

#[test]
fn modes_of_old_versions_keep_their_meaning() {
    check_with_warnings(
        &[
            "= variant: fcos\nversion: 1.7.0\nstorage: {directories: [{path: /a, mode: 01777}]}",
            "storage: {directories: [{path: /b, mode: 01777}]}",
        ],
        r#"{"ignition":{"version":"3.6.0"},"storage":{"directories":[{"mode":1023,"path":"/a"},{"mode":511,"path":"/b"}]}}"#,
        &[],
        "b.bu:3:42: warning: $.storage.directories.0.mode: setuid, setgid and sticky bits are left out: version 1.4.0 does not set them\n  hint: write the newer version in this file",
    );
}

#[test]
fn what_is_made_of_the_whole_is_said_once() {
    refuse(
        &["boot_device: {layout: x86_64}", "boot_device: {luks: {tpm2: true}}"],
        "b.bu:3:14: $.boot_device: `boot_device` is in a.bu:3:14 already\n  hint: write all of it in one place: what it stands for is made of the whole",
    );
}

#[test]
fn repeats_in_one_file_are_not_merged_away() {
    refuse(
        &[
            "storage: {files: [{path: /a}, {path: /a}]}",
            "storage: {files: [{path: /a, mode: 0600}]}",
        ],
        "a.bu:3:31: $.storage.files.1: `/a` is there already",
    );
}

#[test]
fn the_rules_are_for_the_result() {
    // Each alone would be refused.
    check(
        &[
            "storage: {links: [{path: /a, hard: true}]}",
            "storage: {links: [{path: /a, target: /b}]}",
        ],
        r#"{"ignition":{"version":"3.3.0"},"storage":{"links":[{"hard":true,"path":"/a","target":"/b"}]}}"#,
        &[],
    );
    refuse(
        &["storage: {files: [{path: /a/b}]}", "storage: {links: [{path: /a, target: /c}]}"],
        "a.bu:3:19: $.storage.files.0: it is below `/a`, which is a link",
    );
}

#[test]
fn findings_of_all_files_in_one_run() {
    refuse(
        &["a: 1", "= variant: fcos\n", "= {", "storage: {files: [{path: b}]}"],
        "a.bu:3:1: warning: $.a: a config has no `a`\n\
         b.bu:1:1: $.version: `version` is missing\n  hint: write `version: 1.4.0`\n\
         c.bu:2:1: not YAML: did not find expected node content while parsing a flow node",
    );
}

#[test]
fn a_mount_unit_that_does_not_follow() {
    let filesystem = "storage: {filesystems: [{device: /dev/a, format: ext4, path: /var/a, with_mount_unit: true}]}";
    let Composed { report, .. } =
        compose(&[filesystem, "storage: {filesystems: [{device: /dev/a, format: xfs}]}"]);
    assert_eq!(
        report.to_string(),
        "b.bu:3:50: warning: $.storage.filesystems.0.format: the mount unit of a.bu:3:87 does not follow\n  hint: set `with_mount_unit` here as well, with all that the unit is made of"
    );
    let Composed { report, .. } = compose(&[filesystem, &filesystem.replace("ext4", "xfs")]);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_mount_unit_that_knows_nothing_of_the_network() {
    let volume =
        "luks: [{name: a, device: /dev/b, clevis: {tang: [{url: 'https://t', thumbprint: x}]}}]";
    let filesystem =
        "filesystems: [{device: /dev/mapper/a, format: ext4, path: /var/a, with_mount_unit: true}]";
    let Composed { report, .. } =
        compose(&[&format!("storage: {{{volume}}}"), &format!("storage: {{{filesystem}}}")]);
    assert_eq!(
        report.to_string(),
        "b.bu:3:94: warning: $.storage.filesystems.0.with_mount_unit: the mount unit does not wait for the network, which `a` of a.bu:3:18 needs\n  hint: write the volume and the file system in one document"
    );
    let together = format!("storage: {{{volume}, {filesystem}}}");
    let Composed { report, .. } = compose(&[&together, ""]);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_hash_of_contents_that_are_gone() {
    let hash = "0".repeat(64);
    let file =
        |contents: &str| format!("storage: {{files: [{{path: /a, contents: {{{contents}}}}}]}}");
    let verified = file(&format!("source: 'https://a', verification: {{hash: sha256-{hash}}}"));
    let Composed { report, .. } = compose(&[&verified, &file("source: 'https://b'")]);
    assert_eq!(
        report.to_string(),
        "b.bu:3:49: warning: $.storage.files.0.contents.source: the hash of a.bu:3:83 stays, for contents that are replaced here\n  hint: say here what holds for the new contents"
    );
    let Composed { report, .. } =
        compose(&[&verified, &verified.replace("https://a", "https://b")]);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn machine_configs() {
    let head = "= variant: openshift\nversion: 4.18.0\nmetadata:\n  name: NAME\n  labels: {machineconfiguration.openshift.io/role: worker}\n";
    let first = format!(
        "{}openshift: {{kernel_arguments: [a, b], kernel_type: realtime}}\n---\nopenshift: {{fips: true}}\nstorage: {{luks: [{{name: a, device: /dev/a}}]}}\n",
        head.replace("NAME", "one")
    );
    let second = format!(
        "{}openshift: {{kernel_arguments: [b, c], kernel_type: default}}\nstorage: {{luks: [{{name: b, device: /dev/b}}]}}\n",
        head.replace("NAME", "two")
    );
    let Composed { config, report, overrides } = compose(&[&first, &second]);
    assert!(report.is_empty(), "{report}");
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    assert_eq!(
        overrides,
        [
            "b.bu:4:9: metadata.name: `two` takes the place of `one` of a.bu:4:9",
            "b.bu:6:52: openshift.kernel_type: `default` takes the place of `realtime` of a.bu:6:52",
        ]
    );
    expect_test::expect![[r#"
        # Generated by Butane; do not edit
        apiVersion: machineconfiguration.openshift.io/v1
        kind: MachineConfig
        metadata:
          labels:
            machineconfiguration.openshift.io/role: worker
          name: two
        spec:
          config:
            ignition:
              version: '3.4.0'
            storage:
              luks:
              - device: /dev/a
                name: a
                options:
                - '--cipher'
                - aes-cbc-essiv:sha256
              - device: /dev/b
                name: b
                options:
                - '--cipher'
                - aes-cbc-essiv:sha256
          fips: true
          kernelArguments:
          - a
          - b
          - c
          kernelType: default
    "#]]
    .assert_eq(&config.unwrap().text(Layout::Compact));
}

#[test]
fn one_file_is_compiled_as_ever() {
    let text = "variant: fcos\nversion: 1.4.0\nstorage: {files: [{path: /a, mode: 420}]}\n";
    let (config, report) = compile("a.bu", text.as_bytes(), &OPTIONS);
    let composed = compose(&[&format!("= {text}")]);
    assert_eq!(report, composed.report);
    assert_eq!(config.unwrap().text(Layout::Pretty), composed.config.unwrap().text(Layout::Pretty));
    assert!(composed.overrides.is_empty());
}

/// Configs of the corpus with the variant and version they are for.
fn corpus() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/good");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    let head = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
        Some(format!("{line}\n"))
    };
    let with_head = texts.filter_map(|text| {
        let head = head(&text, "variant")? + &head(&text, "version")?;
        Some((text, head))
    });
    with_head.filter(|(_, head)| head.contains("fcos")).collect()
}

fn compose_corpus(texts: &[&str]) -> Composed {
    let files = camino::Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/files"));
    let sources: Vec<Source> =
        texts.iter().map(|text| Source { file: "a.bu", bytes: text.as_bytes() }).collect();
    compile_all(&sources, &Values::NONE, &Options { files_dir: Some(files), ..OPTIONS })
}

fn text(composed: &Composed) -> Option<String> {
    Some(composed.config.as_ref()?.text(Layout::Compact))
}

#[test]
fn merging_with_nothing_changes_nothing() {
    let corpus = corpus();
    assert!(corpus.len() > 50);
    for (config, head) in &corpus {
        let alone = compose_corpus(&[config]);
        assert!(alone.config.is_some(), "{config}{}", alone.report);
        for texts in [[config.as_str(), head], [head, config]] {
            let composed = compose_corpus(&texts);
            assert_eq!(text(&alone), text(&composed), "{config}");
            assert_eq!(alone.report.to_string(), composed.report.to_string(), "{config}");
            assert!(composed.overrides.is_empty(), "{config}");
        }
    }
}

#[test]
fn documents_of_one_file_are_the_same_as_files() {
    // What else there is behind a document, or that nothing is, has its own tests.
    let mut corpus = corpus();
    corpus.retain(|(text, _)| {
        text.ends_with('\n') && !text.lines().any(|line| matches!(line, "---" | "..."))
    });
    let mut merged = 0;
    for (index, (one, _)) in corpus.iter().enumerate() {
        let (two, _) = &corpus[(index * 7 + 3) % corpus.len()];
        let stream = format!("{one}---\n{two}");
        let (files, documents) = (compose_corpus(&[one, two]), compose_corpus(&[&stream]));
        assert_eq!(text(&files), text(&documents), "{stream}\n{}", documents.report);
        let paths = |composed: &Composed| -> Vec<String> {
            composed.overrides.iter().map(|found| found.path.clone()).collect()
        };
        assert_eq!(paths(&files), paths(&documents), "{stream}");
        merged += usize::from(files.config.is_some());
    }
    assert!(merged > corpus.len() / 2, "{merged}");
}
