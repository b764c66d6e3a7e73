//! Ignition → Butane: what a compiler made compiles to the same again, and reads like something a person wrote.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

mod foreign;
mod ideas;

use std::fs;
use std::io::Read;
use std::sync::LazyLock;

use basalt_butane::{
    Layout, Options, Output, ReverseOptions, Warnings, compile, compile_node, reverse, targets,
};
use basalt_model::cluster::Cluster;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8PathBuf;
use expect_test::{Expect, expect};
use flate2::read::GzDecoder;
use ideas::IDEAS;
use proptest::prelude::*;
use serde_json::Value as Json;

fn corpus() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn compiled(name: &str, butane: &[u8], output: Output) -> Option<String> {
    let files = corpus().join("files");
    let options = Options { files_dir: Some(&files), warnings: Warnings::Allowed, output };
    compile(name, butane, &options).0.map(|compiled| compiled.text(Layout::Compact))
}

fn reversed(name: &str, config: &str, variant: Option<&str>) -> String {
    let (text, report) =
        reverse(name, config.as_bytes(), &ReverseOptions { variant, warnings: Warnings::Allowed });
    text.unwrap_or_else(|| panic!("{name}: {report}\n{config}"))
}

/// Whether the compiler knows every key of a config.
fn knows_keys(butane: &str) -> bool {
    let files = corpus().join("files");
    let options =
        Options { files_dir: Some(&files), warnings: Warnings::Allowed, output: Output::Variant };
    let report = compile("a.bu", butane.as_bytes(), &options).1;
    !report.sorted().iter().any(|finding| finding.message.contains(" has no `"))
}

/// The variant that a Butane config names.
fn variant(butane: &str) -> &str {
    let line = butane.lines().find(|line| line.starts_with("variant:")).unwrap_or("variant: fcos");
    line["variant:".len()..].trim()
}

/// The config compiles, and compiles to the same when it has been reversed.
#[track_caller]
fn check_round_trip(name: &str, butane: &str) -> String {
    let config = compiled(name, butane.as_bytes(), Output::Variant).unwrap();
    let text = reversed(name, &config, Some(variant(butane)));
    let again = compiled(name, text.as_bytes(), Output::Variant);
    assert_eq!(again.as_ref(), Some(&config), "{name}:\n{butane}\n---\n{text}");
    text
}

#[test]
fn the_corpus_survives_the_round_trip() {
    let mut count = 0;
    for entry in corpus().join("good").read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let Ok(butane) = fs::read_to_string(&path) else { continue };
        count += 1;
        check_round_trip(path.as_str(), &butane);
    }
    assert!(count > 50, "{count}");
}

#[test]
fn every_target_survives_the_round_trip() {
    let mut is_taken = vec![false; IDEAS.len()];
    for (variant, version) in targets() {
        for (index, idea) in IDEAS.iter().enumerate() {
            let butane = ideas::config(variant, version, idea);
            if compiled("idea.bu", butane.as_bytes(), Output::Variant).is_some() {
                is_taken[index] = true;
                let text = check_round_trip("idea.bu", &butane);
                // What a version does not know is left out with a warning.
                let knows_all = knows_keys(&butane);
                for sugar in ["boot_device:", "grub:", "with_mount_unit: true"] {
                    assert!(
                        !knows_all || butane.contains(sugar) == text.contains(sugar),
                        "{butane}\n{text}"
                    );
                }
            }
        }
    }
    for (idea, is_taken) in IDEAS.iter().zip(is_taken) {
        assert!(is_taken, "no target takes this: {idea}");
    }
}

#[test]
fn the_configs_of_nodes_survive_the_round_trip() {
    let lab = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/clusters/lab");
    let bytes = fs::read(lab.join("cluster.yaml")).unwrap();
    let (cluster, _) = Cluster::parse("cluster.yaml", &bytes).unwrap();
    for node in &cluster.nodes {
        let config = compile_node(node, &[]).0.unwrap();
        let text = reversed("node.ign", &config.ignition, None);
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let again = compiled("node.bu", text.as_bytes(), Output::Variant).unwrap();
        assert_eq!(json(&again), json(&config.ignition), "{text}");
        assert!(!text.contains("data:"), "{text}");
    }
}

#[track_caller]
fn check(config: &str, expected: Expect) {
    let text = reversed("a.ign", config, None);
    expected.assert_eq(&text);
    assert!(compiled("a.bu", text.as_bytes(), Output::Variant).is_some(), "{text}");
}

