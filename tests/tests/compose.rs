//! Composed Butane configs against Ignition: what two files become together is what Ignition's own code makes of the
//! two configs that they become alone.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use basalt_butane::{Layout, Options, Output, Source, Values, Warnings, compile, compile_all};
use camino::Utf8PathBuf;
use e2e::peers::peer;
use serde_json::{Value, json};

/// Pieces of configs that meet in the same sections, items and keys. Each is merged with each.
const PIECES: &[&str] = &[
    "storage: {files: [{path: /a, mode: 0644, contents: {inline: one}}, {path: /b}]}",
    "storage: {files: [{path: /b, overwrite: true, contents: {inline: two}}, {path: /a, user: {name: u}}]}",
    "storage: {files: [{path: /a, append: [{inline: x}, {inline: x}], user: {id: 3}}]}",
    "storage: {files: [{path: /a, contents: {source: 'https://a', http_headers: [{name: h, value: v}, {name: i, value: w}]}}]}",
    "storage: {files: [{path: /a, contents: {source: 'https://b', http_headers: [{name: h}, {name: j, value: x}]}}]}",
    "storage: {links: [{path: /a, target: /b}, {path: /c, target: /d}]}",
    "storage: {links: [{path: /a, target: /e, hard: true}], directories: [{path: /c, mode: 0700}]}",
    "storage: {directories: [{path: /a, group: {name: g}}, {path: /b}]}",
    "storage: {disks: [{device: /dev/a, wipe_table: true, partitions: [{number: 1, label: x, size_mib: 5}, {label: y}]}]}",
    "storage: {disks: [{device: /dev/b}, {device: /dev/a, partitions: [{label: y, start_mib: 9}, {number: 1, resize: true}]}]}",
    "storage: {filesystems: [{device: /dev/a, format: ext4, path: /var/a, options: [o], mount_options: [m], with_mount_unit: true}]}",
    "storage: {filesystems: [{device: /dev/a, format: xfs, path: /var/b, options: [o], mount_options: [n], with_mount_unit: true}]}",
    "storage: {raid: [{name: r, level: raid1, devices: [/dev/a, /dev/b], options: [o]}]}",
    "storage: {raid: [{name: r, level: raid0, devices: [/dev/b, /dev/c], options: [o]}]}",
    "storage: {luks: [{name: l, device: /dev/a, options: [o], clevis: {tpm2: true, tang: [{url: 'https://t', thumbprint: a}]}}]}",
    "storage: {luks: [{name: l, device: /dev/a, label: x, clevis: {threshold: 1, tang: [{url: 'https://t', thumbprint: b}, {url: 'https://u', thumbprint: c}]}}]}",
    "storage: {luks: [{name: l, device: /dev/a, key_file: {inline: k}}]}",
    "passwd: {users: [{name: core, groups: [a, b], ssh_authorized_keys: [k], password_hash: x}, {name: o}], groups: [{name: g, gid: 1}]}",
    "passwd: {users: [{name: o, uid: 7}, {name: core, groups: [b, c], ssh_authorized_keys: [k, l], system: true}], groups: [{name: g, system: true}]}",
    "systemd: {units: [{name: a.service, enabled: true, contents: \"[Service]\\n[Install]\\nWantedBy=b\", dropins: [{name: a.conf, contents: '[Unit]'}]}]}",
    "systemd: {units: [{name: b.service, mask: true}, {name: a.service, enabled: false, dropins: [{name: b.conf}, {name: a.conf, contents: '[Service]'}]}]}",
    "systemd: {units: [{name: var-a.mount, enabled: false}]}",
    "kernel_arguments: {should_exist: [a, b], should_not_exist: [c]}",
    "kernel_arguments: {should_exist: [c, b], should_not_exist: [a]}",
    "ignition: {timeouts: {http_total: 5}, proxy: {http_proxy: 'http://p', no_proxy: [a]}, security: {tls: {certificate_authorities: [{source: 'https://a'}]}}}",
    "ignition: {timeouts: {http_total: 0, http_response_headers: 4}, proxy: {https_proxy: 'https://p', no_proxy: [b, a]}, security: {tls: {certificate_authorities: [{source: 'https://b'}, {source: 'https://a'}]}}}",
    "ignition: {config: {merge: [{source: 'https://a'}, {source: 'https://b'}]}}",
    "ignition: {config: {merge: [{source: 'https://c'}, {source: 'https://a', verification: {hash: sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e}}], replace: {source: 'https://d'}}}",
    "boot_device: {luks: {tpm2: true}}",
    "boot_device: {layout: x86_64, mirror: {devices: [/dev/a, /dev/b]}}",
];

