//! Ignition → Butane: what a compiler made compiles to the same again, and reads like something a person wrote.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;

use basalt_butane::{
    Layout, Options, Output, ReverseOptions, Warnings, compile, compile_node, reverse, targets,
};
use basalt_model::cluster::Cluster;
use camino::Utf8PathBuf;

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

/// The variant that a Butane config names.
fn variant(butane: &str) -> &str {
    let line = butane.lines().find(|line| line.starts_with("variant:")).unwrap_or("variant: fcos");
    line["variant:".len()..].trim()
}

/// The config compiles, and compiles to the same when it has been reversed.
#[track_caller]
fn check_round_trip(name: &str, butane: &str) {
    let config = compiled(name, butane.as_bytes(), Output::Variant).unwrap();
    let text = reversed(name, &config, Some(variant(butane)));
    let again = compiled(name, text.as_bytes(), Output::Variant);
    assert_eq!(again.as_ref(), Some(&config), "{name}:\n{butane}\n---\n{text}");
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

/// One idea each; not every target takes every one.
const IDEAS: &[&str] = &[
    "",
    "ignition: {config: {merge: [{source: 'https://a.example/b'}], replace: {source: 'https://a.example/c'}}}",
    "ignition: {config: {merge: [{inline: '{\"ignition\": {\"version\": \"3.0.0\"}}'}]}}",
    "ignition: {proxy: {http_proxy: 'http://a.example', no_proxy: [b.example]}, timeouts: {http_total: 0}}",
    "ignition: {security: {tls: {certificate_authorities: [{source: 'https://a.example/ca', verification: {hash: sha512-HEX}}]}}}",
    "kernel_arguments: {should_exist: [quiet], should_not_exist: ['a=b']}",
    "passwd: {users: [{name: core, ssh_authorized_keys: [a, b]}]}",
    "passwd: {users: [{name: a, uid: 1000, groups: [b], home_dir: /a, no_create_home: true, should_exist: true, shell: ''}], groups: [{name: b, gid: 7, system: no}]}",
    "storage: {directories: [{path: /a, mode: 0755, user: {id: 0}, group: {name: b}}], links: [{path: /b, target: /a, hard: false}]}",
    "storage: {files: [{path: /a, overwrite: true, mode: 0, contents: {inline: ''}}, {path: /b, mode: 07777, contents: {inline: \"a\\tb\\n c \\n\"}}]}",
    "storage: {files: [{path: /a, contents: {inline: \"#!/bin/sh\\nset -eu\\n\\n\\techo 'a: b' # c\\n\\n\"}}]}",
    "storage: {files: [{path: /a, contents: {inline: \"a\\r\\nb\\e\"}}, {path: /b, contents: {inline: 'no'}}, {path: /c, contents: {inline: ' 1'}}]}",
    "storage: {files: [{path: /a, contents: {source: 'data:,hello'}}, {path: /b, contents: {source: 'data:text/plain;base64,aGVsbG8='}}]}",
    "storage: {files: [{path: /a, contents: {source: 'data:,hello', compression: ''}}, {path: /b, contents: {local: lines.txt.gz, compression: gzip}}]}",
    "storage: {files: [{path: /a, contents: {local: hello.txt}}, {path: /b, append: [{inline: a}, {local: lines.txt.gz}]}]}",
    "storage: {files: [{path: /a, contents: {source: 'https://a.example', http_headers: [{name: a, value: b}, {name: c}]}}]}",
    "storage: {trees: [{local: tree, path: /etc/tree}]}",
    "storage: {disks: [{device: /dev/vda, wipe_table: true, partitions: [{number: 0, label: a, size_mib: 0, start_mib: 0, type_guid: 8DA63339-0007-60C0-C436-083AC8230908}, {number: 4, label: root, resize: true, wipe_partition_entry: true}]}]}",
    "storage: {raid: [{name: a, level: raid1, devices: [/dev/a, /dev/b], spares: 0, options: [--a, --a]}]}",
    "storage: {filesystems: [{device: /dev/a, format: ext4, path: /var/a, with_mount_unit: true}, {device: /dev/b, format: xfs, path: /var/b b, mount_options: [ro], with_mount_unit: true}]}",
    "storage: {filesystems: [{device: /dev/a, format: swap, with_mount_unit: true, mount_options: [a]}, {device: /dev/b, format: ext4, path: /c, label: l, uuid: u}]}",
    "storage: {filesystems: [{device: /dev/mapper/a, format: ext4, path: /var/a, with_mount_unit: true}], luks: [{name: a, device: /dev/b, clevis: {tang: [{url: 'https://a.example', thumbprint: t}], threshold: 1}}]}",
    "storage: {filesystems: [{device: /dev/a, format: ext4, path: /var/a, with_mount_unit: true}]}\nsystemd: {units: [{name: a.service, enabled: true, contents: '[Install]'}, {name: var-a.mount, enabled: false, dropins: [{name: a.conf, contents: '[Mount]'}]}]}",
    "storage: {filesystems: [{device: /dev/a, format: ext4, path: /var/a}]}\nsystemd: {units: [{name: a.service, mask: true}, {name: var-a.mount, contents: \"# Generated by Butane\\n[Unit]\\n\"}]}",
    "storage: {luks: [{name: a, device: /dev/a, key_file: {inline: secret}, discard: true, open_options: [--a], options: [--b, --b], wipe_volume: true}]}",
    "storage: {luks: [{name: a, device: /dev/a, clevis: {custom: {pin: sss, config: '{}', needs_network: true}}}, {name: b, device: /dev/b, clevis: {tpm2: true}}]}",
    "systemd: {units: [{name: a.service, enabled: true, contents: \"[Service]\\nExecStart=/bin/a\\n\\n[Install]\\nWantedBy=multi-user.target\\n\"}]}",
    "systemd: {quadlets: [{name: a.container, contents: \"[Container]\\nImage=a\\n\", rootful: true, dropins: [{name: b.conf, contents: '[Container]'}]}]}",
    "boot_device: {layout: x86_64, luks: {tpm2: true}}",
    "boot_device: {luks: {tang: [{url: 'https://a.example', thumbprint: t}], threshold: 1, tpm2: false, discard: true}}",
    "boot_device: {layout: x86_64, mirror: {devices: [/dev/vda, /dev/vdb, /dev/vdc]}}",
    "boot_device: {layout: ppc64le, mirror: {devices: [/dev/vda, /dev/vdb]}, luks: {tpm2: true}}",
    "boot_device: {layout: aarch64, mirror: {devices: [/dev/vda, /dev/vdb]}}\nstorage: {disks: [{device: /dev/vda, partitions: [{label: root-1, size_mib: 8192}, {label: var-1}]}, {device: /dev/vdc, partitions: [{label: a, number: 1}]}], filesystems: [{device: /dev/md/md-root, format: ext4, label: root, wipe_filesystem: false}, {device: /dev/vdc1, format: ext4, path: /var/a, with_mount_unit: true}]}",
    "boot_device: {layout: s390x-eckd, luks: {device: /dev/dasda, cex: {enabled: true}}}\nkernel_arguments: {should_exist: [rd.luks.key=/etc/luks/cex.key]}",
    "boot_device: {layout: s390x-zfcp, luks: {device: /dev/sda, tpm2: true}}",
    "boot_device: {layout: s390x-virt, luks: {cex: {enabled: true}}}\nopenshift: {kernel_arguments: [rd.luks.key=/etc/luks/cex.key]}",
    "boot_device: {luks: {tpm2: true}}\nstorage: {luks: [{name: root, label: other, options: [--a]}, {name: b, device: /dev/b, clevis: {tpm2: true}}]}",
    "grub: {users: [{name: root, password_hash: grub.pbkdf2.sha512.10000.A}, {name: b, password_hash: c}]}",
    "grub: {users: [{name: root, password_hash: a}]}\nstorage: {files: [{path: /boot/grub2/user.cfg, mode: 0600, append: [{inline: b}]}, {path: /a}], filesystems: [{device: /dev/vda1, format: ext4, path: /var/a, with_mount_unit: true}]}",
    "openshift: {kernel_arguments: [a, b=c], extensions: [usbguard], fips: true, kernel_type: realtime}",
    "openshift: {fips: true}\nboot_device: {luks: {tpm2: true}}",
    "openshift: {fips: false}\nstorage: {luks: [{name: a, device: /dev/a, clevis: {tpm2: true}, options: [--cipher, b]}]}",
];

#[test]
fn every_target_survives_the_round_trip() {
    let mut is_taken = vec![false; IDEAS.len()];
    for (variant, version) in targets() {
        for (index, idea) in IDEAS.iter().enumerate() {
            let idea = idea.replace("HEX", &"0".repeat(128));
            let metadata = match variant {
                "openshift" => {
                    "metadata: {name: 99-a, labels: {machineconfiguration.openshift.io/role: worker, b: 'yes'}}\n"
                }
                _ => "",
            };
            let butane = format!("variant: {variant}\nversion: {version}\n{metadata}{idea}\n");
            if compiled("idea.bu", butane.as_bytes(), Output::Variant).is_some() {
                is_taken[index] = true;
                check_round_trip("idea.bu", &butane);
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
        let config = compile_node(node, &[], None).0.unwrap();
        let text = reversed("node.ign", &config.ignition, None);
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let again = compiled("node.bu", text.as_bytes(), Output::Variant).unwrap();
        assert_eq!(json(&again), json(&config.ignition), "{text}");
        assert!(!text.contains("data:"), "{text}");
    }
}