#[test]
fn a_config_that_a_person_wrote() {
    check(
        r##"{
  "ignition": { "version": "3.4.0", "config": { "merge": [] }, "timeouts": null },
  "passwd": { "users": [ { "name": "core", "sshAuthorizedKeys": [ "ssh-ed25519 AAAA you@host" ] } ] },
  "storage": {
    "files": [
      { "path": "/etc/hostname", "mode": 420, "contents": { "source": "data:,node1" } },
      { "path": "/usr/local/bin/run", "mode": 493, "overwrite": true,
        "contents": { "source": "data:text/plain;charset=utf-8;base64,IyEvYmluL3NoCnNldCAtZXUKCQllY2hvICJub2RlOiAkMSIgIAo=" } },
      { "path": "/etc/key", "mode": 256, "contents": { "source": "data:;base64,AAEC/w==" } },
      { "path": "/etc/far", "contents": { "source": "https://example.com/a", "verification": { "hash": "sha256-0000000000000000000000000000000000000000000000000000000000000000" } } }
    ],
    "directories": [ { "path": "/var/lib/a", "mode": 1023, "user": { "id": 1000 } } ]
  },
  "systemd": { "units": [ { "name": "a.service", "enabled": true, "contents": "[Service]\nExecStart=/usr/local/bin/run \ud83d\ude00\n\n[Install]\nWantedBy=multi-user.target\n" } ] }
}"##,
        expect![[r#"
            variant: fcos
            version: 1.5.0
            passwd:
              users:
              - name: core
                ssh_authorized_keys:
                - ssh-ed25519 AAAA you@host
            storage:
              directories:
              - path: /var/lib/a
                mode: 01777
                user:
                  id: 1000
              files:
              - path: /etc/hostname
                contents:
                  inline: node1
                mode: 0644
              - path: /usr/local/bin/run
                contents:
                  inline: |
                    #!/bin/sh
                    set -eu
                    		echo "node: $1"  
                mode: 0755
                overwrite: true
              - path: /etc/key
                contents:
                  source: 'data:;base64,AAEC/w=='
                mode: 0400
              - path: /etc/far
                contents:
                  source: https://example.com/a
                  verification:
                    hash: sha256-0000000000000000000000000000000000000000000000000000000000000000
            systemd:
              units:
              - name: a.service
                contents: |
                  [Service]
                  ExecStart=/usr/local/bin/run 😀

                  [Install]
                  WantedBy=multi-user.target
                enabled: true
        "#]],
    );
}

#[test]
fn sugar_is_recognised() {
    let butane = "variant: fcos
version: 1.5.0
boot_device: {layout: aarch64, mirror: {devices: [/dev/vda, /dev/vdb]}, luks: {tpm2: true}}
grub: {users: [{name: root, password_hash: grub.pbkdf2.sha512.10000.A}]}
storage:
  disks: [{device: /dev/vda, partitions: [{label: root-1, size_mib: 8192}, {label: var-1}]}]
  filesystems: [{device: /dev/disk/by-partlabel/var-1, format: xfs, path: /var, with_mount_unit: true}]
systemd: {units: [{name: var.mount, dropins: [{name: a.conf, contents: '[Mount]'}]}]}
";
    let config = compiled("a.bu", butane.as_bytes(), Output::Variant).unwrap();
    check(
        &config,
        expect![[r#"
            variant: fcos
            version: 1.5.0
            storage:
              disks:
              - device: /dev/vda
                partitions:
                - label: root-1
                  size_mib: 8192
                - label: var-1
              filesystems:
              - path: /var
                device: /dev/disk/by-partlabel/var-1
                format: xfs
                with_mount_unit: true
            systemd:
              units:
              - name: var.mount
                dropins:
                - name: a.conf
                  contents: '[Mount]'
            boot_device:
              layout: aarch64
              luks:
                tpm2: true
              mirror:
                devices:
                - /dev/vda
                - /dev/vdb
            grub:
              users:
              - name: root
                password_hash: grub.pbkdf2.sha512.10000.A
        "#]],
    );
}

#[test]
fn what_only_looks_like_sugar_is_left_alone() {
    // The unit's text is the generated one, but it stands behind another, where the compiler never puts it.
    check(
        r##"{"ignition":{"version":"3.3.0"},"storage":{"filesystems":[{"device":"/dev/a","format":"ext4","path":"/var/a"}]},"systemd":{"units":[{"name":"a.service","mask":true},{"contents":"# Generated by Butane\n[Unit]\nRequires=systemd-fsck@dev-a.service\nAfter=systemd-fsck@dev-a.service\n\n[Mount]\nWhere=/var/a\nWhat=/dev/a\nType=ext4\n\n[Install]\nRequiredBy=local-fs.target","enabled":true,"name":"var-a.mount"}]}}"##,
        expect![[r#"
            variant: fcos
            version: 1.4.0
            storage:
              filesystems:
              - path: /var/a
                device: /dev/a
                format: ext4
            systemd:
              units:
              - name: a.service
                mask: true
              - name: var-a.mount
                contents: |-
                  # Generated by Butane
                  [Unit]
                  Requires=systemd-fsck@dev-a.service
                  After=systemd-fsck@dev-a.service

                  [Mount]
                  Where=/var/a
                  What=/dev/a
                  Type=ext4

                  [Install]
                  RequiredBy=local-fs.target
                enabled: true
        "#]],
    );
}

#[test]
fn a_machine_config() {
    check(
        "apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 99-worker-chrony
  labels:
    machineconfiguration.openshift.io/role: worker
spec:
  config:
    ignition:
      version: 3.4.0
    storage:
      files:
      - path: /etc/chrony.conf
        mode: 420
        overwrite: true
        contents:
          source: data:text/plain;charset=utf-8;base64,c2VydmVyIGEuZXhhbXBsZSBpYnVyc3QKZHJpZnRmaWxlIC92YXIvbGliL2Nocm9ueS9kcmlmdAo=
  kernelArguments: [nosmt, 'a=1']
  kernelType: realtime
",
        expect![[r#"
            variant: openshift
            version: 4.18.0
            metadata:
              name: '99-worker-chrony'
              labels:
                machineconfiguration.openshift.io/role: worker
            storage:
              files:
              - path: /etc/chrony.conf
                contents:
                  inline: |
                    server a.example iburst
                    driftfile /var/lib/chrony/drift
                mode: 0644
                overwrite: true
            openshift:
              kernel_arguments:
              - nosmt
              - 'a=1'
              kernel_type: realtime
        "#]],
    );
}

#[track_caller]
fn check_findings(config: &str, variant: Option<&str>, expected: Expect) {
    let options = ReverseOptions { variant, warnings: Warnings::Allowed };
    let (text, report) = reverse("a.ign", config.as_bytes(), &options);
    assert_eq!(text.is_none(), report.has_errors());
    expected.assert_eq(&report.to_string());
}

#[test]
fn findings_have_places() {
    let config = |rest: &str| format!("{{\"ignition\": {{\"version\": \"3.4.0\"}}{rest}}}");
    check_findings("", None, expect!["a.ign:1:1: $: there is no config in here"]);
    check_findings(
        "kind: MachineConfig\nmetadata: {name: a, labels: {machineconfiguration.openshift.io/role: a}}\n---\na: b\n",
        None,
        expect![[r#"
            a.ign:3:1: $: only one config can be reversed at a time
              hint: give each in a file of its own"#]],
    );
    check_findings("[]", None, expect!["a.ign:1:1: $: a config is a mapping, not a list"]);
    check_findings(
        "{\"ignition\": {\n  \"version\": 3.4.0\n}}",
        None,
        expect!["a.ign:2:17: $: not JSON: expected `,` or `}`"],
    );
    check_findings(
        "{\"ignition\": {\n  \"version\": \"3.4.0\",\n}}",
        None,
        expect!["a.ign:3:1: $: not JSON: key must be a string"],
    );
    check_findings(
        "{}",
        None,
        expect![[r#"
        a.ign:1:1: $.ignition.version: the version of Ignition's specification is missing
          hint: an Ignition config has `"ignition": {"version": "3.4.0"}`"#]],
    );
    check_findings(
        "{\"ignition\": {\"version\": \"2.3.0\"}}",
        None,
        expect![[r#"
        a.ign:1:26: $.ignition.version: specification 2.3.0 is older than Butane
          hint: convert it to 3.x first, with `ign-converter`"#]],
    );
    check_findings(
        "{\"ignition\": {\"version\": \"3.9.0\"}}",
        None,
        expect![[r#"
        a.ign:1:26: $.ignition.version: there is no specification 3.9.0
          hint: `fcos` has `3.0.0`, `3.1.0`, `3.2.0`, `3.3.0`, `3.4.0`, `3.5.0`, `3.6.0` and `3.7.0-experimental`"#]],
    );
    check_findings(
        "{\"ignition\": {\"version\": \"3.0.0\"}}",
        Some("flatcar"),
        expect![[r#"
        a.ign:1:26: $.ignition.version: no version of `flatcar` gives specification 3.0.0
          hint: `flatcar` has `3.3.0`, `3.4.0` and `3.7.0-experimental`"#]],
    );
    check_findings(
        &config(""),
        Some("fcso"),
        expect![[r#"
        a.ign:1:1: $: there is no variant `fcso`
          hint: there are `fcos`, `flatcar`, `openshift`, `r4e` and `fiot`"#]],
    );
    check_findings(
        &config(""),
        Some("openshift"),
        expect![[r#"
        a.ign:1:1: $: an `openshift` config needs a name and a role, which Ignition has not
          hint: give the MachineConfig that the config is in, or choose another variant"#]],
    );
    check_findings(
        "variant: fcos\nversion: 1.5.0\n",
        None,
        expect![[r#"
        a.ign:1:1: $.variant: this is a Butane config already
          hint: to be reversed is what was compiled: an Ignition config or a MachineConfig"#]],
    );
    check_findings(
        &config(
            ",\n \"storage\": {\"file\": [], \"files\": [{\"path\": \"a\", \"mode\": \"420\"}]}",
        ),
        None,
        expect![[r#"
            a.ign:2:14: warning: $.storage.file: the `storage` section has no `file`
              hint: did you mean `files`?
            a.ign:2:45: $.storage.files.0.path: the path is not absolute
            a.ign:2:58: $.storage.files.0.mode: a whole number is wanted here, not the text `420`
              hint: leave the quotes away"#]],
    );
    check_findings(
        &config(",\n \"storage\": {\"disks\": [{\"device\": \"/dev/a\"}]}"),
        Some("r4e"),
        expect!["a.ign:2:23: $.storage.disks: this variant cannot partition disks"],
    );
    check_findings(
        &config(",\n \"systemd\": {\"quadlets\": []}, \"storage\": {}, \"storage\": {}"),
        None,
        expect!["a.ign:2:46: `storage` is already set in line 2"],
    );
    check_findings(
        "kind: MachineConfig\nmetadata: {name: a, uid: b}\nspec: {osImageURL: c, config: {ignition: {version: 3.3.0}}}\n",
        None,
        expect![[r#"
            a.ign:3:52: $.spec.config.ignition.version: no version of `openshift` gives specification 3.3.0
              hint: `openshift` has `3.2.0`, `3.4.0`, `3.5.0` and `3.7.0-experimental`"#]],
    );
    check_findings(
        "kind: MachineConfig\nmetadata: {name: a, uid: b}\nspec: {osImageURL: c, config: {ignition: {version: 3.2.0}}}\n",
        None,
        expect![[r#"
            a.ign:2:11: $.metadata.labels: nothing says which machines this is for
              hint: add the label `machineconfiguration.openshift.io/role`, with `worker` or `master`
            a.ign:2:21: warning: $.metadata.uid: the `metadata` of a MachineConfig has no `uid`
              hint: there is `passwd.users.uid`
            a.ign:3:8: warning: $.spec.osImageURL: the `spec` of a MachineConfig has no `osImageURL`"#]],
    );
    check_findings(
        "kind: MachineConfig\nspec: {config: {ignition: {version: 3.2.0}}}\n",
        None,
        expect![[r#"
            a.ign:1:1: $.metadata: the MachineConfig has no name
            a.ign:2:16: $.spec.config.metadata.name: a MachineConfig has a name
              hint: set `metadata.name`
            a.ign:2:16: $.spec.config.metadata.labels: nothing says which machines this is for
              hint: add the label `machineconfiguration.openshift.io/role`, with `worker` or `master`"#]],
    );
    check_findings(
        "kind: MachineConfig\nmetadata: {name: a}\n",
        Some("fcos"),
        expect![[r#"
        a.ign:1:1: $: a MachineConfig cannot become a config of `fcos`
          hint: leave the variant away, or give the Ignition config in `spec.config`"#]],
    );
}

/// Compiled configs of the corpus.
static COMPILED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut paths: Vec<Utf8PathBuf> = corpus()
        .join("good")
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    paths.sort();
    let compile = |path| compiled("a.bu", &fs::read(path).unwrap(), Output::Variant);
    paths.iter().filter_map(compile).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the text is, there is Butane or an error; and the Butane compiles.
    #[test]
    fn damaged_configs(
        config in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[0-9a-z\"{}\\[\\],:\\\\ \n]"), 0..3),
    ) {
        let mut bytes = config.get(&COMPILED).clone().into_bytes();
        for (index, change) in changes {
            let index = index.index(bytes.len());
            bytes[index] = change.as_bytes()[0];
        }
        let options = ReverseOptions { variant: None, warnings: Warnings::Allowed };
        let (text, report) = reverse("a.ign", &bytes, &options);
        prop_assert_eq!(text.is_none(), report.has_errors());
        if let Some(text) = text {
            prop_assert!(compiled("a.bu", text.as_bytes(), Output::Variant).is_some(), "{}", text);
        }
    }
}

#[test]
fn characters_that_yaml_reads_otherwise() {
    for character in ['\u{7f}', '\u{85}', '\u{2028}', '\u{feff}', '\u{ffff}'] {
        let unit = format!("#x{character}y");
        let config = serde_json::json!({
            "ignition": {"version": "3.4.0"},
            "systemd": {"units": [{"contents": unit, "name": "a.service"}]},
        });
        let text = reversed("a.ign", &config.to_string(), None);
        let again = compiled("a.bu", text.as_bytes(), Output::Ignition).unwrap();
        let again: Json = serde_json::from_str(&again).unwrap();
        assert_eq!(again["systemd"]["units"][0]["contents"], unit.as_str(), "{text}");
    }
}