/// The versions that pieces are written for, older before newer and the other way round.
const VERSIONS: [(&str, &str); 3] = [("1.4.0", "1.4.0"), ("1.4.0", "1.7.0"), ("1.6.0", "1.5.0")];

struct Pair {
    parent: String,
    child: String,
}

fn pairs() -> Vec<Pair> {
    let config =
        |version: &str, piece: &str| format!("variant: fcos\nversion: {version}\n{piece}\n");
    let mut pairs = Vec::new();
    for (parent, child) in VERSIONS {
        for one in PIECES {
            let with = |two: &&str| Pair { parent: config(parent, one), child: config(child, two) };
            pairs.extend(PIECES.iter().map(with));
        }
    }
    // Whole configs, of every version of the variant.
    let corpus = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../butane/tests/corpus/good");
    let mut paths: Vec<_> =
        fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut texts: Vec<String> =
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    // Ignition 2.26 loses a Tang server's advertisement when it brings a config from 3.4.0 to a later specification.
    texts.retain(|text| text.contains("variant: fcos\n") && !text.contains("advertisement"));
    for (index, text) in texts.iter().enumerate() {
        for step in [1, 7, 23] {
            let child = &texts[(index + step) % texts.len()];
            pairs.push(Pair { parent: text.clone(), child: child.clone() });
        }
    }
    pairs
}

/// What the peer is given: both configs and what we make of them. `None`: the two do not go together.
fn compiled(pair: &Pair) -> Option<Value> {
    let files = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../butane/tests/corpus/files");
    let options =
        Options { files_dir: Some(&files), warnings: Warnings::Allowed, output: Output::Ignition };
    let sources = [
        Source { file: "parent.bu", bytes: pair.parent.as_bytes() },
        Source { file: "child.bu", bytes: pair.child.as_bytes() },
    ];
    let merged = compile_all(&sources, &Values::NONE, &options).config?.text(Layout::Compact);
    let alone = |source: &Source| {
        let (config, report) = compile(source.file, source.bytes, &options);
        Some(config.unwrap_or_else(|| panic!("{report}")).text(Layout::Compact))
    };
    let value = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let [parent, child] = &sources;
    Some(json!({
        "parent": value(alone(parent)?),
        "child": value(alone(child)?),
        "merged": value(merged),
    }))
}

#[test]
fn merged_configs_are_what_ignition_makes_of_their_parts() {
    let Some(merge) = peer("ignition-merge") else { return };
    let (mut input, mut compared) = (String::new(), Vec::new());
    for pair in pairs() {
        if let Some(value) = compiled(&pair) {
            input += &format!("{value}\n");
            compared.push(pair);
        }
    }
    let mut child = Command::new(&merge.program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), compared.len());
    assert!(compared.len() > 2000, "only {} pairs were compared", compared.len());
    let mut faults = String::new();
    for (line, Pair { parent, child }) in lines.lines().zip(&compared) {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["expected"] != line["found"] {
            let (expected, found) = (&line["expected"], &line["found"]);
            faults += &format!("{parent}---\n{child}becomes\n{found}\nand not\n{expected}\n\n");
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
